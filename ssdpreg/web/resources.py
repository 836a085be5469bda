"""Base classes of all resources, and helpers for requests and responses."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Request

from ssdpreg.web.errors import ResponseError


class ReadOnlyResource(Resource):
    """A leaf resource that accepts ``GET``, ``HEAD`` and ``OPTIONS``. Other methods are answered with 405."""

    isLeaf = True
    log = Logger()

    async def respond(self, request: Request) -> bytes:
        """
        Return the body of the response.

        Headers, and a status other than 200, are set on the request. The coroutine is cancelled when the client
        disconnects.

        :raise ResponseError: To respond with an error.
        """
        raise NotImplementedError

    def render(self, request: Request) -> int:
        responding = Deferred.fromCoroutine(self._respond(request))
        disconnected: list[Failure] = []

        def disconnect(reason: Failure) -> None:
            disconnected.append(reason)
            responding.cancel()

        def fail(failure: Failure) -> bytes | None:
            if disconnected:
                return None
            self.log.failure("Cannot answer {uri}", failure=failure, uri=request.uri)
            return plain_text(request, "Internal error: see the log", 500)

        def finish(body: bytes | None) -> None:
            if body is not None and not disconnected:
                request.setHeader(b"Content-Length", b"%d" % len(body))
                request.write(body)
                request.finish()

        request.notifyFinish().addErrback(disconnect)
        responding.addErrback(fail).addCallback(finish)
        return NOT_DONE_YET

    async def _respond(self, request: Request) -> bytes:
        request.setHeader(b"Vary", b"Accept-Encoding")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"OPTIONS,GET,HEAD")
            if request.method == b"OPTIONS":
                return b""
            return plain_text(request, f"method {request.method.decode(errors='replace')} not allowed", 405)
        try:
            return await self.respond(request)
        except ResponseError as error:
            return plain_text(request, str(error), error.status)


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


def query_string(request: Request) -> str:
    """Return the query of a URL. ``request.args`` lacks parameters without a value, such as ``?passing``."""
    query: bytes = request.uri.partition(b"?")[2]
    return query.decode(errors="replace")


def compressed(resource: IResource) -> IResource:
    """Wrap a resource so that responses are compressed for clients that accept gzip."""
    return EncodingResourceWrapper(resource, [_FastGzip()])
