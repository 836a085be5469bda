"""Every backend does what a backend must do, and the Consul agent in memory does what a real one does."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import quote

from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ssdpreg.backends import sqlite
from ssdpreg.backends.consul_agent import ConsulAgent, make_backend
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import BackendForgotError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import BackendTestsMixin, FakeConsulAgent, make_registration
from tests.support.consul import ConsulProcess, remove_all_services, shared_consul, skip_without_consul


class EmbeddedBackendTests(BackendTestsMixin, TestCase):
    """Tests for :class:`ssdpreg.backends.embedded.EmbeddedBackend`."""

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return EmbeddedBackend()


class SQLiteBackendTests(BackendTestsMixin, TestCase):
    """Tests for :class:`ssdpreg.backends.sqlite.SQLiteBackend`, each with a file of its own."""

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        backend = sqlite.make_backend(reactor, self.mktemp(), scope)
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend


class ConsulAgentTestsMixin(BackendTestsMixin):
    """What :class:`ssdpreg.backends.consul_agent.ConsulAgent` must do besides, whichever agent it talks to."""

    def register_as_others_do(self, body: dict[str, Any]) -> None:
        """Register a service without any of our code under test."""
        raise NotImplementedError

    def services(self) -> dict[str, dict[str, Any]]:
        """Tell what the agent has, as it lists it."""
        raise NotImplementedError

    async def forget(self) -> None:
        """Make the agent forget everything."""
        raise NotImplementedError

    async def test_refused(self) -> None:
        """A service that Consul refuses does not hold up the others."""
        backend = self.make_backend()
        good = [make_registration(number) for number in range(20)]
        bad = make_registration(99, address="0.0.0.0")
        outcome = await backend.apply(Plan(register=(bad, *good)))
        self.assertEqual(outcome.applied, {each.service_id for each in good})
        self.assertEqual(outcome.refused.keys(), {bad.service_id})
        self.assertEqual(str(outcome.refused[bad.service_id]), "400 Invalid service address")
        self.assertIsNone(outcome.unavailable)
        self.assertEqual(await backend.read(), {each.service_id: each for each in good})

    async def test_forgotten(self) -> None:
        """An agent that has lost its memory is told of the daemon anew, and the caller hears of it once."""
        backend = self.make_backend()
        registration = make_registration()
        await backend.keep_alive()
        await backend.apply(Plan(register=(registration,)))
        await self.forget()
        with self.assertRaises(BackendForgotError):
            await backend.keep_alive()
        self.assertEqual(self.services().keys(), {"ssdpreg"})
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {})
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_others(self) -> None:
        """What others registered is neither shown nor changed, not even under the name of a service of ours."""
        ours = make_registration()
        others = [
            {"ID": "ssdpreg-theirs", "Name": ours.name, "Meta": {"ssdpreg-scope": "test"}},
            {"ID": "theirs", "Name": ours.name, "Meta": {"external-source": "ssdpreg", "ssdpreg-scope": "test"}},
        ]
        backend = self.make_backend()
        for other in others:
            self.register_as_others_do(other)
        before = self.services()
        await backend.apply(Plan(register=(ours,)))
        self.assertEqual(await backend.read(), {ours.service_id: ours})
        await backend.apply(Plan(deregister=(ours,)))
        after = self.services()
        del after["ssdpreg"]
        self.assertEqual(after, before)

    async def test_own_id_taken(self) -> None:
        """Where somebody else's service has the daemon's ID, the daemon takes another."""
        self.register_as_others_do({"ID": "ssdpreg", "Name": "somebody"})
        backend = self.make_backend()
        await backend.keep_alive()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        services = self.services()
        self.assertEqual(services["ssdpreg"]["Service"], "somebody")
        (own_id,) = services.keys() - {"ssdpreg", registration.service_id}
        self.assertRegex(own_id, "^ssdpreg:[0-9a-f]{8}$")
        self.assertEqual(await backend.read(), {registration.service_id: registration})
        await backend.retire()
        self.assertEqual(self.services().keys(), {"ssdpreg", registration.service_id})

    async def test_own_id_lost(self) -> None:
        """When somebody else takes the daemon's ID, the services do not go on to follow it."""
        backend = self.make_backend()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        self.register_as_others_do({"ID": "ssdpreg", "Name": "somebody"})
        self.assertNotEqual(await backend.read(), {registration.service_id: registration})
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {registration.service_id: registration})
        self.assertEqual(self.services()["ssdpreg"]["Service"], "somebody")

    async def test_adopt(self) -> None:
        """A daemon that is started again reads what it wrote in its life before."""
        service_id = make_registration().service_id
        registration = make_registration(
            checks=frozenset(
                {Check(f"{service_id}-alive", kind="alive"), Check(f"{service_id}-tcp-0", "tcp", "192.0.2.1:80", 9.0)}
            )
        )
        before = self.make_backend()
        await before.keep_alive()
        await before.apply(Plan(register=(registration,)))
        self.assertEqual(await self.make_backend().read(), {service_id: registration})

    async def test_retire(self) -> None:
        """A daemon that retires has no service of its own any more, and can come back."""
        backend = self.make_backend()
        await backend.keep_alive()
        await backend.retire()
        self.assertEqual(self.services(), {})
        await backend.retire()
        await backend.apply(Plan(register=(make_registration(),)))
        self.assertIn("ssdpreg", self.services())


class FakeConsulAgentTests(ConsulAgentTestsMixin, TestCase):
    """Tests for :class:`ssdpreg.backends.consul_agent.ConsulAgent` with an agent in memory."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return ConsulAgent(ConsulHTTP(Clock(), "http://consul.test:8500", cast("Any", StubTreq(self.agent))), scope)

    def register_as_others_do(self, body: dict[str, Any]) -> None:
        ask_fake(self, self.agent, "PUT", "/v1/agent/service/register", body)

    def services(self) -> dict[str, dict[str, Any]]:
        return dict(self.agent.services)

    async def forget(self) -> None:
        self.agent.forget()


class RealConsulAgentTests(ConsulAgentTestsMixin, TestCase):
    """Tests for :class:`ssdpreg.backends.consul_agent.ConsulAgent` with a real agent."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.addCleanup(remove_all_services, self.consul)

    def make_backend(self, scope: str = "test") -> IRegistryBackend:
        return make_real_backend(self, self.consul, scope)

    def register_as_others_do(self, body: dict[str, Any]) -> None:
        self.consul.put("/v1/agent/service/register", body)

    def services(self) -> dict[str, dict[str, Any]]:
        return self.consul.services()

    async def forget(self) -> None:
        self.consul.kill()
        await deferToThread(self.consul.start)


class SameAnswersTests(TestCase):
    """A fake is worth what it shares with the real thing: tests for :class:`ssdpreg.testing.FakeConsulAgent`."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        self.fake = FakeConsulAgent()
        remove_all_services(self.consul)
        self.addCleanup(remove_all_services, self.consul)

    def ask_both(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Ask both, see to it that both answer the same, and return the answer of the real one."""
        status, answer = self.consul.request(method, path, body)
        fake_status, fake_answer = ask_fake(self, self.fake, method, path, body)
        self.assertEqual(fake_status, status, (path, body, answer, fake_answer))
        if answer.startswith(b"{"):
            self.assertEqual(
                _without_chance(json.loads(fake_answer)), _without_chance(json.loads(answer)), (path, body)
            )
        else:
            self.assertEqual(fake_answer, answer, (path, body))
        return status, answer

    def test_registrations(self) -> None:
        """Both take the same registrations, and refuse the same in the same words."""
        check = {"CheckID": "c", "TTL": "30s"}
        statuses = [
            self.ask_both("PUT", "/v1/agent/service/register", body)[0]
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
        self.ask_both("GET", "/v1/agent/services")
        self.ask_both("GET", "/v1/agent/checks")

    def test_listings(self) -> None:
        """Both list the same services and checks, all or chosen by a filter."""
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
            self.ask_both("PUT", "/v1/agent/service/register", body)
        for path, filters in {
            "/v1/agent/services": ["", 'Meta["external-source"] == "ssdpreg"'],
            "/v1/agent/checks": ["", 'ServiceID matches "^ssdpreg-"'],
        }.items():
            for expression in filters:
                self.ask_both("GET", f"{path}?filter={quote(expression)}" if expression else path)
        self.ask_both("GET", "/v1/agent/service/ssdpreg-1")
        self.ask_both("GET", "/v1/agent/service/unknown")

    def test_changes(self) -> None:
        """Both pass and remove checks, and remove services, known or not, in the same way."""
        register = "/v1/agent/service/register"
        self.ask_both(
            "PUT", register, {"ID": "a/b c", "Name": "n", "Checks": [_ttl("ttl"), {**_ttl("o"), "Status": ""}]}
        )
        self.ask_both(
            "PUT", register, {"Name": "n", "Checks": [{"CheckID": "t", "TCP": "192.0.2.1:80", "Interval": "1h"}]}
        )
        self.ask_both("PUT", register, {"Name": "one", "Checks": [{"TTL": "1h"}]})
        self.ask_both("PUT", register, {"Name": "two", "Checks": [{"TTL": "1h"}, {"TTL": "1h"}]})
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
            self.ask_both(method, path)


def _ttl(check_id: str) -> dict[str, str]:
    return {"CheckID": check_id, "Name": "t", "TTL": "1h", "Status": "passing"}


def _without_chance(answer: Any) -> Any:
    """Leave out what differs from agent to agent, and from one moment to the next."""
    if not isinstance(answer, dict):
        return answer
    return {
        key: _without_chance(value) for key, value in answer.items() if key not in ("Node", "Output", "ContentHash")
    }


def ask_fake(case: TestCase, agent: FakeConsulAgent, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Ask an agent in memory what :meth:`tests.support.consul.ConsulProcess.request` asks a real one."""
    client: Any = StubTreq(agent)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    response = case.successResultOf(client.request(method, f"http://consul.test:8500{path}", data=data))
    return response.code, case.successResultOf(client.content(response))


def make_real_backend(
    case: TestCase, consul: ConsulProcess, scope: str = "test", token: str | None = None
) -> IRegistryBackend:
    """Make a backend for a real agent that is closed when the test is over."""
    backend = make_backend(reactor, ConsulConfig(address=consul.address, token=token), scope)
    case.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
    return backend
