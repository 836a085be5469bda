"""Scheduling of searches: datagrams are spaced, and requests that arrive together are sent as one search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ssdpreg.ssdp.messages import SEARCH_ALL, SearchRequest
from ssdpreg.timers import DelayedCalls

#: Average number of seconds between two datagrams, and the range of the random factor to it. At most ten datagrams may
#: be sent in 200 ms: UPnP Device Architecture 2.0 (UDA), 1.3.2.
SPACING = 0.1
_JITTER = (0.5, 1.5)
#: Longest list of search targets that is sent as one search each. A longer one is replaced by ``ssdp:all``.
MAX_TARGETS = 10
#: Seconds from the first request of :meth:`SearchScheduler.search_soon` until the search for all requests since then.
_COLLECT_TIME = 0.2
#: Lowest MX: UDA, 1.3.2.
_SHORTEST_MX = 1


class SearchScheduler:
    """
    Sender of searches that limits their rate.

    :param reactor: Provides ``IReactorTime``.
    :param send: Called with each search that is due, to send it to the network.
    :param mx: Longest wait of a device before it replies, in whole seconds.
    :param random: Source of the random spacing.
    """

    def __init__(self, reactor: Any, send: Callable[[SearchRequest], None], mx: int, random: Random) -> None:
        self._send, self._mx, self._random = send, mx, random
        self._delayed = DelayedCalls(reactor)
        #: Targets requested by :meth:`search_soon` and not yet searched, with the MX of each.
        self._requested: dict[str, int] = {}

    def search(self, targets: Sequence[str], delay: float = 0.0) -> None:
        """
        Search for each target, or with ``ssdp:all`` if there are more than :data:`MAX_TARGETS`.

        :param targets: Search targets.
        :param delay: Seconds until the first datagram.
        """
        self._schedule(targets, self._mx, delay)

    def search_soon(self, target: str, within: float) -> None:
        """
        Search for a target, together with the others that are requested within :data:`_COLLECT_TIME`.

        :param target: Search target.
        :param within: Seconds until a reply comes too late. Devices are given half of that to reply.
        """
        if not self._requested:
            self._delayed.call(_COLLECT_TIME, self._search_requested)
        mx = max(_SHORTEST_MX, min(int(within / 2), self._mx))
        self._requested[target] = min(mx, self._requested.get(target, mx))

    def stop(self) -> None:
        """Cancel all searches that have not been sent yet."""
        self._delayed.cancel_all()
        self._requested.clear()

    def _search_requested(self) -> None:
        requested, self._requested = self._requested, {}
        self._schedule(list(requested), min(requested.values()), 0.0)

    def _schedule(self, targets: Sequence[str], mx: int, delay: float) -> None:
        for target in targets if len(targets) <= MAX_TARGETS else [SEARCH_ALL]:
            self._delayed.call(delay, self._send, SearchRequest(target, mx))
            delay += SPACING * self._random.uniform(*_JITTER)
