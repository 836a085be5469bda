"""Checks of the daemon's work on the network and in Consul, once a minute."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tests.simulation import bounds

_MINUTE = 60.0

if TYPE_CHECKING:
    from tests.simulation.checker import Checker
    from tests.simulation.network import Network, Segment, SimulatedSockets


class WorkChecks:
    """
    Checks of searches and sockets of all processes of the daemon on a network.

    :param checker: Reports the violations.
    :param network: The network.
    """

    def __init__(self, checker: Checker, network: Network) -> None:
        self._checker, self._network = checker, network
        # Number of searches on each interface, a minute ago.
        self._before: WeakKeyDictionary[SimulatedSockets, dict[str, int]] = WeakKeyDictionary()
        self.most_searches = 0
        network.overflowed = self._overflowed

    def check(self, now: float) -> None:
        """Check the searches of the last minute, and the sockets that are open now."""
        for sockets in self._network.listeners:
            searches, before = sockets.searches, self._before.get(sockets, {})
            for name, number in searches.by_interface.items():
                self._check("searches a minute on an interface", number - before.get(name, 0), bounds.SEARCHES)
                self.most_searches = max(self.most_searches, number - before.get(name, 0))
            self._before[sockets] = dict(searches.by_interface)
            at_once = searches.take_most()
            if sockets.process.suspended:
                continue
            self._check("searches at the same moment", at_once, bounds.SEARCHES_AT_ONCE)
            if self._checker.undisturbed_for > _MINUTE:
                for opened in sockets.open_searches():
                    age = int(now - opened.opened_at)
                    self._check("seconds for which the socket of a search is open", age, bounds.SOCKET)

    def _overflowed(self, sockets: SimulatedSockets, segment: Segment) -> None:
        if not sockets.process.suspended:
            now = sockets.process.seconds()
            self._network.call_later(bounds.SEARCH_AFTER_OVERFLOW, self._check_overflow, sockets, segment, now)

    def _check_overflow(self, sockets: SimulatedSockets, segment: Segment, overflowed_at: float) -> None:
        """Check that the daemon searches after the loss of datagrams in a receive buffer, or did just before."""
        searched_at = sockets.searches.for_all_at.get(segment.name, -math.inf)
        able = segment.usable and not (sockets.process.suspended or sockets.process.killed)
        calm = self._checker.undisturbed_for > 2 * bounds.SEARCH_AFTER_OVERFLOW and self._checker.searches_for_all
        if able and calm and searched_at < overflowed_at - bounds.SEARCH_AFTER_OVERFLOW:
            text = f"{segment.name}, overflow {bounds.SEARCH_AFTER_OVERFLOW:g} s ago"
            self._checker.fail("datagrams that were lost in a receive buffer cause a search", text)

    def _check(self, what: str, value: int, bound: int) -> None:
        if value > bound:
            self._checker.fail(what, f"{value}, more than {bound}")
