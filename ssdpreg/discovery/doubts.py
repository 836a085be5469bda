"""Doubt whether the host of a service is still there, because another host claims the service. Pure."""

from __future__ import annotations

import math

from ssdpreg.discovery.contests import ROUND

#: Seconds between two checks of a host.
_PAUSE = 20.0
#: Seconds until a check: the current host may be another address of the same device, which announces both.
_DELAY = ROUND


class Doubt:
    """
    Doubt about the host of the current claim of a service, and the check that confirms or removes it.

    The check is one search of that host alone: a device with two addresses is received from both, and a search of the
    group for each announcement would make all devices reply. Without a reply, a contest begins.

    :ivar since: Time since which a message of the current host removes the doubt, infinite without a doubt.
    """

    __slots__ = ("_checking", "_due", "since")

    def __init__(self) -> None:
        self.since = math.inf
        self._due = -math.inf
        self._checking = False

    @property
    def due(self) -> float:
        """Time at which :meth:`examine` has something to do, infinite without a doubt."""
        return math.inf if self.since == math.inf else self._due

    def begin(self, since: float, now: float) -> None:
        """
        Record the message of another host.

        :param since: See :attr:`since`.
        """
        if self.since == math.inf:
            self.since = since
            self._due = max(self._due, now + _DELAY)

    def examine(self, received_at: float, now: float) -> bool:
        """
        Begin the check, or end it: then :meth:`end` has to be called.

        :param received_at: Time at which the current host was received last.
        :return: Whether the host has to be searched for.
        """
        if self._checking or received_at > self.since:
            return False
        self._checking, self._due = True, now + ROUND
        return True

    def end(self, now: float) -> None:
        """End the doubt."""
        if self.since < math.inf:
            self._checking, self.since = False, math.inf
            self._due = now + _PAUSE
