"""Sending and receiving of SSDP messages on all selected network interfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from ssdpreg.ssdp.interface_sockets import InterfaceSockets
from ssdpreg.ssdp.interfaces import InterfaceAddress, InterfaceSelection, NetworkInterface, find_interfaces
from ssdpreg.ssdp.links import KernelLinks, Links
from ssdpreg.ssdp.messages import GROUP, PORT, Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception_check import ReceptionCheck
from ssdpreg.ssdp.repeats import RepeatMemo
from ssdpreg.ssdp.search_rounds import Deliver, Drop
from ssdpreg.ssdp.sockets import UDPSockets


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
    :param ttl: TTL of multicast datagrams.
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
        allow: Sequence[IPv4Network | IPv6Network] = (),
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
        self._named = tuple(network for network in allow if network.version == 4)
        self._announcing = announcing
        self._memo = RepeatMemo()
        self._udp = UDPSockets(reactor, ttl, ports, random)
        #: Sockets by the name of the interface.
        self._sockets: dict[str, InterfaceSockets] = {}
        #: Interfaces and selectors with a problem that has been logged.
        self._problematic: frozenset[str] = frozenset()
        self._check = ReceptionCheck(reactor, self._sockets, open_links)

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        """Name and address of each interface with open sockets."""
        return tuple(
            (sockets.interface.name, sockets.interface.address) for sockets in self._sockets.values() if sockets.alive
        )

    @property
    def receiving(self) -> frozenset[str]:
        """Names of the interfaces that can receive now: up, with a carrier, and with open sockets."""
        return self._check.receiving

    @property
    def overflows(self) -> int:
        """Number of datagrams that the kernel dropped because a receive buffer was full."""
        return self._check.overflows

    @property
    def rejected_searches(self) -> int:
        """Number of searches of single hosts that were not sent, because too many sockets were open."""
        return self._udp.rejected_searches

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
            if network.prefixlen < 31
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
        networks = {interface.name: interface.networks for interface in found}
        problems = dict.fromkeys(self._selection.unmatched(found), "absent, down or without an IPv4 address")
        self._close_all_except(selected)
        for name, sockets in self._sockets.items():
            sockets.networks = networks[name]
        new = [interface for interface in selected if interface.name not in self._sockets]
        for interface in new:
            problem = self._open(interface, networks[interface.name])
            if problem:
                problems[interface.name] = problem
        self._log_problems(problems)
        self._check.refresh(found)
        return any(interface.name in self._sockets for interface in new)

    def search(self, request: SearchRequest) -> None:
        """Send a search to the group on each interface, from a socket that is open for the time of the replies."""
        for sockets in self._sockets.values():
            sockets.search(request)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """
        Send a search to each of some hosts, each from a socket of its own that is open for the time of the replies.

        A host that is on the network of no interface is not searched.

        :param st: Search target.
        :param hosts: IP addresses.
        """
        by_interface: dict[str, list[str]] = {}
        for host in dict.fromkeys(hosts):
            for name, sockets in self._sockets.items():
                if _is_ipv4(host) and sockets.contains(host):
                    by_interface.setdefault(name, []).append(host)
                    break
        for name, chosen in by_interface.items():
            self._sockets[name].search_hosts(st, chosen)

    def send(self, message: Message) -> None:
        """Send a message of an announcer to the group on each interface."""
        for sockets in self._sockets.values():
            sockets.send(message, (GROUP, PORT))

    def reply(self, message: Message, peer: PeerAddress, interface: str) -> None:
        """
        Send a message of an announcer to one peer.

        :param interface: Name of the interface that received the peer's message. If it is no longer open, the message
            is not sent.
        """
        if interface in self._sockets:
            self._sockets[interface].send(message, peer)

    def close(self) -> Deferred[None]:
        """Close all sockets; fires when every socket is closed."""
        self._close_all_except(())
        self._check.close()
        return self._udp.closed()

    def _open(self, interface: InterfaceAddress, networks: Sequence[IPv4Network]) -> str:
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
            return str(error)
        self._sockets[interface.name] = sockets
        self.log.info("Listening on {interface} at {address}", interface=interface.name, address=interface.address)
        return ""

    def _close_all_except(self, interfaces: Sequence[InterfaceAddress]) -> None:
        for name, sockets in list(self._sockets.items()):
            if sockets.interface not in interfaces or not sockets.alive:
                self._check.closing(sockets)
                del self._sockets[name]
                sockets.close()
                self.log.info(
                    "Stopped listening on {interface} at {address}", interface=name, address=sockets.interface.address
                )

    def _log_problems(self, problems: Mapping[str, str]) -> None:
        """Log the problem of each interface or selector that had none at the refresh before."""
        for interface, problem in problems.items():
            if interface not in self._problematic:
                self.log.warn("Cannot listen on {interface} yet: {problem}", interface=interface, problem=problem)
        self._problematic = frozenset(problems)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
