"""Tests for :mod:`ssdpreg.web.history`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.testing import make_registration
from ssdpreg.web.history import Event, History, Minute


class HistoryTests(SynchronousTestCase):
    """Tests for :class:`History`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(6000)
        self.history = History(self.clock)

    def test_interface(self) -> None:
        """It can follow a registry."""
        self.assertTrue(verifyObject(IRegistrationListener, self.history))

    def test_events(self) -> None:
        """The latest events are told, the latest first, and a change is told from an appearance."""
        registration = make_registration(1)
        self.history.appeared(registration)
        self.clock.advance(1)
        self.history.changed(registration, registration)
        self.history.left(registration, "expired")
        self.history.appeared(registration)
        self.assertEqual(
            self.history.events,
            [
                Event(4, 6001, "alive", registration),
                Event(3, 6001, "expired", registration),
                Event(2, 6001, "changed", registration),
                Event(1, 6000, "alive", registration),
            ],
        )
        self.assertEqual(self.history.counts, {"alive": 2, "changed": 1, "expired": 1})

    def test_no_more_than_fifty_events(self) -> None:
        """Older events are forgotten, but counted."""
        for number in range(60):
            self.history.appeared(make_registration(number))
        self.assertEqual(len(self.history.events), 50)
        self.assertEqual(self.history.counts["alive"], 60)

    def test_minutes(self) -> None:
        """For each minute it is known what happened, and how many services were live at its end."""
        for number in range(3):
            self.history.appeared(make_registration(number))
        self.clock.advance(120)
        self.history.left(make_registration(0), "byebye")
        self.history.left(make_registration(1), "expired")
        self.clock.advance(120)
        self.history.appeared(make_registration(3))
        self.assertEqual(
            self.history.minutes,
            [
                Minute(100, services=3, alive=3),
                Minute(101, services=3),
                Minute(102, services=1, byebye=1, expired=1),
                Minute(103, services=1),
                Minute(104, services=2, alive=1),
            ],
        )

    def test_last_hour(self) -> None:
        """No more than an hour is remembered, however long nothing happened."""
        self.history.appeared(make_registration(1))
        for seconds in (3540, 60, 86400):
            self.clock.advance(seconds)
            minutes = self.history.minutes
            self.assertEqual(len(minutes), 60)
            self.assertEqual(minutes[-1], Minute(int(self.clock.seconds() // 60), services=1))
            self.assertEqual(minutes[0].number, minutes[-1].number - 59)

    def test_clock_set_back(self) -> None:
        """A clock that is set back loses nothing and invents no minutes."""
        self.history.appeared(make_registration(1))
        self.clock.rightNow -= 600
        self.history.appeared(make_registration(2))
        self.assertEqual(self.history.minutes, [Minute(100, services=2, alive=2)])
