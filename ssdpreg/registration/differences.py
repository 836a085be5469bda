"""Differences between the live services and the known content of a backend. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ssdpreg.discovery.events import Reason, RemovalReason
from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration.guard import MassRemovalGuard
from ssdpreg.registration.model import Outcome, Plan, Registration
from ssdpreg.registration.pending import PendingChanges, Urgency
from ssdpreg.registration.plan import plan
from ssdpreg.registration.rejections import RejectedChanges
from ssdpreg.values import value

#: Reason of the removal of a registration whose service was not live in this run.
_UNCONFIGURED: Reason = "unconfigured"


@dataclass(frozen=True, slots=True)
class ServiceState:
    """
    State of a live service in the backend.

    :ivar name: ``registered``, ``waiting`` or ``refused``.
    :ivar reason: The backend's reason for a refusal, otherwise empty.
    """

    name: Literal["registered", "waiting", "refused"]
    reason: str = ""


@value(frozen=True, slots=True)
class AppliedChange:
    """
    Change that the backend applied.

    :ivar verb: ``Registered``, ``Updated`` or ``Deregistered``.
    :ivar registration: The registration.
    :ivar reason: Reason of a removal, otherwise None.
    """

    verb: Literal["Registered", "Updated", "Deregistered"]
    registration: Registration
    reason: RemovalReason | None = None


class Differences:
    """
    Differences between the live services and the known content of a backend, in the order in which they are applied.

    A difference is the ID of a service: what has to be done follows from the state of the service when its turn comes.
    The memory in use is bounded by the number of live services and of registrations in the backend. In particular,
    nothing is kept for a service that appears and leaves before the backend holds it.

    :param desired: Registrations of the live services by service ID: a view that changes with them.
    :param priority: Returns the priority of a new service: those of a higher priority are registered first.
    :ivar actual: Registrations that the backend is known to hold, by service ID; None before the first :meth:`load`.
        It may be the mapping of the backend itself: see :class:`~ssdpreg.interfaces.ISharedRegistrations`.
    :ivar adopted: Whether the live services include those of an earlier run. Otherwise only services that left are
        removed.
    :ivar rejected: The rejected changes.
    """

    def __init__(self, desired: Mapping[str, Registration], priority: Callable[[str], int]) -> None:
        self._desired, self._priority = desired, priority
        self.actual: dict[str, Registration] | None = None
        self.adopted = False
        self.rejected = RejectedChanges()
        self._queue = PendingChanges()
        self._guard = MassRemovalGuard()
        # Removals that the guard has yet to allow.
        self._suspects: dict[str, None] = {}
        # Reasons of departures, for services that the backend holds or may be about to hold.
        self._reasons: dict[str, Reason] = {}
        # Registrations that the backend held before the changes in progress, None for none.
        self._in_progress: dict[str, Registration | None] = {}
        # Registrations before and after the changes with an unknown outcome, None for none. There are no more than
        # changes in progress at a time: the next attempt begins with a comparison.
        self._unconfirmed: dict[str, tuple[Registration | None, Registration | None]] = {}

    @property
    def queued(self) -> int:
        """Number of changes that can be applied now."""
        return len(self._queue)

    @property
    def held(self) -> int:
        """Number of removals that the guard holds back."""
        return self._guard.held

    @property
    def pending(self) -> int:
        """Number of changes that the backend has yet to apply, the rejected ones included."""
        if self.actual is None:
            return len(self._desired)
        return len(self._queue) + len(self._suspects) + len(self.rejected) + len(self._in_progress)

    @property
    def remembered(self) -> int:
        """Number of services for which something is kept besides their registrations."""
        return len({*self._reasons, *self._suspects, *self._in_progress}) + len(self._queue) + len(self.rejected)

    def state(self, service_id: str) -> ServiceState:
        """Return the state of a live service in the backend."""
        error = self.rejected.error(service_id)
        if error is not None:
            return ServiceState("refused", str(error))
        found, wanted = (self.actual or {}).get(service_id), self._desired.get(service_id)
        return ServiceState("registered" if found is not None and _equal(found, wanted) else "waiting")

    # Changes of the live services.

    def appeared(self, service_id: str, now: float) -> None:
        """Process a service that is live now, or whose registration changed."""
        self._reasons.pop(service_id, None)
        self.compare(service_id, now)

    def left(self, service_id: str, reason: Reason, now: float) -> None:
        """Process a service that is no longer live."""
        self.rejected.remove(service_id)
        if service_id in (self.actual or {}) or service_id in self._in_progress:
            self._reasons[service_id] = reason
        self.compare(service_id, now)

    # Comparison with the backend.

    def load(self, found: dict[str, Registration], now: float) -> list[AppliedChange]:
        """
        Replace the known content of the backend. The caller compares all services afterwards.

        One of the registrations that the backend rejects for a common cause may be tried again.

        :return: Changes with an unknown outcome that were applied, as the content shows.
        """
        # If this daemon has to adopt what it finds, another daemon may have made the changes.
        confirmed = self._find_confirmed(found) if self.adopted else []
        self._unconfirmed.clear()
        self.actual = found
        self.rejected.try_one(now)
        self._reasons = {service_id: reason for service_id, reason in self._reasons.items() if service_id in found}
        self._suspects.clear()
        self._queue.clear()
        return confirmed

    def _find_confirmed(self, found: Mapping[str, Registration]) -> list[AppliedChange]:
        confirmed = []
        for service_id, (before, after) in self._unconfirmed.items():
            if not _equal(found.get(service_id), after):
                continue
            if after is not None:
                confirmed.append(AppliedChange("Registered" if before is None else "Updated", after))
            elif before is not None:
                reason = self._reasons.get(service_id, _UNCONFIGURED)
                confirmed.append(AppliedChange("Deregistered", before, reason))
        return confirmed

    def ids(self) -> list[str]:
        """Return the IDs of all services that are live or in the backend."""
        return [*self._desired, *(service_id for service_id in self.actual or () if service_id not in self._desired)]

    def compare(self, service_id: str, now: float) -> None:
        """
        Compare one service, and queue it if its registration in the backend has to change.

        A service whose change is in progress is compared when that ends: there is one change of a service at a time.
        """
        if self.actual is None or service_id in self._in_progress:
            return
        wanted, found = self._desired.get(service_id), self.actual.get(service_id)
        self._suspects.pop(service_id, None)
        if _equal(wanted, found):
            self._queue.discard(service_id)
            self.rejected.remove(service_id)
            if wanted is not None:
                # One object in place of two equal ones saves memory.
                self.actual[service_id] = wanted
        elif not self.rejected.may_try(service_id, wanted, now):
            self._queue.discard(service_id)
        elif wanted is not None and found is not None:
            self._queue.add(service_id, wanted.address, Urgency.CHANGE)
        elif wanted is not None:
            self._queue.add(service_id, wanted.address, Urgency.NEW, self._priority(service_id))
        elif found is not None:
            self._queue.discard(service_id)
            self._compare_removal(found)

    def _compare_removal(self, found: Registration) -> None:
        reason = self._reasons.get(found.service_id)
        if reason == "byebye":
            self._queue.add(found.service_id, found.address, Urgency.DEPARTURE)
        elif reason is not None or self.adopted:
            self._suspects[found.service_id] = None

    def check_removals(self, now: float, *, full: bool) -> None:
        """
        Queue the removals that are not part of a suspicious mass removal.

        :param full: Whether all services were compared just now.
        """
        if self.actual is None or not (self._suspects or full):
            return
        allowed = self._guard.check(self._suspects, len(self.actual), now, full=full)
        # The order of a set of texts differs from one process to the next. A simulation has to be repeatable.
        for service_id in [each for each in self._suspects if each in allowed]:
            del self._suspects[service_id]
            self._queue.add(service_id, self.actual[service_id].address, Urgency.DEPARTURE)

    # Application of changes.

    def take(self, count: int) -> Plan:
        """
        Return the plan of the most urgent changes, at most so many. They are in progress until :meth:`end_progress`.

        Several plans may be in progress at a time. None of their services is in two of them.
        """
        actual = self.actual or {}
        ids = self._queue.take(count)
        taken = plan(
            {service_id: self._desired[service_id] for service_id in ids if service_id in self._desired},
            {service_id: actual[service_id] for service_id in ids if service_id in actual},
        )
        self._in_progress.update((service_id, actual.get(service_id)) for service_id in taken.service_ids)
        return taken

    def record(self, changes: Plan, outcome: Outcome, now: float) -> Iterator[AppliedChange]:
        """Record which changes the backend applied, and yield them."""
        assert self.actual is not None
        if outcome.unavailable is not None:
            self._note_unconfirmed(changes, outcome)
        for wanted in changes.register:
            if wanted.service_id in outcome.applied:
                # The backend may have changed the mapping already.
                before = self._in_progress[wanted.service_id]
                verb: Literal["Updated", "Registered"] = "Registered" if before is None else "Updated"
                self.actual[wanted.service_id] = wanted
                self._accept(wanted.service_id, now)
                yield AppliedChange(verb, wanted)
        for found in changes.deregister:
            if found.service_id in outcome.applied:
                self.actual.pop(found.service_id, None)
                self._accept(found.service_id, now)
                reason = self._reasons.pop(found.service_id, _UNCONFIGURED)
                yield AppliedChange("Deregistered", found, reason)

    def _note_unconfirmed(self, changes: Plan, outcome: Outcome) -> None:
        after = {registration.service_id: registration for registration in changes.register}
        for service_id in changes.service_ids:
            if service_id not in outcome.applied and service_id not in outcome.refused:
                self._unconfirmed[service_id] = ((self.actual or {}).get(service_id), after.get(service_id))

    def reject(
        self, changes: Plan, refused: Mapping[str, BackendRefusedError], now: float
    ) -> Iterator[tuple[str, BackendRefusedError]]:
        """Record which changes the backend rejected, and yield those whose error is new."""
        wanted = {registration.service_id: registration for registration in changes.register}
        # Either of the two is rather a fault of the backend than one of the services.
        common = (len(wanted) > 1 and wanted.keys() <= refused.keys()) or all(
            service_id in refused or self.rejected.error(service_id) is not None for service_id in self._desired
        )
        for service_id, error in refused.items():
            if self.rejected.add(service_id, wanted.get(service_id), error, now, common=common):
                yield service_id, error

    def end_progress(self, changes: Plan, now: float) -> None:
        """End the progress of a plan: compare its services again, because they may have changed meanwhile."""
        ids = changes.service_ids
        for service_id in ids:
            del self._in_progress[service_id]
        self._compare_all(ids, now)
        for service_id in ids:
            if service_id not in (self.actual or {}):
                self._reasons.pop(service_id, None)

    def release_denied(self, now: float) -> None:
        """Queue the changes that were rejected for a missing permission."""
        self._compare_all(self.rejected.release_denied(), now)

    def _accept(self, service_id: str, now: float) -> None:
        self._compare_all(self.rejected.accept(service_id), now)

    def _compare_all(self, service_ids: Iterable[str], now: float) -> None:
        for service_id in service_ids:
            self.compare(service_id, now)


def _equal(one: Registration | None, other: Registration | None) -> bool:
    # The comparison of all fields is needed only for registrations that were read from the backend.
    return one is other or (one is not None and other is not None and one == other)
