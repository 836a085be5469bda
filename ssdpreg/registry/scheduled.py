"""Searches for devices that were silent for most of their max-age."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ssdpreg.discovery.rates import TokenBucket
from ssdpreg.ssdp.messages import SEARCH_ALL
from ssdpreg.timers import EarliestCall

#: Scheduled searches: at most one a second on average. The burst suffices for devices of many types that were announced
#: at the same time.
_RATE = 1.0
_BURST = 16.0
#: Number of waiting search targets from which one search for all types replaces them. A service with a short max-age
#: cannot wait for several searches.
_MANY_TARGETS = 3
#: Largest number of hosts that one search is sent to by unicast. The search of the group reaches all devices.
_MAX_HOSTS = 64


class ScheduledSearches:
    """
    Searches for devices that were silent for most of their max-age.

    Unsolicited datagrams can cause them, too: a service with a max-age of 1 s needs one each second. They have a
    budget. Those that have to wait for it are merged, and replaced by one search for all types if they have several
    targets. So none waits long, and a host receives at most one search a second on average.

    :param reactor: Provides ``IReactorTime``.
    :param send: Called as ``send(target, within, hosts)`` for each search.
    """

    def __init__(self, reactor: Any, send: Callable[[str, float, Sequence[str]], None]) -> None:
        self._reactor, self._send = reactor, send
        self._budget = TokenBucket(_RATE, _BURST)
        # Targets, hosts and shortest time of the searches that wait. No more than :data:`_MANY_TARGETS` are kept.
        self._targets: dict[str, None] = {}
        self._hosts: dict[str, None] = {}
        self._within = math.inf
        self._next = EarliestCall(reactor, self._send_waiting)

    def request(self, target: str, within: float, hosts: Sequence[str]) -> None:
        """Search for a target, at once or when the budget permits it."""
        if len(self._targets) < _MANY_TARGETS:
            self._targets[target] = None
        for host in hosts:
            if len(self._hosts) < _MAX_HOSTS:
                self._hosts[host] = None
        self._within = min(self._within, within)
        self._send_waiting()

    def stop(self) -> None:
        """Cancel the searches that wait for the budget."""
        self._next.cancel()
        self._clear()

    def _clear(self) -> None:
        self._targets.clear()
        self._hosts.clear()
        self._within = math.inf

    def _send_waiting(self) -> None:
        now = self._reactor.seconds()
        while self._targets:
            if not self._budget.take(now):
                self._next.request(now + self._budget.wait(now))
                return
            target = SEARCH_ALL if len(self._targets) >= _MANY_TARGETS else next(iter(self._targets))
            self._send(target, self._within, tuple(self._hosts))
            del self._targets[next(iter(self._targets))]
            if target == SEARCH_ALL or not self._targets:
                self._clear()
