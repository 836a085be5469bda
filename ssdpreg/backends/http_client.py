"""HTTP requests to one server, with bounded duration and memory. The only place where HTTP errors are translated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from ssdpreg.backends.http_connection import NoCookies, PreparedURL
from ssdpreg.errors import BackendUnavailableError

#: Requests in progress at a time, unless the caller knows better.
MAX_CONNECTIONS = 8

#: Seconds until a request is cancelled. A healthy server responds within a fraction of that.
TIMEOUT = 10.0

#: Bytes of a response body, unless the caller knows that it may be longer.
MAX_BODY = 64 * 1024

#: Characters of a response that are repeated in a log or on a terminal.
_MAX_REASON = 200

#: Errors by which Twisted reports that there is no complete response.
_NO_RESPONSE = (ConnectError, ConnectionClosed, OSError, RequestTransmissionFailed, ResponseFailed)


_NO_COOKIES = NoCookies()


@dataclass(frozen=True, slots=True)
class Response:
    """
    Complete HTTP response.

    :ivar status: Status code, such as 200.
    :ivar headers: Header fields.
    :ivar body: Body. It is empty if its parts were passed to another receiver.
    """

    status: int
    headers: Headers
    body: bytes

    @property
    def reason(self) -> str:
        """
        Text of an error response: at most 200 characters, all of them printable.

        The text may quote what a device sent, so it has to be safe for logs and terminals.
        """
        text = self.body[: 4 * _MAX_REASON].decode(errors="replace").strip()
        return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_REASON])

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of a header field, or ``default`` if the field is missing."""
        (value,) = self.headers.getRawHeaders(name, [default])[:1]
        return value


class ResponseTooLongError(BackendUnavailableError):
    """The body of a response is longer than the limit."""


class BoundedHTTPClient:
    """
    HTTP client of one server. Each request is bounded in duration and memory, and can be cancelled.

    :param reactor: Provides ``IReactorTime``.
    :param url: Scheme, host and port of the server, such as ``http://127.0.0.1:8500``.
    :param client: treq client that sends the requests.
    :param pool: Persistent connections of the treq client, closed by :meth:`close`. None if it has none.
    :ivar url: As given. Error messages begin with it.
    """

    def __init__(
        self, reactor: IReactorTime, url: str, client: HTTPClient, pool: HTTPConnectionPool | None = None
    ) -> None:
        self.url = url
        # The parser rejects IPv6 addresses. A name outside ASCII needs it.
        self._encoded_url = url if url.isascii() else EncodedURL.from_text(url).to_uri().to_text()
        self._reactor = reactor
        self._client = client
        self._pool = pool

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Headers | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        receive: Callable[[bytes], None] | None = None,
        limit: int | None = None,
    ) -> Response:
        """
        Send one request and return the response, also one with an error status. Redirects are not followed.

        :param path: Path and query of the URL, quoted.
        :param headers: Header fields of the request.
        :param body: Body of the request.
        :param timeout: Seconds until the request is cancelled, :data:`TIMEOUT` if None.
        :param receive: Called with each part of the body of a response with status 200. A :class:`ValueError` means
            that the body is malformed.
        :param limit: Bytes of the longest body of a response with status 200 or 409, :data:`MAX_BODY` if None. All
            other bodies have at most :data:`MAX_BODY`. Consul lists the errors of a transaction with status 409.
        :raise BackendUnavailableError: If there is no complete response in time, or if it is too long.
        :raise CancelledError: If the caller cancelled the request.
        """
        exchange = Deferred.fromCoroutine(self._exchange(method, path, headers, body, receive, limit))
        exchange.addTimeout(TIMEOUT if timeout is None else timeout, self._reactor, self._timed_out)
        try:
            return await exchange
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except _NO_RESPONSE as error:
            reasons: list[Failure] = getattr(error, "reasons", [])
            if any(reason.check(CancelledError) for reason in reasons):
                # Twisted's client wraps the cancellation in an error of the request or the response.
                raise CancelledError from error
            # The cause may quote a line of the response.
            cause = (reasons[0].getErrorMessage() if reasons else str(error))[:_MAX_REASON]
            raise BackendUnavailableError(f"{self.url} does not answer: {cause.rstrip('.')}") from error

    def close(self) -> Deferred[None]:
        """Close the persistent connections."""
        return succeed(None) if self._pool is None else self._pool.closeCachedConnections()

    def _timed_out(self, result: object, timeout: float) -> Failure:
        return Failure(BackendUnavailableError(f"{self.url} does not answer within {timeout:g} s"))

    async def _exchange(
        self,
        method: str,
        path: str,
        headers: Headers | None,
        body: bytes | None,
        receive: Callable[[bytes], None] | None,
        limit: int | None,
    ) -> Response:
        response = await self._client.request(
            method,
            PreparedURL(self._encoded_url + path),
            headers=headers,
            data=body,
            cookies=_NO_COOKIES,
            # Consul redirects a request whose path it cleans up, to an endpoint that the caller did not mean.
            allow_redirects=False,
            unbuffered=True,
            # treq needs it only for its timeout, which is not used here.
            reactor=cast("Any", self._reactor),
        )
        content = bytearray()
        if response.code != 200:
            receive = None
        if response.code not in (200, 409):
            limit = None
        receiver = _Body(receive or content.extend, limit or MAX_BODY, self.url + path.partition("?")[0])
        if response.length:
            await self._read_body(response, receiver)
        return Response(response.code, response.headers, bytes(content))

    def _read_body(self, response: IResponse, body: _Body) -> Deferred[None]:
        finished: Deferred[None] = Deferred(lambda _: body.abort(CancelledError()))
        body.finished = finished
        response.deliverBody(body)
        return finished


class _Body(Protocol):
    """
    Receiver of a response body.

    :param receive: Called with each part. A :class:`ValueError` ends the response.
    :param limit: Bytes of the longest body that is accepted.
    :param url: URL of the request, for error messages.
    :ivar finished: Fires at the end of the body.
    """

    finished: Deferred[None] | None = None

    def __init__(self, receive: Callable[[bytes], None], limit: int, url: str) -> None:
        self._receive, self._limit, self._url = receive, limit, url
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        if self.finished is None:
            return
        self._length += len(data)
        if self._length > self._limit:
            self.abort(ResponseTooLongError(f"{self._url}: the response is longer than {self._limit} bytes"))
            return
        try:
            self._receive(data)
        except ValueError as error:
            self.abort(BackendUnavailableError(f"{self._url}: the response is malformed: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        finished, self.finished = self.finished, None
        if finished is None:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            finished.callback(None)
        else:
            finished.errback(reason)

    def abort(self, error: Exception) -> None:
        """Close the connection and fail with an error."""
        finished, self.finished = self.finished, None
        if self.transport is not None:
            self.transport.loseConnection()
        if finished is not None:
            finished.errback(error)
