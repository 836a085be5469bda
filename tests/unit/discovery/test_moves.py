"""
Tests for :mod:`ssdpreg.discovery.moves`.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

from ssdpreg.discovery.events import Appeared, Changed
from ssdpreg.discovery.standing import Standing
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import FORGED, TRUE, URN, E, T, TableTestCase, advertisement


class MoveTests(TableTestCase):
    """Moves that the holder announces."""

    def test_moves_are_counted(self) -> None:
        """Moves and contests are counted, also a move at the departure of the incumbent."""
        second = advertisement("10.0.0.6")
        self.receive(TRUE)
        self.receive(TRUE, channel=Channel.HOST)
        self.assertEqual((self.table.moves, self.table.contests, self.table.evictions), (0, 0, 0))
        self.receive(second, channel=Channel.HOST)
        self.wait(20)
        self.assertEqual((self.table.moves, self.table.contests), (0, 1))
        self.reply(second)
        self.bye(T)
        self.wait(20)
        self.assertEqual((self.table.moves, self.table.contests), (1, 1))
        self.receive(advertisement("10.0.0.6", port=81))
        self.assertEqual((self.table.moves, self.table.contests), (2, 1))

    def test_move_that_expires_before_it_is_permitted(self) -> None:
        """A holder whose next LOCATION expires before the move is permitted keeps its current one."""
        for port in (80, 81, 82):
            self.receive(advertisement(T, port=port))
            self.wait(11)
        self.receive(advertisement(T, port=83, max_age=1))
        self.wait(100)
        (service,) = self.table._services
        self.assertEqual((service.claim.superseded, service.next_move), (False, None))

    def test_new_port_of_the_holder(self) -> None:
        """A new LOCATION on the holder's own host takes effect at once."""
        moved = advertisement(T, port=8080)
        self.receive(TRUE)
        self.assertEqual(self.receive(moved), [Changed(moved, Standing.DIRECT)])

    def test_new_address(self) -> None:
        """A device with a new address, whose old one is silent, has its service there after two rounds."""
        moved = advertisement("10.0.0.6")
        self.receive(TRUE)
        self.wait(100)
        self.reply(moved)
        self.receive(moved)
        self.assertEqual([(at, type(event)) for at, event in self.wait(20)], [(6, Changed)])
        self.assertEqual(self.hosts(), ["10.0.0.6"])

    def test_new_address_after_a_byebye(self) -> None:
        """A device that says byebye before it moves is registered at its new address at its next announcement."""
        moved = advertisement("10.0.0.6")
        self.receive(TRUE)
        self.bye(T)
        self.wait(5)
        self.assertEqual(self.receive(moved), [Appeared(moved, Standing.DIRECT)])

    def test_direct_service_is_not_moved_to_another_host_by_its_sender(self) -> None:
        """A sender whose claim is direct cannot send the service to another host without a contest."""
        self.receive(TRUE)
        self.assertEqual(self.receive(FORGED, T), [])
        self.wait(20)
        self.assertEqual(self.hosts(), [T])

    def test_indirect_service_is_moved_by_its_sender(self) -> None:
        """A sender that announces services of other hosts moves them."""
        first, second = advertisement("10.1.0.1"), advertisement("10.1.0.2")
        self.receive(first, "10.0.0.9")
        self.assertEqual(self.receive(second, "10.0.0.9"), [Changed(second, Standing.INDIRECT)])
        (service,) = self.table._services
        self.assertEqual([(each.host, each.superseded) for each in service.others], [("10.1.0.1", True)])

    def test_budget(self) -> None:
        """A service that moves all the time moves at once, after 10 s, then once a minute, last to its last place."""
        self.receive(TRUE)
        moves = []
        for second in range(200):
            self.now += 1
            moves += [second for event in self.receive(advertisement(T, port=1000 + second)) if event]
            moves += [second for _, event in self.wait(0) if isinstance(event, Changed)]
        self.assertLessEqual(len(moves), 5)
        self.wait(100)
        (live,) = self.table
        self.assertEqual(live.advertisement.endpoint.port, 1199)

    def test_waiting_move_whose_claim_ended(self) -> None:
        """A move that waits for the budget is not made when its claim has ended by a byebye or expired meanwhile."""
        moved = advertisement(T, port=8080)
        for max_age, byebye in ((86400, True), (2, False)):
            self.setUp()
            forged = advertisement(E, max_age=max_age)
            self.receive(TRUE)
            self.receive(moved)
            self.reply(forged)
            self.receive(forged)
            self.wait(6.5)
            self.repliers.clear()
            if byebye:
                self.bye(E)
            self.assertEqual(self.wait(60), [], byebye)
            self.assertEqual(self.hosts(), [T])

    def test_waiting_move_and_the_home(self) -> None:
        """An announcement of another LOCATION of the home cancels a move that waits. One of another host does not."""
        for third, host in ((advertisement(T, port=81), T), (advertisement("10.0.0.7"), E)):
            self.setUp()
            self.receive(TRUE)
            self.receive(advertisement(T, port=8080))
            self.reply(FORGED)
            self.receive(FORGED)
            self.wait(6.5)
            self.repliers.clear()
            self.receive(third)
            self.wait(5)
            self.assertEqual(self.hosts(), [host])

    def test_other_claims(self) -> None:
        """The claims of other LOCATIONs can be listed. An expired one, and one that the device left, are none."""
        self.assertEqual(list(self.table.other_claims("D", URN, self.now)), [])
        self.receive(TRUE)
        self.assertEqual(list(self.table.other_claims("D", URN, self.now)), [])
        self.receive(advertisement(T, port=81))
        self.receive(advertisement(E, max_age=100))
        (other,) = self.table.other_claims("D", URN, self.now)
        self.assertEqual((other.location, other.sender, other.began_at), (FORGED.location, E, self.now))
        self.assertEqual(list(self.table.other_claims("D", URN, self.now + 200)), [])

    def test_two_locations_do_not_alternate(self) -> None:
        """A sender that announces two LOCATIONs in turn keeps the later one."""
        second = advertisement(T, port=8080)
        self.receive(TRUE)
        self.receive(second)
        for _ in range(10):
            self.wait(100)
            self.assertEqual(self.receive(TRUE), [])
            self.assertEqual(self.receive(second), [])


class PendingMoveTests(TableTestCase):
    """Moves that wait for the budget."""

    def prepare(self) -> None:
        """Let a contest decide for the home while the service may not move."""
        for _ in range(4):
            self.receive(TRUE)
            self.wait(900)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(6.5)
        self.repliers.clear()
        self.assertEqual(self.hosts(), [E])
        self.wait(3.6)
        self.receive(TRUE)
        self.wait(0.1)
        self.receive(TRUE)
        self.assertEqual(self.hosts(), [E])

    def test_own_move_does_not_replace_it(self) -> None:
        """A move that the holder announces does not replace it."""
        self.prepare()
        self.receive(advertisement(E, port=81))
        self.wait(60)
        self.assertEqual(self.hosts(), [T])

    def test_byebye_of_the_holder(self) -> None:
        """It takes place at the byebye of the holder."""
        self.prepare()
        self.wait(0.5)
        self.bye(E)
        self.wait(2)
        self.assertEqual(self.hosts(), [T])

    def move_twice(self, host: str = T) -> None:
        """Let a host move its service to port 6, and announce port 7 while the next move has to wait."""
        self.receive(advertisement(host))
        self.wait(20)
        self.receive(advertisement(host, port=6))
        self.wait(2)
        self.receive(advertisement(host, port=7))

    def ports(self) -> list[int]:
        """Return the ports of the live services."""
        return [live.advertisement.endpoint.port for live in self.table]

    def test_moves_of_a_device(self) -> None:
        """A device that announces only its new LOCATION moves when the budget permits it."""
        self.move_twice()
        self.assertEqual(self.ports(), [6])
        self.wait(60)
        self.assertEqual(self.ports(), [7])

    def test_replaced_move(self) -> None:
        """Another announcement of the same sender replaces the move that waits. One of another sender does not."""
        for third, replaced in ((advertisement(port=8), True), (advertisement(E), False)):
            self.setUp()
            self.move_twice()
            self.receive(third)
            (service,) = self.table._services
            (waiting,) = (claim for claim in service.others if claim.advertisement.endpoint.port == 7)
            self.assertEqual(waiting.superseded, replaced)

    def test_device_that_did_not_move(self) -> None:
        """An announcement or a reply from the current LOCATION cancels a move that waits and has the same sender."""
        for channel in (Channel.GROUP, Channel.HOST):
            self.setUp()
            self.move_twice()
            self.receive(advertisement(port=6), channel=channel)
            self.wait(90)
            self.assertEqual(self.ports(), [6])

    def test_new_address_that_did_not_move(self) -> None:
        """The same holds for a holder that is not the home yet."""
        self.receive(TRUE)
        self.wait(900)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(6.5)
        self.assertEqual(self.hosts(), [E])
        self.receive(advertisement(E, port=7))
        self.receive(FORGED)
        self.wait(90)
        self.assertEqual(self.ports(), [80])

    def test_holder_that_is_not_the_home(self) -> None:
        """Announcements of a holder that is not the home do not cancel the return of the service to the home."""
        self.prepare()
        self.receive(FORGED)
        self.wait(60)
        self.assertEqual(self.hosts(), [T])
