"""Tests for :mod:`ssdpreg.discovery.decision`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.decision import decide
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from tests.support.claims import OTHER, OWNER, claim

#: LOCATIONs of the claims.
CURRENT, FIRST, SECOND = "http://10.0.0.5:80/", "http://10.0.0.6:80/", "http://10.0.0.7:80/"


class DecisionTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.discovery.decision.decide`."""

    def setUp(self) -> None:
        self.current = claim(max_age=1000)
        self.service = TrackedService(self.current, 1000.0)
        self.first, self.second = claim("10.0.0.6", 1100, 1000), claim("10.0.0.7", 1101, 1000)
        self.service.others = (self.first, self.second)
        self.service.begin_contest(1100)
        contest = self.service.contest
        assert contest is not None
        self.contest = contest

    def assert_winner(self, winner: Claim, trust: Standing = Standing.INDIRECT, now: float = 1106.0) -> None:
        """Check which claim wins."""
        self.assertEqual(decide(self.service, now, trust).advertisement.location, winner.advertisement.location)

    def test_no_evidence(self) -> None:
        """The current claim wins without evidence."""
        self.assert_winner(self.current)

    def test_home(self) -> None:
        """The home wins if it replied or announced itself, although others replied."""
        self.contest.answered = {FIRST, SECOND}
        for evidence in (self.contest.answered, self.contest.announced):
            evidence.add(CURRENT)
            self.assert_winner(self.current)
            evidence.remove(CURRENT)

    def test_two_locations_of_the_home(self) -> None:
        """Of two LOCATIONs of the home, the one with evidence wins, or else the current one."""
        later = claim(now=1102, port=81)
        self.service.others = (later,)
        self.contest.announced = {later.advertisement.location}
        self.assert_winner(later)
        self.contest.announced.add(CURRENT)
        self.assert_winner(self.current)

    def test_replies(self) -> None:
        """Of the claims whose hosts replied, the current one wins, or else the one received last."""
        self.contest.answered = {FIRST, SECOND}
        self.assert_winner(self.second)
        self.service.home = "10.0.0.99"
        self.contest.answered.add(CURRENT)
        self.assert_winner(self.current)

    def test_reply_to_another_search(self) -> None:
        """A reply of the home to a search for other services, before that of the contest, does not win."""
        self.service.home = "10.0.0.6"
        self.contest.answered = {CURRENT}
        self.first.received_at = self.first.replied_at = 1100.5
        self.assert_winner(self.current)
        self.first.received_at = 1101
        self.assert_winner(self.first)

    def test_needed_evidence(self) -> None:
        """If a contest needs evidence, the standing of a claim counts only with it, except for the current claim."""
        self.contest.needs_evidence = True
        self.current.standing = Standing.INDIRECT
        self.second.standing = Standing.CONFIRMED
        self.assert_winner(self.current)
        self.contest.announced = {FIRST}
        self.assert_winner(self.first)
        self.current.standing = Standing.CONFIRMED
        self.assert_winner(self.current)

    def test_standing(self) -> None:
        """A higher standing than the current claim's wins. Among several of them the highest wins."""
        self.second.standing = Standing.CONFIRMED
        self.assert_winner(self.second)
        self.current.standing = Standing.INDIRECT
        self.assert_winner(self.second)
        self.second.standing = Standing.INDIRECT
        self.assert_winner(self.first)
        self.current.standing = Standing.CONFIRMED
        self.assert_winner(self.current)

    def test_home_that_began_the_contest(self) -> None:
        """A home whose own announcement began the contest wins, unless another host replied."""
        self.service.home = "10.0.0.6"
        self.current.standing = Standing.CONFIRMED
        self.assert_winner(self.first)
        self.contest.answered = {CURRENT}
        self.assert_winner(self.current)
        self.contest.answered = set()
        self.first.received_at = 1099.9
        self.assert_winner(self.current)
        self.first.received_at = 1100
        self.first.sender = OTHER
        self.assert_winner(self.current)
        self.first.sender, self.first.standing = "10.0.0.6", Standing.INDIRECT
        self.assert_winner(self.current)

    def test_repeated_location_of_the_holder(self) -> None:
        """Another LOCATION that the holder announced twice since it announced the current one wins."""
        moved = claim(now=1030, max_age=1000, port=81)
        moved.previous_at = 1010
        self.service.others = (moved, self.first)
        self.service.home = "10.0.0.99"
        self.assert_winner(moved)
        self.contest.answered = {FIRST}
        self.assert_winner(self.first)
        self.contest.answered = set()
        self.current.received_at = 1010
        self.assert_winner(self.current)
        self.current.received_at = 1000
        moved.sender = OTHER
        self.assert_winner(self.current)
        self.service.others = (claim("10.0.0.6", 1030, 1000, sender=OWNER),)
        self.service.others[0].previous_at = 1010
        self.assert_winner(self.current)

    def test_latest_repeated_location(self) -> None:
        """Of several LOCATIONs that the holder repeats, the one received last wins."""
        moved, later = claim(now=1030, max_age=1000, port=81), claim(now=1031, max_age=1000, port=82)
        moved.previous_at = later.previous_at = 1010
        for others in ((moved, later), (later, moved)):
            self.service.others = others
            self.assert_winner(later)

    def test_announcement_without_evidence(self) -> None:
        """An announcement of another host than the home is no reply."""
        self.contest.announced = {FIRST}
        self.assert_winner(self.current)

    def test_superseded_claims(self) -> None:
        """A claim that its owner moved away from does not win."""
        self.contest.answered = {FIRST, SECOND}
        self.second.superseded = True
        self.assert_winner(self.first)

    def test_expired_claims(self) -> None:
        """A claim that has expired does not win."""
        self.contest.answered = {FIRST, SECOND}
        self.second.lifetime = 4.0
        self.assert_winner(self.first)

    def test_trust(self) -> None:
        """A claim with a lower standing than the trusted one does not win."""
        self.contest.answered = {FIRST}
        self.first.standing = Standing.INDIRECT
        self.assert_winner(self.current, Standing.DIRECT)
        self.assert_winner(self.first, Standing.INDIRECT)

    def test_missed_announcement(self) -> None:
        """A current claim that missed its own announcement loses to one of its standing received in the contest."""
        self.service.others = (self.first, self.second)
        self.current.received_at = 107
        self.assert_winner(self.current, now=1106)
        self.current.received_at = 106
        self.assert_winner(self.second, now=1106)
        self.first.received_at = self.second.received_at = 1099
        self.assert_winner(self.current, now=1106)
        self.first.received_at = 1100
        self.assert_winner(self.first, now=1106)
        self.first.standing = Standing.INDIRECT
        self.assert_winner(self.current, now=1106)
        self.current.standing = self.second.standing = Standing.INDIRECT
        self.assert_winner(self.current, now=1106)
