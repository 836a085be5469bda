"""What all resources share: by which methods they are read, and what becomes of an error."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Request

from ssdpreg.web.errors import AnswerError


class Readable(Resource):
    """A leaf that can be read by ``GET`` and ``HEAD``, and not otherwise."""

    isLeaf = True
    log = Logger()

    async def answer(self, request: Request) -> bytes:
        """
        Make the body; set headers, and the status where it is not 200, on the request.

        It is cancelled when the reader goes away.

        :raise AnswerError: If there is nothing to be read.
        """
        raise NotImplementedError

    def render(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._answer(request))
        gone: list[Failure] = []

        def leave(reason: Failure) -> None:
            gone.append(reason)
            answering.cancel()

        def fail(failure: Failure) -> bytes | None:
            if gone:
                return None
            self.log.failure("Cannot answer {uri}", failure=failure, uri=request.uri)
            return plain(request, "Internal error: see the log", 500)

        def finish(body: bytes | None) -> None:
            if body is not None and not gone:
                request.setHeader(b"Content-Length", b"%d" % len(body))
                request.write(body)
                request.finish()

        request.notifyFinish().addErrback(leave)
        answering.addErrback(fail).addCallback(finish)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> bytes:
        request.setHeader(b"Vary", b"Accept-Encoding")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"OPTIONS,GET,HEAD")
            if request.method == b"OPTIONS":
                return b""
            return plain(request, f"method {request.method.decode(errors='replace')} not allowed", 405)
        try:
            return await self.answer(request)
        except AnswerError as error:
            return plain(request, str(error), error.status)


class NotFound(Resource):
    """Nothing, as Consul says it."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setResponseCode(404)
        return b""


class Folder(Resource):
    """A place that holds others, and is nothing itself."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        return NotFound()

    def render(self, request: Request) -> bytes:
        return NotFound().render(request)


def plain(request: Request, text: str, status: int = 200) -> bytes:
    """Make a body of plain text."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return text.encode()


class _QuickGzip(GzipEncoderFactory):
    # The library's own 9 takes eight times as long for a tenth less.
    compressLevel = 3  # noqa: N815


def query_of(request: Request) -> str:
    """Return what stands behind the question mark. The library's own arguments lack names without a value."""
    query: bytes = request.uri.partition(b"?")[2]
    return query.decode(errors="replace")


def compressed(resource: IResource) -> IResource:
    """Let a resource be read compressed by whoever asks for that."""
    return EncodingResourceWrapper(resource, [_QuickGzip()])
