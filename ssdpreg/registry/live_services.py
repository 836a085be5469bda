"""Live services with their registrations and facts: what the readers of the registry see of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import ClaimState, LiveService, Reason
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.meta import NO_FACTS, make_facts
from ssdpreg.registry.live import LiveRegistrations


class LiveServices:
    """
    Live services of a table, with their registrations and facts.

    :param reactor: Provides ``IReactorTime``.
    :param table: Table of live services.
    :param rules: Rules for registrations.
    :param describe: Whether the registrations contain facts that devices state about themselves.
    """

    def __init__(self, reactor: Any, table: AdvertisementTable, rules: RegistrationRules, *, describe: bool) -> None:
        self._reactor, self._table, self._rules, self._describe = reactor, table, rules, describe
        self._live = LiveRegistrations()
        # Facts by service ID, of live services only.
        self._facts: dict[str, Mapping[str, str]] = {}

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Publish every further change of the live services to a listener."""
        self._live.subscribe(listener)

    def observe_claims(self, observe: Callable[[str], object]) -> None:
        """
        Call a function when a service appears, moves, has a claim of a higher standing, or has another BOOTID or
        CONFIGID, after all listeners.

        :param observe: Called with the service ID. An exception is logged.
        """
        self._live.observe_claims(observe)

    @property
    def registrations(self) -> Mapping[str, Registration]:
        """Read-only view of the registrations of the live services, by service ID."""
        return self._live.by_id

    def services(self) -> list[tuple[Registration, LiveService]]:
        """Return the live services with their registrations."""
        return [(self._live.by_id[self._service_id(service.advertisement)], service) for service in self._table]

    def service(self, service_id: str) -> LiveService | None:
        """Return the live service with an ID, or None. The time does not grow with the number of services."""
        registration = self._live.by_id.get(service_id)
        if registration is None:
            return None
        advertisement = registration.advertisement
        return self._table.get(advertisement.device_id, advertisement.urn)

    def expiry_finder(self) -> Callable[[Registration], float]:
        """
        Return a function that returns the time at which a service expires, on the reactor's clock; 0 if it is not live.

        It is called for each of 100,000 services, for which snapshots would take too long.
        """
        find = self._table.finder()

        def expires_at(registration: Any) -> float:
            advertisement = registration.advertisement
            service = find(advertisement.device_id, advertisement.urn)
            return 0.0 if service is None else service.claim.expires_at

        return expires_at

    def other_claims(self, service_id: str) -> Sequence[ClaimState]:
        """Return the claims of other LOCATIONs of a live service."""
        registration = self._live.by_id.get(service_id)
        if registration is None:
            return ()
        advertisement = registration.advertisement
        return self._table.other_claims(advertisement.device_id, advertisement.urn, self._reactor.seconds())

    def facts(self, service_id: str) -> Mapping[str, str]:
        """Return the facts that the device of a live service states about itself."""
        return self._facts.get(service_id, NO_FACTS)

    def set_facts(self, service_id: str, facts: Mapping[str, str]) -> None:
        """
        Set the facts of a live service. Its registration changes if they are others than before.

        :param facts: See :func:`ssdpreg.registration.meta.make_facts`.
        """
        service = self.service(service_id)
        if service is None or facts == self.facts(service_id):
            return
        self._facts[service_id] = facts
        self._live.put(self._rules.registration(service.advertisement, service.standing, facts))

    def priority(self, service_id: str) -> int:
        """Return the priority with which a service is registered: those of a higher standing come first."""
        registration = self._live.by_id.get(service_id)
        if registration is None:
            return Standing.INDIRECT
        service = self._table.find(registration.advertisement)
        return Standing.INDIRECT if service is None else min(service.claim.standing, Standing.DIRECT)

    # Changes.

    def _publish(self, advertisement: Advertisement, standing: Standing) -> None:
        """Make the registration of a live service, and publish it if it has changed."""
        facts = self.facts(self._service_id(advertisement)) if self._facts else NO_FACTS
        registration = self._rules.registration(advertisement, standing, facts)
        self._live.put(registration)
        self._live.report_claim(registration.service_id)

    def _remove(self, advertisement: Advertisement, reason: Reason) -> None:
        """Remove the registration of a service that has left."""
        service_id = self._service_id(advertisement)
        self._facts.pop(service_id, None)
        self._live.remove(service_id, reason)

    def _adopt_facts(self, registration: Registration) -> None:
        """Take the facts of a service over from its registration, unless they were fetched already."""
        service_id = registration.service_id
        facts = make_facts(registration.meta) if self._describe else NO_FACTS
        if not facts or service_id in self._facts:
            return
        if service_id in self._live.by_id:
            self.set_facts(service_id, facts)
        else:
            self._facts[service_id] = facts

    def _service_id(self, advertisement: Advertisement) -> str:
        return self._rules.service_id(advertisement.device_id, advertisement.urn)
