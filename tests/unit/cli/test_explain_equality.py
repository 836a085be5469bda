"""The same datagrams through the daemon's registry and through ``ssdpreg explain`` give the same results."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.cli.capture import CapturedDatagram
from ssdpreg.cli.capture_replay import Replay, ReplayClock, ReplayNetwork
from ssdpreg.cli.explainer import Explainer
from ssdpreg.cli.explanation import Explanation
from ssdpreg.config import Config, parse
from ssdpreg.daemon.tap import make_registry
from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.links import LinkState
from ssdpreg.ssdp.messages import GROUPS, PORT, Alive, ByeBye, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from tests.support.memory_reactor import MemoryLinks, MemoryMulticastReactor, MemoryPort

API = "urn:schemas-upnp-org:service:api:2.0"
OTHER = "urn:schemas-upnp-org:service:other:1"
NETWORKS = (IPv4Network("10.0.0.0/24"), IPv6Network("2001:db8::/64"))
ADDRESSES = {4: "10.0.0.1", 6: "fe80::1"}
#: Beginnings of the addresses of devices, and addresses of hosts that forge, by IP version.
PREFIXES = {4: "10.0.0.1", 6: "fe80::1"}
FORGERS = {4: ("10.0.0.66", "192.0.2.9"), 6: ("fe80::66", "2001:db8::66", "2001:db8:9::9")}


@implementer(IRegistrationListener)
class Recorder:
    """Listener that records the changes of the registrations."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str]] = []

    def appeared(self, registration: Registration) -> None:
        self._record("appeared", registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._record("changed", registration)

    def left(self, registration: Registration, reason: str) -> None:
        self._record(f"left: {reason}", registration)

    def _record(self, kind: str, registration: Registration) -> None:
        self.changes.append((kind, registration.service_id, f"{registration.address}:{registration.port}"))


class World:
    """
    A daemon with memory for sockets, and devices and forgers that are drawn from a seed.

    :param version: IP version of the network.
    :ivar capture: All datagrams, as a capture on the daemon's host would contain them.
    """

    def __init__(self, seed: int, config: Config, version: int) -> None:
        self.random = Random(seed)
        self.version, self.address, self.groups = version, ADDRESSES[version], GROUPS[version]
        ipv4, ipv6 = ((ADDRESSES[4],), ()) if version == 4 else ((), (ADDRESSES[6],))
        self.reactor = MemoryMulticastReactor()
        self.capture: list[CapturedDatagram] = []
        links = MemoryLinks()
        links.present = [LinkState(2, True)]
        self.registry = make_registry(
            self.reactor,
            config,
            "rack-7",
            lambda: 0,
            open_network=partial(
                Network,
                self.reactor,
                find_interfaces=lambda: [NetworkInterface("eth0", 2, ipv4, networks=NETWORKS, ipv6_addresses=ipv6)],
                open_links=lambda: links,
            ),
        )
        self.recorder = Recorder()
        self.registry.subscribe(self.recorder)

    def run(self, seconds: float) -> None:
        """Run the daemon among its devices."""
        end = self.reactor.seconds() + seconds
        self.registry.startService()
        while self.reactor.seconds() < end:
            ReplayClock.advance_to(self.reactor, self.reactor.seconds() + self.random.expovariate(2.0))  # type: ignore[arg-type]
            self.act()

    def searched(self, port: MemoryPort, packet: bytes, target: PeerAddress) -> None:
        """Record a search of the daemon. Some devices reply, some of them late."""
        source = (self.address, port.number)
        self.capture.append(CapturedDatagram(self.reactor.seconds(), "eth0", source, target, packet))
        for device in range(4):
            host = self.host(device)
            if target[0] in (*self.groups, host) and self.random.random() < 0.4:
                reply = SearchResponse(API, f"uuid:dev-{device}::{API}", f"http://{_quote(host)}:80/", self.age())
                self.reactor.callLater(self.random.uniform(0.001, 5.0), self.receive, encode(reply), host, source)

    def receive(self, payload: bytes, sender: str, target: PeerAddress | None = None) -> None:
        """Send a datagram to the daemon, or to one of its groups. It is lost if the socket is closed."""
        host, number = target or (self.random.choice(self.groups), PORT)
        self.capture.append(CapturedDatagram(self.reactor.seconds(), "eth0", (sender, PORT), (host, number), payload))
        # A socket of a search over IPv6 is bound to any address.
        bound = "::" if self.version == 6 and host == self.address else host
        for port in [each for each in self.reactor.ports if (each.interface, each.number) == (bound, number)]:
            port.protocol.datagramReceived(payload, (sender, PORT))

    def host(self, device: int) -> str:
        """Return the address of a device."""
        return f"{PREFIXES[self.version]}{device}"

    def age(self) -> int:
        """Return a max-age. Most are short, so that services expire."""
        return self.random.choice((0, 1, 3, 20, 20, 1800))

    def act(self) -> None:
        """Let one device or forger send one datagram."""
        device = self.random.randrange(4)
        own = self.host(device)
        sender = self.random.choice((own, own, own, *FORGERS[self.version]))
        url = f"http://{_quote(own)}"
        location = self.random.choice(
            (f"{url}:80/", f"{url}:80/", f"{url}:81/", f"http://{_quote(sender)}/", "ftp://x", "")
        )
        nt = self.random.choice((API, API, API, OTHER, "upnp:rootdevice"))
        usn = f"uuid:dev-{device}::{nt}"
        match self.random.randrange(10):
            case 0:
                self.receive(encode(ByeBye(nt, usn)), sender)
            case 1:
                self.receive(self.random.choice((b"x", b"NOTIFY * HTTP/1.1\r\nNT: a\r\n\r\n")), sender)
            case 2:
                self.receive(encode(SearchRequest("ssdp:all")).replace(b"ssdpreg", b"other"), sender)
            case 3:
                address = self.address
                target = self.random.choice(
                    ((self.groups[0], PORT), (address, PORT), (address, 50000), (address, 50001))
                )
                self.receive(encode(SearchResponse(nt, usn, location)), sender, target)
            case _:
                self.receive(encode(Alive(nt, usn, location, self.age())), sender)


def _quote(host: str) -> str:
    """Return a host as a URL contains it."""
    return f"[{host}]" if ":" in host else host


class EqualityTests(SynchronousTestCase):
    """Tests for the equality of the daemon and :class:`Explainer`."""

    def compare(self, seed: int, trust: str, version: int) -> Counter[str]:
        """Compare both for one seed, and return the number of changes by kind."""
        # The daemon's own catalogue stores addresses with zones.
        backend = {"type": "embedded"} if version == 6 else {"type": "consul"}
        config = parse(json.dumps({"ssdp": {"tags": {"RackHD": [API]}, "trust": trust}, "backend": backend}))
        world = World(seed, config, version)

        def write(port: MemoryPort, packet: bytes, addr: PeerAddress) -> None:
            world.searched(port, packet, addr)

        self.patch(MemoryPort, "write", write)
        world.run(200.0)

        clock, explanations, recorder = ReplayClock(), list[Explanation](), Recorder()
        explainer = Explainer(clock, config, "rack-7", ReplayNetwork, explanations.append, clock.seconds)
        explainer.registry.subscribe(recorder)
        Replay(clock, explainer, (), NETWORKS, []).run(world.capture)
        clock.advance_to(world.reactor.seconds())

        self.assertEqual(recorder.changes, world.recorder.changes, f"seed {seed}")
        self.assertEqual(explainer.registry.registrations, world.registry.registrations)
        self.assertEqual(explainer.registry.dropped, world.registry.dropped)
        self.assertEqual(explainer.registry.received, world.registry.received)
        self.check_texts(explanations, world)
        return Counter(kind for kind, *_ in recorder.changes)

    def check_texts(self, explanations: list[Explanation], world: World) -> None:
        """Assert that the printed results are those of the daemon."""
        refused = Counter(each.reason for each in explanations if each.result in ("rejected", "dropped"))
        self.assertEqual(refused, world.registry.dropped)
        changes = Counter(change.kind for each in explanations for change in each.changes)
        recorded = Counter(kind.partition(":")[0] for kind, *_ in world.recorder.changes)
        self.assertEqual(changes["appeared"], recorded["appeared"])
        self.assertEqual(changes["moved"] + changes["updated"], recorded["changed"])
        self.assertEqual(changes["left"], recorded["left"])
        self.assertEqual(changes["contested"], world.registry.statistics().contests)

    def test_equal(self) -> None:
        """Changes of registrations, drops and contests are equal for many drawn networks."""
        self.check_equality(4)

    def test_equal_over_ipv6(self) -> None:
        """They are equal over IPv6, too."""
        self.check_equality(6)

    def check_equality(self, version: int) -> None:
        """Compare both for many drawn networks."""
        kinds: Counter[str] = Counter()
        for seed in range(6):
            for trust in ("indirect", "direct", "confirmed"):
                kinds += self.compare(seed, trust, version)
        # The comparison covers all kinds of changes.
        self.assertEqual(set(kinds), {"appeared", "changed", "left: byebye", "left: expired"})
        self.assertGreater(min(kinds.values()), 10, kinds)
