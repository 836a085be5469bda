"""Tests for the Consul agent backend that run on the fake agent and on a real one."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import BackendForgotError
from ssdpreg.registration import Check, Plan
from ssdpreg.testing import BackendTestsMixin, FakeConsulAgent, make_registration


class ConsulAgentTestsMixin(BackendTestsMixin):
    """Tests for :class:`ssdpreg.backends.consul_agent.ConsulAgent` beyond those that every backend has to pass."""

    def register_foreign(self, body: dict[str, Any]) -> None:
        """
        Register a service as another program does, without the code under test.

        :param body: Body of the register request.
        """
        raise NotImplementedError

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the services of the agent by ID, in the format of its listing."""
        raise NotImplementedError

    async def restart_without_data(self) -> None:
        """Restart the agent without its data."""
        raise NotImplementedError

    async def test_refused(self) -> None:
        """A registration that Consul rejects does not stop the others of the same plan."""
        backend = self.make_backend()
        good = [make_registration(number) for number in range(20)]
        bad = make_registration(99, address="0.0.0.0")
        outcome = await backend.apply(Plan(register=(bad, *good)))
        self.assertEqual(outcome.applied, {each.service_id for each in good})
        self.assertEqual(outcome.refused.keys(), {bad.service_id})
        self.assertEqual(str(outcome.refused[bad.service_id]), "400 Invalid service address")
        self.assertIsNone(outcome.unavailable)
        self.assertEqual(await backend.read(), {each.service_id: each for each in good})

    async def test_agent_lost_its_data(self) -> None:
        """After the agent lost its data, ``keep_alive`` registers the daemon again and raises an error once."""
        backend = self.make_backend()
        registration = make_registration()
        await backend.keep_alive()
        await backend.apply(Plan(register=(registration,)))
        await self.restart_without_data()
        with self.assertRaises(BackendForgotError):
            await backend.keep_alive()
        self.assertEqual(self.services().keys(), {"ssdpreg"})
        await backend.keep_alive()
        self.assertEqual(await backend.read(), {})
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {registration.service_id: registration})

    async def test_foreign_services(self) -> None:
        """Services of other programs are neither returned nor changed, even with the name of a managed service."""
        registration = make_registration()
        foreign = [
            {"ID": "ssdpreg-theirs", "Name": registration.name, "Meta": {"ssdpreg-scope": "test"}},
            {
                "ID": "theirs",
                "Name": registration.name,
                "Meta": {"external-source": "ssdpreg", "ssdpreg-scope": "test"},
            },
        ]
        backend = self.make_backend()
        for each in foreign:
            self.register_foreign(each)
        before = self.services()
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {registration.service_id: registration})
        await backend.apply(Plan(deregister=(registration,)))
        after = self.services()
        del after["ssdpreg"]
        self.assertEqual(after, before)

    async def test_own_id_taken(self) -> None:
        """If a foreign service has the ID ``ssdpreg``, the daemon registers itself with another ID."""
        self.register_foreign({"ID": "ssdpreg", "Name": "foreign"})
        backend = self.make_backend()
        await backend.keep_alive()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        services = self.services()
        self.assertEqual(services["ssdpreg"]["Service"], "foreign")
        (own_id,) = services.keys() - {"ssdpreg", registration.service_id}
        self.assertRegex(own_id, "^ssdpreg:[0-9a-f]{8}$")
        self.assertEqual(await backend.read(), {registration.service_id: registration})
        await backend.retire()
        self.assertEqual(self.services().keys(), {"ssdpreg", registration.service_id})

    async def test_own_id_lost(self) -> None:
        """After a foreign service took the daemon's ID, the alias checks are replaced by checks on the new ID."""
        backend = self.make_backend()
        registration = make_registration()
        await backend.apply(Plan(register=(registration,)))
        self.register_foreign({"ID": "ssdpreg", "Name": "foreign"})
        self.assertNotEqual(await backend.read(), {registration.service_id: registration})
        await backend.apply(Plan(register=(registration,)))
        self.assertEqual(await backend.read(), {registration.service_id: registration})
        self.assertEqual(self.services()["ssdpreg"]["Service"], "foreign")

    async def test_adopt(self) -> None:
        """After a restart, the daemon reads the registrations of the previous run."""
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

    async def test_retire_own_service(self) -> None:
        """``retire`` deregisters the daemon's own service, and the next plan registers it again."""
        backend = self.make_backend()
        await backend.keep_alive()
        await backend.retire()
        self.assertEqual(self.services(), {})
        await backend.retire()
        await backend.apply(Plan(register=(make_registration(),)))
        self.assertIn("ssdpreg", self.services())


def request_fake(
    case: SynchronousTestCase, agent: FakeConsulAgent, method: str, path: str, body: Any = None
) -> tuple[int, bytes]:
    """
    Send a request to a fake agent, as :meth:`tests.support.consul.ConsulProcess.request` does to a real one.

    :return: Status and body of the response.
    """
    client: Any = StubTreq(agent)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    response = case.successResultOf(client.request(method, f"http://consul.test:8500{path}", data=data))
    return response.code, case.successResultOf(client.content(response))
