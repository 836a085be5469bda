"""Consul's HTTP API: one request at a time, each answer sorted by what is to be done about it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

from OpenSSL.crypto import FILETYPE_PEM
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from ssdpreg.errors import (
    BackendForgotError,
    BackendRefusedError,
    BackendUnavailableError,
    ConfigError,
    Fault,
)

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

#: Connections that are kept open: as many as there are requests under way at most.
MAX_CONNECTIONS = 8

#: Seconds in which an agent that is well has answered long since.
_TIMEOUT = 10.0

#: Bytes. The longest answer of use lists the services of one agent: 630 bytes each, 100000 of them.
_MAX_BODY = 128 * 1024 * 1024

#: Characters of an answer that are worth being repeated in a log. What is refused may quote what a stranger sent.
_MAX_REASON = 200

#: What Consul 1.8 says of an ID it does not know, with status 500; later ones say 404.
_UNKNOWN_ID = re.compile(r"Unknown (service|check)|.*does not have associated TTL")

_PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_T = TypeVar("_T")


class Token:
    """
    Consul's ACL token. It appears in no log, no representation and no error.

    :param value: The token, or ``None`` to go without.
    :param path: A file to read it from instead, again whenever it may have changed.
    :ivar value: The token, or ``None``.
    """

    def __init__(self, value: str | None = None, path: str | None = None) -> None:
        self.value = value
        self._path = path
        if path is not None:
            self.value = Path(path).read_text().strip()

    def changed(self) -> bool:
        """Look into the file again, and tell whether it holds another token now."""
        if self._path is None:
            return False
        before = self.value
        try:
            self.value = Path(self._path).read_text().strip()
        except OSError:
            # Whoever replaces the file may not be done.
            return False
        return self.value != before


class ConsulHTTP:
    """
    Asks one Consul, and counts what it answers.

    :param reactor: Provides time.
    :param url: Where Consul is, without a path: ``http://127.0.0.1:8500``.
    :param client: What sends the requests.
    :param token: What to show Consul.
    :param pool: The connections to be closed in the end, where there are some.
    :ivar requests: How many requests had which answer: by operation, a constant such as ``register``, and by ``ok``,
        ``refused``, ``unavailable`` or ``forgot``.
    :ivar seconds: How long they took, by operation.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        url: str,
        client: HTTPClient,
        token: Token | None = None,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        self._reactor = reactor
        self._url = url
        self._client = client
        self._token = token or Token()
        self._pool = pool
        self.requests: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    async def get(self, operation: str, path: str, **parameters: str) -> Any:
        """
        Ask for something.

        :param operation: Under which name to count the request.
        :param path: Path of the URL, quoted.
        :param parameters: Query of the URL, not yet quoted.
        :return: The JSON of the answer.
        :raise BackendUnavailableError: If nobody answers, or nobody who can.
        :raise BackendRefusedError: If the answer is no.
        :raise BackendForgotError: If what is asked for is not known.
        """
        answer = await self._ask(operation, "GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._url}{path}: no JSON in the answer: {error}") from error

    async def put(self, operation: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        """
        Tell something.

        :param operation: Under which name to count the request.
        :param path: Path of the URL, quoted.
        :param body: What to send as JSON.
        :raise BackendUnavailableError: If nobody answers, or nobody who can.
        :raise BackendRefusedError: If the answer is no.
        :raise BackendForgotError: If what is to be changed is not known.
        """
        await self._ask(operation, "PUT", path, None if body is None else json.dumps(body).encode())

    def close(self) -> Deferred[None]:
        """Close the connections that are kept open."""
        return succeed(None) if self._pool is None else self._pool.closeCachedConnections()

    async def _ask(self, operation: str, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            return await self._ask_once(operation, method, path, body)
        except BackendRefusedError as error:
            if error.status == 403 and self._token.changed():
                return await self._ask_once(operation, method, path, body)
            raise

    async def _ask_once(self, operation: str, method: str, path: str, body: bytes | None) -> bytes:
        answer = "unavailable"
        began = self._reactor.seconds()
        try:
            exchange = Deferred.fromCoroutine(self._exchange(method, self._url + path, body))
            content = await exchange.addTimeout(_TIMEOUT, self._reactor, self._timed_out)
            answer = "ok"
            return content
        except BackendRefusedError:
            answer = "refused"
            raise
        except BackendForgotError:
            answer = "forgot"
            raise
        except (ConnectError, ConnectionClosed, OSError, RequestTransmissionFailed, ResponseFailed) as error:
            reasons: list[Failure] = getattr(error, "reasons", [])
            if any(reason.check(CancelledError) for reason in reasons):
                # Nobody wants the answer any more, which is how the client puts it.
                raise CancelledError from error
            cause = reasons[0].getErrorMessage() if reasons else error
            raise BackendUnavailableError(f"{self._url}: {cause}") from error
        finally:
            self.requests[operation, answer] += 1
            self.seconds[operation] += self._reactor.seconds() - began

    def _timed_out(self, result: object, timeout: float) -> Failure:
        return Failure(BackendUnavailableError(f"{self._url}: no answer within {timeout:g} s"))

    async def _exchange(self, method: str, url: str, body: bytes | None) -> bytes:
        # Consul warns of requests that have no Content-Type.
        headers = Headers({"Content-Type": ["application/json"]})
        if self._token.value:
            headers.addRawHeader("X-Consul-Token", self._token.value)
        # A redirect would be answered by another endpoint: Consul cleans up paths in this way.
        response = await self._client.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            unbuffered=True,
            # For a timeout that treq would set, and is not told to.
            reactor=cast("Any", self._reactor),
        )
        content = await _read_body(response)
        if not 200 <= response.code < 300:
            raise _error(self._url, response, content)
        return content


def from_config(reactor: Any, config: ConsulConfig) -> ConsulHTTP:
    """
    Make the client that a configuration describes.

    :param reactor: For connections and time.
    :raise ConfigError: If a file that it names cannot be used.
    """
    token = _load("token_file", config.token_file, lambda path: Token(path=path)) or Token(config.token)
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = MAX_CONNECTIONS
    # Twisted would log every connection that is made and lost.
    pool._factory.noisy = False
    prefix, _, path = config.address.partition("://")
    if prefix == "unix":
        agent = Agent.usingEndpointFactory(reactor, _UNIXSocket(reactor, path), pool)
        url = "http://localhost"
    else:
        agent = Agent(reactor, _TLSPolicy(config), pool=pool)
        url = f"{config.scheme}://{config.address}"
    return ConsulHTTP(reactor, url, HTTPClient(agent), token, pool)


def _error(url: str, response: IResponse, content: bytes) -> Exception:
    text = content[: 4 * _MAX_REASON].decode(errors="replace").strip()
    reason = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_REASON])
    if response.code == 404 or (response.code == 500 and _UNKNOWN_ID.match(text)):
        return BackendForgotError(reason)
    if response.code == 429 or response.code >= 500:
        (retry_after,) = response.headers.getRawHeaders("Retry-After", [""])[:1]
        # A date would be legal as well, and is not worth trusting two clocks for.
        seconds = float(retry_after) if retry_after.isdecimal() else None
        return BackendUnavailableError(f"{url}: {response.code} {reason}".rstrip(), seconds)
    return BackendRefusedError(response.code, reason)


class _Body(Protocol):
    """
    Reads a body to its end.

    :param finished: Fires with the body.
    """

    def __init__(self, finished: Deferred[bytes]) -> None:
        self._finished: Deferred[bytes] | None = finished
        self._content = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._content += data
        if len(self._content) > _MAX_BODY:
            self.fail(Failure(ResponseFailed([Failure(ValueError(f"the answer is longer than {_MAX_BODY} bytes"))])))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        finished, self._finished = self._finished, None
        if finished is None:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            finished.callback(bytes(self._content))
        else:
            finished.errback(reason)

    def fail(self, reason: Failure) -> None:
        """Read no more, and hang up."""
        finished, self._finished = self._finished, None
        if self.transport is not None:
            self.transport.loseConnection()
        if finished is not None:
            finished.errback(reason)


def _read_body(response: IResponse) -> Deferred[bytes]:
    finished: Deferred[bytes] = Deferred(lambda _: body.fail(Failure(CancelledError())))
    body = _Body(finished)
    response.deliverBody(body)
    return finished


@implementer(IAgentEndpointFactory)
class _UNIXSocket:
    """Finds every host behind one UNIX socket."""

    def __init__(self, reactor: IReactorUNIX, path: str) -> None:
        self._reactor = reactor
        self._path = path

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self._reactor, self._path)


def _load(key: str, path: str | None, load: Callable[[str], _T]) -> _T | None:
    """Read a file that the configuration names, or say what is wrong with it."""
    if path is None:
        return None
    try:
        return load(path)
    except Exception as error:
        # OpenSSL's errors have no text, and those of a file name it already.
        problem = str(error) if isinstance(error, OSError) else f"nothing usable in {path}: {error!r}"
        raise ConfigError(Fault(f"backend.{key}", problem)) from error


@implementer(IPolicyForHTTPS)
class _TLSPolicy:
    """Trusts whom the configuration trusts, and shows the certificate that it names."""

    def __init__(self, config: ConsulConfig) -> None:
        def load_certificate(path: str) -> PrivateCertificate:
            certificate = Certificate.loadPEM(Path(path).read_bytes())
            key = KeyPair.load(Path(config.key_file or path).read_bytes(), FILETYPE_PEM)
            private: PrivateCertificate = PrivateCertificate.fromCertificateAndKeyPair(certificate, key)
            return private

        self._verify = config.verify_tls
        self._trust_root = _load("ca_file", config.ca_file, _load_authorities)
        self._certificate = _load("cert_file", config.cert_file, load_certificate)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        if self._verify:
            return optionsForClientTLS(hostname.decode("ascii"), self._trust_root, self._certificate)
        if self._certificate is None:
            return CertificateOptions()
        return CertificateOptions(self._certificate.privateKey.original, self._certificate.original)


def _load_authorities(path: str) -> Any:
    certificates = [Certificate.loadPEM(pem) for pem in _PEM_CERTIFICATE.findall(Path(path).read_bytes())]
    if not certificates:
        raise ValueError("no certificate")
    return trustRootFromCertificates(certificates)
