"""Tests for what a :class:`ssdpreg.discovery.claims.Claim` counts: announcements, replies, and missed searches."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import advertisement

OWNER, OTHER = "10.0.0.5", "10.0.0.66"


def claim(sender: str = OWNER, channel: Channel = Channel.GROUP) -> Claim:
    """Return a claim that was received at 1000 s."""
    return Claim(advertisement(max_age=100), Reception(sender, "eth0", channel), 1000.0)


def renew(claim: Claim, now: float, sender: str = OWNER) -> None:
    """Receive the announcement of a claim again."""
    claim.renew(advertisement(max_age=100), Reception(sender, "eth0"), now)


class AnnouncementTests(SynchronousTestCase):
    """Tests for the number of announcements."""

    def test_announcements(self) -> None:
        """Each announcement of the LOCATION's host counts, up to ten, whether or not it is unchanged."""
        renewed, repeated = claim(), claim()
        counts = []
        for number in range(1, 15):
            counts.append((renewed.announcements, repeated.announcements))
            renew(renewed, 1000 + 11.0 * number)
            repeated.repeat(1000 + 11.0 * number, is_reply=False)
        self.assertEqual(counts, [(number, number) for number in (*range(1, 11), 10, 10, 10, 10)])

    def test_copies(self) -> None:
        """A copy that is received up to 10 s after the announcement before it does not count."""
        renewed, repeated = claim(), claim()
        for now in (1000.1, 1010.1, 1020.1):
            renew(renewed, now)
            repeated.repeat(now, is_reply=False)
        self.assertEqual((renewed.announcements, repeated.announcements), (1, 1))

    def test_other_senders(self) -> None:
        """An announcement of another host than the LOCATION's does not count."""
        renewed, repeated = claim(OTHER), claim(OTHER)
        for now in (1020, 1040):
            renew(renewed, now, OTHER)
            repeated.repeat(now, is_reply=False)
        self.assertEqual((renewed.announcements, repeated.announcements), (0, 0))
        renew(renewed, 1060)
        self.assertEqual(renewed.announcements, 1)

    def test_adopted(self) -> None:
        """An adopted claim counts as long established."""
        self.assertEqual(Claim.adopted(advertisement(), Standing.DIRECT, 60, 1000.0).announcements, 10)


class ReplyTests(SynchronousTestCase):
    """Tests for the record of replies."""

    def test_replied_at(self) -> None:
        """The time of the latest reply of the LOCATION's host is recorded."""
        one = claim()
        self.assertEqual(one.replied_at, -math.inf)
        one.repeat(1020, is_reply=False)
        self.assertEqual(one.replied_at, -math.inf)
        one.repeat(1030, is_reply=True)
        self.assertEqual(one.replied_at, 1030)
        self.assertEqual(claim(channel=Channel.SEARCH).replied_at, 1000)

    def test_reply_of_another_sender(self) -> None:
        """A reply of another sender is none of the LOCATION's host."""
        one = claim(OTHER, Channel.SEARCH)
        one.repeat(1030, is_reply=True)
        self.assertEqual((one.replied_at, one.answers), (-math.inf, False))

    def test_missed_search(self) -> None:
        """After a search without a reply, a claim is not confirmed, and its host is not known to reply."""
        for sender, channel, standing in (
            (OWNER, Channel.HOST, Standing.DIRECT),
            (OWNER, Channel.SEARCH, Standing.DIRECT),
            (OTHER, Channel.SEARCH, Standing.INDIRECT),
        ):
            one = claim(sender, channel)
            self.assertEqual(one.answers, sender == OWNER)
            one.miss_search()
            self.assertEqual((one.answers, one.standing), (False, standing))

    def test_new_service(self) -> None:
        """A new service has not been searched for, so that any reply is later than its latest search."""
        self.assertEqual(TrackedService(claim(), 1000.0).asked_at, -math.inf)


class AdoptionTests(SynchronousTestCase):
    """Tests for the time after the adoption."""

    def test_adopted_for_a_minute(self) -> None:
        """A claim counts as adopted until it is received more than 60 s after the adoption."""
        one = Claim.adopted(advertisement(max_age=100), Standing.DIRECT, 600, 1000.0)
        for now, adopted in ((1059.9, True), (1060.0, True), (1060.1, False)):
            renew(one, now)
            self.assertIs(one.is_adopted, adopted)
