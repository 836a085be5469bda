"""Tests for :mod:`ssdpreg.backends.changes`."""

from __future__ import annotations

import gc

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.changes import ChangeRunner, run_parallel
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Registration
from ssdpreg.testing import make_registration


class ChangeRunnerTests(SynchronousTestCase):
    """Tests for :class:`ChangeRunner`."""

    def setUp(self) -> None:
        self.started: list[str] = []
        self.changes: list[Deferred[None]] = []
        self.rooms: list[int] = []

    async def change(self, registration: Registration) -> None:
        """Record a change, and wait until the test ends it."""
        self.started.append(registration.service_id)
        self.changes.append(Deferred())
        await self.changes[-1]

    def run_all(self, count: int, limit: int) -> tuple[Deferred[Outcome], list[str]]:
        """Run as many changes, and return the outcome and the service IDs."""
        registrations = [make_registration(number) for number in range(count)]
        return self.run_plan(ChangeRunner(limit), registrations), [each.service_id for each in registrations]

    def run_plan(self, runner: ChangeRunner, registrations: list[Registration]) -> Deferred[Outcome]:
        """Run the changes of a plan. ``rooms`` has the number of changes that had been started when there was room."""
        changes = [(self.change, each) for each in registrations]
        return Deferred.fromCoroutine(runner.run(changes, lambda: self.rooms.append(len(self.started))))

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

    def test_room(self) -> None:
        """There is room once, when no change waits and fewer than ``limit`` are in progress."""
        for count, ended, rooms in ((0, 0, [0]), (1, 0, [1]), (2, 1, [2]), (4, 3, [4])):
            self.setUp()
            running, _ = self.run_all(count, 2)
            for number in range(count):
                self.assertEqual(self.rooms, rooms if number >= ended else [])
                self.changes[number].callback(None)
            self.successResultOf(running)
            self.assertEqual(self.rooms, rooms)

    def test_no_room(self) -> None:
        """A backend that is unavailable has no room."""
        running, _ = self.run_all(4, 2)
        for number in range(2):
            self.changes[number].errback(BackendUnavailableError("No cluster leader"))
        self.successResultOf(running)
        self.assertEqual(self.rooms, [])

    def test_two_plans(self) -> None:
        """The limit holds for the changes of all plans."""
        runner = ChangeRunner(2)
        registrations = [make_registration(number) for number in range(6)]
        ids = [each.service_id for each in registrations]
        first = self.run_plan(runner, registrations[:3])
        for number in (0, 1):
            self.changes[number].callback(None)
        self.assertEqual(self.rooms, [3])
        second = self.run_plan(runner, registrations[3:])
        self.assertEqual(self.started, ids[:4])
        self.changes[3].callback(None)
        self.assertEqual(self.started, ids[:5])
        self.assertNoResult(first)
        self.changes[2].callback(None)
        self.assertEqual(self.successResultOf(first), Outcome(frozenset(ids[:3])))
        self.assertEqual(self.started, ids)
        for number in (4, 5):
            self.changes[number].callback(None)
        self.assertEqual(self.successResultOf(second), Outcome(frozenset(ids[3:])))

    def test_cancelled_plan(self) -> None:
        """The cancellation of a plan that waits for a place does not affect the other plan."""
        runner = ChangeRunner(1)
        first = self.run_plan(runner, [make_registration(1)])
        second = self.run_plan(runner, [make_registration(2)])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.changes[0].callback(None)
        self.assertEqual(len(self.successResultOf(first).applied), 1)
        third = self.run_plan(runner, [make_registration(3)])
        self.changes[1].callback(None)
        self.assertEqual(len(self.successResultOf(third).applied), 1)
        self.assertEqual(self.rooms, [1, 2])

    def test_exception(self) -> None:
        """An unexpected exception is raised when the changes in progress have ended. No further one is started."""
        running, _ = self.run_all(4, 2)
        self.changes[0].errback(ZeroDivisionError())
        self.assertNoResult(running)
        self.changes[1].callback(None)
        self.failureResultOf(running, ZeroDivisionError)
        self.assertEqual((len(self.started), self.rooms), (2, []))

    def test_at_once(self) -> None:
        """Thousands of changes may end without a request."""

        async def change(registration: Registration) -> None:
            self.started.append(registration.service_id)

        changes = [(change, make_registration(number)) for number in range(5000)]
        running = Deferred.fromCoroutine(ChangeRunner(2).run(changes, lambda: None))
        self.assertEqual(len(self.successResultOf(running).applied), 5000)


class RunParallelTests(SynchronousTestCase):
    """Tests for :func:`run_parallel`."""

    def setUp(self) -> None:
        self.jobs: list[Deferred[None]] = []

    async def job(self) -> None:
        """Wait until the test ends the job."""
        self.jobs.append(Deferred())
        await self.jobs[-1]

    def run_jobs(self, count: int) -> Deferred[None]:
        """Run as many jobs, two at a time."""
        return Deferred.fromCoroutine(run_parallel([self.job] * count, 2))

    def test_limit(self) -> None:
        """The next job begins when one of those in progress ends. The function returns when all have ended."""
        running = self.run_jobs(5)
        for number in range(5):
            self.assertEqual(len(self.jobs), min(number + 2, 5))
            self.assertNoResult(running)
            self.jobs[number].callback(None)
        self.assertIsNone(self.successResultOf(running))
        self.successResultOf(self.run_jobs(0))

    def test_exception(self) -> None:
        """The first exception is raised at once, and no further job begins. Another exception is not logged."""
        running = self.run_jobs(5)
        self.jobs[1].errback(ZeroDivisionError())
        self.failureResultOf(running, ZeroDivisionError)
        self.jobs[0].callback(None)
        self.assertEqual(len(self.jobs), 2)
        again = self.run_jobs(2)
        for each in self.jobs[2:]:
            each.errback(ZeroDivisionError())
        self.failureResultOf(again, ZeroDivisionError)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
