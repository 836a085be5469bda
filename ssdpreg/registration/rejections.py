"""Changes that a backend rejected, and the time of their next attempt. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration.model import Registration

#: Seconds until the next attempt. They double with each further rejection of the same registration.
_SHORTEST_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0
#: The longest pause while an entry of another program is in the way. Its removal causes no event here.
_LONGEST_PAUSE_OF_CONFLICT = 120.0
#: Attempts in a second that these pauses may cause on average. In catalog mode, each one is a request for a node.
_CONFLICTS_PER_SECOND = 10.0


@dataclass(frozen=True, slots=True)
class RejectedChange:
    """
    A rejected change.

    :ivar wanted: The rejected registration, or None for a removal.
    :ivar error: Reason given by the backend.
    :ivar pause: Seconds from the rejection to the next attempt.
    :ivar retry_at: Time of the next attempt.
    :ivar common: Whether the backend probably rejects the registrations of all services.
    """

    wanted: Registration | None
    error: BackendRefusedError
    pause: float
    retry_at: float
    common: bool = False


class RejectedChanges:
    """
    Rejected changes by service ID. A change that differs from the rejected one may be tried at once.

    A rejection with a common cause is not the fault of the service. As the pauses of the services grow as long as the
    fault lasts, :meth:`try_one` selects a service that finds out whether the fault has ended.
    """

    def __init__(self) -> None:
        # The latest rejection is the last one.
        self._by_id: dict[str, RejectedChange] = {}
        # Number of rejections by the text of the error.
        self._texts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def add(
        self,
        service_id: str,
        wanted: Registration | None,
        error: BackendRefusedError,
        now: float,
        *,
        common: bool = False,
    ) -> bool:
        """
        Record a rejection.

        :param wanted: The rejected registration, or None for a removal.
        :param common: Whether the backend rejected all registrations of a plan of several, or all live services.
        :return: Whether it is the first rejection with this error, which is logged.
        """
        first = not self._texts[str(error)]
        before = self._by_id.get(service_id)
        pause = _SHORTEST_PAUSE
        # A removal does not wait longer: a service that is gone must not stay for an hour.
        if before is not None and wanted is not None and before.wanted == wanted:
            pause = min(2 * before.pause, self._longest_pause(error))
            common = common or before.common
        self.remove(service_id)
        self._by_id[service_id] = RejectedChange(wanted, error, pause, now + pause, common)
        self._texts[str(error)] += 1
        return first

    def remove(self, service_id: str) -> RejectedChange | None:
        """Remove and return the rejection of a service, if there is one."""
        rejected = self._by_id.pop(service_id, None)
        if rejected is not None:
            text = str(rejected.error)
            self._texts[text] -= 1
            if not self._texts[text]:
                del self._texts[text]
        return rejected

    def accept(self, service_id: str) -> list[str]:
        """
        Remove the rejection of a service whose change was accepted now.

        :return: IDs of the services that were rejected with the same error or, like this one, with a common cause: the
            cause has probably ended, and their changes may be tried at once.
        """
        rejected = self.remove(service_id)
        if rejected is None:
            return []
        text, common = str(rejected.error), rejected.common
        if not (common or self._texts[text]):
            return []
        return self._release(lambda each: str(each.error) == text or (common and each.common))

    def try_one(self, now: float) -> None:
        """
        Permit another attempt for one registration whose rejection has a common cause: the one with the earliest.

        Rejections of several services with the same error also have a common cause.
        """
        for service_id, rejected in self._by_id.items():
            if rejected.wanted is not None and (rejected.common or self._texts[str(rejected.error)] > 1):
                self._by_id[service_id] = replace(rejected, retry_at=min(rejected.retry_at, now))
                return

    def release_denied(self) -> list[str]:
        """Remove the rejections that were caused by a missing permission, and return the IDs of their services."""
        return self._release(lambda rejected: rejected.error.denied)

    def clear(self) -> None:
        """Remove all rejections."""
        self._by_id.clear()
        self._texts.clear()

    def error(self, service_id: str) -> BackendRefusedError | None:
        """Return the reason of the latest rejection of a service."""
        rejected = self._by_id.get(service_id)
        return None if rejected is None else rejected.error

    def may_try(self, service_id: str, wanted: Registration | None, now: float) -> bool:
        """
        Return whether a change was not rejected, or is due for another attempt.

        :param wanted: The registration, or None for a removal.
        """
        rejected = self._by_id.get(service_id)
        return rejected is None or rejected.wanted != wanted or now >= rejected.retry_at

    def _longest_pause(self, error: BackendRefusedError) -> float:
        if not error.conflicting:
            return _LONGEST_PAUSE
        return min(max(_LONGEST_PAUSE_OF_CONFLICT, len(self._by_id) / _CONFLICTS_PER_SECOND), _LONGEST_PAUSE)

    def _release(self, matches: Callable[[RejectedChange], bool]) -> list[str]:
        released = [service_id for service_id, rejected in self._by_id.items() if matches(rejected)]
        for service_id in released:
            self.remove(service_id)
        return released
