"""Tests for :mod:`ssdpreg.backends.http_client`."""

from __future__ import annotations

from typing import Any, cast
from unittest import mock

from treq.client import HTTPClient
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.task import Clock, LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET, Site

from ssdpreg.backends import http_client
from ssdpreg.backends.http_client import BoundedHTTPClient, Response, ResponseTooLongError
from ssdpreg.errors import BackendUnavailableError
from tests.support.scripted_resource import ScriptedResource

reactor = cast("Any", global_reactor)


class ResponseTests(SynchronousTestCase):
    """Tests for :class:`Response`."""

    def test_header(self) -> None:
        """``header`` returns the first value, for any case of the name, or the default."""
        response = Response(200, Headers({"X-Consul-Index": ["7", "8"]}), b"")
        self.assertEqual((response.header("x-consul-index", "0"), response.header("Retry-After", "0")), ("7", "0"))

    def test_reason(self) -> None:
        """The reason has no control characters, no surrounding blanks, and at most 200 characters."""
        for body, reason in (
            (b"", ""),
            (b" No cluster leader\n", "No cluster leader"),
            (b"a\x1b[2J\nb\xff", "a [2J b\ufffd"),
            ("ü".encode() * 1000, "ü" * 200),
            ("\U0001f600".encode() * 1000, "\U0001f600" * 200),
        ):
            self.assertEqual(Response(500, Headers(), body).reason, reason)


class FailingClient:
    """treq client whose request fails as soon as it is cancelled, with a given error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def request(self, *_: object, **__: object) -> Deferred[None]:
        return Deferred(lambda request: request.errback(self.error))


class CauseTests(SynchronousTestCase):
    """Tests for the text of errors."""

    def test_long_cause(self) -> None:
        """At most 200 characters of the cause are repeated: it may quote what the server sent."""
        client = BoundedHTTPClient(Clock(), "http://c", FailingClient(OSError("x" * 16000)))  # type: ignore[arg-type]
        request = Deferred.fromCoroutine(client.request("GET", "/"))
        request.cancel()
        failure = self.failureResultOf(request, BackendUnavailableError)
        self.assertEqual(failure.getErrorMessage(), "http://c does not answer: " + "x" * 200)


class CancellationTests(SynchronousTestCase):
    """Tests for :class:`BoundedHTTPClient` with requests that are cancelled or time out."""

    def errors(self) -> list[Exception]:
        """Return the errors by which Twisted and treq report a cancellation."""
        return [
            ConnectingCancelledError(cast("Any", None)),
            RequestTransmissionFailed([Failure(CancelledError())]),
            ResponseFailed([Failure(CancelledError())]),
            CancelledError(),
        ]

    def test_cancelled(self) -> None:
        """A cancelled request fails with ``CancelledError``, and leaves no delayed call."""
        for error in self.errors():
            clock = Clock()
            client = BoundedHTTPClient(clock, "http://server.test", cast("Any", FailingClient(error)))
            requesting = Deferred.fromCoroutine(client.request("GET", "/"))
            requesting.cancel()
            self.failureResultOf(requesting, CancelledError)
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """A request that times out fails with ``BackendUnavailableError``, after 10 s or the given time."""
        for error in self.errors():
            for timeout, seconds in ((None, 10.0), (30.5, 30.5)):
                clock = Clock()
                client = BoundedHTTPClient(clock, "http://server.test", cast("Any", FailingClient(error)))
                requesting = Deferred.fromCoroutine(client.request("GET", "/", timeout=timeout))
                clock.advance(seconds - 0.1)
                self.assertNoResult(requesting)
                clock.advance(0.1)
                failure = self.failureResultOf(requesting, BackendUnavailableError)
                self.assertEqual(failure.getErrorMessage(), f"http://server.test does not answer within {seconds:g} s")


class OptionsTests(SynchronousTestCase):
    """Tests for the options that :class:`BoundedHTTPClient` passes to treq, and for the errors that it receives."""

    def test_options(self) -> None:
        """treq follows no redirect, and keeps no copy of the body in memory."""
        treq = mock.Mock(request=mock.Mock(return_value=Deferred()))
        Deferred.fromCoroutine(BoundedHTTPClient(Clock(), "http://server.test", treq).request("GET", "/x"))
        ((arguments, options),) = [(call.args, call.kwargs) for call in treq.request.mock_calls]
        method, url = arguments
        self.assertEqual((method, url.to_uri().to_text()), ("GET", "http://server.test/x"))
        self.assertEqual((options["allow_redirects"], options["unbuffered"]), (False, True))

    def test_encoded_url(self) -> None:
        """The host of the URL is sent as it is if it is ASCII, such as an IPv6 address, and is otherwise encoded."""
        for url, encoded in (
            ("http://[2001:db8::1]:8500", "http://[2001:db8::1]:8500/x"),
            ("https://größe.test:8501", "https://xn--gre-6ka8i.test:8501/x"),
        ):
            treq = mock.Mock(request=mock.Mock(return_value=Deferred()))
            Deferred.fromCoroutine(BoundedHTTPClient(Clock(), url, treq).request("GET", "/x"))
            _, sent = treq.request.call_args.args
            self.assertEqual(sent.to_uri().to_text(), encoded)

    def test_first_reason(self) -> None:
        """The error states the first of the reasons that Twisted reports, without a full stop."""
        error = ResponseFailed([Failure(ConnectionLost()), Failure(ResponseDone())])
        treq = mock.Mock(request=mock.Mock(return_value=fail(error)))
        requesting = Deferred.fromCoroutine(BoundedHTTPClient(Clock(), "http://server.test", treq).request("GET", "/"))
        failure = self.failureResultOf(requesting, BackendUnavailableError)
        self.assertRegex(
            failure.getErrorMessage(), r"\Ahttp://server.test does not answer: Connection to .* lost.*[^.]\Z"
        )


class ConnectionTests(TestCase):
    """Tests for :class:`BoundedHTTPClient` with real sockets."""

    def setUp(self) -> None:
        self.resource = ScriptedResource()
        #: Fires when the server has sent the start of a response.
        self.started: Deferred[None] = Deferred()

    async def connect(self) -> BoundedHTTPClient:
        """Serve the resource until the test ends, and return a client of its server."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = cast("Any", await endpoint.listen(Site(self.resource)))
        self.addCleanup(port.stopListening)
        pool = HTTPConnectionPool(reactor)
        url = f"http://127.0.0.1:{port.getHost().port}"
        client = BoundedHTTPClient(reactor, url, HTTPClient(Agent(reactor, pool=pool)), pool)
        self.addCleanup(client.close)
        return client

    async def test_request(self) -> None:
        """A request has the given path, headers and body, and the response has status, headers and body."""
        client = await self.connect()
        self.resource.status, self.resource.headers, self.resource.body = 503, {"Retry-After": "7"}, b"later"
        response = await client.request("PUT", "/a%2Fb?c=d", headers=Headers({"X-Test": ["1"]}), body=b"x")
        self.assertEqual((response.status, response.header("Retry-After"), response.body), (503, "7", b"later"))
        ((method, uri, headers, body),) = self.resource.requests
        self.assertEqual((method, uri, headers["X-Test"], body), ("PUT", "/a%2Fb?c=d", "1", b"x"))

    async def test_cancelled_response(self) -> None:
        """The cancellation of a request during its response closes the connection."""
        disconnected = self.serve_start_of_response()
        client = await self.connect()
        requesting = Deferred.fromCoroutine(client.request("GET", "/v1/x"))
        await self.started
        requesting.cancel()
        await self.assertFailure(requesting, CancelledError)
        await disconnected

    async def test_connection_closed(self) -> None:
        """A connection closed without a response, as for too many connections, is an unavailable server."""

        def render(request: Any) -> int:
            request.transport.abortConnection()
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        client = await self.connect()
        with self.assertRaises(BackendUnavailableError):
            await client.request("PUT", "/v1/x", body=b"{}")

    async def test_incomplete_response(self) -> None:
        """An incomplete response is an unavailable server."""

        def render(request: Any) -> int:
            request.setHeader("Content-Length", "100")
            request.write(b"{}")
            request.transport.loseConnection()
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        client = await self.connect()
        with self.assertRaises(BackendUnavailableError):
            await client.request("GET", "/v1/x")

    async def test_slow_response(self) -> None:
        """A response that does not end in time is cancelled, and its connection is closed."""
        self.patch(http_client, "TIMEOUT", 0.2)
        disconnected = self.serve_start_of_response()
        client = await self.connect()
        with self.assertRaises(BackendUnavailableError) as caught:
            await client.request("GET", "/v1/x")
        self.assertIn("does not answer within", str(caught.exception))
        await disconnected

    async def test_long_response(self) -> None:
        """A response that is longer than the limit is cancelled, and its connection is closed."""
        self.patch(http_client, "MAX_BODY", 5)
        disconnected = self.serve_start_of_response()
        client = await self.connect()
        with self.assertRaises(BackendUnavailableError) as caught:
            await client.request("GET", "/v1/x")
        self.assertIn("longer than 5 bytes", str(caught.exception))
        await disconnected

    async def test_limit(self) -> None:
        """A response with status 200 or 409 may be as long as the caller allows, and any other one 64 kB."""
        client = await self.connect()
        self.resource.body = b"x" * 65_537
        for status in (200, 409):
            self.resource.status = status
            response = await client.request("GET", "/v1/x", limit=65_537)
            self.assertEqual(len(response.body), 65_537)
        self.resource.body = b"x" * 1_000_000
        for status, limit in ((200, None), (200, 65_536), (500, 65_537)):
            self.resource.status = status
            with self.assertRaises(ResponseTooLongError) as caught:
                await client.request("GET", "/v1/x?a=b", limit=limit)
            self.assertIn("/v1/x: the response is longer than 65536 bytes", str(caught.exception))

    async def test_receive(self) -> None:
        """The body of a response with status 200 can be received in parts. An error of the receiver ends it."""
        client = await self.connect()
        self.resource.body = b"x" * 300_000
        parts: list[bytes] = []
        response = await client.request("GET", "/v1/x", receive=parts.append, limit=300_000)
        self.assertEqual((b"".join(parts), response.body), (self.resource.body, b""))
        self.assertGreater(len(parts), 1)

        def reject(part: bytes) -> None:
            raise ValueError("wrong")

        with self.assertRaises(BackendUnavailableError) as caught:
            await client.request("GET", "/v1/x", receive=reject, limit=300_000)
        self.assertIn("/v1/x: the response is malformed: wrong", str(caught.exception))
        self.resource.status, self.resource.body = 503, b"later"
        parts.clear()
        response = await client.request("GET", "/v1/x", receive=parts.append, limit=300_000)
        self.assertEqual((parts, response.body), ([], b"later"))

    async def test_drip(self) -> None:
        """A response that is sent byte by byte ends with the time of the whole request."""
        self.patch(http_client, "TIMEOUT", 0.5)
        sending: list[LoopingCall] = []

        def render(request: Any) -> int:
            request.notifyFinish().addErrback(lambda _: sending[0].stop())
            sending.append(LoopingCall(request.write, b" "))
            sending[0].start(0.05)
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        client = await self.connect()
        with self.assertRaises(BackendUnavailableError) as caught:
            await client.request("GET", "/v1/x", receive=lambda part: None, limit=1000)
        self.assertIn("does not answer within", str(caught.exception))

    def serve_start_of_response(self) -> Deferred[None]:
        """Send only the start of each response. Return a Deferred that fires when the client closes the connection."""
        disconnected: Deferred[None] = Deferred()

        def render(request: Any) -> int:
            request.notifyFinish().addErrback(lambda _: disconnected.callback(None))
            request.write(b"{" + b" " * 10)
            reactor.callLater(0, self.started.callback, None)
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        return disconnected
