"""UDP sockets of a network interface. Linux only: other systems lack the options used here."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorMulticast
from twisted.internet.protocol import DatagramProtocol

from ssdpreg.ssdp import socket_options
from ssdpreg.ssdp.interfaces import InterfaceAddress, is_link_local
from ssdpreg.ssdp.messages import GROUP, GROUP_LINK_LOCAL, PORT
from ssdpreg.ssdp.open_socket import OpenSocket
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.quiet_port import listen_quietly, listen_quietly_ipv6

#: Longest payload of a UDP datagram in bytes, over IPv4 and over IPv6.
_MAX_DATAGRAM = 65507
_MAX_DATAGRAM_IPV6 = 65527

#: Largest number of open sockets that search single hosts: of one interface, and of all. Each is open for at most 6 s.
MOST_HOST_SOCKETS = 128
_MOST_HOST_SOCKETS_IN_ALL = 256
#: Ports of a range that those sockets leave to searches of the group.
_GROUP_PORTS = 5

#: Address of a socket that receives datagrams for any IPv6 address of its interface.
_ANY_IPV6 = "::"


class UDPSockets:
    """
    The UDP sockets of this process for SSDP.

    :param reactor: Provides ``IReactorMulticast``.
    :param ttl: TTL of multicast datagrams, and hop limit of those over IPv6.
    :param ports: First and last port of sockets for searches, or None for any port that the kernel selects.
    :param random: Source of the port that is tried first.
    :param limit: Largest number of open sockets: descriptors are needed for connections too.
    :ivar sources: Address and port of each open socket that sends searches.
    :ivar rejected_searches: Number of searches of single hosts that were not sent, because too many sockets were open.
    :ivar ipv6_addresses: IPv6 addresses of this host, without zones.
    """

    def __init__(
        self,
        reactor: IReactorMulticast,
        ttl: int,
        ports: tuple[int, int] | None = None,
        random: Random | None = None,
        limit: int = 512,
    ) -> None:
        self._reactor, self._ttl, self._ports, self._limit = reactor, ttl, ports, limit
        self._random = random or Random()
        self.sources: set[PeerAddress] = set()
        self.rejected_searches = 0
        self.ipv6_addresses: frozenset[str] = frozenset()
        self._open: set[OpenSocket] = set()
        #: Sockets that search single hosts.
        self._host_sockets: Counter[InterfaceAddress] = Counter()
        self._closing: set[Deferred[Any]] = set()

    def is_source(self, peer: PeerAddress) -> bool:
        """Return whether a datagram was sent from an open socket for searches of this process."""
        return peer in self.sources or (peer[0] in self.ipv6_addresses and (_ANY_IPV6, peer[1]) in self.sources)

    def open_group(
        self, interface: InterfaceAddress, protocol: DatagramProtocol, port: int = PORT, *, group: str = GROUP
    ) -> OpenSocket:
        """
        Open a socket that is bound to an SSDP group, and receives the multicast datagrams of one interface.

        :param port: Port; another one than that of SSDP receives probes only.
        :raise CannotListenError: If another program uses the port exclusively.
        :raise OSError: If the interface no longer exists.
        """

        if interface.version == 6:
            return self._open_group_ipv6(interface, protocol, group)

        return self._listen(protocol, port, GROUP, lambda handle: socket_options.join(handle, interface), shared=True)

    def may_search_host(self, interface: InterfaceAddress) -> bool:
        """
        Return whether another socket that searches a single host may be opened on an interface.

        Such sockets leave descriptors and ports to the other ones.
        """
        most = MOST_HOST_SOCKETS
        if self._ports is not None:
            most = min(most, max(1, self._ports[1] - self._ports[0] + 1 - _GROUP_PORTS))
        return self._host_sockets[interface] < most and self._host_sockets.total() < _MOST_HOST_SOCKETS_IN_ALL

    def _open_group_ipv6(self, interface: InterfaceAddress, protocol: DatagramProtocol, group: str) -> OpenSocket:
        def configure(handle: socket.socket) -> None:
            # A link-local group is bound together with its interface, which needs no privilege.
            if group != GROUP_LINK_LOCAL:
                socket_options.bind_to_interface(handle, interface)
            socket_options.join_ipv6(handle, interface, group)

        scope = interface.index if group == GROUP_LINK_LOCAL else 0
        return self._add(
            protocol,
            lambda: listen_quietly_ipv6(
                self._reactor, (group, PORT, scope), protocol, configure, _MAX_DATAGRAM_IPV6, shared=True
            ),
        )

    def open_search(self, interface: InterfaceAddress, protocol: DatagramProtocol, *, host: bool = False) -> OpenSocket:
        """
        Open a socket that sends searches on one interface, from a free port of its address.

        Searches are not sent from port 1900: the port may be shared with other programs, and Linux delivers a unicast
        datagram to only one of the sockets that share a port.

        :param host: Whether it searches a single host: see :meth:`may_search_host`.
        :raise CannotListenError: If no port is free, or the interface no longer has the address.
        :raise OSError: If the interface no longer exists.
        """

        if interface.version == 6:
            opened = self._in_range(lambda number: self._listen_ipv6(interface, protocol, number))
            return self._add_search(opened, interface, host=host)

        def configure(handle: socket.socket) -> None:
            socket_options.send_on(handle, interface, self._ttl)
            socket_options.send_unicast_on(handle, interface)

        opened = self._in_range(lambda number: self._listen(protocol, number, interface.address, configure))
        return self._add_search(opened, interface, host=host)

    def _add_search(self, opened: OpenSocket, interface: InterfaceAddress, *, host: bool) -> OpenSocket:
        self.sources.add(opened.address)
        if host:
            opened.searches_hosts_of = interface
            self._host_sockets[interface] += 1
        return opened

    def open_announcing(self, interface: InterfaceAddress, protocol: DatagramProtocol) -> OpenSocket:
        """
        Open a socket that sends announcements on one interface, from port 1900 of its address.

        It receives unicast searches: UPnP Device Architecture 2.0, 1.3.2.

        :raise CannotListenError: If another program uses the port exclusively, or the interface lost the address.
        :raise OSError: If the interface no longer exists.
        """

        if interface.version == 6:
            return self._listen_ipv6(interface, protocol, PORT, shared=True)

        return self._listen(
            protocol,
            PORT,
            interface.address,
            lambda handle: socket_options.send_on(handle, interface, self._ttl),
            shared=True,
        )

    def close(self, opened: OpenSocket) -> None:
        """Begin to close a socket. It may have been closed before."""
        self.sources.discard(opened.address)
        if opened in self._open and opened.searches_hosts_of is not None:
            self._host_sockets[opened.searches_hosts_of] -= 1
        self._open.discard(opened)
        self._wait_for(opened.port.stopListening())

    def closed(self) -> Deferred[None]:
        """Return a Deferred that fires when every socket that was passed to :meth:`close` is closed."""

        async def wait() -> None:
            while self._closing:
                await gatherResults(list(self._closing))

        return Deferred.fromCoroutine(wait())

    def _wait_for(self, closing: Deferred[Any] | None) -> None:
        if closing is not None:
            self._closing.add(closing)
            closing.addBoth(lambda _: self._closing.discard(closing))

    def _in_range(self, listen: Callable[[int], OpenSocket]) -> OpenSocket:
        """
        Open a socket on a port of the range, beginning with a random one.

        :param listen: Opens a socket on a port.
        """
        if self._ports is None:
            return listen(0)
        first, last = self._ports
        count = last - first + 1
        start = self._random.randrange(count)
        for offset in range(count):
            try:
                return listen(first + (start + offset) % count)
            except CannotListenError as error:  # noqa: PERF203
                if getattr(error.socketError, "errno", None) != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, f"no port from {first} to {last} is free")

    def _listen(
        self,
        protocol: DatagramProtocol,
        number: int,
        address: str,
        configure: Callable[[socket.socket], None],
        *,
        shared: bool = False,
    ) -> OpenSocket:
        """
        Open a socket and set its options.

        :param number: Port; 0 for any free one.
        :param shared: Whether other programs may use the port too.
        """

        def listen() -> Any:
            port = listen_quietly(self._reactor, number, protocol, address, _MAX_DATAGRAM, shared=shared)
            try:
                configure(port.getHandle())
            except OSError:
                self._wait_for(port.stopListening())
                raise
            return port

        return self._add(protocol, listen)

    def _listen_ipv6(
        self, interface: InterfaceAddress, protocol: DatagramProtocol, number: int, *, shared: bool = False
    ) -> OpenSocket:
        """
        Open a socket on one interface that is bound to any IPv6 address.

        The kernel selects the source of each datagram: its scope has to be that of the recipient, so that the reply of
        a host comes from the address that was searched.
        """

        def configure(handle: socket.socket) -> None:
            socket_options.ignore_other_groups(handle)
            socket_options.send_on_ipv6(handle, interface, self._ttl)

        def configure_on_interface(handle: socket.socket) -> None:
            socket_options.bind_to_interface(handle, interface)
            configure(handle)

        def listen() -> Any:
            address, scope, setup = _ANY_IPV6, 0, configure_on_interface
            try:
                return listen_quietly_ipv6(
                    self._reactor, (address, number, scope), protocol, setup, _MAX_DATAGRAM_IPV6, shared=shared
                )
            except PermissionError:
                # Linux before 5.7 requires CAP_NET_RAW. A link-local address restricts the socket to its interface.
                if not is_link_local(interface.address):
                    raise
                address, scope, setup = interface.address, interface.index, configure
            return listen_quietly_ipv6(
                self._reactor, (address, number, scope), protocol, setup, _MAX_DATAGRAM_IPV6, shared=shared
            )

        return self._add(protocol, listen)

    def _add(self, protocol: DatagramProtocol, listen: Callable[[], Any]) -> OpenSocket:
        """
        Open a socket, unless there are too many.

        :param listen: Opens the port.
        """
        if len(self._open) + len(self._closing) >= self._limit:
            raise OSError(errno.EMFILE, f"{self._limit} sockets are open")
        port = listen()
        socket_options.enlarge_receive_buffer(port.getHandle())
        opened = OpenSocket(protocol, port)
        self._open.add(opened)
        return opened
