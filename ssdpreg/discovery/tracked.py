"""
Services with their claims, and the decisions about them that are pending. Pure.

*Home*: the host that has been the host of the current LOCATION for the longest time in all. It is known for a day after
the service has left: see :mod:`ssdpreg.discovery.homes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import ROUND, Contest
from ssdpreg.discovery.doubts import Doubt
from ssdpreg.discovery.homes import Home
from ssdpreg.discovery.rare import Rare
from ssdpreg.discovery.standing import Standing

#: Part of max-age after which the search for a silent device is repeated.
_REPEAT_AFTER = 0.06
#: Seconds in which a device replies to a unicast search.
_REPLY_TIME = 1.0
#: Largest number of claims besides the current one. No device with more addresses is known.
MAX_OTHER_CLAIMS = 4

#: Seconds between two moves of a service: after its first move, and while it goes on moving.
_MOVE_PAUSE = 10.0
_LONG_MOVE_PAUSE = 60.0
#: Seconds without a move after which the next pause is short again.
_MOVE_MEMORY = 600.0
#: Part of the home's time by which another host must have held the service longer to become the home.
_HOME_LEAD = 0.25

#: Search rounds of a contest.
_ROUNDS = 2
#: Seconds between the beginnings of two contests about one service.
_CONTEST_PAUSE = 10.0

#: A shared number: each evaluation of ``-math.inf`` makes one.
_NEVER = -math.inf


class TrackedService:
    """
    A service with its current claim, its other claims, and pending decisions.

    :ivar claim: Current claim: the service is registered at its LOCATION.
    :ivar others: Other claims, oldest first.
    :ivar published: Standing with which the current claim was published; None if the service is not live.
    :ivar creator: Sender of the first claim, whose quota the service counts against.
    :ivar rank: See :class:`ssdpreg.discovery.ranks.Ranks`; None for a service that is not in the table.
    :ivar appeared_at: Time of the first reception or of the adoption.
    :ivar repeat_at: Time at which the search for the device is repeated, infinite if it is not; None if the device has
        not been searched for since the latest reception.
    :ivar rounds_after_hold: Searches that are left before the expiry of a service that was held.
    :ivar asked_at: Time of the latest search that was requested for the service.
    :ivar awaits: Search target of that search until it is sent, empty afterwards.
    :ivar leaves_at: Time at which a received byebye takes effect, infinite without one.
    :ivar bye_until: Time until which that byebye waits for the search by which the device can void it.
    :ivar contest: Current contest, or None.
    :ivar contested_at: Beginning of the latest contest.
    :ivar deferred_at: Time of the first message since then that is a reason for another contest, infinite without one.
    :ivar doubt: Doubt whether the host of the current claim is still there, None if there never was one.
    :ivar moved_at: Time of the latest move, or else of the first publication.
    :ivar next_move: Claim that becomes the current one at ``move_at``, when the budget for moves permits it.
    :ivar restarted_at: Time at which the facts were replaced because of another BOOTID.
    :ivar scheduled_at: See :class:`ssdpreg.discovery.expiry.Scheduled`.
    :ivar rare: Values of the attributes that few services have: see :mod:`ssdpreg.discovery.rare`.
    """

    __slots__ = (
        "appeared_at",
        "asked_at",
        "claim",
        "creator",
        "moved_at",
        "published",
        "rank",
        "rare",
        "repeat_at",
        "scheduled_at",
    )

    others: Rare[tuple[Claim, ...]] = Rare(())
    rounds_after_hold: Rare[int] = Rare(0)
    awaits: Rare[str] = Rare("")
    leaves_at: Rare[float] = Rare(math.inf)
    bye_until: Rare[float] = Rare(_NEVER)
    contest: Rare[Contest | None] = Rare(None)
    contested_at: Rare[float] = Rare(_NEVER)
    deferred_at: Rare[float] = Rare(math.inf)
    doubt: Rare[Doubt | None] = Rare(None)
    next_move: Rare[Claim | None] = Rare(None)
    move_at: Rare[float] = Rare(math.inf)
    restarted_at: Rare[float] = Rare(_NEVER)
    # The home, if it is not the host of the current claim.
    _other_home: Rare[str] = Rare("")
    # Seconds for which each host was the host of the current LOCATION, until the latest move.
    _held: Rare[dict[str, float] | None] = Rare(None)
    # No pause precedes the first move.
    _move_pause: Rare[float] = Rare(0.0)

    def __init__(self, claim: Claim, now: float) -> None:
        self.rare: dict[str, Any] | None = None
        self.claim = claim
        self.published: Standing | None = None
        self.creator = claim.sender
        self.rank: int | None = None
        self.appeared_at = now
        self.repeat_at: float | None = None
        self.asked_at = _NEVER
        self.moved_at = now
        self.scheduled_at = math.inf

    @property
    def live(self) -> bool:
        """Whether the service has been published as live."""
        return self.published is not None

    @property
    def removed(self) -> bool:
        """Whether it is no longer in the table."""
        return self.rank is None

    @property
    def home(self) -> str:
        """Host of the current LOCATION for the longest time in all: see the module."""
        return self._other_home or self.claim.host

    @home.setter
    def home(self, host: str) -> None:
        self._other_home = "" if host == self.claim.host else host

    @property
    def due(self) -> float:
        """Time at which the next decision is due."""
        claim = self.claim
        due = min(claim.expires_at, claim.search_at if self.repeat_at is None else self.repeat_at)
        return min(due, self.decision_due)

    @property
    def decision_due(self) -> float:
        """Time at which the next decision is due, apart from the end of the current claim and the search before it."""
        if self.rare is None:
            return math.inf
        # A contest decides about a move that waits for the budget.
        due = self.move_at if self.contest is None else self.contest.ends_at
        if self.deferred_at < math.inf and self.contest is None and self.leaves_at == math.inf:
            due = min(due, self.contested_at + _CONTEST_PAUSE)
        if self.doubt is not None:
            due = min(due, self.doubt.due)
        return min(due, self.leaves_at)

    def search_is_due(self, now: float) -> bool:
        """Return whether the device has to be searched for, because it was not received in time."""
        if self.repeat_at is not None:
            return self.repeat_at <= now
        return min(self.claim.search_at, self.claim.expires_at) <= now

    def begin_search(self, now: float) -> bool:
        """
        Record that the device is searched for. It will be repeated if the device has replied to searches before: the
        datagrams of a search may be lost.

        :return: Whether it is a repetition.
        """
        is_repetition, claim = self.repeat_at is not None, self.claim
        claim.latest = None
        if not is_repetition:
            self.asked_at = now
            self.rounds_after_hold = 0
        self.repeat_at = math.inf
        if claim.answers:
            repeat_at = now + max(ROUND, _REPEAT_AFTER * claim.advertisement.max_age)
            if repeat_at + _REPLY_TIME <= claim.expires_at:
                self.repeat_at = repeat_at
        return is_repetition

    def claims(self, now: float) -> Iterator[Claim]:
        """Yield the current claim and the other valid ones."""
        yield self.claim
        for claim in self.others:
            if claim.expires_at > now:
                yield claim

    def claim_at(self, location: str) -> Claim | None:
        """Return the other claim for a LOCATION."""
        for claim in self.others:
            if claim.advertisement.location == location:
                return claim
        return None

    @property
    def has_all_claims(self) -> bool:
        """Whether another claim can only be added in place of one of the others."""
        return len(self.others) >= MAX_OTHER_CLAIMS

    def add_other(self, claim: Claim) -> bool:
        """
        Add another claim. If there are too many, one of a LOCATION's own host or of the home replaces the least worthy
        one, and any other replaces one that is superseded.

        :return: Whether it was added.
        """
        if self.has_all_claims:
            lowest = self._least_worthy(self.others)
            if not (claim.is_direct or claim.host == self.home or lowest.superseded):
                return False
            self.others = tuple(other for other in self.others if other is not lowest)
        self.others += (claim,)
        return True

    def can_give_up_claim(self) -> bool:
        """Return whether another claim can be removed: nothing is being decided, and not all belong to the home."""
        return self.contest is None and self.next_move is None and any(each.host != self.home for each in self.others)

    def give_up_claim(self) -> None:
        """Remove the least worthy other claim."""
        lowest = self._least_worthy(self.others)
        self.others = tuple(other for other in self.others if other is not lowest)

    def _least_worthy(self, claims: Sequence[Claim]) -> Claim:
        """
        Return the other claim that gives way first.

        The most worthy claim of the home, and a move that waits for the budget, never give way. Of the others, the
        superseded ones give way first, then the indirect ones, then those that did not reply to the latest search, and
        of equal ones the one that was received longest ago.
        """
        kept = [max((claim for claim in claims if claim.host == self.home), key=self._worth, default=None)]
        kept.append(self.next_move)
        removable = [claim for claim in claims if claim.superseded or claim not in kept]
        return min(removable or claims, key=self._worth)

    def _worth(self, claim: Claim) -> tuple[bool, bool, bool, float]:
        was_asked = claim.received_at < self.asked_at or claim.previous_at > -math.inf
        is_silent = was_asked and claim.replied_at < self.asked_at
        return not claim.superseded, claim.is_direct, not is_silent, claim.received_at

    def drop_expired(self, now: float) -> None:
        """Remove the other claims that have expired."""
        if self.others:
            self.others = tuple(claim for claim in self.others if claim.expires_at > now)

    def set_current(self, claim: Claim, now: float) -> None:
        """Make another claim the current one, and cancel pending decisions. The present one joins the other claims."""
        before = self.claim
        moved_lately = self._move_pause and now - self.moved_at <= _MOVE_MEMORY
        self._move_pause = _LONG_MOVE_PAUSE if moved_lately else _MOVE_PAUSE
        held = self._held = self._held or {}
        held[before.host] = held.get(before.host, 0.0) + now - self.moved_at
        self.moved_at = now
        home = self.home = _home(held, self.home)
        if len(held) > MAX_OTHER_CLAIMS:
            del held[min((host for host in held if host != home), key=held.__getitem__)]
        self.others = tuple(other for other in self.others if other is not claim)
        if before is not claim and before.expires_at > now:
            if self.has_all_claims:
                self.give_up_claim()
            self.others += (before,)
        for other in self.others:
            # The sender has moved the service, or another host has forged its address: then the next announcement of
            # the other LOCATION is a reason for a contest. A device may also have two LOCATIONs, and announce both
            # often.
            if other.host == claim.host and other.sender == claim.sender and not claim.is_established_before(other):
                other.superseded = True
        before.latest = None
        if self.doubt is not None:
            self.doubt.end(now)
        self.claim, self.home = claim, home
        self.repeat_at = None
        self.leaves_at = self.move_at = math.inf
        self.next_move = None
        self.contest = None

    def may_move_at(self) -> float:
        """Return the time from which the budget for moves permits the next one."""
        return self.moved_at + self._move_pause

    def cancel_move(self) -> None:
        """Cancel a move to another host than the home that waits for the budget, unless the holder announced it."""
        if (
            self.next_move is not None
            and self.home != self.next_move.host
            and self.next_move.sender != self.claim.sender
        ):
            self._cancel_move()

    def cancel_outdated_move(self) -> None:
        """
        Cancel a move that waits for the budget, because the host of the current LOCATION is still there.

        A holder that is not the home cancels only a move that its own address announced: otherwise a forger could keep
        the service of another device.
        """
        move = self.next_move
        if move is not None and (
            self.claim.host == self.home or (move.sender == self.claim.sender and move.host != self.home)
        ):
            self._cancel_move()

    def _cancel_move(self) -> None:
        self.next_move, self.move_at = None, math.inf

    def may_contest(self, now: float) -> bool:
        """Return whether a contest may begin: none is in progress, and the latest one began some time ago."""
        # The same sum as in `due`: a difference can be rounded to less than the pause.
        return self.contest is None and now >= self.contested_at + _CONTEST_PAUSE

    def begin_contest(self, now: float) -> None:
        """Begin a contest. Messages since the first one that was received in the pause count."""
        self.contest = Contest(_ROUNDS, now)
        self.contest.began_at = min(now, self.deferred_at)
        self.contested_at = now
        self.deferred_at = math.inf
        if self.doubt is not None:
            self.doubt.end(now)

    def go_live(self, now: float, home: Home | None = None) -> None:
        """
        Begin to measure the time of each host, for the home, because the service is live now.

        :param home: Home of the service before it left, if it is known.
        """
        if self.rare is not None:
            self.home = self.claim.host
            self._held = None
        self.moved_at = now
        if home is not None:
            self.home = home.host
            self._held = {home.host: home.held}

    def pass_home(self) -> None:
        """Make the host of the current claim the home: it is another address of the device at the present one."""
        self._held = {self.claim.host: max((self._held or {}).values(), default=0.0)}
        self.home = self.claim.host

    def holding_of_home(self, now: float) -> tuple[str, float]:
        """Return the home, and for how many seconds it has held the service until now."""
        held = dict(self._held or {})
        held[self.claim.host] = held.get(self.claim.host, 0.0) + now - self.moved_at
        home = _home(held, self.home)
        return home, held.get(home, 0.0)

    def hosts(self, now: float) -> tuple[str, ...]:
        """Return the hosts of all valid claims, each once, with their ports for searches."""
        return tuple(dict.fromkeys(claim.searched_host for claim in self.claims(now)))


def _home(held: Mapping[str, float], home: str) -> str:
    """
    Return the host that has held the service longest.

    :param held: Seconds by host.
    :param home: The present home. Another host takes its place only if it has held the service clearly longer: of two
        addresses of one device, each would be the home in turn otherwise, and the service would move to and fro.
    """
    longest = max(held, key=held.__getitem__)
    return longest if held[longest] > held.get(home, 0.0) * (1 + _HOME_LEAD) else home
