"""Connection of an HTTP client, with limits of the time and of the bytes that it may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from ssdpreg.web.connections import Connections

#: Seconds that a client has for the header of a request, from the connection or from the first byte.
_HEADER_TIME = 10.0
#: Seconds after a response until the connection is closed if there is no further request.
_IDLE_TIME = 60.0
#: Seconds in which a client has to take what was sent to it: at most one piece of a response.
_READER_TIME = 30.0
#: Seconds for a client to close its side after an error response. Further data from it is discarded.
_LINGER_TIME = 2.0
#: Bytes of further requests that a client may send during a request.
_MOST_PIPELINED = 16384


class LimitedChannel(HTTPChannel):
    """
    Connection of an HTTP client.

    The time limits of :class:`~twisted.web.http.HTTPChannel` are not used: each byte prolongs them, and each ends with
    a line in the log. Its limits of the header's size apply: 16 kB and 500 fields.

    :ivar connections: All connections, set by the site.
    :ivar call_later: Method of the reactor, set by the site.
    :ivar client: See :func:`ssdpreg.web.connections.client_of`. Set by the site.
    :ivar lost: Fires when the connection has been lost.
    """

    connections: Connections
    call_later: Callable[..., IDelayedCall]
    client: str

    def __init__(self) -> None:
        super().__init__()
        self.lost: Deferred[None] = Deferred()
        self._deadline: IDelayedCall | None = None
        self._reader_deadline: IDelayedCall | None = None
        # Whether a request has been received whose response has not ended.
        self._busy = False
        # Whether the header of a request has begun.
        self._in_header = False
        # Whether everything that is received is discarded.
        self._discarding = False
        self._pipelined = 0

    # Connection.

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # A blocking query or a stream ends if the client's host is gone.
            self.transport.setTcpKeepAlive(True)
        self.connections.add(self, self.client)
        self._in_header = True
        self._end_after(_HEADER_TIME, "header")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_deadline()
        self._reader_is_ready()
        self.connections.remove(self)
        super().connectionLost(reason)
        self.lost.callback(None)

    def displace(self) -> None:
        """Close the connection at once, in favour of another one."""
        self._abort()

    # Requests.

    def dataReceived(self, data: bytes) -> None:
        if self._discarding:
            return
        if not self._busy and not self._in_header:
            self._in_header = True
            self._end_after(_HEADER_TIME, "header")
        super().dataReceived(data)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._discarding:
            return
        # The parser would stop reading, and the end of the connection would not be noticed.
        self._pipelined += len(data)
        if self._pipelined > _MOST_PIPELINED:
            self._close("pipelined")
        else:
            super().rawDataReceived(data)

    def allHeadersReceived(self) -> None:  # noqa: N802
        # A length of None means a chunked body.
        if self.length != 0:
            self._refuse_body()
        else:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:  # noqa: N802
        self._busy, self._in_header = True, False
        self._pipelined = 0
        self._cancel_deadline()
        self.connections.set_busy(self)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:  # noqa: N802
        self._busy = False
        self.connections.set_idle(self)
        self._end_after(_IDLE_TIME, "idle")
        # This processes the next request if it has been received.
        super().requestDone(request)

    def _refuse_body(self) -> None:
        """Respond to a request with a body, of which nothing is stored, and close the connection."""
        self.connections.refused_requests["body"] += 1
        self._discarding = True
        status = b"413 Request Entity Too Large" if self._command in (b"GET", b"HEAD") else b"405 Method Not Allowed"
        text = b"requests with a body are not accepted\n"
        transport: Any = self.transport
        transport.writeSequence(
            [
                b"HTTP/1.1 %s\r\nConnection: close\r\nAllow: OPTIONS,GET,HEAD\r\n" % status,
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(text),
                b"" if self._command == b"HEAD" else text,
            ]
        )
        self._end_after(_LINGER_TIME, "")
        # Closing while the client sends would reset the connection, and the client would not see the response.
        if hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        else:
            self.loseConnection()

    # Responses.

    def pauseProducing(self) -> None:
        """Process no further requests: their responses would be kept until the client reads."""
        super().pauseProducing()
        if self._reader_deadline is None:
            self._reader_deadline = self.call_later(_READER_TIME, self._end_reader)
            self._cancel_deadline()
        self.paused = True
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._reader_is_ready()
        self.paused = False
        transport: Any = self.transport
        transport.resumeProducing()
        if not self._busy:
            self._end_after(_HEADER_TIME if self._in_header else _IDLE_TIME, "header" if self._in_header else "idle")
        # Process what has been received before the pause.
        super().dataReceived(b"")

    def _reader_is_ready(self) -> None:
        if self._reader_deadline is not None:
            self._reader_deadline.cancel()
            self._reader_deadline = None

    def _end_reader(self) -> None:
        self._reader_deadline = None
        self._close("reader")

    # Deadlines.

    def _end_after(self, seconds: float, reason: str) -> None:
        """
        Close the connection after some time, unless another deadline is set before.

        :param reason: Key of :attr:`Connections.closed`; empty if it is not counted.
        """
        self._cancel_deadline()
        self._deadline = self.call_later(seconds, self._end, reason)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, reason: str) -> None:
        self._deadline = None
        self._close(reason)

    def _close(self, reason: str) -> None:
        if reason:
            self.connections.closed[reason] += 1
        self._abort()

    def _abort(self) -> None:
        self._discarding = True
        transport: Any = self.transport
        transport.abortConnection()
