"""Capacity of the table: which services are evicted when it is full, and quotas of senders. Pure."""

from __future__ import annotations

from collections import Counter

from ssdpreg.discovery.claims import TrackedService
from ssdpreg.discovery.standing import Standing
from ssdpreg.errors import RejectedError

TOO_MANY = "too many services"
TOO_MANY_OF_SENDER = "too many services of one sender"

#: Ranks of services from the first to be evicted: indirect claims, direct claims of devices that never replied to a
#: search, all others. The last rank is never evicted.
_INDIRECT, _SILENT, _PROVEN = range(3)


class Capacity:
    """
    Number of services by rank and by sender.

    When the table is full, a service of a higher rank evicts the most recent service of the lowest rank. Services that
    have been known for longer stay.

    :param limit: Number of services in all.
    :param limit_per_sender: Number of services that one sender may create.
    :ivar evictions: Number of evicted services.
    """

    def __init__(self, limit: int, limit_per_sender: int) -> None:
        self._limit, self._limit_per_sender = limit, limit_per_sender
        self._ranks: tuple[dict[TrackedService, None], ...] = ({}, {}, {})
        self._created: Counter[str] = Counter()
        self._count = 0
        self.evictions = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, sender: str, standing: Standing, answers: bool) -> TrackedService | None:
        """
        Decide about a new service.

        :return: Service that has to be evicted to make room, or None.
        :raise RejectedError: If a limit is reached.
        """
        if self._created[sender] >= self._limit_per_sender:
            raise RejectedError(TOO_MANY_OF_SENDER)
        if self._count < self._limit:
            return None
        for rank in range(_rank(standing, answers)):
            if self._ranks[rank]:
                self.evictions += 1
                return next(reversed(self._ranks[rank]))
        raise RejectedError(TOO_MANY)

    def add(self, service: TrackedService) -> None:
        """Add a new service to the numbers."""
        self._ranks[_rank_of(service)][service] = None
        self._created[service.creator] += 1
        self._count += 1

    def update(self, service: TrackedService) -> None:
        """Move a service to the rank of its current claim."""
        rank = _rank_of(service)
        if service not in self._ranks[rank]:
            self._discard(service)
            self._ranks[rank][service] = None

    def remove(self, service: TrackedService) -> None:
        """Remove a service from the numbers."""
        self._discard(service)
        self._created[service.creator] -= 1
        if not self._created[service.creator]:
            del self._created[service.creator]
        self._count -= 1

    def _discard(self, service: TrackedService) -> None:
        for services in self._ranks:
            services.pop(service, None)


def _rank(standing: Standing, answers: bool) -> int:
    if answers or standing is Standing.CONFIRMED:
        return _PROVEN
    return _SILENT if standing is Standing.DIRECT else _INDIRECT


def _rank_of(service: TrackedService) -> int:
    claim = service.claim
    # The earlier run may have confirmed it, and the longest known services stay.
    return _PROVEN if claim.is_adopted else _rank(claim.standing, claim.answers)
