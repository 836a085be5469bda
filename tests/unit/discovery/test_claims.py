"""Tests for :mod:`ssdpreg.discovery.claims`."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.claims import Claim, TrackedService
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm

URN = "urn:schemas-upnp-org:service:api:2.0"


def advertise(host: str = "10.0.0.5", max_age: int = 100) -> Advertisement:
    """Return an advertisement of a service at a host. With a max-age of 100 s, its lifetime is 110 s."""
    location = f"http://{host}/"
    return Advertisement(
        "D", URN, SearchTerm(URN, "T"), URN, f"uuid:D::{URN}", location, Endpoint("http", host, 80), max_age
    )


def claim(host: str = "10.0.0.5", now: float = 1000.0, max_age: int = 100) -> Claim:
    """Return the claim of a host that a service is at its own address."""
    advertisement = advertise(host, max_age)
    return Claim(advertisement, host, now, advertisement.lifetime)


class ClaimTests(SynchronousTestCase):
    """Tests for :class:`Claim`."""

    def setUp(self) -> None:
        self.claim = claim()

    def test_times(self) -> None:
        """The device is searched for at 80 % of max-age. The claim expires after the lifetime of the advertisement."""
        self.assertEqual(
            (self.claim.received_at, self.claim.search_at, self.claim.expires_at, self.claim.owned_until),
            (1000, 1080, 1110, 1110),
        )

    def test_renewal_by_its_owner(self) -> None:
        """The owner renews all times of a claim, and can shorten it."""
        self.claim.renew(advertise(max_age=10), "10.0.0.5", 1050, answer=False)
        self.assertEqual(
            (self.claim.received_at, self.claim.search_at, self.claim.expires_at, self.claim.owned_until),
            (1050, 1058, 1061, 1061),
        )

    def test_renewal_by_another_sender(self) -> None:
        """Another sender prolongs a claim, but does not become its owner."""
        self.claim.renew(advertise(), "10.0.0.66", 1050, answer=False)
        self.assertEqual((self.claim.sender, self.claim.expires_at, self.claim.owned_until), ("10.0.0.5", 1160, 1110))

    def test_another_sender_cannot_shorten(self) -> None:
        """A renewal by another sender with a shorter max-age does not shorten a claim."""
        self.claim.renew(advertise(max_age=1), "10.0.0.66", 1050, answer=False)
        self.assertEqual(self.claim.expires_at, 1110)

    def test_new_owner(self) -> None:
        """Another sender becomes the owner when the lifetime of the first owner has ended."""
        self.claim.renew(advertise(), "10.0.0.66", 1109.9, answer=False)
        self.assertEqual(self.claim.sender, "10.0.0.5")
        self.claim.renew(advertise(), "10.0.0.66", 1110, answer=False)
        self.assertEqual((self.claim.sender, self.claim.owned_until), ("10.0.0.66", 1220))

    def test_answers(self) -> None:
        """A reply of the owner shows that the device replies to searches. A reply of another sender does not."""
        self.claim.renew(advertise(), "10.0.0.66", 1010, answer=True)
        self.assertFalse(self.claim.answers)
        self.claim.renew(advertise(), "10.0.0.5", 1020, answer=True)
        self.claim.renew(advertise(), "10.0.0.5", 1030, answer=False)
        self.assertTrue(self.claim.answers)

    def test_superseded(self) -> None:
        """A superseded claim that is received again is not superseded any more."""
        self.claim.superseded = True
        self.claim.renew(advertise(), "10.0.0.5", 1010, answer=False)
        self.assertFalse(self.claim.superseded)


class TrackedServiceTests(SynchronousTestCase):
    """Tests for :class:`TrackedService`."""

    def setUp(self) -> None:
        self.service = TrackedService(claim(), 1000.0)

    def test_initial_state(self) -> None:
        """A new service belongs to the sender of its first claim, and no decision but the search is pending."""
        self.assertEqual((self.service.creator, self.service.appeared_at), ("10.0.0.5", 1000))
        self.assertEqual((self.service.due, self.service.leaves_at, self.service.rounds), (1080, math.inf, 0))

    def test_due(self) -> None:
        """The next decision is the earliest of search, expiry, end of a search round and departure."""
        self.service.searched = True
        self.assertEqual(self.service.due, 1110)
        self.service.begin_round(1050)
        self.assertEqual(self.service.due, 1050)
        self.service.leaves_at = 1002
        self.assertEqual(self.service.due, 1002)

    def test_search_rounds(self) -> None:
        """Search rounds are counted until the contest ends."""
        self.service.begin_round(1003)
        self.service.begin_round(1006)
        self.service.byebye_contested = True
        self.assertEqual((self.service.rounds, self.service.round_ends_at), (2, 1006))
        self.service.end_contest()
        self.assertEqual(
            (self.service.rounds, self.service.round_ends_at, self.service.byebye_contested), (0, math.inf, False)
        )

    def test_set_current(self) -> None:
        """A new current claim ends all pending decisions."""
        self.service.begin_round(1003)
        self.service.searched = True
        self.service.leaves_at = 1002
        other = claim("10.0.0.6", 1001)
        self.service.set_current(other)
        self.assertIs(self.service.claim, other)
        self.assertEqual((self.service.due, self.service.rounds, self.service.leaves_at), (1081, 0, math.inf))

    def test_other_at(self) -> None:
        """Other claims are found by LOCATION. The current claim is none of them."""
        other = claim("10.0.0.6")
        self.service.others = (claim("10.0.0.7"), other)
        self.assertIs(self.service.other_at("http://10.0.0.6/"), other)
        self.assertIsNone(self.service.other_at("http://10.0.0.5/"))

    def test_best_candidate(self) -> None:
        """The best candidate is the claim received last among those that are neither superseded nor expired."""
        self.assertIsNone(self.service.best_candidate(1000))
        oldest, latest, superseded = claim("10.0.0.6", 1001), claim("10.0.0.7", 1003), claim("10.0.0.8", 1004)
        superseded.superseded = True
        expired = claim("10.0.0.9", 1005, max_age=1)
        self.service.others = (oldest, latest, superseded, expired)
        self.assertEqual(list(self.service.candidates(1007)), [oldest, latest])
        self.assertIs(self.service.best_candidate(1007), latest)
        self.assertIsNone(self.service.best_candidate(2000))
