"""Changes that a backend rejected, and the time of their next attempt. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration.model import Registration

#: Seconds until the next attempt. They double with each further rejection of the same registration.
_SHORTEST_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class RejectedChange:
    """
    A rejected change.

    :ivar wanted: The rejected registration, or None for a removal.
    :ivar error: Reason given by the backend.
    :ivar pause: Seconds from the rejection to the next attempt.
    :ivar retry_at: Time of the next attempt.
    """

    wanted: Registration | None
    error: BackendRefusedError
    pause: float
    retry_at: float


class RejectedChanges:
    """Rejected changes by service ID. A change that differs from the rejected one may be tried at once."""

    def __init__(self) -> None:
        self._by_id: dict[str, RejectedChange] = {}
        # Number of rejections by the text of the error.
        self._texts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, service_id: str, wanted: Registration | None, error: BackendRefusedError, now: float) -> bool:
        """
        Record a rejection.

        :param wanted: The rejected registration, or None for a removal.
        :return: Whether it is the first rejection with this error, and so worth a line in the log.
        """
        first = not self._texts[str(error)]
        before = self._by_id.get(service_id)
        pause = _SHORTEST_PAUSE
        # A removal does not wait longer: a service that is gone must not stay for an hour.
        if before is not None and wanted is not None and before.wanted == wanted:
            pause = min(2 * before.pause, _LONGEST_PAUSE)
        self.remove(service_id)
        self._by_id[service_id] = RejectedChange(wanted, error, pause, now + pause)
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

        :return: IDs of the services that were rejected with the same error: the cause has probably ended, and their
            changes may be tried at once.
        """
        rejected = self.remove(service_id)
        if rejected is None:
            return []
        text = str(rejected.error)
        return self._release(lambda error: str(error) == text) if self._texts[text] else []

    def release_denied(self) -> list[str]:
        """Remove the rejections that were caused by a missing permission, and return the IDs of their services."""
        return self._release(lambda error: error.denied)

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

    def _release(self, matches: Callable[[BackendRefusedError], bool]) -> list[str]:
        released = [service_id for service_id, rejected in self._by_id.items() if matches(rejected.error)]
        for service_id in released:
            self.remove(service_id)
        return released
