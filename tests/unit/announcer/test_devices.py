"""Tests for :mod:`ssdpreg.announcer.devices`."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.announcer.devices import Device, load, parse
from ssdpreg.errors import ConfigError, Fault
from tests.support.paths import ROOT

API = "urn:schemas-upnp-org:service:api:2.0"
SWITCH = "urn:schemas-upnp-org:service:Switch:3"
REDFISH = "urn:dmtf-org:service:redfish-rest:1:2"


def parse_source(name: str = "rack", **source: object) -> Device:
    """Parse a file with one source."""
    [device] = parse(json.dumps({"ssdp": {name: source}}))
    return device


class ParseTests(SynchronousTestCase):
    """Tests for :func:`parse` and :func:`load`."""

    def faults(self, text: str) -> tuple[Fault, ...]:
        """Return the faults of a file."""
        return self.assertRaises(ConfigError, parse, text).faults  # type: ignore[no-any-return]

    def test_original_form(self) -> None:
        """A source becomes a device with a UUID, which also announces its UDN and ``upnp:rootdevice``."""
        device = parse_source(broadcastIP=["10.0.0.1:8080"], urnList=[API])
        self.assertRegex(device.udn, r"^uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(device.types, ("upnp:rootdevice", device.udn, API))
        self.assertEqual(device.locations, ("http://10.0.0.1:8080/",))
        self.assertFalse(device.search_only)

    def test_stable_uuid(self) -> None:
        """The UUID is different for each device, and the same in every run."""
        one, again, other = (
            parse_source(name, broadcastIP=["10.0.0.1:80"], urnList=[API]).udn for name in ("one", "one", "other")
        )
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)
        self.assertEqual(one, "uuid:aa67c98c-d81f-5a9c-b0bc-26caa0051aea")

    def test_no_uuid(self) -> None:
        """The source ``NOUUID`` has no UUID and announces only its URNs, unless the file gives it a UUID."""
        device = parse_source("NOUUID", broadcastIP=["10.0.0.1:80"], urnList=[API])
        self.assertEqual((device.udn, device.types, device.usn(API)), ("", (API,), API))
        self.assertEqual(parse_source("NOUUID", broadcastIP=["10.0.0.1:80"], urnList=[API], uuid="x").udn, "uuid:x")

    def test_several_addresses(self) -> None:
        """A device with several addresses has a LOCATION at each."""
        device = parse_source(broadcastIP=["10.0.0.1:80", "10.1.0.1:81"], urnList=[API])
        self.assertEqual(device.locations, ("http://10.0.0.1:80/", "http://10.1.0.1:81/"))

    def test_further_keys(self) -> None:
        """A source may set LOCATION and UUID to any text, and restrict its device to replies."""
        device = parse_source(location="https://[::1]/x", urnList=[API], uuid="No UUID", searchOnly=True)
        self.assertEqual(
            (device.locations, device.udn, device.search_only), (("https://[::1]/x",), "uuid:No UUID", True)
        )

    def test_invalid_values(self) -> None:
        """Invalid addresses and URNs are announced unchanged, to test receivers."""
        device = parse_source(broadcastIP=["192.168.1165535", "10.0.0.1:65536"], urnList=["urn:MalformedData"])
        self.assertEqual(device.locations, ("http://192.168.1165535/", "http://10.0.0.1:65536/"))
        self.assertEqual(device.types[-1], "urn:MalformedData")

    def test_faults(self) -> None:
        """All faults of a file are reported, with their paths."""
        sources = {
            "a": {"broadcastIP": "x", "urnList": [], "foo": 1},
            "b": {"broadcastIP": None, "urnList": [API]},
            "c": {"broadcastIP": ["10.0.0.1:80", 3], "location": "x", "urnList": [API]},
            "d": {"location": "x", "urnList": [API], "searchOnly": "no"},
        }
        self.assertEqual(
            [fault.path for fault in self.faults(json.dumps({"ssdp": sources, "more": 1}))],
            [
                "ssdp.a.broadcastIP",
                "ssdp.a.urnList",
                "ssdp.a.foo",
                "ssdp.b.broadcastIP",
                "ssdp.c.broadcastIP[1]",
                "ssdp.c.location",
                "ssdp.d.searchOnly",
                "more",
            ],
        )

    def test_no_sources(self) -> None:
        """A file without sources is a fault, and so is a file that is not JSON."""
        self.assertEqual(self.faults('{"ssdp": {}}'), (Fault("ssdp", "is empty"),))
        [fault] = self.faults('{\n"ssdp": }')
        self.assertIn("line 2, column 9", fault.problem)

    def test_load(self) -> None:
        """A file is read as UTF-8. The error contains the reason if that fails."""
        path = self.mktemp()
        self.assertIn("No such file", str(self.assertRaises(ConfigError, load, path)))
        Path(path).write_bytes(b"\xff")
        self.assertIn("is not UTF-8: byte 1 is invalid", str(self.assertRaises(ConfigError, load, path)))
        Path(path).write_text('{"ssdp": {"Größe": {"broadcastIP": ["x"], "urnList": ["y"]}}}', "utf-8")
        self.assertEqual([device.name for device in load(path)], ["Größe"])

    def test_demo(self) -> None:
        """The demo's devices announce every URN of ``registry.json``."""
        tags = json.loads((ROOT / "registry.json").read_text())["ssdp"]["tags"]
        announced = {nt for device in load(str(ROOT / "demo" / "spoof.json")) for nt in device.types}
        self.assertLessEqual({urn for urns in tags.values() for urn in urns}, announced)


class DeviceTests(SynchronousTestCase):
    """Tests for :class:`Device`."""

    def setUp(self) -> None:
        self.device = parse_source(broadcastIP=["10.0.0.1:80"], urnList=[API, SWITCH, REDFISH], uuid="d")

    def assert_answers(self, st: str, *replies: str) -> None:
        """Assert the STs of the replies to a search."""
        self.assertEqual(tuple(self.device.answers(st)), replies)

    def test_usn(self) -> None:
        """A USN consists of the UDN and the type. The USN of the UDN itself is the UDN."""
        usns = [self.device.usn(nt) for nt in self.device.types[:3]]
        self.assertEqual(usns, ["uuid:d::upnp:rootdevice", "uuid:d", f"uuid:d::{API}"])

    def test_all(self) -> None:
        """The replies to a search for ``ssdp:all`` contain all types."""
        self.assert_answers("ssdp:all", "upnp:rootdevice", "uuid:d", API, SWITCH, REDFISH)

    def test_exact(self) -> None:
        """The reply to a search for an announced type contains that type."""
        for st in self.device.types:
            self.assert_answers(st, st)

    def test_other(self) -> None:
        """There is no reply to a search for another type. An asterisk is not a pattern."""
        for st in ("urn:schemas-upnp-org:service:api:1.1", "uuid:e", "urn:*", "ssdp:al", f"{API}x"):
            self.assert_answers(st)

    def test_version(self) -> None:
        """A device replies to a search for an earlier version of its type, and not for a later one."""
        self.assert_answers("urn:schemas-upnp-org:service:Switch:1", "urn:schemas-upnp-org:service:Switch:1")
        self.assert_answers("urn:schemas-upnp-org:service:Switch:4")

    def test_redfish(self) -> None:
        """The reply to a search for a major version of Redfish contains the minor version."""
        self.assert_answers("urn:dmtf-org:service:redfish-rest:1", REDFISH)
