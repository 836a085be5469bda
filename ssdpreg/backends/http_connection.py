"""Bounds of Twisted's HTTP client: length of response headers, and no compressed bodies."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import _newclient
from twisted.web.client import HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

#: Bytes of the status line and all header fields of a response, including those of interim responses (1xx).
MAX_HEADER = 64 * 1024

#: Connections that are kept open for further requests: for the largest number of simultaneous changes, for a listing,
#: and for keep-alives, so that a keep-alive waits neither for a response nor for a new connection.
PERSISTENT_CONNECTIONS = 10


class HeaderTooLongError(Exception):
    """The header of a response is longer than :data:`MAX_HEADER`."""

    def __init__(self) -> None:
        super().__init__(f"the response header is longer than {MAX_HEADER} bytes")


class BoundedProtocol(_newclient.HTTP11ClientProtocol):
    """
    HTTP connection that ends when a response header is too long.

    Twisted limits only the length of a line. A server that sends header fields without end would fill the memory.
    """

    _header_length = 0

    def dataReceived(self, bytes: bytes) -> None:
        before = self._parser
        super().dataReceived(bytes)
        parser = self._parser
        # The end of a response may cause the next request, which has its own parser.
        if parser is None or parser is not before or parser.state not in (_newclient.STATUS, _newclient.HEADER):
            self._header_length = 0
            return
        self._header_length += len(bytes)
        if self._header_length > MAX_HEADER:
            self._giveUp(Failure(HeaderTooLongError()))
            cast("Any", self.transport).abortConnection()


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
