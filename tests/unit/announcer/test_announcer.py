"""Tests for :mod:`ssdpreg.announcer.tap`: in memory, and as it runs."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from twisted.application.service import MultiService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.announcer.devices import Device
from ssdpreg.announcer.tap import Announcer, Options, makeService
from ssdpreg.ssdp.codec import USER_AGENT, encode
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Adapter, Network
from tests.support import hosts
from tests.support.memory_reactor import MemoryMulticastReactor, MemoryPort
from tests.support.paths import ROOT
from tests.support.rack import twistd

URN = "urn:schemas-upnp-org:service:api:2.0"
HERE, THERE = "http://10.0.0.1:80/", "http://10.1.0.1:80/"
EVERYBODY = (GROUP, PORT)
PEER = ("10.0.0.9", 40000)
DEVICE = Device("d", "uuid:d", ("uuid:d", URN), (HERE,))
SILENT = Device("s", "uuid:s", (URN,), (HERE,), search_only=True)
ETH0 = Adapter("eth0", 2, ("10.0.0.2",))
ETH1 = Adapter("eth1", 3, ("10.1.0.2",))

ALIVE = [Alive("uuid:d", "uuid:d", HERE, 30), Alive(URN, f"uuid:d::{URN}", HERE, 30)]
BYEBYE = [ByeBye("uuid:d", "uuid:d"), ByeBye(URN, f"uuid:d::{URN}")]
RESPONSES = [SearchResponse("uuid:d", "uuid:d", HERE, 30), SearchResponse(URN, f"uuid:d::{URN}", HERE, 30)]


class AnnouncerTests(SynchronousTestCase):
    """Tests for :class:`Announcer`, with time and network in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.adapters = [ETH0]

    def announce(self, *devices: Device, max_age: int = 30) -> Announcer:
        """Start an announcer."""
        open_network = partial(Network, self.reactor, find_adapters=lambda: self.adapters)
        announcer = Announcer(self.reactor, open_network, devices, max_age, random.Random(1))
        announcer.startService()
        return announcer

    def port(self, address: str) -> MemoryPort:
        """Find the port that sends from an address, or the one that hears the group."""
        [port] = [port for port in self.reactor.ports if port.interface == address]
        return port

    def assert_sent(self, *messages: Message, to: tuple[str, int] = EVERYBODY, address: str = "10.0.0.2") -> None:
        """Check all that was sent from an address since the last time."""
        written = self.port(address).written
        self.assertEqual(written, [(encode(message), to) for message in messages])
        written.clear()

    def search(self, message: Message) -> None:
        """Let a message arrive."""
        self.port(GROUP).protocol.datagramReceived(encode(message), PEER)

    def pass_seconds(self, seconds: float) -> list[float]:
        """Let time pass, and tell when something was sent."""
        times = []
        for _ in range(round(seconds * 10)):
            self.reactor.advance(0.1)
            written = self.port("10.0.0.2").written
            times += [self.reactor.seconds()] * len(written)
            written.clear()
        return times

    def test_start(self) -> None:
        """All that a device has is announced at start, twice."""
        self.announce(DEVICE)
        self.reactor.advance(0.1)
        self.assert_sent(*ALIVE)
        self.reactor.advance(0.3)
        self.assert_sent(*ALIVE)
        self.reactor.advance(1)
        self.assert_sent()

    def test_several_addresses(self) -> None:
        """A device with several addresses is announced at each, and taken back once."""
        announcer = self.announce(Device("d", "", (URN,), (HERE, THERE)))
        self.reactor.advance(0.1)
        self.assert_sent(Alive(URN, URN, HERE, 30), Alive(URN, URN, THERE, 30))
        announcer.stopService()
        self.assert_sent(ByeBye(URN, URN))

    def test_repeats(self) -> None:
        """A device is announced again before half of max-age is over, at irregular intervals, and ever again."""
        self.announce(Device("d", "", (URN,), (HERE,)), max_age=100)
        times = self.pass_seconds(1000)[2:]
        intervals = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
        self.assertGreaterEqual(min(intervals), 39.9)
        self.assertLessEqual(max(intervals), 50.1)
        self.assertGreater(max(intervals) - min(intervals), 1)
        self.assertGreaterEqual(len(times), 20)

    def test_devices_spread(self) -> None:
        """Many devices do not speak all at once."""
        self.announce(*(Device(f"{number}", "", (f"urn:{number}",), (HERE,)) for number in range(100)), max_age=100)
        self.assertGreater(len(set(self.pass_seconds(60)[200:])), 50)

    def test_search_only(self) -> None:
        """A silent device neither announces nor takes back, and answers."""
        announcer = self.announce(SILENT)
        self.search(SearchRequest(URN, 1))
        self.reactor.advance(1)
        self.assert_sent(SearchResponse(URN, f"uuid:s::{URN}", HERE, 30), to=PEER)
        self.reactor.advance(30)
        announcer.stopService()
        self.assert_sent()

    def test_search(self) -> None:
        """A search is answered once for all that it finds, to who asked, and not beyond MX."""
        self.announce(DEVICE)
        self.reactor.advance(1)
        self.port("10.0.0.2").written.clear()
        for st, replies in (("ssdp:all", RESPONSES), (URN, RESPONSES[1:]), ("upnp:rootdevice", [])):
            self.search(SearchRequest(st, 1))
            self.assert_sent()
            self.reactor.advance(1)
            self.assertCountEqual(self.port("10.0.0.2").written, [(encode(reply), PEER) for reply in replies])
            self.port("10.0.0.2").written.clear()

    def test_search_waits(self) -> None:
        """Replies are spread over MX seconds."""
        self.announce(Device("d", "", tuple(f"urn:{number}" for number in range(50)), (HERE,), search_only=True))
        self.search(SearchRequest("ssdp:all", 4))
        times = self.pass_seconds(4.1)
        self.assertEqual(len(times), 50)
        self.assertGreater(times[-1] - times[0], 2)

    def test_search_without_wait(self) -> None:
        """A search to all that does not say how long it waits, or not at all, is not answered."""
        self.announce(SILENT)
        for mx in (None, 0):
            self.search(SearchRequest(URN, mx))
            self.reactor.advance(5)
            self.assert_sent()

    def test_other_messages(self) -> None:
        """What is no search is not answered."""
        self.announce(SILENT)
        self.search(BYEBYE[0])
        self.port(GROUP).protocol.datagramReceived(b"no SSDP", PEER)
        self.reactor.advance(5)
        self.assert_sent()

    def test_stop(self) -> None:
        """At the end all is taken back, twice, before the sockets are closed; nothing is left to do."""
        announcer = self.announce(DEVICE)
        self.reactor.advance(1)
        self.port("10.0.0.2").written.clear()
        self.search(SearchRequest("ssdp:all", 5))
        port = self.port("10.0.0.2")
        stopped = announcer.stopService()
        self.assert_sent(*BYEBYE)
        self.assertNoResult(stopped)
        self.reactor.advance(0.3)
        self.successResultOf(stopped)
        self.assertEqual(port.written, [(encode(message), EVERYBODY) for message in BYEBYE])
        self.assertEqual((self.reactor.ports, self.reactor.getDelayedCalls()), ([], []))

    def test_new_interface(self) -> None:
        """On an interface that comes later, all is announced soon, twice."""
        self.adapters = []
        self.announce(DEVICE)
        self.reactor.advance(1)
        self.adapters = [ETH1]
        self.reactor.advance(5)
        self.assert_sent(address="10.1.0.2")
        self.reactor.advance(0.1)
        self.assert_sent(*ALIVE, address="10.1.0.2")
        self.reactor.advance(0.3)
        self.assert_sent(*ALIVE, address="10.1.0.2")


class OptionsTests(SynchronousTestCase):
    """Tests for :class:`Options`."""

    def parse(self, *arguments: str) -> Options:
        """Read a command line, and a file with one device."""
        path = self.mktemp()
        Path(path).write_text('{"ssdp": {"d": {"broadcastIP": ["x"], "urnList": ["y"]}}}')
        options = Options()
        options.parseOptions(["--config", path, *arguments])
        return options

    def test_defaults(self) -> None:
        """Only the file is required."""
        options = self.parse()
        self.assertEqual([device.name for device in options["devices"]], ["d"])
        self.assertEqual((options["max-age"], options["health"], options["interfaces"]), (30, None, []))

    def test_given(self) -> None:
        """What is given is used; there may be several interfaces."""
        options = self.parse("--max-age", "4", "--health", "8090", "--interface", "eth0", "-i", "10.0.0.0/8")
        self.assertEqual((options["max-age"], options["health"]), (4, 8090))
        self.assertEqual(options["interfaces"], ["eth0", "10.0.0.0/8"])

    def test_nonsense(self) -> None:
        """Numbers that mean nothing are refused."""
        for arguments in (("--max-age", "0"), ("--max-age", "x"), ("--health", "0"), ("--health", "65536")):
            self.assertRaises(UsageError, self.parse, *arguments)

    def test_no_file(self) -> None:
        """Without a file there is nothing to announce."""
        self.assertRaises(UsageError, Options().parseOptions, [])

    def test_bad_file(self) -> None:
        """A file with faults is refused with all of them."""
        path = self.mktemp()
        Path(path).write_text('{"ssdp": {"d": {}}}')
        error = self.assertRaises(UsageError, Options().parseOptions, ["--config", path])
        self.assertIn(path, str(error))
        self.assertIn("ssdp.d.urnList: is missing\nssdp.d.broadcastIP: is missing", str(error))


class MakeServiceTests(SynchronousTestCase):
    """Tests for :func:`makeService`; what it makes is started in :class:`TwistdTests`."""

    def test_parts(self) -> None:
        """There is an announcer; what serves the health check comes only if it is asked for."""
        options = Options()
        options["devices"] = [DEVICE]
        [announcer] = cast(MultiService, makeService(options))
        self.assertIsInstance(announcer, Announcer)
        options["health"] = 8090
        self.assertEqual(len(list(cast(MultiService, makeService(options)))), 2)


class TwistdTests(SynchronousTestCase):
    """Tests for ``twistd ssdpspoof``, on a host of its own, as another host sees it."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host("10.77.0.2")
        self.far = self.lan.host("10.77.0.3")

    def spoof(self, source: Mapping[str, object], *arguments: str) -> hosts.Program:
        """Announce one source."""
        path = self.lan.folder / "spoof.json"
        path.write_text(json.dumps({"ssdp": {"rack": source}}))
        return self.near.run(twistd("ssdpspoof", "--config", str(path), *arguments), cwd=str(ROOT))

    def test_on_the_wire(self) -> None:
        """Announcements, replies and farewells are what UPnP wants, byte for byte; the program ends well."""
        with self.far.listen(PORT) as listener, self.far.listen() as asker:
            source = {"broadcastIP": ["10.77.0.2:80"], "urnList": [URN], "uuid": "d"}
            program = self.spoof(source, "--max-age", "60", "--interface", "eth0")
            heard = [listener.recv(2000) for _ in range(3)]
            self.assertEqual(
                heard[2].decode(),
                "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=60\r\n"
                f"LOCATION: http://10.77.0.2:80/\r\nSERVER: {USER_AGENT}\r\n"
                f"NT: {URN}\r\nNTS: ssdp:alive\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
            self.assertIn(b"\r\nNT: upnp:rootdevice\r\n", heard[0])
            self.assertIn(b"\r\nNT: uuid:d\r\n", heard[1])
            # As control points write it, whatever our own codec does.
            asker.sendto(
                b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
                b"ST: " + URN.encode() + b"\r\n\r\n",
                EVERYBODY,
            )
            reply, (host, _) = asker.recvfrom(2000)
            self.assertEqual(host, "10.77.0.2")
            self.assertEqual(
                reply.decode(),
                "HTTP/1.1 200 OK\r\nEXT: \r\nCACHE-CONTROL: max-age=60\r\n"
                f"LOCATION: http://10.77.0.2:80/\r\nSERVER: {USER_AGENT}\r\nST: {URN}\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
            self.assertEqual(program.stop(), -15)
            said: list[bytes] = []
            while not said or b"ssdp:byebye" not in said[-1] or URN.encode() not in said[-1]:
                said.append(listener.recv(2000))
            self.assertEqual(
                said[-1].decode(),
                "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
                f"NT: {URN}\r\nNTS: ssdp:byebye\r\nUSN: uuid:d::{URN}\r\n\r\n",
            )
        self.assertNotIn("Traceback", program.output)

    def test_health(self) -> None:
        """With ``--health`` a list of nodes is served, and nothing else."""
        self.spoof({"broadcastIP": ["10.77.0.2:80"], "urnList": [URN], "uuid": "d"}, "--health", "8090").wait_for(
            "Announcing"
        )
        answer = self.far.http("/api/2.0/nodes", host="10.77.0.2", port=8090)
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        self.assertEqual(answer.json(), [{"id": "d", "name": "rack"}])
        self.assertEqual(self.far.http("/", host="10.77.0.2", port=8090).status, 404)
