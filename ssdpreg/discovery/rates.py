"""Budgets for work that unsolicited datagrams cause. Pure: time is an argument, in seconds."""

from __future__ import annotations

from collections import OrderedDict

#: Error of the sum of many small additions: after the wait that :meth:`TokenBucket.wait` returns, there is a token.
_ROUNDING = 1e-6


class TokenBucket:
    """
    Budget with an average rate and a burst.

    :param rate: Tokens that are added in a second.
    :param burst: Largest number of tokens.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now: float, reserve: float = 0.0) -> bool:
        """
        Take a token. Return whether there was one.

        :param reserve: Tokens that have to be left.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1 + reserve - _ROUNDING:
            return False
        self._tokens -= 1
        return True

    def has(self, now: float) -> bool:
        """Return whether there is a token."""
        return self.wait(now) * self._rate <= _ROUNDING

    def wait(self, now: float, reserve: float = 0.0) -> float:
        """Return the seconds until a token can be taken."""
        tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        return max(0.0, (1 + reserve - tokens) / self._rate)


class SenderBuckets:
    """
    A budget for each sender. The budgets that were used least recently are removed; their senders get a new one.

    :param rate: See :class:`TokenBucket`.
    :param burst: See :class:`TokenBucket`.
    :param max_senders: Largest number of senders with a budget.
    """

    def __init__(self, rate: float, burst: float, max_senders: int = 4096) -> None:
        self._rate, self._burst, self._max_senders = rate, burst, max_senders
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, sender: str, now: float) -> bool:
        """Take a token of a sender. Return whether there was one."""
        bucket = self._buckets.pop(sender, None) or TokenBucket(self._rate, self._burst)
        self._buckets[sender] = bucket
        if len(self._buckets) > self._max_senders:
            self._buckets.popitem(last=False)
        return bucket.take(now)
