"""Sockets of one network interface. Linux only: other systems lack the options used here."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorMulticast

from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUP, PORT, Message
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol

#: Longest payload of a UDP datagram over IPv4, in bytes.
_MAX_DATAGRAM = 65507
#: Size of a receive buffer in bytes. All devices of a network reply to a search for everything within a few seconds.
_RECEIVE_BUFFER = 4 * 1024 * 1024

# Linux: <asm-generic/socket.h>, <linux/in.h>. Python does not define them.
_SO_RCVBUFFORCE = 33
_IP_MULTICAST_ALL = 49


class InterfaceSockets:
    """
    The two sockets of one interface.

    The group socket is bound to the SSDP group and receives multicast datagrams. The search socket is bound to a free
    port of the interface's address; it sends, and receives unicast datagrams such as replies. Searches are not sent
    from port 1900: the port may be shared with other programs, and Linux delivers a unicast datagram to only one of
    the sockets that share a port.

    :param interface: The interface and its address.
    :param group: Protocol of the group socket.
    :param search: Protocol of the search socket.
    """

    def __init__(self, interface: InterfaceAddress, group: SSDPProtocol, search: SSDPProtocol) -> None:
        self.interface = interface
        #: Address that the search socket sends from, once it is open.
        self.source: PeerAddress | None = None
        self._group = group
        self._search = search
        # IMulticastTransport lacks some methods of Twisted's ports.
        self._ports: list[Any] = []

    @property
    def alive(self) -> bool:
        """Whether both sockets are open. The reactor closes a socket when reading from it fails."""
        return self._group.transport is not None and self._search.transport is not None

    def open(self, reactor: IReactorMulticast, ttl: int) -> None:
        """
        Open both sockets.

        :param ttl: TTL of multicast datagrams.
        :raise CannotListenError: If the interface no longer has the address.
        :raise OSError: If the interface no longer exists.
        """
        group_port: Any = reactor.listenMulticast(PORT, self._group, GROUP, _MAX_DATAGRAM, listenMultiple=True)
        self._ports.append(group_port)
        search_port: Any = reactor.listenMulticast(0, self._search, self.interface.address, _MAX_DATAGRAM)
        self._ports.append(search_port)
        host = search_port.getHost()
        self.source = (host.host, host.port)
        # struct ip_mreqn, which selects the interface by its index: two interfaces may have the same address, and the
        # methods of Twisted's transport select by address.
        membership = struct.pack(
            "@4s4si", socket.inet_aton(GROUP), socket.inet_aton(self.interface.address), self.interface.index
        )
        # By default the socket receives on every interface on which any socket of this host has joined the group.
        group_port.getHandle().setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        # Twisted shares ports by SO_REUSEADDR, which is enough, and by SO_REUSEPORT. With the latter, Linux delivers a
        # datagram for the only member on an interface to any of the sockets that share the port: seen with 6.18.
        group_port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        group_port.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        search_port.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, membership)
        search_port.setTTL(ttl)
        for port in self._ports:
            _enlarge_receive_buffer(port.getHandle())

    def send(self, message: Message, address: PeerAddress) -> None:
        """Send a message from the search socket, as :meth:`SSDPProtocol.send` does."""
        self._search.send(message, address)

    def close(self) -> Deferred[Any]:
        """Close the sockets that are open; fires when they are closed."""
        stopping = (port.stopListening() for port in self._ports)
        return gatherResults([stopped for stopped in stopping if stopped is not None])


def _enlarge_receive_buffer(handle: socket.socket) -> None:
    try:
        handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        # Without CAP_NET_ADMIN the kernel grants at most net.core.rmem_max.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
