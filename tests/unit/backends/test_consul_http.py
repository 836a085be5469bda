"""Tests for :mod:`ssdpreg.backends.consul_http`."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_token import TokenSource
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from tests.support.scripted_resource import ScriptedResource

_T = TypeVar("_T")


class ConsulHTTPTests(SynchronousTestCase):
    """Tests for :class:`ConsulHTTP`: the requests, and the errors for each kind of response."""

    def setUp(self) -> None:
        self.resource = ScriptedResource()
        self.clock = Clock()
        self.clock.advance(1000)
        self.http = self.make_http()

    def make_http(self, token: TokenSource | None = None, parameters: Mapping[str, str] | None = None) -> ConsulHTTP:
        self.treq = StubTreq(self.resource)
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", cast("Any", self.treq))
        return ConsulHTTP(self.clock, client, token, parameters)

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine that has to return without delay."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure_of(self, coroutine: Coroutine[Any, Any, object]) -> Any:
        """Run a coroutine that has to fail without delay, and return the exception."""
        return self.failureResultOf(Deferred.fromCoroutine(coroutine)).value

    def test_get(self) -> None:
        """``get`` quotes the query and returns the decoded JSON."""
        self.resource.body = '{"ä": [1]}'.encode()
        self.assertEqual(self.result_of(self.http.get("list", "/v1/x", filter='ID == "a&b"')), {"ä": [1]})
        ((method, uri, _, body),) = self.resource.requests
        self.assertEqual((method, uri, body), ("GET", "/v1/x?filter=ID+%3D%3D+%22a%26b%22", b""))

    def test_exchange(self) -> None:
        """``exchange`` returns the status and the JSON of the response, also of the error status that it accepts."""
        self.resource.body, self.resource.status = b'{"Errors": [1]}', 409
        sending = self.http.exchange("txn", "PUT", "/v1/txn", [{"KV": 1}], accept=409, dc="d2")
        self.assertEqual(self.result_of(sending), (409, {"Errors": [1]}))
        ((method, uri, _, body),) = self.resource.requests
        self.assertEqual((method, uri, json.loads(body)), ("PUT", "/v1/txn?dc=d2", [{"KV": 1}]))
        self.assertIsInstance(self.failure_of(self.http.exchange("txn", "PUT", "/v1/txn", [])), BackendRefusedError)
        self.resource.body, self.resource.status = b"<html>", 200
        self.assertIsInstance(self.failure_of(self.http.exchange("txn", "PUT", "/v1/x")), BackendUnavailableError)

    def test_exchange_timeout(self) -> None:
        """``exchange`` is cancelled after its own time limit."""
        self.resource.body = cast("Any", NOT_DONE_YET)
        sending = Deferred.fromCoroutine(self.http.exchange("renew", "PUT", "/v1/x", timeout=3.0))
        self.clock.advance(2.9)
        self.assertNoResult(sending)
        self.clock.advance(0.2)
        self.assertIn("within 3 s", str(self.failureResultOf(sending, BackendUnavailableError).value))

    def test_put(self) -> None:
        """``put`` sends its body as JSON."""
        self.resource.body = b""
        self.result_of(self.http.put("register", "/v1/a%2Fb", {"Name": "ü"}))
        ((method, uri, _, body),) = self.resource.requests
        self.assertEqual((method, uri, json.loads(body)), ("PUT", "/v1/a%2Fb", {"Name": "ü"}))

    def test_content_type(self) -> None:
        """Every request has a Content-Type, also without a body: Consul logs a warning otherwise."""
        self.result_of(self.http.get("list", "/v1/x"))
        self.resource.body = b""
        self.result_of(self.http.put("pass", "/v1/x"))
        self.result_of(self.http.put("register", "/v1/x", {}))
        self.assertEqual({headers["Content-Type"] for _, _, headers, _ in self.resource.requests}, {"application/json"})

    def test_token(self) -> None:
        """The token is sent in the X-Consul-Token field. Without a token there is no such field."""
        self.result_of(self.http.get("list", "/v1/x"))
        self.result_of(self.make_http(TokenSource("secret")).get("list", "/v1/x"))
        self.assertEqual(
            [headers.get("X-Consul-Token") for _, _, headers, _ in self.resource.requests], [None, "secret"]
        )

    def test_long_token_file(self) -> None:
        """The first 4096 characters of a token file are read."""
        path = Path(self.mktemp())
        path.write_text("x" * 4096 + "y")
        self.assertEqual(TokenSource(path=str(path)).value, "x" * 4096)

    def test_token_is_hidden(self) -> None:
        """No representation, error or log event contains the token."""
        token = TokenSource("secret")
        http = self.make_http(token)
        seen = [repr(token), repr(http), repr(vars(http)), repr(ConsulConfig(token="secret"))]
        with capturedLogs() as events:
            for status in (302, 400, 403, 404, 429, 500):
                self.resource.status = status
                error = self.failure_of(http.put("register", "/v1/x"))
                seen += [repr(error), str(error), repr(vars(error))]
        seen += map(repr, events)
        self.assertNotIn("secret", "".join(seen))

    def test_token_file(self) -> None:
        """After status 403 the token file is read again, and the request is repeated if the token has changed."""
        path = Path(self.mktemp())
        path.write_text("first\n")
        http = self.make_http(TokenSource(path=str(path)))
        self.resource.status = 403

        def assert_refused(body: dict[str, str] | None = None) -> None:
            self.assertIsInstance(self.failure_of(http.put("register", "/v1/x", body)), BackendRefusedError)

        assert_refused()
        path.write_text("second\n")
        assert_refused({"Name": "x"})
        path.unlink()
        assert_refused()
        self.assertEqual(
            [(headers["X-Consul-Token"], body) for _, _, headers, body in self.resource.requests],
            [("first", b""), ("first", b'{"Name":"x"}'), ("second", b'{"Name":"x"}'), ("second", b"")],
        )

    def test_token_of_the_request(self) -> None:
        """Each request that was rejected with an earlier token is repeated, also if another one read the new token."""
        path = Path(self.mktemp())
        path.write_text("first")
        http = self.make_http(TokenSource(path=str(path)))
        waiting: list[Any] = []

        def render(request: Any) -> Any:
            if request.requestHeaders.getRawHeaders("X-Consul-Token") == ["second"]:
                return b""
            waiting.append(request)
            return NOT_DONE_YET

        self.resource.render = render  # type: ignore[method-assign]
        requesting = [Deferred.fromCoroutine(http.put("register", "/v1/x")) for _ in range(8)]
        path.write_text("second")
        for request in waiting:
            request.setResponseCode(403)
            request.finish()
        self.treq.flush()
        for each in requesting:
            self.successResultOf(each)
        self.assertEqual(len(waiting), 8)

    def test_token_version(self) -> None:
        """The version grows when the content of the token file changes. An empty or missing file has no effect."""
        path = Path(self.mktemp())
        path.write_text("first")
        token = TokenSource(path=str(path))
        http = self.make_http(token)
        versions = []
        for content in ("first", "second\n", "", "second", "third"):
            path.write_text(content)
            versions.append(http.token_version)
        path.write_bytes(b"\xff")
        versions.append(http.token_version)
        path.unlink()
        versions.append(http.token_version)
        self.assertEqual((versions, token.value), ([0, 1, 1, 1, 2, 2, 2], "third"))
        self.assertEqual(self.make_http(TokenSource("fixed")).token_version, 0)

    def test_put_with_a_response(self) -> None:
        """A response with a body is not that of a Consul agent: the request was not successful."""
        for body in (b"null", b"true", b"{}", b"<html>"):
            self.resource.body = body
            self.assertIsInstance(self.failure_of(self.http.put("register", "/v1/x")), BackendUnavailableError)
        self.resource.body = b"\n"
        self.result_of(self.http.put("register", "/v1/x"))

    def test_not_found(self) -> None:
        """Status 404 with a text that is not Consul's is a rejection: another server may have sent it."""
        for body in (b"", b"404 page not found", b"<html>"):
            self.resource.status, self.resource.body = 404, body
            self.assertEqual(self.failure_of(self.http.put("register", "/v1/x")).status, 404)

    def test_long_response(self) -> None:
        """A response of more than 64 kB is an error, and is counted."""
        self.resource.body = b" " * 65_537
        for coroutine in (self.http.put("register", "/v1/x"), self.http.get("find", "/v1/x")):
            error = self.failure_of(coroutine)
            self.assertIsInstance(error, BackendUnavailableError)
            self.assertEqual(str(error), "http://consul.test:8500/v1/x: the response is longer than 65536 bytes")
        self.assertEqual(self.http.too_long, 2)

    def test_members(self) -> None:
        """``get_members`` passes each member of an object to a function."""
        self.resource.body = b'{"a": 1, "b": {"c": 2}}'
        members: dict[str, Any] = {}
        self.result_of(self.http.get_members("list", "/v1/x", members.__setitem__, 100, filter="f"))
        self.assertEqual(members, {"a": 1, "b": {"c": 2}})
        self.assertEqual(self.resource.requests[0][1], "/v1/x?filter=f")

    def test_items(self) -> None:
        """``get_items`` passes each item of an array to a function."""
        self.resource.body = b'[1, {"c": 2}]'
        items: list[Any] = []
        self.result_of(self.http.get_items("list", "/v1/x", items.append, 100, filter="f"))
        self.assertEqual(items, [1, {"c": 2}])
        self.assertEqual(self.resource.requests[0][1], "/v1/x?filter=f")

    def test_transaction(self) -> None:
        """A transaction returns the response with status 200 or 409, and counts the latter as refused."""
        for status, result in ((200, "ok"), (409, "refused")):
            self.resource.status, self.resource.body = status, b"x" * 100_000
            response = self.result_of(self.http.transact("write", b"[]", 200_000))
            self.assertEqual((response.status, len(response.body)), (status, 100_000))
            self.assertEqual(self.http.requests["write", result], 1)
        self.assertIsInstance(self.failure_of(self.http.transact("write", b"[]", 1000)), BackendUnavailableError)
        for status, body, error in (
            (413, b"too many", BackendRefusedError),
            (500, b"No cluster leader", BackendUnavailableError),
            (404, b"Unknown service x", BackendUnavailableError),
        ):
            self.resource.status, self.resource.body = status, body
            self.assertIsInstance(self.failure_of(self.http.transact("write", b"[]", 1000)), error)

    def test_parameters_of_every_request(self) -> None:
        """Parameters of the client are part of each request, besides its own ones."""
        http = self.make_http(parameters={"dc": "dc 2"})
        self.resource.body = b"[]"
        self.result_of(http.get("list", "/v1/x", a="b"))
        self.result_of(http.get_items("list", "/v1/x", print, 100))
        self.result_of(http.transact("write", b"[]", 100, consistent=""))
        self.resource.body = b""
        self.result_of(http.put("write", "/v1/x"))
        self.assertEqual(
            [path for _, path, *_ in self.resource.requests],
            ["/v1/x?a=b&dc=dc+2", "/v1/x?dc=dc+2", "/v1/txn?consistent=&dc=dc+2", "/v1/x?dc=dc+2"],
        )

    def test_malformed_members(self) -> None:
        """A listing that is too long or malformed, or whose member is rejected, is an error with its path."""

        def reject(name: str, value: object) -> None:
            raise ValueError(f"{name} is wrong")

        for body, limit, problem in (
            (b'{"a": 1}', 7, "the response is longer than 7 bytes"),
            (b'{"a": 1', 100, "the response is malformed: the JSON object is malformed or incomplete"),
            (b'{"a": 1}', 100, "the response is malformed: a is wrong"),
        ):
            self.resource.body = body
            error = self.failure_of(self.http.get_members("list", "/v1/x", reject, limit, filter="f"))
            self.assertIsInstance(error, BackendUnavailableError)
            self.assertEqual(str(error), f"http://consul.test:8500/v1/x: {problem}")

    def test_members_after_another_token(self) -> None:
        """A listing that is repeated with another token is parsed from its beginning."""
        path = Path(self.mktemp())
        path.write_text("first")
        http = self.make_http(TokenSource(path=str(path)))
        path.write_text("second")
        render = self.resource.render

        def render_once(request: Any) -> Any:
            self.resource.render = render  # type: ignore[method-assign]
            request.setResponseCode(403)
            return b'{"a": '

        self.resource.render = render_once  # type: ignore[method-assign]
        self.resource.body = b'{"b": 2}'
        members: dict[str, Any] = {}
        self.result_of(http.get_members("list", "/v1/x", members.__setitem__, 100))
        self.assertEqual(members, {"b": 2})

    def test_refused(self) -> None:
        """A status that repetition does not change is a rejection with Consul's reason."""
        for status, body in [
            (300, b""),
            (301, b""),
            (400, b"Missing service name"),
            (401, b""),
            (403, b"Permission denied"),
            (405, b"method POST not allowed"),
            (413, b""),
            (499, b""),
        ]:
            self.resource.status, self.resource.body = status, body
            error = self.failure_of(self.http.put("register", "/v1/x"))
            self.assertIsInstance(error, BackendRefusedError)
            self.assertEqual((error.status, error.reason), (status, body.decode()))

    def test_success(self) -> None:
        """Any status 2xx is a success."""
        self.resource.body = b""
        for self.resource.status in (200, 204, 299):
            self.result_of(self.http.put("register", "/v1/x"))

    def test_redirect(self) -> None:
        """A redirect is not followed."""
        self.resource.status, self.resource.headers = 301, {"Location": "/v1/y"}
        self.failure_of(self.http.get("list", "/v1/x"))
        self.assertEqual(len(self.resource.requests), 1)

    def test_unavailable(self) -> None:
        """Status 429 and 5xx mean that Consul is unavailable, with the pause from Retry-After if it is in seconds."""
        for status, headers, retry_after in [
            (429, {"Retry-After": "7"}, 7.0),
            (500, {}, None),
            (502, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
            (503, {"Retry-After": "0"}, 0.0),
            (504, {}, None),
        ]:
            self.resource.status, self.resource.headers, self.resource.body = status, headers, b"No cluster leader"
            error = self.failure_of(self.http.put("register", "/v1/x"))
            self.assertIsInstance(error, BackendUnavailableError)
            self.assertEqual(str(error), f"http://consul.test:8500 answers {status}: No cluster leader")
            self.assertEqual(error.retry_after, retry_after)

    def test_forgot(self) -> None:
        """The responses of all Consul versions for an unknown ID have one error class."""
        for status, body in [
            (404, b"unknown service ID: nope"),
            (404, b'Unknown check ID "x". Ensure that the check ID is passed, not the check name.'),
            (500, b'Unknown service {"nope" {}}'),
            (500, b'Unknown check "nope"'),
            (500, b'CheckID "nope" does not have associated TTL'),
        ]:
            self.resource.status, self.resource.body = status, body
            error = self.failure_of(self.http.put("pass", "/v1/x"))
            self.assertIsInstance(error, BackendForgotError)
            self.assertEqual(str(error), body.decode())

    def test_reason_is_printable(self) -> None:
        """The reason, which may quote a device, is cut at 200 characters and has no control characters."""
        self.resource.status, self.resource.body = 400, b"\x1b[2J\n\xff" + b"x" * 10000
        reason = self.failure_of(self.http.put("register", "/v1/x")).reason
        self.assertTrue(reason.isprintable())
        self.assertLessEqual(len(reason), 200)

    def test_no_json(self) -> None:
        """A response that is not JSON means that Consul is unavailable: a proxy may have sent it."""
        self.resource.body = b"<html>"
        self.assertIsInstance(self.failure_of(self.http.get("list", "/v1/x")), BackendUnavailableError)

    def test_counts(self) -> None:
        """Requests are counted by operation and result."""
        for status, body in ((200, b""), (200, b"{}"), (400, b""), (404, b"unknown service ID: x"), (503, b"")):
            self.resource.status, self.resource.body = status, body
            Deferred.fromCoroutine(self.http.put("register", "/v1/x")).addErrback(lambda _: None)
        self.assertEqual(
            self.http.requests,
            {
                ("register", "ok"): 2,
                ("register", "refused"): 1,
                ("register", "forgot"): 1,
                ("register", "unavailable"): 1,
            },
        )

    def test_timeout(self) -> None:
        """After 10 s without a response Consul is unavailable, and the duration is counted."""
        self.resource.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
        asking = Deferred.fromCoroutine(self.http.put("register", "/v1/x"))
        self.clock.advance(9.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        error = self.failureResultOf(asking, BackendUnavailableError)
        self.assertEqual(error.getErrorMessage(), "http://consul.test:8500 does not answer within 10 s")
        self.assertEqual(self.http.requests, {("register", "unavailable"): 1})
        self.assertAlmostEqual(self.http.seconds["register"], 10)

    def test_cancelled(self) -> None:
        """A cancelled request fails with ``CancelledError`` and leaves no delayed call."""
        self.resource.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
        asking = Deferred.fromCoroutine(self.http.put("register", "/v1/x"))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
