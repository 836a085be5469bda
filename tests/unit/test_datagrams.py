"""The datagrams of ``tests/datagrams`` through codec, interpretation, table and registration."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Appeared, Changed, Event
from ssdpreg.discovery.interpret import Departure, Rejection, interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.registration import RegistrationRules
from ssdpreg.ssdp.codec import decode
from ssdpreg.ssdp.reception import Channel, Receptions
from tests.support.datagram_files import RecordedDatagram, read_datagrams, write_datagrams
from tests.support.paths import ROOT

FOLDER = ROOT / "tests" / "datagrams"
TERMS = SearchTerms(
    {
        "urn:schemas-*": "UPnP",
        "urn:dmtf-org:service:redfish-rest:1": "BMC",
        "urn:Belkin:device:**": "WeMo",
        "urn:dial-multiscreen-org:*": "Cast",
        "urn:samsung.com:*": "Samsung",
        "urn:microsoft-com:*": "Microsoft",
        "urn:Microsoft Windows*": "Windows",
        "roku:ecp": "Roku",
    }
)
LOCATIONS = LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")], zones=True)
RULES = RegistrationRules("rack-7")
NETWORKS: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("10.77.0.0/24"), IPv6Network("fd00:77::/64"))
GROUPS = frozenset({"239.255.255.250", "ff02::c", "ff05::c", "ff0e::c"})


@dataclass(frozen=True)
class Expected:
    """
    Expected result of a file.

    :ivar messages: Number of datagrams of each kind.
    :ivar services: Registrations after the announcements and replies, as ``name address:port``, sorted.
    :ivar left: Number of services that are still there some seconds after the last datagram.
    :ivar rejected: Reasons of the rejected announcements, without those that no search term matches.
    """

    messages: dict[str, int]
    services: list[str]
    left: int
    rejected: dict[str, int] = field(default_factory=dict)


#: Lifetimes end and byebyes count within the seconds after the last datagram. rclone and ssdpy send no byebye.
EXPECTED = {
    "async_upnp_client-0.49.0-ipv4.txt": Expected(
        messages={"alive": 3, "response": 3, "byebye": 3},
        services=["UPnP-device:Printer:1 10.77.0.5:50000"],
        left=0,
    ),
    "async_upnp_client-0.49.0-ipv6.txt": Expected(
        messages={"alive": 3, "response": 3, "byebye": 3},
        services=["UPnP-device:Printer:1 [fd00:77::5]:50000"],
        left=0,
    ),
    "described-avm-fritzbox.txt": Expected(
        messages={"alive": 1, "byebye": 1},
        services=["UPnP-device:InternetGatewayDevice:1 10.77.0.27:49000"],
        left=0,
    ),
    "described-belkin-wemo.txt": Expected(
        messages={"response": 1},
        services=["WeMo-device:** 10.77.0.23:49153"],
        left=1,
    ),
    "described-dell-1815dn.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:Printer:1 10.77.0.33:5200"],
        left=1,
    ),
    "described-dell-idrac.txt": Expected(
        messages={"response": 1},
        services=["BMC-service:redfish-rest:1 10.77.0.21:443"],
        left=1,
    ),
    "described-eaton-ups.txt": Expected(
        messages={"response": 1},
        services=["UPnP-service:URLService:1 10.77.0.32:80"],
        left=1,
    ),
    "described-esp-microcontroller.txt": Expected(
        messages={"alive": 1, "response": 1},
        services=["UPnP-device:Basic:1 10.77.0.36:80"],
        left=1,
    ),
    "described-google-cast.txt": Expected(
        messages={"response": 1},
        services=["Cast-service:dial:1 10.77.0.28:8008"],
        left=1,
    ),
    "described-hpe-ilo.txt": Expected(
        messages={"response": 1, "alive": 1, "byebye": 1},
        services=["BMC-service:redfish-rest:1 10.77.0.20:443"],
        left=0,
    ),
    "described-intel-sdk.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:WANDevice:1 10.77.0.37:49152"],
        left=1,
    ),
    "described-microsoft-windows.txt": Expected(
        messages={"alive": 2, "response": 1},
        services=["UPnP-device:MediaServer:1 10.77.0.30:2869"],
        left=1,
        rejected={"LOCATION is no http or https URL": 1, "no device ID": 1},
    ),
    "described-microsoft-xbox.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:MediaRenderer:1 10.77.0.31:2869"],
        left=0,
    ),
    "described-philips-hue.txt": Expected(
        messages={"response": 1, "alive": 1},
        services=["UPnP-device:basic:1 10.77.0.25:80"],
        left=1,
    ),
    "described-roku.txt": Expected(
        messages={"response": 1, "alive": 1},
        services=["Roku-roku:ecp 10.77.0.26:8060"],
        left=1,
    ),
    "described-samsung-tv.txt": Expected(
        messages={"alive": 1},
        services=["Samsung-device:RemoteControlReceiver:1 10.77.0.29:7676"],
        left=1,
    ),
    "described-sonos.txt": Expected(
        messages={"alive": 1, "response": 1, "byebye": 1},
        services=["UPnP-device:ZonePlayer:1 10.77.0.24:1400"],
        left=0,
    ),
    "described-supermicro.txt": Expected(
        messages={"alive": 2, "byebye": 1},
        services=["UPnP-service:IPMI:1 10.77.0.22:49152"],
        left=0,
    ),
    "described-tp-link-router.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:InternetGatewayDevice:1 10.77.0.34:1900"],
        left=1,
    ),
    "described-yamaha-receiver.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:MediaRenderer:1 10.77.0.35:8080"],
        left=1,
    ),
    "gerbera-1.1.0-ipv4.txt": Expected(
        messages={"alive": 6, "response": 6, "byebye": 6},
        services=[
            "UPnP-device:MediaServer:1 10.77.0.5:50000",
            "UPnP-service:ConnectionManager:1 10.77.0.5:50000",
            "UPnP-service:ContentDirectory:1 10.77.0.5:50000",
        ],
        left=0,
    ),
    "gmediarender-0.1-ipv4.txt": Expected(
        messages={"alive": 6, "response": 6, "byebye": 6},
        services=[
            "UPnP-device:MediaRenderer:1 10.77.0.5:50000",
            "UPnP-service:AVTransport:1 10.77.0.5:50000",
            "UPnP-service:ConnectionManager:1 10.77.0.5:50000",
            "UPnP-service:RenderingControl:1 10.77.0.5:50000",
        ],
        left=0,
    ),
    "gssdp-1.6.2-ipv4.txt": Expected(
        messages={"byebye": 6, "alive": 3, "response": 3},
        services=["UPnP-device:Basic:1 10.77.0.5:50000"],
        left=0,
    ),
    "gssdp-1.6.2-ipv6.txt": Expected(
        messages={"byebye": 6, "alive": 3, "response": 3},
        services=["UPnP-device:Basic:1 [fd00:77::5]:50000"],
        left=0,
    ),
    "gssdp-1.6.2-link-local-ipv6.txt": Expected(
        messages={"byebye": 6, "alive": 3, "response": 3},
        services=["UPnP-device:Basic:1 [fe80::d048:eff:feda:7004%eth0]:50000"],
        left=0,
    ),
    "minidlna-1.3.0-ipv4.txt": Expected(
        messages={"byebye": 12, "alive": 6, "response": 6},
        services=[
            "UPnP-device:MediaServer:1 10.77.0.5:50000",
            "UPnP-service:ConnectionManager:1 10.77.0.5:50000",
            "UPnP-service:ContentDirectory:1 10.77.0.5:50000",
        ],
        left=0,
    ),
    "miniupnpd-2.3.1-ipv4.txt": Expected(
        messages={"alive": 13, "response": 13, "byebye": 13},
        services=[
            "UPnP-device:InternetGatewayDevice:2 10.77.0.5:50000",
            "UPnP-device:WANConnectionDevice:2 10.77.0.5:50000",
            "UPnP-device:WANDevice:2 10.77.0.5:50000",
            "UPnP-service:DeviceProtection:1 10.77.0.5:50000",
            "UPnP-service:Layer3Forwarding:1 10.77.0.5:50000",
            "UPnP-service:WANCommonInterfaceConfig:1 10.77.0.5:50000",
            "UPnP-service:WANIPConnection:2 10.77.0.5:50000",
            "UPnP-service:WANIPv6FirewallControl:1 10.77.0.5:50000",
            "UPnP-service:WANPPPConnection:1 10.77.0.5:50000",
        ],
        left=0,
    ),
    "miniupnpd-2.3.1-ipv6.txt": Expected(
        messages={"alive": 39, "response": 13, "byebye": 13},
        services=[
            "UPnP-device:InternetGatewayDevice:2 [fd00:77::5]:50000",
            "UPnP-device:WANConnectionDevice:2 [fd00:77::5]:50000",
            "UPnP-device:WANDevice:2 [fd00:77::5]:50000",
            "UPnP-service:DeviceProtection:1 [fd00:77::5]:50000",
            "UPnP-service:Layer3Forwarding:1 [fd00:77::5]:50000",
            "UPnP-service:WANCommonInterfaceConfig:1 [fd00:77::5]:50000",
            "UPnP-service:WANIPConnection:2 [fd00:77::5]:50000",
            "UPnP-service:WANIPv6FirewallControl:1 [fd00:77::5]:50000",
            "UPnP-service:WANPPPConnection:1 [fd00:77::5]:50000",
        ],
        left=9,
    ),
    "node-ssdp-4.0.1-ipv4.txt": Expected(
        messages={"alive": 3, "response": 3, "byebye": 3},
        services=["UPnP-device:BinaryLight:1 10.77.0.5:50000"],
        left=0,
    ),
    "peer-ssdp-0.0.5-ipv4.txt": Expected(
        messages={"alive": 2, "response": 1, "byebye": 1},
        services=["UPnP-device:Basic:1 10.77.0.5:50000"],
        left=1,
    ),
    "rclone-1.60.1-ipv4.txt": Expected(
        messages={"alive": 6, "response": 6},
        services=[
            "UPnP-device:MediaServer:1 10.77.0.5:50000",
            "UPnP-service:ConnectionManager:1 10.77.0.5:50000",
            "UPnP-service:ContentDirectory:1 10.77.0.5:50000",
        ],
        left=3,
    ),
    "ssdpy-0.4.1-ipv4.txt": Expected(
        messages={"alive": 1},
        services=["UPnP-device:Basic:1 10.77.0.5:50000"],
        left=1,
    ),
}


def play(datagrams: list[RecordedDatagram]) -> Expected:
    """Let a daemon receive datagrams, one every 10 ms."""
    table, now = AdvertisementTable(), 1000.0
    receptions = {channel: Receptions("eth0", channel, NETWORKS) for channel in Channel}
    kinds: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    services: dict[str, str] = {}

    def note(events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Appeared | Changed):
                registration = RULES.registration(event.advertisement)
                address = registration.address
                host = f"[{address}]" if ":" in address else address
                services[registration.service_id] = f"{registration.name} {host}:{registration.port}"

    for datagram in datagrams:
        now += 0.01
        message = decode(datagram.payload)
        kinds[message.kind] += 1
        channel = Channel.GROUP if datagram.target[0] in GROUPS else Channel.SEARCH
        reception = receptions[channel][datagram.sender[0]]
        match interpret(message, reception.sender, TERMS, LOCATIONS):
            case Advertisement() as advertisement:
                note(table.observe(advertisement, reception, now))
            case Departure(device_id, urn):
                note(table.bye(device_id, urn, reception.sender, now))
            case Rejection(reason=reason):
                rejected[reason] += 1
    for _ in range(10):
        now += 1.0
        note(table.expire(now))
    del rejected["no search term"]
    return Expected(dict(kinds), sorted(services.values()), len(list(table)), dict(rejected))


class DatagramTests(SynchronousTestCase):
    """Each file leads to the registrations of a table."""

    def test_files(self) -> None:
        """The datagrams are decoded, and their services are registered and leave as expected."""
        self.assertEqual({path.name for path in FOLDER.glob("*.txt")}, EXPECTED.keys())
        for name, expected in EXPECTED.items():
            self.assertEqual(play(read_datagrams(FOLDER / name)), expected, name)

    def test_readme(self) -> None:
        """The README has one row for each file, which states how it was made."""
        rows = dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE))
        self.assertEqual(rows.keys(), EXPECTED.keys())
        for name, made in rows.items():
            first = (FOLDER / name).read_text().partition("\n")[0]
            self.assertIn("not recorded" if name.startswith("described-") else "Recorded from ", first)
            self.assertEqual(made.startswith("Written"), name.startswith("described-"))

    def test_format(self) -> None:
        """A file that is written again has the same content, for any bytes."""
        path = Path(self.mktemp())
        payload = bytes(range(256)) * 2 + b"\r\n\r\n> x\n# y"
        datagrams = [
            RecordedDatagram(("10.77.0.5", 1900), ("239.255.255.250", 1900), each) for each in (payload, b"", b"\n")
        ]
        write_datagrams(path, "Comment", datagrams)
        self.assertEqual(read_datagrams(path), datagrams)
