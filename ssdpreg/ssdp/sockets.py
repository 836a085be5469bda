"""UDP sockets of a network interface. Linux only: other systems lack the options used here."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorMulticast
from twisted.internet.protocol import DatagramProtocol

from ssdpreg.ssdp.interfaces import InterfaceAddress, is_link_local
from ssdpreg.ssdp.messages import GROUP, GROUP_LINK_LOCAL, PORT
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.quiet_port import listen_quietly, listen_quietly_ipv6

#: Longest payload of a UDP datagram in bytes, over IPv4 and over IPv6.
_MAX_DATAGRAM = 65507
_MAX_DATAGRAM_IPV6 = 65527
#: Size of a receive buffer in bytes. All devices of a network reply to a search for everything within a few seconds.
_RECEIVE_BUFFER = 4 * 1024 * 1024

# Linux: <asm-generic/socket.h>, <linux/in.h>, <linux/sock_diag.h>. Python does not define them.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8
_IP_MULTICAST_ALL = 49
_IP_UNICAST_IF = 50
_IPV6_MULTICAST_ALL = 29
#: Address of a socket that receives datagrams for any IPv6 address of its interface.
_ANY_IPV6 = "::"


class OpenSocket:
    """
    An open UDP socket of one interface.

    :param protocol: Its protocol.
    :param port: Its port.
    """

    def __init__(self, protocol: DatagramProtocol, port: Any) -> None:
        self._protocol = protocol
        self.port = port
        host = port.getHost()
        #: IP address and port that it is bound to.
        self.address: PeerAddress = (host.host, host.port)
        self._dropped = 0

    @property
    def alive(self) -> bool:
        """Whether it is open. The reactor closes a socket when reading from it fails."""
        return self._protocol.transport is not None

    def take_overflows(self) -> int:
        """Return the number of datagrams that the kernel dropped since the last call, because the buffer was full."""
        if not self.alive:
            return 0
        try:
            info = self.port.getHandle().getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_SK_MEMINFO_DROPS + 1))
        except OSError:
            # Linux before 4.12 does not count for each socket.
            return 0
        before, self._dropped = self._dropped, int.from_bytes(info[4 * _SK_MEMINFO_DROPS :], sys.byteorder)
        # The kernel's counter has 32 bits.
        return (self._dropped - before) % 2**32


class UDPSockets:
    """
    The UDP sockets of this process for SSDP.

    :param reactor: Provides ``IReactorMulticast``.
    :param ttl: TTL of multicast datagrams, and hop limit of those over IPv6.
    :param ports: First and last port of sockets for searches, or None for any port that the kernel selects.
    :param random: Source of the port that is tried first.
    :param limit: Largest number of open sockets: descriptors are needed for connections too.
    :ivar sources: Address and port of each open socket that sends searches.
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
        self.ipv6_addresses: frozenset[str] = frozenset()
        self._open: set[OpenSocket] = set()
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

        def configure(handle: socket.socket) -> None:
            # By default the socket receives on every interface on which any socket of this host has joined the group.
            handle.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            # Twisted shares ports by SO_REUSEADDR, which is enough, and by SO_REUSEPORT. With the latter, Linux
            # delivers a datagram for the only member on an interface to any of the sockets that share the port: seen
            # with 6.18.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(interface))

        return self._listen(protocol, port, GROUP, configure, shared=True)

    def _open_group_ipv6(self, interface: InterfaceAddress, protocol: DatagramProtocol, group: str) -> OpenSocket:
        def configure(handle: socket.socket) -> None:
            # A link-local group is bound together with its interface, which needs no privilege.
            if group != GROUP_LINK_LOCAL:
                _bind_to_interface(handle, interface)
            _ignore_other_groups(handle)
            membership = struct.pack("@16sI", socket.inet_pton(socket.AF_INET6, group), interface.index)
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)

        scope = interface.index if group == GROUP_LINK_LOCAL else 0
        return self._add(
            protocol,
            lambda: listen_quietly_ipv6(
                self._reactor, (group, PORT, scope), protocol, configure, _MAX_DATAGRAM_IPV6, shared=True
            ),
        )

    def open_search(self, interface: InterfaceAddress, protocol: DatagramProtocol) -> OpenSocket:
        """
        Open a socket that sends searches on one interface, from a free port of its address.

        Searches are not sent from port 1900: the port may be shared with other programs, and Linux delivers a unicast
        datagram to only one of the sockets that share a port.

        :raise CannotListenError: If no port is free, or the interface no longer has the address.
        :raise OSError: If the interface no longer exists.
        """

        if interface.version == 6:
            opened = self._in_range(lambda number: self._listen_ipv6(interface, protocol, number))
            self.sources.add(opened.address)
            return opened

        def configure(handle: socket.socket) -> None:
            self._send_on(interface, handle)
            # Two networks can use the same addresses: the routing table selects one of the interfaces.
            handle.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, socket.htonl(interface.index))

        opened = self._in_range(lambda number: self._listen(protocol, number, interface.address, configure))
        self.sources.add(opened.address)
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

        def configure(handle: socket.socket) -> None:
            self._send_on(interface, handle)

        return self._listen(protocol, PORT, interface.address, configure, shared=True)

    def close(self, opened: OpenSocket) -> None:
        """Begin to close a socket. It may have been closed before."""
        self.sources.discard(opened.address)
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
            _ignore_other_groups(handle)
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, self._ttl)

        def configure_on_interface(handle: socket.socket) -> None:
            _bind_to_interface(handle, interface)
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
        _enlarge_receive_buffer(port.getHandle())
        opened = OpenSocket(protocol, port)
        self._open.add(opened)
        return opened

    def _send_on(self, interface: InterfaceAddress, handle: socket.socket) -> None:
        """Make a socket send multicast datagrams on one interface."""
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _membership(interface))
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self._ttl)


def _membership(interface: InterfaceAddress) -> bytes:
    """
    Return a ``struct ip_mreqn``, which selects the interface by its index.

    Two interfaces may have the same address, and the methods of Twisted's transport select by address.
    """
    return struct.pack("@4s4si", socket.inet_aton(GROUP), socket.inet_aton(interface.address), interface.index)


def _bind_to_interface(handle: socket.socket, interface: InterfaceAddress) -> None:
    """
    Make a socket send and receive on one interface only.

    :raise PermissionError: If the process may not, with Linux before 5.7.
    """
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode() + b"\0")


def _ignore_other_groups(handle: socket.socket) -> None:
    """Make a socket receive nothing from IPv6 groups that only other sockets of this host have joined."""
    # Linux before 4.20 does not have the option. A socket that is bound to a group receives nothing from others.
    with suppress(OSError):
        handle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def _enlarge_receive_buffer(handle: socket.socket) -> None:
    try:
        handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        # Without CAP_NET_ADMIN the kernel grants at most net.core.rmem_max.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
