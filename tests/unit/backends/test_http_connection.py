"""Tests for :mod:`ssdpreg.backends.http_connection`."""

from __future__ import annotations

import gzip
from typing import Any, cast
from unittest import mock

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock, LoopingCall
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web._newclient import Request, ResponseFailed
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS, IResponse
from twisted.web.server import Site
from zope.interface import implementer

from ssdpreg.backends.http_client import BoundedHTTPClient, ResponseTooLongError
from ssdpreg.backends.http_connection import (
    MAX_HEADER,
    MAX_INTERIM,
    BoundedProtocol,
    HeaderTooLongError,
    InterimResponsesError,
    RepeatingAgent,
    make_pool,
    make_treq,
)
from ssdpreg.errors import BackendUnavailableError
from tests.support.certificates import make_certificate
from tests.support.scripted_resource import ScriptedResource

reactor = cast("Any", global_reactor)


class EndlessServer(Protocol):
    """
    Server that sends the same bytes again and again after the first request.

    :param start: Bytes that are sent once.
    :param repeated: Bytes that are sent again and again.
    :param closed: Fires when the client closes the connection.
    """

    def __init__(self, start: bytes, repeated: bytes, closed: Deferred[int]) -> None:
        self._start, self._repeated, self._closed = start, repeated, closed
        self._sent = 0
        self._sending = LoopingCall(self._send)

    def dataReceived(self, data: bytes) -> None:
        if not self._sending.running:
            cast("Any", self.transport).write(self._start)
            self._sending.start(0)

    def connectionLost(self, reason: object = None) -> None:
        if self._sending.running:
            self._sending.stop()
        self._closed.callback(self._sent)

    def _send(self) -> None:
        cast("Any", self.transport).write(self._repeated)
        self._sent += len(self._repeated)


@implementer(IPolicyForHTTPS)
class _AnyCertificate:
    """TLS options that accept any certificate."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        return CertificateOptions()


class HTTPConnectionTests(TestCase):
    """Tests for connections with real sockets."""

    timeout = 30

    async def connect(self, factory: Any) -> BoundedHTTPClient:
        """Serve until the test ends, and return a client of the server."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = cast("Any", await endpoint.listen(factory))
        self.addCleanup(port.stopListening)
        pool = make_pool(reactor)
        client = make_treq(Agent(reactor, pool=pool))
        bounded = BoundedHTTPClient(reactor, f"http://127.0.0.1:{port.getHost().port}", client, pool)
        self.addCleanup(bounded.close)
        return bounded

    async def assert_gives_up(self, start: bytes, repeated: bytes, reason: str) -> None:
        """Check that a client gives up soon, and logs nothing, when a response has a header without end."""
        closed: Deferred[int] = Deferred()
        client = await self.connect(Factory.forProtocol(lambda: EndlessServer(start, repeated, closed)))
        with capturedLogs() as events, self.assertRaises(BackendUnavailableError) as caught:
            await client.request("GET", "/v1/x")
        self.assertIn(reason, str(caught.exception))
        self.assertLess(await closed, 50 * MAX_HEADER)
        self.assertEqual([event for event in events if "response" in event["log_format"]], [])

    async def test_tls_peer_that_does_not_end(self) -> None:
        """A TLS connection is aborted although the peer goes on sending, and does not answer the close alert."""
        closed: Deferred[int] = Deferred()

        class Server(EndlessServer):
            def dataReceived(self, data: bytes) -> None:
                # A server that reads nothing does not receive the alert.
                cast("Any", self.transport).pauseProducing()
                super().dataReceived(data)

        start = b"HTTP/1.1 200 OK\r\n\r\n"
        factory = Factory.forProtocol(lambda: Server(start, b"x" * 4096, closed))
        options = make_certificate("consul.example").options()
        port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        pool = make_pool(reactor)
        client = make_treq(Agent(reactor, _AnyCertificate(), pool=pool))
        bounded = BoundedHTTPClient(reactor, f"https://127.0.0.1:{port.getHost().port}", client, pool)
        self.addCleanup(bounded.close)
        with self.assertRaises(ResponseTooLongError):
            await bounded.request("GET", "/v1/x", limit=1000)
        await closed

    async def test_endless_fields(self) -> None:
        """A response with header fields without end is an error after 64 kB."""
        field = b"X-Field: " + b"x" * 1000 + b"\r\n"
        reason = f"the response header is longer than {MAX_HEADER} bytes"
        await self.assert_gives_up(b"HTTP/1.1 200 OK\r\n", field, reason)
        await self.assert_gives_up(b"", b"HTTP/1.1 100 Continue\r\n" + 50 * field + b"\r\n", reason)

    async def test_endless_interim_responses(self) -> None:
        """Interim responses without end are an error after a few of them."""
        reason = f"there are more than {MAX_INTERIM} interim responses"
        await self.assert_gives_up(b"", b"HTTP/1.1 100 Continue\r\n\r\n", reason)
        await self.assert_gives_up(b"", b"HTTP/1.1 102 Processing\r\nX-Field: x\r\n\r\n" * 100, reason)

    async def test_interim_responses(self) -> None:
        """A response after a few interim responses is accepted, several times on one connection."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM
        answer = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na\nb\nc"
        connections: list[Protocol] = []

        class Server(Protocol):
            def connectionMade(self) -> None:
                connections.append(self)

            def dataReceived(self, data: bytes) -> None:
                cast("Any", self.transport).write(answer)

        client = await self.connect(Factory.forProtocol(Server))
        for _ in range(3):
            self.assertEqual((await client.request("GET", "/v1/x")).body, b"a\nb\nc")
        self.assertEqual(len(connections), 1)

    async def test_header_within_the_limit(self) -> None:
        """Responses with 50 kB of header fields are accepted, several of them on one connection."""
        resource = ScriptedResource(headers={f"X-Field-{number}": "x" * 1000 for number in range(50)})
        client = await self.connect(Site(resource))
        for _ in range(8):
            response = await client.request("GET", "/v1/x")
            self.assertEqual((response.status, response.body), (200, b"{}"))
        self.assertEqual(len(resource.connections), 1)

    async def test_log(self) -> None:
        """Twisted logs nothing about the factory of a connection."""
        client = await self.connect(Site(ScriptedResource()))
        with capturedLogs() as events:
            await client.request("GET", "/v1/x")
            await client.close()
        lines = [formatEvent(event) for event in events]
        self.assertEqual([line for line in lines if "factory" in line.lower()], [])

    async def test_no_compression(self) -> None:
        """No compression is requested, and a compressed body is not decompressed."""
        compressed = gzip.compress(b"x" * 1_000_000)
        resource = ScriptedResource(body=compressed, headers={"Content-Encoding": "gzip"})
        client = await self.connect(Site(resource))
        response = await client.request("GET", "/v1/x")
        self.assertEqual(response.body, compressed)
        ((_, _, headers, _),) = resource.requests
        self.assertNotIn("Accept-Encoding", headers)

    async def test_no_cookies(self) -> None:
        """A cookie of a response is not sent with the next request."""
        resource = ScriptedResource(headers={"Set-Cookie": "session=1"})
        client = await self.connect(Site(resource))
        for _ in range(2):
            await client.request("GET", "/v1/x")
        self.assertEqual([headers for _, _, headers, _ in resource.requests if "Cookie" in headers], [])

    async def test_request(self) -> None:
        """Method, path, query and body arrive as they are, and an empty response has an empty body."""
        resource = ScriptedResource(body=b"")
        client = await self.connect(Site(resource))
        for body in (b'{"Name":"\xc3\xbc"}', b"x" * 200_000, None):
            response = await client.request("PUT", "/v1/a%2Fb?dc=d%201", body=body)
            self.assertEqual((response.status, response.body), (200, b""))
            method, path, headers, received = resource.requests.pop()
            self.assertEqual((method, path, received), ("PUT", "/v1/a%2Fb?dc=d%201", body or b""))
            self.assertEqual(headers["Content-Length"], str(len(body or b"")))
        self.assertEqual(len(resource.connections), 1)


class BoundedProtocolTests(SynchronousTestCase):
    """Tests for :class:`BoundedProtocol` with a transport in memory: the bounds, to the byte."""

    STATUS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.protocol = BoundedProtocol(lambda protocol: None)
        self.protocol.makeConnection(self.transport)

    def request(self) -> Deferred[IResponse]:
        """Send a request."""
        headers = Headers({"Host": ["consul.test"]})
        return self.protocol.request(Request(b"GET", b"/v1/x", headers, None, persistent=True))

    def receive(self, data: bytes, size: int) -> None:
        """Receive bytes in parts of a size."""
        for start in range(0, len(data), size):
            self.protocol.dataReceived(data[start : start + size])

    def header(self, length: int) -> bytes:
        """Return a header that has this length without the empty line at its end."""
        count = (length - len(self.STATUS)) // 1000
        rest = length - len(self.STATUS) - 1000 * (count - 1)
        return self.STATUS + (count - 1) * self.field(1000) + self.field(rest)

    @staticmethod
    def field(length: int) -> bytes:
        """Return a header field of this length."""
        return b"X-Field: " + b"x" * (length - 11) + b"\r\n"

    def assert_accepted(self, responding: Deferred[IResponse]) -> None:
        """Check that a request has succeeded, and that its connection can be used again."""
        response = self.successResultOf(responding)
        self.assertEqual(response.code, 200)
        response.deliverBody(Protocol())
        self.assertFalse(self.transport.disconnecting)

    def assert_rejected(self, responding: Deferred[IResponse], error: type[Exception]) -> None:
        """Check that a request has failed with an error, and that its connection was closed."""
        (reason,) = self.failureResultOf(responding, ResponseFailed).value.reasons
        self.assertIsInstance(reason.value, error)
        self.assertEqual(self.transport.disconnected, True)

    def test_longest_header(self) -> None:
        """A header of 64 KiB is accepted, in parts of any size, for each request of a connection."""
        # The first of the two bytes that end the header counts if it is received alone.
        for size, length in ((1, 65_535), (7, 65_536), (1000, 65_536), (100_000, 65_536)):
            responding = self.request()
            self.receive(self.header(length) + b"\r\nok", size)
            self.assert_accepted(responding)

    def test_longer_header(self) -> None:
        """A header that is longer by one byte is rejected, in parts of any size."""
        for size in (1, 7, 1000, 100_000):
            self.setUp()
            responding = self.request()
            self.receive(self.header(65_537) + b"\r\nok", size)
            self.assert_rejected(responding, HeaderTooLongError)

    def test_header_with_interim_responses(self) -> None:
        """The length of a header includes that of the interim responses before it."""
        for length, accepted in ((65_536, True), (65_537, False)):
            self.setUp()
            responding = self.request()
            self.receive(self.INTERIM + self.header(length - len(self.INTERIM)) + b"\r\nok", 1000)
            if accepted:
                self.assert_accepted(responding)
            else:
                self.assert_rejected(responding, HeaderTooLongError)

    def test_most_interim_responses(self) -> None:
        """Eight interim responses are accepted, for each request of a connection."""
        for size in (1, 7, 1000):
            responding = self.request()
            self.receive(8 * self.INTERIM + self.STATUS + b"\r\nok", size)
            self.assert_accepted(responding)

    def test_more_interim_responses(self) -> None:
        """The ninth interim response is rejected."""
        for size in (1, 7, 1000):
            self.setUp()
            responding = self.request()
            self.receive(8 * self.INTERIM, size)
            self.assertNoResult(responding)
            self.receive(self.INTERIM, size)
            self.assert_rejected(responding, InterimResponsesError)

    def test_second_request(self) -> None:
        """The bounds of the second request of a connection are those of the first one."""
        for data, error in (
            (self.header(65_537), HeaderTooLongError),
            (9 * self.INTERIM, InterimResponsesError),
        ):
            self.setUp()
            responding = self.request()
            self.receive(self.STATUS + b"\r\nok", 1000)
            self.assert_accepted(responding)
            responding = self.request()
            self.receive(data, 1000)
            self.assert_rejected(responding, error)

    def test_bytes_without_a_request(self) -> None:
        """Bytes that no request caused close the connection."""
        self.receive(self.STATUS, 1000)
        self.assertTrue(self.transport.disconnecting)


class RepeatingAgentTests(SynchronousTestCase):
    """Tests for :class:`RepeatingAgent`."""

    def setUp(self) -> None:
        self.factory, self.pool = mock.Mock(), mock.Mock()
        self.agent = RepeatingAgent.usingEndpointFactory(Clock(), self.factory, self.pool)

    def test_same_url(self) -> None:
        """A URL is parsed once. Its scheme, host and port select the connection."""
        for path in (b"v1/txn?dc=dc1", b"v1/txn?dc=dc1", b"v1/other"):
            self.agent.request(b"PUT", b"http://127.0.0.1:8500/" + path)
        first, second, third = (call.args[0] for call in self.factory.endpointForURI.call_args_list)
        self.assertIs(first, second)
        self.assertEqual((first.originForm, third.originForm), (b"/v1/txn?dc=dc1", b"/v1/other"))
        keys = [call.args[0] for call in self.pool.getConnection.call_args_list]
        self.assertEqual(keys, [(b"http", b"127.0.0.1", 8500)] * 3)

    def test_invalid_url(self) -> None:
        """A URL with characters that have to be quoted is not accepted."""
        for url in (b"http://127.0.0.1:8500/a b", b"http://127.0.0.1:8500/\r\nX: y"):
            self.assertRaises(ValueError, self.agent.request, b"PUT", url)
        self.pool.getConnection.assert_not_called()
