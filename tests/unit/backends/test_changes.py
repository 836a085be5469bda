"""Tests for :mod:`ssdpreg.backends.changes`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.changes import run_changes
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Registration
from ssdpreg.testing import make_registration


class RunChangesTests(SynchronousTestCase):
    """Tests for :func:`run_changes`."""

    def setUp(self) -> None:
        self.started: list[str] = []
        self.changes: list[Deferred[None]] = []

    async def change(self, registration: Registration) -> None:
        """Record a change, and wait until the test ends it."""
        self.started.append(registration.service_id)
        self.changes.append(Deferred())
        await self.changes[-1]

    def run_all(self, count: int, limit: int) -> tuple[Deferred[Outcome], list[str]]:
        """Run as many changes, and return the outcome and the service IDs."""
        registrations = [make_registration(number) for number in range(count)]
        running = Deferred.fromCoroutine(run_changes([(self.change, each) for each in registrations], limit))
        return running, [each.service_id for each in registrations]

    def test_none(self) -> None:
        """The outcome of no changes is empty."""
        running, _ = self.run_all(0, 2)
        self.assertEqual(self.successResultOf(running), Outcome())

    def test_limit(self) -> None:
        """At most ``limit`` changes are in progress. The next one starts when one ends."""
        running, ids = self.run_all(4, 2)
        self.assertEqual(self.started, ids[:2])
        self.changes[1].callback(None)
        self.assertEqual(self.started, ids[:3])
        for number in (0, 2, 3):
            self.changes[number].callback(None)
        self.assertEqual(self.successResultOf(running), Outcome(frozenset(ids)))

    def test_rejected(self) -> None:
        """A rejected change does not stop the others."""
        running, ids = self.run_all(2, 1)
        error = BackendRefusedError(403, "Permission denied")
        self.changes[0].errback(error)
        self.changes[1].callback(None)
        self.assertEqual(self.successResultOf(running), Outcome(frozenset({ids[1]}), {ids[0]: error}))

    def test_unavailable(self) -> None:
        """After an unavailable backend no change is started, and those in progress are completed."""
        running, ids = self.run_all(4, 2)
        error = BackendUnavailableError("No cluster leader")
        self.changes[0].errback(error)
        self.assertNoResult(running)
        self.changes[1].callback(None)
        self.assertEqual(self.successResultOf(running), Outcome(frozenset({ids[1]}), {}, error))
        self.assertEqual(len(self.started), 2)

    def test_cancelled(self) -> None:
        """A cancellation cancels the changes in progress."""
        running, _ = self.run_all(4, 2)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertTrue(all(change.called for change in self.changes))
        self.assertEqual(len(self.started), 2)
