"""Tests for :mod:`ssdpreg.ssdp.network` on hosts with real interfaces."""

from __future__ import annotations

import errno
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor, udp
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import OVERLONG_LOCATION, encode
from ssdpreg.ssdp.interfaces import find_interfaces
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support import hosts
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

BYEBYE = ByeBye("a", "uuid:d::a")
SEARCH = SearchRequest("ssdp:all")
RESPONSE = SearchResponse("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")
ALIVE = Alive("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")
#: Program that prints the results of the checks of its reception.
_CHECKING = """
from twisted.internet import reactor, task
from ssdpreg.ssdp.network import Network
received = []
network = Network(reactor, lambda message, reception, peer: received.append(message), print)
network.refresh()
def check():
    print(dict(network.check_reception()), network.overflows, f"lost, {len(received)} received", flush=True)
task.LoopingCall(check).start(0.2)
print("ready", flush=True)
reactor.run()
"""
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
        self.delivered: list[tuple[Message, Reception]] = []
        self.dropped: list[tuple[str, Reception]] = []

    def network(self, *interfaces: str, ports: tuple[int, int] | None = None, announcing: bool = False) -> Network:
        """Open a network on the near host."""
        network = Network(reactor, self.deliver, self.drop, interfaces, ports=ports, announcing=announcing)
        self.addCleanup(network.close)
        self.near.inside(network.refresh)
        return network

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        self.delivered.append((message, reception))

    def drop(self, error: MessageError, reception: Reception, peer: PeerAddress) -> None:
        self.dropped.append((error.kind, reception))

    def search(self, network: Network) -> None:
        """Send a search from the near host, on which the sockets for it have to be opened."""
        self.near.inside(lambda: network.search(SEARCH))

    def add_card(self, subnet: str) -> None:
        """Add a second interface to both hosts, and connect the two directly."""
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.far.name])
        for host, number in ((self.near, 2), (self.far, 3)):
            host.call(["ip", "address", "add", f"{subnet}.{number}/24", "dev", "eth1"])
            host.call(["ip", "link", "set", "eth1", "up"])
        for host in (self.near, self.far):
            host.wait_for_card("eth1")

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
        received = [(message, reception.sender, reception.interface) for message, reception in self.delivered]
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
        await deferLater(reactor, 0.3)
        # The peer of a point-to-point address is on the link.
        self.assertEqual(self.delivered, [(BYEBYE, Reception("10.78.0.3", "eth1", on_link=True))])

    def two_networks(self) -> None:
        """Connect the near host to a second network, on which another host has the same address as the far one."""
        self.other = self.lan.host("10.77.0.3")
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.other.name])
        self.other.unplug()
        for host, address in ((self.near, "10.77.0.4"), (self.other, "10.77.0.3")):
            host.call(["ip", "address", "add", f"{address}/24", "dev", "eth1"])
            host.call(["ip", "link", "set", "eth1", "up"])
        for host in (self.near, self.other):
            host.wait_for_card("eth1")

    async def test_one_network_address_twice(self) -> None:
        """Two hosts with the same address on two networks are told apart by interface, and both are searched."""
        self.two_networks()
        network = self.network()
        for host, card in ((self.far, "eth0"), (self.other, "eth1")):
            host.inside(lambda card=card: _send(encode(BYEBYE), card))  # type: ignore[misc]
            await deferLater(reactor, 0.3)
            self.assertEqual(self.delivered, [(BYEBYE, Reception("10.77.0.3", card))])
            self.delivered.clear()
        with self.far.listen(PORT) as first, self.other.inside(_listen) as second:
            self.near.inside(lambda: network.search_hosts("urn:a", ["10.77.0.3"]))
            self.assertEqual(first.recv(2000), second.recv(2000))

    async def test_two_interfaces_on_one_network(self) -> None:
        """Each of two interfaces on one network receives a datagram once."""
        self.lan.add_card(self.near, "eth1", "10.77.0.4")
        self.network()
        self.send(BYEBYE, "10.77.0.3")
        self.assertCountEqual(await self.received(), [(BYEBYE, "10.77.0.3", "eth0"), (BYEBYE, "10.77.0.3", "eth1")])

    async def test_renamed(self) -> None:
        """An interface that is renamed is used with its new name."""
        network = self.network()
        for command in (["down"], ["name", "lan1"], ["up"]):
            self.near.call(["ip", "link", "set", "lan1" if command == ["up"] else "eth0", *command])
        self.assertTrue(self.near.inside(network.refresh))
        self.assertEqual(network.interfaces, (("lan1", "10.77.0.2"),))
        self.send(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.77.0.3", "lan1")])

    async def test_port_used_exclusively(self) -> None:
        """A program that does not share port 1900 is named as the cause. The daemon listens when it has ended."""
        listener = self.near.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listener.bind(("", PORT))
        with capturedLogs() as events:
            network = self.network()
            self.near.inside(network.refresh)
        [warning] = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warning["interface"], "eth0")
        self.assertIn("Address already in use. Another program uses the port without sharing it.", warning["problem"])
        listener.close()
        self.assertTrue(self.near.inside(network.refresh))
        self.send(BYEBYE, "10.77.0.3")
        self.assertEqual(await self.received(), [(BYEBYE, "10.77.0.3", "eth0")])

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
            self.search(network)
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
            self.network(announcing=True).reply(RESPONSE, control_point.getsockname(), "eth0")
            datagram, peer = control_point.recvfrom(2000)
        self.assertEqual((datagram, peer[0]), (encode(RESPONSE), "10.77.0.2"))

    async def test_large(self) -> None:
        """A datagram of the maximum length is received completely."""
        self.network()
        padding = 65507 - len(encode(Alive("a", "uuid:d::a", "l", server="s")))
        self.send(Alive("a", "uuid:d::a", "l" * (padding + 1), server="s"), "10.77.0.3")
        # The fields after LOCATION are parsed, and LOCATION is replaced.
        message = Alive("a", "uuid:d::a", OVERLONG_LOCATION, server="s")
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
        self.search(network)
        self.assertTrue(self.near.inside(network.refresh))
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.4"),))
        with self.far.listen(PORT) as device:
            self.search(network)
            self.assertEqual(device.recvfrom(2000)[1][0], "10.77.0.4")

    def test_networks(self) -> None:
        """The networks of an interface are those of all its addresses, and the peers of point-to-point addresses."""
        for arguments in (
            ["10.79.0.2/28", "label", "eth0:1"],
            ["10.80.0.2/32"],
            ["10.81.0.2", "peer", "10.81.0.3"],
            ["10.82.0.2", "peer", "10.82.0.8/29"],
        ):
            self.near.call(["ip", "address", "add", *arguments, "dev", "eth0"])
        [interface] = [each for each in self.near.inside(find_interfaces) if each.name == "eth0"]
        self.assertEqual(
            {str(network) for network in interface.networks},
            {
                "10.77.0.0/24",
                "10.79.0.0/28",
                "10.80.0.2/32",
                "10.81.0.2/32",
                "10.81.0.3/32",
                "10.82.0.0/29",
            },
        )

    def udp_ports(self) -> list[int]:
        """Return the UDP ports that are bound on the near host."""
        lines = self.near.call(["cat", "/proc/net/udp"]).splitlines()[1:]
        return sorted(int(line.split()[1].rpartition(":")[2], 16) for line in lines)

    def forge(self, ports: Sequence[int], source: str) -> None:
        """Send a reply, an announcement and a byebye from the far host to each of some ports of the near host."""
        datagrams = [encode(message) for message in (RESPONSE, ALIVE, BYEBYE)]

        def write() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, 0))
                for port in ports:
                    for datagram in datagrams:
                        sender.sendto(datagram, ("10.77.0.2", port))

        self.far.inside(write)

    def add_remote_network(self) -> None:
        """Add an address of another network to the far host, which is its router for the near host."""
        self.far.call(["ip", "address", "add", "192.0.2.9/32", "dev", "lo"])
        self.near.call(["ip", "route", "add", "192.0.2.0/24", "via", "10.77.0.3"])

    async def test_ports_between_rounds(self) -> None:
        """Between two search rounds no UDP port is open except 1900."""
        network = self.network()
        self.assertEqual(self.udp_ports(), [PORT])
        self.near.inside(lambda: network.search(SearchRequest("ssdp:all", 1)))
        self.near.inside(lambda: network.search_hosts("ssdp:all", ["10.77.0.3"]))
        self.assertEqual(len(self.udp_ports()), 3)
        await deferLater(reactor, 1.7)
        self.assertEqual(len(self.udp_ports()), 2)
        await deferLater(reactor, 1.5)
        self.assertEqual(self.udp_ports(), [PORT])

    async def test_forged_from_another_network(self) -> None:
        """Datagrams of another network are not delivered, neither before a search round on any port nor during it."""
        self.add_remote_network()
        network = self.network()
        self.forge(range(32768, 61000), "192.0.2.9")
        await deferLater(reactor, 0.2)
        self.assertEqual((self.delivered, self.dropped), ([], []))
        self.search(network)
        self.near.inside(lambda: network.search_hosts("ssdp:all", ["10.77.0.3"]))
        # The time of the round is too short for all ports on a slow machine.
        self.forge(self.udp_ports(), "192.0.2.9")
        await deferLater(reactor, 0.2)
        self.assertEqual(self.delivered, [])
        off_link = [
            (kind, Reception("192.0.2.9", "eth0", channel, on_link=False))
            for channel, kinds in (
                (Channel.SEARCH, ["off-link reply", "off-link reply", "unsolicited"]),
                (Channel.HOST, ["unsolicited"] * 3),
            )
            for kind in kinds
        ]
        self.assertCountEqual(self.dropped, off_link)

    async def test_forged_by_a_neighbour(self) -> None:
        """A byebye of a neighbour to the port of a search is not delivered, nor is its reply to one of another host."""
        network = self.network()
        self.near.inside(lambda: network.search_hosts("ssdp:all", ["10.77.0.9"]))
        self.forge(self.udp_ports(), "10.77.0.3")
        await deferLater(reactor, 0.2)
        self.assertEqual(self.delivered, [])
        self.assertEqual(self.dropped, [("unsolicited", Reception("10.77.0.3", "eth0", Channel.HOST))] * 3)

    async def test_replies(self) -> None:
        """Replies, and announcements in place of them, are received during a search round, and not after it."""
        network = self.network()
        with self.far.listen(PORT) as device:
            self.near.inside(lambda: network.search(SearchRequest("ssdp:all", 1)))
            searcher = device.recvfrom(2000)[1]
            for message in (RESPONSE, ALIVE):
                device.sendto(encode(message), searcher)
            reception = Reception("10.77.0.3", "eth0", Channel.SEARCH)
            await deferLater(reactor, 0.3)
            self.assertEqual(self.delivered, [(RESPONSE, reception), (ALIVE, reception)])
            await deferLater(reactor, 1.5)
            device.sendto(encode(RESPONSE), searcher)
            await deferLater(reactor, 0.3)
        self.assertEqual((len(self.delivered), self.dropped), (2, []))

    async def test_search_hosts(self) -> None:
        """A host is searched by unicast, and its reply is distinguished from others."""
        network = self.network()
        with self.far.listen(PORT) as device:
            self.near.inside(lambda: network.search_hosts("urn:a", ["10.77.0.3", "192.0.2.9"]))
            datagram, searcher = device.recvfrom(2000)
            self.assertEqual(datagram, encode(SearchRequest("urn:a", None), ("10.77.0.3", PORT)))
            device.sendto(encode(RESPONSE), searcher)
            await deferLater(reactor, 0.3)
        self.assertEqual(self.delivered, [(RESPONSE, Reception("10.77.0.3", "eth0", Channel.HOST))])

    async def test_port_range(self) -> None:
        """Searches are sent from the ports of the range. Without a free one, the log has one warning."""
        network = self.network(ports=(40000, 40001))
        self.search(network)
        self.near.inside(lambda: network.search_hosts("ssdp:all", ["10.77.0.3"]))
        self.assertEqual(self.udp_ports(), [PORT, 40000, 40001])
        await deferLater(reactor, 2.1)
        with capturedLogs() as events:
            for _ in range(2):
                self.search(network)
        [warning] = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("no port from 40000 to 40001 is free", str(warning["error"]))

    def check(self, network: Network) -> dict[str, str]:
        """Return the result of a check of the reception."""
        return dict(self.near.inside(network.check_reception))

    async def test_short_interruptions(self) -> None:
        """An interface that was down, and a carrier that was lost, are reported although both are up again."""
        network = self.network()
        self.assertEqual((self.check(network), network.receiving), ({}, {"eth0"}))
        self.near.call(["ip", "link", "set", "eth0", "down"])
        self.near.call(["ip", "link", "set", "eth0", "up"])
        self.assertEqual(self.check(network), {"eth0": "interface down"})
        self.near.unplug()
        self.near.plug()
        wait_until(lambda: "LOWER_UP" in self.near.call(["ip", "link", "show", "eth0"]))
        await deferLater(reactor, 1.1)
        self.assertEqual(self.check(network), {"eth0": "carrier lost"})
        self.assertEqual((self.check(network), network.receiving), ({}, {"eth0"}))

    async def test_long_interruptions(self) -> None:
        """An interface that is down or has no carrier is reported until it is up, and is not receiving."""
        network = self.network()
        self.near.unplug()
        wait_until(lambda: self.check(network) == {"eth0": "carrier lost"})
        self.assertEqual((self.check(network), network.receiving), ({"eth0": "carrier lost"}, frozenset()))
        self.near.plug()
        wait_until(lambda: not self.check(network))
        self.near.call(["ip", "link", "set", "eth0", "down"])
        self.assertEqual((self.check(network), network.receiving), ({"eth0": "interface down"}, frozenset()))
        self.near.inside(network.refresh)
        self.assertEqual((self.check(network), network.receiving), ({"eth0": "interface down"}, frozenset()))
        self.near.call(["ip", "link", "delete", "eth0"])
        self.near.inside(network.refresh)
        self.assertEqual(self.check(network), {"eth0": "interface removed"})

    async def test_other_interface(self) -> None:
        """An interruption of one interface is not reported for another, and a new interface is no interruption."""
        network = self.network()
        self.check(network)
        self.add_card("10.78.0")
        self.near.inside(network.refresh)
        self.check(network)
        self.near.call(["ip", "link", "add", "eth2", "type", "veth", "peer", "name", "eth3"])
        self.near.call(["ip", "link", "set", "eth1", "down"])
        self.assertEqual((self.check(network), network.receiving), ({"eth1": "interface down"}, {"eth0"}))

    async def test_overflow(self) -> None:
        """Datagrams that are lost while the process is stopped are reported when it continues."""
        program = self.near.run([sys.executable, "-c", _CHECKING], cwd=str(ROOT))
        program.wait_for("ready")
        program.signal(signal.SIGSTOP)
        self.far.send(*[encode(BYEBYE)] * 20_000)
        program.signal(signal.SIGCONT)
        count = int(program.wait_for(r"'eth0': 'receive buffer overflow'.* (\d+) lost")[1])
        self.assertLess(count, 20_000)
        self.assertGreater(count, 1000)
        # The datagrams in the buffer are received.
        program.wait_for(r"[1-9]\d* lost, \d{4,} received")

    async def test_link_down(self) -> None:
        """An interface is closed when it is down, and opened when it is up again. Sending meanwhile raises nothing."""
        network = self.network()
        self.near.call(["ip", "link", "set", "eth0", "down"])
        self.search(network)
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


def _send(datagram: bytes, card: str) -> None:
    """Send a datagram to the group from a card of this host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        index = struct.pack("@4s4si", bytes(4), bytes(4), socket.if_nametoindex(card))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
        sender.sendto(datagram, (GROUP, PORT))


def _listen() -> socket.socket:
    """Open a socket on port 1900 of this host."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("", PORT))
    listener.settimeout(5.0)
    return listener


class _UnreadableSocket:
    """Socket that raises an error on each read."""

    def __init__(self, wrapped: socket.socket) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def recvfrom(self, size: int) -> None:
        raise OSError(errno.ENETDOWN, "refused by the test")
