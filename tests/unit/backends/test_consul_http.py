"""Tests for :mod:`ssdpreg.backends.consul_http`."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL.crypto import FILETYPE_PEM
from treq.testing import StubTreq
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from ssdpreg.backends import consul_http
from ssdpreg.backends.consul_http import ConsulHTTP, Token, from_config
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError, ConfigError

_T = TypeVar("_T")

reactor = cast("Any", global_reactor)


class ScriptedResource(Resource):
    """
    Answers everything in the same way, and remembers the requests.

    :ivar status: Of the answer.
    :ivar headers: Of the answer.
    :ivar body: Of the answer.
    :ivar requests: Method, path with query, headers and body of each request.
    :ivar peers: Who asked, one for each connection.
    """

    isLeaf = True

    def __init__(self, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.peers: set[object] = set()

    def render(self, request: Any) -> Any:
        headers = {name.decode(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        self.requests.append((request.method.decode(), request.uri.decode(), headers, request.content.read()))
        self.peers.add(request.transport)
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


class ConsulHTTPTests(SynchronousTestCase):
    """Tests for :class:`ConsulHTTP`: what is sent, and how answers are sorted."""

    def setUp(self) -> None:
        self.resource = ScriptedResource()
        self.clock = Clock()
        self.http = self.make_http()

    def make_http(self, token: Token | None = None) -> ConsulHTTP:
        client: Any = StubTreq(self.resource)
        return ConsulHTTP(self.clock, "http://consul.test:8500", client, token)

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run something that has to be done at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure_of(self, coroutine: Coroutine[Any, Any, object]) -> Any:
        """Run something that has to fail at once."""
        return self.failureResultOf(Deferred.fromCoroutine(coroutine)).value

    def test_get(self) -> None:
        """What is asked for is JSON, with the query quoted."""
        self.resource.body = '{"ä": [1]}'.encode()
        self.assertEqual(self.result_of(self.http.get("list", "/v1/x", filter='ID == "a&b"')), {"ä": [1]})
        ((method, uri, _, body),) = self.resource.requests
        self.assertEqual((method, uri, body), ("GET", "/v1/x?filter=ID+%3D%3D+%22a%26b%22", b""))

    def test_put(self) -> None:
        """What is told is JSON."""
        self.resource.body = b""
        self.result_of(self.http.put("register", "/v1/a%2Fb", {"Name": "ü"}))
        ((method, uri, _, body),) = self.resource.requests
        self.assertEqual((method, uri, json.loads(body)), ("PUT", "/v1/a%2Fb", {"Name": "ü"}))

    def test_content_type(self) -> None:
        """Every request has a Content-Type, even without a body: Consul warns otherwise."""
        self.result_of(self.http.put("pass", "/v1/x"))
        self.result_of(self.http.put("register", "/v1/x", {}))
        self.result_of(self.http.get("list", "/v1/x"))
        self.assertEqual({headers["Content-Type"] for _, _, headers, _ in self.resource.requests}, {"application/json"})

    def test_token(self) -> None:
        """The token goes into its header, and without one there is no header."""
        self.result_of(self.http.get("list", "/v1/x"))
        self.result_of(self.make_http(Token("secret")).get("list", "/v1/x"))
        self.assertEqual(
            [headers.get("X-Consul-Token") for _, _, headers, _ in self.resource.requests], [None, "secret"]
        )

    def test_token_is_unseen(self) -> None:
        """No representation, error or log event holds the token."""
        events: list[LogEvent] = []
        observer = cast("ILogObserver", events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        token = Token("secret")
        http = self.make_http(token)
        seen = [repr(token), repr(http), repr(vars(http)), repr(ConsulConfig(token="secret"))]
        for status in (302, 400, 403, 404, 429, 500):
            self.resource.status = status
            error = self.failure_of(http.put("register", "/v1/x"))
            seen += [repr(error), str(error), repr(vars(error))]
        seen += map(repr, events)
        self.assertNotIn("secret", "".join(seen))

    def test_token_file(self) -> None:
        """A token is read from a file, and again when it is refused; only a new one is worth another try."""
        path = Path(self.mktemp())
        path.write_text("first\n")
        http = self.make_http(Token(path=str(path)))
        self.resource.status = 403

        def assert_refused(body: dict[str, str] | None = None) -> None:
            self.assertIsInstance(self.failure_of(http.put("register", "/v1/x", body)), BackendRefusedError)

        assert_refused()
        path.write_text("second\n")
        assert_refused({"Name": "x"})
        path.unlink()
        assert_refused()
        self.assertEqual(
            [(headers["X-Consul-Token"], body) for _, _, headers, body in self.resource.requests],
            [("first", b""), ("first", b'{"Name": "x"}'), ("second", b'{"Name": "x"}'), ("second", b"")],
        )

    def test_refused(self) -> None:
        """An answer that no repetition would change is a refusal with Consul's reason."""
        for status, body in [
            (301, b""),
            (400, b"Missing service name"),
            (401, b""),
            (403, b"Permission denied"),
            (405, b"method POST not allowed"),
            (413, b""),
        ]:
            self.resource.status, self.resource.body = status, body
            error = self.failure_of(self.http.put("register", "/v1/x"))
            self.assertIsInstance(error, BackendRefusedError)
            self.assertEqual((error.status, error.reason), (status, body.decode()))

    def test_redirect(self) -> None:
        """A redirect leads to another endpoint, and is not followed."""
        self.resource.status, self.resource.headers = 301, {"Location": "/v1/y"}
        self.failure_of(self.http.get("list", "/v1/x"))
        self.assertEqual(len(self.resource.requests), 1)

    def test_unavailable(self) -> None:
        """An answer that means "not now" says so, with the time to wait, where it names one in seconds."""
        for status, headers, retry_after in [
            (429, {"Retry-After": "7"}, 7.0),
            (500, {}, None),
            (502, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
            (503, {"Retry-After": "0"}, 0.0),
            (504, {}, None),
        ]:
            self.resource.status, self.resource.headers, self.resource.body = status, headers, b"No cluster leader"
            error = self.failure_of(self.http.put("register", "/v1/x"))
            self.assertIsInstance(error, BackendUnavailableError)
            self.assertEqual(str(error), f"http://consul.test:8500: {status} No cluster leader")
            self.assertEqual(error.retry_after, retry_after)

    def test_forgot(self) -> None:
        """Every version has its own way to say that it does not know an ID."""
        for status, body in [
            (404, b"unknown service ID: nope"),
            (404, b'Unknown check ID "x". Ensure that the check ID is passed, not the check name.'),
            (500, b'Unknown service {"nope" {}}'),
            (500, b'Unknown check "nope"'),
            (500, b'CheckID "nope" does not have associated TTL'),
        ]:
            self.resource.status, self.resource.body = status, body
            error = self.failure_of(self.http.put("pass", "/v1/x"))
            self.assertIsInstance(error, BackendForgotError)
            self.assertEqual(str(error), body.decode())

    def test_reason_is_harmless(self) -> None:
        """What Consul says may quote a stranger: it is cut short, and has no control characters."""
        self.resource.status, self.resource.body = 400, b"\x1b[2J\n\xff" + b"x" * 10000
        reason = self.failure_of(self.http.put("register", "/v1/x")).reason
        self.assertTrue(reason.isprintable())
        self.assertLessEqual(len(reason), 200)

    def test_no_json(self) -> None:
        """An answer that is no JSON comes from something that is no Consul, such as a proxy that is starting."""
        self.resource.body = b"<html>"
        self.assertIsInstance(self.failure_of(self.http.get("list", "/v1/x")), BackendUnavailableError)

    def test_counts(self) -> None:
        """Requests are counted by operation and kind of answer, and their time is summed up."""
        for status in (200, 200, 400, 404, 503):
            self.resource.status = status
            Deferred.fromCoroutine(self.http.put("register", "/v1/x")).addErrback(lambda _: None)
        self.assertEqual(
            self.http.requests,
            {
                ("register", "ok"): 2,
                ("register", "refused"): 1,
                ("register", "forgot"): 1,
                ("register", "unavailable"): 1,
            },
        )

    def test_silence(self) -> None:
        """An agent that does not answer within 10 s is unavailable, and the time counts."""
        self.resource.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
        asking = Deferred.fromCoroutine(self.http.put("register", "/v1/x"))
        self.clock.advance(9.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        error = self.failureResultOf(asking, BackendUnavailableError)
        self.assertEqual(error.getErrorMessage(), "http://consul.test:8500: no answer within 10 s")
        self.assertEqual(self.http.requests, {("register", "unavailable"): 1})
        self.assertAlmostEqual(self.http.seconds["register"], 10)

    def test_cancelled(self) -> None:
        """A request that is not wanted any more ends as such, and leaves no timer behind."""
        self.resource.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
        asking = Deferred.fromCoroutine(self.http.put("register", "/v1/x"))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ConnectionTests(TestCase):
    """Tests for :func:`from_config` with real sockets."""

    def setUp(self) -> None:
        self.resource = ScriptedResource(body=b'{"a": 1}')

    async def listen(self, endpoint: IStreamServerEndpoint) -> IListeningPort:
        """Serve the resource until the test is over."""
        port: IListeningPort = await endpoint.listen(Site(self.resource))
        self.addCleanup(lambda: Deferred.fromCoroutine(_stop(port)))
        return port

    async def listen_tcp(self) -> str:
        """Serve the resource, and return ``host:port``."""
        port = await self.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        return f"127.0.0.1:{cast('Any', port).getHost().port}"

    async def listen_tls(self, certificate: PrivateCertificate, *authorities: Certificate) -> str:
        """Serve the resource through TLS, and return ``host:port``."""
        options = certificate.options(*authorities)
        port = await self.listen(SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1"))
        return f"127.0.0.1:{cast('Any', port).getHost().port}"

    def connect(self, config: ConsulConfig) -> ConsulHTTP:
        http = from_config(reactor, config)
        self.addCleanup(http.close)
        return http

    async def test_one_connection(self) -> None:
        """One connection serves many requests in turn, and is closed in the end."""
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        for _ in range(5):
            self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})
        self.assertEqual(len(self.resource.peers), 1)

    async def test_eight_connections(self) -> None:
        """As many connections are kept as there are requests at a time."""
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        for _ in range(2):
            await gatherResults([Deferred.fromCoroutine(http.get("list", "/v1/x")) for _ in range(8)])
        self.assertEqual(len(self.resource.peers), 8)

    async def test_refused_connection(self) -> None:
        """Where nobody listens, Consul is unavailable, and the error says where."""
        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = cast("Any", await listening.listen(Site(self.resource)))
        address = f"127.0.0.1:{port.getHost().port}"
        await port.stopListening()
        with self.assertRaises(BackendUnavailableError) as caught:
            await self.connect(ConsulConfig(address=address)).get("list", "/v1/x")
        self.assertIn(f"http://{address}: Connection was refused", str(caught.exception))

    async def test_unknown_host(self) -> None:
        """A host that has no address is unavailable."""
        with self.assertRaises(BackendUnavailableError):
            await self.connect(ConsulConfig(address="no-such-host.invalid:8500")).get("list", "/v1/x")

    async def test_hang_up(self) -> None:
        """Consul hangs up without a word where there are too many connections: it is unavailable."""

        def render(request: Any) -> int:
            request.transport.abortConnection()
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        with self.assertRaises(BackendUnavailableError):
            await http.put("register", "/v1/x", {})

    async def test_half_an_answer(self) -> None:
        """An answer that breaks off is none."""

        def render(request: Any) -> int:
            request.setHeader("Content-Length", "100")
            request.write(b"{}")
            request.transport.loseConnection()
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        with self.assertRaises(BackendUnavailableError):
            await http.get("list", "/v1/x")

    async def test_endless_answer(self) -> None:
        """An answer that never ends is given up, and hung up on."""
        self.patch(consul_http, "_TIMEOUT", 0.2)
        disconnected = self.serve_start_of_answer()
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        with self.assertRaises(BackendUnavailableError) as caught:
            await http.get("list", "/v1/x")
        self.assertIn("no answer within", str(caught.exception))
        await disconnected

    async def test_long_answer(self) -> None:
        """An answer that does not fit into memory is given up, and hung up on."""
        self.patch(consul_http, "_MAX_BODY", 5)
        disconnected = self.serve_start_of_answer()
        http = self.connect(ConsulConfig(address=await self.listen_tcp()))
        with self.assertRaises(BackendUnavailableError) as caught:
            await http.get("list", "/v1/x")
        self.assertIn("longer than 5 bytes", str(caught.exception))
        await disconnected

    def serve_start_of_answer(self) -> Deferred[None]:
        """Answer with the start of something long, and return what fires when the client hangs up."""
        disconnected: Deferred[None] = Deferred()

        def render(request: Any) -> int:
            request.notifyFinish().addErrback(lambda _: disconnected.callback(None))
            request.write(b"{" + b" " * 10)
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        return disconnected

    async def test_unix_socket(self) -> None:
        """Consul may listen on a UNIX socket."""
        # Where trial works the path may be longer than a socket's may be.
        path = os.path.relpath(self.mktemp())
        await self.listen(UNIXServerEndpoint(reactor, path))
        http = self.connect(ConsulConfig(address=f"unix://{path}"))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})

    async def test_no_unix_socket(self) -> None:
        """A UNIX socket that is not there is unavailable."""
        http = self.connect(ConsulConfig(address=f"unix://{os.path.relpath(self.mktemp())}"))
        with self.assertRaises(BackendUnavailableError):
            await http.get("list", "/v1/x")

    async def test_tls(self) -> None:
        """A certificate has to be signed by an authority that the configuration trusts, and for the right host."""
        authority, stranger = make_certificate("authority"), make_certificate("stranger")
        trusted = self.write(stranger.dumpPEM() + b"\n" + authority.dumpPEM())
        server = make_certificate("127.0.0.1", authority)
        other_server = make_certificate("127.0.0.2", authority)
        address = await self.listen_tls(server)
        other_address = await self.listen_tls(other_server)

        http = self.connect(ConsulConfig(address=address, scheme="https", ca_file=trusted))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})
        for config in [
            ConsulConfig(address=address, scheme="https", ca_file=self.write(stranger.dumpPEM())),
            ConsulConfig(address=address, scheme="https"),
            ConsulConfig(address=other_address, scheme="https", ca_file=trusted),
        ]:
            with self.assertRaises(BackendUnavailableError) as caught:
                await self.connect(config).get("list", "/v1/x")
            self.assertRegex(str(caught.exception), "(?i)certificate|verif")

    async def test_tls_without_verification(self) -> None:
        """Where the operator says so, any certificate will do."""
        address = await self.listen_tls(make_certificate("other"))
        http = self.connect(ConsulConfig(address=address, scheme="https", verify_tls=False))
        self.assertEqual(await http.get("list", "/v1/x"), {"a": 1})

    async def test_client_certificate(self) -> None:
        """A Consul that asks for a certificate is shown one, with verification and without."""
        authority = make_certificate("authority")
        server, client = make_certificate("127.0.0.1", authority), make_certificate("client", authority)
        address = await self.listen_tls(server, authority)
        ca_file, cert_file = self.write(authority.dumpPEM()), self.write(Certificate.dumpPEM(client))
        key_file = self.write(client.privateKey.dump(FILETYPE_PEM))
        for verify in (True, False):
            config = ConsulConfig(
                address=address,
                scheme="https",
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                verify_tls=verify,
            )
            self.assertEqual(await self.connect(config).get("list", "/v1/x"), {"a": 1})
        with self.assertRaises(BackendUnavailableError):
            await self.connect(ConsulConfig(address=address, scheme="https", ca_file=ca_file)).get("list", "/v1/x")

    def write(self, content: bytes) -> str:
        """Write a file, and return its path."""
        path: str = self.mktemp()
        Path(path).write_bytes(content)
        return path

    def test_unusable_files(self) -> None:
        """A file that is missing, or holds something else, is a fault of the configuration, with its key."""
        junk, missing = self.write(b"junk"), self.mktemp()
        for key, path in [
            ("token_file", missing),
            ("ca_file", missing),
            ("ca_file", junk),
            ("cert_file", missing),
            ("cert_file", junk),
        ]:
            with self.assertRaises(ConfigError) as caught:
                from_config(reactor, ConsulConfig(**cast("Any", {key: path})))
            (fault,) = caught.exception.faults
            self.assertEqual(fault.path, f"backend.{key}")
            self.assertIn(path, fault.problem)


async def _stop(port: IListeningPort) -> None:
    await cast("Any", port).stopListening()


def make_certificate(name: str, authority: PrivateCertificate | None = None) -> PrivateCertificate:
    """
    Make a certificate.

    :param name: Of whom: an IP address or anything.
    :param authority: Who signs it; without one it is an authority itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signing_key = subject, key
    if authority is not None:
        issuer = authority.original.to_cryptography().subject
        signing_key = authority.privateKey.original.to_cryptography_key()
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if name[0].isdigit():
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
        builder = builder.add_extension(alternative, critical=False)
    pem = builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate: PrivateCertificate = PrivateCertificate.loadPEM(pem + key_pem)
    return certificate
