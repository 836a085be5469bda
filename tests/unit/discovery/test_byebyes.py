"""
Tests for byebyes of devices and of other hosts.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

from ssdpreg.discovery.events import Changed, Left
from ssdpreg.discovery.standing import Standing
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import FORGED, TRUE, E, T, TableTestCase, advertisement


class ByeByeTests(TableTestCase):
    """Byebyes that are forged."""

    def test_byebye_of_another_sender(self) -> None:
        """A byebye of a sender without a claim ends nothing, whether the device replies to searches or not."""
        for repliers in ((TRUE,), ()):
            self.setUp()
            self.receive(TRUE)
            self.reply(*repliers)
            self.assertEqual(self.bye(E), [])
            self.bye(E, urn=None)
            self.assertEqual(self.wait(1700), [])
            self.assertEqual(self.hosts(), [T])

    def test_reply_voids_a_byebye_with_a_forged_sender(self) -> None:
        """A device that is searched for after its byebye, and replies within 2 s, stays."""
        self.receive(TRUE)
        self.wait(10)
        self.reply(TRUE)
        self.bye(T)
        self.assertEqual(self.searched[-1], (10, (T,)))
        self.assertEqual(self.wait(100), [])

    def test_move_with_a_forged_sender(self) -> None:
        """A LOCATION that was announced with the device's own address as its sender does not outlast the device."""
        forged = advertisement(T, max_age=86400, port=6666)
        for replies in (True, False):
            self.setUp()
            self.receive(TRUE)
            self.wait(100)
            self.receive(forged)
            self.wait(100)
            if replies:
                self.reply(TRUE)
            self.receive(TRUE)
            self.wait(20)
            self.receive(TRUE)
            self.wait(30)
            (live,) = self.table
            self.assertEqual(live.advertisement.location, TRUE.location, replies)

    def test_restart_with_other_facts(self) -> None:
        """The announcement that voids a byebye replaces the facts of the device, if they are others."""
        for server, events in (("", []), ("new", [Changed(advertisement(T, server="new"), Standing.DIRECT)])):
            self.setUp()
            self.receive(TRUE)
            self.bye(T)
            self.assertEqual(self.receive(advertisement(T, server=server)), events)
            self.assertEqual(self.wait(10), [])

    def test_restart_of_an_indirect_service(self) -> None:
        """An announcement of the owner of an indirect claim voids its byebye. A reply of the owner does not."""
        self.receive(TRUE, E)
        self.bye(E)
        self.receive(TRUE, E)
        self.assertEqual(self.wait(10), [])
        self.bye(E)
        self.receive(TRUE, E, channel=Channel.SEARCH)
        self.assertEqual(self.wait(10), [(2, Left(TRUE, "byebye"))])

    def test_reply_of_another_host_does_not_void_a_byebye(self) -> None:
        """A reply from another address is no evidence that the device is alive."""
        self.receive(TRUE)
        self.bye(T)
        self.receive(TRUE, E, channel=Channel.SEARCH)
        self.assertEqual(self.wait(10), [(2, Left(TRUE, "byebye"))])


class HeldByebyeTests(TableTestCase):
    """Byebyes and contests of services whose expiry is held."""

    def test_byebye(self) -> None:
        """A byebye takes effect in time, although the claim has expired and its expiry is held."""
        for held_for in (5, 1000):
            self.setUp()
            self.searching = False
            self.receive(advertisement(max_age=1))
            self.table.hold(self.now + held_for)
            self.bye(T)
            ((at, event),) = self.wait(20)
            self.assertEqual((at, event), (5, Left(advertisement(max_age=1), "byebye")))

    def test_contest(self) -> None:
        """A contest ends in time, although the current claim has expired and its expiry is held."""
        self.receive(advertisement(max_age=1))
        self.table.hold(self.now + 1000)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(7)
        self.assertEqual(self.hosts(), [E])


class ByebyeOfMovedDeviceTests(TableTestCase):
    """Byebye of a device that had other addresses before."""

    def test_earlier_address(self) -> None:
        """The address that replies now takes over, not one that the device left, although that was held longest."""
        first, second, third = (advertisement(f"10.0.0.{number}") for number in (5, 6, 7))
        self.receive(first, channel=Channel.SEARCH)
        self.wait(600)
        self.reply(second)
        self.receive(second)
        self.wait(60)
        self.assertEqual(self.hosts(), ["10.0.0.6"])
        self.repliers.clear()
        self.bye("10.0.0.6")
        self.receive(third)
        self.receive(third, channel=Channel.SEARCH)
        self.wait(3)
        self.assertEqual(self.hosts(), ["10.0.0.7"])
