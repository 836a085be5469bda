"""Tests for :mod:`ssdpreg.backends.consul_agent`, besides those that are for every backend."""

from __future__ import annotations

import json
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar, cast

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import FakeConsulAgent, make_registration
from tests.support.consul import ConsulProcess, remove_all_services, shared_consul, skip_without_consul
from tests.unit.backends.test_backends import make_real_backend

_T = TypeVar("_T")


class ConsulAgentTests(SynchronousTestCase):
    """Tests for :class:`ConsulAgent` with an agent in memory: what it costs, and what goes wrong."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()
        self.clock = Clock()
        self.backend = self.make_backend()

    def make_backend(self) -> ConsulAgent:
        client: Any = StubTreq(self.agent)
        return ConsulAgent(ConsulHTTP(self.clock, "http://consul.test:8500", client), "test")

    def result_of(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run something that has to be done at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def failure_of(self, coroutine: Coroutine[Any, Any, object], *errors: type[Exception]) -> Exception:
        """Run something that has to fail at once."""
        return cast("Exception", self.failureResultOf(Deferred.fromCoroutine(coroutine), *errors).value)

    def requests_of(self, coroutine: Coroutine[Any, Any, object]) -> list[tuple[str, str]]:
        """Run something, and tell what it asked the agent."""
        self.agent.requests.clear()
        self.result_of(coroutine)
        return list(self.agent.requests)

    def test_first_sign_of_life(self) -> None:
        """The daemon registers itself, with a TTL check that passes and by which Consul removes it when it is dead."""
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
        """Checks are told to Consul in its words; the one that the daemon lives follows the daemon's own service."""
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
                    "Name": "ssdpreg hears the service",
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
        """A sign of life is one request, a look is two, however many services there are."""
        registrations = tuple(make_registration(number) for number in range(50))
        self.result_of(self.backend.keep_alive())
        self.result_of(self.backend.apply(Plan(register=registrations)))
        self.assertEqual(self.requests_of(self.backend.keep_alive()), [("PUT", "/v1/agent/check/pass/ssdpreg%3Aalive")])
        self.assertEqual(
            self.requests_of(self.backend.read()), [("GET", "/v1/agent/services"), ("GET", "/v1/agent/checks")]
        )

    def test_registration_is_one_request(self) -> None:
        """A service that is new costs one request, and so does one that moves and keeps its checks."""
        self.result_of(self.backend.keep_alive())
        registration = make_registration()
        for each in (registration, replace(registration, address="192.0.2.99")):
            self.assertEqual(
                self.requests_of(self.backend.apply(Plan(register=(each,)))), [("PUT", "/v1/agent/service/register")]
            )

    def test_stale_check(self) -> None:
        """A check that is no longer wanted is removed by itself, even one from the daemon's life before."""
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
        """A service that left and is back without its check has no stale one."""
        plain = make_registration()
        http = Check(f"{plain.service_id}-http-0", "http", "http://192.0.2.1/", 15.0)
        self.result_of(self.backend.apply(Plan(register=(replace(plain, checks=plain.checks | {http}),))))
        self.result_of(self.backend.apply(Plan(deregister=(plain,))))
        self.assertEqual(
            self.requests_of(self.backend.apply(Plan(register=(plain,)))), [("PUT", "/v1/agent/service/register")]
        )

    def test_stale_check_remains(self) -> None:
        """A stale check that could not be removed is, when the service is registered the next time."""
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
        """A daemon that is started again finds itself registered, and registers nothing."""
        self.result_of(self.backend.keep_alive())
        self.assertEqual(
            self.requests_of(self.make_backend().keep_alive()),
            [("GET", "/v1/agent/service/ssdpreg"), ("PUT", "/v1/agent/check/pass/ssdpreg%3Aalive")],
        )

    def test_upgrade(self) -> None:
        """A daemon of another version registers itself anew."""
        self.result_of(self.backend.keep_alive())
        self.agent.services["ssdpreg"]["Meta"]["ssdpreg-version"] = "0"
        self.assertIn(("PUT", "/v1/agent/service/register"), self.requests_of(self.make_backend().keep_alive()))

    def test_own_check_lost(self) -> None:
        """When only the daemon's check is lost, the daemon is registered anew, and says that something was lost."""
        self.result_of(self.backend.keep_alive())
        self.agent.checks.clear()
        self.failure_of(self.backend.keep_alive(), BackendForgotError)
        self.result_of(self.backend.keep_alive())

    def test_own_service_before_others(self) -> None:
        """The first service is not registered before the daemon that it follows, which is registered once."""
        self.assertEqual(
            self.requests_of(self.backend.apply(Plan(register=(make_registration(1), make_registration(2))))),
            [("GET", "/v1/agent/service/ssdpreg")] + [("PUT", "/v1/agent/service/register")] * 3,
        )

    def test_own_service_once(self) -> None:
        """A sign of life and a plan at the same time do not both register the daemon."""
        self.agent.silent = True
        Deferred.fromCoroutine(self.backend.keep_alive())
        Deferred.fromCoroutine(self.backend.apply(Plan(register=(make_registration(),))))
        self.assertEqual(self.agent.requests, [("GET", "/v1/agent/service/ssdpreg")])

    def test_own_service_refused(self) -> None:
        """When the daemon may not register itself, no service can follow it, but those that are there can go."""
        self.agent.denied.add("ssdpreg")
        new, old = make_registration(1), make_registration(2)
        outcome = self.result_of(self.backend.apply(Plan(register=(new,), deregister=(old,))))
        self.assertEqual(outcome.applied, {old.service_id})
        self.assertEqual(
            str(outcome.refused[new.service_id]), "403 Permission denied: Missing service:write on ssdpreg"
        )
        self.assertEqual(self.agent.services, {})

    def test_lost_own_service_is_no_hidden_one(self) -> None:
        """An agent that was wiped is read as it is, empty, and the daemon is registered anew before a service."""
        self.result_of(self.backend.keep_alive())
        self.agent.forget()
        self.assertEqual(self.result_of(self.backend.read()), {})
        registration = make_registration()
        self.result_of(self.backend.apply(Plan(register=(registration,))))
        self.assertEqual(list(self.agent.services), ["ssdpreg", registration.service_id])

    def test_hidden(self) -> None:
        """A token that may not list services shows none: that is an error, and no loss."""
        self.result_of(self.backend.apply(Plan(register=(make_registration(),))))
        self.agent.unreadable = True
        error = self.failure_of(self.backend.read(), BackendRefusedError)
        self.assertTrue(cast("BackendRefusedError", error).denied)

    def test_no_listing(self) -> None:
        """A listing that is none, as from something that is no Consul, is not taken for an empty one."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (200, "[]")
        self.failure_of(self.backend.read(), BackendUnavailableError)

    def test_unavailable(self) -> None:
        """Whatever is asked of an agent that is down, the error says so."""
        self.agent.faults[""] = (500, "No cluster leader")
        for coroutine in (self.backend.read(), self.backend.keep_alive(), self.backend.retire()):
            self.failure_of(coroutine, BackendUnavailableError)
        for plan in (Plan(register=(make_registration(),)), Plan(deregister=(make_registration(),))):
            outcome = self.result_of(self.backend.apply(plan))
            self.assertEqual((outcome.applied, outcome.refused), (frozenset(), {}))
            self.assertEqual(str(outcome.unavailable), "http://consul.test:8500: 500 No cluster leader")

    def test_stops_when_unavailable(self) -> None:
        """When the agent does not answer any more, the rest of a plan is left for later."""
        plan = Plan(deregister=tuple(make_registration(number) for number in range(100)))
        self.agent.faults[""] = (503, "")
        self.agent.requests.clear()
        self.assertIsNotNone(self.result_of(self.backend.apply(plan)).unavailable)
        self.assertLessEqual(len(self.agent.requests), 8)

    def test_requests_under_way(self) -> None:
        """Never are there more than 8 requests without an answer."""
        self.result_of(self.backend.keep_alive())
        self.agent.silent = True
        self.agent.requests.clear()
        applying = Deferred.fromCoroutine(
            self.backend.apply(Plan(register=tuple(make_registration(number) for number in range(100))))
        )
        self.assertEqual(len(self.agent.requests), 8)
        self.clock.advance(10)
        outcome = self.successResultOf(applying)
        self.assertEqual(str(outcome.unavailable), "http://consul.test:8500: no answer within 10 s")
        self.assertEqual(len(self.agent.requests), 8)

    def test_cancelled(self) -> None:
        """A plan that is given up in the middle ends all its requests."""
        self.result_of(self.backend.keep_alive())
        self.agent.silent = True
        plan = Plan(register=tuple(make_registration(number) for number in range(100)))
        applying = Deferred.fromCoroutine(self.backend.apply(plan))
        applying.cancel()
        self.failureResultOf(applying, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_consul(self) -> None:
        """Something that answers 404 to a registration is no Consul, and the service is not registered."""
        self.result_of(self.backend.keep_alive())
        self.agent.faults[""] = (404, "what?")
        registration = make_registration()
        outcome = self.result_of(self.backend.apply(Plan(register=(registration,))))
        self.assertEqual(str(outcome.refused[registration.service_id]), "404 what?")

    def test_deregister_on_newer_consul(self) -> None:
        """Newer versions say 404 where a service is not there: it is as good as deregistered."""
        self.agent.faults[""] = (
            404,
            'Unknown service ID "x". Ensure that the service ID is passed, not the service name.',
        )
        registration = make_registration()
        outcome = self.result_of(self.backend.apply(Plan(deregister=(registration,))))
        self.assertEqual(outcome.applied, {registration.service_id})


def record_bodies(agent: FakeConsulAgent) -> list[dict[str, Any]]:
    """Return a list that grows by the body of each request that has one."""
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


class RealConsulTests(TestCase):
    """Tests for :class:`ConsulAgent` with a real agent: what one has to see to believe."""

    skip = skip_without_consul

    def make_consul(self, **options: Any) -> ConsulProcess:
        consul = ConsulProcess(**options)
        self.addCleanup(consul.clean_up)
        return consul

    async def test_maintenance_mode(self) -> None:
        """An operator's maintenance mode outlives a registration that changes everything, checks as well."""
        consul = shared_consul()
        self.addCleanup(remove_all_services, consul)
        backend = make_real_backend(self, consul)
        registration = make_registration()
        service_id = registration.service_id
        http = Check(f"{service_id}-http-0", "http", "http://127.0.0.1:1/", 3600.0)
        await backend.apply(Plan(register=(replace(registration, checks=registration.checks | {http}),)))
        consul.put(f"/v1/agent/service/maintenance/{service_id}?enable=true&reason=screws")
        self.assertEqual((await backend.read())[service_id].checks, registration.checks | {http})
        moved = replace(registration, name="moved", address="192.0.2.99", tags=("t",))
        await backend.apply(Plan(register=(moved,)))
        self.assertEqual(await backend.read(), {service_id: moved})
        maintenance = consul.checks()[f"_service_maintenance:{service_id}"]
        self.assertEqual((maintenance["Status"], maintenance["Notes"]), ("critical", "screws"))

    async def test_restart_writes_nothing(self) -> None:
        """Neither a steady state nor a daemon that is started again adds to Consul's log."""
        consul = self.make_consul()
        await deferToThread(consul.start)
        registration = make_registration()
        backend = make_real_backend(self, consul)
        await backend.keep_alive()
        await backend.apply(Plan(register=(registration,)))
        await deferToThread(settle, consul)
        before = consul.raft_index()
        again = make_real_backend(self, consul)
        for each in (backend, again):
            for _ in range(3):
                await each.keep_alive()
                self.assertEqual(await each.read(), {registration.service_id: registration})
        await deferToThread(settle, consul)
        self.assertEqual(consul.raft_index(), before)

    async def test_killed_and_wiped(self) -> None:
        """An agent that comes back without its memory is found out by the next sign of life."""
        consul = self.make_consul(persistent=True)
        await deferToThread(consul.start)
        registration = make_registration()
        backend = make_real_backend(self, consul)
        await backend.keep_alive()
        await backend.apply(Plan(register=(registration,)))

        consul.kill()
        with self.assertRaises(BackendUnavailableError):
            await backend.keep_alive()
        await deferToThread(consul.start)
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {registration.service_id: registration})

        consul.kill()
        consul.wipe()
        await deferToThread(consul.start)
        with self.assertRaises(BackendForgotError):
            await backend.keep_alive()
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {})

    async def test_denied(self) -> None:
        """What the token allows is done, and what it does not is refused, service by service."""
        consul = self.make_consul(acl=True)
        await deferToThread(consul.start)
        token = consul.add_token('service "ssdpreg" { policy = "write" } service_prefix "RackHD-" { policy = "write" }')
        backend = make_real_backend(self, consul, token=token)
        allowed, denied = make_registration(1), make_registration(2, name="Inservice-x")
        await backend.keep_alive()
        outcome = await backend.apply(Plan(register=(denied, allowed)))
        self.assertEqual(outcome.applied, {allowed.service_id})
        self.assertEqual(outcome.refused.keys(), {denied.service_id})
        self.assertTrue(outcome.refused[denied.service_id].denied)
        self.assertEqual(
            outcome.refused[denied.service_id].reason, "Permission denied: Missing service:write on Inservice-x"
        )
        self.assertEqual(await backend.read(), {allowed.service_id: allowed})
        # With ACLs, Consul 1.8 says 500 to the second one.
        for _ in range(2):
            outcome = await backend.apply(Plan(deregister=(allowed,)))
            self.assertEqual(outcome.applied, {allowed.service_id})

    async def test_no_token(self) -> None:
        """Without the right to read, nothing is taken for lost."""
        consul = self.make_consul(acl=True)
        await deferToThread(consul.start)
        await make_real_backend(self, consul, token=consul.token).keep_alive()
        with self.assertRaises(BackendRefusedError) as caught:
            await make_real_backend(self, consul).read()
        self.assertTrue(caught.exception.denied)


def settle(consul: ConsulProcess) -> None:
    """Wait until the agent has told its cluster everything: its log has not grown for a second."""
    index = -1
    while index != consul.raft_index():
        index = consul.raft_index()
        time.sleep(1)
