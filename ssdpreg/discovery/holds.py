"""Times in which no service expires, because this daemon could not receive. Pure: time is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.events import Event, SearchNeeded
from ssdpreg.discovery.interruptions import Interruptions
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices

#: Number of services, and part of all services, that may expire at once without a search.
_FEW = 5
_MOST = 0.5
#: Number of services in a sample of those that are not examined now.
_SAMPLE = 1000
#: The same, for the search targets of those that expire.
_SAMPLE_OF_TARGETS = 10_000
#: Seconds between two such searches.
_MASS_CHECK_PAUSE = 60.0
#: Shortest time, in seconds, for which the expiry of an adopted service is held because some interface is down.
_SHORTEST_LIMIT = 600.0


class Holds:
    """Times until which nothing expires, by interface, and the hold before most services expire at once."""

    def __init__(self) -> None:
        # By the interface of a claim's latest reception; "" for all interfaces.
        self._until: dict[str, float] = {}
        self._interruptions = Interruptions()
        self._next_mass_check = -math.inf

    def hold(self, until: float, interface: str = "") -> None:
        """
        Prevent services from expiring before a time.

        :param until: Time of the table's clock, infinite for an interface that is down.
        :param interface: Interface whose services are concerned; empty for all.
        """
        self._until[interface] = until

    def add_interruption(self, began_at: float, ended_at: float, interface: str = "") -> None:
        """
        Prolong the services whose devices have never replied to a search, by the time of an interruption.

        :param interface: Interface that did not receive; empty for all.
        """
        self._interruptions.add(began_at, ended_at, interface)

    def until(self, service: TrackedService) -> float:
        """Return the time until which a service does not expire."""
        claim = service.claim
        until = self._until.get("", -math.inf)
        if claim.interface:
            until = max(until, self._until.get(claim.interface, -math.inf))
        else:
            # It was adopted, and was not received since. Its interface may not be the one that is down.
            limit = claim.expires_at + max(claim.max_age, _SHORTEST_LIMIT)
            until = max(until, min(max(self._until.values(), default=-math.inf), limit))
        if not claim.answers:
            # No reply to a search shows after the interruption whether its device is alive.
            deaf = self._interruptions.since(claim.received_at, claim.interface)
            until = max(until, claim.expires_at + deaf)
        return until

    def check_mass_expiry(self, due: Sequence[TrackedService], services: TrackedServices, now: float) -> list[Event]:
        """
        Search before most services expire at once: the cause may be that this daemon does not receive.

        :param due: Services that are examined now. More may be due: their number is estimated from a sample, because
            all of them may be too many for one turn.
        """
        if now < self._next_mass_check:
            return []
        total, expiring = len(services), self._expiring(due, now)
        number = len(expiring)
        if services.next_due <= now:
            sample = services.sample(_SAMPLE)
            others = self._expiring(sample, now)
            number += round(len(others) / max(1, len(sample)) * (total - len(due)))
        if number <= _FEW or number <= _MOST * total:
            return []
        self._next_mass_check = now + _MASS_CHECK_PAUSE
        self.hold(now + 2 * ROUND)
        claims = [service.claim for service in chain(services.sample(_SAMPLE_OF_TARGETS), expiring)]
        by_target = {claim.advertisement.term.urn: claim.advertisement for claim in claims if claim.expires_at <= now}
        return [SearchNeeded(advertisement, 2 * ROUND, scheduled=True) for advertisement in by_target.values()]

    def _expiring(self, services: Iterable[TrackedService], now: float) -> list[TrackedService]:
        return [service for service in services if service.claim.expires_at <= now and self.until(service) <= now]
