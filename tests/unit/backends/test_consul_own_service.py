"""Tests for :mod:`ssdpreg.backends.consul_own_service`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_own_service import OwnService
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.errors import BackendForgotError, BackendRefusedError
from ssdpreg.testing import FakeConsulAgent
from tests.support.consul_agent_tests import request_fake


class OwnServiceTests(SynchronousTestCase):
    """Tests for :class:`OwnService` with an agent in memory."""

    def setUp(self) -> None:
        self.agent = FakeConsulAgent()
        self.clock = Clock()
        self.clock.advance(1000)
        self.service = self.make_service()

    def make_service(self, scope: str = "test") -> OwnService:
        """Make the service of a daemon."""
        treq: Any = StubTreq(self.agent)
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", treq)
        return OwnService(ConsulHTTP(self.clock, client), scope)

    def run_now(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that has to return without delay."""
        self.successResultOf(Deferred.fromCoroutine(coroutine))

    def register_foreign(self) -> None:
        """Register a service of another program with the ID that the daemon prefers."""
        request_fake(self, self.agent, "PUT", "/v1/agent/service/register", {"ID": "ssdpreg", "Name": "foreign"})

    def test_first_id(self) -> None:
        """On an agent without other services the ID is ``ssdpreg``, and IDs of alias checks have no suffix."""
        self.run_now(self.service.ensure_registered())
        self.assertEqual((self.service.service_id, self.service.check_suffix), ("ssdpreg", ""))
        self.assertEqual(self.agent.checks["ssdpreg:alive"]["Status"], "passing")

    def test_two_scopes(self) -> None:
        """Two daemons on one agent have different IDs, each the same after a restart."""
        self.run_now(self.service.ensure_registered())
        for _ in range(2):
            second = self.make_service("second")
            self.run_now(second.ensure_registered())
            self.assertRegex(second.service_id, r"\Assdpreg:[0-9a-f]{8}\Z")
            self.assertEqual(second.check_suffix, second.service_id.removeprefix("ssdpreg"))
            self.assertEqual(self.agent.services.keys(), {"ssdpreg", second.service_id})

    def test_registered_once(self) -> None:
        """The service is registered by one request, and not again after a restart."""
        for service in (self.service, self.service, self.make_service()):
            self.run_now(service.ensure_registered())
        self.assertEqual(self.agent.requests.count(("PUT", "/v1/agent/service/register")), 1)

    def test_lost_check(self) -> None:
        """If the agent lost the service, ``pass_check`` registers it again and raises an error."""
        self.run_now(self.service.ensure_registered())
        self.agent.clear()
        self.failureResultOf(Deferred.fromCoroutine(self.service.pass_check()), BackendForgotError)
        self.assertEqual(self.agent.services.keys(), {"ssdpreg"})
        self.run_now(self.service.pass_check())

    def test_refused_registration(self) -> None:
        """While the agent refuses to register it, the check of the service of an earlier run is passed."""
        self.run_now(self.service.ensure_registered())
        self.agent.services["ssdpreg"]["Meta"]["ssdpreg-version"] = "0"
        self.agent.checks["ssdpreg:alive"]["Status"] = "critical"
        self.agent.denied.add("ssdpreg")
        restarted = self.make_service()
        for faults in ({"/v1/agent/check": (500, "")}, {}):
            self.agent.faults = faults
            self.failureResultOf(Deferred.fromCoroutine(restarted.ensure_registered()), BackendRefusedError)
            self.assertEqual(self.agent.checks["ssdpreg:alive"]["Status"], "critical" if faults else "passing")

    def exists(self) -> bool:
        """Return whether the service exists although a listing lacks it."""
        return self.successResultOf(Deferred.fromCoroutine(self.service.exists()))

    def test_absence(self) -> None:
        """A service that exists but is not listed is found; a lost one is registered again on demand."""
        self.run_now(self.service.ensure_registered())
        self.assertTrue(self.exists())
        self.agent.clear()
        self.assertFalse(self.exists())
        self.run_now(self.service.ensure_registered())
        self.assertEqual(self.agent.services.keys(), {"ssdpreg"})

    def test_id_lost(self) -> None:
        """After a foreign service took the ID, ``exists`` chooses the other ID."""
        self.run_now(self.service.ensure_registered())
        self.register_foreign()
        self.assertFalse(self.exists())
        self.run_now(self.service.ensure_registered())
        self.assertEqual(self.agent.services["ssdpreg"]["Service"], "foreign")
        self.assertEqual(self.agent.services.keys(), {"ssdpreg", self.service.service_id})
        self.assertNotEqual(self.service.service_id, "ssdpreg")

    def test_preferred_id_after_data_loss(self) -> None:
        """After the agent has lost its data, ``exists`` chooses the preferred ID again."""
        self.register_foreign()
        self.run_now(self.service.ensure_registered())
        self.agent.clear()
        self.assertFalse(self.exists())
        self.assertEqual(self.service.service_id, "ssdpreg")

    def test_id_lost_with_the_check(self) -> None:
        """If a foreign service took the ID after the agent lost its data, ``pass_check`` uses the other ID."""
        self.run_now(self.service.ensure_registered())
        self.agent.clear()
        self.register_foreign()
        self.failureResultOf(Deferred.fromCoroutine(self.service.pass_check()), BackendForgotError)
        self.assertEqual(self.agent.services["ssdpreg"]["Service"], "foreign")
        self.assertEqual(self.agent.services.keys(), {"ssdpreg", self.service.service_id})
        self.run_now(self.service.pass_check())

    def test_confirmation(self) -> None:
        """A service whose check was not passed for 30 s is looked up once more, by its own ID."""
        self.register_foreign()
        self.run_now(self.service.ensure_registered())
        path = "/v1/agent/service/" + self.service.service_id.replace(":", "%3A")
        for seconds, expected in ((29.9, []), (0.1, [("GET", path)]), (29.9, [])):
            self.clock.advance(seconds)
            self.agent.requests.clear()
            self.run_now(self.service.ensure_registered())
            self.assertEqual(self.agent.requests, expected)
        self.run_now(self.service.pass_check())
        self.clock.advance(29.9)
        self.agent.requests.clear()
        self.run_now(self.service.ensure_registered())
        self.assertEqual(self.agent.requests, [])

    def test_id_lost_while_suspended(self) -> None:
        """A daemon that was suspended for 30 s notices that a foreign service took its ID, and uses the other ID."""
        self.run_now(self.service.ensure_registered())
        self.register_foreign()
        self.clock.advance(30)
        self.run_now(self.service.ensure_registered())
        self.assertEqual(self.agent.services["ssdpreg"]["Service"], "foreign")
        self.assertEqual(self.agent.services.keys(), {"ssdpreg", self.service.service_id})

    def test_deregister(self) -> None:
        """``deregister`` removes the service, and succeeds if it is not registered."""
        self.run_now(self.service.ensure_registered())
        for _ in range(2):
            self.run_now(self.service.deregister())
            self.assertEqual(self.agent.services, {})
        self.run_now(self.service.ensure_registered())
        self.assertEqual(self.agent.services.keys(), {"ssdpreg"})

    def test_deregister_foreign(self) -> None:
        """``deregister`` does not remove a foreign service with the preferred ID."""
        self.register_foreign()
        self.run_now(self.service.deregister())
        self.assertEqual(self.agent.services.keys(), {"ssdpreg"})
