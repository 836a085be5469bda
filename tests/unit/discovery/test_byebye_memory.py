"""Tests for :mod:`ssdpreg.discovery.byebyes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import LONGEST_MAX_AGE
from ssdpreg.discovery.byebyes import LIMIT, MEMORY, ByeByes
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.events import Left
from ssdpreg.discovery.standing import Standing
from tests.support.table_case import FORGED, OTHER_URN, TRUE, URN, E, T, TableTestCase, advertisement


def adopted(device_id: str = "D") -> Claim:
    """Return the claim of an adopted service."""
    return Claim.adopted(advertisement(T, device_id=device_id), Standing.DIRECT, 100.0, 0.0)


class ByeByesTests(SynchronousTestCase):
    """Tests for :class:`ByeByes`."""

    def setUp(self) -> None:
        self.byebyes = ByeByes()

    def test_service(self) -> None:
        """A byebye ends the service that it names, or all services of its device. Device IDs have no case."""
        for urn, sender in ((URN, T), (None, T), (OTHER_URN, None)):
            self.byebyes = ByeByes()
            self.byebyes.remember("d", urn, T, 10.0)
            self.assertEqual(self.byebyes.sender(adopted(), 20.0), sender, urn)
            self.assertIsNone(self.byebyes.sender(adopted("X"), 20.0))

    def test_other_sender(self) -> None:
        """A byebye of another host ends nothing."""
        self.byebyes.remember("D", URN, E, 10.0)
        self.assertIsNone(self.byebyes.sender(adopted(), 20.0))
        self.byebyes.remember("D", None, T, 10.0)
        self.assertEqual(self.byebyes.sender(adopted(), 20.0), T)

    def test_announced_again(self) -> None:
        """The byebyes of a service that is announced again are removed."""
        for urn in (URN, None):
            self.byebyes.remember("D", urn, T, 10.0)
        self.byebyes.remember("X", None, T, 10.0)
        self.byebyes.discard("d", URN)
        self.assertIsNone(self.byebyes.sender(adopted(), 20.0))
        self.assertEqual(len(self.byebyes), 1)

    def test_time(self) -> None:
        """A byebye is kept for a day, the longest lifetime of a service."""
        self.assertEqual(MEMORY, LONGEST_MAX_AGE)
        self.byebyes.remember("D", URN, T, 10.0)
        self.assertEqual(self.byebyes.sender(adopted(), 10.0 + MEMORY), T)
        self.assertIsNone(self.byebyes.sender(adopted(), 10.1 + MEMORY))

    def test_limit(self) -> None:
        """Of too many byebyes, the oldest one is removed. A repeated one becomes the latest."""
        self.byebyes.remember("D", URN, T, 10.0)
        self.byebyes.remember("E", URN, T, 10.0)
        self.byebyes.remember("D", URN, T, 11.0)
        for number in range(LIMIT - 1):
            self.byebyes.remember(str(number), URN, T, 12.0)
        self.assertEqual(len(self.byebyes), LIMIT)
        self.assertEqual(self.byebyes.sender(adopted(), 20.0), T)
        self.assertIsNone(self.byebyes.sender(adopted("E"), 20.0))


class AdoptionTests(TableTestCase):
    """Byebyes that are received before the service is adopted."""

    def adopt(self) -> None:
        """Adopt the service of T."""
        self._note(self.table.adopt(TRUE, self.now, 1800.0, Standing.DIRECT))

    def test_byebye(self) -> None:
        """The service leaves 2 s after its adoption."""
        self.bye(T)
        self.wait(20)
        self.adopt()
        self.assertEqual((self.hosts(), self.table.byebyes), ([T], 1))
        self.assertEqual(self.wait(10), [(2, Left(TRUE, "byebye"))])

    def test_reply(self) -> None:
        """A device that replies voids the byebye."""
        self.bye(T, urn=None)
        self.reply(TRUE)
        self.adopt()
        self.assertEqual((self.wait(100), self.hosts()), ([], [T]))

    def test_other_sender(self) -> None:
        """A byebye of another host is ignored."""
        self.bye(E)
        self.adopt()
        self.assertEqual((self.wait(100), self.hosts()), ([], [T]))

    def test_departure_that_the_other_daemon_missed(self) -> None:
        """A service that has left this table leaves again after the take-over from a daemon that had not removed it."""
        self.receive(TRUE)
        self.bye(T)
        self.assertEqual(len(self.wait(10)), 1)
        self.adopt()
        self.assertEqual(self.wait(10), [(2, Left(TRUE, "byebye"))])

    def test_restart(self) -> None:
        """An announcement after the byebye makes it ineffective."""
        self.bye(T)
        self.receive(TRUE)
        self.assertEqual(self.table.byebyes, 0)
        self.adopt()
        self.assertEqual((self.wait(100), self.hosts()), ([], [T]))

    def test_homes(self) -> None:
        """The homes that are kept are counted."""
        self.receive(FORGED)
        self.wait(700)
        self.bye(E)
        self.wait(3)
        self.assertEqual((self.hosts(), self.table.homes), ([], 1))
