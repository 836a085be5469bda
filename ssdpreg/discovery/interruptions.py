"""Interruptions of the reception: time that does not count for the expiry of services. Pure: time is an argument."""

from __future__ import annotations

#: Number of interruptions that are kept for each interface. The two oldest are merged when there are more.
LIMIT = 16


class Interruptions:
    """Times in which datagrams were not received, by interface; "" for all interfaces."""

    def __init__(self) -> None:
        self._times: dict[str, list[tuple[float, float]]] = {}

    def add(self, began_at: float, ended_at: float, interface: str = "") -> None:
        """Add an interruption that has ended."""
        times = self._times.setdefault(interface, [])
        times.append((began_at, ended_at))
        if len(times) > LIMIT:
            # The sum of their seconds stays the same.
            first, second = times[:2]
            times[:2] = [(second[0] - (first[1] - first[0]), second[1])]

    def since(self, when: float, interface: str) -> float:
        """Return the seconds since a time in which nothing was received on an interface."""
        times = [(max(begin, when), end) for begin, end in self._times.get("", ()) if end > when]
        if interface:
            times += [(max(begin, when), end) for begin, end in self._times.get(interface, ()) if end > when]
        total = 0.0
        for begin, end in sorted(times):
            # A part that two interruptions have in common counts once.
            if end > when:
                total += end - max(begin, when)
                when = end
        return total
