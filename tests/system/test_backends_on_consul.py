"""Tests for the Consul agent backend with a real Consul agent."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ssdpreg.backends.consul_agent import make_backend
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import FakeConsulAgent, make_registration
from tests.support.consul import ConsulProcess, remove_all_services, shared_consul, skip_without_consul
from tests.support.consul_agent_tests import ConsulAgentTestsMixin, request_fake


class RealConsulAgentTests(ConsulAgentTestsMixin, TestCase):
    """Contract tests for :class:`ssdpreg.backends.consul_agent.ConsulAgent` with a real agent."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_all_services, self.consul)

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return make_real_backend(self, self.consul, scope)

    def register_foreign(self, body: dict[str, Any]) -> None:
        self.consul.put("/v1/agent/service/register", body)

    def services(self) -> dict[str, dict[str, Any]]:
        return self.consul.services()

    async def restart_without_data(self) -> None:
        self.consul.kill()
        await deferToThread(self.consul.start)


class RealConsulTests(TestCase):
    """Tests for :class:`ConsulAgent` that depend on the behavior of a real agent."""

    skip = skip_without_consul

    def make_consul(self, **options: Any) -> ConsulProcess:
        consul = ConsulProcess(**options)
        self.addCleanup(consul.clean_up)
        return consul

    async def test_maintenance_mode(self) -> None:
        """A registration that changes everything, checks included, does not end an operator's maintenance mode."""
        consul = shared_consul()
        self.addCleanup(remove_all_services, consul)
        backend = make_real_backend(self, consul)
        registration = make_registration()
        service_id = registration.service_id
        http = Check(f"{service_id}-http-0", "http", "http://127.0.0.1:1/", 3600.0)
        await backend.apply(Plan(register=(replace(registration, checks=registration.checks | {http}),)))
        consul.put(f"/v1/agent/service/maintenance/{service_id}?enable=true&reason=repair")
        self.assertEqual((await backend.read())[service_id].checks, registration.checks | {http})
        moved = replace(registration, name="moved", address="192.0.2.99", tags=("t",))
        await backend.apply(Plan(register=(moved,)))
        self.assertEqual(await backend.read(), {service_id: moved})
        maintenance = consul.checks()[f"_service_maintenance:{service_id}"]
        self.assertEqual((maintenance["Status"], maintenance["Notes"]), ("critical", "repair"))

    async def test_restart_writes_nothing(self) -> None:
        """Neither ``keep_alive`` and ``read`` nor a restart of the daemon adds an entry to Consul's raft log."""
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
        """``keep_alive`` raises an error after a restart of the agent without its data, and not after one with them."""
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
        """The agent rejects each service that the token may not write, and accepts the others."""
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
        # A token that may no longer read a known service.
        narrow = make_real_backend(self, consul, token=consul.add_token('service "ssdpreg" { policy = "write" }'))
        cast("Any", narrow).known = {allowed.service_id: allowed}
        self.assertEqual(await narrow.read(), {})
        self.assertEqual((await narrow.apply(Plan(register=(allowed,)))).refused.keys(), {allowed.service_id})
        # With ACLs, Consul 1.8 responds to the second request with status 500.
        for _ in range(2):
            outcome = await backend.apply(Plan(deregister=(allowed,)))
            self.assertEqual(outcome.applied, {allowed.service_id})

    async def test_no_token(self) -> None:
        """Without a token that may read, ``read`` raises an error in place of returning an empty mapping."""
        consul = self.make_consul(acl=True)
        await deferToThread(consul.start)
        await make_real_backend(self, consul, token=consul.token).keep_alive()
        with self.assertRaises(BackendRefusedError) as caught:
            await make_real_backend(self, consul).read()
        self.assertTrue(caught.exception.denied)


def settle(consul: ConsulProcess) -> None:
    """Wait until the raft log of the agent has not grown for one second."""
    index = -1
    while index != consul.raft_index():
        index = consul.raft_index()
        time.sleep(1)


class SameResponsesTests(TestCase):
    """Tests for :class:`ssdpreg.testing.FakeConsulAgent`: its responses are those of a real agent."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.fake = FakeConsulAgent()
        remove_all_services(self.consul)
        self.addCleanup(remove_all_services, self.consul)

    def request_both(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send a request to both agents, check that the responses are equal, and return the response."""
        status, answer = self.consul.request(method, path, body)
        fake_status, fake_answer = request_fake(self, self.fake, method, path, body)
        self.assertEqual(fake_status, status, (path, body, answer, fake_answer))
        if answer.startswith(b"{"):
            self.assertEqual(_comparable(json.loads(fake_answer)), _comparable(json.loads(answer)), (path, body))
        else:
            self.assertEqual(fake_answer, answer, (path, body))
        return status, answer

    def test_registrations(self) -> None:
        """Both accept the same registrations, and reject the same ones with the same texts."""
        check = {"CheckID": "c", "TTL": "30s"}
        statuses = [
            self.request_both("PUT", "/v1/agent/service/register", body)[0]
            for body in [
                {"Name": "minimal"},
                {
                    "ID": "i",
                    "Name": "n",
                    "Address": "2001:db8::5",
                    "Port": 99999,
                    "Tags": ["b", "a"],
                    "Meta": {"k": "v"},
                },
                {"ID": "h", "Name": "n", "Address": "bmc.example", "Port": 1, "Tags": [], "Meta": {}},
                {"ID": "i", "Name": "moved", "Address": "192.0.2.5", "Port": 1},
                {"ID": "nameless"},
                {"Name": "x", "Bogus": 1},
                {"Name": "x", "Port": "80"},
                {"Name": "x", "Address": "0.0.0.0"},
                {"Name": "x", "Meta": {"a.b": "c"}},
                {"Name": "x", "Meta": {"a": "é" * 256}},
                {"Name": "x", "Meta": {"a": "é" * 257}},
                {"Name": "x", "Meta": {f"a{number}": "" for number in range(65)}},
                {"Name": "x", "Checks": [{**check, "TTL": "30"}]},
                {"Name": "x", "Checks": [{**check, "Status": "fine"}]},
                {"Name": "x", "Checks": [{**check, "FailuresBeforeWarning": 1}]},
                {"Name": "x", "Checks": [{"CheckID": "c"}]},
                {"Name": "x", "Checks": [{"CheckID": "c", "HTTP": "http://192.0.2.1/"}]},
                {"Name": "x", "Checks": [{"CheckID": "c", "TCP": "192.0.2.1:80"}]},
                b"{",
                b"",
            ]
        ]
        self.assertEqual(statuses, [200] * 4 + [400] * 5 + [200] + [400] * 10)
        self.request_both("GET", "/v1/agent/services")
        self.request_both("GET", "/v1/agent/checks")

    def test_listings(self) -> None:
        """Both list the same services and checks, with and without a filter."""
        for body in [
            {
                "ID": "ssdpreg",
                "Name": "ssdpreg",
                "Meta": {"external-source": "ssdpreg"},
                "Checks": [_ttl("ssdpreg:alive")],
            },
            {
                "ID": "ssdpreg-1",
                "Name": "n",
                "Meta": {"external-source": "ssdpreg"},
                "Checks": [
                    {"CheckID": "ssdpreg-1-alive", "Name": "a", "AliasService": "ssdpreg", "Status": "passing"},
                    {"CheckID": "ssdpreg-1-http", "Name": "h", "HTTP": "http://192.0.2.1/", "Interval": "1h"},
                    {
                        "CheckID": "ssdpreg-1-tcp",
                        "Name": "t",
                        "TCP": "192.0.2.1:80",
                        "Interval": "1h",
                        "Timeout": "1.5s",
                    },
                ],
            },
            {"ID": "other", "Name": "n", "Tags": ["t"], "Meta": {"external-source": "nomad"}, "Checks": [_ttl("o")]},
        ]:
            self.request_both("PUT", "/v1/agent/service/register", body)
        for path, filters in {
            "/v1/agent/services": ["", 'Meta["external-source"] == "ssdpreg"'],
            "/v1/agent/checks": ["", 'ServiceID matches "^ssdpreg-"', 'CheckID == "ssdpreg:alive"'],
        }.items():
            for expression in filters:
                self.request_both("GET", f"{path}?filter={quote(expression)}" if expression else path)
        self.request_both("GET", "/v1/agent/service/ssdpreg-1")
        self.request_both("GET", "/v1/agent/service/unknown")

    def test_changes(self) -> None:
        """Both pass checks, and deregister checks and services, existing or not, with the same responses."""
        register = "/v1/agent/service/register"
        self.request_both(
            "PUT", register, {"ID": "a/b c", "Name": "n", "Checks": [_ttl("ttl"), {**_ttl("o"), "Status": ""}]}
        )
        self.request_both(
            "PUT", register, {"Name": "n", "Checks": [{"CheckID": "t", "TCP": "192.0.2.1:80", "Interval": "1h"}]}
        )
        self.request_both("PUT", register, {"Name": "one", "Checks": [{"TTL": "1h"}]})
        self.request_both("PUT", register, {"Name": "two", "Checks": [{"TTL": "1h"}, {"TTL": "1h"}]})
        for method, path in [
            ("PUT", "/v1/agent/check/pass/o"),
            ("PUT", "/v1/agent/check/pass/t"),
            ("PUT", "/v1/agent/check/pass/unknown"),
            ("PUT", "/v1/agent/check/deregister/ttl"),
            ("PUT", "/v1/agent/check/deregister/unknown"),
            ("GET", "/v1/agent/checks"),
            ("PUT", "/v1/agent/service/deregister/a%2Fb%20c"),
            ("PUT", "/v1/agent/service/deregister/unknown"),
            ("PUT", "/v1/agent/service/deregister/"),
            ("POST", "/v1/agent/service/register"),
            ("GET", "/v1/agent/services"),
            ("GET", "/v1/agent/checks"),
            ("GET", "/v1/unknown"),
        ]:
            self.request_both(method, path)


def _ttl(check_id: str) -> dict[str, str]:
    return {"CheckID": check_id, "Name": "t", "TTL": "1h", "Status": "passing"}


def _comparable(answer: Any) -> Any:
    """Return a response without the fields that differ between two agents, or from one moment to the next."""
    if not isinstance(answer, dict):
        return answer
    return {key: _comparable(value) for key, value in answer.items() if key not in ("Node", "Output", "ContentHash")}


def make_real_backend(
    case: TestCase, consul: ConsulProcess, scope: str = "test", token: str | None = None
) -> IRegistryBackend:
    """Make a backend for a real agent, and close it when the test ends."""
    backend = make_backend(reactor, ConsulConfig(address=consul.address, token=token), scope)
    case.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
    return backend
