"""Options of UDP sockets that Python or Twisted do not set. Linux only."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress

from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUP

#: Size of a receive buffer in bytes. All devices of a network reply to a search for everything within a few seconds.
RECEIVE_BUFFER = 4 * 1024 * 1024

# Linux: <asm-generic/socket.h>, <linux/in.h>, <linux/sock_diag.h>. Python does not define them.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_SK_MEMINFO_DROPS = 8
_IP_MULTICAST_ALL = 49
_IP_UNICAST_IF = 50
_IPV6_MULTICAST_ALL = 29


def join(handle: socket.socket, interface: InterfaceAddress) -> None:
    """
    Make a socket that is bound to the group of IPv4 receive its datagrams of one interface.

    :raise OSError: If the interface no longer exists.
    """
    # By default the socket receives on every interface on which any socket of this host has joined the group.
    handle.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    # Twisted shares ports by SO_REUSEADDR, which is enough, and by SO_REUSEPORT. With the latter, Linux delivers a
    # datagram for the only member on an interface to any of the sockets that share the port: seen with 6.18.
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(interface))


def join_ipv6(handle: socket.socket, interface: InterfaceAddress, group: str) -> None:
    """
    Make a socket receive the datagrams of a group of IPv6 on one interface.

    :raise OSError: If the interface no longer exists.
    """
    ignore_other_groups(handle)
    membership = struct.pack("@16sI", socket.inet_pton(socket.AF_INET6, group), interface.index)
    handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)


def send_on(handle: socket.socket, interface: InterfaceAddress, ttl: int) -> None:
    """Make a socket send multicast datagrams of IPv4 on one interface."""
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _membership(interface))
    handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)


def send_unicast_on(handle: socket.socket, interface: InterfaceAddress) -> None:
    """Make a socket send unicast datagrams of IPv4 on one interface."""
    # Two networks can use the same addresses: the routing table selects one of the interfaces.
    handle.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, socket.htonl(interface.index))


def send_on_ipv6(handle: socket.socket, interface: InterfaceAddress, hops: int) -> None:
    """Make a socket send multicast datagrams of IPv6 on one interface."""
    handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
    handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)


def _membership(interface: InterfaceAddress) -> bytes:
    """
    Return a ``struct ip_mreqn``, which selects the interface by its index.

    Two interfaces may have the same address, and the methods of Twisted's transport select by address.
    """
    return struct.pack("@4s4si", socket.inet_aton(GROUP), socket.inet_aton(interface.address), interface.index)


def bind_to_interface(handle: socket.socket, interface: InterfaceAddress) -> None:
    """
    Make a socket send and receive on one interface only.

    :raise PermissionError: If the process may not, with Linux before 5.7.
    """
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode() + b"\0")


def ignore_other_groups(handle: socket.socket) -> None:
    """Make a socket receive nothing from IPv6 groups that only other sockets of this host have joined."""
    # Linux before 4.20 does not have the option. A socket that is bound to a group receives nothing from others.
    with suppress(OSError):
        handle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def enlarge_receive_buffer(handle: socket.socket) -> None:
    """Enlarge the receive buffer of a socket as far as the kernel permits it."""
    try:
        handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        # Without CAP_NET_ADMIN the kernel grants at most net.core.rmem_max.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def read_drops(handle: socket.socket) -> int | None:
    """
    Return the number of datagrams that the kernel has dropped because the receive buffer was full.

    :return: A counter of 32 bits, or None if the kernel does not count for each socket: Linux before 4.12.
    """
    try:
        info = handle.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_SK_MEMINFO_DROPS + 1))
    except OSError:
        return None
    return int.from_bytes(info[4 * _SK_MEMINFO_DROPS :], sys.byteorder)
