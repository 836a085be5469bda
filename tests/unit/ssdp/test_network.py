"""Tests for :mod:`ssdpreg.ssdp.network` and :mod:`ssdpreg.ssdp.sockets`, with sockets in memory."""

from __future__ import annotations

import errno
import socket
import struct

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import GROUP, PORT, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from tests.support.memory_reactor import MemoryMulticastReactor, MemoryPort

ETH0 = NetworkInterface("eth0", 2, ("10.0.0.2",))
ETH1 = NetworkInterface("eth1", 3, ("10.1.0.2", "10.2.0.2"))
LO = NetworkInterface("lo", 1, ("127.0.0.1",), loopback=True, multicast=False)
PEER = ("10.0.0.9", 1900)
BYEBYE = ByeBye("a", "uuid:d::a")
SEARCH = SearchRequest("ssdp:all")
RESPONSE = SearchResponse("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")


class NetworkTests(SynchronousTestCase):
    """Tests for :class:`Network`."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.host_interfaces: list[NetworkInterface] = [ETH0, ETH1, LO]
        self.delivered: list[tuple[Message, PeerAddress, str]] = []
        self.dropped: list[tuple[str, PeerAddress, str]] = []

    def network(self, *interfaces: str, ttl: int = 2) -> Network:
        network = Network(self.reactor, self.deliver, self.drop, interfaces, ttl, lambda: self.host_interfaces)
        network.refresh()
        return network

    def deliver(self, message: Message, peer: PeerAddress, interface: str) -> None:
        self.delivered.append((message, peer, interface))

    def drop(self, error: MessageError, peer: PeerAddress, interface: str) -> None:
        self.dropped.append((error.kind, peer, interface))

    def group_port(self, index: int) -> MemoryPort:
        """Return the port that receives multicast on one interface."""
        interface = struct.pack("@i", index)
        joined = (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP)
        [port] = [port for port in self.reactor.ports if port.options.get(joined, b"")[-4:] == interface]  # type: ignore[index]
        return port

    def search_port(self, address: str) -> MemoryPort:
        """Return the port that searches from one address."""
        [port] = [port for port in self.reactor.ports if port.interface == address]
        return port

    def test_all_interfaces(self) -> None:
        """Every interface that supports multicast has two sockets, and loopback has none."""
        network = self.network()
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")))
        self.assertEqual(len(self.reactor.ports), 4)

    def test_unusable(self) -> None:
        """Interfaces that are down, have no address or do not support multicast are not opened."""
        self.host_interfaces += [
            NetworkInterface("down", 4, ("10.3.0.2",), up=False),
            NetworkInterface("bare", 5, ()),
            NetworkInterface("tunnel", 6, ("10.4.0.2",), multicast=False),
        ]
        self.assertEqual([name for name, _ in self.network().interfaces], ["eth0", "eth1"])

    def test_loopback(self) -> None:
        """Loopback is open as long as no other interface can be used."""
        self.host_interfaces = [LO]
        network = self.network()
        self.assertEqual(network.interfaces, (("lo", "127.0.0.1"),))
        self.host_interfaces = [ETH0, LO]
        self.assertTrue(network.refresh())
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"),))

    def test_selected_by_name(self) -> None:
        """An interface can be selected by its name, including one that is not used by default."""
        self.assertEqual(self.network("lo").interfaces, (("lo", "127.0.0.1"),))

    def test_selected_by_network(self) -> None:
        """An interface can be selected by a network in which it has an address, and that address is used."""
        self.assertEqual(
            self.network("10.2.0.0/16", "10.0.0.2").interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.2.0.2"))
        )

    def test_selected_twice(self) -> None:
        """An interface that matches two selectors is opened once, and neither selector is reported as absent."""
        with capturedLogs() as events:
            self.assertEqual(self.network("eth1", "10.2.0.0/16").interfaces, (("eth1", "10.1.0.2"),))
        self.assertNotIn(LogLevel.warn, [event["log_level"] for event in events])

    def test_sockets(self) -> None:
        """The group socket joins on its interface only. The search socket sends from its address, with the TTL."""
        self.network("eth0", ttl=7)
        group, search = self.reactor.ports
        self.assertEqual((group.interface, group.number), (GROUP, PORT))
        self.assertEqual(search.interface, "10.0.0.2")
        self.assertEqual(search.ttl, 7)
        interface = socket.inet_aton(GROUP) + socket.inet_aton("10.0.0.2") + struct.pack("@i", 2)
        self.assertEqual(group.options[socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP], interface)
        self.assertEqual(search.options[socket.IPPROTO_IP, socket.IP_MULTICAST_IF], interface)

    def test_buffers_without_rights(self) -> None:
        """Without the right to force large receive buffers, they are requested from the kernel."""
        self.reactor.refused_options[33] = PermissionError(errno.EPERM, "refused by the test")
        self.network("eth0")
        for port in self.reactor.ports:
            self.assertEqual(port.options[socket.SOL_SOCKET, socket.SO_RCVBUF], 4 * 1024 * 1024)

    def test_deliver(self) -> None:
        """A multicast message is delivered with its sender and interface, and so is a unicast NOTIFY."""
        self.network()
        self.group_port(ETH1.index).protocol.datagramReceived(encode(BYEBYE), PEER)
        self.search_port("10.0.0.2").protocol.datagramReceived(encode(BYEBYE), PEER)
        self.assertEqual(self.delivered, [(BYEBYE, PEER, "eth1"), (BYEBYE, PEER, "eth0")])

    def test_drop(self) -> None:
        """An invalid datagram is dropped with its sender and interface, whichever socket received it."""
        self.network("eth0")
        for port in self.reactor.ports:
            port.protocol.datagramReceived(b"no SSDP", PEER)
        self.assertEqual(self.dropped, [("start line", PEER, "eth0")] * 2)

    def test_responses(self) -> None:
        """A reply is delivered from the search socket, and not from the group socket."""
        self.network()
        self.group_port(ETH0.index).protocol.datagramReceived(encode(RESPONSE), PEER)
        self.assertEqual(self.delivered, [])
        self.search_port("10.0.0.2").protocol.datagramReceived(encode(RESPONSE), PEER)
        self.assertEqual(self.delivered, [(RESPONSE, PEER, "eth0")])

    def test_own_search(self) -> None:
        """A search of this network is not delivered on any interface; one of another program on this host is."""
        self.network()
        search = self.search_port("10.0.0.2")
        group = self.group_port(ETH1.index).protocol
        group.datagramReceived(encode(SEARCH), (search.interface, search.number))
        self.assertEqual(self.delivered, [])
        other_program = (search.interface, search.number + 100)
        group.datagramReceived(encode(SEARCH), other_program)
        self.assertEqual(self.delivered, [(SEARCH, other_program, "eth1")])

    def test_send(self) -> None:
        """A message is sent to the group once on each interface."""
        self.network().send(SEARCH)
        for address in ("10.0.0.2", "10.1.0.2"):
            self.assertEqual(self.search_port(address).written, [(encode(SEARCH), (GROUP, PORT))])

    def test_reply(self) -> None:
        """A reply is sent on the named interface; nothing is sent if that interface is no longer open."""
        network = self.network()
        network.reply(RESPONSE, PEER, "eth1")
        network.reply(RESPONSE, PEER, "gone")
        self.assertEqual(self.search_port("10.1.0.2").written, [(encode(RESPONSE), PEER)])
        self.assertEqual(self.search_port("10.0.0.2").written, [])

    def test_refresh_unchanged(self) -> None:
        """A refresh without changes keeps all sockets."""
        network = self.network()
        ports = list(self.reactor.ports)
        self.assertFalse(network.refresh())
        self.reactor.advance(1)
        self.assertEqual(self.reactor.ports, ports)

    def test_refresh_new(self) -> None:
        """A new interface is opened and reported, and the sockets of the others are kept."""
        self.host_interfaces = [ETH0]
        network = self.network()
        ports = list(self.reactor.ports)
        self.host_interfaces = [ETH0, ETH1]
        self.assertTrue(network.refresh())
        self.assertEqual([name for name, _ in network.interfaces], ["eth0", "eth1"])
        self.assertEqual(self.reactor.ports[:2], ports)

    def test_refresh_removed(self) -> None:
        """A removed interface is closed. The refresh does not report a new one."""
        network = self.network()
        self.host_interfaces = [ETH1]
        self.assertFalse(network.refresh())
        self.reactor.advance(0)
        self.assertEqual(network.interfaces, (("eth1", "10.1.0.2"),))
        self.assertEqual(len(self.reactor.ports), 2)

    def test_refresh_changed(self) -> None:
        """An interface with another address or another index is reopened."""
        network = self.network("eth0")
        for changed in (NetworkInterface("eth0", 2, ("10.0.0.3",)), NetworkInterface("eth0", 9, ("10.0.0.3",))):
            before = list(self.reactor.ports)
            self.host_interfaces = [changed]
            self.assertTrue(network.refresh())
            self.reactor.advance(0)
            self.assertEqual(len(self.reactor.ports), 2)
            self.assertFalse(set(before) & set(self.reactor.ports))

    def test_refresh_failed_socket(self) -> None:
        """When either socket was closed by an error, both are reopened; sending before that raises nothing."""
        network = self.network("eth0")
        for number in range(2):
            died = self.reactor.ports[number]
            died.die()
            network.send(SEARCH)
            self.assertEqual(network.interfaces, ())
            self.assertTrue(network.refresh())
            self.reactor.advance(0)
            self.assertNotIn(died, self.reactor.ports)
            self.assertEqual(len(self.reactor.ports), 2)

    def assert_retried(self, problem: str) -> None:
        """Check that a problem of eth0 is logged once, does not affect eth1, and that eth0 is opened afterwards."""
        with capturedLogs() as events:
            network = self.network()
            self.assertFalse(network.refresh())
        self.assertEqual(network.interfaces, (("eth1", "10.1.0.2"),))
        [warning] = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warning["interface"], "eth0")
        self.assertIn(problem, warning["problem"])
        self.reactor.refused_addresses.clear()
        self.reactor.refused_options.clear()
        self.assertTrue(network.refresh())
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.ports), 4)

    def test_cannot_bind(self) -> None:
        """An address that cannot be bound to is retried."""
        self.reactor.refused_addresses.add("10.0.0.2")
        self.assert_retried("refused by the test")

    def test_cannot_join(self) -> None:
        """A group that cannot be joined is retried, on all interfaces, and no socket stays open meanwhile."""
        self.reactor.refused_options[socket.IP_ADD_MEMBERSHIP] = OSError(errno.ENOBUFS, "refused by the test")
        network = self.network()
        self.reactor.advance(0)
        self.assertEqual((network.interfaces, self.reactor.ports), ((), []))
        self.reactor.refused_options.clear()
        self.assertTrue(network.refresh())

    def test_absent(self) -> None:
        """An absent interface is logged once, and again if it was present in between."""
        with capturedLogs() as events:
            network = self.network("eth0", "wlan0", "192.168.0.0/16")
            network.refresh()
            self.host_interfaces = [ETH0, NetworkInterface("wlan0", 4, ("192.168.0.2",))]
            network.refresh()
            self.host_interfaces = [ETH0]
            network.refresh()
        warned = [event["interface"] for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warned, ["wlan0", "192.168.0.0/16"] * 2)

    def test_cannot_list_interfaces(self) -> None:
        """When the interfaces cannot be listed, the open ones are kept."""

        def fail() -> list[NetworkInterface]:
            raise OSError(errno.ENOBUFS, "refused by the test")

        network = self.network()
        self.patch(network, "_find_interfaces", fail)
        with capturedLogs() as events:
            self.assertFalse(network.refresh())
            self.assertFalse(network.refresh())
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        self.assertEqual(len(network.interfaces), 2)

    def test_close(self) -> None:
        """Closing waits for every socket, including those of interfaces that were closed before."""
        network = self.network()
        self.host_interfaces = [ETH1]
        network.refresh()
        closed = network.close()
        self.assertEqual(network.interfaces, ())
        self.assertNoResult(closed)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ports, [])
        self.successResultOf(closed)
        self.successResultOf(network.close())
