"""Searches of single hosts that have replied to a search of the group, and have to confirm their claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from ssdpreg.registry.search_budgets import HostBudget
from ssdpreg.ssdp.search_address import parse_search_address
from ssdpreg.timers import EarliestCall

#: Searches in a second, and at once.
_RATE = 20.0
_BURST = 40.0
#: Largest number of searches that wait.
_MAX_WAITING = 4096


class Verifications:
    """
    Searches of single hosts that have replied to a search of the group.

    They do not wait for the searches of hosts that have only announced services: any sender can announce services of
    20,000 hosts, but a reply is accepted only on the socket of a search. Each search is one datagram.

    :param reactor: Provides ``IReactorTime``.
    :param search: Called as ``search(target, hosts)`` for each search.
    :param random: Selects the search that is dropped when too many wait.
    :ivar rejected: Number of searches that were not sent.
    """

    def __init__(self, reactor: Any, search: Callable[[str, Sequence[str]], None], random: Random) -> None:
        self._reactor, self._search, self._random = reactor, search, random
        self._budget = HostBudget(_RATE, _BURST)
        # Targets and addresses of the searches that wait, in the order of their requests.
        self._waiting: dict[tuple[str, str], None] = {}
        self._next = EarliestCall(reactor, self._send)
        self.rejected = 0

    def request(self, target: str, addresses: Iterable[str]) -> None:
        """Search for a target at some hosts, at once or when the budget permits it."""
        now = self._reactor.seconds()
        for address in addresses:
            if (target, address) in self._waiting:
                continue
            if not self._budget.take_of_host(parse_search_address(address)[0], now):
                self.rejected += 1
                continue
            self._waiting[target, address] = None
            if len(self._waiting) > _MAX_WAITING:
                del self._waiting[self._random.choice(list(self._waiting))]
                self.rejected += 1
        self._send()

    def stop(self) -> None:
        """Cancel the searches that wait for the budget."""
        self._next.cancel()
        self._waiting.clear()

    def _send(self) -> None:
        now = self._reactor.seconds()
        while self._waiting:
            if not self._budget.take(now):
                self._next.request(now + self._budget.wait(now))
                return
            target, address = next(iter(self._waiting))
            del self._waiting[target, address]
            self._search(target, (address,))
