"""Capacity of the table: which services are evicted when it is full, and quotas of senders. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from ssdpreg.discovery.ranks import Ranks
from ssdpreg.discovery.rates import SenderBuckets, TokenBucket
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.errors import RejectedError

TOO_MANY = "too many services"
TOO_MANY_OF_SENDER = "too many services of one sender"

#: Ranks of services from the first to be evicted: indirect claims, direct claims of devices that never replied to a
#: search, those that replied to a search of the group, and those that replied to a search of their host alone. A reply
#: to a search of the group can be forged by every host that receives the search, because it contains the port. The last
#: rank is never evicted.
_INDIRECT, _SILENT, _REPLIED, _PROVEN = range(4)

#: Part of a limit at which the hosts that reply to a search of the group are searched alone.
_CROWDED = 0.75

#: Seconds after its creation in which a service has the time to reply to a search.
_CHANCE = 10.0
#: Largest number of adopted services that get another rank at a time, so that this does not take long.
_MOST_RANKED = 1000


class _Turnover:
    """
    Budget for services that replace others of the same sender: each replacement is a change in the backend.

    :param rate: Replacements in a second of one sender, and of all senders.
    :param burst: See :class:`~ssdpreg.discovery.rates.TokenBucket`, of one sender and of all.
    """

    def __init__(self, rate: tuple[float, float], burst: tuple[float, float]) -> None:
        self._senders = SenderBuckets(rate[0], burst[0])
        self._all = TokenBucket(rate[1], burst[1])

    def take(self, sender: str, now: float) -> bool:
        """Return whether a sender may replace a service now."""
        return self._senders.take(sender, now) and self._all.take(now)


class Capacity:
    """
    Number of services by rank and by sender.

    When the table is full, a service of a higher rank evicts the most recent service of the lowest rank. Services that
    have been known for longer stay. An adopted service has the highest rank for a minute, in which its device can reply
    to a search.

    When a sender has reached its number of services, a new service evicts one of the same sender that has never replied
    to a search, if the host of its LOCATION sent it. Otherwise a host that forges the address of a device would
    prevent the registration of its further services. These evictions have a budget. Services whose hosts replied to a
    search of the host alone have a budget of their own, so that others cannot use it up, and evict those that replied
    to a search of the group, too.

    :param limit: Number of services in all.
    :param limit_per_sender: Number of services that one sender may create.
    :ivar evictions: Number of evicted services.
    """

    def __init__(self, limit: int, limit_per_sender: int) -> None:
        self._limit, self._limit_per_sender = limit, limit_per_sender
        self._ranks = Ranks(_PROVEN + 1)
        # Adopted services that have the highest rank because they were adopted, in the order of their adoption.
        self._on_probation: dict[TrackedService, None] = {}
        self._created: Counter[str] = Counter()
        self._count = 0
        self._announced = _Turnover((0.1, 0.5), (8.0, 16.0))
        self._confirmed = _Turnover((0.5, 1.0), (16.0, 32.0))
        self.evictions = 0

    def __len__(self) -> int:
        return self._count

    def is_full_for(self, sender: str) -> bool:
        """Return whether a sender has reached its number of services."""
        # get() makes no call of Python for a missing key.
        return self._created.get(sender, 0) >= self._limit_per_sender

    @property
    def is_full(self) -> bool:
        """Whether the limit of all services is reached."""
        return self._count >= self._limit

    def is_crowded_for(self, sender: str) -> bool:
        """Return whether the limit of all services, or of those of a sender, is nearly reached."""
        return self._count >= _CROWDED * self._limit or self._created[sender] >= _CROWDED * self._limit_per_sender

    def admit(self, sender: str, standing: Standing, answers: bool, now: float) -> TrackedService | None:
        """
        Decide about a new service.

        :return: Service that has to be evicted to make room, or None.
        :raise RejectedError: If a limit is reached.
        """
        if self.is_full_for(sender):
            is_confirmed = standing is Standing.CONFIRMED
            turnover = self._confirmed if is_confirmed else self._announced
            evicted = None
            if standing is not Standing.INDIRECT and turnover.take(sender, now):
                evicted = self._least_known(sender, now, _PROVEN if is_confirmed else _REPLIED)
            if evicted is None:
                raise RejectedError(TOO_MANY_OF_SENDER)
            self.evictions += 1
            return evicted
        if not self.is_full:
            return None
        self._end_probations(now)
        for rank in range(_rank(standing, answers)):
            evicted = self._ranks.latest(rank)
            if evicted is not None:
                self.evictions += 1
                return evicted
        raise RejectedError(TOO_MANY)

    def add(self, service: TrackedService) -> None:
        """Add a new service to the numbers."""
        if service.claim.is_adopted:
            self._on_probation[service] = None
        self._ranks.put(service, self._rank_of(service))
        # get() makes no call of Python for a missing key.
        self._created[service.creator] = self._created.get(service.creator, 0) + 1
        self._count += 1

    def update(self, service: TrackedService) -> None:
        """Move a service to the rank of its current claim."""
        self._ranks.put(service, self._rank_of(service))

    def remove(self, service: TrackedService) -> None:
        """Remove a service from the numbers."""
        self._ranks.discard(service)
        self._on_probation.pop(service, None)
        self._created[service.creator] -= 1
        if not self._created[service.creator]:
            del self._created[service.creator]
        self._count -= 1

    def _least_known(self, sender: str, now: float, below: int) -> TrackedService | None:
        """
        Return the service of a sender that is evicted first.

        It has the lowest rank, was announced least often, and is the most recent of those. A service whose device has
        not had the time to reply is never returned, nor is one that the sender announced before its device did.

        :param below: Rank from which services are not returned.
        """
        for rank in range(below):
            candidates = (
                service
                for service in self._ranks.latest_first(rank)
                if service.creator == service.claim.sender == sender and now - service.appeared_at >= _CHANCE
            )
            evicted = min(candidates, key=lambda service: service.claim.announcements, default=None)
            if evicted is not None:
                return evicted
        return None

    def _end_probations(self, now: float) -> None:
        """Rank services by their standing and replies, if they were adopted some time ago."""
        for service in list(islice(self._on_probation, _MOST_RANKED)):
            if service.claim.is_on_probation(now):
                break
            del self._on_probation[service]
            self.update(service)

    def _rank_of(self, service: TrackedService) -> int:
        claim = service.claim
        if claim.is_adopted and service in self._on_probation:
            return _PROVEN
        return _rank(claim.standing, claim.answers)


def _rank(standing: Standing, answers: bool) -> int:
    if standing is Standing.CONFIRMED:
        return _PROVEN
    if answers:
        return _REPLIED
    return _SILENT if standing is Standing.DIRECT else _INDIRECT
