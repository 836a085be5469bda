"""
What is live, and until when. Pure: time is an argument, in seconds of any steady clock.

A service is a device's offer of one type. Normally one LOCATION is claimed for it, by one sender. A second claim can be
another address of the same device, a move that nobody announced, or a lie; the rules below tell them apart as far as
that is possible without trusting anybody.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.errors import IgnoredError

#: Seconds of validity where an advertisement does not say, the least that UPnP Device Architecture 2.0 (UDA), 1.2.2,
#: recommends; and the most that is believed.
DEFAULT_MAX_AGE = 1800
LONGEST_MAX_AGE = 86400

#: Devices that repeat themselves only when max-age is over are common: they get a tenth more, within these bounds.
_GRACE = 0.1
_GRACE_BOUNDS = (1.0, 60.0)
#: A device at its start says byebye, then alive: UDA, 1.2.2. That must cost nothing.
_BYE_DELAY = 2.0
#: The part of max-age after which a silent device is asked for.
_ASK_AFTER = 0.8
#: Seconds that a doubted device has for an answer to each of so many searches.
_ROUND = 3.0
_ROUNDS = 2
#: Seconds that an adopted service has at least to be heard for the first time.
_PROBATION = 60.0
#: Claims beside the present one: no honest device has that many addresses.
_MOST_OTHERS = 4


def lifetime(max_age: int) -> float:
    """
    Say how long a service lives that is not heard again: its max-age, and a grace.

    :param max_age: Seconds.
    :return: Seconds.
    """
    shortest, longest = _GRACE_BOUNDS
    return max_age + min(max(max_age * _GRACE, shortest), longest)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """
    What a device said of one of its services.

    :ivar device_id: What follows ``uuid:`` in the USN, up to ``::``. Compared without regard to case.
    :ivar urn: What makes it one service with all that is said of it under other versions: the search term that it
        meets, or the announced URN where the term is a pattern.
    :ivar term: The search term.
    :ivar nt: The URN as announced.
    :ivar usn: The USN as announced.
    :ivar location: URL as announced.
    :ivar endpoint: Where that is.
    :ivar max_age: Seconds of validity.
    :ivar server: The device's software, as it says.
    """

    device_id: str
    urn: str
    term: SearchTerm
    nt: str
    usn: str
    location: str
    endpoint: Endpoint
    max_age: int
    server: str = ""

    @property
    def lifetime(self) -> float:
        """Seconds from reception to the end: see :func:`lifetime`."""
        return lifetime(self.max_age)


@dataclass(frozen=True, slots=True)
class Appeared:
    """A service is live that was not."""

    advertisement: Advertisement


@dataclass(frozen=True, slots=True)
class Changed:
    """A live service is elsewhere, or started anew with other facts."""

    advertisement: Advertisement


@dataclass(frozen=True, slots=True)
class Left:
    """
    A service is no longer live.

    :ivar reason: ``byebye``, ``expired`` or ``unconfigured``.
    """

    advertisement: Advertisement
    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """
    Somebody should search for a service, to be answered soon.

    :ivar within: Seconds until it is too late.
    """

    advertisement: Advertisement
    within: float


Event = Appeared | Changed | Left | Ask


@dataclass(frozen=True, slots=True)
class Live:
    """
    A live service, for people to look at.

    :ivar sender: IP address that announced it.
    :ivar appeared_at: When it was heard first, or adopted.
    :ivar heard_at: When it was heard last.
    :ivar expires_at: When it ends, if it is not heard again.
    """

    advertisement: Advertisement
    sender: str
    appeared_at: float
    heard_at: float
    expires_at: float


class _Claim:
    """
    One LOCATION of a service.

    ``sender`` owns the claim until ``owned_until``: it alone may move it or take it back. ``answers`` says whether it
    was ever heard to answer a search. A ``superseded`` claim was moved away from and is not live, but remembered: heard
    again, it is a second address.
    """

    __slots__ = ("advertisement", "answers", "ask_at", "expires_at", "heard_at", "owned_until", "sender", "superseded")

    def __init__(self, advertisement: Advertisement, sender: str, now: float, lifetime: float) -> None:
        self.advertisement = advertisement
        self.sender = sender
        self.heard_at = now
        self.ask_at = now + _ASK_AFTER * advertisement.max_age
        self.expires_at = self.owned_until = now + lifetime
        self.answers = False
        self.superseded = False

    def renew(self, advertisement: Advertisement, sender: str, now: float, answer: bool) -> None:
        self.heard_at = now
        self.ask_at = now + _ASK_AFTER * advertisement.max_age
        self.superseded = False
        if sender == self.sender or now >= self.owned_until:
            self.sender = sender
            self.expires_at = self.owned_until = now + advertisement.lifetime
            self.answers |= answer
        else:
            # Who does not own a claim may prolong it, but never shorten it.
            self.expires_at = max(self.expires_at, now + advertisement.lifetime)


class _Service:
    """A live service: its present claim, the others, and what is pending."""

    __slots__ = (
        "appeared_at",
        "asked",
        "bye_doubted",
        "claim",
        "creator",
        "doubts",
        "leaves_at",
        "others",
        "rules_at",
        "scheduled",
    )

    def __init__(self, claim: _Claim, now: float) -> None:
        self.claim = claim
        self.others: tuple[_Claim, ...] = ()
        self.creator = claim.sender
        self.appeared_at = now
        self.asked = False
        self.leaves_at = math.inf
        # Rounds of searches sent because somebody contradicted the present claim, and when the round is over.
        self.doubts = 0
        self.rules_at = math.inf
        self.bye_doubted = False
        # When the table will look at it next.
        self.scheduled = math.inf

    @property
    def due(self) -> float:
        ask_at = math.inf if self.asked else self.claim.ask_at
        return min(self.leaves_at, self.claim.expires_at, self.rules_at, ask_at)

    def trust(self) -> None:
        self.doubts, self.rules_at, self.bye_doubted = 0, math.inf, False

    def doubt(self, now: float) -> tuple[Event, ...]:
        self.doubts += 1
        self.rules_at = now + _ROUND
        return (Ask(self.claim.advertisement, _ROUND),)

    def settle(self, claim: _Claim) -> None:
        """Make a claim the present one, with nothing pending."""
        self.claim = claim
        self.asked = False
        self.leaves_at = math.inf
        self.trust()


class AdvertisementTable:
    """
    The services that are live.

    Every method that takes ``now`` returns the events that follow from what it was told.

    :param limit: Services in all; more are refused, so that a hostile network cannot fill the memory.
    :param limit_per_sender: Services that one sender may bring in.
    """

    def __init__(self, limit: int = 100_000, limit_per_sender: int = 4096) -> None:
        self._limit, self._limit_per_sender = limit, limit_per_sender
        self._devices: dict[str, dict[str, _Service]] = {}
        self._created: Counter[str] = Counter()
        self._count = 0
        # (when, serial, service), for services that may be due then: most have been renewed meanwhile.
        self._schedule: list[tuple[float, int, _Service]] = []
        self._serial = count()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Live]:
        for service in self._services():
            claim = service.claim
            yield Live(claim.advertisement, claim.sender, service.appeared_at, claim.heard_at, claim.expires_at)

    @property
    def next_due(self) -> float:
        """When :meth:`expire` has something to do, at the earliest."""
        return self._schedule[0][0] if self._schedule else math.inf

    def observe(
        self, advertisement: Advertisement, sender: str, now: float, *, answer: bool = False
    ) -> tuple[Event, ...]:
        """
        Take in an advertisement.

        :param answer: Whether it answers a search of ours.
        :raise IgnoredError: If it is one too many.
        """
        if not advertisement.max_age:
            return self.bye(advertisement.device_id, advertisement.urn, sender, now)
        service = self._find(advertisement)
        if service is None:
            return self._appear(advertisement, sender, now, answer)
        if service.claim.advertisement.location == advertisement.location:
            events = self._renew(service, advertisement, sender, now, answer)
        else:
            events = self._dispute(service, advertisement, sender, now, answer)
        self._reschedule(service)
        return events

    def bye(self, device_id: str, urn: str | None, sender: str, now: float) -> tuple[Event, ...]:
        """
        Take in that a service leaves, or all services of a device.

        :param urn: As in :class:`Advertisement`; ``None`` for all.
        """
        services = self._devices.get(device_id.casefold(), {})
        events: tuple[Event, ...] = ()
        for service in services.values() if urn is None else filter(None, [services.get(urn)]):
            others = tuple(claim for claim in service.others if claim.sender != sender)
            if service.claim.sender == sender:
                service.leaves_at = min(service.leaves_at, now + _BYE_DELAY)
            elif len(others) == len(service.others):
                # A stranger: the device itself is asked.
                service.bye_doubted = True
                if not service.doubts:
                    events += service.doubt(now)
            service.others = others
            self._reschedule(service)
        return events

    def adopt(self, advertisement: Advertisement, now: float, remaining: float | None = None) -> tuple[Event, ...]:
        """
        Take over a service that was live before this table was made. What is known already stays as it is.

        Its sender is taken to be its own address; another one has to wait until it no longer answers there.

        :param remaining: Seconds that it has left; ``None`` where nobody knows. Then it is believed until there was
            time to hear it.
        """
        if self._find(advertisement) is not None:
            return ()
        if remaining is None:
            remaining = max(advertisement.lifetime, _PROBATION)
        claim = _Claim(advertisement, advertisement.endpoint.host, now, remaining)
        claim.answers = True
        return self._add(claim, now)

    def reassign(self, match: Callable[[str], SearchTerm | None], now: float) -> tuple[Event, ...]:
        """
        Follow a change of the search terms.

        :param match: Finds the term that an announced type meets now.
        """
        events: tuple[Event, ...] = ()
        for service in list(self._services()):
            advertisement = service.claim.advertisement
            term = match(advertisement.nt)
            if term == advertisement.term:
                continue
            self._remove(service)
            events += (Left(advertisement, "unconfigured"),)
            if term is None:
                continue
            urn = advertisement.nt if term.is_pattern else term.urn
            service.claim.advertisement = replace(advertisement, term=term, urn=urn)
            # Of two versions that the device offered, the other one may have been registered by this term already.
            if self._find(service.claim.advertisement) is None:
                events += self._add(service.claim, now)
        return events

    def expire(self, now: float) -> tuple[Event, ...]:
        """Do all that is due."""
        events: tuple[Event, ...] = ()
        while self._schedule and self._schedule[0][0] <= now:
            when, _, service = heapq.heappop(self._schedule)
            if service.scheduled == when:
                service.scheduled = math.inf
                events += self._look_at(service, now)
        return events

    def _look_at(self, service: _Service, now: float) -> tuple[Event, ...]:
        claim = service.claim
        if service.leaves_at <= now:
            return self._give_up(service, "byebye", now)
        if claim.expires_at <= now:
            return self._give_up(service, "expired", now)
        events: tuple[Event, ...] = ()
        if service.rules_at <= now:
            # Silence says something only of who used to answer.
            if claim.answers and service.doubts >= _ROUNDS and (service.bye_doubted or _best(service.others, now)):
                return self._give_up(service, "byebye", now)
            if claim.answers and service.doubts < _ROUNDS:
                events = service.doubt(now)
            else:
                service.trust()
        elif service.due <= now:
            service.asked = True
            events = (Ask(claim.advertisement, claim.expires_at - now),)
        self._reschedule(service)
        return events

    def _appear(self, advertisement: Advertisement, sender: str, now: float, answer: bool) -> tuple[Event, ...]:
        if self._count >= self._limit:
            raise IgnoredError("too many services")
        if self._created[sender] >= self._limit_per_sender:
            raise IgnoredError("too many services of one sender")
        claim = _Claim(advertisement, sender, now, advertisement.lifetime)
        claim.answers = answer
        return self._add(claim, now)

    def _renew(
        self, service: _Service, advertisement: Advertisement, sender: str, now: float, answer: bool
    ) -> tuple[Event, ...]:
        claim = service.claim
        if service.leaves_at < math.inf:
            # Byebye and alive: it started anew, perhaps with other software.
            changed = claim.advertisement != advertisement
            service.settle(_Claim(advertisement, sender, now, advertisement.lifetime))
            service.claim.answers = claim.answers or answer
            return (Changed(advertisement),) if changed else ()
        claim.renew(advertisement, sender, now, answer)
        service.asked = False
        if answer or sender == claim.sender:
            service.trust()
        return ()

    def _dispute(
        self, service: _Service, advertisement: Advertisement, sender: str, now: float, answer: bool
    ) -> tuple[Event, ...]:
        """Take in that a service is at another LOCATION than the present one."""
        claim = service.claim
        service.others = tuple(other for other in service.others if other.expires_at > now)
        known = next(
            (other for other in service.others if other.advertisement.location == advertisement.location), None
        )
        if known is not None:
            known.renew(advertisement, sender, now, answer)
            newcomer = known
        else:
            newcomer = _Claim(advertisement, sender, now, advertisement.lifetime)
            newcomer.answers = answer
        if service.leaves_at < math.inf:
            # After a byebye the service is whose voice is heard first.
            service.others = tuple(other for other in service.others if other is not newcomer)
            service.settle(newcomer)
            return (Changed(newcomer.advertisement),)
        if known is None and sender == claim.sender:
            claim.superseded = True
            service.others = (*service.others[-_MOST_OTHERS + 1 :], claim)
            service.settle(newcomer)
            return (Changed(advertisement),)
        if known is None:
            if len(service.others) >= _MOST_OTHERS:
                raise IgnoredError("too many LOCATIONs of one service")
            service.others += (newcomer,)
        silent = now - claim.heard_at > claim.advertisement.max_age / 2
        if sender == claim.sender or service.doubts or (known is not None and not silent):
            return ()
        return service.doubt(now)

    def _give_up(self, service: _Service, reason: str, now: float) -> tuple[Event, ...]:
        """End the present claim; another live one takes over."""
        best = _best(service.others, now)
        if best is None:
            self._remove(service)
            return (Left(service.claim.advertisement, reason),)
        service.others = tuple(other for other in service.others if other is not best)
        service.settle(best)
        self._reschedule(service)
        return (Changed(best.advertisement),)

    def _add(self, claim: _Claim, now: float) -> tuple[Event, ...]:
        advertisement = claim.advertisement
        service = _Service(claim, now)
        self._devices.setdefault(advertisement.device_id.casefold(), {})[advertisement.urn] = service
        self._created[service.creator] += 1
        self._count += 1
        self._reschedule(service)
        return (Appeared(advertisement),)

    def _remove(self, service: _Service) -> None:
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
        service.scheduled = -math.inf

    def _reschedule(self, service: _Service) -> None:
        due = service.due
        # Later than scheduled costs nothing: it is looked at for nothing once, instead of at each renewal.
        if due < service.scheduled:
            service.scheduled = due
            heapq.heappush(self._schedule, (due, next(self._serial), service))

    def _find(self, advertisement: Advertisement) -> _Service | None:
        return self._devices.get(advertisement.device_id.casefold(), {}).get(advertisement.urn)

    def _services(self) -> Iterator[_Service]:
        for services in self._devices.values():
            yield from services.values()


def _best(claims: tuple[_Claim, ...], now: float) -> _Claim | None:
    live = [claim for claim in claims if not claim.superseded and claim.expires_at > now]
    return max(live, key=lambda claim: claim.heard_at, default=None)
