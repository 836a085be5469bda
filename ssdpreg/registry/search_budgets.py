"""Budgets of searches that unsolicited datagrams cause. Pure: time is an argument, in seconds."""

from __future__ import annotations

from ssdpreg.discovery.rates import SenderBuckets, TokenBucket

#: Searches of the group, of all kinds: at most one a second on average. The burst suffices for the byebyes of a device
#: with many services, and for devices of many types that were announced at the same time.
_RATE = 1.0
_BURST = 32.0
#: Share of scheduled searches: all other searches have at least the rest.
_SCHEDULED_RATE = 0.5
_SCHEDULED_BURST = 16.0
#: Part of the burst that searches after an unfounded byebye leave to the others, and that scheduled searches leave if
#: their share is used up: then they use only what no other search needs.
_LEFT_BY_UNFOUNDED = 16.0
_LEFT_BY_SCHEDULED = _BURST - 1.0


class GroupBudget:
    """
    Budget of all searches of the group that unsolicited datagrams cause: one a second on average, after a burst of 32.

    Each device replies to a search of the group. The searches for silent devices count, because a sender can announce
    services with a short max-age.
    """

    def __init__(self) -> None:
        self._all = TokenBucket(_RATE, _BURST)
        self._scheduled = TokenBucket(_SCHEDULED_RATE, _SCHEDULED_BURST)

    def take(self, now: float) -> bool:
        """Take a search that decides about a byebye or a claim. Return whether it may be sent now."""
        return self._all.take(now)

    def take_unfounded(self, now: float) -> bool:
        """Take a search that any sender can cause. Return whether it may be sent now."""
        return self._all.take(now, _LEFT_BY_UNFOUNDED)

    def take_scheduled(self, now: float) -> bool:
        """Take a search for silent devices. Return whether it may be sent now."""
        if self._scheduled.has(now) and self._all.take(now):
            return self._scheduled.take(now)
        return self._all.take(now, _LEFT_BY_SCHEDULED)

    def wait(self, now: float) -> float:
        """Return the seconds until :meth:`take` succeeds."""
        return self._all.wait(now)

    def wait_for_unfounded(self, now: float) -> float:
        """Return the seconds until :meth:`take_unfounded` succeeds."""
        return self._all.wait(now, _LEFT_BY_UNFOUNDED)

    def wait_for_scheduled(self, now: float) -> float:
        """Return the seconds until :meth:`take_scheduled` succeeds."""
        share = max(self._scheduled.wait(now), self._all.wait(now))
        return min(share, self._all.wait(now, _LEFT_BY_SCHEDULED))


class HostBudget:
    """
    Budget of searches of single hosts, in all and for each host.

    :param rate: Searches in a second, of all hosts.
    :param burst: Searches at once, of all hosts.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._all = TokenBucket(rate, burst)
        self._hosts = SenderBuckets(1.0, 16.0)

    def take_of_host(self, host: str, now: float) -> bool:
        """Take a search of a host from its own budget. Return whether there was one."""
        return self._hosts.take(host, now)

    def take(self, now: float) -> bool:
        """Take a search of any host. Return whether there was one."""
        return self._all.take(now)

    def wait(self, now: float) -> float:
        """Return the seconds until :meth:`take` succeeds."""
        return self._all.wait(now)
