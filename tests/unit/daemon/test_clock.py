"""Tests for :mod:`ssdpreg.daemon.clock`."""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.daemon.clock import use_monotonic_clock


class TimersReactor(ReactorBase):
    """The timers of Twisted's reactors, without sockets or threads."""

    def installWaker(self) -> None:  # noqa: N802
        """Install nothing."""


class UseMonotonicClockTests(SynchronousTestCase):
    """Tests for :func:`use_monotonic_clock`."""

    def setUp(self) -> None:
        self.now = 12345.5
        self.patch(time, "monotonic", lambda: self.now)
        self.reactor = TimersReactor()
        use_monotonic_clock(self.reactor)

    def test_seconds(self) -> None:
        """The reactor's clock is the monotonic one."""
        self.assertEqual(self.reactor.seconds(), 12345.5)

    def test_timers(self) -> None:
        """Timers follow the monotonic clock, and not the time of day."""
        called: list[str] = []
        self.reactor.callLater(30, called.append, "timer")
        self.patch(time, "time", lambda: 4e9)
        self.now += 29
        self.reactor.runUntilCurrent()
        self.assertEqual(called, [])
        self.now += 1
        self.reactor.runUntilCurrent()
        self.assertEqual(called, ["timer"])
