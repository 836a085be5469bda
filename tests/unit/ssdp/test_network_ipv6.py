"""Tests for :mod:`ssdpreg.ssdp.network` over IPv6, with sockets in memory."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import replace
from ipaddress import ip_network

from twisted.logger import LogLevel, capturedLogs

from ssdpreg.ssdp.messages import Message
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.memory_reactor import MemoryPort
from tests.unit.ssdp.test_network import ETH0, ETH1, NET0, RESPONSE, SEARCH, NetworkTestCase

BOTH = replace(
    ETH0,
    networks=(NET0, ip_network("fe80::/64"), ip_network("2001:db8::/64")),
    ipv6_addresses=("fe80::2", "2001:db8::2"),
)
_BIND = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
_HOPS = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS
_INTERFACE = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF
_JOIN = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP


class NetworkOverIPv6Tests(NetworkTestCase):
    """Tests for :class:`ssdpreg.ssdp.network.Network` on an interface with both families, and one with IPv4 only."""

    def setUp(self) -> None:
        super().setUp()
        self.host_interfaces = [BOTH, ETH1]

    def test_sockets(self) -> None:
        """There is a socket for each group, which joins it by the index of the interface."""
        network = self.network()
        self.assertEqual(network.versions, (4, 6))
        for group in ("ff02::c", "ff05::c"):
            membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", BOTH.index)
            self.assertEqual(self.port_of(group).options[_JOIN], membership)
        self.assertNotIn(_BIND, self.port_of("ff02::c").options)
        self.assertEqual(self.port_of("ff05::c").options[_BIND], b"eth0\0")

    def test_search(self) -> None:
        """A search is sent to both groups from one socket of the interface, and replies are delivered."""
        self.network(ttl=5).search(SEARCH)
        port = self.port_of("::")
        self.assertEqual([peer for _, peer in port.written], [("ff02::c", 1900), ("ff05::c", 1900)])
        self.assertEqual((port.options[_HOPS], port.options[_INTERFACE], port.options[_BIND]), (5, 2, b"eth0\0"))
        self.receive(port, RESPONSE, "fe80::9")
        self.receive(port, RESPONSE, "2001:db9::9")
        self.assertEqual(self.delivered, [(RESPONSE, Reception("fe80::9%eth0", "eth0", Channel.SEARCH))])
        self.assertEqual([kind for kind, _ in self.dropped], ["off-link reply"])

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        self.delivered.append((message, reception))

    def test_own_search(self) -> None:
        """A search of this process that loops back is ignored, that of another program on this host is not."""
        self.network().search(SEARCH)
        port, group = self.port_of("::"), self.port_of("ff02::c")
        for sender in ("fe80::2", "2001:db8::2"):
            group.protocol.datagramReceived(port.written[0][0], (sender, port.number))
        self.assertEqual(self.delivered, [])
        group.protocol.datagramReceived(port.written[0][0], ("fe80::2", port.number + 1))
        group.protocol.datagramReceived(port.written[0][0], ("fe80::9", port.number))
        self.assertEqual(len(self.delivered), 2)

    def test_search_hosts(self) -> None:
        """A host is searched on its network or zone from a port of its own, without the zone in the address."""
        hosts = ["2001:db8::9", "fe80::9%eth0", "fe80::8%eth1", "2001:db9::9", "[2001:db8::8]:50000"]
        self.network().search_hosts("a", hosts)
        self.assertEqual(
            [[peer for _, peer in port.written] for port in self.ports_of("::")],
            [[("2001:db8::9", 1900)], [("fe80::9", 1900)], [("2001:db8::8", 50000), ("2001:db8::8", 1900)]],
        )

    def port_of(self, address: str) -> MemoryPort:
        """Return the port that was bound last to an address."""
        return self.ports_of(address)[-1]

    def test_ipv6_fails(self) -> None:
        """If the sockets of IPv6 cannot be opened, those of IPv4 are used, and there is one warning."""
        self.reactor.refused_options[_JOIN] = OSError(errno.ENODEV, "refused by the test")
        with capturedLogs() as events:
            network = self.network()
            network.refresh()
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")))
        [warning] = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warning["interface"], "eth0 over IPv6")

    def test_switched_off(self) -> None:
        """The sockets of IPv6 are closed when it is switched off, and the interface goes on receiving."""
        network = self.network()
        network.check_reception()
        self.host_interfaces = [replace(BOTH, ipv6_addresses=(), networks=(NET0,)), ETH1]
        self.assertFalse(network.refresh())
        self.assertEqual(network.check_reception(), {"eth0": "socket closed"})
        self.assertEqual((network.check_reception(), network.receiving), ({}, {"eth0", "eth1"}))

    def test_ipv4_lost(self) -> None:
        """An interface that loses its IPv4 address is reported for an hour, although it has IPv6."""
        network = self.network()
        self.host_interfaces = [replace(BOTH, addresses=()), ETH1]
        network.refresh()
        for _ in range(2):
            self.assertEqual(network.check_reception(), {"eth0": "no address"})
        self.assertEqual(network.receiving, {"eth1"})
        self.reactor.advance(3600)
        network.check_reception()
        self.assertEqual((network.check_reception(), network.receiving), ({}, {"eth0", "eth1"}))
