"""All sockets of one network interface."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.interfaces import InterfaceAddress, Subnet, is_link_local
from ssdpreg.ssdp.messages import GROUPS, PORT, RECEIVED_GROUPS, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.open_socket import OpenSocket
from ssdpreg.ssdp.protocol import GroupReachability, PeerAddress, SSDPProtocol
from ssdpreg.ssdp.reception import Channel, Receptions
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo
from ssdpreg.ssdp.search_rounds import Deliver, Drop, SearchRounds
from ssdpreg.ssdp.sockets import UDPSockets


class InterfaceSockets:
    """
    The sockets of one interface and IP version.

    A socket for each group receives multicast datagrams as long as the interface is used. Searches are sent, and
    replies are received, by sockets that are open for one round each. An announcer has one more socket for its
    messages.

    :param reactor: Provides ``IReactorTime``.
    :param sockets: Opens and closes the sockets.
    :param interface: The interface and its address.
    :param networks: Networks of the interface.
    :param named: Networks that the operator named.
    :param deliver: Called for each accepted message.
    :param drop: Called for each other datagram.
    :param memo: Memo of repeated datagrams.
    """

    def __init__(
        self,
        reactor: Any,
        sockets: UDPSockets,
        interface: InterfaceAddress,
        networks: Sequence[Subnet],
        named: Sequence[Subnet],
        deliver: Deliver,
        drop: Drop,
        memo: RepeatMemo,
    ) -> None:
        self.interface = interface
        self._sockets, self._named, self._deliver, self._drop = sockets, named, deliver, drop
        self._networks = tuple(networks)
        self._memo = memo
        self._from_group = self._make_receptions(Channel.GROUP)
        self._from_unicast = self._make_receptions(Channel.UNICAST)
        reachability = GroupReachability(interface.name)
        scope = memo.new_scope()
        self._groups = {
            group: SSDPProtocol(self._receive_multicast, self._drop_multicast, memo=(memo, scope))
            for group in RECEIVED_GROUPS[interface.version]
        }
        self._announcer = SSDPProtocol(self._receive_unicast, self._drop_unicast, reachability)
        self._rounds = SearchRounds(reactor, sockets, interface, self._make_receptions, deliver, drop, memo)
        self._open: list[OpenSocket] = []

    @property
    def alive(self) -> bool:
        """Whether the sockets that stay open are open. The reactor closes a socket when reading from it fails."""
        return bool(self._open) and all(opened.alive for opened in self._open)

    @property
    def networks(self) -> tuple[Subnet, ...]:
        """Networks of the interface."""
        return self._networks

    @networks.setter
    def networks(self, networks: tuple[Subnet, ...]) -> None:
        if networks != self._networks:
            self._networks = networks
            # Repetitions are processed with the receptions of the first time.
            self._memo.clear()
            self._from_group = self._make_receptions(Channel.GROUP)
            self._from_unicast = self._make_receptions(Channel.UNICAST)

    def contains(self, host: str) -> bool:
        """
        Return whether a host is on the network of the interface.

        :param host: IP address. A link-local IPv6 address is on the interface that is its zone.
        """
        if is_link_local(host):
            return self.interface.version == 6 and host.partition("%")[2] == self.interface.name
        address = ip_address(host)
        return address.version == self.interface.version and any(address in network for network in self._networks)

    def open(self, *, announcing: bool) -> None:
        """
        Open the sockets that stay open.

        :param announcing: Whether to open the socket of an announcer.
        :raise CannotListenError: If another program uses the port exclusively, or the interface lost its address.
        :raise OSError: If the interface no longer exists.
        """
        first, *others = self._groups.items()
        self._open.append(self._sockets.open_group(self.interface, first[1], group=first[0]))
        for group, protocol in others:
            # Linux before 5.7 requires CAP_NET_RAW for the groups of wider scopes. Nearly all devices use the first.
            with suppress(PermissionError):
                self._open.append(self._sockets.open_group(self.interface, protocol, group=group))
        if announcing:
            self._open.append(self._sockets.open_announcing(self.interface, self._announcer))

    def send(self, message: Message) -> None:
        """Send a message of an announcer to each group."""
        for group in GROUPS[self.interface.version]:
            self._announcer.send(message, (group, PORT))

    def reply(self, message: Message, peer: PeerAddress) -> None:
        """Send a message of an announcer to one peer."""
        self._announcer.send(message, peer)

    def search(self, request: SearchRequest) -> None:
        """Send a search to the group."""
        self._rounds.search(request)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """Send a search to each of some hosts on the network of the interface."""
        self._rounds.search_hosts(st, hosts)

    def take_overflows(self) -> int:
        """Return the number of datagrams dropped since the last call, because a receive buffer was full."""
        self._rounds.count_overflows()
        count = self._rounds.overflows + sum(opened.take_overflows() for opened in self._open)
        self._rounds.overflows = 0
        return count

    def close(self) -> None:
        """Close all sockets."""
        self._rounds.close()
        for opened in self._open:
            self._sockets.close(opened)

    def _make_receptions(self, channel: Channel) -> Receptions:
        return Receptions(self.interface.name, channel, self._networks, self._named)

    def _receive_multicast(self, message: Message, peer: PeerAddress) -> Repeat | None:
        kind = type(message)
        # A reply is sent to the socket that searched, never to the group. A search of this process loops back, also
        # from one interface to another.
        if kind is SearchResponse or (kind is SearchRequest and self._sockets.is_source(peer)):
            return None
        return self._deliver(message, self._from_group[peer[0]], peer)

    def _drop_multicast(self, error: MessageError, peer: PeerAddress) -> None:
        self._drop(error, self._from_group[peer[0]], peer)

    def _receive_unicast(self, message: Message, peer: PeerAddress) -> None:
        """Deliver a unicast search, and ignore any other message."""
        if isinstance(message, SearchRequest):
            self._deliver(message, self._from_unicast[peer[0]], peer)

    def _drop_unicast(self, error: MessageError, peer: PeerAddress) -> None:
        self._drop(error, self._from_unicast[peer[0]], peer)
