"""Tests for :mod:`ssdpreg.discovery.holds`."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.events import Left, SearchNeeded
from ssdpreg.discovery.holds import Holds
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import OTHER_URN, TRUE, URN, TableTestCase, advertisement


class HoldTests(TableTestCase):
    """Time in which the daemon does not receive."""

    def test_nothing_expires_during_a_hold(self) -> None:
        """An expiry that falls into a hold waits for its end, and the device is searched for."""
        self.receive(TRUE)
        self.wait(1800)
        self.table.hold(self.now + 200)
        self.assertEqual(self.wait(199), [])
        self.assertEqual(self.wait(2), [(1, Left(TRUE, "expired"))])

    def test_searches_during_a_hold(self) -> None:
        """A device that has replied to a search is searched for three times after the end of the hold."""
        self.receive(TRUE, channel=Channel.SEARCH)
        self.table.hold(self.now + 2000)
        self.now += 1990
        self.assertEqual(self.wait(30), [(19, Left(TRUE, "expired"))])
        self.assertEqual([at for at, _ in self.searched], [1990, 2000, 2003, 2006])

    def test_reply_after_a_hold(self) -> None:
        """A device that replies to the last of these searches stays. Its next lifetime is not longer than usual."""
        self.receive(TRUE, channel=Channel.SEARCH)
        self.table.hold(self.now + 2000)
        self.now += 1990
        self.assertEqual(self.wait(17), [])
        self.receive(TRUE, channel=Channel.HOST)
        self.assertEqual(self.wait(3000), [(1860, Left(TRUE, "expired"))])

    def test_hold_of_an_adopted_service(self) -> None:
        """An adopted service does not expire while any interface is down: its own one is not known yet."""
        self.table.adopt(TRUE, self.now)
        self.table.hold(math.inf, "eth0")
        self.assertEqual(self.wait(3000), [])
        self.table.hold(self.now + 8, "eth0")
        self.assertEqual(len(self.wait(40)), 1)

    def test_reply_of_an_adopted_service_after_a_hold(self) -> None:
        """An adopted service is searched for three times after the end of the hold, and stays if its device replies."""
        for replies in (True, False):
            self.setUp()
            self.table.adopt(TRUE, self.now)
            self.table.hold(self.now + 2000)
            self.now += 1990
            self.assertEqual(self.wait(17), [])
            self.assertEqual([at for at, _ in self.searched], [1990, 2000, 2003, 2006])
            if replies:
                self.receive(TRUE, channel=Channel.HOST)
            self.assertEqual(self.wait(30), [] if replies else [(2, Left(TRUE, "expired"))])

    def test_silent_device_during_a_hold(self) -> None:
        """A device that has not replied to a search is searched for once."""
        self.receive(TRUE)
        self.table.hold(self.now + 2000)
        self.now += 1990
        self.assertEqual(self.wait(11), [(10, Left(TRUE, "expired"))])
        self.assertEqual([at for at, _ in self.searched], [1990])

    def test_end_of_a_hold(self) -> None:
        """A service whose expiry was held is examined every 30 s, so that the hold can end earlier."""
        self.receive(TRUE)
        self.table.hold(math.inf)
        self.assertEqual(self.wait(1861), [])
        self.table.hold(self.now)
        self.assertEqual(self.wait(100), [(29, Left(TRUE, "expired"))])

    def test_hold_that_ends_before_the_expiry(self) -> None:
        """A device that replied before is searched for after a hold in which it was searched for, before it expires."""
        one = advertisement(max_age=300)
        self.receive(one, channel=Channel.SEARCH)
        self.wait(200)
        self.table.hold(math.inf, "eth0")
        self.wait(110)
        self.table.hold(self.now + 8, "eth0")
        self.searched.clear()
        (left,) = self.wait(100)
        # Once by its schedule, and three times before the expiry.
        self.assertEqual((left, len(self.searched)), ((20 + 9, Left(one, "expired")), 1 + 3))

    def test_hold_of_an_interface(self) -> None:
        """While an interface is down, only services that were received on other interfaces expire."""
        other = advertisement("10.1.0.5", device_id="F")
        self.receive(TRUE, interface="eth0")
        self.receive(other, interface="eth1")
        self.table.hold(math.inf, "eth0")
        self.assertEqual([event for _, event in self.wait(5000)], [Left(other, "expired")])
        self.table.hold(self.now + 8, "eth0")
        self.assertEqual(len(self.wait(40)), 1)

    def test_most_services_at_once(self) -> None:
        """Before more than half of the services expire at once, they are searched for."""
        for number in range(10):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
        self.assertEqual(self.wait(1865), [])
        self.assertTrue(any(at >= 1860 for at, _ in self.searched))
        for number in range(3):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
        self.wait(2)
        self.assertEqual(len(self.table), 3)

    def test_most_of_many_services_at_once(self) -> None:
        """The check counts all services that expire at once, not only those of one call."""
        for number in range(3000):
            self.receive(advertisement(f"10.0.{number % 250}.1", device_id=str(number)))
        self.wait(1859)
        self.now += 2
        (search,) = self.table.expire(self.now, limit=1000)
        assert isinstance(search, SearchNeeded)
        self.assertEqual((search.within, search.hosts, search.scheduled), (6, (), True))
        for _ in range(5):
            self.assertEqual(self.table.expire(self.now, limit=1000), [])
        self.assertEqual(len(self.table), 3000)
        self.wait(40)
        self.assertEqual(len(self.table), 0)

    def test_few_services_at_once(self) -> None:
        """Up to five services, or up to half of all, expire without another search."""
        for expiring, staying in ((5, 0), (6, 6)):
            self.setUp()
            for number in range(expiring):
                self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
            for number in range(staying):
                self.receive(advertisement(f"10.0.2.{number}", device_id=f"s{number}", max_age=5000))
            self.wait(1859)
            self.now += 2
            self.assertEqual(len(self.table.expire(self.now)), expiring)
            self.assertEqual(len(self.table), staying)

    def test_search_before_mass_expiry(self) -> None:
        """One search is sent for each search term, and the next mass expiry is examined a minute later."""
        for number in range(6):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number), urn=OTHER_URN))
        self.wait(1859)
        self.now += 1
        events = self.table.expire(self.now)
        self.assertEqual(
            [
                (event.advertisement.term.urn, event.within, event.hosts, event.scheduled)
                for event in events
                if isinstance(event, SearchNeeded)
            ],
            [(URN, 6, (), True), (OTHER_URN, 6, (), True)],
        )
        self.assertEqual(self.wait(5.9), [])
        self.assertEqual(len(self.wait(0.1)), 12)
        for pause, left in ((50, 6), (3.9, 6), (0.1, 0)):
            for number in range(6):
                self.receive(advertisement(f"10.0.1.{number}", device_id=str(number), max_age=1))
            self.now += pause
            self.assertEqual(sum(isinstance(event, Left) for event in self.table.expire(self.now)), left)


class UnknownInterfaceTests(SynchronousTestCase):
    """Tests for a service that was adopted, and whose interface is unknown."""

    def test_limit(self) -> None:
        """While some interface is down, it is held for max-age after its expiry, and for 10 minutes at least."""
        holds = Holds()
        holds.hold(math.inf, "eth1")
        for max_age, limit in ((60, 600), (1800, 1800)):
            claim = Claim(advertisement(max_age=max_age), Reception(""), 1000.0)
            self.assertEqual(holds.until(TrackedService(claim, 1000.0)) - claim.expires_at, limit)
