"""Tests for :mod:`ssdpreg.backends.consul_agent` beyond those that every backend has to pass."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar, cast

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import FakeConsulAgent, make_registration

_T = TypeVar("_T")


class ConsulAgentTests(SynchronousTestCase):
    """Tests for :class:`ConsulAgent` with an agent in memory: its requests, and its reactions to errors."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()
        self.clock = Clock()
        self.backend = self.make_backend()

    def make_backend(self) -> ConsulAgent:
        treq: Any = StubTreq(self.agent)
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", treq)
        return ConsulAgent(ConsulHTTP(self.clock, client), "test")

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine that has to return without delay."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure_of(self, coroutine: Coroutine[Any, Any, object], *errors: type[Exception]) -> Exception:
        """Run a coroutine that has to fail without delay, and return the exception."""
        return cast("Exception", self.failureResultOf(Deferred.fromCoroutine(coroutine), *errors).value)

    def requests_of(self, coroutine: Coroutine[Any, Any, object]) -> list[tuple[str, str]]:
        """Run a coroutine, and return the method and path of each of its requests."""
        self.agent.requests.clear()
        self.result_of(coroutine)
        return list(self.agent.requests)

    def test_own_service(self) -> None:
        """The first ``keep_alive`` registers the daemon with a passing TTL check, which ends its service on expiry."""
        bodies = record_bodies(self.agent)
        self.result_of(self.backend.keep_alive())
        (body,) = bodies
        self.assertEqual(
            {key: body[key] for key in ("ID", "Name", "Checks")},
            {
                "ID": "ssdpreg",
                "Name": "ssdpreg",
                "Checks": [
                    {
                        "CheckID": "ssdpreg:alive",
                        "Name": "ssdpreg is alive",
                        "TTL": "30s",
                        "Status": "passing",
                        "DeregisterCriticalServiceAfter": "60s",
                    }
                ],
            },
        )
        self.assertEqual(body["Meta"]["external-source"], "ssdpreg")
        self.assertEqual(body["Meta"]["ssdpreg-scope"], "test")

    def test_checks(self) -> None:
        """A registration has its checks in Consul's format, and an alias check on the daemon's own service."""
        bodies = record_bodies(self.agent)
        registration = make_registration(
            checks=frozenset(
                {
                    Check("a", "alive"),
                    Check("h", "http", "https://192.0.2.1/x", 15.0, 2.5, True, 300.0),
                    Check("t", "tcp", "192.0.2.1:80", 86400.0),
                }
            )
        )
        self.result_of(self.backend.apply(Plan(register=(registration,))))
        self.assertEqual(
            {check.pop("CheckID"): check for check in bodies[-1]["Checks"]},
            {
                "a": {
                    "Name": "ssdpreg is alive and lists the service",
                    "AliasService": "ssdpreg",
                    "Status": "passing",
                    "DeregisterCriticalServiceAfter": "60s",
                },
                "h": {
                    "Name": "HTTP https://192.0.2.1/x",
                    "Status": "passing",
                    "HTTP": "https://192.0.2.1/x",
                    "TLSSkipVerify": True,
                    "Interval": "15s",
                    "Timeout": "2.5s",
                    "DeregisterCriticalServiceAfter": "300s",
                },
                "t": {"Name": "TCP 192.0.2.1:80", "Status": "passing", "TCP": "192.0.2.1:80", "Interval": "86400s"},
            },
        )

    def test_steady_state(self) -> None:
        """With 50 services, ``keep_alive`` sends one request, and ``read`` sends two."""
        registrations = tuple(make_registration(number) for number in range(50))
        self.result_of(self.backend.keep_alive())
        self.result_of(self.backend.apply(Plan(register=registrations)))
        self.assertEqual(self.requests_of(self.backend.keep_alive()), [("PUT", "/v1/agent/check/pass/ssdpreg%3Aalive")])
        self.assertEqual(
            self.requests_of(self.backend.read()), [("GET", "/v1/agent/checks"), ("GET", "/v1/agent/services")]
        )

    def test_registration_is_one_request(self) -> None:
        """One request registers a new service, or a moved service with the same checks."""
        self.result_of(self.backend.keep_alive())
        registration = make_registration()
        for each in (registration, replace(registration, address="192.0.2.99")):
            self.assertEqual(
                self.requests_of(self.backend.apply(Plan(register=(each,)))), [("PUT", "/v1/agent/service/register")]
            )

    def test_stale_check(self) -> None:
        """A check that is no longer configured is deregistered by one request, also after a restart of the daemon."""
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0", "http", "http://192.0.2.1/", 15.0)
        self.result_of(self.backend.apply(Plan(register=(replace(plain, checks=plain.checks | {http}),))))
        backend = self.make_backend()
        self.result_of(backend.read())
        self.assertEqual(
            self.requests_of(backend.apply(Plan(register=(plain,)))),
            [("PUT", "/v1/agent/service/register"), ("PUT", f"/v1/agent/check/deregister/{http.check_id}")],
        )
        self.assertEqual(
            self.requests_of(backend.apply(Plan(register=(plain,)))), [("PUT", "/v1/agent/service/register")]
        )

    def test_checks_go_with_their_service(self) -> None:
        """The checks of a deregistered service are not deregistered when it is registered again without them."""
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0", "http", "http://192.0.2.1/", 15.0)
        self.result_of(self.backend.apply(Plan(register=(replace(plain, checks=plain.checks | {http}),))))
        self.result_of(self.backend.apply(Plan(deregister=(plain,))))
        self.assertEqual(
            self.requests_of(self.backend.apply(Plan(register=(plain,)))), [("PUT", "/v1/agent/service/register")]
        )

    def test_stale_check_remains(self) -> None:
        """A check whose removal failed is removed when its service is registered the next time."""
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0", "http", "http://192.0.2.1/", 15.0)
        self.result_of(self.backend.apply(Plan(register=(replace(plain, checks=plain.checks | {http}),))))
        self.agent.faults["/v1/agent/check/deregister"] = (500, "No cluster leader")
        plan = Plan(register=(plain,))
        outcome = self.result_of(self.backend.apply(plan))
        self.assertEqual(outcome.applied, frozenset())
        self.assertIsNotNone(outcome.unavailable)
        self.agent.faults.clear()
        self.result_of(self.backend.apply(plan))
        self.assertEqual(self.result_of(self.backend.read()), {plain.service_id: plain})

    def test_restart(self) -> None:
        """After a restart, the daemon finds its own service and does not register it again."""
        self.result_of(self.backend.keep_alive())
        self.assertEqual(
            self.requests_of(self.make_backend().keep_alive()),
            [("GET", "/v1/agent/service/ssdpreg"), ("PUT", "/v1/agent/check/pass/ssdpreg%3Aalive")],
        )

    def test_upgrade(self) -> None:
        """After an update, the daemon registers its own service again, with the new version."""
        self.result_of(self.backend.keep_alive())
        self.agent.services["ssdpreg"]["Meta"]["ssdpreg-version"] = "0"
        self.assertIn(("PUT", "/v1/agent/service/register"), self.requests_of(self.make_backend().keep_alive()))

    def test_own_check_lost(self) -> None:
        """If only the TTL check is lost, ``keep_alive`` registers the daemon again and raises an error once."""
        self.result_of(self.backend.keep_alive())
        self.agent.checks.clear()
        self.failure_of(self.backend.keep_alive(), BackendForgotError)
        self.result_of(self.backend.keep_alive())

    def test_own_service_before_others(self) -> None:
        """The daemon's own service is registered once, before the first service that has an alias check on it."""
        self.assertEqual(
            self.requests_of(self.backend.apply(Plan(register=(make_registration(1), make_registration(2))))),
            [("GET", "/v1/agent/service/ssdpreg")] + [("PUT", "/v1/agent/service/register")] * 3,
        )

    def test_own_service_once(self) -> None:
        """``keep_alive`` and ``apply`` at the same time register the daemon only once."""
        self.agent.silent = True
        Deferred.fromCoroutine(self.backend.keep_alive())
        Deferred.fromCoroutine(self.backend.apply(Plan(register=(make_registration(),))))
        self.assertEqual(self.agent.requests, [("GET", "/v1/agent/service/ssdpreg")])

    def test_own_service_refused(self) -> None:
        """If the daemon may not register itself, ``apply`` registers no service, and deregisters as usual."""
        self.agent.denied.add("ssdpreg")
        new, old = make_registration(1), make_registration(2)
        outcome = self.result_of(self.backend.apply(Plan(register=(new,), deregister=(old,))))
        self.assertEqual(outcome.applied, {old.service_id})
        self.assertEqual(
            str(outcome.refused[new.service_id]), "403 Permission denied: Missing service:write on ssdpreg"
        )
        self.assertEqual(self.agent.services, {})

    def test_read_after_data_loss(self) -> None:
        """After a loss of data, ``read`` returns nothing, and the next plan registers the daemon before the service."""
        self.result_of(self.backend.keep_alive())
        self.agent.clear()
        self.assertEqual(self.result_of(self.backend.read()), {})
        registration = make_registration()
        self.result_of(self.backend.apply(Plan(register=(registration,))))
        self.assertEqual(list(self.agent.services), ["ssdpreg", registration.service_id])

    def test_incomplete_listing(self) -> None:
        """``read`` raises an error if the token may not list services, for which Consul returns an empty listing."""
        self.result_of(self.backend.apply(Plan(register=(make_registration(),))))
        self.agent.unreadable = True
        error = self.failure_of(self.backend.read(), BackendRefusedError)
        self.assertTrue(cast("BackendRefusedError", error).denied)

    def test_no_listing(self) -> None:
        """``read`` raises an error for a response that is not a JSON object, as another program might send it."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (200, "[]")
        self.failure_of(self.backend.read(), BackendUnavailableError)

    def test_unavailable(self) -> None:
        """Every method reports that the agent is unavailable."""
        self.agent.faults[""] = (500, "No cluster leader")
        for coroutine in (self.backend.read(), self.backend.keep_alive(), self.backend.retire()):
            self.failure_of(coroutine, BackendUnavailableError)
        for plan in (Plan(register=(make_registration(),)), Plan(deregister=(make_registration(),))):
            outcome = self.result_of(self.backend.apply(plan))
            self.assertEqual((outcome.applied, outcome.refused), (frozenset(), {}))
            self.assertEqual(str(outcome.unavailable), "http://consul.test:8500 answers 500: No cluster leader")

    def test_stops_when_unavailable(self) -> None:
        """``apply`` starts no further change after the agent became unavailable."""
        plan = Plan(deregister=tuple(make_registration(number) for number in range(100)))
        self.agent.faults[""] = (503, "")
        self.agent.requests.clear()
        self.assertIsNotNone(self.result_of(self.backend.apply(plan)).unavailable)
        self.assertLessEqual(len(self.agent.requests), 8)

    def test_requests_under_way(self) -> None:
        """At most 8 requests are in progress at a time."""
        self.result_of(self.backend.keep_alive())
        self.agent.silent = True
        self.agent.requests.clear()
        applying = Deferred.fromCoroutine(
            self.backend.apply(Plan(register=tuple(make_registration(number) for number in range(100))))
        )
        self.assertEqual(len(self.agent.requests), 8)
        self.clock.advance(10)
        outcome = self.successResultOf(applying)
        self.assertEqual(str(outcome.unavailable), "http://consul.test:8500 does not answer within 10 s")
        self.assertEqual(len(self.agent.requests), 8)

    def test_cancelled(self) -> None:
        """The cancellation of ``apply`` cancels all its requests."""
        self.result_of(self.backend.keep_alive())
        self.agent.silent = True
        plan = Plan(register=tuple(make_registration(number) for number in range(100)))
        applying = Deferred.fromCoroutine(self.backend.apply(plan))
        applying.cancel()
        self.failureResultOf(applying, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_consul(self) -> None:
        """Status 404 for a registration is a rejection: the server is not Consul."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (404, "what?")
        registration = make_registration()
        outcome = self.result_of(self.backend.apply(Plan(register=(registration,))))
        self.assertEqual(str(outcome.refused[registration.service_id]), "404 what?")

    def test_deregister_on_newer_consul(self) -> None:
        """Status 404 for the removal of a service, as newer versions of Consul send it, counts as success."""
        self.agent.faults["/v1/agent/service/deregister"] = (
            404,
            'Unknown service ID "x". Ensure that the service ID is passed, not the service name.',
        )
        registration = make_registration()
        outcome = self.result_of(self.backend.apply(Plan(deregister=(registration,))))
        self.assertEqual(outcome.applied, {registration.service_id})


def record_bodies(agent: FakeConsulAgent) -> list[dict[str, Any]]:
    """Return a list to which the body of each further request is appended."""
    bodies: list[dict[str, Any]] = []
    render = agent.render

    def record(request: Any) -> Any:
        content = request.content.read()
        request.content.seek(0)
        if content:
            bodies.append(json.loads(content))
        return render(request)

    agent.render = record  # type: ignore[method-assign]
    return bodies
