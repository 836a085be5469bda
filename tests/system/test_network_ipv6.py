"""Tests for :mod:`ssdpreg.ssdp.network` over IPv6, on hosts with real interfaces."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Sequence

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from ssdpreg.errors import MessageError
from ssdpreg.ssdp import socket_options
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support import hosts
from tests.support.waiting import wait_until

PORT = 1900
#: Groups of UDA, annex A, not imported, so that a mistake in the code under test is not repeated here.
LINK_LOCAL, SITE_LOCAL, ORGANIZATION, GLOBAL = "ff02::c", "ff05::c", "ff08::c", "ff0e::c"
ALL = (LINK_LOCAL, SITE_LOCAL, ORGANIZATION, GLOBAL)
BYEBYE = ByeBye("a", "uuid:d::a")
RESPONSE = SearchResponse("a", "uuid:d::a", "http://[fd00:77::3]/", 1800, "s")
ALIVE = Alive("a", "uuid:d::a", "http://[fd00:77::3]/", 1800, "s")
RESTARTED = Alive("a", "uuid:d::a", "http://[fd00:77::3]/", 1800, "s", "2")


class NetworkOverIPv6Tests(TestCase):
    """Tests for :class:`Network` over IPv6. The near host has both families unless a test states otherwise."""

    skip = hosts.unavailable()
    near_address = "10.77.0.2"

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host(self.near_address, "fd00:77::2")
        self.far = self.lan.host("10.77.0.3", "fd00:77::3")
        self.delivered: list[tuple[Message, Reception]] = []
        self.dropped: list[tuple[str, Reception]] = []

    def network(self, *interfaces: str, announcing: bool = False, ttl: int = 2) -> Network:
        """Open a network on the near host."""
        network = Network(reactor, self.deliver, self.drop, interfaces, ttl, announcing=announcing)
        self.addCleanup(network.close)
        self.near.inside(network.refresh)
        return network

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        self.delivered.append((message, reception))

    def drop(self, error: MessageError, reception: Reception, peer: PeerAddress) -> None:
        self.dropped.append((error.kind, reception))

    async def received(self, seconds: float = 0.3) -> list[tuple[Message, Reception]]:
        """Return the messages delivered since the last call."""
        await deferLater(reactor, seconds)
        delivered, self.delivered = self.delivered, []
        return delivered

    def send(self, message: Message, group: str = LINK_LOCAL, card: str = "eth0") -> None:
        """Send a message from one card of the far host."""
        self.far.inside(lambda: _send(encode(message), group, card))

    def listen(self, host: hosts.Host, groups: Sequence[str] = (LINK_LOCAL, SITE_LOCAL)) -> socket.socket:
        """Open a socket on port 1900 of a host that joins the groups on its card."""

        def join() -> socket.socket:
            listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            listener.bind(("::", PORT))
            for group in groups:
                membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", socket.if_nametoindex("eth0"))
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            listener.settimeout(10.0)
            return listener

        listener = host.inside(join)
        self.addCleanup(listener.close)
        return listener

    def assert_nothing_else(self, listener: socket.socket) -> None:
        """Assert that a socket receives no datagram within a short time."""
        listener.settimeout(0.2)
        self.assertRaises(TimeoutError, listener.recv, 2000)
        listener.settimeout(10.0)

    def udp6_ports(self) -> list[tuple[str, int]]:
        """Return the addresses and UDP ports that are bound on the near host over IPv6."""
        lines = self.near.call(["cat", "/proc/net/udp6"]).splitlines()[1:]
        pairs = [line.split()[1].split(":") for line in lines]
        return sorted((address[:8], int(port, 16)) for address, port in pairs)

    def add_card(self) -> None:
        """Add a second interface to both hosts, and connect the two directly."""
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.far.name])
        for host in (self.near, self.far):
            host.call(["ip", "link", "set", "eth1", "up"])
        for host in (self.near, self.far):
            host.wait_for_card("eth1")
            command = ["ip", "-6", "route", "show", "table", "all", "dev", "eth1"]
            wait_until(lambda host=host, command=command: "fe80::" in host.call(command))  # type: ignore[misc]

    async def test_groups(self) -> None:
        """
        Announcements to the groups of the link and of the site are delivered, with the zone of the interface.

        So are those to the group of global scope, which GSSDP and MiniUPnPd use.
        """
        network = self.network()
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.2"), ("eth0", f"{self.near.link_local}%eth0")))
        self.send(BYEBYE)
        self.send(ALIVE, SITE_LOCAL)
        self.send(RESTARTED, GLOBAL)
        self.assertEqual(
            await self.received(),
            [
                (BYEBYE, Reception(f"{self.far.link_local}%eth0", "eth0")),
                # The kernel of the sender selects an address of the scope.
                (ALIVE, Reception("fd00:77::3", "eth0")),
                (RESTARTED, Reception("fd00:77::3", "eth0")),
            ],
        )

    async def test_both_families(self) -> None:
        """A datagram over IPv4 is delivered once, by the socket of IPv4."""
        self.network()
        self.far.send(encode(BYEBYE))
        self.assertEqual(await self.received(), [(BYEBYE, Reception("10.77.0.3", "eth0"))])

    async def test_each_interface_once(self) -> None:
        """
        A datagram is delivered once, for the interface that received it.

        Other programs share the port, and have joined the groups.
        """
        self.add_card()
        self.listen(self.near)
        self.network()
        self.listen(self.near)
        for group in (LINK_LOCAL, SITE_LOCAL):
            for card in ("eth0", "eth1"):
                for _ in range(5):
                    self.send(BYEBYE, group, card)
                receptions = [reception for _, reception in await self.received()]
                self.assertEqual([reception.interface for reception in receptions], [card] * 5)
                self.assertTrue(all(reception.on_link for reception in receptions))

    async def test_other_group(self) -> None:
        """A datagram to a group of another scope is not received, although another program has joined it."""
        self.listen(self.near, [ORGANIZATION])
        self.network()
        self.send(BYEBYE, ORGANIZATION)
        self.assertEqual(await self.received(), [])

    async def test_search(self) -> None:
        """
        A search is sent to the groups of the link and of the site, and to no wider scope.

        It has the configured hop limit and HOST in brackets, and a source of each scope.

        The replies are delivered, and the search itself is not.
        """
        network = self.network(ttl=3)
        device = self.listen(self.far, ALL)
        self.near.inside(lambda: network.search(SearchRequest("ssdp:all")))
        seen = {}
        for _ in range(2):
            datagram, options, _, searcher = device.recvmsg(2000, 200)
            values = {kind: data for level, kind, data in options if level == socket.IPPROTO_IPV6}
            group = socket.inet_ntop(socket.AF_INET6, values[socket.IPV6_PKTINFO][:16])
            self.assertEqual(struct.unpack("@i", values[socket.IPV6_HOPLIMIT]), (3,))
            self.assertIn(f"\r\nHOST: [{group.upper()}]:1900\r\n".encode(), datagram)
            seen[group] = searcher[0]
            device.sendto(encode(RESPONSE), searcher)
        self.assertEqual(seen, {LINK_LOCAL: self.near.link_local, SITE_LOCAL: "fd00:77::2"})
        self.assert_nothing_else(device)
        self.assertEqual(
            {reception for _, reception in await self.received()},
            {
                Reception("fd00:77::3", "eth0", Channel.SEARCH),
                Reception(f"{self.far.link_local}%eth0", "eth0", Channel.SEARCH),
            },
        )

    async def test_search_hosts(self) -> None:
        """
        A host is searched at its global and at its link-local address, and the reply comes from the same address.

        A host on no network of an interface, and one with the zone of another interface, are not searched.
        """
        self.add_card()
        network = self.network()
        device = self.listen(self.far)
        for host, source in (
            ("fd00:77::3", "fd00:77::2"),
            (f"{self.far.link_local}%eth0", self.near.link_local),
        ):
            searched = ["2001:db8::3", f"{self.far.link_local}%eth1", f"{self.far.link_local}%eth9", host]
            self.near.inside(lambda searched=searched: network.search_hosts("urn:a", searched))  # type: ignore[misc]
            datagram, searcher = device.recvfrom(2000)
            self.assertEqual(datagram, encode(SearchRequest("urn:a", None), (host, PORT)))
            self.assertNotIn(b"%", datagram)
            self.assertEqual(searcher[0], source)
            device.sendto(encode(RESPONSE), searcher)
            self.assertEqual(await self.received(), [(RESPONSE, Reception(host, "eth0", Channel.HOST))])

    async def test_reply_of_another_host(self) -> None:
        """A reply to the port of a search for a single host from another address of the link is not delivered."""
        network = self.network()
        device = self.listen(self.far)
        self.near.inside(lambda: network.search_hosts("urn:a", ["fd00:77::9"]))
        [port] = [port for address, port in self.udp6_ports() if port != PORT]
        self.far.inside(lambda: device.sendto(encode(RESPONSE), ("fd00:77::2", port)))
        self.assertEqual(await self.received(), [])
        self.assertEqual(self.dropped, [("unsolicited", Reception("fd00:77::3", "eth0", Channel.HOST))])

    async def test_ports_between_rounds(self) -> None:
        """Between two rounds the only sockets over IPv6 are those bound to the groups."""
        network = self.network()
        groups = [("000002FF", PORT), ("000005FF", PORT), ("00000EFF", PORT)]
        self.assertEqual(self.udp6_ports(), groups)
        self.near.inside(lambda: network.search(SearchRequest("ssdp:all", 1)))
        self.assertEqual(len(self.udp6_ports()), 4)
        await deferLater(reactor, 1.7)
        self.assertEqual(self.udp6_ports(), groups)

    async def test_announcer(self) -> None:
        """
        An announcer sends to the groups of the link and of the site, and to no wider scope.

        It receives a unicast search once, and replies to it.
        """
        network = self.network(announcing=True)
        control_point = self.listen(self.far, ALL)
        network.send(ALIVE, [6])
        self.assertEqual(
            {control_point.recv(2000) for _ in range(2)},
            {encode(ALIVE, (group, PORT)) for group in (LINK_LOCAL, SITE_LOCAL)},
        )
        self.assert_nothing_else(control_point)
        # Its own announcements loop back.
        await self.received()
        self.far.inside(lambda: control_point.sendto(encode(SearchRequest("a", None)), ("fd00:77::2", PORT)))
        self.assertEqual(
            await self.received(), [(SearchRequest("a", None), Reception("fd00:77::3", "eth0", Channel.UNICAST))]
        )
        network.reply(RESPONSE, ("fd00:77::3", PORT), "eth0")
        self.assertEqual(control_point.recv(2000), encode(RESPONSE))
        self.send(SearchRequest("a"))
        self.assertEqual(
            await self.received(), [(SearchRequest("a"), Reception(f"{self.far.link_local}%eth0", "eth0"))]
        )

    async def test_switched_off(self) -> None:
        """IPv6 can be switched off and on again on an interface. IPv4 goes on, and no line is a warning."""
        network = self.network()
        with capturedLogs() as events:
            self.near.set_ipv6("eth0", "disable_ipv6=1")
            self.near.inside(lambda: network.search(SearchRequest("ssdp:all")))
            self.assertFalse(self.near.inside(network.refresh))
            self.assertEqual(network.interfaces, (("eth0", "10.77.0.2"),))
            self.near.inside(network.check_reception)
            self.assertEqual((self.near.inside(network.check_reception), network.receiving), ({}, {"eth0"}))
            self.far.send(encode(BYEBYE))
            self.assertEqual(len(await self.received()), 1)
            self.near.set_ipv6("eth0", "disable_ipv6=0")
            wait_until(lambda: self.near.inside(network.refresh))
        warnings = [event for event in events if event["log_level"] >= LogLevel.warn]
        # A search between the change and the refresh may fail once.
        self.assertLessEqual(len(warnings), 1, warnings)
        self.send(BYEBYE)
        self.assertEqual(len(await self.received()), 1)

    async def test_tentative(self) -> None:
        """An address that the kernel is still verifying is not used, so that no search fails."""
        self.near.set_ipv6("eth0", "disable_ipv6=1")
        self.near.set_ipv6("eth0", "accept_dad=1")
        self.near.set_ipv6("eth0", "disable_ipv6=0")
        network = self.network()
        self.assertEqual(network.interfaces, (("eth0", "10.77.0.2"),))
        wait_until(lambda: "tentative" not in self.near.call(["ip", "address", "show", "eth0"]))
        self.assertTrue(self.near.inside(network.refresh))
        self.assertEqual(network.interfaces[1:], (("eth0", f"{self.near.link_local}%eth0"),))

    def test_selection(self) -> None:
        """An interface can be selected by an IPv6 network."""
        self.add_card()
        names = [name for name, _ in self.network("fd00:77::/64").interfaces]
        self.assertEqual(names, ["eth0", "eth0"])

    def test_port_of_a_bridge(self) -> None:
        """A port of a bridge is not used, although the kernel gives it a link-local address."""
        self.near.call(["ip", "link", "add", "br0", "type", "bridge"])
        self.near.call(["ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"])
        self.near.call(["ip", "link", "set", "veth0", "master", "br0"])
        for name in ("br0", "veth0", "veth1"):
            self.near.call(["ip", "link", "set", name, "up"])
        wait_until(lambda: "fe80" in self.near.call(["ip", "-6", "address", "show", "veth0"]))
        names = {name for name, _ in self.network().interfaces}
        self.assertNotIn("veth0", names)
        self.assertIn("br0", names)

    async def test_without_privileges(self) -> None:
        """
        If sockets may not be restricted to an interface, their link-local address does that.

        This is so without CAP_NET_RAW on Linux before 5.7. The groups of wider scopes are then left out.
        """

        def refuse(handle: socket.socket, interface: object) -> None:
            raise PermissionError(errno.EPERM, "refused by the test")

        self.patch(socket_options, "bind_to_interface", refuse)
        with capturedLogs() as events:
            network = self.network()
            device = self.listen(self.far)
            self.near.inside(lambda: network.search_hosts("urn:a", [f"{self.far.link_local}%eth0"]))
            self.assertEqual(device.recvfrom(2000)[1][0], self.near.link_local)
            self.near.inside(lambda: network.search(SearchRequest("ssdp:all")))
            self.assertEqual({device.recvfrom(2000)[1][0] for _ in range(2)}, {self.near.link_local})
        self.assertEqual([event for event in events if event["log_level"] >= LogLevel.warn], [])
        self.send(BYEBYE)
        self.assertEqual(await self.received(), [(BYEBYE, Reception(f"{self.far.link_local}%eth0", "eth0"))])

    def test_privileges(self) -> None:
        """Without CAP_NET_RAW, the sockets are opened on Linux 5.7 and later."""
        code = (
            "import os\n"
            "from twisted.internet import reactor\n"
            "from ssdpreg.ssdp.messages import SearchRequest\n"
            "from ssdpreg.ssdp.network import Network\n"
            "network = Network(reactor, print, print)\n"
            "os.setgid(65534); os.setuid(65534); network.refresh()\n"
            "network.search(SearchRequest('ssdp:all'))\n"
            "print(len(network._udp._open))"
        )
        self.assertEqual(self.near.call([sys.executable, "-c", code]).strip(), "6")


class NetworkWithoutIPv4Tests(TestCase):
    """Tests for :class:`Network` on a host without IPv4."""

    skip = hosts.unavailable()

    async def test_without_ipv4(self) -> None:
        """Announcements are delivered, and an interface that is down is reported."""
        lan = hosts.Lan()
        self.addCleanup(lan.close)
        near, far = lan.host("", "fd00:77::2"), lan.host("10.77.0.3", "fd00:77::3")
        delivered: list[Reception] = []
        network = Network(reactor, lambda message, reception, peer: delivered.append(reception), print)
        self.addCleanup(network.close)
        near.inside(network.refresh)
        self.assertEqual(network.interfaces, (("eth0", f"{near.link_local}%eth0"),))
        far.send(encode(BYEBYE))
        far.inside(lambda: _send(encode(BYEBYE), LINK_LOCAL, "eth0"))
        await deferLater(reactor, 0.3)
        self.assertEqual(delivered, [Reception(f"{far.link_local}%eth0", "eth0")])
        near.call(["ip", "link", "set", "eth0", "down"])
        near.inside(network.refresh)
        self.assertEqual(near.inside(network.check_reception), {"eth0": "interface down"})
        self.assertEqual(network.receiving, frozenset())


def _send(datagram: bytes, group: str, card: str) -> None:
    """Send a datagram to a group from a card of this host."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        index = socket.if_nametoindex(card)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.sendto(datagram, (group, PORT, 0, index))
