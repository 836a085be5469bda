"""Searches of the registry: periodic searches for all terms, and searches that the table needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ssdpreg.discovery.events import SearchNeeded
from ssdpreg.discovery.rates import TokenBucket
from ssdpreg.discovery.search_terms import search_target
from ssdpreg.ssdp.search_scheduler import SearchScheduler
from ssdpreg.timers import EarliestCall

#: Searches that unsolicited datagrams cause: at most one a second on average.
_RATE = 1.0
_BURST = 5.0
#: Search targets and hosts for each that wait for the budget.
_MAX_WAITING = 64
_MAX_HOSTS = 16


class UnicastSearches(Protocol):
    """The part of :class:`ssdpreg.ssdp.network.Network` that searches single hosts."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None: ...


class NeededSearches:
    """
    Searches that the table needs to decide.

    Searches of the daemon's own schedule are sent at once. Searches that unsolicited datagrams cause have a budget.
    Those that wait for it are merged by search target: one search decides about all services of its type.

    :param reactor: Provides ``IReactorTime``.
    :param scheduler: Searches the group.
    :param network: Searches single hosts.
    :ivar rejected: Number of searches that were not sent, because too many were waiting.
    """

    def __init__(self, reactor: Any, scheduler: SearchScheduler, network: UnicastSearches) -> None:
        self._reactor, self._scheduler, self._network = reactor, scheduler, network
        self._budget = TokenBucket(_RATE, _BURST)
        self._waiting: dict[str, tuple[float, dict[str, None]]] = {}
        self._next = EarliestCall(reactor, self._send_waiting)
        self.rejected = 0

    def request(self, event: SearchNeeded) -> None:
        """Search for a service, at once or when the budget permits it."""
        target = search_target(event.advertisement.term, event.advertisement.nt)
        if event.scheduled:
            self._send(target, event.within, event.hosts)
            return
        waiting = self._waiting.get(target)
        if waiting is None:
            if len(self._waiting) >= _MAX_WAITING:
                self.rejected += 1
                return
            waiting = (event.within, {})
        within, hosts = waiting
        if len(hosts) < _MAX_HOSTS:
            hosts.update(dict.fromkeys(event.hosts))
        self._waiting[target] = min(within, event.within), hosts
        self._send_waiting()

    def stop(self) -> None:
        """Cancel the searches that wait for the budget."""
        self._next.cancel()
        self._waiting.clear()

    def _send_waiting(self) -> None:
        now = self._reactor.seconds()
        while self._waiting and self._budget.take(now):
            target = next(iter(self._waiting))
            within, hosts = self._waiting.pop(target)
            self._send(target, within, tuple(hosts))
        if self._waiting:
            self._next.request(now + self._budget.wait(now))

    def _send(self, target: str, within: float, hosts: Sequence[str]) -> None:
        self._scheduler.search_soon(target, within)
        if hosts:
            self._network.search_hosts(target, hosts)
