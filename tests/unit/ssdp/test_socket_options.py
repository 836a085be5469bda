"""Tests for :mod:`ssdpreg.ssdp.socket_options`, with the numbers of the Linux kernel."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp import socket_options
from ssdpreg.ssdp.interfaces import InterfaceAddress

ETH0 = InterfaceAddress("eth0", 2, "10.0.0.2")
SIX = InterfaceAddress("eth0", 2, "2001:db8::2")
#: An ``ip_mreqn``: the group, the address and the index of the interface.
MEMBERSHIP = bytes([239, 255, 255, 250, 10, 0, 0, 2]) + struct.pack("@i", 2)


class MemoryHandle:
    """
    Options of a socket in memory.

    :ivar options: Values by level and name.
    :ivar refused: Exceptions by the name of the option.
    """

    def __init__(self, refused: dict[int, OSError] | None = None) -> None:
        self.options: dict[tuple[int, int], int | bytes] = {}
        self.refused = refused or {}

    def setsockopt(self, level: int, name: int, value: int | bytes) -> None:
        """Set an option."""
        if name in self.refused:
            raise self.refused[name]
        self.options[level, name] = value

    def getsockopt(self, level: int, name: int, length: int) -> bytes:
        """Return SO_MEMINFO: the ninth number counts the dropped datagrams. A later kernel may have another number."""
        if (level, name) != (socket.SOL_SOCKET, 55):
            raise OSError(errno.ENOPROTOOPT, "not in memory")
        return struct.pack("@10I", 1, 2, 3, 4, 5, 6, 7, 8, 4_000_000_000, 10)[:length]


class SocketOptionTests(SynchronousTestCase):
    """Tests for the functions that set and read options."""

    def setUp(self) -> None:
        self.handle = MemoryHandle()
        self.socket = cast(Any, self.handle)

    def test_join(self) -> None:
        """A socket that joins the group of IPv4 receives from one interface, and does not share the datagrams."""
        socket_options.join(self.socket, ETH0)
        expected = {
            (socket.IPPROTO_IP, 49): 0,
            (socket.SOL_SOCKET, socket.SO_REUSEPORT): 0,
            (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP): MEMBERSHIP,
        }
        self.assertEqual(self.handle.options, expected)

    def test_join_ipv6(self) -> None:
        """A socket that joins a group of IPv6 receives from one interface."""
        socket_options.join_ipv6(self.socket, SIX, "ff02::c")
        membership = b"\xff\x02" + bytes(13) + b"\x0c" + struct.pack("@I", 2)
        expected = {(socket.IPPROTO_IPV6, 29): 0, (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP): membership}
        self.assertEqual(self.handle.options, expected)

    def test_send(self) -> None:
        """Multicast datagrams have an interface and a TTL. Those of IPv4 to one host have an interface, too."""
        socket_options.send_on(self.socket, ETH0, 4)
        socket_options.send_unicast_on(self.socket, ETH0)
        socket_options.send_on_ipv6(self.socket, SIX, 3)
        expected = {
            (socket.IPPROTO_IP, socket.IP_MULTICAST_IF): MEMBERSHIP,
            (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL): 4,
            # The kernel expects the index in the byte order of the network.
            (socket.IPPROTO_IP, 50): socket.htonl(2),
            (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF): 2,
            (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS): 3,
        }
        self.assertEqual(self.handle.options, expected)

    def test_bind(self) -> None:
        """A socket is bound to an interface by its name."""
        socket_options.bind_to_interface(self.socket, ETH0)
        self.assertEqual(self.handle.options, {(socket.SOL_SOCKET, socket.SO_BINDTODEVICE): b"eth0\0"})

    def test_other_groups(self) -> None:
        """A kernel without the option for the groups of other sockets is accepted."""
        self.handle.refused[29] = OSError(errno.ENOPROTOOPT, "refused by the test")
        socket_options.ignore_other_groups(self.socket)
        self.assertEqual(self.handle.options, {})

    def test_receive_buffer(self) -> None:
        """The receive buffer has 4 MiB, or what the kernel grants a process without privileges."""
        socket_options.enlarge_receive_buffer(self.socket)
        self.assertEqual(self.handle.options, {(socket.SOL_SOCKET, 33): 4_194_304})
        self.handle.options.clear()
        self.handle.refused[33] = PermissionError(errno.EPERM, "refused by the test")
        socket_options.enlarge_receive_buffer(self.socket)
        self.assertEqual(self.handle.options, {(socket.SOL_SOCKET, socket.SO_RCVBUF): 4_194_304})

    def test_drops(self) -> None:
        """The counter of dropped datagrams is the ninth number. An old kernel has none."""
        self.assertEqual(socket_options.read_drops(self.socket), 4_000_000_000)
        self.patch(self.handle, "getsockopt", self.refuse)
        self.assertIsNone(socket_options.read_drops(self.socket))

    def refuse(self, level: int, name: int, length: int) -> bytes:
        raise OSError(errno.ENOPROTOOPT, "refused by the test")
