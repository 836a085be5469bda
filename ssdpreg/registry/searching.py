"""Searches of the registry: periodic searches for all terms, and searches that the table needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.discovery.rates import SenderBuckets, TokenBucket
from ssdpreg.registry.scheduled import ScheduledSearches
from ssdpreg.ssdp.search_address import parse_search_address
from ssdpreg.ssdp.search_scheduler import SearchScheduler
from ssdpreg.timers import EarliestCall

#: Searches that unsolicited datagrams cause: at most one a second on average. The burst suffices for the byebyes of a
#: device with many services, which would otherwise leave one after the other.
_RATE = 1.0
_BURST = 16.0
#: Part of the burst that is kept for more urgent searches than those after an unfounded byebye.
_RESERVE = 14.0
#: Repeated searches of single hosts in a second, on average, and at once.
_REPEAT_RATE = 20.0
_REPEAT_BURST = 200.0
#: Searches of single hosts after byebyes of their own address, in a second on average and at once: in all, and for each
#: host. They do not wait for the budget of searches of the group, which any sender can use up.
_BYE_RATE = 20.0
_BYE_BURST = 100.0
_BYE_RATE_OF_HOST = 1.0
_BYE_BURST_OF_HOST = 16.0
#: Largest number of search targets that wait for the budget, and of hosts for each target.
_MAX_WAITING = 64
_MAX_HOSTS = 64


class UnicastSearches(Protocol):
    """The part of :class:`ssdpreg.ssdp.network.Network` that searches single hosts."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None: ...


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

    def merge(self, within: float, hosts: Iterable[str], *, is_tracked: bool, random: Random) -> int:
        """Add another search for the same target. Drop random hosts if there are too many, and return how many."""
        self.within = min(self.within, within)
        self.is_tracked = self.is_tracked and is_tracked
        dropped = 0
        for host in hosts:
            self.hosts[host] = None
            if len(self.hosts) > _MAX_HOSTS:
                # Whichever came first: the hosts of one sender must not keep out the others.
                del self.hosts[random.choice(list(self.hosts))]
                dropped += 1
        return dropped


class NeededSearches:
    """
    Searches that the table needs for its decisions.

    Searches that unsolicited datagrams cause have a budget. Those that wait for it are merged by search target: one
    search decides about all services of its type. Those after byebyes and those about claims alternate. The least
    urgent ones, which any sender can cause, come last, and leave a reserve of the budget. A search that no service
    waits for any more is not sent.

    If the search after a byebye has to wait, the hosts of the service are searched at once, with a budget of their own.

    Scheduled searches have a budget of their own: see :mod:`ssdpreg.registry.scheduled`. Each repetition of one is sent
    to the host, which has replied before, and to the group only if the budget of the others permits that: all devices
    reply to a search of the group, and every silent device needs repetitions.

    :param reactor: Provides ``IReactorTime``.
    :param scheduler: Searches the group.
    :param network: Searches single hosts.
    :param sent: Called with the search target of each search that is sent, except scheduled ones.
    :param awaited: Called with a search target. Returns whether a service still waits for that search.
    :param random: Selects the hosts that are dropped when a search has too many.
    :ivar rejected: Number of searches that were not sent, because too many were waiting, and of hosts that
        were not searched with others.
    """

    def __init__(
        self,
        reactor: Any,
        scheduler: SearchScheduler,
        network: UnicastSearches,
        sent: Callable[[str], None] = lambda target: None,
        awaited: Callable[[str], bool] = lambda target: True,
        random: Random | None = None,
    ) -> None:
        self._random = random or Random()
        self._reactor, self._scheduler, self._network = reactor, scheduler, network
        self._sent, self._awaited = sent, awaited
        self._scheduled = ScheduledSearches(reactor, self._send)
        self._budget = TokenBucket(_RATE, _BURST)
        # Searches by urgency and search target.
        self._waiting: dict[SearchUrgency, dict[str, _Waiting]] = {urgency: {} for urgency in SearchUrgency}
        self._repetitions = TokenBucket(_REPEAT_RATE, _REPEAT_BURST)
        self._byebyes = TokenBucket(_BYE_RATE, _BYE_BURST)
        self._byebyes_of_host = SenderBuckets(_BYE_RATE_OF_HOST, _BYE_BURST_OF_HOST)
        self._latest = SearchUrgency.CLAIM
        self._next = EarliestCall(reactor, self._send_waiting)
        self.rejected = 0

    def request(self, event: SearchNeeded) -> None:
        """Search for a service, at once or when the budget permits it."""
        target = event.advertisement.search_target
        if event.repeated:
            self._repeat(event)
            return
        if event.scheduled:
            self._scheduled.request(target, event.within, event.hosts)
            return
        added = self._add(target, event)
        self._send_waiting()
        waits = not added or target in self._waiting[event.urgency]
        # A reply of the host voids the byebye. The search of the group, which other devices can delay, may come later.
        if event.urgency is SearchUrgency.BYEBYE and waits:
            self._search_hosts_after_byebye(target, event.hosts)

    def _add(self, target: str, event: SearchNeeded) -> bool:
        """Add a search to those that wait for the budget. Return False if too many wait."""
        waiting = self._waiting[event.urgency]
        if target not in waiting and len(waiting) >= _MAX_WAITING:
            self._drop_obsolete(waiting)
            if len(waiting) >= _MAX_WAITING:
                self.rejected += 1
                return False
        search = waiting.setdefault(target, _Waiting())
        self._merge(search, event.within, event.hosts, is_tracked=event.is_tracked)
        return True

    def _merge(self, search: _Waiting, within: float, hosts: Iterable[str], *, is_tracked: bool) -> None:
        self.rejected += search.merge(within, hosts, is_tracked=is_tracked, random=self._random)

    def _search_hosts_after_byebye(self, target: str, hosts: Iterable[str]) -> None:
        now = self._reactor.seconds()
        chosen = [
            address
            for address in hosts
            if self._byebyes_of_host.take(parse_search_address(address)[0], now) and self._byebyes.take(now)
        ]
        if chosen:
            self._network.search_hosts(target, chosen)

    def stop(self) -> None:
        """Cancel the searches that wait for the budget."""
        self._next.cancel()
        self._scheduled.stop()
        for waiting in self._waiting.values():
            waiting.clear()

    def _repeat(self, event: SearchNeeded) -> None:
        now, target = self._reactor.seconds(), event.advertisement.search_target
        if not self._repetitions.take(now):
            self.rejected += 1
            return
        self._network.search_hosts(target, event.hosts)
        if self._budget.take(now, _RESERVE):
            self._scheduler.search_soon(target, event.within)

    def _send_waiting(self) -> None:
        now = self._reactor.seconds()
        while (urgency := self._most_urgent()) is not None:
            target, search = next(iter(self._waiting[urgency].items()))
            if self._is_obsolete(target, search):
                del self._waiting[urgency][target]
                continue
            reserve = _RESERVE if urgency is SearchUrgency.UNFOUNDED else 0.0
            if not self._budget.take(now, reserve):
                self._next.request(now + self._budget.wait(now, reserve))
                return
            self._latest = urgency
            # One search decides about all services of its type.
            for waiting in self._waiting.values():
                if (other := waiting.pop(target, None)) is not None and other is not search:
                    self._merge(search, other.within, other.hosts, is_tracked=other.is_tracked)
            self._send(target, search.within, tuple(search.hosts))
            self._sent(target)

    def _is_obsolete(self, target: str, search: _Waiting) -> bool:
        """Return whether the services have left, or the decision about them was taken without the search."""
        return search.is_tracked and not self._awaited(target)

    def _drop_obsolete(self, waiting: dict[str, _Waiting]) -> None:
        for target, search in list(waiting.items()):
            if self._is_obsolete(target, search):
                del waiting[target]

    def _most_urgent(self) -> SearchUrgency | None:
        # Byebyes without end must not keep back the searches about claims.
        first = SearchUrgency.CLAIM if self._latest is SearchUrgency.BYEBYE else SearchUrgency.BYEBYE
        return next((urgency for urgency in (first, *SearchUrgency) if self._waiting[urgency]), None)

    def _send(self, target: str, within: float, hosts: Sequence[str]) -> None:
        self._scheduler.search_soon(target, within)
        if hosts:
            self._network.search_hosts(target, hosts)
