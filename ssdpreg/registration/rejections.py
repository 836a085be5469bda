"""Changes that a backend rejected, and the time of their next attempt. Pure: time is an argument, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration.model import Plan, Registration

#: Seconds until the next attempt: after a missing permission, which an operator may grant at any time, and after any
#: other rejection.
_DENIED_PAUSE = 60.0
_REJECTED_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class RejectedChange:
    """
    A rejected change.

    :ivar wanted: The rejected registration, or None for a removal.
    :ivar error: Reason given by the backend.
    :ivar retry_at: Time of the next attempt.
    """

    wanted: Registration | None
    error: BackendRefusedError
    retry_at: float


class RejectedChanges:
    """Rejected changes by service ID. A change that differs from the rejected one may be tried at once."""

    def __init__(self) -> None:
        self._by_id: dict[str, RejectedChange] = {}

    def add(self, service_id: str, wanted: Registration | None, error: BackendRefusedError, now: float) -> bool:
        """
        Record a rejection.

        :param wanted: The rejected registration, or None for a removal.
        :return: Whether it is the first rejection with this error, and so worth a line in the log.
        """
        first = not any(str(rejected.error) == str(error) for rejected in self._by_id.values())
        pause = _DENIED_PAUSE if error.denied else _REJECTED_PAUSE
        self._by_id[service_id] = RejectedChange(wanted, error, now + pause)
        return first

    def remove(self, service_id: str) -> None:
        """Forget the rejection of a service, if there is one."""
        self._by_id.pop(service_id, None)

    def error(self, service_id: str) -> BackendRefusedError | None:
        """Return the reason of the latest rejection of a service."""
        rejected = self._by_id.get(service_id)
        return None if rejected is None else rejected.error

    def due(self, changes: Plan, now: float) -> Plan:
        """Return a plan without the rejected changes whose next attempt is not due yet."""
        return Plan(
            tuple(wanted for wanted in changes.register if self._may_try(wanted.service_id, wanted, now)),
            tuple(found for found in changes.deregister if self._may_try(found.service_id, None, now)),
        )

    def _may_try(self, service_id: str, wanted: Registration | None, now: float) -> bool:
        rejected = self._by_id.get(service_id)
        return rejected is None or rejected.wanted != wanted or now >= rejected.retry_at
