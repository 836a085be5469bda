"""Tests for :mod:`ssdpreg.ssdp.network` on hosts with real interfaces."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from twisted.internet import reactor, udp
from twisted.internet.interfaces import IReactorFDSet, IReactorMulticast
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from tests.support import hosts

BYEBYE = ByeBye("a", "uuid:d::a")
SEARCH = SearchRequest("ssdp:all")
RESPONSE = SearchResponse("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")
#: Linux: <linux/in.h>.
_IP_RECVTTL = 12


class NetworkOnHostsTests(TestCase):
    """Tests for :class:`Network`, on hosts without a route to other networks."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host("10.77.0.2")
        self.far = self.lan.host("10.77.0.3")
        self.delivered: list[tuple[Message, PeerAddress, str]] = []

    def network(self, *interfaces: str) -> Network:
        """Open a network on the near host."""
        network = Network(IReactorMulticast(reactor), self.deliver, self.drop, interfaces)
        self.addCleanup(network.close)
        self.near.inside(network.refresh)
        return network

    def deliver(self, message: Message, peer: PeerAddress, interface: str) -> None:
        self.delivered.append((message, peer, interface))

    def drop(self, error: MessageError, peer: PeerAddress, interface: str) -> None:
        raise error

    def add_card(self, subnet: str) -> None:
        """Add a second interface to both hosts, and connect the two directly."""
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.far.name])
        for host, number in ((self.near, 2), (self.far, 3)):
            host.call(["ip", "address", "add", f"{subnet}.{number}/24", "dev", "eth1"])
            host.call(["ip", "link", "set", "eth1", "up"])

    def send(self, message: Message, card_address: str) -> None:
        """Send a message to the group from one card of the far host."""

        def write() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(card_address))
                sender.bind((card_address, 0))
                sender.sendto(encode(message), (GROUP, PORT))

        self.far.inside(write)

    async def received(self, seconds: float = 0.3) -> list[tuple[Message, str, str]]:
        """Return the messages delivered since the last call, each with the sender's address and the interface."""
        await deferLater(reactor, seconds)
        received = [(message, peer[0], interface) for message, peer, interface in self.delivered]
        self.delivered.clear()
        return received

    async def test_each_interface_once(self) -> None:
        """A datagram is delivered once, for the interface that received it, while other programs share port 1900."""
        self.add_card("10.78.0")
        # One program that has joined before, and one that joins after.
        self.addCleanup(self.near.listen(PORT).close)
        network = self.network()
        other = self.near.listen(PORT)
        self.addCleanup(other.close)
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.2"), ("eth1", "10.78.0.2")))
        for address, interface in (("10.77.0.3", "eth0"), ("10.78.0.3", "eth1")):
            self.send(BYEBYE, address)
            self.assertEqual(await self.received(), [(BYEBYE, address, interface)])
        # The other program receives the datagram too.
        self.assertEqual(other.recv(1000), encode(BYEBYE))

    async def test_selected_interface(self) -> None:
        """A datagram on an interface that is not selected is not delivered, also if another program joined there."""
        self.add_card("10.78.0")
        self.addCleanup(self.near.listen(PORT).close)
        self.network("eth1")
        for address in ("10.77.0.3", "10.78.0.3"):
            self.send(BYEBYE, address)
        self.assertEqual(await self.received(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_two_interfaces(self) -> None:
        """Datagrams are delivered for the interface that received them, also without other programs on port 1900."""
        self.add_card("10.78.0")
        self.network()
        for address, interface in (("10.77.0.3", "eth0"), ("10.78.0.3", "eth1")):
            # Linux may select one of several sockets by the port of the sender, which differs for each datagram here.
            for _ in range(20):
                self.send(BYEBYE, address)
            self.assertEqual(await self.received(), [(BYEBYE, address, interface)] * 20)

    async def test_one_address_twice(self) -> None:
        """Two interfaces with the same address are distinguished."""
        self.add_card("10.78.0")
        self.near.call(["ip", "address", "flush", "dev", "eth1"])
        self.near.call(["ip", "address", "add", "10.77.0.2", "peer", "10.78.0.3", "dev", "eth1"])
        self.assertEqual(self.network().interfaces, (("eth0", "10.77.0.2"), ("eth1", "10.77.0.2")))
        self.send(BYEBYE, "10.78.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_labelled_address(self) -> None:
        """An address with a label, as ``ifconfig`` creates it, is an address of the interface."""
        self.near.call(["ip", "address", "add", "10.79.0.2/24", "dev", "eth0", "label", "eth0:1"])
        self.assertEqual(self.network().interfaces, (("eth0", "10.77.0.2"),))
        self.assertEqual(self.network("10.79.0.0/24").interfaces, (("eth0", "10.79.0.2"),))

    async def test_search(self) -> None:
        """
        A search is sent on each interface from its address and with the TTL, although there is no route to the group.

        The replies are delivered, and the search itself is not.
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
        received = await self.received()
        self.assertCountEqual(received, [(RESPONSE, "10.77.0.3", "eth0"), (RESPONSE, "10.78.0.3", "eth1")])

    async def test_reply(self) -> None:
        """A reply is sent to the peer from the address of the interface."""
        with self.far.listen() as control_point:
            self.network().reply(RESPONSE, control_point.getsockname(), "eth0")
            datagram, peer = control_point.recvfrom(2000)
        self.assertEqual((datagram, peer[0]), (encode(RESPONSE), "10.77.0.2"))

    async def test_large(self) -> None:
        """A datagram of the maximum length is received completely."""
        self.network()
        padding = 65507 - len(encode(Alive("a", "uuid:d::a", "l", server="s")))
        message = Alive("a", "uuid:d::a", "l" * (padding + 1), server="s")
        self.send(message, "10.77.0.3")
        self.assertEqual(await self.received(), [(message, "10.77.0.3", "eth0")])

    async def test_buffers(self) -> None:
        """A burst that exceeds the default receive buffer is not lost while the reactor is busy."""
        self.network("eth0")
        burst = [encode(Alive("a", f"uuid:{number}::a")) for number in range(2000)]
        self.far.send(*burst)
        self.assertEqual(len(await self.received(1.0)), len(burst))

    async def test_interface_added_and_removed(self) -> None:
        """An interface that is added later is opened, and opened again after it was deleted and created again."""
        network = self.network()
        for _ in range(2):
            self.add_card("10.78.0")
            self.assertTrue(self.near.inside(network.refresh))
            self.send(BYEBYE, "10.78.0.3")
            self.assertEqual(await self.received(), [(BYEBYE, "10.78.0.3", "eth1")])
            self.near.call(["ip", "link", "delete", "eth1"])
        # This time it is created again before a refresh.
        self.add_card("10.78.0")
        self.assertTrue(self.near.inside(network.refresh))
        self.send(BYEBYE, "10.78.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.78.0.3", "eth1")])

    async def test_address_changes(self) -> None:
        """After a change of address, searches are sent from the new one. Sending before the refresh raises nothing."""
        network = self.network()
        self.near.move("10.77.0.4")
        network.send(SEARCH)
        self.assertTrue(self.near.inside(network.refresh))
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.4"),))
        with self.far.listen(PORT) as device:
            network.send(SEARCH)
            self.assertEqual(device.recvfrom(2000)[1][0], "10.77.0.4")

    async def test_link_down(self) -> None:
        """An interface is closed when it is down, and opened when it is up again. Sending meanwhile raises nothing."""
        network = self.network()
        self.near.call(["ip", "link", "set", "eth0", "down"])
        network.send(SEARCH)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.near.inside(network.refresh)
        self.assertEqual(network.interfaces, (("lo", "127.0.0.1"),))
        self.near.call(["ip", "link", "set", "eth0", "up"])
        self.assertTrue(self.near.inside(network.refresh))
        self.send(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.77.0.3", "eth0")])

    async def test_reading_fails(self) -> None:
        """After an error in reading, the reactor closes the socket, and the next refresh opens another."""
        network = self.network()
        ports = [reader for reader in IReactorFDSet(reactor).getReaders() if isinstance(reader, udp.Port)]
        for port in ports:
            self.patch(port, "socket", _UnreadableSocket(port.socket))
        self.send(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.received(), [])
        self.assertEqual(network.interfaces, ())
        self.assertEqual([failure.value.errno for failure in self.flushLoggedErrors(OSError)], [errno.ENETDOWN])
        self.assertTrue(self.near.inside(network.refresh))
        self.send(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.77.0.3", "eth0")])


class _UnreadableSocket:
    """Socket that raises an error on each read."""

    def __init__(self, wrapped: socket.socket) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def recvfrom(self, size: int) -> None:
        raise OSError(errno.ENETDOWN, "refused by the test")
