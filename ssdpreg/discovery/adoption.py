"""Adoption of services that an earlier run, or another daemon, registered. Pure: time is an argument."""

from __future__ import annotations

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.byebyes import ByeByes
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.departures import Departures
from ssdpreg.discovery.events import Event
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices

#: Shortest time, in seconds, in which an adopted service may be received for the first time.
_PROBATION = 60.0


class Adoptions:
    """
    Adoption of registered services.

    :ivar byebyes: Byebyes that were received before the adoption.
    """

    def __init__(self, services: TrackedServices, moves: Moves, departures: Departures) -> None:
        self._services, self._moves, self._departures = services, moves, departures
        self.byebyes = ByeByes()

    def adopt(
        self, advertisement: Advertisement, now: float, remaining: float | None, standing: Standing
    ) -> list[Event]:
        """See :meth:`ssdpreg.discovery.table.AdvertisementTable.adopt`."""
        if remaining is None:
            remaining = max(advertisement.lifetime, _PROBATION)
        service = self._services.find_advertised(advertisement)
        if service is not None:
            if service.claim.advertisement.has_location_of(advertisement) or remaining <= 0:
                return []
            return self._compare(service, self._claim(service, advertisement, standing, remaining, now), now)
        claim = Claim.adopted(advertisement, max(standing, self._services.trust), remaining, now)
        events = self._services.add(claim, now)
        service, sender = self._services.find_advertised(advertisement), self.byebyes.sender(claim, now)
        if service is not None and sender is not None:
            events += self._departures.bye(service, sender, now)
        return events

    def _claim(
        self, service: TrackedService, advertisement: Advertisement, standing: Standing, remaining: float, now: float
    ) -> Claim:
        """Return the claim for the registered LOCATION: the one in the table, or else a new one."""
        standing = max(standing, self._services.trust)
        service.drop_expired(now)
        claim = service.claim_at(advertisement.location)
        if claim is None:
            return Claim.adopted(advertisement, standing, remaining, now)
        claim.standing = max(claim.standing, standing)
        claim.superseded = False
        return claim

    def _compare(self, service: TrackedService, registered: Claim, now: float) -> list[Event]:
        """
        Keep the registered LOCATION of a service that this daemon has received at another one, and search for both.

        Either this daemon has missed a move, or the one that registered the service has. A host that announced the
        service before the adoption could take its place otherwise.
        """
        service.set_current(registered, now)
        service.pass_home()
        self._services.capacity.update(service)
        events = self._services.publish(service, now, changed=True)
        events += self._moves.begin_contest(service, now)
        if service.contest is not None:
            service.contest.needs_evidence = True
        self._services.schedule(service)
        return events
