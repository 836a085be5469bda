"""Base classes of all resources, and helpers for requests and responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Request
from zope.interface import implementer

from ssdpreg.web.connections import client_of
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.slices import RequestCooperator, run_in_slices

#: Body of a response: all of it, or pieces that are made while the client receives them. A piece may be empty.
Body = bytes | Iterator[bytes]


#: Number of pieces that are made before a response begins.
_FIRST_PIECES = 4


class ReadOnlyResource(Resource):
    """
    A leaf resource that accepts ``GET``, ``HEAD`` and ``OPTIONS``. Other methods are answered with 405.

    :param cooperator: Makes the pieces of large responses. Needed by a resource that returns pieces.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, cooperator: RequestCooperator | None = None) -> None:
        super().__init__()
        self._cooperator = cooperator

    async def respond(self, request: Request) -> Body:
        """
        Return the body of the response.

        Headers, and a status other than 200, are set on the request. The coroutine is cancelled when the client
        disconnects.

        :raise ResponseError: To respond with an error.
        """
        raise NotImplementedError

    def render(self, request: Request) -> int:
        responding = Deferred.fromCoroutine(self._send(request))
        disconnected: list[Failure] = []

        def disconnect(reason: Failure) -> None:
            disconnected.append(reason)
            responding.cancel()

        def fail(failure: Failure) -> None:
            if disconnected:
                return
            self.log.failure("Cannot answer {uri}", failure=failure, uri=request.uri)
            if request.startedWriting:
                # The client must not take the part that it has received for the whole.
                transport: Any = request.channel.transport
                transport.abortConnection()
            else:
                _send_all(request, plain_text(request, "Internal error: see the log", 500))

        request.notifyFinish().addErrback(disconnect)
        responding.addErrback(fail)
        return NOT_DONE_YET

    async def _send(self, request: Request) -> None:
        body = await self._respond(request)
        if isinstance(body, bytes):
            _send_all(request, body)
            return
        # An error in the first pieces can still be reported by the status. Most responses have no more.
        first, complete = await self._first_pieces(body)
        if complete:
            _send_all(request, first)
            return
        if request.method != b"HEAD":
            assert self._cooperator is not None
            await _Sender(request, chain((first,), body)).run(self._cooperator)
        request.finish()

    async def _first_pieces(self, body: Iterator[bytes]) -> tuple[bytes, bool]:
        """Return the first pieces, and whether they are all. A filter may leave thousands of pieces empty."""
        found: list[bytes] = []
        ended: list[bool] = []

        def look() -> Iterator[None]:
            for piece in body:
                if piece:
                    found.append(piece)
                    if len(found) == _FIRST_PIECES:
                        return
                yield
            ended.append(True)

        if self._cooperator is None:
            return b"".join(body), True
        await run_in_slices(self._cooperator, look())
        return b"".join(found), bool(ended)

    async def _respond(self, request: Request) -> Body:
        request.setHeader(b"Vary", b"Accept-Encoding")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"OPTIONS,GET,HEAD")
            if request.method == b"OPTIONS":
                return b""
            return plain_text(request, f"method {request.method.decode(errors='replace')} not allowed", 405)
        try:
            if self._cooperator is not None:
                await self._cooperator.turn()
            return await self.respond(request)
        except ResponseError as error:
            return plain_text(request, str(error), error.status)


def _send_all(request: Request, body: bytes) -> None:
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


@implementer(IPushProducer)
class _Sender:
    """
    Producer of the pieces of a response. It waits while the client does not receive them.

    :param pieces: The pieces that have not been sent.
    """

    def __init__(self, request: Request, pieces: Iterator[bytes]) -> None:
        self._request, self._pieces = request, pieces
        self._paused: Deferred[None] | None = None

    async def run(self, cooperator: RequestCooperator) -> None:
        """Send all pieces."""
        self._request.registerProducer(self, True)
        await run_in_slices(cooperator, self._steps())
        self._request.unregisterProducer()

    def _steps(self) -> Iterator[Deferred[None] | None]:
        for piece in self._pieces:
            if piece:
                self._request.write(piece)
            # The cooperator waits for a Deferred.
            yield self._paused

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the resource cancels the response when the connection is lost."""


class NotFound(Resource):
    """A 404 response with an empty body, as Consul sends it."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setResponseCode(404)
        return b""


class Folder(Resource):
    """A resource that only has children. The folder itself is answered with 404."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        return NotFound()

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)


def plain_text(request: Request, text: str, status: int = 200) -> bytes:
    """Set status and type of a response in plain text, and return its body."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return text.encode()


class _FastGzip(GzipEncoderFactory):
    # Twisted's default of 9 takes eight times as long, and saves a tenth.
    compressLevel = 3  # noqa: N815


def header_values(request: Request, name: bytes) -> list[str]:
    """
    Return the values of a header. Twisted's methods raise an exception for a value that is not UTF-8.

    :return: The values. A byte outside ASCII is replaced by U+FFFD, which no value that the server expects has.
    """
    values: Sequence[bytes] = request.requestHeaders.getRawHeaders(name, [])
    return [value.decode("ascii", "replace") for value in values]


def query_string(request: Request) -> str:
    """Return the query of a URL. ``request.args`` lacks parameters without a value, such as ``?passing``."""
    query: bytes = request.uri.partition(b"?")[2]
    return query.decode(errors="replace")


def client_of_request(request: Request) -> str:
    """Return the text that identifies the client of a request."""
    return client_of(getattr(request.getClientAddress(), "host", ""))


def compressed(resource: IResource) -> IResource:
    """Wrap a resource so that responses are compressed for clients that accept gzip."""
    return EncodingResourceWrapper(resource, [_FastGzip()])
