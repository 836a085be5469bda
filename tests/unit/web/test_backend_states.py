"""Tests for :mod:`ssdpreg.web.backend_states`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from ssdpreg.web.backend_states import BackendStates
from ssdpreg.web.slices import RequestCooperator

_REGISTERED, _WAITING, _REFUSED = ServiceState("registered"), ServiceState("waiting"), ServiceState("refused", "no")


class BackendStatesTests(SynchronousTestCase):
    """Tests for :class:`BackendStates`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.registrations: dict[str, Registration] = {}
        self.states: dict[str, ServiceState] = {}
        self.examined: list[str] = []
        self.subject = BackendStates(self.clock, self.registrations, self.look, RequestCooperator(self.clock))

    def look(self, service_id: str) -> ServiceState:
        self.examined.append(service_id)
        return self.states[service_id]

    def add(self, number: int, state: ServiceState) -> Registration:
        """Add a service."""
        registration = make_registration(number)
        self.registrations[registration.service_id] = registration
        self.states[registration.service_id] = state
        self.subject.appeared(registration)
        return registration

    def refresh(self) -> tuple[int, int, int]:
        """Return the numbers of registered, waiting and refused services."""
        self.examined.clear()
        done = Deferred.fromCoroutine(self.subject.refresh())
        self.clock.advance(0)
        self.successResultOf(done)
        counts = self.subject.counts
        return counts["registered"], counts["waiting"], counts["refused"]

    def test_counts(self) -> None:
        """Services are counted by their present state until they leave."""
        first, second, third = self.add(1, _WAITING), self.add(2, _REFUSED), self.add(3, _REGISTERED)
        self.assertEqual(self.refresh(), (1, 1, 1))
        self.assertEqual(list(self.subject.refused), [second.service_id])
        self.states[first.service_id] = self.states[second.service_id] = _REGISTERED
        self.states[third.service_id] = _REFUSED
        self.assertEqual(self.refresh(), (2, 0, 1))
        del self.registrations[third.service_id]
        self.subject.left(third, "byebye")
        self.assertEqual(self.refresh(), (2, 0, 0))

    def test_many(self) -> None:
        """Of many services, only those that are not registered are examined each time, and all every 30 s."""
        for number in range(2500):
            self.add(number, _REGISTERED)
        self.assertEqual(self.refresh(), (2500, 0, 0))
        self.assertEqual(len(self.examined), 2500)
        waiting = self.add(2500, _WAITING)
        self.assertEqual(self.refresh(), (2500, 1, 0))
        self.assertEqual(self.examined, [waiting.service_id])
        self.states[make_registration(7).service_id] = _REFUSED
        self.assertEqual(self.refresh(), (2500, 1, 0))
        self.clock.advance(30)
        self.assertEqual(self.refresh(), (2499, 1, 1))

    def test_many_waiting(self) -> None:
        """Many services that wait are examined once a second at most."""
        for number in range(2500):
            self.add(number, _WAITING)
        self.clock.advance(1)
        self.refresh()
        self.assertEqual(len(self.examined), 2500)
        self.refresh()
        self.assertEqual(self.examined, [])
        self.clock.advance(1)
        self.refresh()
        self.assertEqual(len(self.examined), 2500)

    def test_requests_that_come_together(self) -> None:
        """Requests during an examination wait for it, and a request that is cancelled does not end it for others."""
        for number in range(10_000):
            self.add(number, _REGISTERED)
        self.clock.advance(1)
        first, second, third = (Deferred.fromCoroutine(self.subject.refresh()) for _ in range(3))
        self.assertNoResult(second)
        second.addErrback(lambda _: None)
        second.cancel()
        self.clock.advance(0)
        self.successResultOf(first)
        self.successResultOf(third)
        self.assertEqual(len(self.examined), 10_000)

    def test_memory(self) -> None:
        """Nothing is kept for services that are gone."""
        for state in (_REGISTERED, _WAITING, _REFUSED):
            registration = self.add(1, state)
            self.refresh()
            del self.registrations[registration.service_id]
            self.subject.left(registration, "expired")
        self.assertEqual(self.refresh(), (0, 0, 0))
