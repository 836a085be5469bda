"""Tests for :mod:`ssdpreg.ssdp.network`: in memory, and on hosts with real interfaces."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from twisted.internet import reactor, udp
from twisted.internet.interfaces import IReactorFDSet, IReactorMulticast
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Adapter, Network, find_adapters
from ssdpreg.ssdp.protocol import Address
from tests.support import hosts
from tests.support.memory_reactor import MemoryMulticastReactor, MemoryPort

ETH0 = Adapter("eth0", 2, ("10.0.0.2",))
ETH1 = Adapter("eth1", 3, ("10.1.0.2", "10.2.0.2"))
LO = Adapter("lo", 1, ("127.0.0.1",), loopback=True, multicast=False)
PEER = ("10.0.0.9", 1900)
BYEBYE = ByeBye("a", "uuid:d::a")
SEARCH = SearchRequest("ssdp:all")
#: Of Linux: <linux/in.h>.
_IP_RECVTTL = 12
RESPONSE = SearchResponse("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")


class NetworkTests(SynchronousTestCase):
    """Tests for :class:`Network`, with sockets in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.adapters: list[Adapter] = [ETH0, ETH1, LO]
        self.delivered: list[tuple[Message, Address, str]] = []
        self.dropped: list[tuple[str, Address, str]] = []

    def network(self, *interfaces: str, ttl: int = 2) -> Network:
        network = Network(self.reactor, self.deliver, self.drop, interfaces, ttl, lambda: self.adapters)
        network.refresh()
        return network

    def deliver(self, message: Message, peer: Address, interface: str) -> None:
        self.delivered.append((message, peer, interface))

    def drop(self, error: MessageError, peer: Address, interface: str) -> None:
        self.dropped.append((error.kind, peer, interface))

    def group_port(self, index: int) -> MemoryPort:
        """The port that hears the group on one interface."""
        interface = struct.pack("@i", index)
        joined = (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP)
        [port] = [port for port in self.reactor.ports if port.options.get(joined, b"")[-4:] == interface]  # type: ignore[index]
        return port

    def search_port(self, address: str) -> MemoryPort:
        """The port that asks from one address."""
        [port] = [port for port in self.reactor.ports if port.interface == address]
        return port

    def test_every_interface(self) -> None:
        """Every interface that can multicast is used, and loopback is not."""
        network = self.network()
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")))
        self.assertEqual(len(self.reactor.ports), 4)

    def test_unable(self) -> None:
        """Interfaces that are down, without an address or unable to multicast are not used."""
        self.adapters += [
            Adapter("down", 4, ("10.3.0.2",), up=False),
            Adapter("bare", 5, ()),
            Adapter("tunnel", 6, ("10.4.0.2",), multicast=False),
        ]
        self.assertEqual([name for name, _ in self.network().interfaces], ["eth0", "eth1"])

    def test_loopback(self) -> None:
        """Where nothing else can multicast, loopback is used, until something else can."""
        self.adapters = [LO]
        network = self.network()
        self.assertEqual(network.interfaces, (("lo", "127.0.0.1"),))
        self.adapters = [ETH0, LO]
        self.assertTrue(network.refresh())
        self.assertEqual(network.interfaces, (("eth0", "10.0.0.2"),))

    def test_chosen_by_name(self) -> None:
        """An interface may be chosen by its name, be it one that would not be used otherwise."""
        self.assertEqual(self.network("lo").interfaces, (("lo", "127.0.0.1"),))

    def test_chosen_by_network(self) -> None:
        """An interface may be chosen by a network that it has an address in, and that address is used."""
        self.assertEqual(
            self.network("10.2.0.0/16", "10.0.0.2").interfaces, (("eth0", "10.0.0.2"), ("eth1", "10.2.0.2"))
        )

    def test_chosen_twice(self) -> None:
        """An interface that is chosen for two reasons is used once, and neither counts as absent."""
        with capturedLogs() as events:
            self.assertEqual(self.network("eth1", "10.2.0.0/16").interfaces, (("eth1", "10.1.0.2"),))
        self.assertNotIn(LogLevel.warn, [event["log_level"] for event in events])

    def test_sockets(self) -> None:
        """One socket hears the group on its interface alone; the other, at its address, sends there with the TTL."""
        self.network("eth0", ttl=7)
        hearing, asking = self.reactor.ports
        self.assertEqual((hearing.interface, hearing.number), (GROUP, PORT))
        self.assertEqual(asking.interface, "10.0.0.2")
        self.assertEqual(asking.ttl, 7)
        interface = socket.inet_aton(GROUP) + socket.inet_aton("10.0.0.2") + struct.pack("@i", 2)
        self.assertEqual(hearing.options[socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP], interface)
        self.assertEqual(asking.options[socket.IPPROTO_IP, socket.IP_MULTICAST_IF], interface)

    def test_buffers_without_rights(self) -> None:
        """Who may not force large buffers asks for them."""
        self.reactor.refused_options[33] = PermissionError(errno.EPERM, "refused by the test")
        self.network("eth0")
        for port in self.reactor.ports:
            self.assertEqual(port.options[socket.SOL_SOCKET, socket.SO_RCVBUF], 4 * 1024 * 1024)

    def test_deliver(self) -> None:
        """A message is delivered with its sender and the interface it came in on; so is a NOTIFY to this host alone."""
        self.network()
        self.group_port(ETH1.index).protocol.datagramReceived(encode(BYEBYE), PEER)
        self.search_port("10.0.0.2").protocol.datagramReceived(encode(BYEBYE), PEER)
        self.assertEqual(self.delivered, [(BYEBYE, PEER, "eth1"), (BYEBYE, PEER, "eth0")])

    def test_drop(self) -> None:
        """What is no SSDP is dropped with the same facts, whichever socket it came to."""
        self.network("eth0")
        for port in self.reactor.ports:
            port.protocol.datagramReceived(b"no SSDP", PEER)
        self.assertEqual(self.dropped, [("start line", PEER, "eth0")] * 2)

    def test_responses(self) -> None:
        """A reply counts on the socket that asked, and nowhere else."""
        self.network()
        self.group_port(ETH0.index).protocol.datagramReceived(encode(RESPONSE), PEER)
        self.assertEqual(self.delivered, [])
        self.search_port("10.0.0.2").protocol.datagramReceived(encode(RESPONSE), PEER)
        self.assertEqual(self.delivered, [(RESPONSE, PEER, "eth0")])

    def test_own_search(self) -> None:
        """Our own search is not heard, on whichever interface it comes back; that of a neighbour at this host is."""
        self.network()
        asking = self.search_port("10.0.0.2")
        hearing = self.group_port(ETH1.index).protocol
        hearing.datagramReceived(encode(SEARCH), (asking.interface, asking.number))
        self.assertEqual(self.delivered, [])
        neighbour = (asking.interface, asking.number + 100)
        hearing.datagramReceived(encode(SEARCH), neighbour)
        self.assertEqual(self.delivered, [(SEARCH, neighbour, "eth1")])

    def test_send(self) -> None:
        """A message goes to the group once through each interface."""
        self.network().send(SEARCH)
        for address in ("10.0.0.2", "10.1.0.2"):
            self.assertEqual(self.search_port(address).written, [(encode(SEARCH), (GROUP, PORT))])

    def test_reply(self) -> None:
        """A reply leaves by the interface that is named; where it is gone, nothing happens."""
        network = self.network()
        network.reply(RESPONSE, PEER, "eth1")
        network.reply(RESPONSE, PEER, "gone")
        self.assertEqual(self.search_port("10.1.0.2").written, [(encode(RESPONSE), PEER)])
        self.assertEqual(self.search_port("10.0.0.2").written, [])

    def test_refresh_unchanged(self) -> None:
        """Where nothing changed, nothing happens."""
        network = self.network()
        ports = list(self.reactor.ports)
        self.assertFalse(network.refresh())
        self.reactor.advance(1)
        self.assertEqual(self.reactor.ports, ports)

    def test_refresh_new(self) -> None:
        """An interface that comes is used, and the owner hears of it; those before it stay as they are."""
        self.adapters = [ETH0]
        network = self.network()
        ports = list(self.reactor.ports)
        self.adapters = [ETH0, ETH1]
        self.assertTrue(network.refresh())
        self.assertEqual([name for name, _ in network.interfaces], ["eth0", "eth1"])
        self.assertEqual(self.reactor.ports[:2], ports)

    def test_refresh_gone(self) -> None:
        """An interface that goes is closed; that is not news to search for."""
        network = self.network()
        self.adapters = [ETH1]
        self.assertFalse(network.refresh())
        self.reactor.advance(0)
        self.assertEqual(network.interfaces, (("eth1", "10.1.0.2"),))
        self.assertEqual(len(self.reactor.ports), 2)

    def test_refresh_changed(self) -> None:
        """An interface with another address, or deleted and made anew, is opened anew."""
        network = self.network("eth0")
        for changed in (Adapter("eth0", 2, ("10.0.0.3",)), Adapter("eth0", 9, ("10.0.0.3",))):
            before = list(self.reactor.ports)
            self.adapters = [changed]
            self.assertTrue(network.refresh())
            self.reactor.advance(0)
            self.assertEqual(len(self.reactor.ports), 2)
            self.assertFalse(set(before) & set(self.reactor.ports))

    def test_refresh_died(self) -> None:
        """When reading fails on either socket, the pair is opened anew; until then nothing raises."""
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

    def assert_tried_again(self, problem: str) -> None:
        """What is in the way is logged once, costs the other interfaces nothing, and is tried until it is gone."""
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
        """An address that cannot be bound to is tried again."""
        self.reactor.refused_addresses.add("10.0.0.2")
        self.assert_tried_again("refused by the test")

    def test_cannot_join(self) -> None:
        """A group that cannot be joined is tried again, on all interfaces if need be; no half of a pair stays open."""
        self.reactor.refused_options[socket.IP_ADD_MEMBERSHIP] = OSError(errno.ENOBUFS, "refused by the test")
        network = self.network()
        self.reactor.advance(0)
        self.assertEqual((network.interfaces, self.reactor.ports), ((), []))
        self.reactor.refused_options.clear()
        self.assertTrue(network.refresh())

    def test_absent(self) -> None:
        """What is configured and absent is logged once, until it was here in between."""
        with capturedLogs() as events:
            network = self.network("eth0", "wlan0", "192.168.0.0/16")
            network.refresh()
            self.adapters = [ETH0, Adapter("wlan0", 4, ("192.168.0.2",))]
            network.refresh()
            self.adapters = [ETH0]
            network.refresh()
        warned = [event["interface"] for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warned, ["wlan0", "192.168.0.0/16"] * 2)

    def test_cannot_look(self) -> None:
        """When the kernel does not say which interfaces there are, those in use stay."""

        def fail() -> list[Adapter]:
            raise OSError(errno.ENOBUFS, "refused by the test")

        network = self.network()
        self.patch(network, "_find_adapters", fail)
        with capturedLogs() as events:
            self.assertFalse(network.refresh())
            self.assertFalse(network.refresh())
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])
        self.assertEqual(len(network.interfaces), 2)

    def test_close(self) -> None:
        """Closing waits for every socket, those that were being closed before included."""
        network = self.network()
        self.adapters = [ETH1]
        network.refresh()
        closed = network.close()
        self.assertEqual(network.interfaces, ())
        self.assertNoResult(closed)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ports, [])
        self.successResultOf(closed)
        self.successResultOf(network.close())


class FindAdaptersTests(SynchronousTestCase):
    """Tests for :func:`find_adapters`, on this machine."""

    def test_loopback(self) -> None:
        """Loopback is found, as such."""
        [loopback] = [adapter for adapter in find_adapters() if "127.0.0.1" in adapter.addresses]
        self.assertEqual(loopback.index, socket.if_nametoindex(loopback.name))
        self.assertTrue(loopback.up)
        self.assertTrue(loopback.loopback)

    def test_gone_meanwhile(self) -> None:
        """An interface that goes while we look is none."""
        self.patch(socket, "if_nametoindex", lambda name: (_ for _ in ()).throw(OSError(errno.ENODEV, name)))
        self.assertEqual(find_adapters(), [])


class NetworkOnHostsTests(TestCase):
    """Tests for :class:`Network`, on hosts with real interfaces and without a route to anywhere else."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host("10.77.0.2")
        self.far = self.lan.host("10.77.0.3")
        self.delivered: list[tuple[Message, Address, str]] = []

    def network(self, *interfaces: str) -> Network:
        """Open a network on the near host."""
        network = Network(IReactorMulticast(reactor), self.deliver, self.drop, interfaces)
        self.addCleanup(network.close)
        self.near.inside(network.refresh)
        return network

    def deliver(self, message: Message, peer: Address, interface: str) -> None:
        self.delivered.append((message, peer, interface))

    def drop(self, error: MessageError, peer: Address, interface: str) -> None:
        raise error

    def add_card(self, subnet: str) -> None:
        """Give both hosts a second interface, with a cable of its own between them."""
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.far.name])
        for host, number in ((self.near, 2), (self.far, 3)):
            host.call(["ip", "address", "add", f"{subnet}.{number}/24", "dev", "eth1"])
            host.call(["ip", "link", "set", "eth1", "up"])

    def say(self, message: Message, card_address: str) -> None:
        """Send to the group from one card of the far host."""

        def write() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(card_address))
                sender.bind((card_address, 0))
                sender.sendto(encode(message), (GROUP, PORT))

        self.far.inside(write)

    async def heard(self, seconds: float = 0.3) -> list[tuple[Message, str, str]]:
        """Wait a moment, and tell what arrived since the last time, with its sender's address and the interface."""
        await deferLater(reactor, seconds)
        heard = [(message, peer[0], interface) for message, peer, interface in self.delivered]
        self.delivered.clear()
        return heard

    async def test_each_interface_once(self) -> None:
        """With two interfaces a datagram counts once, for the one it came in on, whoever else is on port 1900."""
        self.add_card("10.78.0")
        # Memberships of other sockets, and their share of the port, are no concern of ours.
        self.addCleanup(self.near.listen(PORT).close)
        network = self.network()
        other = self.near.listen(PORT)
        self.addCleanup(other.close)
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.2"), ("eth1", "10.78.0.2")))
        for address, interface in (("10.77.0.3", "eth0"), ("10.78.0.3", "eth1")):
            self.say(BYEBYE, address)
            self.assertEqual(await self.heard(), [(BYEBYE, address, interface)])
        # Nor do we disturb them.
        self.assertEqual(other.recv(1000), encode(BYEBYE))

    async def test_chosen_interface(self) -> None:
        """What comes in on an interface that was not chosen is not heard, even while another program listens there."""
        self.add_card("10.78.0")
        self.addCleanup(self.near.listen(PORT).close)
        self.network("eth1")
        for address in ("10.77.0.3", "10.78.0.3"):
            self.say(BYEBYE, address)
        self.assertEqual(await self.heard(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_told_apart(self) -> None:
        """With nobody else on port 1900 too, what comes in on one interface never counts for another."""
        self.add_card("10.78.0")
        self.network()
        for address, interface in (("10.77.0.3", "eth0"), ("10.78.0.3", "eth1")):
            # Linux may choose among sockets by the sender's port, and each of these has its own.
            for _ in range(20):
                self.say(BYEBYE, address)
            self.assertEqual(await self.heard(), [(BYEBYE, address, interface)] * 20)

    async def test_one_address_twice(self) -> None:
        """Two interfaces with one address are told apart."""
        self.add_card("10.78.0")
        self.near.call(["ip", "address", "flush", "dev", "eth1"])
        self.near.call(["ip", "address", "add", "10.77.0.2", "peer", "10.78.0.3", "dev", "eth1"])
        self.assertEqual(self.network().interfaces, (("eth0", "10.77.0.2"), ("eth1", "10.77.0.2")))
        self.say(BYEBYE, "10.78.0.3")
        self.assertEqual(await self.heard(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_labelled_address(self) -> None:
        """A second address with a label of its own, as ``ifconfig`` makes them, is one of the interface's."""
        self.near.call(["ip", "address", "add", "10.79.0.2/24", "dev", "eth0", "label", "eth0:1"])
        self.assertEqual(self.network().interfaces, (("eth0", "10.77.0.2"),))
        self.assertEqual(self.network("10.79.0.0/24").interfaces, (("eth0", "10.79.0.2"),))

    async def test_search(self) -> None:
        """
        A search leaves by each interface, from its own address and with the TTL, though no route leads to the group;
        replies come back, and the search itself does not.
        """
        self.assertNotIn("default", self.near.call(["ip", "route"]))
        self.add_card("10.78.0")
        network = self.network()
        with self.far.listen(PORT) as device:
            membership = socket.inet_aton(GROUP) + socket.inet_aton("10.78.0.3")
            device.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            device.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            network.send(SEARCH)
            for _ in network.interfaces:
                datagram, options, _, searcher = device.recvmsg(2000, 100)
                self.assertEqual(datagram, encode(SEARCH))
                self.assertEqual(options, [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", 2))])
                device.sendto(encode(RESPONSE), searcher)
        heard = await self.heard()
        self.assertCountEqual(heard, [(RESPONSE, "10.77.0.3", "eth0"), (RESPONSE, "10.78.0.3", "eth1")])

    async def test_reply(self) -> None:
        """A reply reaches the peer, from the address of the interface."""
        with self.far.listen() as asker:
            self.network().reply(RESPONSE, asker.getsockname(), "eth0")
            datagram, peer = asker.recvfrom(2000)
        self.assertEqual((datagram, peer[0]), (encode(RESPONSE), "10.77.0.2"))

    async def test_large(self) -> None:
        """The longest datagram that UDP can carry is read whole."""
        self.network()
        padding = 65507 - len(encode(Alive("a", "uuid:d::a", "l", server="s")))
        message = Alive("a", "uuid:d::a", "l" * (padding + 1), server="s")
        self.say(message, "10.77.0.3")
        self.assertEqual(await self.heard(), [(message, "10.77.0.3", "eth0")])

    async def test_buffers(self) -> None:
        """A burst larger than the usual buffers is not lost while the reactor is busy."""
        self.network("eth0")
        burst = [encode(Alive("a", f"uuid:{number}::a")) for number in range(2000)]
        self.far.send(*burst)
        self.assertEqual(len(await self.heard(1.0)), len(burst))

    async def test_interface_comes_and_goes(self) -> None:
        """An interface that comes later is used, and again after it was deleted and made anew."""
        network = self.network()
        for _ in range(2):
            self.add_card("10.78.0")
            self.assertTrue(self.near.inside(network.refresh))
            self.say(BYEBYE, "10.78.0.3")
            self.assertEqual(await self.heard(), [(BYEBYE, "10.78.0.3", "eth1")])
            self.near.call(["ip", "link", "delete", "eth1"])
        # This time it is back before anybody looked.
        self.add_card("10.78.0")
        self.assertTrue(self.near.inside(network.refresh))
        self.say(BYEBYE, "10.78.0.3")
        self.assertEqual(await self.heard(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_address_changes(self) -> None:
        """An interface that has another address is asked from there, and sending meanwhile is harmless."""
        network = self.network()
        self.near.move("10.77.0.4")
        network.send(SEARCH)
        self.assertTrue(self.near.inside(network.refresh))
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.4"),))
        with self.far.listen(PORT) as device:
            network.send(SEARCH)
            self.assertEqual(device.recvfrom(2000)[1][0], "10.77.0.4")

    async def test_link_down(self) -> None:
        """An interface that is shut down is closed, and opened when it is up again; sending meanwhile is harmless."""
        network = self.network()
        self.near.call(["ip", "link", "set", "eth0", "down"])
        network.send(SEARCH)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.near.inside(network.refresh)
        self.assertEqual(network.interfaces, (("lo", "127.0.0.1"),))
        self.near.call(["ip", "link", "set", "eth0", "up"])
        self.assertTrue(self.near.inside(network.refresh))
        self.say(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.heard(), [(BYEBYE, "10.77.0.3", "eth0")])

    async def test_reading_fails(self) -> None:
        """When reading from a socket fails, the reactor closes it, and the next look opens another."""
        network = self.network()
        ports = [reader for reader in IReactorFDSet(reactor).getReaders() if isinstance(reader, udp.Port)]
        for port in ports:
            self.patch(port, "socket", _Broken(port.socket))
        self.say(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.heard(), [])
        self.assertEqual(network.interfaces, ())
        self.assertEqual([failure.value.errno for failure in self.flushLoggedErrors(OSError)], [errno.ENETDOWN])
        self.assertTrue(self.near.inside(network.refresh))
        self.say(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.heard(), [(BYEBYE, "10.77.0.3", "eth0")])


class _Broken:
    """A socket from which nothing can be read."""

    def __init__(self, whole: socket.socket) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def recvfrom(self, size: int) -> None:
        raise OSError(errno.ENETDOWN, "refused by the test")
