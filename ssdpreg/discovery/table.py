"""
Table of live services. Pure: time is an argument, in seconds of any steady clock.

A service is one type that a device offers. Normally one host claims one LOCATION for it. A second claim can be a second
address of the same device, a move that was not announced, or a forgery. Such a service is contested, and search rounds
decide: see :mod:`ssdpreg.discovery.claims`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.capacity import Capacity
from ssdpreg.discovery.claims import ROUND, Claim, TrackedService
from ssdpreg.discovery.events import (
    Appeared,
    Changed,
    ClaimState,
    Event,
    Left,
    LiveService,
    Reason,
    SearchNeeded,
    SearchUrgency,
    TrackedState,
)
from ssdpreg.discovery.expiry import Schedule
from ssdpreg.discovery.homes import Homes
from ssdpreg.discovery.rates import SenderBuckets
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.standing import Standing, standing_of
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Reception

#: A device that starts sends byebye, then alive: UPnP Device Architecture 2.0, section 1.2.2. The service must survive
#: that, so a byebye takes effect after this many seconds.
_BYE_DELAY = 2.0
#: Longest time, in seconds, from a byebye until it takes effect, if the search by which the device can void it has to
#: wait for the budget.
_LATEST_BYE = 5.0
#: Shortest time, in seconds, in which an adopted service may be received for the first time.
_PROBATION = 60.0
#: Number of services, and part of all services, that may expire at once without a search.
_FEW = 5
_MOST = 0.5
#: Seconds between two such searches.
_MASS_CHECK_PAUSE = 60.0
#: Searches in a second, and burst, for new services of a sender that has reached its number of services.
_SENDER_SEARCH_RATE = 0.1
_SENDER_SEARCH_BURST = 2.0
#: Longest time, in seconds, until a service whose expiry is held is examined again.
_HELD_PAUSE = 30.0
#: Searches for a device that answers searches, between the end of a hold and the expiry of its service.
_ROUNDS_AFTER_HOLD = 3


class AdvertisementTable:
    """
    Table of live services.

    Every method that takes ``now`` returns the events that result from its call.

    :param limit: Number of services in all, so that the network cannot fill the memory.
    :param limit_per_sender: Number of services that one sender may create.
    :param trust: Lowest standing of a claim that makes a service live.
    :ivar admit: Called as ``admit(sender, now)`` before a service is created. If it returns False, the service is
        rejected.
    :ivar moves: Number of moves of services.
    :ivar contests: Number of contests about services.
    """

    def __init__(self, limit: int = 100_000, limit_per_sender: int = 4096, trust: Standing = Standing.INDIRECT) -> None:
        self._trust = trust
        self._devices: dict[str, dict[str, TrackedService]] = {}
        self._capacity = Capacity(limit, limit_per_sender)
        self._schedule: Schedule[TrackedService] = Schedule()
        self._live = 0
        # Until this time nothing expires, by the interface of a claim's latest reception; "" for all interfaces.
        self._holds: dict[str, float] = {}
        self._next_mass_check = -math.inf
        self._homes = Homes()
        # Searches of senders that have reached their number of services.
        self._sender_searches = SenderBuckets(_SENDER_SEARCH_RATE, _SENDER_SEARCH_BURST)
        # Services that wait for a search, by search target.
        self._unsent: dict[str, dict[TrackedService, None]] = {}
        self.admit: Callable[[str, float], bool] = lambda sender, now: True
        self.moves = 0
        self.contests = 0

    def __len__(self) -> int:
        return self._live

    def __iter__(self) -> Iterator[LiveService]:
        for service in self._services():
            if service.live:
                yield _snapshot(service)

    def get(self, device_id: str, urn: str) -> LiveService | None:
        """Return the live service of a device and URN, or None."""
        service = self._devices.get(device_id.casefold(), {}).get(urn)
        return None if service is None or not service.live else _snapshot(service)

    def states(self, device_id: str, urn: str | None) -> list[TrackedState]:
        """
        Return snapshots of the services of a device, for diagnosis.

        :param urn: URN of one service, or None for all services of the device.
        """
        services = self._devices.get(device_id.casefold(), {})
        chosen = services.values() if urn is None else filter(None, [services.get(urn)])
        return [_state(service) for service in chosen]

    @property
    def tracked(self) -> int:
        """Number of all services, including those whose claim has too low a standing to be live."""
        return len(self._capacity)

    @property
    def evictions(self) -> int:
        """Number of services that were evicted when the table was full."""
        return self._capacity.evictions

    @property
    def next_due(self) -> float:
        """Earliest time at which :meth:`expire` has something to do."""
        return self._schedule.next_due

    def observe(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """
        Process an advertisement.

        :raise RejectedError: If a limit is reached, or if the sender may not prolong the claim.
        """
        service = self._find(advertisement)
        if service is None:
            return self._create(advertisement, reception, now)
        # Nearly all announcements repeat the one before: the caches of meanings and receptions return the same objects.
        # Then nothing changes but the times.
        latest = service.latest
        if latest is not None and latest[0] is advertisement and latest[1] is reception:
            service.searched = False
            service.claim.repeat(now, reply=reception.is_reply)
            if service.claim.search_at < service.scheduled_at:
                # Its expiry was held, so it was to be examined later.
                self._schedule.schedule(service, service.claim.search_at)
            return []
        if service.claim.advertisement.location == advertisement.location:
            events = self._renew(service, advertisement, reception, now)
        else:
            events = self._process_other(service, advertisement, reception, now)
        self._schedule.schedule(service, service.due)
        return events

    def find(self, advertisement: Advertisement) -> TrackedService | None:
        """Return the service that an advertisement is about, or None, for :meth:`repeat`."""
        return self._find(advertisement)

    @staticmethod
    def repeat(service: TrackedService, advertisement: Advertisement, reception: Reception, now: float) -> bool:
        """
        Process an advertisement that repeats the latest one of a service, without looking up the service.

        :return: Whether it was processed. If not, it has to be observed.
        """
        latest, claim = service.latest, service.claim
        if latest is None or latest[0] is not advertisement or latest[1] is not reception:
            return False
        if claim.search_at < service.scheduled_at:
            # Its expiry was held, so it is to be examined later.
            return False
        service.searched = False
        claim.repeat(now, reply=reception.is_reply)
        return True

    def search_for_rejected(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """
        Search the host of a service that :meth:`observe` rejected because of the number of services of its sender.

        If the host replies, the service may replace one whose host has never replied. The searches have a budget.
        """
        if (
            self._find(advertisement) is not None
            or standing_of(advertisement, reception) is Standing.INDIRECT
            or reception.is_reply
            or not self._capacity.is_full_for(reception.sender)
            or not self._sender_searches.take(reception.sender, now)
        ):
            return []
        host = advertisement.endpoint.host
        return [SearchNeeded(advertisement, ROUND, (host,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False)]

    def bye(self, device_id: str, urn: str | None, sender: str, now: float) -> list[Event]:
        """
        Process the departure of a service, or of all services of a device.

        :param urn: As in :class:`~ssdpreg.discovery.interpret.Departure`.
        """
        services = self._devices.get(device_id.casefold(), {})
        events: list[Event] = []
        for service in services.values() if urn is None else filter(None, [services.get(urn)]):
            remaining = tuple(claim for claim in service.others if claim.sender != sender)
            service.latest = None
            if service.claim.sender == sender:
                if service.leaves_at == math.inf:
                    # The byebye may be forged: a reply of the device within the delay voids it.
                    events.append(self._search(service, _BYE_DELAY, now, SearchUrgency.BYEBYE))
                    service.bye_until = now + _LATEST_BYE
                service.leaves_at = min(service.leaves_at, now + _BYE_DELAY)
            elif len(remaining) == len(service.others) and service.may_contest(now):
                # The sender has no claim on the service.
                events += self._begin_contest(service, now, SearchUrgency.UNFOUNDED)
            service.others = remaining
            self._schedule.schedule(service, service.due)
        return events

    def adopt(
        self,
        advertisement: Advertisement,
        now: float,
        remaining: float | None = None,
        standing: Standing = Standing.INDIRECT,
    ) -> list[Event]:
        """
        Add a service that was live before this table was created. A service that is in the table is not changed.

        :param remaining: Seconds until it expires. None means that they are not known: the service then has the full
            lifetime of its advertisement, and at least a minute, to be received.
        :param standing: Standing of its claim at that time, as far as it is known. It was live, so it had at least the
            lowest standing that makes a service live.
        """
        if self._find(advertisement) is not None:
            return []
        if remaining is None:
            remaining = max(advertisement.lifetime, _PROBATION)
        return self._add(Claim.adopted(advertisement, max(standing, self._trust), remaining, now), now)

    def reassign(self, match: Callable[[str], SearchTerm | None], now: float) -> Iterator[list[Event]]:
        """
        Apply a change of the search terms, one service at a time: a large table takes seconds.

        :param match: Returns the search term that now matches an announced type.
        :return: Events of each affected service.
        """
        for service in list(self._services()):
            if service.removed:
                continue
            advertisement = service.claim.advertisement
            term = match(advertisement.nt)
            if term == advertisement.term:
                continue
            events = self._remove(service, "unconfigured", now)
            if term is not None:
                service.claim.advertisement = replace(advertisement, term=term, urn=term.identity(advertisement.nt))
                # Another version of the same type may have been added by this term already.
                if self._find(service.claim.advertisement) is None:
                    events += self._add(service.claim, now)
            yield events

    def hold(self, until: float, interface: str = "") -> None:
        """
        Prevent services from expiring before a time. Called if the daemon could not receive or process datagrams.

        :param until: Time of the table's clock, infinite for an interface that is down.
        :param interface: Interface whose services are concerned; empty for all.
        """
        self._holds[interface] = until

    def expire(self, now: float, limit: int = 1000) -> list[Event]:
        """
        Take decisions that are due.

        :param limit: Number of services to decide about at most. Further ones stay due.
        """
        due = list(islice(self._schedule.take_due(now), limit))
        events = self._check_mass_expiry(due, now, more_are_due=len(due) == limit)
        for service in due:
            events += self._decide(service, now)
        return events

    # Advertisements.

    def _create(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        if not self.admit(reception.sender, now):
            raise RejectedError("too many new services at a time")
        claim = Claim(advertisement, reception, now)
        replaces = self._capacity.is_full_for(reception.sender)
        evicted = self._capacity.admit(reception.sender, claim.standing, claim.answers, now)
        events = [] if evicted is None else self._remove(evicted, "evicted", now)
        events += self._add(claim, now)
        service = self._find(advertisement)
        if replaces and service is not None and not claim.answers and not service.awaits:
            # A service whose host replies is never evicted.
            events.append(self._search(service, ROUND, now, SearchUrgency.UNFOUNDED))
        return events

    def _renew(
        self, service: TrackedService, advertisement: Advertisement, reception: Reception, now: float
    ) -> list[Event]:
        """Process an advertisement of the current LOCATION."""
        claim = service.claim
        before = claim.standing, claim.answers, claim.is_adopted
        if not claim.renew(advertisement, reception, now):
            return []
        service.searched = False
        if (claim.standing, claim.answers, claim.is_adopted) != before:
            self._capacity.update(service)
        if standing_of(advertisement, reception):
            if service.contest is not None:
                service.contest.add_evidence(advertisement.location, reply=reception.is_reply)
            if claim.host == service.home:
                # The home is alive: nothing remains to decide, and a decision that waits for the budget is outdated.
                self._end_contest(service)
                service.cancel_move()
        changed = False
        if service.leaves_at < math.inf and (not reception.is_reply or standing_of(advertisement, reception)):
            # The byebye was forged, or the device restarted, possibly with other software.
            service.leaves_at = math.inf
            self._forget_needless_search(service)
            changed = claim.advertisement != advertisement
            claim.advertisement = advertisement
        if service.live and service.contest is None and not claim.superseded:
            service.latest = advertisement, reception
        if not service.live and claim.standing < self._trust and service.may_contest(now):
            service.contested_at = now
            return [self._search(service, ROUND, now)]
        return self._publish(service, now, changed=changed)

    def _process_other(
        self, service: TrackedService, advertisement: Advertisement, reception: Reception, now: float
    ) -> list[Event]:
        """Process an advertisement of another LOCATION than the current one."""
        current = service.claim
        service.drop_expired(now)
        claim = service.claim_at(advertisement.location)
        is_new, was_superseded = claim is None, claim is not None and claim.superseded
        if claim is None:
            claim = Claim(advertisement, reception, now)
            if service.next_move is not None and service.next_move.sender == claim.sender:
                # The new claim replaces the move that waits for the budget.
                service.next_move.superseded = True
            if not service.add_other(claim):
                raise RejectedError("too many LOCATIONs of one service")
        elif not claim.renew(advertisement, reception, now):
            return []
        if not service.live and claim.standing >= self._trust:
            return self._move(service, claim, now)
        moves_itself = is_new and reception.sender == current.sender and self._may_move_itself(current, claim)
        if service.next_move is not None and service.next_move.sender != reception.sender:
            # A contest has decided for another sender. The move waits for the budget.
            moves_itself = False
        if moves_itself and service.contest is None and claim.standing >= self._trust:
            current.superseded = True
            service.latest = None
            return self._move(service, claim, now)
        if service.contest is not None:
            if standing_of(advertisement, reception):
                service.contest.add_evidence(advertisement.location, reply=reception.is_reply)
                if claim.host == service.home != current.host and claim.standing >= self._trust:
                    # The home lost the service, and is alive: the service returns to it.
                    return self._move(service, claim, now)
            # A contest that waits for a less urgent search has a better reason now.
            return [self._search(service, ROUND, now)] if is_new and not service.contest.searching else []
        if is_new or was_superseded or self._is_doubtful(service, claim, now):
            if service.leaves_at == math.inf and service.may_contest(now):
                return self._begin_contest(service, now)
            if claim.host == service.home and claim.is_direct:
                # The home is alive: a decision for another host, which waits for the budget, is outdated.
                service.cancel_move()
            if not reception.is_reply:
                # The contest begins after the pause. A reply belongs to the search of the contest before.
                service.deferred_at = min(service.deferred_at, now)
        return []

    def _may_move_itself(self, current: Claim, claim: Claim) -> bool:
        """Return whether a sender may move its service without a contest: on its own host, or at the same standing."""
        return claim.standing > Standing.INDIRECT or current.standing is Standing.INDIRECT

    def _is_doubtful(self, service: TrackedService, claim: Claim, now: float) -> bool:
        """Return whether another claim, which is not new, is a reason to begin a contest."""
        current = service.claim
        if claim.host == service.home and claim.host != current.host:
            return True
        # A device with two LOCATIONs announces both. A forgery, and an address that the device left, are not repeated.
        if current.received_at < claim.previous_at:
            return True
        if claim.sender == current.sender:
            return False
        return (
            claim.standing > current.standing
            or current.received_at < service.contested_at
            or current.silence(now) > current.expected_silence / 2
        )

    # Contests and moves.

    def _begin_contest(
        self, service: TrackedService, now: float, urgency: SearchUrgency = SearchUrgency.CLAIM
    ) -> list[Event]:
        service.latest = None
        service.begin_contest(now)
        self.contests += 1
        return [self._search(service, ROUND, now, urgency)]

    def _end_contest(self, service: TrackedService) -> None:
        """End a contest, and the wait for its search."""
        service.contest = None
        self._forget_needless_search(service)

    def _move(self, service: TrackedService, claim: Claim, now: float) -> list[Event]:
        """Make a claim the current one, at once or when the budget for moves permits it."""
        self._end_contest(service)
        if claim.standing < self._trust:
            return []
        if now < service.may_move_at():
            service.next_move, service.move_at = claim, service.may_move_at()
            return []
        service.set_current(claim, now)
        self.moves += 1
        self._capacity.update(service)
        return self._publish(service, now, changed=True)

    def awaits(self, target: str) -> bool:
        """Return whether a service waits for a search that has not been sent."""
        return target in self._unsent

    def search_sent(self, target: str, now: float) -> None:
        """Process that a search has been sent: the decisions that waited for it take their time from now."""
        for service in self._unsent.pop(target, ()):
            service.awaits = ""
            if service.contest is not None:
                service.contest.begin_round(now)
            if service.leaves_at < math.inf:
                service.leaves_at = min(now + _BYE_DELAY, service.bye_until)
            self._schedule.schedule(service, service.due)

    def _search(
        self, service: TrackedService, within: float, now: float, urgency: SearchUrgency = SearchUrgency.CLAIM
    ) -> SearchNeeded:
        self._forget_search(service)
        service.asked_at = now
        service.awaits = service.claim.advertisement.search_target
        self._unsent.setdefault(service.awaits, {})[service] = None
        return SearchNeeded(service.claim.advertisement, within, service.hosts(now), urgency=urgency)

    def _forget_search(self, service: TrackedService) -> None:
        """Remove a service from those that wait for a search."""
        if service.awaits:
            waiting = self._unsent[service.awaits]
            del waiting[service]
            if not waiting:
                del self._unsent[service.awaits]
            service.awaits = ""

    def _forget_needless_search(self, service: TrackedService) -> None:
        """End the wait for a search, if no decision depends on it any more."""
        if service.live and service.contest is None and service.leaves_at == math.inf:
            self._forget_search(service)

    # Decisions that are due.

    def _decide(self, service: TrackedService, now: float) -> list[Event]:
        claim = service.claim
        events: list[Event] = []
        if service.leaves_at <= now < service.bye_until and service.awaits:
            service.leaves_at = min(now + _BYE_DELAY, service.bye_until)
        elif service.leaves_at <= now:
            return self._end_claim(service, "byebye", now)
        if claim.expires_at <= now and self._held_until(service) <= now:
            if not service.rounds_after_hold:
                return self._end_claim(service, "expired", now)
            service.rounds_after_hold -= 1
            self._schedule.schedule(service, now + ROUND)
            return [SearchNeeded(claim.advertisement, ROUND, (claim.host,), scheduled=True, repeated=True)]
        if service.move_at <= now and service.contest is None:
            following, service.next_move, service.move_at = service.next_move, None, math.inf
            # Its sender may have ended it meanwhile.
            if following in service.others and following.expires_at > now:
                events += self._move(service, following, now)
            else:
                claim.superseded = False
        elif service.contest is not None and service.contest.ends_at <= now:
            if not service.contest.searching:
                # Nothing was searched for: the current claim stays.
                self._end_contest(service)
            elif service.contest.next_round(now):
                urgency = SearchUrgency.CLAIM if service.others else SearchUrgency.UNFOUNDED
                events.append(self._search(service, ROUND, now, urgency))
            else:
                winner = service.decide(now, self._trust)
                service.contest = None
                if winner is not claim:
                    events += self._move(service, winner, now)
        elif service.deferred_at < math.inf and service.leaves_at == math.inf and service.may_contest(now):
            service.drop_expired(now)
            if any(other.received_at >= service.deferred_at for other in service.others):
                events += self._begin_contest(service, now)
            service.deferred_at = math.inf
        elif service.search_is_due(now):
            within = max(claim.expires_at - now, ROUND)
            repeated = service.begin_search(now)
            events.append(SearchNeeded(claim.advertisement, within, (claim.host,), scheduled=True, repeated=repeated))
        when = service.due
        if claim.expires_at <= now and service.claim is claim:
            when = min(self._held_until(service), now + _HELD_PAUSE, service.decision_due)
            # The search at the end of the hold may be lost.
            service.rounds_after_hold = _ROUNDS_AFTER_HOLD if claim.answers else 0
        self._schedule.schedule(service, when)
        return events

    def _end_claim(self, service: TrackedService, reason: Reason, now: float) -> list[Event]:
        """
        End the current claim.

        Another claim takes its place at once if its host replied to the search that the byebye or the silence caused,
        or announced the service after it, or if it waits only for the budget for moves. Otherwise the service leaves:
        an announcement that is received later creates it again.
        """
        valid = [
            claim
            for claim in service.others
            if not claim.superseded and claim.expires_at > now and claim.standing >= self._trust
        ]
        asked_at = max(service.asked_at, service.claim.received_at)
        # Since the byebye; or since the silence became long, or the contest had its reason.
        if reason == "byebye":
            since = service.bye_until - _LATEST_BYE
        else:
            since = min(service.claim.search_at, service.contest.began_at if service.contest else math.inf)
        candidates = [claim for claim in valid if claim.replied_at >= asked_at] or [
            claim for claim in valid if claim is service.next_move or (claim.is_direct and claim.received_at >= since)
        ]
        if not candidates:
            return self._remove(service, reason, now)
        latest = max(claim.received_at for claim in candidates)
        # The home may be an address that the device left long ago.
        home = [claim for claim in candidates if claim.host == service.home and claim.received_at >= latest - ROUND]
        best = max(home or candidates, key=lambda claim: claim.received_at)
        service.claim.expires_at = now
        service.set_current(best, now)
        self.moves += 1
        self._capacity.update(service)
        self._schedule.schedule(service, service.due)
        return self._publish(service, now, changed=True)

    def _held_until(self, service: TrackedService) -> float:
        if not service.claim.interface:
            # It was adopted, and was not received since.
            return max(self._holds.values(), default=-math.inf)
        return max(self._holds.get("", -math.inf), self._holds.get(service.claim.interface, -math.inf))

    def _check_mass_expiry(self, due: Sequence[TrackedService], now: float, *, more_are_due: bool) -> list[Event]:
        """
        Search before most services expire at once: the cause may be that this daemon does not receive.

        :param more_are_due: Whether further services may be due: then all services are examined.
        """
        if now < self._next_mass_check:
            return []
        examined = self._services() if more_are_due else due
        expiring = [
            service for service in examined if service.claim.expires_at <= now and self._held_until(service) <= now
        ]
        if len(expiring) <= _FEW or len(expiring) <= _MOST * len(self._capacity):
            return []
        self._next_mass_check = now + _MASS_CHECK_PAUSE
        self.hold(now + 2 * ROUND)
        by_target = {service.claim.advertisement.term.urn: service.claim.advertisement for service in expiring}
        return [SearchNeeded(advertisement, 2 * ROUND, scheduled=True) for advertisement in by_target.values()]

    # Changes of the table.

    def _add(self, claim: Claim, now: float) -> list[Event]:
        advertisement = claim.advertisement
        service = TrackedService(claim, now)
        self._devices.setdefault(advertisement.device_id.casefold(), {})[advertisement.urn] = service
        self._capacity.add(service)
        self._schedule.schedule(service, service.due)
        return self._publish(service, now) or [self._search(service, ROUND, now)]

    def _publish(self, service: TrackedService, now: float, *, changed: bool = False) -> list[Event]:
        """
        Return the event that reports the current claim, if there is something to report.

        :param changed: Whether the service has another LOCATION or other facts.
        """
        claim = service.claim
        if claim.standing < self._trust:
            return []
        before, service.published = service.published, claim.standing
        if not service.live:
            service.go_live(now, self._homes.recall(_key(claim.advertisement), now))
            self._live += 1
            return [Appeared(claim.advertisement, claim.standing)]
        # Health checks are configured for direct claims only.
        if changed or (before is Standing.INDIRECT and claim.standing is not Standing.INDIRECT):
            return [Changed(claim.advertisement, claim.standing)]
        return []

    def _remove(self, service: TrackedService, reason: Reason, now: float) -> list[Event]:
        advertisement = service.claim.advertisement
        device_id = advertisement.device_id.casefold()
        services = self._devices[device_id]
        del services[advertisement.urn]
        if not services:
            del self._devices[device_id]
        self._capacity.remove(service)
        self._schedule.discard(service)
        service.removed = True
        self._forget_search(service)
        if not service.live:
            return []
        self._homes.remember(_key(advertisement), *service.holding_of_home(now), now)
        service.live = False
        self._live -= 1
        return [Left(advertisement, reason)]

    def _find(self, advertisement: Advertisement) -> TrackedService | None:
        return self._devices.get(advertisement.device_id.casefold(), {}).get(advertisement.urn)

    def _services(self) -> Iterator[TrackedService]:
        for services in self._devices.values():
            yield from services.values()


def _key(advertisement: Advertisement) -> tuple[str, str]:
    return advertisement.device_id.casefold(), advertisement.urn


def _state(service: TrackedService) -> TrackedState:
    return TrackedState(
        service.claim.advertisement,
        service.live,
        tuple(
            ClaimState(claim.advertisement.location, claim.sender, claim.standing, claim.expires_at)
            for claim in (service.claim, *service.others)
        ),
        service.leaves_at,
        service.contest is not None,
        service.move_at,
    )


def _snapshot(service: TrackedService) -> LiveService:
    claim = service.claim
    return LiveService(
        claim.advertisement,
        claim.sender,
        service.appeared_at,
        claim.received_at,
        claim.expires_at,
        claim.standing,
        claim.interface,
    )
