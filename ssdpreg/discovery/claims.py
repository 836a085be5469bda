"""
Claims of senders about the LOCATION of one service, and the contest between them. Pure.

- *Claim*: the statement "service S is at LOCATION L". One sender owns it. A service has one *current* claim, and may
  have a few others. The owner of the current claim is the *holder* of the service.
- *Standing*: the degree to which the way of reception supports a claim: see :mod:`ssdpreg.discovery.standing`.
- *Home*: the host that has been the host of the current LOCATION for the longest time in all. It is known for a day
  after the service has left: see :mod:`ssdpreg.discovery.homes`.
- *Superseded*: a claim from which its own owner has moved the service away.
- *Neighbour address*: the link-local IPv6 address from which a device announces a LOCATION with its global address,
  as IPv6 devices do. Nothing shows that both addresses are of one device, except that the host of the LOCATION replies
  to searches.
- *Contest*: the time in which the claims about one service are compared. It ends with a decision for one of them.
- *Round*: a part of a contest: one search for the service, and the seconds in which replies count. A contest has two,
  because UDP may lose the datagrams of one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.homes import Home
from ssdpreg.discovery.hosts import is_link_local_ipv6
from ssdpreg.discovery.standing import Standing, standing_of
from ssdpreg.ssdp.reception import Reception
from ssdpreg.ssdp.search_address import search_address

#: Part of max-age after which a silent device is searched for, and the part until the search is repeated.
_SEARCH_AFTER = 0.8
_REPEAT_AFTER = 0.06
#: Largest number of claims besides the current one. No device with more addresses is known.
MAX_OTHER_CLAIMS = 4
#: Number of announcements after which a claim counts as long established.
_ENOUGH_ANNOUNCEMENTS = 10
#: Seconds within which a device sends the copies of one announcement.
_COPIES = 10.0
#: Seconds that an indirect claim lives at most: its sender may have nothing to do with the service.
_MAX_INDIRECT_LIFETIME = 1800.0

#: Seconds between two searches that prove a claim which is announced from a neighbour address, and the longest time
#: between two proofs. The pause is doubled after each search without a reply, up to the longest one.
_PROOF_PAUSE = 3600.0
_PROOF_LIFETIME = 3 * _PROOF_PAUSE
_SHORTEST_PROOF_PAUSE = 60.0
_LONGEST_PROOF_PAUSE = 86400.0
#: Largest number of interfaces that are kept for a claim, besides that of the latest reception.
_MAX_OTHER_INTERFACES = 4
#: Largest number of neighbour addresses of a claim.
_MAX_NEIGHBOURS = 2

#: Seconds between two moves of a service: after its first move, and while it goes on moving.
_MOVE_PAUSE = 10.0
_LONG_MOVE_PAUSE = 60.0
#: Seconds without a move after which the next pause is short again.
_MOVE_MEMORY = 600.0

#: Seconds after its adoption in which a service has the time to reply to a search.
_ADOPTION = 60.0

#: Seconds of a search round, and in which a device replies to a unicast search.
ROUND = 3.0
_REPLY_TIME = 1.0
#: Longest time, in seconds, that a round waits for its search, because searches have a budget.
_SEARCH_WAIT = 60.0
#: Search rounds of a contest.
_ROUNDS = 2
#: Seconds between the beginnings of two contests about one service.
_CONTEST_PAUSE = 10.0


class Claim:
    """
    Claim that a service is at a LOCATION.

    :ivar advertisement: Advertisement with the facts of the device. They are replaced when the device restarts.
    :ivar sender: Address of the owner. Only the owner and the LOCATION's host can prolong, move or end the claim.
    :ivar standing: Highest standing of its receptions.
    :ivar interface: Interface of the latest reception.
    :ivar other_interfaces: Interfaces of its earlier receptions, the latest ones if there are many.
    :ivar received_at: Time of the latest reception from the owner.
    :ivar previous_at: Time of the reception before that. Copies of one announcement count as one reception.
    :ivar search_at: Time at which the device is searched for, unless the claim is received again before.
    :ivar expires_at: Time of expiry.
    :ivar answers: Whether the LOCATION's host replies to searches: it replied to one, and to the latest of a contest.
    :ivar replied_at: Time of its latest reply.
    :ivar announcements: Number of receptions from the LOCATION's host, up to a limit. Copies count as one.
    :ivar is_adopted: Whether an earlier run registered it, and it was not received since a minute later.
    :ivar neighbours: Neighbour addresses that announced it: see the module. They can prolong and end it.
    :ivar boot_id: BOOTID of its latest announcement.
    :ivar superseded: Whether its owner moved the service to another LOCATION. The claim stays until it expires. If
        it is received again, the device has two addresses.
    """

    __slots__ = (
        "_adopted_at",
        "_proof_at",
        "_proof_pause",
        "_proved_at",
        "advertisement",
        "announcements",
        "answers",
        "boot_id",
        "expires_at",
        "interface",
        "is_adopted",
        "neighbours",
        "other_interfaces",
        "previous_at",
        "received_at",
        "replied_at",
        "search_at",
        "sender",
        "standing",
        "superseded",
    )

    def __init__(self, advertisement: Advertisement, reception: Reception, now: float) -> None:
        self.advertisement = advertisement
        self.sender = reception.sender
        self.standing = Standing.INDIRECT
        self.answers = False
        self.superseded = False
        self.is_adopted = False
        self.neighbours: tuple[str, ...] = ()
        self.interface = ""
        self.other_interfaces: tuple[str, ...] = ()
        self.boot_id = advertisement.boot_id
        self._proved_at = self._proof_at = -math.inf
        self._proof_pause = _SHORTEST_PROOF_PAUSE
        self._adopted_at = now
        self.announcements = 0
        self.replied_at = -math.inf
        self.previous_at = self.received_at = -math.inf
        self._receive(advertisement, standing_of(advertisement, reception), reception, now)

    @classmethod
    def adopted(cls, advertisement: Advertisement, standing: Standing, lifetime: float, now: float) -> Claim:
        """
        Return the claim of a service that an earlier run registered. The LOCATION's host owns it.

        :param lifetime: Seconds until it expires.
        """
        claim = cls(advertisement, Reception(advertisement.endpoint.host), now)
        claim.standing = standing
        claim.is_adopted = True
        claim.announcements = _ENOUGH_ANNOUNCEMENTS
        claim.expires_at = now + lifetime
        return claim

    @property
    def host(self) -> str:
        """Host of the LOCATION."""
        return self.advertisement.endpoint.host

    @property
    def searched_host(self) -> str:
        """The host, and its port for searches, as :meth:`ssdpreg.ssdp.network.Network.search_hosts` takes them."""
        port = self.advertisement.search_port
        # Only the host itself can name the port.
        return self.host if port is None or self.standing is Standing.INDIRECT else search_address(self.host, port)

    @property
    def is_direct(self) -> bool:
        """Whether the LOCATION's host owns the claim, and was received from its own address."""
        return self.standing is not Standing.INDIRECT and self.sender == self.host

    def renew(self, advertisement: Advertisement, reception: Reception, now: float) -> bool:
        """
        Prolong the claim, if the sender owns it, is the LOCATION's host, or announces it from a neighbour address.

        :return: Whether it was prolonged.
        """
        standing = standing_of(advertisement, reception)
        if reception.sender != self.sender:
            if standing is Standing.INDIRECT and self._is_neighbour(reception):
                self._renew_by_neighbour(advertisement, reception, now)
                return True
            # The owner of an indirect claim may have a new address. Then no announcement comes from the old one.
            passes_on = self.standing is Standing.INDIRECT and self.silence(now) > advertisement.max_age / 2
            if standing is Standing.INDIRECT and not passes_on:
                return False
            if standing is not Standing.INDIRECT and is_link_local_ipv6(self.sender):
                self._add_neighbour(self.sender)
            self.sender = reception.sender
        self.superseded = False
        self._receive(advertisement, standing, reception, now)
        return True

    def repeat(self, now: float, *, reply: bool) -> None:
        """
        Prolong the claim because the message that renewed it was received again unchanged.

        :param reply: Whether it is a reply to a search.
        """
        passed = now - self.received_at
        self.search_at += passed
        self.expires_at += passed
        direct = self.standing is not Standing.INDIRECT
        self._count_reception(direct, now)
        if reply and direct:
            self.replied_at = now

    def owns(self, sender: str, interface: str = "") -> bool:
        """
        Return whether a byebye of a sender ends the claim: of its owner, or of a neighbour address or the LOCATION's
        host, if the host replies to searches. Then its silence shows that the byebye is not forged.

        :param interface: Interface that received the byebye: hosts of two networks can have the same private address.
            Empty if it is unknown.
        """
        if interface and self.interface and interface not in (self.interface, *self.other_interfaces):
            return False
        return sender == self.sender or (
            self.answers and (sender in self.neighbours or (sender == self.host and is_link_local_ipv6(self.sender)))
        )

    def take_proof(self, reception: Reception, now: float) -> bool:
        """
        Return whether the LOCATION's host has to be searched for, because the claim was announced by another address of
        the link. A reply raises or confirms the standing of the claim.
        """
        if reception.sender == self.host or not self._is_link_local_announcement(reception) or now < self._proof_at:
            return False
        self._proof_at = now + self._proof_pause
        self._proof_pause = min(2 * self._proof_pause, _LONGEST_PROOF_PAUSE)
        return True

    def _is_link_local_announcement(self, reception: Reception) -> bool:
        """Return whether a link-local IPv6 address announced a host with a global one."""
        return (
            is_link_local_ipv6(reception.sender)
            and not reception.is_reply
            and ":" in self.host
            and not is_link_local_ipv6(self.host)
        )

    def _is_neighbour(self, reception: Reception) -> bool:
        """Return whether the sender may be a neighbour address of this claim, which a reply has proved."""
        return (
            self.standing is not Standing.INDIRECT
            and self._is_link_local_announcement(reception)
            and reception.interface == self.interface
        )

    def _add_neighbour(self, sender: str) -> None:
        if sender not in self.neighbours:
            self.neighbours = (*self.neighbours[1 - _MAX_NEIGHBOURS :], sender)

    def _renew_by_neighbour(self, advertisement: Advertisement, reception: Reception, now: float) -> None:
        """Prolong the claim. Without a proof for a long time, it becomes an indirect claim of the sender."""
        if now - self._proved_at > _PROOF_LIFETIME:
            self.standing, self.answers, self.neighbours = Standing.INDIRECT, False, ()
            self.sender = reception.sender
        else:
            self._add_neighbour(reception.sender)
        self.superseded = False
        self._receive(advertisement, Standing.INDIRECT, reception, now)

    def _count_reception(self, direct: bool, now: float) -> None:
        if now - self.received_at > _COPIES:
            self.previous_at = self.received_at
            if direct and self.announcements < _ENOUGH_ANNOUNCEMENTS:
                self.announcements += 1
        self.received_at = now

    def miss_search(self) -> None:
        """Record that the LOCATION's host did not reply to the searches of a contest."""
        self.answers = False
        if self.standing is Standing.CONFIRMED:
            self.standing = Standing.DIRECT

    def silence(self, now: float) -> float:
        """Return the seconds since the latest reception."""
        return now - self.received_at

    @property
    def expected_silence(self) -> float:
        """Seconds within which a device repeats its announcement, even if it announces as rarely as permitted."""
        return min(self.advertisement.max_age, _MAX_INDIRECT_LIFETIME)

    def _receive(self, advertisement: Advertisement, standing: Standing, reception: Reception, now: float) -> None:
        if reception.interface != self.interface:
            if self.interface:
                others = tuple(each for each in self.other_interfaces if each != self.interface)
                self.other_interfaces = (*others[1 - _MAX_OTHER_INTERFACES :], self.interface)
            self.interface = reception.interface
        if standing is not Standing.INDIRECT and ":" in self.host:
            self._proved_at = now
            self._proof_at, self._proof_pause = now + _PROOF_PAUSE, _SHORTEST_PROOF_PAUSE
        # At first it is received by an announcement, and only later by a reply, which would show that it answers.
        if now - self._adopted_at > _ADOPTION:
            self.is_adopted = False
        self._count_reception(standing is not Standing.INDIRECT, now)
        self.search_at = now + _SEARCH_AFTER * advertisement.max_age
        if standing > self.standing:
            self.standing = standing
        if standing and reception.is_reply:
            self.answers = True
            self.replied_at = now
        lifetime = advertisement.lifetime
        self.expires_at = now + (lifetime if self.standing else min(lifetime, _MAX_INDIRECT_LIFETIME))


class Contest:
    """
    Contest between the claims about a service, and the evidence that its search rounds collect.

    A round begins when its search has been sent. A contest whose search is not sent in time ends without a decision.

    :ivar began_at: Time of the message that began it, which may have been received before a pause.
    :ivar rounds: Number of rounds after the current one.
    :ivar ends_at: End of the current round, or of the wait for its search.
    :ivar searching: Whether the search of the current round has been sent.
    :ivar searched: Whether any search has been sent.
    :ivar answered: LOCATIONs whose hosts replied to a search since the contest began.
    :ivar announced: LOCATIONs whose hosts announced them since the contest began.
    """

    __slots__ = ("announced", "answered", "began_at", "ends_at", "rounds", "searched", "searching")

    def __init__(self, rounds: int, now: float) -> None:
        self.rounds = rounds - 1
        self.began_at = now
        self.ends_at = now + _SEARCH_WAIT
        self.searching = self.searched = False
        self.answered: set[str] = set()
        self.announced: set[str] = set()

    def add_evidence(self, location: str, *, reply: bool) -> None:
        """
        Record that the host of a LOCATION is alive.

        :param reply: True if it replied to a search, False if it announced the service.
        """
        if not reply:
            self.announced.add(location)
        elif self.searched:
            # Before, it is a reply to a search for other services.
            self.answered.add(location)

    def begin_round(self, now: float) -> None:
        """Begin the current round: its search has been sent."""
        if not self.searching:
            self.searching = self.searched = True
            self.ends_at = now + ROUND

    def next_round(self, now: float) -> bool:
        """Request the next round. Return False if there is none."""
        if not self.rounds:
            return False
        self.rounds -= 1
        self.searching = False
        self.ends_at = now + _SEARCH_WAIT
        return True


def _lowest(claims: Sequence[Claim]) -> Claim:
    """Return the claim that gives way first: a superseded one, or else the most recent one of the lowest standing."""
    return min(reversed(claims), key=lambda claim: (not claim.superseded, claim.standing, claim.answers))


class TrackedService:
    """
    A service with its current claim, its other claims, and pending decisions.

    :ivar claim: Current claim: the service is registered at its LOCATION.
    :ivar others: Other claims, oldest first.
    :ivar live: Whether the service has been published as live.
    :ivar removed: Whether it is no longer in the table.
    :ivar published: Standing with which the current claim was published.
    :ivar creator: Sender of the first claim, whose quota the service counts against.
    :ivar appeared_at: Time of the first reception or of the adoption.
    :ivar home: Host of the current LOCATION for the longest time in all: see the module.
    :ivar searched: Whether the device has been searched for since the latest reception.
    :ivar repeat_at: Time at which that search is repeated, infinite if it is not.
    :ivar rounds_after_hold: Searches that are left before the expiry of a service that was held.
    :ivar asked_at: Time of the latest search that was requested for the service.
    :ivar awaits: Search target of that search until it is sent, empty afterwards.
    :ivar leaves_at: Time at which a received byebye takes effect, infinite without one.
    :ivar bye_until: Time until which that byebye waits for the search by which the device can void it.
    :ivar contest: Current contest, or None.
    :ivar contested_at: Beginning of the latest contest.
    :ivar deferred_at: Time of the first message since then that is a reason for another contest, infinite without one.
    :ivar next_move: Claim that becomes the current one at ``move_at``, when the budget for moves permits it.
    :ivar latest: Latest advertisement and reception of the current claim; None while a decision is pending. An equal
        announcement only prolongs the claim.
    :ivar restarted_at: Time at which the facts were replaced because of another BOOTID.
    :ivar scheduled_at: See :class:`ssdpreg.discovery.expiry.Scheduled`.
    """

    __slots__ = (
        "_held",
        "_held_since",
        "_move_pause",
        "appeared_at",
        "asked_at",
        "awaits",
        "bye_until",
        "claim",
        "contest",
        "contested_at",
        "creator",
        "deferred_at",
        "home",
        "latest",
        "leaves_at",
        "live",
        "move_at",
        "next_move",
        "others",
        "published",
        "removed",
        "repeat_at",
        "restarted_at",
        "rounds_after_hold",
        "scheduled_at",
        "searched",
    )

    def __init__(self, claim: Claim, now: float) -> None:
        self.claim = claim
        self.others: tuple[Claim, ...] = ()
        self.live = False
        self.removed = False
        self.published = Standing.INDIRECT
        self.creator = claim.sender
        self.appeared_at = now
        self.home = claim.host
        self.searched = False
        self.repeat_at = math.inf
        self.rounds_after_hold = 0
        self.latest: tuple[Advertisement, Reception] | None = None
        self.asked_at = -math.inf
        self.awaits = ""
        self.leaves_at = math.inf
        self.bye_until = -math.inf
        self.contest: Contest | None = None
        self.contested_at = -math.inf
        self.deferred_at = math.inf
        self.next_move: Claim | None = None
        self.move_at = math.inf
        self.scheduled_at = math.inf
        self.restarted_at = -math.inf
        # Seconds for which each host was the host of the current LOCATION, until the latest move.
        self._held: dict[str, float] = {}
        # Time of the latest move, or else of the first publication. No pause precedes the first move.
        self._held_since = now
        self._move_pause = 0.0

    @property
    def due(self) -> float:
        """Time at which the next decision is due."""
        claim = self.claim
        due = min(claim.expires_at, self.repeat_at if self.searched else claim.search_at)
        return min(due, self.decision_due)

    @property
    def decision_due(self) -> float:
        """Time at which the next decision is due, apart from the end of the current claim and the search before it."""
        # A contest decides about a move that waits for the budget.
        due = self.move_at if self.contest is None else self.contest.ends_at
        if self.deferred_at < math.inf and self.contest is None and self.leaves_at == math.inf:
            due = min(due, self.contested_at + _CONTEST_PAUSE)
        return min(due, self.leaves_at)

    def search_is_due(self, now: float) -> bool:
        """Return whether the device has to be searched for, because it was not received in time."""
        if self.searched:
            return self.repeat_at <= now
        return min(self.claim.search_at, self.claim.expires_at) <= now

    def begin_search(self, now: float) -> bool:
        """
        Record that the device is searched for. It will be repeated if the device has replied to searches before: the
        datagrams of a search may be lost.

        :return: Whether it is a repetition.
        """
        is_repetition, claim = self.searched, self.claim
        if not is_repetition:
            self.searched = True
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

    def add_other(self, claim: Claim) -> bool:
        """
        Add another claim. If there are too many, it replaces the most recent one of the lowest standing, if its own
        standing is higher, or if the owner of several claims has to give one to an owner of fewer.

        :return: Whether it was added.
        """
        if len(self.others) >= MAX_OTHER_CLAIMS:
            lowest = _lowest(self.others)
            if not lowest.superseded and (claim.standing, claim.answers) <= (lowest.standing, lowest.answers):
                owned = Counter(other.sender for other in self.others)
                owner, number = owned.most_common(1)[0]
                if number < owned[claim.sender] + 2 or claim.standing is Standing.INDIRECT:
                    return False
                lowest = _lowest([other for other in self.others if other.sender == owner])
            self.others = tuple(other for other in self.others if other is not lowest)
        self.others += (claim,)
        return True

    def drop_expired(self, now: float) -> None:
        """Remove the other claims that have expired."""
        if self.others:
            self.others = tuple(claim for claim in self.others if claim.expires_at > now)

    def set_current(self, claim: Claim, now: float) -> None:
        """Make another claim the current one, and cancel pending decisions. The present one joins the other claims."""
        before = self.claim
        moved_lately = self._move_pause and now - self._held_since <= _MOVE_MEMORY
        self._move_pause = _LONG_MOVE_PAUSE if moved_lately else _MOVE_PAUSE
        self._held[before.host] = self._held.get(before.host, 0.0) + now - self._held_since
        self._held_since = now
        self.home = max(self._held, key=self._held.__getitem__)
        if len(self._held) > MAX_OTHER_CLAIMS:
            del self._held[min((host for host in self._held if host != self.home), key=self._held.__getitem__)]
        others = tuple(other for other in self.others if other is not claim)
        if before is not claim and before.expires_at > now:
            others = (*others[-MAX_OTHER_CLAIMS + 1 :], before)
        self.others = others
        self.claim = claim
        self.searched = False
        self.latest = None
        self.leaves_at = self.move_at = math.inf
        self.next_move = None
        self.contest = None

    def may_move_at(self) -> float:
        """Return the time from which the budget for moves permits the next one."""
        return self._held_since + self._move_pause

    def cancel_move(self) -> None:
        """Cancel a move to another host than the home that waits for the budget, unless the holder announced it."""
        if (
            self.next_move is not None
            and self.home != self.next_move.host
            and self.next_move.sender != self.claim.sender
        ):
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

    def go_live(self, now: float, home: Home | None = None) -> None:
        """
        Record that the service is live, and begin to measure the time of each host, for the home.

        :param home: Home of the service before it left, if it is known.
        """
        self.live = True
        self.home = self.claim.host
        self._held.clear()
        self._held_since = now
        if home is not None:
            self.home = home.host
            self._held[home.host] = home.held

    def pass_home(self) -> None:
        """Make the host of the current claim the home: it is another address of the device at the present one."""
        self._held = {self.claim.host: max(self._held.values(), default=0.0)}
        self.home = self.claim.host

    def holding_of_home(self, now: float) -> tuple[str, float]:
        """Return the host that has held the service longest until now, and for how many seconds."""
        held = self._held.get(self.claim.host, 0.0) + now - self._held_since
        # The home before the latest move comes first among the others.
        return max(((self.claim.host, held), *self._held.items()), key=lambda item: item[1])

    def hosts(self, now: float) -> tuple[str, ...]:
        """Return the hosts of all valid claims, each once, with their ports for searches."""
        return tuple(dict.fromkeys(claim.searched_host for claim in self.claims(now)))

    def decide(self, now: float, trust: Standing) -> Claim:
        """
        Return the claim that wins the contest.

        The first of these that exists wins: the claim of the home, if the home replied or announced the service, or if
        its announcement began the contest and is the second since it lost the service; a claim whose host replied; the
        claim of the home, if its announcement began the contest; another LOCATION of the same host that the holder
        announced twice; a claim of a higher standing than the current one; the current claim.

        :param trust: Lowest standing of a claim that can win.
        """
        contest = self.contest
        assert contest is not None
        claims = [claim for claim in self.claims(now) if not claim.superseded and claim.standing >= trust]
        answered = [claim for claim in claims if claim.advertisement.location in contest.answered]
        announced = [claim for claim in claims if claim.advertisement.location in contest.announced]
        # A device that never replies to searches, and sends each announcement once, is not received during the rounds.
        returned = [
            claim
            for claim in claims
            if claim.sender == claim.host == self.home
            and claim.standing > Standing.INDIRECT
            and claim.received_at >= contest.began_at
        ]
        if contest.searched:
            for claim in claims:
                if claim not in answered:
                    claim.miss_search()
        insisting = [
            claim for claim in returned if claim.previous_at >= self._held_since or claim.received_at > contest.began_at
        ]
        homes = [claim for claim in (*answered, *announced) if claim.host == self.home]
        for alive in (homes or insisting, answered, returned):
            if alive:
                return self.claim if self.claim in alive else max(alive, key=lambda claim: claim.received_at)
        # Since the holder announced the current LOCATION, it has announced another one of the same host twice.
        repeated = [
            claim
            for claim in claims
            if claim.sender == self.claim.sender
            and claim.host == self.claim.host
            and claim.previous_at > self.claim.received_at
        ]
        if repeated:
            return max(repeated, key=lambda claim: claim.received_at)
        best = max(claims, key=lambda claim: claim.standing, default=self.claim)
        if best.standing > self.claim.standing:
            return best
        if self.claim.received_at >= contest.began_at:
            return self.claim
        # A device that never replies to searches cannot win by a reply. It wins if it announces itself, and has done so
        # more often than the current claim, or if the current claim was not announced in time.
        late = self.claim.silence(now) >= self.claim.expected_silence
        announcing = [
            claim
            for claim in claims
            if claim.standing >= max(self.claim.standing, Standing.DIRECT)
            and claim.received_at >= contest.began_at
            and (late or claim.announcements > self.claim.announcements)
        ]
        return max(announcing, key=lambda claim: claim.received_at, default=self.claim)
