"""Tests for the time in which nothing was received, and the expiry of services."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.events import Left
from ssdpreg.discovery.interruptions import LIMIT, Interruptions
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import TableTestCase, advertisement

TRUE = advertisement()


class InterruptionsTests(SynchronousTestCase):
    """Tests for :class:`Interruptions`."""

    def setUp(self) -> None:
        self.interruptions = Interruptions()

    def test_interfaces(self) -> None:
        """The interruptions of an interface and of all interfaces count."""
        self.interruptions.add(10, 15, "eth0")
        self.interruptions.add(20, 27)
        self.interruptions.add(30, 31, "eth1")
        self.assertEqual([self.interruptions.since(0, each) for each in ("eth0", "eth1", "eth2", "")], [12, 8, 7, 7])

    def test_beginning(self) -> None:
        """Only the time since the reception counts."""
        self.interruptions.add(10, 15, "eth0")
        self.assertEqual([self.interruptions.since(at, "eth0") for at in (9, 10, 12, 15, 16)], [5, 5, 3, 0, 0])

    def test_time_in_common(self) -> None:
        """The time that two interruptions have in common counts once."""
        self.interruptions.add(10, 20, "eth0")
        self.interruptions.add(12, 14)
        self.interruptions.add(18, 25)
        self.assertEqual(self.interruptions.since(0, "eth0"), 15)

    def test_limit(self) -> None:
        """Many interruptions are merged. Their sum stays the same."""
        for number in range(10 * LIMIT):
            self.interruptions.add(10 * number, 10 * number + 2, "eth0")
        self.assertEqual(self.interruptions.since(0, "eth0"), 20 * LIMIT)
        self.assertEqual(len(self.interruptions._times["eth0"]), LIMIT)


class ExpiryTests(TableTestCase):
    """Expiry of services after interruptions."""

    def interrupt(self, seconds: float, interface: str = "eth0") -> None:
        """Let an interface be down for some time."""
        began_at = self.now
        self.table.hold(math.inf, interface)
        self.wait(seconds)
        self.table.add_interruption(began_at, self.now, interface)
        self.table.hold(self.now + 5, interface)

    def test_device_that_never_replies(self) -> None:
        """The time of an interruption does not count: the service expires at the end of its lifetime without it."""
        for deaf in (300, 1700, 5000):
            self.setUp()
            self.receive(TRUE)
            self.wait(100)
            self.interrupt(deaf)
            self.assertEqual(self.wait(1759), [])
            ((_, event),) = self.wait(32)
            self.assertEqual(event, Left(TRUE, "expired"))

    def test_other_interface(self) -> None:
        """An interruption of another interface changes nothing."""
        self.receive(TRUE)
        self.wait(100)
        self.interrupt(1000, "eth1")
        self.assertEqual(self.wait(800), [(760, Left(TRUE, "expired"))])

    def test_device_that_replies(self) -> None:
        """A device that has replied to searches is searched for after the interruption, and is not kept for longer."""
        self.receive(TRUE, channel=Channel.SEARCH)
        self.wait(100)
        self.interrupt(2000)
        ((at, _),) = self.wait(100)
        self.assertLess(at, 45)

    def test_adopted_service(self) -> None:
        """An interface that is down does not keep an adopted service for ever."""
        for max_age, longest in ((60, 66 + 600), (1800, 1860 + 1800)):
            self.setUp()
            one = advertisement(max_age=max_age)
            self.table.adopt(one, self.now)
            self.table.hold(math.inf, "eth1")
            self.assertEqual(self.wait(longest - 1), [])
            ((_, event),) = self.wait(45)
            self.assertEqual(event, Left(one, "expired"))

    def test_adopted_service_without_an_interface(self) -> None:
        """While no interface receives, an adopted service does not expire."""
        self.table.adopt(TRUE, self.now)
        self.table.hold(math.inf)
        self.assertEqual(self.wait(86_400), [])
