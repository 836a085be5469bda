"""
Table of live services. Pure: time is an argument, in seconds of any steady clock.

A service is one type that a device offers. Normally one sender claims one LOCATION for it. A second claim can be a
second address of the same device, a move that was not announced, or a forgery: search rounds decide between claims.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from ssdpreg.discovery.advertisement import (
    Advertisement,
    Appeared,
    Changed,
    Event,
    Left,
    LiveService,
    SearchNeeded,
)
from ssdpreg.discovery.claims import MOST_OTHER_CLAIMS, Claim, TrackedService
from ssdpreg.discovery.expiry import Schedule
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.errors import RejectedError

#: A device that starts sends byebye, then alive: UPnP Device Architecture 2.0, section 1.2.2. The service must survive
#: that, so a byebye takes effect after this many seconds.
_BYE_DELAY = 2.0
#: Seconds of a search round, and number of rounds without a reply after which a claim is given up.
_ROUND = 3.0
_ROUNDS = 2
#: Seconds that an adopted service has at least to be received for the first time.
_PROBATION = 60.0


class AdvertisementTable:
    """
    Table of live services.

    Every method that takes ``now`` returns the events that result from its call.

    :param limit: Number of services in all. Further services are rejected, so that the network cannot fill the memory.
    :param limit_per_sender: Number of services that one sender may create.
    """

    def __init__(self, limit: int = 100_000, limit_per_sender: int = 4096) -> None:
        self._limit, self._limit_per_sender = limit, limit_per_sender
        self._devices: dict[str, dict[str, TrackedService]] = {}
        self._created: Counter[str] = Counter()
        self._count = 0
        self._schedule: Schedule[TrackedService] = Schedule()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LiveService]:
        for service in self._services():
            yield _snapshot(service)

    def get(self, device_id: str, urn: str) -> LiveService | None:
        """Return the live service of a device and URN, or None."""
        service = self._devices.get(device_id.casefold(), {}).get(urn)
        return None if service is None else _snapshot(service)

    @property
    def next_due(self) -> float:
        """Time at which :meth:`expire` has something to do at the earliest."""
        return self._schedule.next_due

    def observe(self, advertisement: Advertisement, sender: str, now: float, *, answer: bool = False) -> list[Event]:
        """
        Process an advertisement.

        :param answer: Whether it is a reply to a search of this daemon.
        :raise RejectedError: If a limit is reached.
        """
        service = self._find(advertisement)
        if service is None:
            return self._create(advertisement, sender, now, answer)
        if service.claim.advertisement.location == advertisement.location:
            events = self._renew(service, advertisement, sender, now, answer)
        else:
            events = self._contest(service, advertisement, sender, now, answer)
        self._schedule.schedule(service, service.due)
        return events

    def bye(self, device_id: str, urn: str | None, sender: str, now: float) -> list[Event]:
        """
        Process the departure of a service, or of all services of a device.

        :param urn: As in :class:`~ssdpreg.discovery.interpret.Departure`.
        """
        services = self._devices.get(device_id.casefold(), {})
        events: list[Event] = []
        for service in services.values() if urn is None else filter(None, [services.get(urn)]):
            remaining = tuple(claim for claim in service.others if claim.sender != sender)
            if service.claim.sender == sender:
                service.leaves_at = min(service.leaves_at, now + _BYE_DELAY)
            elif len(remaining) == len(service.others):
                # The sender has no claim on the service: search for the device before anything is removed.
                service.byebye_contested = True
                if not service.rounds:
                    events.append(self._search_round(service, now))
            service.others = remaining
            self._schedule.schedule(service, service.due)
        return events

    def adopt(self, advertisement: Advertisement, now: float, remaining: float | None = None) -> list[Event]:
        """
        Add a service that was live before this table was created. A service that is in the table is not changed.

        The host of its LOCATION counts as its sender.

        :param remaining: Seconds until it expires. None means that they are not known: the service then has the full
            lifetime of its advertisement, and at least a minute, to be received.
        """
        if self._find(advertisement) is not None:
            return []
        if remaining is None:
            remaining = max(advertisement.lifetime, _PROBATION)
        claim = Claim(advertisement, advertisement.endpoint.host, now, remaining)
        claim.answers = True
        return self._add(claim, now)

    def reassign(self, match: Callable[[str], SearchTerm | None], now: float) -> list[Event]:
        """
        Apply a change of the search terms.

        :param match: Returns the search term that now matches an announced type.
        """
        events: list[Event] = []
        for service in list(self._services()):
            advertisement = service.claim.advertisement
            term = match(advertisement.nt)
            if term == advertisement.term:
                continue
            self._remove(service)
            events.append(Left(advertisement, "unconfigured"))
            if term is None:
                continue
            service.claim.advertisement = replace(advertisement, term=term, urn=term.identity(advertisement.nt))
            # Another version of the same type may have been added by this term already.
            if self._find(service.claim.advertisement) is None:
                events += self._add(service.claim, now)
        return events

    def expire(self, now: float) -> list[Event]:
        """Take all decisions that are due."""
        events: list[Event] = []
        for service in self._schedule.take_due(now):
            events += self._decide(service, now)
        return events

    def _decide(self, service: TrackedService, now: float) -> list[Event]:
        claim = service.claim
        if service.leaves_at <= now:
            return self._end_claim(service, "byebye", now)
        if claim.expires_at <= now:
            return self._end_claim(service, "expired", now)
        events: list[Event] = []
        if service.round_ends_at <= now:
            # A missing reply is evidence only for a device that has replied before.
            if claim.answers and service.rounds < _ROUNDS:
                events = [self._search_round(service, now)]
            elif claim.answers and (service.byebye_contested or any(service.candidates(now))):
                return self._end_claim(service, "byebye", now)
            else:
                service.end_contest()
        elif service.due <= now:
            service.searched = True
            events = [SearchNeeded(claim.advertisement, claim.expires_at - now)]
        self._schedule.schedule(service, service.due)
        return events

    def _create(self, advertisement: Advertisement, sender: str, now: float, answer: bool) -> list[Event]:
        if self._count >= self._limit:
            raise RejectedError("too many services")
        if self._created[sender] >= self._limit_per_sender:
            raise RejectedError("too many services of one sender")
        claim = Claim(advertisement, sender, now, advertisement.lifetime)
        claim.answers = answer
        return self._add(claim, now)

    def _renew(
        self, service: TrackedService, advertisement: Advertisement, sender: str, now: float, answer: bool
    ) -> list[Event]:
        """Process an advertisement of the current LOCATION."""
        claim = service.claim
        if service.leaves_at < math.inf:
            # An alive after a byebye: the device restarted, and may run other software.
            changed = claim.advertisement != advertisement
            service.set_current(Claim(advertisement, sender, now, advertisement.lifetime))
            service.claim.answers = claim.answers or answer
            return [Changed(advertisement)] if changed else []
        claim.renew(advertisement, sender, now, answer)
        service.searched = False
        if answer or sender == claim.sender:
            service.end_contest()
        return []

    def _contest(
        self, service: TrackedService, advertisement: Advertisement, sender: str, now: float, answer: bool
    ) -> list[Event]:
        """Process an advertisement of another LOCATION than the current one."""
        claim = service.claim
        service.others = tuple(other for other in service.others if other.expires_at > now)
        known = service.other_at(advertisement.location)
        if known is not None:
            known.renew(advertisement, sender, now, answer)
            newcomer = known
        else:
            newcomer = Claim(advertisement, sender, now, advertisement.lifetime)
            newcomer.answers = answer
        if service.leaves_at < math.inf:
            # After a byebye, the first claim received becomes the current one.
            service.others = tuple(other for other in service.others if other is not newcomer)
            service.set_current(newcomer)
            return [Changed(newcomer.advertisement)]
        if known is None and sender == claim.sender:
            claim.superseded = True
            service.others = (*service.others[-MOST_OTHER_CLAIMS + 1 :], claim)
            service.set_current(newcomer)
            return [Changed(advertisement)]
        if known is None:
            if len(service.others) >= MOST_OTHER_CLAIMS:
                raise RejectedError("too many LOCATIONs of one service")
            service.others += (newcomer,)
        silent = now - claim.received_at > claim.advertisement.max_age / 2
        if sender == claim.sender or service.rounds or (known is not None and not silent):
            return []
        return [self._search_round(service, now)]

    def _search_round(self, service: TrackedService, now: float) -> SearchNeeded:
        service.begin_round(now + _ROUND)
        return SearchNeeded(service.claim.advertisement, _ROUND)

    def _end_claim(self, service: TrackedService, reason: str, now: float) -> list[Event]:
        """End the current claim. The best other claim takes its place; without one the service leaves."""
        best = service.best_candidate(now)
        if best is None:
            self._remove(service)
            return [Left(service.claim.advertisement, reason)]
        service.others = tuple(other for other in service.others if other is not best)
        service.set_current(best)
        self._schedule.schedule(service, service.due)
        return [Changed(best.advertisement)]

    def _add(self, claim: Claim, now: float) -> list[Event]:
        advertisement = claim.advertisement
        service = TrackedService(claim, now)
        self._devices.setdefault(advertisement.device_id.casefold(), {})[advertisement.urn] = service
        self._created[service.creator] += 1
        self._count += 1
        self._schedule.schedule(service, service.due)
        return [Appeared(advertisement)]

    def _remove(self, service: TrackedService) -> None:
        advertisement = service.claim.advertisement
        device_id = advertisement.device_id.casefold()
        services = self._devices[device_id]
        del services[advertisement.urn]
        if not services:
            del self._devices[device_id]
        self._created[service.creator] -= 1
        if not self._created[service.creator]:
            del self._created[service.creator]
        self._count -= 1
        self._schedule.discard(service)

    def _find(self, advertisement: Advertisement) -> TrackedService | None:
        return self._devices.get(advertisement.device_id.casefold(), {}).get(advertisement.urn)

    def _services(self) -> Iterator[TrackedService]:
        for services in self._devices.values():
            yield from services.values()


def _snapshot(service: TrackedService) -> LiveService:
    claim = service.claim
    return LiveService(claim.advertisement, claim.sender, service.appeared_at, claim.received_at, claim.expires_at)
