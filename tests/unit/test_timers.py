"""Tests for :mod:`ssdpreg.timers`."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.timers import Backoff, DelayedCalls, EarliestCall, Pause, RepeatingCall


class TimersTestCase(SynchronousTestCase):
    """A clock with an arbitrary reading, and a record of calls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.started = self.clock.seconds()
        #: Seconds from the start to each call of :meth:`record`.
        self.times: list[float] = []

    def record(self) -> None:
        self.times.append(self.clock.seconds() - self.started)


class PauseTests(TimersTestCase):
    """Tests for :class:`Pause`."""

    def setUp(self) -> None:
        super().setUp()
        self.pause = Pause(self.clock)

    def wait(self) -> Deferred[None]:
        """Begin a pause of 2 s."""
        return Deferred.fromCoroutine(self.pause.wait(2.0))

    def test_wait(self) -> None:
        """A pause ends after its time."""
        waiting = self.wait()
        self.clock.advance(1.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        self.successResultOf(waiting)

    def test_end(self) -> None:
        """``end`` ends a pause early, and changes nothing if there is none."""
        self.pause.end()
        waiting = self.wait()
        self.pause.end()
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """A cancelled pause leaves no delayed call."""
        waiting = self.wait()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DelayedCallsTests(TimersTestCase):
    """Tests for :class:`DelayedCalls`."""

    def setUp(self) -> None:
        super().setUp()
        self.delayed = DelayedCalls(self.clock)
        self.calls: list[tuple[object, ...]] = []

    def test_call(self) -> None:
        """A function is called once, after its delay, with its arguments."""
        self.delayed.call(2, lambda *arguments: self.calls.append(arguments), "a", 1)
        self.clock.advance(1.5)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.5)
        self.assertEqual(self.calls, [("a", 1)])
        self.clock.advance(10)
        self.assertEqual(len(self.calls), 1)

    def test_cancel_all(self) -> None:
        """Cancelled calls are not made, and calls made before do not matter."""
        for delay in (1, 2, 3):
            self.delayed.call(delay, self.record)
        self.clock.advance(1)
        self.delayed.cancel_all()
        self.clock.advance(10)
        self.assertEqual((self.times, self.clock.getDelayedCalls()), ([1], []))

    def test_cancel_from_a_call(self) -> None:
        """A function may cancel the calls that remain."""
        self.delayed.call(1, self.delayed.cancel_all)
        self.delayed.call(2, self.record)
        self.clock.pump([1, 1])
        self.assertEqual(self.times, [])

    def test_call_after_cancel(self) -> None:
        """New calls can be requested after a cancellation."""
        self.delayed.cancel_all()
        self.delayed.call(1, self.record)
        self.clock.advance(1)
        self.assertEqual(self.times, [1])


class EarliestCallTests(TimersTestCase):
    """Tests for :class:`EarliestCall`."""

    def setUp(self) -> None:
        super().setUp()
        self.earliest = EarliestCall(self.clock, self.record)

    def test_request(self) -> None:
        """One call is made, at the requested time."""
        self.earliest.request(self.started + 5)
        self.clock.advance(4)
        self.assertEqual(self.times, [])
        self.clock.pump([1, 5])
        self.assertEqual(self.times, [5])

    def test_earlier_request(self) -> None:
        """An earlier request replaces a later one, and a later one changes nothing."""
        for seconds in (5, 2, 8, 2):
            self.earliest.request(self.started + seconds)
        self.clock.pump([1] * 10)
        self.assertEqual(self.times, [2])

    def test_past(self) -> None:
        """A time in the past means at once."""
        self.earliest.request(self.started - 100)
        # Unlike Clock, a reactor rejects a negative delay.
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [self.started])
        self.clock.advance(0)
        self.assertEqual(self.times, [0])

    def test_request_from_the_call(self) -> None:
        """The function may request the next call."""

        def repeat() -> None:
            self.record()
            earliest.request(self.clock.seconds() + 3)

        earliest = EarliestCall(self.clock, repeat)
        earliest.request(self.started + 1)
        self.clock.pump([1] * 8)
        self.assertEqual(self.times, [1, 4, 7])

    def test_cancel(self) -> None:
        """A cancelled call is not made. Cancelling twice is harmless, and a new call can be requested."""
        self.earliest.request(self.started + 1)
        self.earliest.cancel()
        self.earliest.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.earliest.request(self.started + 2)
        self.clock.pump([1, 1])
        self.assertEqual(self.times, [2])


class RepeatingCallTests(TimersTestCase):
    """Tests for :class:`RepeatingCall`."""

    log = Logger()

    def test_interval(self) -> None:
        """The function is called at once and at each interval, until it is stopped."""
        repeating = RepeatingCall(self.clock, 10, self.record, self.log, "Refresh of the interfaces")
        repeating.start()
        self.assertTrue(repeating.running)
        self.clock.pump([5] * 4)
        repeating.stop()
        self.assertFalse(repeating.running)
        self.clock.advance(100)
        self.assertEqual((self.times, self.clock.getDelayedCalls()), ([0, 10, 20], []))

    def test_start_later(self) -> None:
        """The first call can be made after the first interval."""
        RepeatingCall(self.clock, 10, self.record, self.log, "Refresh of the interfaces").start(now=False)
        self.assertEqual(self.times, [])
        self.clock.advance(10)
        self.assertEqual(self.times, [10])

    def test_stop_when_stopped(self) -> None:
        """Stopping a call that is not running is harmless."""
        RepeatingCall(self.clock, 10, self.record, self.log, "Refresh of the interfaces").stop()

    def test_start_again(self) -> None:
        """A stopped call can be started again."""
        repeating = RepeatingCall(self.clock, 10, self.record, self.log, "Refresh of the interfaces")
        for _ in range(2):
            repeating.start()
            repeating.stop()
        self.assertEqual(self.times, [0, 0])

    def test_exception(self) -> None:
        """An exception is logged with the description of the function, and the next call is made as usual."""

        def _refresh() -> None:
            self.record()
            raise RuntimeError("defect")

        with capturedLogs() as events:
            RepeatingCall(self.clock, 10, _refresh, self.log, "Refresh of the interfaces").start()
            self.clock.advance(10)
        self.assertEqual(self.times, [0, 10])
        logged = [(event["log_level"], event["description"]) for event in events]
        self.assertEqual(logged, [(LogLevel.critical, "Refresh of the interfaces")] * 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_deferred(self) -> None:
        """The next call waits for the Deferred of the one before, whether it succeeds or fails."""
        results: list[Deferred[None]] = []

        def call() -> Deferred[None]:
            self.record()
            results.append(Deferred())
            return results[-1]

        RepeatingCall(self.clock, 10, call, self.log, "Refresh of the interfaces").start()
        self.clock.advance(25)
        self.assertEqual(self.times, [0])
        results[0].callback(None)
        self.clock.advance(5)
        self.assertEqual(self.times, [0, 30])
        results[1].errback(RuntimeError("defect"))
        self.clock.advance(10)
        self.assertEqual(self.times, [0, 30, 40])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_coroutine(self) -> None:
        """A coroutine is awaited, and its exception is logged."""

        async def call() -> None:
            self.record()
            raise RuntimeError("defect")

        RepeatingCall(self.clock, 10, call, self.log, "Refresh of the interfaces").start()
        self.clock.advance(10)
        self.assertEqual(self.times, [0, 10])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class BackoffTests(SynchronousTestCase):
    """Tests for :class:`Backoff`."""

    def test_doubles(self) -> None:
        """The pause doubles with each failure, up to the longest."""
        backoff = Backoff(1.0, 30.0)
        pauses = []
        for _ in range(7):
            backoff.fail()
            pauses.append(backoff.pause())
        self.assertEqual(pauses, [1, 2, 4, 8, 16, 30, 30])
        self.assertEqual(backoff.failures, 7)

    def test_reset(self) -> None:
        """After a success the pauses begin anew."""
        backoff = Backoff(1.0, 30.0)
        for _ in range(5):
            backoff.fail()
        backoff.reset()
        self.assertEqual(backoff.failures, 0)
        backoff.fail()
        self.assertEqual(backoff.pause(), 1)

    def test_no_failure(self) -> None:
        """Without a failure the pause is the shortest."""
        self.assertEqual(Backoff(1.0, 30.0).pause(), 1)

    def test_many_failures(self) -> None:
        """A very large number of failures does not overflow."""
        backoff = Backoff(1.0, 30.0)
        backoff.failures = 10**6
        self.assertEqual(backoff.pause(), 30)

    def test_jitter(self) -> None:
        """Jitter shortens a pause by up to a half, differently each time."""
        backoff = Backoff(8.0, 30.0, Random(1))
        pauses = {backoff.pause() for _ in range(100)}
        self.assertGreater(len(pauses), 90)
        self.assertGreaterEqual(min(pauses), 4)
        self.assertLessEqual(max(pauses), 8)
        self.assertGreater(max(pauses) - min(pauses), 3)
