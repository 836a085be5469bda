"""Guard against the removal of most registrations by mistake. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

#: Number of removals within :data:`_WINDOW` that are never suspicious.
_HARMLESS = 5
#: Seconds in which removals count together. Services that expire one after the other are a mass removal, too.
_WINDOW = 60.0
#: Seconds after which a comparison with the backend confirms a suspicious removal.
_SECOND_LOOK = 20.0


class MassRemovalGuard:
    """
    Guard that holds back a mass removal until a second full comparison confirms it.

    An empty table, an interface that receives nothing, or a backend whose listing is wrong must not remove the services
    of a whole rack. Removals after a byebye that was received are not passed to the guard.

    :ivar held: Number of removals that are held back.
    """

    def __init__(self) -> None:
        self._suspects: dict[str, float] = {}
        self._allowed: deque[tuple[float, int]] = deque()
        self.held = 0

    def check(self, removals: Collection[str], total: int, now: float, *, full: bool) -> frozenset[str]:
        """
        Return the IDs of the services that may be removed now.

        With those of the last minute, more than five removals, and more than half of all registrations, are
        suspicious. Such a removal may be made after a second full comparison at least 20 s later.

        :param removals: IDs of all services that are to be removed, without those after a byebye.
        :param total: Number of registrations in the backend.
        :param full: Whether the removals come from a comparison with everything that the backend holds. Only such a
            comparison can confirm an earlier one.
        """
        while self._allowed and self._allowed[0][0] <= now - _WINDOW:
            self._allowed.popleft()
        recent = sum(count for _, count in self._allowed)
        count = len(removals) + recent
        if count > _HARMLESS and count > (total + recent) / 2:
            allowed = frozenset(
                each for each in removals if full and self._suspects.get(each, now) <= now - _SECOND_LOOK
            )
            self._suspects = {each: self._suspects.get(each, now) for each in removals if each not in allowed}
        else:
            if full:
                self._suspects = {}
            # A single change does not release what a comparison has to confirm.
            allowed = frozenset(each for each in removals if each not in self._suspects)
            if allowed:
                self._allowed.append((now, len(allowed)))
        self.held = len(removals) - len(allowed)
        return allowed
