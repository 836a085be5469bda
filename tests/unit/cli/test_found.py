"""Tests for :mod:`ssdpreg.cli.found` and :mod:`ssdpreg.cli.proposal`."""

from __future__ import annotations

import json
from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg import config
from ssdpreg.cli.found import Found
from ssdpreg.cli.proposal import propose
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import ConfigError
from ssdpreg.ssdp.messages import Alive, ByeBye, SearchRequest, SearchResponse, Update

API = "urn:schemas-upnp-org:service:api:2.0"
ROOT = "upnp:rootdevice"
AT = "http://10.0.0.5:8080/"


def alive(nt: str = API, device_id: str = "D", location: str = AT, max_age: int | None = 1800) -> Alive:
    """Make an announcement."""
    return Alive(nt, f"uuid:{device_id}::{nt}", location, max_age, "Linux/6")


def make_found(*urns: str) -> Found:
    """Make a collection of what meets URNs, or of everything."""
    terms = SearchTerms(dict.fromkeys(urns, "")) if urns else None
    return Found(terms, LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")]))


class FoundTests(SynchronousTestCase):
    """Tests for :class:`ssdpreg.cli.found.Found`."""

    def hear(self, found: Found, *messages: Alive | ByeBye | SearchResponse, address: str = "10.0.0.5") -> list[str]:
        """Let messages come in, and tell what is there then."""
        for message in messages:
            found.hear(message, address)
        return [f"{device.device_id} {offer.nt}" for device in found.devices() for offer in device.offers]

    def test_devices(self) -> None:
        """What a device says, in whatever case it writes its ID, is one device; it comes by address, as a number."""
        found = make_found()
        self.hear(found, alive(device_id="far"), address="10.0.0.10")
        self.hear(found, alive(), alive(ROOT, "d"), SearchResponse(API, f"uuid:D::{API}", AT), address="10.0.0.9")
        self.assertEqual(
            [(device.device_id, device.addresses, len(device.offers)) for device in found.devices()],
            [("D", ("10.0.0.9",), 2), ("far", ("10.0.0.10",), 1)],
        )

    def test_two_addresses(self) -> None:
        """A device with two addresses is one, with all that it said at either."""
        found = make_found()
        self.hear(found, alive(), address="10.0.0.10")
        self.hear(found, alive(), address="10.0.0.9")
        (device,) = found.devices()
        self.assertEqual((device.addresses, len(device.offers)), (("10.0.0.9", "10.0.0.10"), 2))

    def test_latest(self) -> None:
        """Of what is repeated, the last word counts."""
        found = make_found()
        self.hear(found, alive(max_age=5), alive(max_age=None))
        self.assertEqual([offer.max_age for offer in found.devices()[0].offers], [None])

    def test_without_id(self) -> None:
        """Devices that have no ID are told apart by their addresses, and cannot be registered."""
        found = make_found()
        for address in ("10.0.0.5", "10.0.0.6"):
            self.hear(found, Alive(API, "nonsense", AT), address=address)
        self.assertEqual(
            [(device.device_id, device.offers[0].problem) for device in found.devices()],
            [("", "no usable device ID")] * 2,
        )

    def test_odd_id(self) -> None:
        """An ID that nobody could read is shown, and cannot be registered."""
        found = make_found()
        self.hear(found, alive(device_id="a\x1bb"))
        (device,) = found.devices()
        self.assertEqual((device.device_id, device.offers[0].problem), ("a\x1bb", "no usable device ID"))

    def test_problem(self) -> None:
        """It is told why the daemon would not register something."""
        found = make_found()
        self.hear(found, alive(location="http://127.0.0.1/"), alive(ROOT))
        self.assertEqual(
            {offer.nt: offer.problem for offer in found.devices()[0].offers}, {API: "LOCATION is on loopback", ROOT: ""}
        )

    def test_terms(self) -> None:
        """Only what was searched for is collected, later versions and patterns included."""
        device = "urn:schemas-upnp-org:device:x"
        said = (alive(f"{device}:2"), alive(ROOT), alive())
        self.assertEqual(self.hear(make_found(f"{device}:1"), *said), [f"D {device}:2"])
        self.assertEqual(self.hear(make_found("urn:*"), *said), [f"D {device}:2", f"D {API}"])
        self.assertEqual(self.hear(make_found(ROOT), *said), [f"D {ROOT}"])

    def test_bye(self) -> None:
        """What a device takes back is not there; a root device takes all of it back; others take back nothing."""
        said = (alive(), alive(ROOT), alive(device_id="E"))
        everything = [f"D {ROOT}", f"D {API}", f"E {API}"]
        self.assertEqual(self.hear(make_found(), *said, ByeBye(API, f"uuid:d::{API}")), [f"D {ROOT}", f"E {API}"])
        self.assertEqual(self.hear(make_found(), *said, alive(max_age=0)), [f"D {ROOT}", f"E {API}"])
        self.assertEqual(self.hear(make_found(), *said, ByeBye(ROOT, f"uuid:D::{ROOT}")), [f"E {API}"])
        self.assertEqual(self.hear(make_found(), *said, ByeBye("uuid:D", "uuid:D")), [f"E {API}"])
        found = make_found()
        self.hear(found, *said)
        self.assertEqual(self.hear(found, ByeBye(ROOT, f"uuid:D::{ROOT}"), address="10.0.0.66"), everything)

    def test_others(self) -> None:
        """Searches and updates say nothing of what is there."""
        found = make_found()
        found.hear(SearchRequest(API), "10.0.0.5")
        found.hear(Update(API, f"uuid:D::{API}"), "10.0.0.5")
        self.assertEqual(found.devices(), [])


class ProposeTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.proposal.propose`."""

    def propose(self, *types: str, interfaces: tuple[str, ...] = ()) -> object:
        """Propose a configuration for a device that announces types, and check that the daemon would take it."""
        found = make_found()
        for nt in types:
            found.hear(alive(nt), "10.0.0.5")
        text = propose(found.devices(), interfaces)
        config.parse(text)
        return json.loads(text)["ssdp"]

    def test_tags(self) -> None:
        """URNs are grouped by who defined them; what is no URN, or none that can be configured, is left out."""
        skunk = "urn:skunkworxs:inservice:agent:0"
        odd = (ROOT, "uuid:D", "urn:evil:*", "urn:with blank:x", "urn::x", "urn:", "urn:x\u202ey:z")
        self.assertEqual(
            self.propose(skunk, API, "urn:dial-multiscreen-org:service:dial:1", *odd),
            {
                "tags": {
                    "dial-multiscreen": ["urn:dial-multiscreen-org:service:dial:1"],
                    "skunkworxs": [skunk],
                    "upnp": [API],
                }
            },
        )

    def test_versions(self) -> None:
        """A URN that an earlier version stands for is left out; Redfish is written as it is searched for."""
        service = "urn:schemas-upnp-org:service:x"
        redfish = "urn:dmtf-org:service:redfish-rest:1"
        self.assertEqual(
            self.propose(f"{service}:10", f"{service}:2", f"{service}:1.5", f"{redfish}:6"),
            {"tags": {"dmtf": [redfish], "upnp": [f"{service}:1.5", f"{service}:2"]}},
        )

    def test_interfaces(self) -> None:
        """The interfaces that were searched on are those to listen on."""
        self.assertEqual(self.propose(API, interfaces=("eth1",)), {"tags": {"upnp": [API]}, "interfaces": ["eth1"]})

    def test_unusable(self) -> None:
        """What could not be registered is not configured; if that is all, there is no configuration."""
        found = make_found()
        found.hear(alive(location="http://127.0.0.1/"), "10.0.0.5")
        self.assertRaises(ConfigError, propose, found.devices(), ())
