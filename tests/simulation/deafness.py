"""Record of the times in which the daemon could not receive."""

from __future__ import annotations

import math

#: Faults during which the daemon receives nothing, for so long that it has to notice that.
_DEAF = ("no carrier", "carrier flaps", "interface removed", "daemon: suspended")
#: Seconds of an interruption that the daemon may not notice, and shortest interruption that counts.
#: Faults after which it searches at once.
_SEARCHED = (*_DEAF, "daemon: kill -9", "daemon: restart")
_UNNOTICED = 4.0
_SHORTEST = 10.0


class Deafness:
    """Times in which the daemon received nothing, by interface; an empty name stands for all interfaces."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._times: dict[str, list[tuple[float, float]]] = {}
        self._searched_at: dict[str, float] = {}

    def began(self, interface: str, fault: str, now: float) -> None:
        """Process the beginning of a fault."""
        if fault in _DEAF:
            self._began[interface] = now

    def ended(self, interface: str, fault: str, now: float) -> None:
        """Process the end of a fault."""
        if fault in _SEARCHED:
            self._searched_at[interface] = now
        if fault in _DEAF and interface in self._began:
            self._times.setdefault(interface, []).append((self._began.pop(interface), now))

    def searched_at(self, interface: str) -> float:
        """Return the latest time at which the daemon had to search, at once, because it could receive again."""
        return max(self._searched_at.get(name, -math.inf) for name in ("", interface))

    def since(self, when: float, interface: str) -> float:
        """Return the least number of seconds since a time that the daemon has to leave out of account."""
        return max(self._seconds(when, name) for name in ("", interface))

    def at_most_since(self, when: float, interface: str | None) -> float:
        """
        Return the largest number of seconds since a time that the daemon may leave out of account.

        :param interface: None stands for an interface that the daemon does not know.
        """
        names = self._times if interface is None else ("", interface)
        return math.fsum(
            end - max(begin, when) for name in names for begin, end in self._times.get(name, ()) if end > when
        )

    def _seconds(self, when: float, interface: str) -> float:
        lengths = (end - begin for begin, end in self._times.get(interface, ()) if begin >= when)
        return math.fsum(length - _UNNOTICED for length in lengths if length >= _SHORTEST)
