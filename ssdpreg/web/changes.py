"""Latest changes of single services, for the status page."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration

#: Services whose changes are kept, and changes of each. They take less than 4 MB.
MOST_SERVICES = 1000
MOST_CHANGES = 8
#: Characters of a former LOCATION that are kept.
_LONGEST_LOCATION = 200

#: Texts of departures, by reason.
_DEPARTURES = {
    "byebye": "left with a byebye",
    "expired": "expired",
    "evicted": "gave way to other services, because the table was full",
    "unconfigured": "was removed, because no search term matched it",
}


@dataclass(frozen=True, slots=True)
class PastChange:
    """
    A change of a service.

    :ivar at: Reading of the reactor's clock.
    :ivar text: Text for a reader, such as ``moved from http://10.0.0.5/``.
    """

    at: float
    text: str


@implementer(IRegistrationListener)
class ServiceChanges:
    """
    The latest changes of the services that changed last, also of those that left and may return.

    A new service is no change: the time at which it appeared is known elsewhere. So a flood of new services does not
    displace the changes of other services.

    :param reactor: Provides ``IReactorTime``.
    :ivar displaced: Number of services whose changes gave way to those of other services.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # The service that changed last is at the end.
        self._by_id: dict[str, deque[PastChange]] = {}
        self.displaced = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def of(self, service_id: str) -> Sequence[PastChange]:
        """Return the changes of a service, the last one first."""
        return list(reversed(self._by_id.get(service_id, ())))

    def appeared(self, registration: Registration) -> None:
        if registration.service_id in self._by_id:
            self._record(registration.service_id, "appeared again")

    def changed(self, registration: Registration, before: Registration) -> None:
        self._record(registration.service_id, describe_change(registration, before))

    def left(self, registration: Registration, reason: str) -> None:
        self._record(registration.service_id, _DEPARTURES.get(reason, reason))

    def _record(self, service_id: str, text: str) -> None:
        changes = self._by_id.pop(service_id, None)
        if changes is None:
            changes = deque(maxlen=MOST_CHANGES)
            if len(self._by_id) >= MOST_SERVICES:
                del self._by_id[next(iter(self._by_id))]
                self.displaced += 1
        changes.append(PastChange(self._reactor.seconds(), text))
        self._by_id[service_id] = changes


def describe_change(registration: Registration, before: Registration) -> str:
    """Return a text about the difference between two registrations of one service."""
    if registration.location != before.location:
        return f"moved from {before.location[:_LONGEST_LOCATION]}"
    differences = _different_keys(registration.meta, before.meta)
    for name in ("name", "address", "port", "tags", "checks"):
        if getattr(registration, name) != getattr(before, name):
            differences.append(name)
    return f"changed: {', '.join(differences)}"


def _different_keys(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the keys whose values differ, without the prefix of SSDP."""
    keys = dict.fromkeys((*first, *second))
    return [key.removeprefix("ssdp-") for key in keys if first.get(key) != second.get(key)]
