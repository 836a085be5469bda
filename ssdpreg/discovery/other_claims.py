"""Limit of the claims that services have besides their current ones, in the whole table. Pure."""

from __future__ import annotations

from itertools import islice

from ssdpreg.discovery.tracked import MAX_OTHER_CLAIMS, TrackedService

#: Number of services that may have the largest number of other claims at the same time.
_SERVICES = 8192
#: Number of services that are examined to find a claim that gives way.
_EXAMINED = 8


class OtherClaims:
    """
    Other claims of all services: a claim may need several kilobytes.

    When there are too many, an indirect claim is not added, and any other one displaces a claim of the service that got
    its latest other claim longest ago.

    :param services: Number of services in the table at most.
    :ivar limit: Number of other claims at most.
    :ivar displaced: Number of claims that gave way.
    """

    def __init__(self, services: int) -> None:
        self.limit = MAX_OTHER_CLAIMS * min(services, _SERVICES)
        self.displaced = 0
        self._count = 0
        # Number of other claims of each service, in the order of the latest additions.
        self._services: dict[TrackedService, int] = {}

    def __len__(self) -> int:
        return self._count

    def update(self, service: TrackedService) -> None:
        """Count the other claims of a service again, and remove one for each claim beyond the limit."""
        if not service.others and service not in self._services:
            # As for nearly all services.
            return
        added = self._recount(service)
        while self._count > self.limit and self._services:
            self.displaced += 1
            if added and service.others and not self._is_worthy(service):
                service.others = service.others[:-1]
                self._recount(service)
                continue
            other = self._displaced_service()
            other.give_up_claim()
            self._recount(other)

    def discard(self, service: TrackedService) -> None:
        """Remove a service that has left."""
        self._count -= self._services.pop(service, 0)

    def _recount(self, service: TrackedService) -> bool:
        """Return whether the service has more other claims than before."""
        before, number = self._services.get(service, 0), len(service.others)
        if number > before:
            # It becomes the last one of the order.
            self._services.pop(service, None)
        if number:
            self._services[service] = number
        else:
            self._services.pop(service, None)
        self._count += number - before
        return number > before

    def _is_worthy(self, service: TrackedService) -> bool:
        """Return whether the latest other claim of a service displaces one of another service."""
        latest = service.others[-1]
        return latest.is_direct or latest.host == service.home

    def _displaced_service(self) -> TrackedService:
        first = list(islice(self._services, _EXAMINED))
        for service in first:
            if service.can_give_up_claim():
                return service
            # It is not examined again soon.
            self._services[service] = self._services.pop(service)
        return first[0]
