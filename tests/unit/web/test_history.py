"""Tests for :mod:`ssdpreg.web.history`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from ssdpreg.web.history import History, Minute, PastEvent


class HistoryTests(SynchronousTestCase):
    """Tests for :class:`History`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(6000)
        self.registrations: dict[str, Registration] = {}
        self.history = History(self.clock, self.registrations)

    def register(self, number: int) -> None:
        """Add a live service, and notify the history, as the registry does."""
        registration = make_registration(number)
        self.registrations[registration.service_id] = registration
        self.history.appeared(registration)

    def remove(self, number: int, reason: str) -> None:
        """Remove a live service, and notify the history, as the registry does."""
        self.history.left(self.registrations.pop(make_registration(number).service_id), reason)

    def test_interface(self) -> None:
        """A history is a listener of the registry."""
        self.assertTrue(verifyObject(IRegistrationListener, self.history))

    def test_events(self) -> None:
        """The latest events are listed, the last one first, and counted by kind."""
        registration = make_registration(1)
        self.register(1)
        self.clock.advance(1)
        self.history.changed(registration, registration)
        self.remove(1, "expired")
        self.register(1)
        self.assertEqual(
            self.history.events,
            [
                PastEvent(4, 6001, "alive", registration),
                PastEvent(3, 6001, "expired", registration),
                PastEvent(2, 6001, "changed", registration),
                PastEvent(1, 6000, "alive", registration),
            ],
        )
        self.assertEqual(self.history.counts, {"alive": 2, "changed": 1, "expired": 1})

    def test_at_most_fifty_events(self) -> None:
        """Fifty events are kept, and all are counted."""
        for number in range(60):
            self.register(number)
        self.assertEqual(len(self.history.events), 50)
        self.assertEqual(self.history.counts["alive"], 60)

    def test_minutes(self) -> None:
        """Each minute has the number of its events, and the number of live services at its end."""
        for number in range(3):
            self.register(number)
        self.clock.advance(120)
        self.remove(0, "byebye")
        self.remove(1, "expired")
        self.clock.advance(120)
        self.register(3)
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

    def test_services_before_the_history(self) -> None:
        """Services that were live before the history was created are counted as live, without an event."""
        self.register(1)
        history = History(self.clock, self.registrations)
        self.assertEqual((history.minutes, history.events), ([Minute(100, services=1)], []))

    def test_last_hour(self) -> None:
        """At most 60 minutes are kept, also when nothing happens for longer than that."""
        self.register(1)
        for seconds in (3540, 60, 86400):
            self.clock.advance(seconds)
            minutes = self.history.minutes
            self.assertEqual(len(minutes), 60)
            self.assertEqual(minutes[-1], Minute(int(self.clock.seconds() // 60), services=1))
            self.assertEqual(minutes[0].number, minutes[-1].number - 59)

    def test_clock_set_back(self) -> None:
        """When the clock is set back, events are added to the last minute."""
        self.register(1)
        self.clock.rightNow -= 600
        self.register(2)
        self.assertEqual(self.history.minutes, [Minute(100, services=2, alive=2)])
