"""Check of whether datagrams may have been lost on this host."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssdpreg.ssdp.interface_sockets import InterfaceSockets
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.links import Links, LinkWatch

#: Seconds for which a removed interface is reported. It may be created again, as by a restart of the network.
_REPORT_REMOVED = 3600.0
#: Number of interfaces that are reported although they are not used any more.
_MOST_MISSING = 256
#: Seconds for which the names of the receiving interfaces are cached.
_CACHED_FOR = 1.0


class ReceptionCheck:
    """
    Record of the losses of datagrams on each interface.

    :param reactor: Provides ``IReactorTime``.
    :param sockets: Sockets of the used interfaces by name and IP version. Only read.
    :param open_links: Makes the source of the interfaces' states.
    :ivar overflows: Number of datagrams that the kernel dropped because a receive buffer was full.
    """

    def __init__(
        self, reactor: Any, sockets: Mapping[tuple[str, int], InterfaceSockets], open_links: Callable[[], Links]
    ) -> None:
        self._reactor, self._sockets = reactor, sockets
        self._links = LinkWatch(open_links)
        #: Reasons by interface, for :meth:`take`.
        self._lost: dict[str, str] = {}
        #: Interfaces and IP versions that were used and cannot be used now, with the reason and the time at which each
        #: was missing first.
        self._missing: dict[tuple[str, int], tuple[str, float]] = {}
        self._loopback: frozenset[str] = frozenset()
        self._receiving: frozenset[str] = frozenset()
        self._receiving_until = -math.inf
        self.overflows = 0

    @property
    def receiving(self) -> frozenset[str]:
        """
        Names of the interfaces that can receive now.

        Loopback is not contained while it is used in place of another interface.
        """
        now = self._reactor.seconds()
        if now >= self._receiving_until:
            self._links.update()
            self._find_receiving(now)
        return self._receiving

    def _find_receiving(self, now: float) -> None:
        """Find the interfaces that can receive, from states that were read just now."""
        unusable = {name for name, _ in self._missing}
        unusable.update(name for (name, _), sockets in self._sockets.items() if not sockets.alive)
        self._receiving = frozenset(
            name
            for (name, _), sockets in self._sockets.items()
            if name not in unusable
            and not self._links.problem(sockets.interface.index)
            and not (self._missing and name in self._loopback)
        )
        self._receiving_until = now + _CACHED_FOR

    def take(self) -> Mapping[str, str]:
        """Return the reason of a loss since the last call, by the name of the interface."""
        self._links.update()
        self._record(self._sockets)
        now = self._reactor.seconds()
        for (name, version), (reason, since) in list(self._missing.items()):
            # An interface that has the other IP version may have lost this one for good.
            may_stay = reason == "interface removed" or (name, 10 - version) in self._sockets
            if may_stay and now >= since + _REPORT_REMOVED:
                del self._missing[name, version]
            else:
                self._lost[name] = reason
        self._find_receiving(now)
        lost, self._lost = self._lost, {}
        return lost

    def closing(self, sockets: InterfaceSockets) -> None:
        """Record that the sockets of an interface are closed."""
        key = sockets.interface.name, sockets.interface.version
        self._record({key: sockets})
        self._lost.setdefault(key[0], "socket closed")
        if len(self._missing) < _MOST_MISSING:
            self._missing[key] = ("socket closed", self._reactor.seconds())

    def refresh(self, interfaces: Sequence[NetworkInterface]) -> None:
        """
        Determine which of the interfaces that were used are missing.

        :param interfaces: All interfaces of this host.
        """
        self._receiving_until = -math.inf
        self._loopback = frozenset(interface.name for interface in interfaces if interface.loopback)
        found = {interface.name: interface for interface in interfaces}
        now = self._reactor.seconds()
        for key, (before, since) in list(self._missing.items()):
            name, version = key
            reason = _reason(found.get(name), version)
            # IPv6 can be switched off on an interface, which goes on to be used over IPv4.
            switched_off = version == 6 and reason == "no address" and (name, 4) in self._sockets
            # Loopback is closed when another interface can be used.
            if key in self._sockets or switched_off or (name in self._loopback and not reason):
                del self._missing[key]
            else:
                reason = reason or "socket closed"
                self._missing[key] = (reason, since if reason == before else now)

    def close(self) -> None:
        """Close the source of the interfaces' states."""
        self._links.close()

    def _record(self, opened: Mapping[tuple[str, int], InterfaceSockets]) -> None:
        """Record the losses of some interfaces."""
        indexes = {sockets.interface.index for sockets in opened.values()}
        states = {index: self._links.take(index) for index in indexes}
        for (name, _), sockets in opened.items():
            overflows = sockets.take_overflows()
            self.overflows += overflows
            reason = states[sockets.interface.index]
            if not reason and not sockets.alive:
                reason = "socket closed"
            if not reason and overflows:
                reason = "receive buffer overflow"
            if reason and not (name in self._lost and reason == "receive buffer overflow"):
                self._lost[name] = reason


def _reason(interface: NetworkInterface | None, version: int) -> str:
    """Return why an interface cannot be used over an IP version, or an empty text."""
    if interface is None:
        return "interface removed"
    if not interface.up:
        return "interface down"
    return "" if (interface.addresses if version == 4 else interface.ipv6_addresses) else "no address"
