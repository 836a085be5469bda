"""All services of the table, with the indexes that find them. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.awaited_searches import AwaitedSearches
from ssdpreg.discovery.capacity import Capacity
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.device_index import DeviceIndex
from ssdpreg.discovery.events import Appeared, Changed, Event, Left, Reason, SearchNeeded, SearchUrgency
from ssdpreg.discovery.expiry import Schedule
from ssdpreg.discovery.homes import Homes
from ssdpreg.discovery.other_claims import OtherClaims
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService


class TrackedServices:
    """
    Services by device and URN. Each is known to the capacity, to the schedule and to the searches that it waits for.

    :param limit: Number of services in all.
    :param limit_per_sender: Number of services that one sender may create.
    :param trust: Lowest standing of a claim that makes a service live.
    :ivar live: Number of live services.
    :ivar homes: Homes of services that have left.
    :ivar find: Returns the service of a device and URN, or None, as ``find(device_id, urn)``.
    """

    def __init__(self, limit: int, limit_per_sender: int, trust: Standing) -> None:
        self.trust = trust
        self.capacity = Capacity(limit, limit_per_sender)
        self.other_claims = OtherClaims(limit)
        self.searches = AwaitedSearches()
        self.live = 0
        self._schedule: Schedule[TrackedService] = Schedule()
        self.homes = Homes()
        self._devices = DeviceIndex()
        # The method of the index itself: each new service is searched for several times.
        self.find = self._devices.find

    def __len__(self) -> int:
        return len(self.capacity)

    def __iter__(self) -> Iterator[TrackedService]:
        return iter(self._devices)

    def find_advertised(self, advertisement: Advertisement) -> TrackedService | None:
        """Return the service that an advertisement is about, or None."""
        return self.find(advertisement.device_id, advertisement.urn)

    def of_device(self, device_id: str) -> Iterable[TrackedService]:
        """Return the services of a device."""
        return self._devices.of_device(device_id)

    @property
    def next_due(self) -> float:
        """Earliest time at which :meth:`take_due` returns a service."""
        return self._schedule.next_due

    def take_due(self, now: float) -> Iterator[TrackedService]:
        """Yield the services that have to be examined."""
        return self._schedule.take_due(now)

    def sample(self, size: int) -> list[TrackedService]:
        """Return some of the scheduled services: see :meth:`ssdpreg.discovery.expiry.Schedule.sample`."""
        return self._schedule.sample(size)

    def schedule(self, service: TrackedService, when: float | None = None) -> None:
        """
        Examine a service at a time at the latest. Called after each change of a service.

        :param when: None for the time of its next decision.
        """
        self.other_claims.update(service)
        self._schedule.schedule(service, service.due if when is None else when)

    def add(self, claim: Claim, now: float) -> list[Event]:
        """Add a service."""
        service = TrackedService(claim, now)
        self._devices.add(service)
        self.capacity.add(service)
        # No other claim and no decision is pending yet.
        self._schedule.schedule(service, min(claim.search_at, claim.expires_at))
        return self.publish(service, now) or [self.confirm(service, now, is_reply=claim.answers)]

    def confirm(self, service: TrackedService, now: float, *, is_reply: bool) -> SearchNeeded:
        """
        Return a search that raises the standing of the current claim, which is too low for the service to be live.

        :param is_reply: Whether the host of the LOCATION has just replied to a search of the group.
        """
        return (
            verification(service.claim) if is_reply else self.searches.request(service, ROUND, now, SearchUrgency.NEW)
        )

    def publish(self, service: TrackedService, now: float, *, changed: bool = False) -> list[Event]:
        """
        Return the event that reports the current claim, if there is something to report.

        :param changed: Whether the service has another LOCATION or other facts.
        """
        claim = service.claim
        if claim.standing < self.trust:
            return []
        before, service.published = service.published, claim.standing
        if before is None:
            service.go_live(now, self.homes.recall(_key(claim.advertisement), now) if len(self.homes) else None)
            self.live += 1
            return [Appeared(claim.advertisement, claim.standing)]
        # Health checks are configured for direct claims only.
        if changed or (before is Standing.INDIRECT and claim.standing is not Standing.INDIRECT):
            return [Changed(claim.advertisement, claim.standing)]
        return []

    def remove(self, service: TrackedService, reason: Reason, now: float) -> list[Event]:
        """Remove a service."""
        advertisement = service.claim.advertisement
        self._devices.remove(service)
        self.capacity.remove(service)
        self.other_claims.discard(service)
        self._schedule.discard(service)
        service.claim.latest = None
        # The memo of datagrams may keep the service for some time, but not the claims of other hosts.
        service.others = ()
        self.searches.cancel(service)
        if not service.live:
            return []
        self.homes.remember(_key(advertisement), *service.holding_of_home(now), now)
        service.published = None
        self.live -= 1
        return [Left(advertisement, reason)]


def verification(claim: Claim) -> SearchNeeded:
    """Return a search of the host of a claim, which has just replied to a search of the group."""
    return SearchNeeded(claim.advertisement, ROUND, (claim.searched_host,), is_tracked=False, hosts_only=True)


def _key(advertisement: Advertisement) -> tuple[str, str]:
    return advertisement.device_id.casefold(), advertisement.urn
