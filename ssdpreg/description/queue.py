"""Order of the fetches of documents: hosts take turns. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from ssdpreg.description.source import Target
from ssdpreg.discovery.rates import TokenBucket

#: Fetches in a second on average, and at once, after the first round.
_RATE = 1.0
_BURST = 4.0
#: The first round: fetches that are made without the budget, and seconds until it ends. A rack that is discovered for
#: the first time is complete soon. Later a sender cannot cause as many fetches by new announcements.
_FIRST_ROUND = 1000
_FIRST_ROUND_TIME = 600.0


class FetchBudget:
    """
    Budget for fetches: the first round without limit of the rate, then one a second on average.

    :param now: Time of the start of the daemon.
    """

    def __init__(self, now: float) -> None:
        self._first_round = _FIRST_ROUND
        self._first_round_ends_at = now + _FIRST_ROUND_TIME
        self._bucket = TokenBucket(_RATE, _BURST)

    def take(self, now: float, *, first: bool) -> bool:
        """
        Take a fetch from the budget. Return whether there was one.

        :param first: Whether no facts of the target are known. Others are never part of the first round.
        """
        if first and self._first_round and now < self._first_round_ends_at:
            self._first_round -= 1
            return True
        return self._bucket.take(now)

    def wait(self, now: float) -> float:
        """Return the seconds until a fetch can be taken."""
        return self._bucket.wait(now)


class FetchQueue:
    """
    Targets that wait for their fetch.

    Hosts take turns, so that a host with many devices delays another one by one fetch only. There is one
    fetch to a host at a time.
    """

    def __init__(self) -> None:
        self._by_host: OrderedDict[str, dict[Target, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, target: Target) -> None:
        """Add a target behind the others of its host. A target that waits already keeps its place."""
        waiting = self._by_host.setdefault(target.host, {})
        if target not in waiting:
            waiting[target] = None
            self._length += 1

    def discard(self, target: Target) -> None:
        """Remove a target, if it waits."""
        waiting = self._by_host.get(target.host, {})
        if target in waiting:
            del waiting[target]
            self._length -= 1
            if not waiting:
                del self._by_host[target.host]

    def next(self, busy: Collection[str]) -> Target | None:
        """
        Return the target whose turn it is, or None. It stays in the queue.

        :param busy: Hosts to which a fetch is under way: a few.
        """
        host = next((host for host in self._by_host if host not in busy), None)
        return None if host is None else next(iter(self._by_host[host]))

    def take(self, target: Target) -> None:
        """Remove a target whose fetch begins. Its host is the last one in turn now."""
        self.discard(target)
        if target.host in self._by_host:
            self._by_host.move_to_end(target.host)
