"""Claims of senders about one service: its current LOCATION, other LOCATIONs, and pending decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ssdpreg.discovery.advertisement import Advertisement

#: Part of max-age after which a silent device is searched for.
_SEARCH_AFTER = 0.8
#: Number of claims besides the current one. A device with more addresses is not known.
MOST_OTHER_CLAIMS = 4


class Claim:
    """
    Claim of a sender that a service is at a LOCATION.

    :ivar advertisement: Latest advertisement.
    :ivar sender: Address that owns the claim until ``owned_until``: it alone may move or end it.
    :ivar received_at: Time of the latest reception.
    :ivar search_at: Time at which the device is searched for if nothing is received before.
    :ivar expires_at: Time of expiry.
    :ivar answers: Whether a reply to a search was ever received for it. A missing reply is evidence only for such a
        claim.
    :ivar superseded: Whether its owner moved the service away from it. It is kept, because an advertisement that is
        received for it later shows that the device has two addresses.
    """

    __slots__ = (
        "advertisement",
        "answers",
        "expires_at",
        "owned_until",
        "received_at",
        "search_at",
        "sender",
        "superseded",
    )

    def __init__(self, advertisement: Advertisement, sender: str, now: float, lifetime: float) -> None:
        self.advertisement = advertisement
        self.sender = sender
        self.received_at = now
        self.search_at = now + _SEARCH_AFTER * advertisement.max_age
        self.expires_at = self.owned_until = now + lifetime
        self.answers = False
        self.superseded = False

    def renew(self, advertisement: Advertisement, sender: str, now: float, answer: bool) -> None:
        """
        Prolong the claim. A sender that does not own it may not shorten it.

        :param answer: Whether the advertisement is a reply to a search.
        """
        self.received_at = now
        self.search_at = now + _SEARCH_AFTER * advertisement.max_age
        self.superseded = False
        if sender == self.sender or now >= self.owned_until:
            self.sender = sender
            self.expires_at = self.owned_until = now + advertisement.lifetime
            self.answers |= answer
        else:
            self.expires_at = max(self.expires_at, now + advertisement.lifetime)


class TrackedService:
    """
    A live service with its current claim, its other claims and pending decisions.

    :ivar claim: Current claim: its LOCATION is the service's.
    :ivar others: Other claims, oldest first.
    :ivar creator: Sender of the first claim, whose quota the service counts against.
    :ivar appeared_at: Time of the first reception or of the adoption.
    :ivar searched: Whether the device has been searched for since the latest reception.
    :ivar leaves_at: Time at which a received byebye takes effect, infinite without one.
    :ivar rounds: Search rounds sent since the current claim was contradicted.
    :ivar round_ends_at: End of the current search round, infinite without one.
    :ivar byebye_contested: Whether a sender that does not own the current claim sent a byebye.
    :ivar scheduled_at: See :class:`ssdpreg.discovery.expiry.Scheduled`.
    """

    __slots__ = (
        "appeared_at",
        "byebye_contested",
        "claim",
        "creator",
        "leaves_at",
        "others",
        "round_ends_at",
        "rounds",
        "scheduled_at",
        "searched",
    )

    def __init__(self, claim: Claim, now: float) -> None:
        self.others: tuple[Claim, ...] = ()
        self.creator = claim.sender
        self.appeared_at = now
        self.scheduled_at = math.inf
        self.set_current(claim)

    @property
    def due(self) -> float:
        """Time at which the next decision is due."""
        search_at = math.inf if self.searched else self.claim.search_at
        return min(self.leaves_at, self.claim.expires_at, self.round_ends_at, search_at)

    def set_current(self, claim: Claim) -> None:
        """Make a claim the current one, with no decision pending."""
        self.claim = claim
        self.searched = False
        self.leaves_at = math.inf
        self.end_contest()

    def end_contest(self) -> None:
        """Keep the current claim, and forget what contradicted it."""
        self.rounds, self.round_ends_at, self.byebye_contested = 0, math.inf, False

    def begin_round(self, ends_at: float) -> None:
        """Begin a search round whose replies decide about the current claim."""
        self.rounds += 1
        self.round_ends_at = ends_at

    def other_at(self, location: str) -> Claim | None:
        """Return the other claim for a LOCATION."""
        return next((claim for claim in self.others if claim.advertisement.location == location), None)

    def candidates(self, now: float) -> Iterator[Claim]:
        """Yield the other claims that may become the current one."""
        return (claim for claim in self.others if not claim.superseded and claim.expires_at > now)

    def best_candidate(self, now: float) -> Claim | None:
        """Return the candidate that was received last."""
        return max(self.candidates(now), key=lambda claim: claim.received_at, default=None)
