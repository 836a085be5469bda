"""Searches that one process of the daemon sends to the groups, counted where they leave its host."""

from __future__ import annotations

from collections import Counter

from ssdpreg.ssdp.messages import SEARCH_ALL


class SearchCounts:
    """
    Number of searches that one process sent to the group on each interface.

    :ivar by_interface: Number of searches by interface.
    :ivar for_all_at: Time of the latest search for all types by interface.
    :ivar most_at_once: Largest number of searches on one interface at the same moment since the last :meth:`take_most`.
    """

    def __init__(self) -> None:
        self.by_interface: Counter[str] = Counter()
        self.for_all_at: dict[str, float] = {}
        self._at: dict[str, tuple[float, int]] = {}
        self.most_at_once = 0

    def add(self, interface: str, target: str, now: float, resumed_at: float) -> None:
        """
        Count a search.

        :param resumed_at: End of the latest suspension of the process, which sends all overdue searches then.
        """
        self.by_interface[interface] += 1
        if target == SEARCH_ALL:
            self.for_all_at[interface] = now
        at, number = self._at.get(interface, (-1.0, 0))
        number = number + 1 if at == now != resumed_at else 1
        self._at[interface] = now, number
        self.most_at_once = max(self.most_at_once, number)

    def take_most(self) -> int:
        """Return and reset :attr:`most_at_once`."""
        most, self.most_at_once = self.most_at_once, 0
        return most
