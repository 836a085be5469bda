"""Tests for :mod:`ssdpreg.ssdp.network`, with sockets in memory."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from random import Random

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import GROUP, PORT, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.memory_reactor import MemoryLinks, MemoryMulticastReactor, MemoryPort

NET0, NET1, NET2 = (IPv4Network(f"10.{number}.0.0/24") for number in range(3))
ETH0 = NetworkInterface("eth0", 2, ("10.0.0.2",), networks=(NET0,))
ETH1 = NetworkInterface("eth1", 3, ("10.1.0.2", "10.2.0.2"), networks=(NET1, NET2))
LO = NetworkInterface("lo", 1, ("127.0.0.1",), loopback=True, multicast=False, networks=(IPv4Network("127.0.0.0/8"),))
PEER = ("10.0.0.9", 1900)
BYEBYE = ByeBye("a", "uuid:d::a")
SEARCH = SearchRequest("ssdp:all")
RESPONSE = SearchResponse("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")


class NetworkTestCase(SynchronousTestCase):
    """Base class: a network with sockets in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.links = MemoryLinks()
        self.host_interfaces: list[NetworkInterface] = [ETH0, ETH1, LO]
        self.delivered: list[tuple[Message, Reception]] = []
        self.dropped: list[tuple[str, Reception]] = []

    def network(
        self,
        *interfaces: str,
        ttl: int = 2,
        announcing: bool = False,
        allow: Sequence[IPv4Network | IPv6Network] = (),
        ports: tuple[int, int] | None = None,
    ) -> Network:
        """Return a network whose sockets are open."""
        network = Network(
            self.reactor,
            self.deliver,
            self.drop,
            interfaces,
            ttl,
            lambda: self.host_interfaces,
            allow=allow,
            ports=ports,
            announcing=announcing,
            open_links=lambda: self.links,
            random=Random(1),
        )
        network.refresh()
        return network

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        self.assertEqual(reception.sender, peer[0])
        self.delivered.append((message, reception))

    def drop(self, error: MessageError, reception: Reception, peer: PeerAddress) -> None:
        self.assertEqual(reception.sender, peer[0])
        self.dropped.append((error.kind, reception))

    def group_port(self, index: int) -> MemoryPort:
        """Return the port that receives multicast on one interface."""
        interface = struct.pack("@i", index)
        joined = (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP)
        [port] = [port for port in self.reactor.ports if port.options.get(joined, b"")[-4:] == interface]  # type: ignore[index]
        return port

    def ports_of(self, address: str) -> list[MemoryPort]:
        """Return the ports that are bound to one address."""
        return [port for port in self.reactor.ports if port.interface == address]

    def port_of(self, address: str) -> MemoryPort:
        """Return the only port that is bound to one address."""
        [port] = self.ports_of(address)
        return port

    def receive(self, port: MemoryPort, message: Message | bytes, sender: str = "10.0.0.9") -> None:
        """Deliver a datagram to a socket."""
        datagram = message if isinstance(message, bytes) else encode(message)
        port.protocol.datagramReceived(datagram, (sender, 1900))


class NetworkTests(NetworkTestCase):
    """Tests for :class:`Network`."""

    def test_all_interfaces(self) -> None:
        """Every interface that supports multicast has one socket, and loopback has none."""
        network = self.network()
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")))
        self.assertEqual([port.number for port in self.reactor.ports], [PORT, PORT])

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
        """The group socket joins on its interface only. A search socket sends from its address, with the TTL."""
        self.network("eth0", ttl=7).search(SEARCH)
        group, search = self.reactor.ports
        self.assertEqual((group.interface, group.number), (GROUP, PORT))
        self.assertEqual(search.interface, "10.0.0.2")
        self.assertEqual(search.options[socket.IPPROTO_IP, socket.IP_MULTICAST_TTL], 7)
        interface = socket.inet_aton(GROUP) + socket.inet_aton("10.0.0.2") + struct.pack("@i", 2)
        self.assertEqual(group.options[socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP], interface)
        self.assertEqual(group.options[socket.SOL_SOCKET, socket.SO_REUSEPORT], 0)
        # IP_MULTICAST_ALL.
        self.assertEqual(group.options[socket.IPPROTO_IP, 49], 0)
        self.assertEqual(search.options[socket.IPPROTO_IP, socket.IP_MULTICAST_IF], interface)

    def test_buffers_without_rights(self) -> None:
        """Without the right to force large receive buffers, they are requested from the kernel."""
        self.reactor.refused_options[socket.SOL_SOCKET, 33] = PermissionError(errno.EPERM, "refused by the test")
        self.network("eth0").search(SEARCH)
        for port in self.reactor.ports:
            self.assertEqual(port.options[socket.SOL_SOCKET, socket.SO_RCVBUF], 4 * 1024 * 1024)

    def test_deliver(self) -> None:
        """A multicast message is delivered with its sender and interface."""
        self.network()
        self.receive(self.group_port(ETH1.index), BYEBYE, "10.2.0.9")
        self.assertEqual(self.delivered, [(BYEBYE, Reception("10.2.0.9", "eth1", Channel.GROUP, on_link=True))])

    def test_forwarded(self) -> None:
        """A multicast message from another network is delivered and marked, also if the operator named the network."""
        self.network("eth0", allow=[NET1, IPv6Network("::/0")])
        self.receive(self.group_port(ETH0.index), BYEBYE, "10.1.0.9")
        self.receive(self.group_port(ETH0.index), BYEBYE, "10.2.0.9")
        self.assertEqual(
            [reception for _, reception in self.delivered],
            [
                Reception("10.1.0.9", "eth0", Channel.GROUP, on_link=False, named=True),
                Reception("10.2.0.9", "eth0", Channel.GROUP, on_link=False, named=False),
            ],
        )

    def test_drop(self) -> None:
        """An invalid datagram is dropped with its sender and interface, whichever socket received it."""
        network = self.network("eth0", announcing=True)
        network.search(SEARCH)
        for port in self.reactor.ports:
            self.receive(port, b"no SSDP")
        self.assertEqual(
            [(kind, reception.channel) for kind, reception in self.dropped],
            [("start line", channel) for channel in (Channel.GROUP, Channel.UNICAST, Channel.SEARCH)],
        )
        self.assertEqual({reception.interface for _, reception in self.dropped}, {"eth0"})

    def test_reply_to_group(self) -> None:
        """A reply that is sent to the group is ignored."""
        self.network()
        self.receive(self.group_port(ETH0.index), RESPONSE)
        self.assertEqual((self.delivered, self.dropped), ([], []))

    def test_own_search(self) -> None:
        """A search of this network is not delivered on any interface; one of another program on this host is."""
        network = self.network()
        network.search(SEARCH)
        network.search_hosts("ssdp:all", ["10.0.0.9"])
        group = self.group_port(ETH1.index).protocol
        sources = [(port.interface, port.number) for port in self.ports_of("10.0.0.2")]
        self.assertEqual(len(sources), 2)
        for source in sources:
            group.datagramReceived(encode(SEARCH), source)
        self.assertEqual(self.delivered, [])
        group.datagramReceived(encode(SEARCH), (sources[0][0], sources[0][1] + 100))
        self.assertEqual(self.delivered, [(SEARCH, Reception("10.0.0.2", "eth1", on_link=False))])
        # After the end of the round another program may use the port.
        self.reactor.advance(10)
        group.datagramReceived(encode(SEARCH), sources[0])
        self.assertEqual(len(self.delivered), 2)

    def test_log(self) -> None:
        """The log has a line for each interface that is opened or closed."""
        with capturedLogs() as events:
            network = self.network("eth0")
            network.search(SEARCH)
            network.refresh()
            network.close()
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["Listening on eth0 at 10.0.0.2", "Stopped listening on eth0 at 10.0.0.2"],
        )

    def test_send(self) -> None:
        """An announcement is sent to the group once on each interface, from port 1900 of its address."""
        self.network(announcing=True).send(BYEBYE)
        for address in ("10.0.0.2", "10.1.0.2"):
            port = self.port_of(address)
            self.assertEqual((port.number, port.written), (PORT, [(encode(BYEBYE), (GROUP, PORT))]))

    def test_reply(self) -> None:
        """A reply is sent on the named interface; nothing is sent if that interface is no longer open."""
        network = self.network(announcing=True)
        network.reply(RESPONSE, PEER, "eth1")
        network.reply(RESPONSE, PEER, "gone")
        self.assertEqual(self.port_of("10.1.0.2").written, [(encode(RESPONSE), PEER)])
        self.assertEqual(self.port_of("10.0.0.2").written, [])

    def test_unicast_search(self) -> None:
        """An announcer receives unicast searches, and ignores other unicast messages."""
        self.network("eth0", announcing=True)
        for message in (SEARCH, BYEBYE, RESPONSE):
            self.receive(self.port_of("10.0.0.2"), message)
        self.assertEqual(self.delivered, [(SEARCH, Reception("10.0.0.9", "eth0", Channel.UNICAST))])

    def test_broadcasts(self) -> None:
        """The broadcast addresses of all networks of the used interfaces are known."""
        network = self.network("eth1")
        self.assertEqual(network.broadcasts, {"10.1.0.0", "10.1.0.255", "10.2.0.0", "10.2.0.255"})
        self.host_interfaces = [replace(ETH1, networks=(IPv4Network("10.1.0.2/31"), IPv4Network("10.2.0.2/32")))]
        network.refresh()
        self.assertEqual(network.broadcasts, frozenset())

    def test_smallest_broadcast_network(self) -> None:
        """A network of four addresses has broadcast addresses, and one of two has none."""
        self.host_interfaces = [replace(ETH1, networks=(IPv4Network("10.1.0.4/30"), IPv4Network("10.2.0.2/31")))]
        self.assertEqual(self.network("eth1").broadcasts, {"10.1.0.4", "10.1.0.7"})

    def test_defaults(self) -> None:
        """By default, searches have a TTL of 2, on all interfaces and from any port, and nothing is announced."""
        network = Network(
            self.reactor, self.deliver, self.drop, find_interfaces=lambda: [ETH0, LO], open_links=lambda: self.links
        )
        network.refresh()
        network.search(SEARCH)
        group, search = self.reactor.ports
        self.assertEqual((group.interface, search.interface), (GROUP, "10.0.0.2"))
        self.assertEqual(search.options[socket.IPPROTO_IP, socket.IP_MULTICAST_TTL], 2)

    def test_networks_changed(self) -> None:
        """A network that is added to an interface is used at once, and no socket is reopened."""
        network = self.network("eth0")
        port = self.group_port(ETH0.index)
        self.receive(port, BYEBYE, "10.1.0.9")
        self.host_interfaces = [replace(ETH0, networks=(NET0, NET1))]
        self.assertFalse(network.refresh())
        self.receive(port, BYEBYE, "10.1.0.9")
        self.assertEqual([reception.on_link for _, reception in self.delivered], [False, True])

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
        self.assertEqual(self.reactor.ports[:1], ports)

    def test_refresh_removed(self) -> None:
        """A removed interface is closed. The refresh does not report a new one."""
        network = self.network()
        self.host_interfaces = [ETH1]
        self.assertFalse(network.refresh())
        self.reactor.advance(0)
        self.assertEqual(network.interfaces, (("eth1", "10.1.0.2"),))
        self.assertEqual(len(self.reactor.ports), 1)

    def test_refresh_changed(self) -> None:
        """An interface with another address or another index is reopened."""
        network = self.network("eth0")
        for changed in (NetworkInterface("eth0", 2, ("10.0.0.3",)), NetworkInterface("eth0", 9, ("10.0.0.3",))):
            before = list(self.reactor.ports)
            self.host_interfaces = [changed]
            self.assertTrue(network.refresh())
            self.reactor.advance(0)
            self.assertEqual(len(self.reactor.ports), 1)
            self.assertFalse(set(before) & set(self.reactor.ports))

    def test_refresh_failed_socket(self) -> None:
        """When either socket was closed by an error, both are reopened; sending before that raises nothing."""
        network = self.network("eth0", announcing=True)
        for number in range(2):
            died = self.reactor.ports[number]
            died.die()
            network.send(BYEBYE)
            self.assertEqual(network.interfaces, ())
            self.assertTrue(network.refresh())
            self.reactor.advance(0)
            self.assertNotIn(died, self.reactor.ports)
            self.assertEqual(len(self.reactor.ports), 2)

    def assert_retried(self, problem: str) -> None:
        """Check that a problem of eth0 is logged once, does not affect eth1, and that eth0 is opened afterwards."""
        with capturedLogs() as events:
            network = self.network(announcing=True)
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
        self.reactor.refused_options[socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP] = OSError(
            errno.ENOBUFS, "refused by the test"
        )
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
        network.search(SEARCH)
        self.host_interfaces = [ETH1]
        network.refresh()
        closed = network.close()
        self.assertEqual(network.interfaces, ())
        self.assertNoResult(closed)
        self.reactor.advance(0)
        self.assertEqual((self.reactor.ports, self.reactor.getDelayedCalls()), ([], []))
        self.successResultOf(closed)
        self.successResultOf(network.close())

    def test_search_after_close(self) -> None:
        """Neither a search nor an announcement after the end opens a socket."""
        network = self.network()
        network.close()
        network.search(SEARCH)
        network.search_hosts("ssdp:all", ["10.0.0.9"])
        network.send(BYEBYE)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ports, [])
