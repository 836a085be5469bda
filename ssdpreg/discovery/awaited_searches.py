"""Searches that services of the table wait for. Pure: time is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.messages import SEARCH_ALL


class AwaitedSearches:
    """
    Services that wait for a search, by search target. A search waits for its budget.

    A service waits for one search at most: see :attr:`TrackedService.awaits`.
    """

    def __init__(self) -> None:
        self._services: dict[str, dict[TrackedService, None]] = {}

    def __len__(self) -> int:
        return len(self._services)

    def __contains__(self, target: object) -> bool:
        return target in self._services or (target == SEARCH_ALL and bool(self._services))

    def request(
        self, service: TrackedService, within: float, now: float, urgency: SearchUrgency = SearchUrgency.CLAIM
    ) -> SearchNeeded:
        """
        Let a service wait for a search for it.

        :param within: Seconds until a reply is too late.
        :return: Event that requests the search.
        """
        self.cancel(service)
        service.asked_at = now
        service.awaits = service.claim.advertisement.search_target
        self._services.setdefault(service.awaits, {})[service] = None
        return SearchNeeded(service.claim.advertisement, within, service.hosts(now), urgency=urgency)

    def sent(self, target: str) -> Iterable[TrackedService]:
        """
        Record that a search has been sent. Return the services that waited for it.

        :param target: Search target; ``ssdp:all`` for all targets.
        """
        targets = list(self._services) if target == SEARCH_ALL else [target]
        services = [service for each in targets for service in self._services.pop(each, ())]
        for service in services:
            service.awaits = ""
        return services

    def cancel(self, service: TrackedService) -> None:
        """End the wait of a service."""
        if service.awaits:
            waiting = self._services[service.awaits]
            del waiting[service]
            if not waiting:
                del self._services[service.awaits]
            service.awaits = ""

    def cancel_needless(self, service: TrackedService) -> None:
        """End the wait of a service, if no decision depends on the search any more."""
        if service.live and service.contest is None and service.leaves_at == math.inf:
            self.cancel(service)
