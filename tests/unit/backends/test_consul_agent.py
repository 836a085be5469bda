"""Tests for :mod:`ssdpreg.backends.consul_agent` beyond those that every backend has to pass."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, cast
from unittest import mock
from urllib.parse import quote

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg import __version__
from ssdpreg.backends import consul_agent
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.instance import Instance, current_instance
from ssdpreg.errors import BackendForgotError, BackendInUseError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import ICredentials, IKnownRegistrations, IRequestStatistics, IWriteProbe
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import FakeConsulAgent, make_registration

_T = TypeVar("_T")


class ConsulAgentTestCase(SynchronousTestCase):
    """Base class: a backend with an agent in memory."""

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


class ConsulAgentTests(ConsulAgentTestCase):
    """Tests for :class:`ConsulAgent` with an agent in memory: its requests, and its reactions to errors."""

    def test_interfaces(self) -> None:
        """The backend provides the optional interfaces."""
        for interface in (IRequestStatistics, IWriteProbe, ICredentials, IKnownRegistrations):
            verifyObject(interface, self.backend)

    def test_statistics(self) -> None:
        """The statistics are those of all requests so far, and the version is that of the token."""
        self.result_of(self.backend.keep_alive())
        counts = {("find", "ok"): 0, ("find", "forgot"): 1, ("register", "ok"): 1, ("keep-alive", "ok"): 1}
        self.assertEqual({key: self.backend.requests.get(key, 0) for key in counts}, counts)
        self.assertEqual(self.backend.seconds, {"find": 0.0, "register": 0.0, "keep-alive": 0.0})
        self.assertEqual((self.backend.too_long, self.backend.credentials_version), (0, 0))

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
        self.assertEqual((outcome.applied, set(outcome.refused)), (frozenset(), {plain.service_id}))
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

    def test_listing_without_known_services(self) -> None:
        """``read`` raises an error if a listing lacks a known service that the agent has."""
        known = {each.service_id: each for each in (make_registration(1), make_registration(2))}
        self.result_of(self.backend.apply(Plan(register=tuple(known.values()))))
        self.backend.known = self.result_of(self.backend.read())
        last = list(known)[-1]
        for hidden in (set(known), {last}):
            self.agent.hidden = hidden
            error = self.failure_of(self.backend.read(), BackendUnavailableError)
            self.assertIn("the listing is incomplete: it lacks ssdpreg-", str(error))
        # A service that the token may not read, or an agent that does not tell.
        for status in (403, 405):
            self.agent.faults = {f"/v1/agent/service/{last}": (status, "No")}
            self.assertEqual(len(self.result_of(self.backend.read())), 1)
        self.agent.faults.clear()
        self.agent.hidden = set()
        self.assertEqual(self.result_of(self.backend.read()), known)

    def test_many_services(self) -> None:
        """A warning is logged once, when the agent has more services than it can handle well, and again after that."""
        self.patch(consul_agent, "_MANY_SERVICES", 2)
        events: list[Any] = []
        self.backend.log = Logger(observer=cast("ILogObserver", events.append))
        plan = Plan(register=tuple(map(make_registration, range(3))))
        for _ in range(2):
            self.result_of(self.backend.apply(Plan(register=plan.register[:2])))
            self.result_of(self.backend.read())
            self.assertEqual(events, [])
            self.result_of(self.backend.apply(plan))
            for _ in range(2):
                self.result_of(self.backend.read())
            self.assertIn("Registered 3 services with one agent", formatEvent(events.pop()))
            self.result_of(self.backend.apply(Plan(deregister=plan.register[2:])))
            self.result_of(self.backend.read())

    def test_reconciliation_with_an_incomplete_listing(self) -> None:
        """While the agent lists only the daemon's own service, nothing is registered again."""
        services = {each.service_id: each for each in map(make_registration, range(40))}
        reconciler = Reconciler(self.clock, self.backend, services, lambda found: None)
        reconciler.startService()
        self.addCleanup(reconciler.stopService)
        self.clock.pump([0.1] * 50)
        self.assertTrue(reconciler.available)
        self.agent.hidden = set(services)
        self.agent.requests.clear()
        self.clock.pump([0.5] * 600)
        self.assertNotIn(("PUT", "/v1/agent/service/register"), self.agent.requests)
        self.assertIn("the listing is incomplete", str(reconciler.error))
        self.agent.hidden = set()
        new = make_registration(50)
        services[new.service_id] = new
        reconciler.appeared(new)
        self.clock.pump([0.5] * 70)
        self.assertEqual((reconciler.available, reconciler.pending), (True, 0))
        self.assertEqual(self.agent.requests.count(("PUT", "/v1/agent/service/register")), 1)

    def test_listing_after_losses(self) -> None:
        """``read`` accepts that a known service is gone, or that another program replaced it."""
        one, two = make_registration(1), make_registration(2)
        self.result_of(self.backend.apply(Plan(register=(one, two))))
        self.backend.known = self.result_of(self.backend.read())
        del self.agent.services[one.service_id]
        self.assertEqual(self.result_of(self.backend.read()), {two.service_id: two})
        self.agent.services[one.service_id] = {**self.agent.services[two.service_id], "ID": one.service_id, "Meta": {}}
        self.assertEqual(self.result_of(self.backend.read()), {two.service_id: two})

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

    def test_fault_of_some(self) -> None:
        """Changes that the agent fails to process are rejected, after one probe, and the others are applied."""
        registrations = [make_registration(number) for number in range(40)]
        self.result_of(self.backend.apply(Plan(register=tuple(registrations))))
        failing = {registrations[3].service_id, registrations[30].service_id}
        for service_id in failing:
            self.agent.faults[f"/v1/agent/service/deregister/{quote(service_id, safe='')}"] = (500, "disk full")
        self.agent.requests.clear()
        outcome = self.result_of(self.backend.apply(Plan(deregister=tuple(registrations))))
        self.assertEqual(list(self.agent.requests).count(("PUT", "/v1/agent/service/register")), 1)
        self.assertIsNone(outcome.unavailable)
        self.assertEqual(
            {each: str(error) for each, error in outcome.refused.items()}, dict.fromkeys(failing, "500 disk full")
        )
        self.assertEqual(outcome.applied, {each.service_id for each in registrations} - failing)

    def test_fault_of_all(self) -> None:
        """An agent that fails to process all writes is unavailable, after no more requests than are in progress."""
        self.result_of(self.backend.keep_alive())
        plan = Plan(register=tuple(make_registration(number) for number in range(100)))
        self.agent.faults["/v1/agent/service/register"] = (500, "No cluster leader")
        self.agent.requests.clear()
        outcome = self.result_of(self.backend.apply(plan))
        self.assertEqual((outcome.applied, outcome.refused), (frozenset(), {}))
        self.assertEqual(str(outcome.unavailable), "http://consul.test:8500 answers 500: No cluster leader")
        self.assertLessEqual(len(self.agent.requests), 18)

    def test_stops_when_unavailable(self) -> None:
        """``apply`` starts no further change after the agent became unavailable."""
        plan = Plan(deregister=tuple(make_registration(number) for number in range(100)))
        self.agent.faults[""] = (503, "")
        self.agent.requests.clear()
        self.assertIsNotNone(self.result_of(self.backend.apply(plan)).unavailable)
        self.assertLessEqual(len(self.agent.requests), 16)

    def test_requests_under_way(self) -> None:
        """At most 16 requests are in progress at a time."""
        self.result_of(self.backend.keep_alive())
        self.agent.silent = True
        self.agent.requests.clear()
        applying = Deferred.fromCoroutine(
            self.backend.apply(Plan(register=tuple(make_registration(number) for number in range(100))))
        )
        self.assertEqual(len(self.agent.requests), 16)
        self.clock.advance(10)
        outcome = self.successResultOf(applying)
        self.assertEqual(str(outcome.unavailable), "http://consul.test:8500 does not answer within 10 s")
        self.assertEqual(len(self.agent.requests), 16)

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

    def test_unknown_check_for_everything(self) -> None:
        """A server that answers every request with Consul's text for an unknown check rejects changes and listings."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (500, 'Unknown check "x"')
        registration = make_registration()
        for plan in (Plan(register=(registration,)), Plan(deregister=(registration,))):
            outcome = self.result_of(self.backend.apply(plan))
            self.assertEqual(str(outcome.refused[registration.service_id]), '404 Unknown check "x"')
        self.failure_of(self.backend.read(), BackendUnavailableError)
        self.failure_of(self.backend.keep_alive(), BackendUnavailableError)

    def test_not_found_for_everything(self) -> None:
        """Status 404 for everything, as a proxy sends it, is an error for every method, removals included."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (404, "404 page not found")
        registration = make_registration()
        outcome = self.result_of(self.backend.apply(Plan((registration,), (make_registration(2),))))
        self.assertEqual(len(outcome.refused), 2)
        for coroutine in (self.backend.read(), self.backend.keep_alive(), self.backend.probe()):
            self.failure_of(coroutine, BackendRefusedError)

    def test_no_agent(self) -> None:
        """A server that answers a registration with a body is not a Consul agent: the change does not count."""
        self.result_of(self.backend.keep_alive())
        for body in ("<html>", "[]", "true"):
            self.agent.faults["/v1/agent/service/register"] = (200, body)
            outcome = self.result_of(self.backend.apply(Plan(register=(make_registration(),))))
            self.assertEqual(outcome.applied, frozenset())
            self.assertIsNotNone(outcome.unavailable)

    def test_probe(self) -> None:
        """``probe`` registers the daemon's own service again."""
        self.result_of(self.backend.keep_alive())
        self.assertEqual(self.requests_of(self.backend.probe()), [("PUT", "/v1/agent/service/register")])
        self.agent.faults["/v1/agent/service/register"] = (405, "method not allowed")
        self.failure_of(self.backend.probe(), BackendRefusedError)

    def test_removals_first(self) -> None:
        """The removals of a plan are made before its registrations."""
        self.result_of(self.backend.keep_alive())
        gone, new = make_registration(1), make_registration(2)
        requests = self.requests_of(self.backend.apply(Plan((new,), (gone,))))
        self.assertEqual(requests[0], ("PUT", f"/v1/agent/service/deregister/{gone.service_id}"))

    def test_known_registrations(self) -> None:
        """``read`` returns a known registration in place of an equal one, and a new one if anything differs."""
        registration = make_registration(tags=("a",))
        self.result_of(self.backend.apply(Plan(register=(registration,))))
        service_id = registration.service_id
        self.backend.known = {service_id: registration}
        self.assertIs(self.result_of(self.backend.read())[service_id], registration)
        changes: tuple[dict[str, Any], ...] = (
            {"name": "other"},
            {"address": "192.0.2.99"},
            {"port": 1},
            {"tags": ()},
            {"meta": {**registration.meta, "ssdp-server": "x"}},
            {"checks": frozenset()},
            {"checks": frozenset({Check("other")})},
        )
        for change in changes:
            self.backend.known = {service_id: replace(registration, **change)}
            self.assertEqual(self.result_of(self.backend.read()), {service_id: registration})

    def test_new_objects(self) -> None:
        """The new registrations of a listing count as long-lived objects, and known ones do not count again."""
        objects = mock.Mock()
        self.patch(consul_agent, "LongLivedObjects", lambda: objects)
        backend = self.make_backend()
        registrations = [make_registration(number) for number in range(3)]
        self.result_of(backend.apply(Plan(register=tuple(registrations))))
        self.result_of(backend.read())
        self.assertEqual(objects.grow.mock_calls, [mock.call(1), mock.call(2), mock.call(3)])
        objects.reset_mock()
        backend.known = {each.service_id: each for each in registrations[1:]}
        self.result_of(backend.read())
        self.assertEqual(objects.grow.mock_calls, [mock.call(1)])

    def test_restart_with_another_id(self) -> None:
        """A restarted daemon whose preferred ID is in use reads each listing once."""
        self.agent.services["ssdpreg"] = {**MalformedResponseTests.SERVICE, "ID": "ssdpreg"}
        self.result_of(self.backend.keep_alive())
        paths = [path for _, path in self.requests_of(self.make_backend().read())]
        self.assertEqual(paths[0], "/v1/agent/service/ssdpreg")
        self.assertRegex(paths[1], r"/v1/agent/service/ssdpreg%3A[0-9a-f]{8}\Z")
        self.assertEqual(paths[2:], ["/v1/agent/checks", "/v1/agent/services"])


class MalformedResponseTests(ConsulAgentTestCase):
    """Responses of a server that is no Consul agent, or of a broken one."""

    #: Bodies that are no listing of services or of checks.
    LISTINGS = (
        "",
        "null",
        "[]",
        "true",
        "<html>",
        "{",
        "[" * 100_000,
        '{"ssdpreg-x": ' + "[" * 60_000,
        '{"ssdpreg-x": null}',
        '{"ssdpreg-x": {}}',
        '{"ssdpreg-x": []}',
        '{"ssdpreg-x": 1}',
    )
    SERVICE: ClassVar[dict[str, object]] = {
        "ID": "ssdpreg-x",
        "Service": "n",
        "Address": "192.0.2.1",
        "Port": 1,
        "Tags": [],
        "Meta": {},
    }

    def assert_unavailable(self, coroutine: Coroutine[Any, Any, object], path: str) -> None:
        """Check that a method fails because the backend is unavailable, with one line that contains the path."""
        error = self.failure_of(coroutine, BackendUnavailableError)
        self.assertIn(path, str(error))
        self.assertNotIn("\n", str(error))
        self.assertLess(len(str(error)), 300)

    def test_listings(self) -> None:
        """A malformed listing of services or checks means that the backend is unavailable."""
        self.result_of(self.backend.keep_alive())
        for path in ("/v1/agent/services", "/v1/agent/checks"):
            for body in self.LISTINGS:
                self.agent.faults = {path: (200, body)}
                self.assert_unavailable(self.backend.read(), path)

    def test_entries(self) -> None:
        """A service without one of the fields, or with a field of another type, is malformed."""
        self.result_of(self.backend.keep_alive())
        for field in ("ID", "Service", "Address", "Port"):
            values: tuple[Any, ...] = (None, [], {}, True, 1.5, 7 if field != "Port" else "7")
            for value in values:
                entry = {**self.SERVICE, field: value}
                self.agent.faults = {"/v1/agent/services": (200, json.dumps({"ssdpreg-x": entry}))}
                self.assert_unavailable(self.backend.read(), "/v1/agent/services")
        changes: tuple[dict[str, Any], ...] = (
            {"Tags": "x"},
            {"Tags": [1]},
            {"Tags": {}},
            {"Meta": []},
            {"Meta": {"a": 1}},
            {"Meta": "x"},
        )
        for change in changes:
            self.agent.faults = {"/v1/agent/services": (200, json.dumps({"ssdpreg-x": {**self.SERVICE, **change}}))}
            self.assert_unavailable(self.backend.read(), "/v1/agent/services")
        for field in ("ID", "Service", "Address", "Port", "Tags", "Meta"):
            entry = {key: value for key, value in self.SERVICE.items() if key != field}
            self.agent.faults = {"/v1/agent/services": (200, json.dumps({"ssdpreg-x": entry}))}
            self.assert_unavailable(self.backend.read(), "/v1/agent/services")
        checks: tuple[Any, ...] = (None, {}, [], {"ServiceID": 1})
        for check in checks:
            self.agent.faults = {"/v1/agent/checks": (200, json.dumps({"x": check}))}
            self.assert_unavailable(self.backend.read(), "/v1/agent/checks")

    def test_text_that_cannot_be_sent(self) -> None:
        """A text with one half of a surrogate pair is malformed: it could be neither sent nor logged."""
        self.result_of(self.backend.keep_alive())
        for field in ("ID", "Service", "Address"):
            entry = {**self.SERVICE, field: "\ud800"}
            self.agent.faults = {"/v1/agent/services": (200, json.dumps({"ssdpreg-x": entry}))}
            self.assert_unavailable(self.backend.read(), "/v1/agent/services")

    def test_own_service_malformed(self) -> None:
        """A malformed description of the daemon's own service means that the backend is unavailable."""
        without_meta = {key: value for key, value in self.SERVICE.items() if key != "Meta"}
        others = (json.dumps({**self.SERVICE, "Meta": {"external-source": []}}), json.dumps(without_meta))
        for body in (*self.LISTINGS, "{}", *others):
            self.agent.faults = {"/v1/agent/service/": (200, body)}
            self.assert_unavailable(self.make_backend().keep_alive(), "/v1/agent/service/ssdpreg")

    def test_nulls(self) -> None:
        """Consul may send null for empty tags and Meta."""
        self.result_of(self.backend.keep_alive())
        own = self.agent.services["ssdpreg"]
        entry = {**self.SERVICE, "Tags": None, "Meta": None}
        self.agent.faults = {"/v1/agent/services": (200, json.dumps({"ssdpreg-x": entry, "ssdpreg": own}))}
        self.assertEqual(self.result_of(self.backend.read()), {})

    def test_long_listing(self) -> None:
        """A listing that is longer than the known services explain is an error, and accepted after some attempts."""
        self.result_of(self.backend.keep_alive())
        self.result_of(self.backend.read())
        for number in range(100):
            self.agent.services[f"other-{number}"] = {
                **self.SERVICE,
                "ID": f"other-{number}",
                "Meta": {"external-source": "ssdpreg", "text": "x" * 5000},
            }
        for _ in range(3):
            self.assert_unavailable(self.backend.read(), "/v1/agent/services")
        self.assertEqual(self.backend.too_long, 3)
        self.assertEqual(self.result_of(self.backend.read()), {})

    def test_length_after_an_incomplete_listing(self) -> None:
        """A listing is accepted at once after one that was empty, because the token could not list the services."""
        self.result_of(self.backend.keep_alive())
        for number in range(300):
            self.result_of(self.backend.apply(Plan(register=(make_registration(number),))))
        self.agent.unreadable = True
        self.failure_of(self.backend.read(), BackendRefusedError)
        self.agent.unreadable = False
        self.assertEqual(len(self.result_of(self.backend.read())), 300)

    def test_many_services(self) -> None:
        """A listing with more services than a daemon can have is an error. The daemon's own service counts."""
        self.result_of(self.backend.keep_alive())
        self.patch(consul_agent, "MOST_ENTRIES", 5)
        for number in range(4):
            self.result_of(self.backend.apply(Plan(register=(make_registration(number),))))
        self.assertEqual(len(self.result_of(self.backend.read())), 4)
        self.result_of(self.backend.apply(Plan(register=(make_registration(5),))))
        self.assert_unavailable(self.backend.read(), "/v1/agent/services")


class TwoDaemonsTests(SynchronousTestCase):
    """Two daemons with one scope."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()
        self.clock = Clock()
        namespace = current_instance().instance_id.partition("-")[0]
        # The namespace of the last one is unknown, as that of a daemon on another host.
        self.instances = [Instance(namespace), Instance(namespace), Instance("")]
        for instance in self.instances:
            self.addCleanup(instance.close)
        self.first, self.second, self.remote = map(self.make_backend, self.instances)

    def make_backend(self, instance: Instance) -> ConsulAgent:
        """Make the backend of a daemon."""
        treq: Any = StubTreq(self.agent)
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", treq)
        return ConsulAgent(ConsulHTTP(self.clock, client), "test", instance)

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine that has to return without delay."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def assert_in_use(self, backend: ConsulAgent) -> None:
        """Check that no method of a backend changes anything, because another daemon is alive."""
        before = json.dumps([self.agent.services, self.agent.checks])
        for coroutine in (backend.keep_alive(), backend.read(), backend.retire(), backend.probe()):
            self.failureResultOf(Deferred.fromCoroutine(coroutine), BackendInUseError)
        for plan in (Plan(register=(make_registration(7),)), Plan(deregister=(make_registration(1),))):
            outcome = self.result_of(backend.apply(plan))
            self.assertIsInstance(outcome.unavailable, BackendInUseError)
        self.assertEqual(json.dumps([self.agent.services, self.agent.checks]), before)

    def test_later_daemon(self) -> None:
        """The later daemon changes nothing while the first one is alive."""
        self.result_of(self.first.keep_alive())
        self.result_of(self.first.apply(Plan(register=(make_registration(1),))))
        self.assert_in_use(self.second)
        self.assert_in_use(self.remote)
        self.result_of(self.first.keep_alive())
        self.assertEqual(self.result_of(self.first.read()).keys(), {make_registration(1).service_id})

    def test_unprintable_identity(self) -> None:
        """The error about another daemon is one printable line, with any text in the Meta of its service."""
        self.result_of(self.first.keep_alive())
        self.agent.services["ssdpreg"]["Meta"].update({"ssdpreg-instance": "a\n\x1b[2Jb", "ssdpreg-version": "1\r\n"})
        failure = self.failureResultOf(Deferred.fromCoroutine(self.first.read()), BackendInUseError)
        self.assertTrue(failure.getErrorMessage().isprintable(), failure.getErrorMessage())

    def test_predecessor(self) -> None:
        """A daemon takes over at once from one that is known to have ended, though its TTL check is passing."""
        self.result_of(self.first.keep_alive())
        self.instances[0].close()
        self.result_of(self.second.keep_alive())
        self.assertEqual(self.agent.services["ssdpreg"]["Meta"]["ssdpreg-instance"], self.instances[1].instance_id)

    def test_expired_check(self) -> None:
        """A daemon takes over from one whose TTL check is not passing, and that one writes nothing from then on."""
        self.result_of(self.first.keep_alive())
        self.agent.checks["ssdpreg:alive"]["Status"] = "critical"
        self.result_of(self.remote.keep_alive())
        self.assertEqual(self.agent.checks["ssdpreg:alive"]["Status"], "passing")
        self.clock.advance(30)
        self.assert_in_use(self.first)

    def test_comparison_notices(self) -> None:
        """A daemon that was replaced without its knowledge notices it at its next comparison."""
        self.result_of(self.first.keep_alive())
        self.agent.services["ssdpreg"]["Meta"]["ssdpreg-instance"] = self.instances[2].instance_id
        self.failureResultOf(Deferred.fromCoroutine(self.first.read()), BackendInUseError)
        self.assert_in_use(self.first)

    def test_earlier_version(self) -> None:
        """A daemon takes over from an earlier version, which wrote no identity."""
        self.result_of(self.first.keep_alive())
        del self.agent.services["ssdpreg"]["Meta"]["ssdpreg-instance"]
        self.result_of(self.second.keep_alive())
        self.assertIn("ssdpreg-instance", self.agent.services["ssdpreg"]["Meta"])

    def test_text(self) -> None:
        """The error names the scope, the address of Consul, the other daemon, and the setting that helps."""
        self.result_of(self.first.keep_alive())
        failure = self.failureResultOf(Deferred.fromCoroutine(self.second.keep_alive()))
        text = failure.getErrorMessage()
        identity = f"(instance {self.instances[0].instance_id}, version {__version__})"
        for part in ("scope 'test'", "http://consul.test:8500", identity, "backend.scope"):
            self.assertIn(part, text)

    def test_long_identity(self) -> None:
        """The error has at most 40 characters of the identity and 20 of the version that are read from Consul."""
        self.result_of(self.first.keep_alive())
        meta = self.agent.services["ssdpreg"]["Meta"]
        meta["ssdpreg-instance"], meta["ssdpreg-version"] = "x" * 500, "9" * 500
        failure = self.failureResultOf(Deferred.fromCoroutine(self.second.keep_alive()), BackendInUseError)
        self.assertIn(f"(instance {'x' * 40}, version {'9' * 20})", failure.getErrorMessage())


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
