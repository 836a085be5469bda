"""Searches that wait for the budget, by urgency and search target. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.ssdp.messages import SEARCH_ALL

#: Number of search targets of an urgency from which one search for all types replaces them. A pattern matches any
#: number of types, and each is a target: claims about forged types must not delay the search for a device.
_MANY_TARGETS = 8
#: Largest number of search targets of an urgency, and of hosts for each target.
_MAX_WAITING = 64
_MAX_HOSTS = 64
#: The same for new claims: a flood of them must leave sockets to the searches of other hosts.
_MAX_NEW_HOSTS = 20


@dataclass
class _Waiting:
    """
    Search that waits for the budget.

    :ivar within: Seconds until a reply is too late.
    :ivar hosts: Hosts to search by unicast.
    :ivar is_tracked: Whether it is needed only as long as a service in the table waits for it.
    """

    within: float = math.inf
    hosts: dict[str, None] = field(default_factory=dict)
    is_tracked: bool = True


class WaitingSearches:
    """
    Searches that wait for the budget.

    They are merged by search target: one search decides about all services of its type. If many targets wait, one
    search for all types replaces them. If a search has too many hosts, random ones are dropped: the hosts of one sender
    must not keep out the others. The urgencies take turns, except the last one.

    :param awaited: Called with a search target. Returns whether a service still waits for that search.
    :param random: Selects the hosts that are dropped.
    :ivar rejected: Number of hosts that were dropped, because too many were waiting.
    """

    def __init__(self, awaited: Callable[[str], bool], random: Random) -> None:
        self._awaited, self._random = awaited, random
        self._waiting: dict[SearchUrgency, dict[str, _Waiting]] = {urgency: {} for urgency in SearchUrgency}
        # The urgencies in the order of their turns.
        self._turns = [urgency for urgency in SearchUrgency if urgency is not SearchUrgency.UNFOUNDED]
        self.rejected = 0

    def add(self, target: str, event: SearchNeeded) -> None:
        """Add a search. If too many targets wait, the search for all types includes it."""
        waiting = self._waiting[event.urgency]
        if target not in waiting and len(waiting) >= _MAX_WAITING:
            for each in list(waiting):
                self._drop_obsolete(event.urgency, each)
            if len(waiting) >= _MAX_WAITING:
                target = SEARCH_ALL
        search = waiting.setdefault(target, _Waiting())
        search.within = min(search.within, event.within)
        search.is_tracked = search.is_tracked and event.is_tracked
        limit = _MAX_NEW_HOSTS if event.urgency is SearchUrgency.NEW else _MAX_HOSTS
        for host in event.hosts:
            search.hosts[host] = None
            if len(search.hosts) > limit:
                del search.hosts[self._random.choice(list(search.hosts))]
                self.rejected += 1

    def contains(self, target: str, urgency: SearchUrgency) -> bool:
        """Return whether a search of an urgency waits."""
        return target in self._waiting[urgency] or SEARCH_ALL in self._waiting[urgency]

    def next_urgency(self) -> SearchUrgency | None:
        """Return the urgency whose turn it is, or None if no search waits. The last urgency has no turn."""
        for urgency in (*self._turns, SearchUrgency.UNFOUNDED):
            waiting = self._waiting[urgency]
            while waiting and self._drop_obsolete(urgency, next(iter(waiting))):
                pass
            if waiting:
                return urgency
        return None

    def take(self, urgency: SearchUrgency) -> tuple[str, float, tuple[str, ...]]:
        """
        Remove the next search of an urgency, and those of the same target of other urgencies.

        :return: Target, seconds until a reply is too late, and hosts, those of the most urgent ones first.
        """
        if urgency in self._turns:
            self._turns.remove(urgency)
            self._turns.append(urgency)
        target = next(iter(self._waiting[urgency]))
        if len(self._waiting[urgency]) >= _MANY_TARGETS:
            target = SEARCH_ALL
            searches = [search for waiting in self._waiting.values() for search in waiting.values()]
            self.clear()
        else:
            searches = [waiting.pop(target) for waiting in self._waiting.values() if target in waiting]
        hosts = tuple(dict.fromkeys(host for search in searches for host in search.hosts))
        self.rejected += max(0, len(hosts) - _MAX_HOSTS)
        return target, min(search.within for search in searches), hosts[:_MAX_HOSTS]

    def clear(self) -> None:
        """Remove all searches."""
        for waiting in self._waiting.values():
            waiting.clear()

    def _drop_obsolete(self, urgency: SearchUrgency, target: str) -> bool:
        """
        Remove a search whose services have left, or about which the decision was taken without it.

        :return: Whether it was removed.
        """
        obsolete = self._waiting[urgency][target].is_tracked and not self._awaited(target)
        if obsolete:
            del self._waiting[urgency][target]
        return obsolete
