"""
Tests for the standing of claims in :class:`ssdpreg.discovery.table.AdvertisementTable`.

T is the true device at 10.0.0.5, E an attacker at 10.0.0.66. A case consists of the host that holds the service
(incumbent), the host that claims it or sends a byebye, the hosts that reply to searches, and the host that wins.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

from ssdpreg.discovery.events import Appeared, Changed, Left, SearchNeeded, SearchUrgency
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.unit.discovery.table_case import OTHER_URN, URN, TableTestCase, advertisement

T, E = "10.0.0.5", "10.0.0.66"
TRUE, FORGED = advertisement(T), advertisement(E, max_age=86400)


class ContestTests(TableTestCase):
    """Contests between the incumbent and another sender's claim."""

    def test_decision(self) -> None:
        """Each combination of incumbent, standing of the claim, and hosts that reply has its winner."""
        direct, indirect = E, "10.0.0.99"
        cases = [
            # incumbent, claimed host, sender of the claim, repliers, winner
            (TRUE, FORGED, direct, {T}, T),
            (TRUE, FORGED, direct, {T, E}, T),
            (TRUE, FORGED, direct, {E}, E),
            (TRUE, FORGED, direct, set(), T),
            (TRUE, FORGED, indirect, {T}, T),
            (TRUE, FORGED, indirect, {T, E}, T),
            (TRUE, FORGED, indirect, {E}, E),
            (TRUE, FORGED, indirect, set(), T),
            (FORGED, TRUE, T, {T}, T),
            (FORGED, TRUE, T, {E}, E),
            (FORGED, TRUE, T, {T, E}, E),
            (FORGED, TRUE, T, set(), E),
        ]
        for incumbent, claimed, sender, repliers, winner in cases:
            self.setUp()
            self.receive(incumbent)
            self.wait(100)
            self.reply(*(each for each in (incumbent, claimed) if each.endpoint.host in repliers))
            self.receive(claimed, sender)
            self.wait(20)
            self.assertEqual(self.hosts(), [winner], (incumbent.location, sender, repliers))

    def test_higher_standing_wins_when_no_host_replies(self) -> None:
        """A direct claim takes over from an indirect one, and not the other way round."""
        self.receive(FORGED, "10.0.0.99")
        self.assertEqual(self.receive(TRUE), [])
        self.assertEqual(self.wait(20), [(6, Changed(TRUE, Standing.DIRECT))])
        self.receive(FORGED, "10.0.0.99")
        self.wait(20)
        self.assertEqual(self.hosts(), [T])

    def test_order_and_number_of_datagrams_decide_nothing(self) -> None:
        """A thousand forged announcements, before and after each true one, move nothing."""
        self.receive(TRUE)
        self.reply(TRUE)
        for _ in range(1000):
            self.receive(FORGED)
            self.wait(0.05)
            self.receive(FORGED, "10.0.0.99")
        self.receive(TRUE)
        for _ in range(1000):
            self.receive(FORGED)
        self.assertEqual(self.hosts(), [T])

    def test_contest_searches_all_hosts_twice(self) -> None:
        """All hosts that claim the service are searched for in two rounds of 3 s."""
        self.receive(TRUE)
        self.receive(FORGED)
        self.wait(20)
        self.assertEqual(self.searched, [(0, (T, E)), (3, (T, E))])

    def test_contests_have_a_pause(self) -> None:
        """However often a claim is repeated, a service is contested once in 10 s at most."""
        self.receive(TRUE)
        for _ in range(1000):
            self.receive(FORGED)
            self.bye(E, urn=None)
            self.wait(0.1)
        self.assertLessEqual(len(self.searched), 2 * 10)

    def test_announcing_home_ends_the_contest(self) -> None:
        """A home that never replies to searches keeps its service by announcing itself during the rounds."""
        self.receive(TRUE)
        self.wait(100)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(4)
        self.receive(TRUE)
        self.wait(20)
        self.assertEqual(self.hosts(), [T])

    def test_home_returns(self) -> None:
        """A home that lost its service gets it back after one round in which it announces itself again."""
        self.receive(TRUE)
        self.wait(500)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(20)
        self.assertEqual(self.hosts(), [E])
        self.wait(60)
        self.receive(TRUE)
        self.wait(1)
        self.assertEqual(self.receive(TRUE), [Changed(TRUE, Standing.DIRECT)])
        self.assertEqual(self.hosts(), [T])

    def test_silent_forgery_does_not_keep_a_device_out(self) -> None:
        """A device that never replies gets its service from a forgery that missed its own announcements."""
        self.receive(FORGED)
        for _ in range(4):
            self.wait(700)
            for _ in range(2):
                self.receive(TRUE)
        self.wait(20)
        self.assertEqual(self.hosts(), [T])


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


class StandingTests(TableTestCase):
    """Standing of receptions, and the lowest standing that makes a service live."""

    def standing(self) -> Standing:
        """Return the standing of the only service."""
        (live,) = self.table
        return live.standing

    def test_standings(self) -> None:
        """The sender, its network and the socket of the reception decide about the standing."""
        for sender, channel, on_link, standing in (
            (T, Channel.GROUP, True, Standing.DIRECT),
            (T, Channel.SEARCH, True, Standing.DIRECT),
            (T, Channel.HOST, True, Standing.CONFIRMED),
            (T, Channel.GROUP, False, Standing.INDIRECT),
            (E, Channel.GROUP, True, Standing.INDIRECT),
            (E, Channel.HOST, True, Standing.INDIRECT),
        ):
            self.setUp()
            self.receive(TRUE, sender, channel=channel, on_link=on_link)
            self.assertIs(self.standing(), standing)

    def test_standing_of_a_service(self) -> None:
        """A live service is found by its device, in any case of letters, and its URN."""
        self.receive(TRUE, channel=Channel.HOST)
        for device_id, urn, standing in (("d", URN, 2), ("D", OTHER_URN, None), ("E", URN, None)):
            service = self.table.get(device_id, urn)
            self.assertEqual(None if service is None else service.standing, standing)

    def test_standing_rises(self) -> None:
        """A claim keeps its highest standing; the change from indirect to direct is published for health checks."""
        self.receive(TRUE, E)
        self.assertEqual(self.receive(TRUE), [Changed(TRUE, Standing.DIRECT)])
        self.assertEqual(self.receive(TRUE, channel=Channel.HOST), [])
        self.receive(TRUE)
        self.assertIs(self.standing(), Standing.CONFIRMED)

    def test_indirect_claim_lives_half_an_hour(self) -> None:
        """An indirect claim expires after 1800 s even with a longer max-age, and only its own sender prolongs it."""
        self.receive(FORGED, "10.0.0.99")
        self.wait(800)
        self.receive(FORGED, "10.0.0.98")
        self.assertEqual(self.wait(10000), [(1000, Left(FORGED, "expired"))])

    def test_another_sender_does_not_prolong(self) -> None:
        """A copy of an announcement from another host keeps no departed device alive."""
        self.receive(TRUE)
        for _ in range(30):
            self.wait(60)
            self.receive(TRUE, E)
        self.assertEqual(self.wait(100), [(60, Left(TRUE, "expired"))])

    def test_trust_direct(self) -> None:
        """With trust ``direct``, an indirect claim is not live until its host announces it."""
        self.table = AdvertisementTable(trust=Standing.DIRECT)
        self.assertEqual(self.receive(TRUE, E), [])
        self.assertEqual((len(self.table), self.table.tracked), (0, 1))
        self.assertEqual(self.receive(TRUE), [Appeared(TRUE, Standing.DIRECT)])

    def test_trust_confirmed(self) -> None:
        """With trust ``confirmed``, a service is live as soon as its host has replied to a unicast search."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.reply(TRUE)
        self.assertEqual(self.receive(TRUE), [])
        self.assertEqual(self.searched, [(0, (T,))])
        self.assertEqual(self.wait(10), [(0.5, Appeared(TRUE, Standing.CONFIRMED))])

    def test_trust_confirmed_without_a_reply(self) -> None:
        """A device that does not reply is searched for again at its next announcements, at most once in 10 s."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        for _ in range(30):
            self.assertEqual(self.receive(TRUE), [])
            self.wait(1)
        self.assertEqual([at for at, _ in self.searched], [0, 1, 11, 21])
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(11)
        self.receive(TRUE)
        self.wait(1)
        self.assertEqual(self.hosts(), [T])

    def test_first_claim_is_no_home_before_it_is_live(self) -> None:
        """With trust ``confirmed``, a forgery that was received first takes no place from a confirmed device."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.wait(1000)
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(20)
        self.repliers.clear()
        for _ in range(10):
            self.receive(FORGED)
            self.wait(11)
        self.assertEqual(self.hosts(), [T])

    def test_forgery_is_not_live_with_trust_confirmed(self) -> None:
        """A claim that is not confirmed takes no place from one that is, nor a free place."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(15)
        self.assertEqual(self.hosts(), [T])
        self.bye(T)
        self.repliers.clear()
        self.wait(10)
        self.assertEqual(self.hosts(), [])


class UnsentSearchTests(TableTestCase):
    """Contests whose searches are not sent, because searches have a budget."""

    def setUp(self) -> None:
        super().setUp()
        self.searching = False
        self.receive(TRUE, "10.0.0.9")
        self.wait(100)

    def test_search_that_is_never_sent(self) -> None:
        """Without a search nothing is decided: a forged direct claim does not win against an indirect one."""
        self.receive(FORGED)
        self.receive(FORGED)
        self.assertEqual(self.wait(300), [])
        self.assertEqual(self.hosts(), [T])

    def test_nothing_is_kept_for_removed_services(self) -> None:
        """Of services that left before their search was sent, nothing is kept."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        for number in range(50):
            self.receive(advertisement(urn=f"urn:x:{number}", max_age=1))
        self.assertEqual(len(self.table._services.searches), 50)
        self.wait(500)
        self.assertEqual((self.table.tracked, len(self.table._services.searches)), (0, 0))

    def test_nothing_is_kept_after_a_change_of_the_announced_version(self) -> None:
        """The same holds for a service whose current claim has another announced version than the search."""
        term = SearchTerm("urn:x:*", "T")
        first = replace(advertisement(T, urn="urn:x:1"), term=term)
        second = replace(advertisement("10.0.0.6", urn="urn:x:1"), term=term, nt="urn:x:2")
        self.assertNotEqual(first.search_target, second.search_target)
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(first)
        self.receive(second, channel=Channel.HOST)
        self.assertEqual(self.hosts(), ["10.0.0.6"])
        self.wait(5000)
        self.assertEqual((self.table.tracked, len(self.table._services.searches)), (0, 0))

    def test_search_that_is_sent_late(self) -> None:
        """The rounds take their time from the moment at which the search is sent."""
        self.receive(FORGED)
        self.wait(40)
        self.searching = True
        self.table.search_sent(URN, self.now)
        self.assertEqual([(at, type(event)) for at, event in self.wait(20)], [(6, Changed)])

    def test_early_reply(self) -> None:
        """A reply before the search was sent is a reply to another one, and no evidence."""
        self.receive(FORGED)
        self.receive(FORGED, channel=Channel.SEARCH)
        self.wait(5)
        self.searching = True
        self.reply(TRUE)
        self.table.search_sent(URN, self.now)
        self.wait(3)
        self.wait(20)
        self.assertEqual(self.hosts(), [T])


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

    def test_two_locations_do_not_alternate(self) -> None:
        """A sender that announces two LOCATIONs in turn keeps the later one."""
        second = advertisement(T, port=8080)
        self.receive(TRUE)
        self.receive(second)
        for _ in range(10):
            self.wait(100)
            self.assertEqual(self.receive(TRUE), [])
            self.assertEqual(self.receive(second), [])


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


class AnsweringAttackerTests(TableTestCase):
    """End of an attacker that answered searches for the service of another device."""

    def test_place_is_returned(self) -> None:
        """The device has its place back after two searches that it alone replied to."""
        forged, true = advertisement("10.0.0.66", 86400), advertisement()
        self.reply(forged)
        self.receive(forged)
        self.wait(20)
        self.receive(true, channel=Channel.SEARCH)
        self.wait(20)
        self.assertEqual(self.hosts(), ["10.0.0.66"])
        self.repliers.clear()
        self.reply(true)
        for _ in range(2):
            self.wait(300)
            self.receive(true, channel=Channel.SEARCH)
        self.wait(10)
        self.assertEqual(self.hosts(), ["10.0.0.5"])


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


class CapacityTests(TableTestCase):
    """Order of eviction when the table is full."""

    def test_eviction(self) -> None:
        """A direct claim evicts the latest indirect one; a device that replied evicts a direct one that never did."""
        self.table = AdvertisementTable(limit=2)
        for number in (1, 2):
            self.receive(advertisement(device_id=f"indirect-{number}"), E)
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="indirect-3"), E)
        events = self.receive(advertisement(device_id="direct-1"))
        self.assertEqual([type(event) for event in events], [Left, Appeared])
        self.assertEqual(events[0].advertisement.device_id, "indirect-2")
        self.receive(advertisement(device_id="direct-2"))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="direct-3"))
        self.receive(advertisement(device_id="replying-1"), channel=Channel.SEARCH)
        self.assertEqual({live.advertisement.device_id for live in self.table}, {"direct-1", "replying-1"})
        self.assertEqual(self.table.evictions, 3)

    def test_reply_protects(self) -> None:
        """A service whose host replied is not evicted."""
        self.table = AdvertisementTable(limit=1)
        self.receive(TRUE)
        self.receive(TRUE, channel=Channel.SEARCH)
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.7", device_id="F"), channel=Channel.SEARCH)

    def test_quota_of_a_sender(self) -> None:
        """One sender creates a limited number of services; others are not affected."""
        self.table = AdvertisementTable(limit_per_sender=2)
        for number in range(2):
            self.receive(advertisement(device_id=str(number)))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="2"))
        self.receive(advertisement("10.0.0.6", device_id="2"))
        self.receive(advertisement(device_id="0", urn=OTHER_URN), "10.0.0.8")

    def test_default_quota(self) -> None:
        """By default one sender creates 4096 services."""
        for number in range(4096):
            self.receive(advertisement(device_id=str(number)))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="last"))

    def test_departed_services_are_not_kept(self) -> None:
        """Services that come and go leave nothing behind."""
        for number in range(20000):
            self.receive(advertisement(device_id=str(number), max_age=86400))
            self.bye(device_id=str(number))
            self.now += 0.01
            self.table.expire(self.now)
        self.wait(10)
        self.assertEqual((len(self.table), self.table.tracked), (0, 0))
        self.assertLess(len(self.table._services._schedule), 2000)

    def test_claims_of_departed_services_are_not_kept(self) -> None:
        """A service that has left has no claims of other hosts, whatever still refers to it."""
        self.receive(TRUE)
        self.receive(advertisement(E, 86400), E)
        service = self.table._services.find(TRUE.device_id, TRUE.urn)
        assert service is not None
        self.assertEqual(len(service.others), 1)
        list(self.table.reassign(lambda nt: None, self.now))
        self.assertTrue(service.removed)
        self.assertEqual(service.others, ())

    def test_forged_services_give_way(self) -> None:
        """Forged services in the name of a device do not exclude its further services, which are searched for."""
        self.table = AdvertisementTable(limit_per_sender=5)
        self.receive(TRUE)
        self.receive(TRUE, channel=Channel.HOST)
        for number in range(4):
            self.receive(advertisement(T, 86400, f"fake-{number}"))
        self.wait(10)
        new = advertisement(T, urn=OTHER_URN)
        self.reply(new)
        self.assertEqual(self.receive(new), [Left(advertisement(T, 86400, "fake-3"), "evicted"), Appeared(new)])
        self.assertEqual(self.searched[-1], (10, (T,)))
        self.wait(2)
        for number in range(4, 1000):
            with contextlib.suppress(RejectedError):
                self.receive(advertisement(T, 86400, f"fake-{number}"))
            self.wait(1)
        self.assertEqual(self.table.tracked, 5)
        self.assertEqual(
            [each.standing for each in self.table if each.advertisement.device_id == "D"], [Standing.CONFIRMED] * 2
        )
        # Eight at once, then one in 10 s, and the new one.
        self.assertLessEqual(self.table.evictions, 8 + 100 + 1)

    def test_search_for_a_rejected_service(self) -> None:
        """While forged services come without end, a device that replies has its new service after a search of it."""
        self.table = AdvertisementTable(limit_per_sender=2)
        for number in range(2):
            self.receive(advertisement(T, 86400, f"fake-{number}"))
        searches = []
        for _ in range(100):
            with self.assertRaises(RejectedError):
                self.receive(TRUE)
            searches += self.table.search_for_rejected(TRUE, Reception(T, "eth0"), self.now)
            self.now += 0.09
        wanted = SearchNeeded(TRUE, 3, (T,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False)
        self.assertEqual(searches, [wanted] * 2)
        self.now += 1
        self.assertIn(Appeared(TRUE, Standing.CONFIRMED), self.receive(TRUE, channel=Channel.HOST))

    def test_no_search_for_other_rejected_services(self) -> None:
        """There is no search for a service that is known, indirect or a reply, or was rejected for another reason."""
        self.table = AdvertisementTable(limit_per_sender=1)
        self.receive(FORGED)
        self.receive(TRUE, "10.0.0.99")
        for one, sender, channel in (
            (FORGED, E, Channel.GROUP),
            (advertisement(T, device_id="X"), "10.0.0.99", Channel.GROUP),
            (advertisement(E, device_id="X"), E, Channel.SEARCH),
            (advertisement(T, device_id="X"), T, Channel.GROUP),
        ):
            self.assertEqual(self.table.search_for_rejected(one, Reception(sender, "eth0", channel), self.now), [])


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


class PauseTests(TableTestCase):
    """Announcements in the pause after a contest."""

    def contest(self) -> None:
        """Let an attacker take the service from the home, and stop."""
        self.receive(TRUE)
        self.wait(900)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(8)
        self.assertEqual(self.hosts(), [E])
        self.repliers.clear()
        self.searched.clear()

    def test_contest_after_the_pause(self) -> None:
        """An announcement in the pause of 10 s begins a contest when the pause is over."""
        self.contest()
        self.assertEqual(self.receive(TRUE), [])
        self.assertEqual(self.wait(20)[-1], (8, Changed(TRUE)))
        self.assertEqual([at for at, _ in self.searched], [910, 913])

    def test_one_contest(self) -> None:
        """Any number of announcements in the pause begin one contest."""
        self.contest()
        for _ in range(10):
            self.receive(advertisement("10.0.0.7"))
            self.wait(0.1)
        self.wait(40)
        self.assertEqual([at for at, _ in self.searched], [910, 913])

    def test_claim_that_has_ended(self) -> None:
        """A byebye of the claimant in the pause cancels the contest."""
        self.contest()
        self.receive(advertisement("10.0.0.7"))
        self.bye("10.0.0.7")
        self.wait(40)
        self.assertEqual(self.searched, [])

    def test_after_a_byebye_that_was_voided(self) -> None:
        """An announcement while a byebye is pending begins a contest after the device has voided the byebye."""
        self.receive(TRUE)
        self.wait(100)
        self.bye(T)
        self.receive(FORGED)
        self.wait(1)
        self.receive(TRUE)
        self.searched.clear()
        self.wait(40)
        self.assertEqual([hosts for _, hosts in self.searched], [(T, E)] * 2)


class ExpiryInContestTests(TableTestCase):
    """Expiry of the current claim while a contest is in progress."""

    def test_announcement_before_the_expiry(self) -> None:
        """A device that began the contest has its service, although the current claim expires before the decision."""
        for max_age in (3, 60):
            self.setUp()
            self.receive(advertisement(E, max_age=max_age))
            self.wait(max_age)
            self.receive(TRUE)
            self.wait(20)
            self.assertEqual(self.hosts(), [T], max_age)

    def test_copies_in_the_pause(self) -> None:
        """Two copies of the home in the pause count as in a contest, although the other host replies."""
        self.receive(TRUE)
        self.wait(900)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(8)
        self.assertEqual(self.hosts(), [E])
        self.receive(TRUE)
        self.wait(0.2)
        self.receive(TRUE)
        self.wait(20)
        self.assertEqual(self.hosts(), [T])


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
