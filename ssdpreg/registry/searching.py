"""Searches that the table needs for its decisions, within their budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Protocol

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.discovery.rates import TokenBucket
from ssdpreg.registry.scheduled import ScheduledSearches
from ssdpreg.registry.search_budgets import GroupBudget, HostBudget
from ssdpreg.registry.verifications import Verifications
from ssdpreg.registry.waiting_searches import WaitingSearches
from ssdpreg.ssdp.search_address import parse_search_address
from ssdpreg.ssdp.search_scheduler import SearchScheduler
from ssdpreg.timers import EarliestCall

#: Repeated searches of single hosts in a second, on average, and at once.
_REPEAT_RATE = 20.0
_REPEAT_BURST = 200.0
#: Searches of single hosts after byebyes of their own address, in a second on average and at once. They do not wait for
#: the budget of searches of the group, which any sender can use up.
_BYE_RATE = 20.0
_BYE_BURST = 100.0
#: Cause of searches of the group for silent devices, and of searches of single hosts, in the statistics.
_SILENCE = "silence"
_HOST = "host"


class UnicastSearches(Protocol):
    """The part of :class:`ssdpreg.ssdp.network.Network` that searches single hosts."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None: ...


class NeededSearches:
    """
    Searches that the table needs for its decisions.

    All searches of the group have one budget: see :class:`ssdpreg.registry.search_budgets.GroupBudget`. Those that wait
    for it are merged: see :mod:`ssdpreg.registry.waiting_searches` and :mod:`ssdpreg.registry.scheduled`. Searches for
    silent devices and all others take turns. The least urgent ones, which any sender can cause, come last, and leave
    half of the burst. A search that no service waits for any more is not sent.

    Some hosts are searched without a search of the group, each by one datagram, within budgets of their own:

    - the host of a service that sent a byebye, if the search of the group has to wait;
    - a host that has replied to a search of the group, and has to confirm its claim;
    - a host that has replied to searches before, and has been silent. The search of the group is repeated, too, if the
      budget permits that: all devices reply to it, and every silent device needs repetitions.

    :param reactor: Provides ``IReactorTime``.
    :param scheduler: Searches the group.
    :param network: Searches single hosts.
    :param sent: Called with the search target of each search that is sent, except scheduled ones. ``ssdp:all``
        stands for all targets.
    :param awaited: Called with a search target. Returns whether a service still waits for that search.
    :param random: Selects the hosts that are dropped when a search has too many.
    :ivar sent_by_cause: Number of searches of the group by cause: the name of an urgency in lower case, or ``silence``.
        Searches of single hosts without one of the group have the cause ``host``.
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
        random = random or Random()
        self._reactor, self._scheduler, self._network = reactor, scheduler, network
        self._sent = sent
        self._budget = GroupBudget()
        self._waiting = WaitingSearches(awaited, random)
        self._scheduled = ScheduledSearches()
        self._scheduled_latest = False
        self._verifications = Verifications(reactor, self._search_hosts, random)
        self._repetitions = TokenBucket(_REPEAT_RATE, _REPEAT_BURST)
        self._byebyes = HostBudget(_BYE_RATE, _BYE_BURST)
        self._next = EarliestCall(reactor, self._send_waiting)
        self._rejected = 0
        self.sent_by_cause: Counter[str] = Counter()

    @property
    def rejected(self) -> int:
        """Number of searches that were not sent, and of hosts that were not searched with others."""
        return self._rejected + self._waiting.rejected + self._verifications.rejected

    def request(self, event: SearchNeeded) -> None:
        """Search for a service, at once or when the budget permits it."""
        target = event.advertisement.search_target
        if event.repeated:
            self._repeat(target, event)
        elif event.hosts_only:
            self._verifications.request(target, event.hosts)
        elif event.scheduled:
            self._scheduled.add(target, event.within, event.hosts)
            self._send_waiting()
        else:
            self._waiting.add(target, event)
            self._send_waiting()
            waits = self._waiting.contains(target, event.urgency)
            # A reply of the host voids the byebye. The search of the group, which other devices can delay, may come
            # later.
            if event.urgency is SearchUrgency.BYEBYE and waits:
                self._search_hosts_after_byebye(target, event.hosts)

    def stop(self) -> None:
        """Cancel the searches that wait for the budget."""
        self._next.cancel()
        self._waiting.clear()
        self._scheduled.clear()
        self._verifications.stop()

    def _search_hosts_after_byebye(self, target: str, hosts: Iterable[str]) -> None:
        now = self._reactor.seconds()
        chosen = [
            address
            for address in hosts
            if self._byebyes.take_of_host(parse_search_address(address)[0], now) and self._byebyes.take(now)
        ]
        if chosen:
            self._search_hosts(target, chosen)

    def _repeat(self, target: str, event: SearchNeeded) -> None:
        now = self._reactor.seconds()
        if not self._repetitions.take(now):
            self._rejected += 1
            return
        self._search_hosts(target, event.hosts)
        if self._budget.take_unfounded(now):
            self.sent_by_cause[_SILENCE] += 1
            self._scheduler.search_soon(target, event.within)

    def _search_hosts(self, target: str, hosts: Sequence[str]) -> None:
        """Search hosts without a search of the group."""
        self.sent_by_cause[_HOST] += len(hosts)
        self._network.search_hosts(target, hosts)

    def _send_waiting(self) -> None:
        now = self._reactor.seconds()
        while self._send_one(now):
            pass
        urgency = self._waiting.next_urgency()
        waits = []
        if urgency is SearchUrgency.UNFOUNDED:
            waits.append(self._budget.wait_for_unfounded(now))
        elif urgency is not None:
            waits.append(self._budget.wait(now))
        if self._scheduled:
            waits.append(self._budget.wait_for_scheduled(now))
        if waits:
            self._next.request(now + min(waits))

    def _send_one(self, now: float) -> bool:
        """Send the next search, if the budget permits one. Return whether it was sent."""
        urgency = self._waiting.next_urgency()
        is_urgent = urgency is not None and urgency is not SearchUrgency.UNFOUNDED
        # They take turns: neither those about claims nor those for silent devices must keep back the others.
        if self._scheduled and not (is_urgent and self._scheduled_latest) and self._budget.take_scheduled(now):
            self._scheduled_latest = True
            self._send(_SILENCE, *self._scheduled.take())
            return True
        if urgency is None:
            return False
        if not (self._budget.take(now) if is_urgent else self._budget.take_unfounded(now)):
            return False
        self._scheduled_latest = False
        target, within, hosts = self._waiting.take(urgency)
        self._send(urgency.name.lower(), target, within, hosts)
        self._sent(target)
        return True

    def _send(self, cause: str, target: str, within: float, hosts: Sequence[str]) -> None:
        self.sent_by_cause[cause] += 1
        self._scheduler.search_soon(target, within)
        if hosts:
            self._network.search_hosts(target, hosts)
