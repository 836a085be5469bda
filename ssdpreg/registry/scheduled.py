"""Searches for devices that were silent for most of their max-age. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ssdpreg.ssdp.messages import SEARCH_ALL

#: Number of waiting search targets from which one search for all types replaces them. A service with a short max-age
#: cannot wait for several searches.
_MANY_TARGETS = 3
#: Largest number of hosts that one search is sent to by unicast. The search of the group reaches all devices.
_MAX_HOSTS = 64


class ScheduledSearches:
    """
    Searches for silent devices that wait for the budget.

    They are merged, and replaced by one search for all types if they have several targets. So none waits long, and a
    host receives at most one search a second on average.
    """

    def __init__(self) -> None:
        # Targets, hosts and shortest time of the searches that wait. No more than :data:`_MANY_TARGETS` are kept.
        self._targets: dict[str, None] = {}
        self._hosts: dict[str, None] = {}
        self._within = math.inf

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, target: str, within: float, hosts: Sequence[str]) -> None:
        """Add a search."""
        if len(self._targets) < _MANY_TARGETS:
            self._targets[target] = None
        for host in hosts:
            if len(self._hosts) < _MAX_HOSTS:
                self._hosts[host] = None
        self._within = min(self._within, within)

    def take(self) -> tuple[str, float, tuple[str, ...]]:
        """Remove the next search, and return its target, the seconds until a reply is too late, and its hosts."""
        first = next(iter(self._targets))
        target = SEARCH_ALL if len(self._targets) >= _MANY_TARGETS else first
        search = target, self._within, tuple(self._hosts)
        del self._targets[first]
        if target == SEARCH_ALL or not self._targets:
            self.clear()
        return search

    def clear(self) -> None:
        """Remove all searches."""
        self._targets.clear()
        self._hosts.clear()
        self._within = math.inf
