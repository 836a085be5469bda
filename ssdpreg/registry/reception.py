"""Monitor of the reception: no service expires because the daemon could not receive for some time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.logger import Logger

from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.timers import RepeatingCall

#: Seconds between two checks, and the delay of a check that shows that the process was suspended.
_INTERVAL = 1.0
_LATE = 2.0
#: Seconds between the beginnings of two holds of an interface that receives and loses datagrams.
_PAUSE = 60.0


class Receivers(Protocol):
    """The part of :class:`ssdpreg.ssdp.network.Network` that knows whether datagrams are received."""

    def check_reception(self) -> Mapping[str, str]: ...
    @property
    def receiving(self) -> frozenset[str]: ...


class ReceptionMonitor:
    """
    Monitor that holds the expiry of services while their announcements may have been lost.

    Causes are a suspended process, an interface that is down, and an overflow of a receive buffer. When the cause has
    ended, the devices are searched for, and have a search round to reply before their services expire. The time in
    which nothing was received does not count for devices that never reply.

    :param reactor: Provides ``IReactorTime``.
    :param network: Knows which interfaces receive.
    :param table: Table whose services are held.
    :param search: Searches for all search terms.
    :param grace: Seconds of a search round.
    :ivar holds: Number of interruptions of the reception.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        network: Receivers,
        table: AdvertisementTable,
        search: Callable[[], None],
        grace: float,
    ) -> None:
        self._reactor, self._network, self._table = reactor, network, table
        self._search, self._grace = search, grace
        self._checking = RepeatingCall(reactor, _INTERVAL, self.check, self.log, "Check of the reception")
        self._checked_at = math.inf
        self._searched_at = -math.inf
        # Interfaces that are down, and since when.
        self._down: dict[str, float] = {}
        self._all_down = False
        # Interfaces that are up again, and wait for the end of another search.
        self._unsearched: set[str] = set()
        # Beginnings of the latest holds of interfaces that receive.
        self._held_at: dict[str, float] = {}
        self.holds = 0

    def start(self) -> None:
        """Begin the checks."""
        self._checked_at = self._reactor.seconds()
        self._checking.start(now=False)

    def stop(self) -> None:
        """End the checks."""
        self._checking.stop()
        self._checked_at = math.inf

    def check(self) -> None:
        """Hold the services that may not have been received since the last check. Called before every expiry, too."""
        now = self._reactor.seconds()
        late = now - self._checked_at
        if self._checking.running:
            self._checked_at = now
        if late > _INTERVAL + _LATE:
            self.log.warn("The process was suspended for {seconds} s, searching", seconds=round(late, 1))
            self._table.add_interruption(now - late, now)
            self._hold("", now)
        if self._unsearched and now - self._searched_at >= self._grace:
            for interface in sorted(self._unsearched):
                self._hold_and_search(interface, now, was_down=False)
            self._unsearched.clear()
        losses = self._network.check_reception()
        receiving = self._network.receiving
        for interface, reason in losses.items():
            if interface not in receiving:
                if interface not in self._down:
                    self.log.warn("Nothing is received on {interface}: {reason}", interface=interface, reason=reason)
                    self._down[interface] = now
                    self._table.hold(math.inf, interface)
                    self.holds += 1
            elif now - self._held_at.get(interface, -math.inf) >= _PAUSE:
                # A flood of datagrams can cause losses for a long time. Departed services must expire meanwhile.
                self._held_at[interface] = now
                self._hold(interface, now)
        for interface in sorted(self._down.keys() - losses.keys() - receiving):
            # The interface was removed long ago.
            del self._down[interface]
            self._table.hold(now, interface)
        for interface in sorted(self._down.keys() & receiving):
            self._table.add_interruption(self._down.pop(interface), now, interface)
            self.log.info("Datagrams are received on {interface} again", interface=interface)
            self._hold(interface, now, was_down=True)
        if self._all_down != (bool(self._down) and not receiving):
            # The interface of an adopted service is not known: while none receives, it is one that is down.
            self._all_down = not self._all_down
            self._table.hold(math.inf if self._all_down else now + self._grace)

    def _hold(self, interface: str, now: float, *, was_down: bool = False) -> None:
        self.holds += 1
        self._hold_and_search(interface, now, was_down=was_down)

    def _hold_and_search(self, interface: str, now: float, *, was_down: bool) -> None:
        if interface or not self._all_down:
            self._table.hold(now + self._grace, interface)
        # An overflow can last: one search at a time is enough.
        if now - self._searched_at >= self._grace:
            self._searched_at = now
            self._search()
        elif was_down:
            # The search that is under way was not sent on this interface.
            self._unsearched.add(interface)
