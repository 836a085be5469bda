"""Tests for :mod:`ssdpreg.reconciler.application`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.reconciler.application import Application
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.differences import Differences
from ssdpreg.testing import make_registration


class SlowBackend(EmbeddedBackend):
    """
    Backend that applies the changes of a plan in half a second.

    :ivar sizes: Numbers of changes of all plans.
    :ivar available: Whether it applies them.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.sizes: list[int] = []
        self.available = True

    async def apply(self, plan: Plan) -> Outcome:
        self.sizes.append(len(plan))
        await deferLater(self._clock, 0.5)
        return await super().apply(plan) if self.available else Outcome(unavailable=BackendUnavailableError("down"))


class ApplicationTests(SynchronousTestCase):
    """Tests for :class:`Application`, a long time after the start."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.backend = SlowBackend(self.clock)
        self.desired: dict[str, Registration] = {}
        self.prepared: list[Registration] = []
        self.succeeded: list[float] = []
        self.differences = Differences(self.desired, lambda service_id: 0)
        self.differences.load({}, 1000)
        self.application = Application(
            self.clock,
            self.backend,
            self.differences,
            self.prepare,
            lambda: self.succeeded.append(self.clock.seconds()),
            LogBudget(),
            Logger(),
        )

    def prepare(self) -> None:
        """Make the services live that are in ``prepared``."""
        while self.prepared:
            self.appear(self.prepared.pop())

    def appear(self, *registrations: Registration) -> None:
        """Make services live."""
        for each in registrations:
            self.desired[each.service_id] = each
            self.differences.appeared(each.service_id, self.clock.seconds())

    def run_all(self) -> Deferred[None]:
        """Begin to apply all differences."""
        return Deferred.fromCoroutine(self.application.run(lambda: True))

    def test_difference_that_is_found_later(self) -> None:
        """A difference that is found after the beginning of a run without any is applied in that run."""
        self.prepared = [make_registration(1)]
        running = self.run_all()
        self.clock.pump([0.125] * 10)
        self.successResultOf(running)
        self.assertEqual((self.backend.sizes, self.differences.pending), ([1], 0))

    def test_size(self) -> None:
        """Each slice has twice as many changes as the one before, if that took half a second."""
        self.appear(*map(make_registration, range(200)))
        running = self.run_all()
        self.clock.pump([0.125] * 30)
        self.successResultOf(running)
        self.assertEqual(self.backend.sizes, [16, 32, 64, 88])

    def test_success(self) -> None:
        """The success of each slice is reported at its end, and not only at the end of the run."""
        self.appear(*map(make_registration, range(40)))
        running = self.run_all()
        self.clock.pump([0.125] * 7)
        self.assertEqual(self.succeeded, [1000.5])
        self.assertNoResult(running)

    def test_failure(self) -> None:
        """A slice that fails is no success."""
        self.appear(make_registration(1))
        self.backend.available = False
        running = self.run_all()
        self.clock.pump([0.125] * 7)
        self.failureResultOf(running, BackendUnavailableError)
        self.assertEqual(self.succeeded, [])

    def test_summary(self) -> None:
        """Changes beyond the budget for log lines are logged as one line, at the end of a later slice."""
        self.appear(*map(make_registration, range(200)))
        self.run_all()
        self.clock.pump([0.125] * 30)
        waiting = self.application.summarized_changes
        self.assertGreater(waiting, 0)
        self.clock.advance(600)
        self.appear(make_registration(1000))
        with capturedLogs() as captured:
            self.run_all()
            self.clock.pump([0.125] * 10)
        self.assertEqual([event.get("count") for event in captured], [waiting + 1])
