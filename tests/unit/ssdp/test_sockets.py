"""Tests for :mod:`ssdpreg.ssdp.sockets`, with sockets in memory."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp import sockets
from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUP_LINK_LOCAL
from ssdpreg.ssdp.quiet_port import listen_quietly_ipv6
from ssdpreg.ssdp.sockets import UDPSockets
from tests.support.memory_reactor import MemoryMulticastReactor

ETH0 = InterfaceAddress("eth0", 2, "10.0.0.2")
ETH1 = InterfaceAddress("eth1", 3, "10.1.0.2")
LINK = InterfaceAddress("eth0", 2, "fe80::2")
SIX = InterfaceAddress("eth0", 2, "2001:db8::2")


class IPv6Tests(SynchronousTestCase):
    """Tests for the sockets of IPv6."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.sockets = UDPSockets(self.reactor, 2)
        self.may_bind_to_interfaces = True
        self.opened: list[tuple[tuple[str, int, int], int, bool]] = []

        def record(
            reactor: Any,
            address: tuple[str, int, int],
            protocol: DatagramProtocol,
            configure: Callable[[socket.socket], None],
            max_datagram: int,
            *,
            shared: bool,
        ) -> Any:
            self.opened.append((address, max_datagram, shared))
            if address[0] == "::" and not self.may_bind_to_interfaces:
                raise PermissionError(errno.EPERM, "refused by the test")
            return listen_quietly_ipv6(reactor, address, protocol, configure, max_datagram, shared=shared)

        self.patch(sockets, "listen_quietly_ipv6", record)

    def test_group(self) -> None:
        """Only the address of a link-local group has the index of the interface. The port is shared."""
        for group in (GROUP_LINK_LOCAL, "ff05::c"):
            self.sockets.open_group(SIX, DatagramProtocol(), group=group)
        self.assertEqual(self.opened, [(("ff02::c", 1900, 2), 65_527, True), (("ff05::c", 1900, 0), 65_527, True)])

    def test_search(self) -> None:
        """A search has a port that is not shared."""
        opened = self.sockets.open_search(SIX, DatagramProtocol())
        self.assertEqual(self.opened, [(("::", 0, 0), 65_527, False)])
        self.assertIsNone(opened.searches_hosts_of)

    def test_without_privileges(self) -> None:
        """If a socket may not be bound to an interface, a link-local address restricts it. Any other does not."""
        self.may_bind_to_interfaces = False
        self.sockets.open_search(LINK, DatagramProtocol())
        self.assertEqual(self.opened, [(("::", 0, 0), 65_527, False), (("fe80::2", 0, 2), 65_527, False)])
        self.assertRaises(PermissionError, self.sockets.open_search, SIX, DatagramProtocol())
        self.assertEqual(len(self.opened), 3)

    def test_announcements(self) -> None:
        """Announcements are sent from port 1900, which is shared."""
        self.sockets.open_announcing(SIX, DatagramProtocol())
        self.assertEqual(self.opened, [(("::", 1900, 0), 65_527, True)])

    def test_ipv4(self) -> None:
        """The sockets of IPv4 are opened in another way."""
        self.sockets.open_group(ETH0, DatagramProtocol())
        self.sockets.open_search(ETH0, DatagramProtocol())
        self.sockets.open_announcing(ETH0, DatagramProtocol())
        self.assertEqual((self.opened, len(self.reactor.ports)), ([], 3))


class HostSocketTests(SynchronousTestCase):
    """Tests for the number of sockets that search single hosts."""

    def sockets(self, last_port: int) -> UDPSockets:
        """Return sockets with a range of ports from 40000."""
        return UDPSockets(MemoryMulticastReactor(), 2, (40000, last_port))

    def test_closed(self) -> None:
        """A closed socket does not count. It may be closed again, and sockets of other kinds never count."""
        opener = self.sockets(40007)
        group = opener.open_search(ETH0, DatagramProtocol())
        first, second, _ = (opener.open_search(ETH0, DatagramProtocol(), host=True) for _ in range(3))
        self.assertFalse(opener.may_search_host(ETH0))
        opener.close(first)
        self.assertTrue(opener.may_search_host(ETH0))
        opener.open_search(ETH0, DatagramProtocol(), host=True)
        self.assertFalse(opener.may_search_host(ETH0))
        for each in (first, group):
            opener.close(each)
        self.assertFalse(opener.may_search_host(ETH0))
        self.assertEqual(opener._host_sockets, {ETH0: 3})
        opener.close(second)
        self.assertEqual(opener._host_sockets, {ETH0: 2})

    def test_few_ports(self) -> None:
        """Each interface may have one such socket, however few ports there are."""
        for last_port in (40000, 40003, 40005):
            opener = self.sockets(last_port)
            self.assertTrue(opener.may_search_host(ETH0))
            opener.open_search(ETH0, DatagramProtocol(), host=True)
            self.assertFalse(opener.may_search_host(ETH0))
            self.assertTrue(opener.may_search_host(ETH1))
