"""Tests for :mod:`ssdpreg.discovery.claims`."""

from __future__ import annotations

import math
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import Contest
from ssdpreg.discovery.homes import Home
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.claims import OTHER, OWNER, claim
from tests.support.table_case import advertisement

#: LOCATIONs of the claims of a contest.
CURRENT, FIRST, SECOND = "http://10.0.0.5:80/", "http://10.0.0.6:80/", "http://10.0.0.7:80/"


class ClaimTests(SynchronousTestCase):
    """Tests for :class:`Claim`."""

    def renew(
        self, claim: Claim, now: float, sender: str = OWNER, channel: Channel = Channel.GROUP, max_age: int = 100
    ) -> bool:
        """Renew a claim by an advertisement of its LOCATION."""
        return claim.renew(advertisement(max_age=max_age), Reception(sender, "eth1", channel), now)

    def test_times(self) -> None:
        """The device is searched for at 80 % of max-age. The claim expires after the lifetime of the advertisement."""
        one = claim()
        self.assertEqual((one.received_at, one.search_at, one.expires_at), (1000, 1080, 1110))
        self.assertEqual((one.sender, one.host, one.interface), (OWNER, OWNER, "eth0"))
        self.assertEqual((one.superseded, one.answers), (False, False))

    def test_renewal_by_its_owner(self) -> None:
        """The owner renews all times of a claim, and can shorten it."""
        one = claim()
        self.assertTrue(self.renew(one, 1050, max_age=10))
        self.assertEqual((one.received_at, one.search_at, one.expires_at, one.interface), (1050, 1058, 1061, "eth1"))
        # The latest max-age counts, also if it is the first one again.
        self.assertTrue(one.renew(one.advertisement, Reception(OWNER, "eth1"), 1060))
        self.assertEqual((one.max_age, one.search_at, one.rare), (100, 1140, {"other_interfaces": ("eth0",)}))

    def test_renewal_by_another_sender(self) -> None:
        """Another sender neither prolongs nor shortens a claim, nor becomes its owner."""
        one = claim()
        for max_age in (1, 10_000):
            self.assertFalse(self.renew(one, 1109, OTHER, Channel.HOST, max_age))
        self.assertEqual((one.sender, one.received_at, one.expires_at, one.interface), (OWNER, 1000, 1110, "eth0"))
        self.assertEqual((one.standing, one.answers), (Standing.DIRECT, False))

    def test_host_becomes_the_owner(self) -> None:
        """The host of the LOCATION becomes the owner of an indirect claim at once."""
        one = claim(sender=OTHER)
        self.assertTrue(self.renew(one, 1001))
        self.assertEqual((one.sender, one.standing), (OWNER, Standing.DIRECT))
        self.assertFalse(self.renew(one, 1100, OTHER))

    def test_earlier_owner(self) -> None:
        """A byebye of a sender that announced a claim before its host ends nothing, although the host replies."""
        one = claim(sender=OTHER)
        self.assertTrue(one.owns(OTHER))
        self.renew(one, 1001, channel=Channel.HOST)
        self.assertTrue(one.answers and one.owns(OWNER))
        self.assertFalse(one.owns(OTHER))
        self.assertIsNone(one.neighbours)

    def test_owner_of_an_indirect_claim(self) -> None:
        """Another sender becomes the owner of an indirect claim after half of max-age in silence, and not before."""
        one = claim(sender=OTHER)
        self.assertFalse(self.renew(one, 1050, "10.0.0.7"))
        self.assertTrue(self.renew(one, 1050.1, "10.0.0.7"))
        self.assertEqual((one.sender, one.received_at, one.standing), ("10.0.0.7", 1050.1, Standing.INDIRECT))

    def test_lifetime_of_an_indirect_claim(self) -> None:
        """An indirect claim lives for 1800 s at most, and longer when its host announces it."""
        one = claim(sender=OTHER, max_age=86400)
        self.assertEqual((one.expires_at, one.expected_silence), (2800, 1800))
        self.renew(one, 1000, max_age=86400)
        self.assertEqual(one.expires_at, 1000 + 86460)

    def test_silence(self) -> None:
        """The silence of a claim counts from its latest reception. It is expected for max-age, 1800 s at most."""
        one = claim()
        self.assertEqual((one.silence(1030), one.expected_silence), (30, 100))
        self.assertEqual(claim(max_age=86400).expected_silence, 1800)

    def test_standing(self) -> None:
        """A claim keeps its highest standing."""
        one = claim(sender=OTHER)
        self.assertIs(one.standing, Standing.INDIRECT)
        for channel, standing in (
            (Channel.SEARCH, Standing.DIRECT),
            (Channel.HOST, Standing.CONFIRMED),
            (Channel.GROUP, Standing.CONFIRMED),
        ):
            self.renew(one, 1010, channel=channel)
            self.assertIs(one.standing, standing)

    def test_answers(self) -> None:
        """A reply of the host shows that it replies to searches. A reply of another sender does not."""
        one = claim(sender=OTHER, channel=Channel.HOST)
        self.assertFalse(one.answers)
        for channel, answers in ((Channel.GROUP, False), (Channel.SEARCH, True), (Channel.GROUP, True)):
            self.renew(one, 1010, channel=channel)
            self.assertEqual(one.answers, answers)

    def test_superseded(self) -> None:
        """A superseded claim that is received again is not superseded any more."""
        one = claim()
        one.superseded = True
        self.renew(one, 1010, OTHER)
        self.assertTrue(one.superseded)
        self.renew(one, 1010)
        self.assertFalse(one.superseded)

    def test_superseded_claims_of_both_standings(self) -> None:
        """An indirect reception by the owner revives an indirect claim, and no other one."""
        for sender, revived in ((OTHER, True), (OWNER, False)):
            one = claim(sender=sender)
            one.superseded = True
            self.assertTrue(one.renew(one.advertisement, Reception(sender, "eth0", on_link=False), 1010))
            self.assertIs(one.superseded, not revived)

    def test_is_direct(self) -> None:
        """A claim is direct if the LOCATION's host owns it, and no router forwarded its message."""
        forwarded = Claim(advertisement(), Reception(OWNER, "eth0", on_link=False), 1000.0)
        neighbour = claim("2001:db8::5")
        neighbour.sender = "fe80::5%eth0"
        self.assertEqual([each.is_direct for each in (claim(), forwarded, neighbour)], [True, False, False])

    def test_latest_message(self) -> None:
        """An announcement and a reply with the same values are not repetitions of each other."""
        for settled in (Channel.GROUP, Channel.SEARCH):
            one = claim()
            one.settle(one.advertisement, Reception(OWNER, "eth0", settled))
            for channel in (Channel.GROUP, Channel.SEARCH):
                reception = Reception(OWNER, "eth0", channel)
                self.assertIs(one.is_latest(one.advertisement, reception), channel is settled)

    def test_byebye_for_a_link_local_owner(self) -> None:
        """The LOCATION's host can end a claim that its link-local address owns, if it replies to searches."""
        for answers in (True, False):
            one = claim("2001:db8::5", sender="fe80::5%eth0")
            one.answers = answers
            found = [one.owns(sender) for sender in ("fe80::5%eth0", "2001:db8::5", "2001:db8::6")]
            self.assertEqual(found, [True, answers, False])

    def test_neighbour_without_a_proof(self) -> None:
        """Three hours after the latest proof, an announcement of a neighbour address makes a claim indirect."""
        for now, standing in ((11800.0, Standing.CONFIRMED), (11800.1, Standing.INDIRECT)):
            one = claim("2001:db8::5", max_age=86400, channel=Channel.HOST)
            self.assertTrue(one.renew(one.advertisement, Reception("fe80::5%eth0", "eth0"), now))
            self.assertEqual((one.standing, one.answers), (standing, bool(standing)))

    def test_previous_reception(self) -> None:
        """The latest reception before the present one is remembered, without copies that follow within 10 s."""
        one = claim()
        self.assertEqual(one.previous_at, -math.inf)
        for now, previous in ((1010, -math.inf), (1020, -math.inf), (1030.1, 1020), (1100, 1030.1), (1105, 1030.1)):
            self.renew(one, now)
            self.assertEqual((one.received_at, one.previous_at), (now, previous))

    def test_repetition(self) -> None:
        """A repetition prolongs a claim as a renewal by the same advertisement does."""
        one, other = claim(), claim()
        for now in (1050, 1060, 1070.5, 1100):
            one.repeat(now, is_reply=False)
            self.renew(other, now)
            self.assertEqual(
                (one.received_at, one.previous_at, one.search_at, one.expires_at),
                (other.received_at, other.previous_at, other.search_at, other.expires_at),
            )
        self.assertEqual((one.search_at, one.expires_at), (1180, 1210))

    def test_adopted(self) -> None:
        """The host of the LOCATION owns an adopted claim, which has the given standing and lifetime."""
        one = Claim.adopted(advertisement(), Standing.CONFIRMED, 7.5, 1000.0)
        self.assertEqual((one.sender, one.standing, one.expires_at, one.answers), (OWNER, 2, 1007.5, False))


class ContestTests(SynchronousTestCase):
    """Tests for :class:`Contest`."""

    def test_rounds(self) -> None:
        """A contest has a number of rounds of 3 s."""
        contest = Contest(2, 1000.0)
        contest.begin_round(1000.0)
        self.assertEqual((contest.began_at, contest.ends_at), (1000, 1003))
        self.assertTrue(contest.next_round(1003.5))
        contest.begin_round(1004.0)
        self.assertEqual((contest.began_at, contest.ends_at), (1000, 1007))
        contest.begin_round(1006.0)
        self.assertEqual(contest.ends_at, 1007)
        self.assertFalse(contest.next_round(1007))

    def test_round_waits_for_its_search(self) -> None:
        """A round waits at most 60 s for its search."""
        contest = Contest(2, 1000.0)
        self.assertEqual((contest.searching, contest.searched, contest.ends_at), (False, False, 1060))
        contest.begin_round(1030.0)
        self.assertEqual((contest.searching, contest.searched, contest.ends_at), (True, True, 1033))
        contest.next_round(1033)
        self.assertEqual((contest.searching, contest.searched, contest.ends_at), (False, True, 1093))


class TrackedServiceTests(SynchronousTestCase):
    """Tests for :class:`TrackedService`."""

    def setUp(self) -> None:
        self.claim = claim()
        self.service = TrackedService(self.claim, 1000.0)

    def test_initial_state(self) -> None:
        """A new service belongs to the sender of its first claim, and no decision but the search is pending."""
        service = self.service
        self.assertEqual((service.creator, service.home, service.appeared_at), (OWNER, OWNER, 1000))
        self.assertEqual((service.due, service.leaves_at, service.contest), (1080, math.inf, None))
        self.assertEqual((service.live, service.others), (False, ()))

    def test_due(self) -> None:
        """The next decision is the earliest of search, expiry, end of a round, move and departure."""
        service = self.service
        service.repeat_at = math.inf
        self.assertEqual(service.due, 1110)
        service.begin_contest(1050)
        assert service.contest is not None
        self.assertEqual(service.due, 1110)
        service.contest.begin_round(1050)
        self.assertEqual(service.due, 1053)
        service.move_at = 1040
        self.assertEqual(service.due, 1053)
        service.contest = None
        self.assertEqual(service.due, 1040)
        service.leaves_at = 1002
        self.assertEqual(service.due, 1002)
        service.repeat_at = None
        service.leaves_at = service.move_at = math.inf
        self.claim.lifetime = 1.0
        self.assertEqual(service.due, 1001)

    def test_pause_between_contests(self) -> None:
        """A contest may begin when none is under way, and 10 s after the beginning of the latest one."""
        self.assertTrue(self.service.may_contest(1000))
        self.service.begin_contest(1000)
        self.assertFalse(self.service.may_contest(1010))
        self.service.contest = None
        self.assertFalse(self.service.may_contest(1009.9))
        self.assertTrue(self.service.may_contest(1010))

    def test_set_current(self) -> None:
        """A new current claim ends all pending decisions. The current claim becomes another claim."""
        service = self.service
        other = claim("10.0.0.6", 1001)
        service.others = (other,)
        service.begin_contest(1003)
        service.repeat_at = math.inf
        service.leaves_at, service.move_at, service.next_move = 1002, 1004, other
        service.set_current(other, 1002)
        self.assertIs(service.claim, other)
        self.assertEqual(service.others, (self.claim,))
        self.assertEqual((service.due, service.contest, service.next_move), (1081, None, None))
        self.assertEqual((service.leaves_at, service.move_at), (math.inf, math.inf))

    def test_set_current_after_expiry(self) -> None:
        """A claim that has expired does not stay as another claim."""
        self.service.set_current(claim("10.0.0.6", 1110), 1110)
        self.assertEqual(self.service.others, ())

    def test_set_current_with_many_other_claims(self) -> None:
        """The number of other claims stays limited: the oldest one gives way to the current one."""
        others = tuple(claim(f"10.0.0.{number}") for number in range(10, 14))
        self.service.others = others
        self.service.set_current(claim("10.0.0.20"), 1001)
        self.assertEqual(self.service.others, (*others[1:], self.claim))

    def test_home(self) -> None:
        """The home is the host that has held the service longest by a quarter, the current holding excepted."""
        service = self.service
        self.assertEqual(service.home, OWNER)
        for host, now, home in (
            ("10.0.0.6", 1050, OWNER),
            ("10.0.0.7", 1120, "10.0.0.6"),
            (OWNER, 1125, "10.0.0.6"),
            ("10.0.0.6", 1163, OWNER),
        ):
            service.set_current(claim(host, now), now)
            self.assertEqual(service.home, home, (host, now))

    def test_home_of_two_equal_hosts(self) -> None:
        """Two hosts that hold the service in turn, for equal times, do not become the home in turn."""
        now = 2000.0
        self.service.set_current(claim("10.0.0.6", now), now)
        homes: list[str] = []
        for host in (OWNER, "10.0.0.6") * 5:
            now += 1001.0 if not homes else 60.0
            self.service.set_current(claim(host, now), now)
            homes.append(self.service.home)
        self.assertEqual(set(homes), {OWNER})

    def test_home_of_a_service_that_was_not_live(self) -> None:
        """The time before a service is live does not count for the home."""
        self.service.set_current(claim("10.0.0.6", 5000), 5000)
        self.assertEqual(self.service.home, OWNER)
        self.service.go_live(5001)
        self.assertEqual(self.service.home, "10.0.0.6")
        self.service.set_current(claim(now=5011), 5011)
        self.service.set_current(claim("10.0.0.6", 5020), 5020)
        self.assertEqual(self.service.home, "10.0.0.6")
        self.service.set_current(claim(now=5030), 5030)
        self.service.set_current(claim("10.0.0.6", 5051), 5051)
        self.assertEqual(self.service.home, OWNER)

    def test_evidence(self) -> None:
        """A reply to a search of the contest, and an announcement, are evidence of two kinds for a LOCATION."""
        contest = Contest(2, 1000.0)
        contest.add_evidence(CURRENT, reply=True)
        contest.begin_round(1001)
        contest.add_evidence(FIRST, reply=True)
        contest.add_evidence(SECOND, reply=False)
        self.assertEqual((contest.answered, contest.announced), ({FIRST}, {SECOND}))

    def test_former_hosts_are_bounded(self) -> None:
        """The holdings of a limited number of hosts are remembered, the home's among them."""
        now = 2000.0
        for number in range(100):
            self.service.set_current(claim(f"10.1.0.{number}", now), now)
            now += 1 + number % 7
        self.assertEqual(len(self.service._held or ()), 4)
        self.assertEqual(self.service.home, OWNER)

    def test_holding_of_the_home(self) -> None:
        """The time of the current host counts until now, and the home before it left is known."""
        service = TrackedService(claim("10.0.0.6", 2000.0), 2000.0)
        self.assertEqual(service.holding_of_home(2010.0), ("10.0.0.6", 10.0))
        service.go_live(2020.0, Home(OWNER, 30.0, 1000.0))
        self.assertEqual((service.home, service.holding_of_home(2058.0)), (OWNER, ("10.0.0.6", 38.0)))
        self.assertEqual(service.holding_of_home(2057.0), (OWNER, 30.0))
        service.set_current(claim("10.0.0.7", 2040.0), 2040.0)
        self.assertEqual(service.home, OWNER)
        service.set_current(claim("10.0.0.6", 2041.0), 2041.0)
        service.set_current(claim("10.0.0.7", 2059.0), 2059.0)
        self.assertEqual(service.home, "10.0.0.6")

    def test_deferred_contest_is_due(self) -> None:
        """A deferred contest is due when it may begin, however the times are rounded."""
        random = Random(1)
        for _ in range(1000):
            self.service.contested_at = random.uniform(0, 1e6)
            self.service.deferred_at = self.service.contested_at + 1
            self.claim.max_age = self.claim.lifetime = 10**9
            self.assertFalse(self.service.may_contest(self.service.contested_at + 9.9))
            self.assertTrue(self.service.may_contest(self.service.due))
        self.service.begin_contest(self.service.due)
        assert self.service.contest is not None
        self.assertEqual(self.service.contest.began_at, self.service.contested_at - 9)
        self.assertEqual(self.service.deferred_at, math.inf)

    def test_budget_for_moves(self) -> None:
        """A service moves 10 s after its first move, then once a minute, and 10 minutes later as at first."""
        service = self.service
        self.assertLessEqual(service.may_move_at(), 2000)
        for now, permitted in ((2000, 2010), (2010, 2070), (2070, 2130), (2670, 2730), (3270.1, 3280.1)):
            service.set_current(claim(now=now), now)
            self.assertAlmostEqual(service.may_move_at(), permitted)

    def test_claims(self) -> None:
        """The current claim is yielded first, even if it has expired, and then the other valid ones."""
        valid, expired = claim("10.0.0.6", max_age=1000), claim("10.0.0.7", max_age=4)
        self.service.others = (expired, valid)
        self.assertEqual(list(self.service.claims(1005)), [self.claim, valid])
        self.assertEqual(list(self.service.claims(1004.9)), [self.claim, expired, valid])
        self.assertEqual(list(self.service.claims(1500)), [self.claim, valid])
        self.service.drop_expired(1005)
        self.assertEqual(self.service.others, (valid,))

    def test_hosts(self) -> None:
        """Each host of a valid claim is returned once."""
        self.service.others = (claim("10.0.0.6"), claim(port=81), claim("10.0.0.7", max_age=1), claim("10.0.0.6"))
        self.assertEqual(self.service.hosts(1010), (OWNER, "10.0.0.6"))

    def test_claim_at(self) -> None:
        """Other claims are found by LOCATION. The current claim is none of them."""
        other = claim("10.0.0.6")
        self.service.others = (claim("10.0.0.7"), other)
        self.assertIs(self.service.claim_at("http://10.0.0.6:80/"), other)
        self.assertIsNone(self.service.claim_at(self.claim.advertisement.location))

    def test_other_claims_of_other_senders(self) -> None:
        """When there are too many other claims, one that another host sent replaces only a superseded one."""
        indirect = [claim(f"10.0.0.{number}", sender=OTHER) for number in range(10, 14)]
        for each in indirect:
            self.assertTrue(self.service.add_other(each))
        refused = claim("10.0.0.20", sender=OTHER)
        self.assertFalse(self.service.add_other(refused))
        indirect[2].superseded = True
        self.assertTrue(self.service.add_other(refused))
        self.assertEqual(self.service.others, (*indirect[:2], indirect[3], refused))

    def test_order_of_other_claims(self) -> None:
        """
        A claim of a LOCATION's own host replaces the least worthy one.

        That is a superseded claim, an indirect one, one that did not reply to the latest search, or the oldest one.
        """
        superseded, indirect = claim("10.0.0.10"), claim("10.0.0.11", sender=OTHER, now=1009)
        replied, silent = claim("10.0.0.12", now=1001, channel=Channel.HOST), claim("10.0.0.13", now=1001)
        superseded.superseded = True
        self.service.others = (replied, silent, indirect, superseded)
        self.service.asked_at = 1002.0
        replied.replied_at = 1003.0
        new = [claim(f"10.0.0.{number}", now=float(number + 1000)) for number in range(20, 25)]
        expected = [
            (replied, silent, indirect),
            (replied, silent, new[0]),
            (replied, new[0], new[1]),
            (new[0], new[1], new[2]),
            (new[1], new[2], new[3]),
        ]
        for each, remaining in zip(new, expected, strict=True):
            self.assertTrue(self.service.add_other(each))
            self.assertEqual(self.service.others, (*remaining, each))

    def test_silence_of_other_claims(self) -> None:
        """A claim that was received once, and after the latest search, did not have to reply to it."""
        once, repeated = claim("10.0.0.10", now=1005), claim("10.0.0.11", now=1001)
        repeated.renew(repeated.advertisement, Reception("10.0.0.11", "eth0"), 1050)
        self.service.asked_at = 1002.0
        self.service.others = (once, repeated, claim("10.0.0.12", now=1006), claim("10.0.0.13", now=1006))
        self.service.add_other(claim("10.0.0.14", now=1060))
        self.assertNotIn(repeated, self.service.others)
        self.assertIn(once, self.service.others)

    def test_reserved_places(self) -> None:
        """One claim of the home, and a move that waits, stay when there are too many other claims."""
        self.service.home = "10.0.0.9"
        home, forged = claim("10.0.0.9"), claim("10.0.0.9", now=1090, sender=OTHER, port=81)
        self.service.next_move = claim("10.0.0.8")
        self.service.others = (home, forged, self.service.next_move, claim("10.0.0.7"))
        for number in range(20, 26):
            self.assertTrue(self.service.add_other(claim(f"10.0.0.{number}", now=1080)))
        self.assertIn(home, self.service.others)
        self.assertNotIn(forged, self.service.others)
        self.assertIn(self.service.next_move, self.service.others)
        self.service.set_current(self.service.others[-1], 1090)
        self.assertIn(home, self.service.others)

    def test_claim_of_the_home(self) -> None:
        """A claim of the home gets a place, also if another host sent it."""
        self.service.others = tuple(claim(f"10.0.0.{number}") for number in range(10, 14))
        home = claim(OWNER, port=81, sender=OTHER)
        self.assertTrue(self.service.add_other(home))
        self.assertIn(home, self.service.others)

    def test_repeated_search(self) -> None:
        """The search is repeated after 6 % of max-age, if the device can reply before the expiry a second later."""
        self.claim.answers = True
        for now, expected in ((1103.0, 1109.0), (1103.1, math.inf)):
            service = TrackedService(self.claim, 1000.0)
            self.assertFalse(service.begin_search(now))
            self.assertEqual(service.repeat_at, expected)

    def test_cancelled_move(self) -> None:
        """The move to a host that is neither the home nor named by the holder is cancelled."""
        self.service.cancel_move()
        for host, sender, cancelled in (("10.0.0.6", "", True), ("10.0.0.6", OWNER, False), (OWNER, OTHER, False)):
            self.service.next_move, self.service.move_at = claim(host, sender=sender, port=81), 1010.0
            self.service.cancel_move()
            self.assertEqual(self.service.next_move is None, cancelled)
            self.assertEqual(self.service.move_at == math.inf, cancelled)

    def test_outdated_move(self) -> None:
        """The holder cancels a waiting move, if it is not the home only one that it announced, and not to the home."""
        for home, sender, host, cancelled in (
            (OWNER, OTHER, "10.0.0.6", True),
            (OTHER, OWNER, "10.0.0.6", True),
            (OTHER, "10.0.0.6", "10.0.0.6", False),
            (OTHER, OWNER, OTHER, False),
        ):
            self.service.home = home
            self.service.next_move, self.service.move_at = claim(host, sender=sender), 1010.0
            self.service.cancel_outdated_move()
            self.assertEqual(self.service.next_move is None, cancelled)

    def test_home_that_holds_clearly_longer(self) -> None:
        """Another host becomes the home if it has held the service longer by more than a quarter."""
        for seconds, home in ((125.0, OWNER), (125.1, "10.0.0.6")):
            service = TrackedService(claim("10.0.0.6", 2000.0), 2000.0)
            service.go_live(2000.0, Home(OWNER, 100.0, 1000.0))
            self.assertEqual(service.holding_of_home(2000.0 + seconds)[0], home)

    def test_home_that_never_held_the_service(self) -> None:
        """A home without any time gives way to a host that has held the service for a moment."""
        self.service.home = "10.0.0.6"
        self.assertEqual(self.service.holding_of_home(1000.0), ("10.0.0.6", 0.0))
        self.assertEqual(self.service.holding_of_home(1000.5), (OWNER, 0.5))

    def test_passed_home(self) -> None:
        """Another address of the device at the home becomes the home, with the time of the home."""
        self.service.pass_home()
        self.assertEqual(self.service.holding_of_home(1010.0), (OWNER, 10.0))
        self.service.go_live(1010.0, Home("10.0.0.6", 5000.0, 900.0))
        self.service.pass_home()
        self.assertEqual(self.service.home, OWNER)
        self.assertEqual(self.service.holding_of_home(1020.0), (OWNER, 5010.0))
