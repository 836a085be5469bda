"""
Bounds of Twisted's HTTP client: length of response headers, interim responses, no compressed bodies, and no cookies.

The client sends thousands of small requests to one server. For each of them, treq and Twisted's agent parse the URL,
search for cookies and make an endpoint, which takes longer than the request itself. These steps are replaced where the
interfaces of the two permit it.
"""

from __future__ import annotations

from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any, cast

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, ISSLTransport
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.web import _newclient
from twisted.web.client import URI, Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

#: Bytes of the status line and all header fields of a response, including those of interim responses (1xx).
MAX_HEADER = 64 * 1024

#: Interim responses (1xx) to one request. Consul sends none.
MAX_INTERIM = 8

#: Connections that are kept open for further requests: for the largest number of simultaneous changes, for a listing,
#: and for keep-alives, so that a keep-alive waits neither for a response nor for a new connection.
PERSISTENT_CONNECTIONS = 18

_SILENT = Logger(observer=LogPublisher())


class HeaderTooLongError(Exception):
    """The header of a response is longer than :data:`MAX_HEADER`."""

    def __init__(self) -> None:
        super().__init__(f"the response header is longer than {MAX_HEADER} bytes")


class InterimResponsesError(Exception):
    """There are more than :data:`MAX_INTERIM` interim responses to one request."""

    def __init__(self) -> None:
        super().__init__(f"there are more than {MAX_INTERIM} interim responses")


class BoundedProtocol(_newclient.HTTP11ClientProtocol):
    """
    HTTP connection that ends when a response header is too long, or when there are too many interim responses.

    Twisted limits only the length of a line. A server that sends header fields without end would fill the memory, and
    one that sends interim responses without end would fill the log.
    """

    _header_length = 0
    _interim = 0

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(_AbortingTransport(transport) if ISSLTransport.providedBy(transport) else transport)

    def request(self, request: Any) -> Deferred[IResponse]:
        responding: Deferred[IResponse] = super().request(request)
        if self._parser is not None:
            # It logs each interim response.
            cast("Any", self._parser)._log = _SILENT
        return responding

    def dataReceived(self, bytes: bytes) -> None:
        start = 0
        if self._is_final_header(bytes):
            # Nearly always: the response, or its beginning, in one piece.
            self._receive_header(bytes)
            return
        while start < len(bytes) and self._reads_header():
            end = bytes.find(b"\n", start) + 1 or len(bytes)
            if not self._receive_header(bytes[start:end]):
                return
            start = end
        if start < len(bytes):
            super().dataReceived(bytes[start:])

    def _reads_header(self) -> bool:
        parser: Any = self._parser
        return parser is not None and parser.state in (_newclient.STATUS, _newclient.HEADER)

    def _is_final_header(self, data: bytes) -> bool:
        """Return whether this data is the beginning of a response, not of an interim one, and not above the bound."""
        return (
            not self._header_length
            and not self._interim
            and len(data) <= MAX_HEADER
            and data.startswith(b"HTTP/1.1 2")
            and self._reads_header()
        )

    def _receive_header(self, line: bytes) -> bool:
        """
        Receive a line of a header, a part of it, or the beginning of a final response.

        :return: Whether the header is within the bounds.
        """
        parser: Any = self._parser
        before = parser.state
        super().dataReceived(line)
        after = parser.state
        # The end of a response may cause the next request, which has its own parser.
        if self._parser is not parser or after not in (_newclient.STATUS, _newclient.HEADER):
            self._header_length = self._interim = 0
            return True
        self._header_length += len(line)
        if before == _newclient.HEADER and after == _newclient.STATUS:
            self._interim += 1
        if self._header_length > MAX_HEADER:
            return self._end(HeaderTooLongError())
        if self._interim > MAX_INTERIM:
            return self._end(InterimResponsesError())
        return True

    def _end(self, error: Exception) -> bool:
        self._giveUp(Failure(error))
        cast("Any", self.transport).abortConnection()
        return False


class _AbortingTransport:
    """
    TLS connection that does not wait for the peer when it is closed.

    Twisted sends a close alert, and keeps the connection open until the peer answers it.

    :param transport: The connection.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def loseConnection(self) -> None:
        """Send the close alert, and close the connection. A client closes it after the last response."""
        self._transport.abortConnection()


class _BoundedFactory(_HTTP11ClientFactory):
    """Factory of the connections. Without ``noisy``, Twisted logs each one."""

    noisy = False

    def buildProtocol(self, addr: object) -> BoundedProtocol:
        return BoundedProtocol(self._quiescentCallback)


def make_pool(reactor: Any) -> HTTPConnectionPool:
    """Return a pool of persistent connections with bounded headers."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = PERSISTENT_CONNECTIONS
    pool._factory = _BoundedFactory
    return pool


class PreparedURL(EncodedURL):
    """
    URL that needs no further encoding. treq calls these two methods of a URL for each request.

    :param text: The URL, in ASCII.
    """

    def __init__(self, text: str) -> None:
        # Without the parts of the URL, which nothing reads.
        self._text = text

    def to_uri(self) -> PreparedURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self._text


class NoCookies(CookieJar):
    """Cookie jar that stays empty. Consul sends no cookies, and the number of those of another server has no limit."""

    def set_cookie(self, cookie: object) -> None:
        """Do nothing."""

    def add_cookie_header(self, request: object) -> None:
        """Do nothing."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Do nothing."""


@implementer(IBodyProducer)
class BytesProducer:
    """
    Body of a request that is sent at once.

    :param body: The body.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def stopProducing(self) -> None:
        """Do nothing: everything has been written."""

    def pauseProducing(self) -> None:
        """Do nothing: everything has been written."""

    def resumeProducing(self) -> None:
        """Do nothing: everything has been written."""


def make_treq(agent: IAgent) -> HTTPClient:
    """Return a treq client without compression and cookies, whose bodies are bytes."""
    return HTTPClient(UncompressedAgent(agent), cast("Any", NoCookies()), BytesProducer)


class RepeatingAgent(Agent):
    """
    Agent that parses a URL only once. Nearly all requests go to a few URLs, and parsing takes a tenth of a request.

    It does what :meth:`twisted.web.client.Agent.request` does with the parsed URL.
    """

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        parsed = _parse_url(uri)
        requesting: Deferred[IResponse] = self._requestWithEndpoint(
            (parsed.scheme, parsed.host, parsed.port),
            self._getEndpoint(parsed),
            method,
            parsed,
            headers,
            bodyProducer,
            parsed.originForm,
        )
        return requesting


@lru_cache(64)
def _parse_url(url: bytes) -> URI:
    """
    Parse a URL.

    :raise ValueError: If it contains characters that have to be quoted.
    """
    parsed: URI = URI.fromBytes(_newclient._ensureValidURI(url.strip()))
    return parsed


@implementer(IAgent)
class UncompressedAgent:
    """
    Agent that neither requests nor accepts compressed responses.

    treq requests compression, and decompresses without a limit: 64 kB from the network can become 64 MB of memory in
    one step.

    :param agent: Agent that sends the requests.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader("Accept-Encoding")
        requesting: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requesting.addCallback(_without_encoding)


def _without_encoding(response: IResponse) -> IResponse:
    """Return a response whose body is not decompressed by treq. It cannot be parsed if it is compressed."""
    cast("Any", response).headers.removeHeader("Content-Encoding")
    return response
