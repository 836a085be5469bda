"""
Tests for contests about services in :class:`ssdpreg.discovery.table.AdvertisementTable`.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

from dataclasses import replace

from ssdpreg.discovery.events import Changed
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import FORGED, TRUE, URN, E, T, TableTestCase, advertisement


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
