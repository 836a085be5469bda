"""Tests for :mod:`ssdpreg.announcer.announcer`."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.announcer.announcer import Announcer
from ssdpreg.announcer.devices import Device
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from tests.support.memory_reactor import MemoryLinks, MemoryMulticastReactor, MemoryPort

URN = "urn:schemas-upnp-org:service:api:2.0"
HERE, THERE = "http://10.0.0.1:80/", "http://10.1.0.1:80/"
ALL = (GROUP, PORT)
PEER = ("10.0.0.9", 40000)
DEVICE = Device("d", "uuid:d", ("uuid:d", URN), (HERE,))
SEARCH_ONLY = Device("s", "uuid:s", (URN,), (HERE,), search_only=True)
ETH0 = NetworkInterface("eth0", 2, ("10.0.0.2",))
ETH1 = NetworkInterface("eth1", 3, ("10.1.0.2",))

ALIVE = [Alive("uuid:d", "uuid:d", HERE, 30), Alive(URN, f"uuid:d::{URN}", HERE, 30)]
BYEBYE = [ByeBye("uuid:d", "uuid:d"), ByeBye(URN, f"uuid:d::{URN}")]
RESPONSES = [SearchResponse("uuid:d", "uuid:d", HERE, 30), SearchResponse(URN, f"uuid:d::{URN}", HERE, 30)]


class AnnouncerTests(SynchronousTestCase):
    """Tests for :class:`Announcer`, with an in-memory reactor."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.host_interfaces = [ETH0]

    def announce(self, *devices: Device, max_age: int = 30) -> Announcer:
        """Start an announcer."""
        open_network = partial(
            Network, self.reactor, find_interfaces=lambda: self.host_interfaces, open_links=MemoryLinks
        )
        announcer = Announcer(self.reactor, open_network, devices, max_age, random.Random(1))
        announcer.startService()
        return announcer

    def port(self, address: str) -> MemoryPort:
        """Return the port that is bound to an address, such as the one of the group."""
        [port] = [port for port in self.reactor.ports if port.interface == address]
        return port

    def assert_sent(self, *messages: Message, to: tuple[str, int] = ALL, address: str = "10.0.0.2") -> None:
        """Check the messages sent from an address since the last call."""
        written = self.port(address).written
        self.assertEqual(written, [(encode(message), to) for message in messages])
        written.clear()

    def test_ipv6(self) -> None:
        """Over IPv6, a LOCATION with an IPv6 address is announced to both groups; over IPv4, the other one."""
        self.host_interfaces = [replace(ETH0, ipv6_addresses=("fe80::2",))]
        six = "http://[2001:db8::1]/"
        announcer = self.announce(replace(DEVICE, types=(URN,), locations=(HERE, six)))
        self.reactor.advance(0.1)
        groups = [("ff02::c", PORT), ("ff05::c", PORT)]
        self.assert_sent(Alive(URN, f"uuid:d::{URN}", HERE, 30))
        [port] = [port for port in self.reactor.ports if (port.interface, port.number) == ("::", PORT)]
        alive, byebye = Alive(URN, f"uuid:d::{URN}", six, 30), ByeBye(URN, f"uuid:d::{URN}")
        self.assertEqual(port.written, [(encode(alive, group), group) for group in groups])
        search = encode(SearchRequest(URN, None), ("2001:db8::2", PORT))
        port.written.clear()
        port.protocol.datagramReceived(search, ("fe80::9", 40000))
        self.reactor.advance(1)
        [reply] = [each for each in port.written if each[1] == ("fe80::9", 40000)]
        self.assertEqual(reply[0], encode(SearchResponse(URN, f"uuid:d::{URN}", six, 30)))
        port.written.clear()
        announcer.stopService()
        self.assertEqual(port.written, [(encode(byebye, group), group) for group in groups])
        self.reactor.pump([1, 1])

    def test_only_one_version(self) -> None:
        """A host without IPv6 announces IPv6 addresses over IPv4."""
        location = "http://[2001:db8::1]/"
        self.announce(replace(DEVICE, types=(URN,), locations=(location,)))
        self.reactor.advance(0.1)
        self.assert_sent(Alive(URN, f"uuid:d::{URN}", location, 30))

    def receive(self, message: Message) -> None:
        """Deliver a message to the group socket."""
        self.port(GROUP).protocol.datagramReceived(encode(message), PEER)

    def advance(self, seconds: float) -> list[float]:
        """Advance the clock, and return the seconds from now to each message that is sent."""
        times = []
        started = self.reactor.seconds()
        for _ in range(round(seconds * 10)):
            self.reactor.advance(0.1)
            written = self.port("10.0.0.2").written
            times += [self.reactor.seconds() - started] * len(written)
            written.clear()
        return times

    def test_start(self) -> None:
        """Every type of a device is announced twice at start."""
        self.announce(DEVICE)
        self.reactor.advance(0.1)
        self.assert_sent(*ALIVE)
        self.reactor.advance(0.3)
        self.assert_sent(*ALIVE)
        self.reactor.advance(1)
        self.assert_sent()

    def test_several_addresses(self) -> None:
        """A device with several addresses is announced with each. It sends one byebye per type."""
        announcer = self.announce(Device("d", "", (URN,), (HERE, THERE)))
        self.reactor.advance(0.1)
        self.assert_sent(Alive(URN, URN, HERE, 30), Alive(URN, URN, THERE, 30))
        announcer.stopService()
        self.assert_sent(ByeBye(URN, URN))

    def test_repeats(self) -> None:
        """Announcements are repeated at irregular intervals of 35 to 45 % of max-age."""
        self.announce(Device("d", "", (URN,), (HERE,)), max_age=100)
        times = self.advance(1000)[2:]
        intervals = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
        self.assertGreaterEqual(min(intervals), 34.9)
        self.assertLessEqual(max(intervals), 45.1)
        self.assertGreater(max(intervals) - min(intervals), 1)
        self.assertGreaterEqual(len(times), 20)

    def test_devices_spread(self) -> None:
        """The announcements of many devices are spread over time."""
        self.announce(*(Device(f"{number}", "", (f"urn:{number}",), (HERE,)) for number in range(100)), max_age=100)
        self.assertGreater(len(set(self.advance(60)[200:])), 50)

    def test_search_only(self) -> None:
        """A search-only device replies to searches, and sends neither announcements nor byebyes."""
        announcer = self.announce(SEARCH_ONLY)
        self.receive(SearchRequest(URN, 1))
        self.reactor.advance(1)
        self.assert_sent(SearchResponse(URN, f"uuid:s::{URN}", HERE, 30), to=PEER)
        self.reactor.advance(30)
        announcer.stopService()
        self.assert_sent()

    def test_search(self) -> None:
        """One reply per matching type is sent to the control point, within MX seconds."""
        self.announce(DEVICE)
        self.reactor.advance(1)
        self.port("10.0.0.2").written.clear()
        for st, replies in (("ssdp:all", RESPONSES), (URN, RESPONSES[1:]), ("upnp:rootdevice", [])):
            self.receive(SearchRequest(st, 1))
            self.assert_sent()
            self.reactor.advance(1)
            self.assertCountEqual(self.port("10.0.0.2").written, [(encode(reply), PEER) for reply in replies])
            self.port("10.0.0.2").written.clear()

    def test_replies_spread(self) -> None:
        """Replies are sent at random times within MX seconds."""
        self.announce(Device("d", "", tuple(f"urn:{number}" for number in range(50)), (HERE,), search_only=True))
        self.receive(SearchRequest("ssdp:all", 4))
        times = self.advance(4.1)
        self.assertEqual(len(times), 50)
        self.assertGreater(times[-1] - times[0], 2)

    def test_search_without_mx(self) -> None:
        """A multicast search without MX, or with MX 0, gets no reply."""
        self.announce(SEARCH_ONLY)
        for mx in (None, 0):
            self.receive(SearchRequest(URN, mx))
            self.reactor.advance(5)
            self.assert_sent()

    def test_unicast_search(self) -> None:
        """A reply to a unicast search is sent within 0.5 s, with or without MX."""
        self.announce(SEARCH_ONLY)
        for mx in (None, 0, 5):
            self.port("10.0.0.2").protocol.datagramReceived(encode(SearchRequest(URN, mx)), PEER)
            self.assert_sent()
            self.reactor.advance(0.5)
            self.assert_sent(SearchResponse(URN, f"uuid:s::{URN}", HERE, 30), to=PEER)

    def test_other_messages(self) -> None:
        """Other messages and invalid datagrams get no reply."""
        self.announce(SEARCH_ONLY)
        self.receive(BYEBYE[0])
        self.port(GROUP).protocol.datagramReceived(b"no SSDP", PEER)
        self.reactor.advance(5)
        self.assert_sent()

    def test_stop(self) -> None:
        """On stop, byebyes are sent twice, then the sockets are closed. No delayed call remains."""
        announcer = self.announce(DEVICE)
        self.reactor.advance(1)
        self.port("10.0.0.2").written.clear()
        self.receive(SearchRequest("ssdp:all", 5))
        port = self.port("10.0.0.2")
        stopped = announcer.stopService()
        self.assert_sent(*BYEBYE)
        self.assertNoResult(stopped)
        self.reactor.advance(0.3)
        self.successResultOf(stopped)
        self.assertEqual(port.written, [(encode(message), ALL) for message in BYEBYE])
        self.assertEqual((self.reactor.ports, self.reactor.getDelayedCalls()), ([], []))

    def test_new_interface(self) -> None:
        """On a new interface every device is announced twice."""
        self.host_interfaces = []
        self.announce(DEVICE)
        self.reactor.advance(1)
        self.host_interfaces = [ETH1]
        self.reactor.advance(5)
        self.assert_sent(address="10.1.0.2")
        self.reactor.advance(0.1)
        self.assert_sent(*ALIVE, address="10.1.0.2")
        self.reactor.advance(0.3)
        self.assert_sent(*ALIVE, address="10.1.0.2")
