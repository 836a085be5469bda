"""Sending and receiving of SSDP messages on all selected network interfaces."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import IPv4Network, ip_address
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ssdpreg.ssdp.interface_sockets import InterfaceSockets
from ssdpreg.ssdp.interfaces import (
    InterfaceAddress,
    InterfaceSelection,
    NetworkInterface,
    Subnet,
    find_interfaces,
)
from ssdpreg.ssdp.links import KernelLinks, Links
from ssdpreg.ssdp.messages import Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception_check import ReceptionCheck
from ssdpreg.ssdp.repeats import RepeatMemo
from ssdpreg.ssdp.search_address import parse_search_address
from ssdpreg.ssdp.search_rounds import Deliver, Drop
from ssdpreg.ssdp.sockets import UDPSockets

#: Name of an interface, and IP version.
SocketsKey = tuple[str, int]


class Network:
    """
    SSDP on all selected interfaces, including those that appear later.

    The owner calls :meth:`refresh` at intervals. A multicast datagram is delivered once, for the interface that
    received it. A reply is delivered only from the socket that sent the search, which is open for the time of replies.

    :param reactor: Provides ``IReactorMulticast`` and ``IReactorTime``.
    :param deliver: Called as ``deliver(message, reception, peer)`` for each accepted message that is not a known
        repetition. Returns the function that processes its repetitions, or None.
    :param drop: Called as ``drop(error, reception, peer)`` for each other datagram.
    :param interfaces: Selectors of interfaces, as in :class:`ssdpreg.ssdp.interfaces.InterfaceSelection`.
    :param ttl: TTL of multicast datagrams, and hop limit of those over IPv6.
    :param find_interfaces: Returns the interfaces of this host.
    :param allow: Networks that the operator named. Replies are accepted from them, and from the networks of the
        interface that sent the search.
    :param ports: First and last port of the sockets for searches, or None for any free port.
    :param announcing: Whether :meth:`send` and :meth:`reply` are used.
    :param open_links: Makes the source of the interfaces' states.
    :param random: Source of the port that is tried first.
    :ivar overflows: Number of datagrams that the kernel dropped because a receive buffer was full.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        deliver: Deliver,
        drop: Drop,
        interfaces: Sequence[str] = (),
        ttl: int = 2,
        find_interfaces: Callable[[], Sequence[NetworkInterface]] = find_interfaces,
        *,
        allow: Sequence[Subnet] = (),
        ports: tuple[int, int] | None = None,
        announcing: bool = False,
        open_links: Callable[[], Links] = KernelLinks,
        random: Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._deliver = deliver
        self._drop = drop
        self._selection = InterfaceSelection(interfaces)
        self._find_interfaces = find_interfaces
        self._named = tuple(allow)
        self._announcing = announcing
        self._memo = RepeatMemo()
        self._udp = UDPSockets(reactor, ttl, ports, random)
        #: Sockets by interface and IP version.
        self._sockets: dict[SocketsKey, InterfaceSockets] = {}
        #: Interfaces and selectors with a problem that has been logged.
        self._problematic: frozenset[str] = frozenset()
        self._check = ReceptionCheck(reactor, self._sockets, open_links)

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        """Name and address of each interface with open sockets, once for each IP version."""
        return tuple(
            (sockets.interface.name, sockets.interface.zoned_address)
            for sockets in self._sockets.values()
            if sockets.alive
        )

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions of the open sockets."""
        return tuple(sorted({version for _, version in self._sockets}))

    @property
    def receiving(self) -> frozenset[str]:
        """Names of the interfaces that can receive now: up, with a carrier, and with open sockets."""
        return self._check.receiving

    @property
    def overflows(self) -> int:
        """Number of datagrams that the kernel dropped because a receive buffer was full."""
        return self._check.overflows

    @property
    def memo_bytes(self) -> int:
        """Estimated size of the memo of repeated datagrams, in bytes."""
        return self._memo.size

    @property
    def broadcasts(self) -> frozenset[str]:
        """Broadcast addresses of the networks of the used interfaces, in both forms: all ones, and all zeros."""
        networks = {network for sockets in self._sockets.values() for network in sockets.networks}
        return frozenset(
            str(address)
            for network in networks
            if isinstance(network, IPv4Network) and network.prefixlen < 31
            for address in (network.broadcast_address, network.network_address)
        )

    def check_reception(self) -> Mapping[str, str]:
        """
        Return the interfaces on which datagrams may have been lost since the last call.

        An interface that was used and is down, absent or without an address is contained in each result, until an hour
        after it was removed. A sender of many datagrams can cause ``receive buffer overflow``: the caller has to limit
        the time for which it waits because of that.

        :return: Reason by the name of the interface: ``interface down``, ``interface removed``, ``carrier lost``,
            ``no address``, ``socket closed``, ``state unknown`` or ``receive buffer overflow``.
        """
        return self._check.take()

    def refresh(self) -> bool:
        """
        Open the sockets of new interfaces, close those of removed ones, and reopen those that changed or failed.

        An interface that cannot be opened is tried again at the next call.

        :return: Whether the sockets of any interface were opened.
        """
        try:
            found = self._find_interfaces()
        except OSError as error:
            self._log_problems({"any new interface": str(error)})
            return False
        selected = self._selection.select(found)
        self._udp.ipv6_addresses = frozenset(address for each in found for address in each.ipv6_addresses)
        networks = {
            (interface.name, version): tuple(network for network in interface.networks if network.version == version)
            for interface in found
            for version in (4, 6)
        }
        problems = dict.fromkeys(self._selection.unmatched(found), "absent, down or without an address")
        self._close_all_except(selected)
        for key, sockets in self._sockets.items():
            sockets.networks = networks[key]
        new = [interface for interface in selected if _key(interface) not in self._sockets]
        for interface in new:
            problem = self._open(interface, networks[_key(interface)])
            if problem:
                # The problem of one IP version does not hide that of the other.
                problems[interface.name if interface.version == 4 else f"{interface.name} over IPv6"] = problem
        self._log_problems(problems)
        self._check.refresh(found)
        return any(_key(interface) in self._sockets for interface in new)

    def search(self, request: SearchRequest) -> None:
        """Send a search to the group on each interface, from a socket that is open for the time of the replies."""
        for sockets in self._sockets.values():
            sockets.search(request)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """
        Send a search to each of some hosts, from a socket that is open for the time of the replies.

        A host is searched on each interface on whose network it is: two networks can use the same private addresses. A
        host that is on the network of no interface is not searched.

        :param st: Search target.
        :param hosts: IP addresses, a link-local IPv6 address with its zone, as
            :func:`~ssdpreg.ssdp.search_address.search_address` returns them. Host names are ignored.
        """
        by_interface: dict[SocketsKey, list[str]] = {}
        for each in dict.fromkeys(hosts):
            host, _ = parse_search_address(each)
            for key, sockets in self._sockets.items():
                if _is_address(host) and sockets.contains(host):
                    by_interface.setdefault(key, []).append(each)
        for key, chosen in by_interface.items():
            self._sockets[key].search_hosts(st, chosen)

    def send(self, message: Message, versions: Collection[int] = (4, 6)) -> None:
        """
        Send a message of an announcer to the groups on each interface.

        :param versions: IP versions that it is sent over.
        """
        for sockets in self._sockets.values():
            if sockets.interface.version in versions:
                sockets.send(message)

    def reply(self, message: Message, peer: PeerAddress, interface: str) -> None:
        """
        Send a message of an announcer to one peer.

        :param interface: Name of the interface that received the peer's message. If it is no longer open, the message
            is not sent.
        """
        sockets = self._sockets.get((interface, 6 if ":" in peer[0] else 4))
        if sockets is not None:
            sockets.reply(message, peer)

    def close(self) -> Deferred[None]:
        """Close all sockets; fires when every socket is closed."""
        self._close_all_except(())
        self._check.close()
        return self._udp.closed()

    def _open(self, interface: InterfaceAddress, networks: Sequence[Subnet]) -> str:
        """
        Open the sockets of an interface.

        :return: The problem, or an empty text if they are open.
        """
        sockets = InterfaceSockets(
            self._reactor, self._udp, interface, networks, self._named, self._deliver, self._drop, self._memo
        )
        try:
            sockets.open(announcing=self._announcing)
        except (OSError, CannotListenError) as error:
            sockets.close()
            return _describe(error)
        self._sockets[_key(interface)] = sockets
        self.log.info(
            "Listening on {interface} at {address}", interface=interface.name, address=interface.zoned_address
        )
        return ""

    def _close_all_except(self, interfaces: Sequence[InterfaceAddress]) -> None:
        for key, sockets in list(self._sockets.items()):
            if sockets.interface not in interfaces or not sockets.alive:
                self._check.closing(sockets)
                del self._sockets[key]
                sockets.close()
                self.log.info(
                    "Stopped listening on {interface} at {address}",
                    interface=key[0],
                    address=sockets.interface.zoned_address,
                )

    def _log_problems(self, problems: Mapping[str, str]) -> None:
        """Log the problem of each interface or selector that had none at the refresh before."""
        for interface, problem in problems.items():
            if interface not in self._problematic:
                self.log.warn("Cannot listen on {interface} yet: {problem}", interface=interface, problem=problem)
        self._problematic = frozenset(problems)


def _describe(error: OSError | CannotListenError) -> str:
    """Return the text of an error, and its cause if it is another program."""
    is_used = isinstance(error, CannotListenError) and getattr(error.socketError, "errno", None) == errno.EADDRINUSE
    return f"{error} Another program uses the port without sharing it." if is_used else str(error)


def _key(interface: InterfaceAddress) -> SocketsKey:
    return interface.name, interface.version


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
