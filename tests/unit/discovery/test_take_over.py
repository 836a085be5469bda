"""
Tests for services whose claims end, or that leave, while another host claims them.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

from ssdpreg.discovery.events import Appeared, Changed, Left
from ssdpreg.discovery.standing import Standing
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import FORGED, TRUE, E, T, TableTestCase, advertisement


class TakeOverTests(TableTestCase):
    """Departures of the incumbent while another claim is known."""

    def test_forgery_does_not_inherit(self) -> None:
        """After the byebye of the true device, a forgery whose host never replied does not take its place."""
        self.receive(TRUE)
        self.receive(FORGED)
        self.wait(20)
        self.bye(T)
        self.assertEqual(self.wait(100000), [(2, Left(TRUE, "byebye"))])

    def test_forgery_does_not_inherit_by_expiry(self) -> None:
        """After the expiry of the true device, a forgery whose host never replied does not take its place."""
        self.receive(TRUE)
        self.receive(FORGED)
        self.assertEqual(self.wait(100000), [(1860, Left(TRUE, "expired"))])

    def test_forgery_between_byebye_and_alive(self) -> None:
        """A forgery that is received between byebye and alive of a restart does not take the place of the device."""
        self.receive(TRUE)
        self.wait(100)
        self.bye(T)
        self.wait(1)
        self.assertEqual(self.receive(FORGED), [])
        self.wait(0.5)
        self.assertEqual(self.receive(TRUE), [])
        self.wait(20)
        self.assertEqual(self.hosts(), [T])

    def test_forgery_after_a_slow_restart(self) -> None:
        """A forgery received while the device is away loses the service when the device is back and replies."""
        self.receive(TRUE)
        self.wait(100)
        self.bye(T)
        self.wait(10)
        self.receive(FORGED)
        self.wait(60)
        self.assertEqual(self.hosts(), [E])
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(10)
        self.assertEqual(self.hosts(), [T])

    def test_forgery_before_the_device_boots(self) -> None:
        """A forgery received before the first announcement loses the service when the device replies."""
        self.receive(FORGED)
        self.wait(3600)
        self.reply(TRUE)
        self.receive(TRUE)
        self.assertEqual([event for _, event in self.wait(10)], [Changed(TRUE, Standing.CONFIRMED)])

    def test_second_address_takes_over(self) -> None:
        """The second address of a device that replies has the service at once when the first one leaves."""
        second = advertisement("10.0.0.6")
        self.receive(TRUE)
        self.reply(TRUE, second)
        self.receive(second)
        self.wait(20)
        self.assertEqual(self.hosts(), [T])
        self.bye(T)
        del self.repliers[T]
        self.assertEqual([event for _, event in self.wait(2)], [Changed(second, Standing.CONFIRMED)])

    def test_second_address_that_never_replies(self) -> None:
        """The second address of a device that never replies has the service when it is received again."""
        second = advertisement("10.0.0.6")
        self.receive(TRUE)
        self.receive(second)
        self.wait(20)
        self.bye(T)
        self.assertEqual(self.wait(100), [(2, Left(TRUE, "byebye"))])
        self.assertEqual(self.receive(second), [Appeared(second, Standing.DIRECT)])


class HomeTests(TableTestCase):
    """The memory of the home."""

    def squat(self, *, replies: bool = True) -> None:
        """Let an attacker have the service of a device that was switched off after an hour."""
        for _ in range(4):
            self.receive(TRUE)
            self.wait(900)
        self.bye(T)
        self.wait(3)
        self.assertEqual(self.hosts(), [])
        self.receive(FORGED)
        if replies:
            self.reply(FORGED)
            self.receive(FORGED, channel=Channel.HOST)
        self.wait(900)

    def test_two_copies(self) -> None:
        """A device that never replies has its service back at its first announcement in two copies."""
        self.squat()
        self.receive(TRUE)
        self.wait(0.2)
        self.receive(TRUE)
        self.assertEqual(self.hosts(), [T])

    def test_second_announcement(self) -> None:
        """With single copies, it has its service back at its second one, although the attacker replies."""
        self.squat()
        self.receive(TRUE)
        self.wait(900)
        self.assertEqual(self.hosts(), [E])
        self.receive(TRUE)
        self.wait(10)
        self.assertEqual(self.hosts(), [T])

    def test_first_announcement_after_the_attack(self) -> None:
        """Once the attacker does not reply any longer, the first announcement suffices."""
        for replies in (False, True):
            self.setUp()
            self.squat(replies=replies)
            self.repliers.clear()
            self.receive(TRUE)
            self.wait(10)
            self.assertEqual(self.hosts(), [T])

    def test_byebye_of_the_attacker(self) -> None:
        """The home is known after a byebye of the attacker for its own claim, and after a second claim."""
        self.squat()
        self.repliers.clear()
        self.bye(E)
        self.wait(3)
        self.receive(FORGED)
        self.wait(100)
        self.receive(TRUE)
        self.wait(10)
        self.assertEqual(self.hosts(), [T])

    def test_home_of_a_short_time(self) -> None:
        """A device that had its service for less than ten minutes is not the home after it has left."""
        self.receive(TRUE)
        self.wait(590)
        self.bye(T)
        self.wait(3)
        self.receive(FORGED)
        self.receive(TRUE)
        self.wait(20)
        self.assertEqual(self.hosts(), [E])


class NewDeviceTests(TableTestCase):
    """A device that never replies, and whose service another host claimed before the device was received first."""

    def announce(self, times: int) -> None:
        """Announce the forged claim, and let a minute pass after each announcement."""
        for _ in range(times):
            self.receive(FORGED)
            self.wait(60)

    def test_few_announcements(self) -> None:
        """The device has its service after one announcement more than the other host, which is silent now."""
        for times in (1, 2, 9):
            self.setUp()
            self.announce(times)
            for number in range(times + 1):
                self.assertEqual(self.hosts(), [E], (times, number))
                self.receive(TRUE)
                self.wait(6)
                self.wait(54)
            self.assertEqual(self.hosts(), [T], times)

    def test_many_announcements(self) -> None:
        """After ten announcements the other host keeps the service until it has been silent for half an hour."""
        self.announce(12)
        for _ in range(28):
            self.receive(TRUE)
            self.wait(60)
            self.assertEqual(self.hosts(), [E])
        self.wait(60)
        self.receive(TRUE)
        self.wait(6)
        self.assertEqual(self.hosts(), [T])

    def test_reverse_case(self) -> None:
        """A device that announces every 15 minutes keeps its service, although another host announces it more often."""
        for _ in range(12):
            self.receive(TRUE)
            self.wait(900)
        self.receive(TRUE)
        for _ in range(14):
            self.receive(FORGED)
            self.wait(60)
            self.assertEqual(self.hosts(), [T])
