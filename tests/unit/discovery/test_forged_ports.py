"""A forged sender claims that a service is at another port of the device's own host."""

from __future__ import annotations

from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import E, T, TableTestCase, advertisement

TRUE, DEAD = advertisement(T), advertisement(T, 86400, port=81)


class ForgedPortTests(TableTestCase):
    """
    The true device has its service for a long time at port 80. Forgeries name port 81.

    :ivar interval: Seconds between two announcements of the device.
    """

    interval = 900

    def prepare(self, *, replies: bool) -> None:
        """Let the device have the service for hours."""
        self.setUp()
        if replies:
            self.reply(TRUE)
        for _ in range(12):
            self.receive(TRUE)
            self.wait(self.interval)
        self.receive(TRUE)
        self.wait(100)

    def ports(self) -> list[int]:
        """Return the ports of the live services."""
        return [live.advertisement.endpoint.port for live in self.table]

    def check_return(self) -> None:
        """Check that the device has its service 60 s after its next announcement."""
        self.receive(TRUE)
        self.wait(60)
        self.assertEqual(self.ports(), [80])

    def test_move(self) -> None:
        """A single announcement brings the service back, and so after a second forgery."""
        for replies in (False, True):
            self.prepare(replies=replies)
            for _ in range(2):
                self.receive(DEAD)
                self.wait(100)
                self.check_return()
                self.wait(700)

    def test_forged_reply_in_a_contest(self) -> None:
        """So it does after a contest that a forged reply to a search of the group has decided."""
        self.prepare(replies=False)
        self.receive(advertisement(E))
        self.receive(DEAD, channel=Channel.SEARCH)
        self.wait(6)
        self.assertEqual(self.ports(), [81])
        self.wait(30)
        self.check_return()

    def test_port_that_was_claimed_before(self) -> None:
        """So it does if another host has claimed the true LOCATION, and the forged one, before the device."""
        for replies in (False, True):
            self.setUp()
            self.receive(DEAD, E)
            self.wait(3)
            self.receive(TRUE, E)
            self.wait(20)
            self.receive(DEAD)
            self.wait(30)
            self.assertEqual(self.ports(), [81])
            if replies:
                self.reply(TRUE)
            self.check_return()

    def test_reply_before_the_end_of_the_pause(self) -> None:
        """A late reply of the device, in the pause between two contests, leads to another contest."""
        self.prepare(replies=True)
        self.receive(advertisement(E))
        self.wait(4)
        self.receive(DEAD)
        self.assertEqual(self.ports(), [81])
        self.receive(TRUE, channel=Channel.SEARCH)
        self.wait(20)
        self.assertEqual(self.ports(), [80])

    def test_announcement_from_another_network(self) -> None:
        """An announcement that a router forwarded does not prevent the device from cancelling a forged move."""
        self.prepare(replies=False)
        self.receive(DEAD)
        self.wait(100)
        self.check_return()
        self.receive(advertisement(T, 86400, port=82))
        self.receive(TRUE, on_link=False)
        self.receive(TRUE)
        self.wait(90)
        self.assertEqual(self.ports(), [80])

    def test_two_ports(self) -> None:
        """A device that announces two ports at different times does not move for ever."""
        for _ in range(60):
            for port in (80, 81):
                self.receive(advertisement(T, port=port))
                self.wait(450)
        moves = self.table.moves
        self.assertLessEqual(moves, 24)
        for _ in range(10):
            for port in (80, 81):
                self.receive(advertisement(T, port=port))
                self.wait(450)
        self.assertEqual(self.table.moves, moves)
