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
    """Read a file that has one source."""
    [device] = parse(json.dumps({"ssdp": {name: source}}))
    return device


class ParseTests(SynchronousTestCase):
    """Tests for :func:`parse` and :func:`load`."""

    def faults(self, text: str) -> tuple[Fault, ...]:
        """Tell what is wrong with a file."""
        return self.assertRaises(ConfigError, parse, text).faults  # type: ignore[no-any-return]

    def test_seed(self) -> None:
        """What the seed's form says is announced by a device with a UUID, which has that and a root to announce too."""
        device = parse_source(broadcastIP=["10.0.0.1:8080"], urnList=[API])
        self.assertRegex(device.udn, r"^uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(device.types, ("upnp:rootdevice", device.udn, API))
        self.assertEqual(device.locations, ("http://10.0.0.1:8080/",))
        self.assertFalse(device.search_only)

    def test_uuid_stays(self) -> None:
        """A device's UUID is its own, and the same in every run."""
        one, again, other = (
            parse_source(name, broadcastIP=["10.0.0.1:80"], urnList=[API]).udn for name in ("one", "one", "other")
        )
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)
        self.assertEqual(one, "uuid:aa67c98c-d81f-5a9c-b0bc-26caa0051aea")

    def test_no_uuid(self) -> None:
        """The source called NOUUID has none, and announces its URNs alone, unless it is given one."""
        device = parse_source("NOUUID", broadcastIP=["10.0.0.1:80"], urnList=[API])
        self.assertEqual((device.udn, device.types, device.usn(API)), ("", (API,), API))
        self.assertEqual(parse_source("NOUUID", broadcastIP=["10.0.0.1:80"], urnList=[API], uuid="x").udn, "uuid:x")

    def test_several_addresses(self) -> None:
        """A device with several addresses has a LOCATION at each."""
        device = parse_source(broadcastIP=["10.0.0.1:80", "10.1.0.1:81"], urnList=[API])
        self.assertEqual(device.locations, ("http://10.0.0.1:80/", "http://10.1.0.1:81/"))

    def test_further_keys(self) -> None:
        """A LOCATION and a UUID may be given as they stand, and a device may be silent."""
        device = parse_source(location="https://[::1]/x", urnList=[API], uuid="No UUID", searchOnly=True)
        self.assertEqual(
            (device.locations, device.udn, device.search_only), (("https://[::1]/x",), "uuid:No UUID", True)
        )

    def test_mistakes(self) -> None:
        """What no device should say is not corrected: listeners are tried with it."""
        device = parse_source(broadcastIP=["192.168.1165535", "10.0.0.1:65536"], urnList=["urn:MalformedData"])
        self.assertEqual(device.locations, ("http://192.168.1165535/", "http://10.0.0.1:65536/"))
        self.assertEqual(device.types[-1], "urn:MalformedData")

    def test_faults(self) -> None:
        """All that is wrong with a file is told at once, each with its place."""
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

    def test_nothing(self) -> None:
        """A file that announces nothing is wrong; so is what is no JSON."""
        self.assertEqual(self.faults('{"ssdp": {}}'), (Fault("ssdp", "is empty"),))
        [fault] = self.faults('{\n"ssdp": }')
        self.assertIn("line 2, column 9", fault.problem)

    def test_load(self) -> None:
        """A file is read as UTF-8; where that cannot be done the error says why."""
        path = self.mktemp()
        self.assertIn("No such file", str(self.assertRaises(ConfigError, load, path)))
        Path(path).write_bytes(b"\xff")
        self.assertIn("is no UTF-8 text, from its byte 1 on", str(self.assertRaises(ConfigError, load, path)))
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
        """Check the STs of the replies to a search."""
        self.assertEqual(tuple(self.device.answers(st)), replies)

    def test_usn(self) -> None:
        """A USN names the device and the type, but for the device's own, which is the UDN."""
        usns = [self.device.usn(nt) for nt in self.device.types[:3]]
        self.assertEqual(usns, ["uuid:d::upnp:rootdevice", "uuid:d", f"uuid:d::{API}"])

    def test_all(self) -> None:
        """A search of all finds all."""
        self.assert_answers("ssdp:all", "upnp:rootdevice", "uuid:d", API, SWITCH, REDFISH)

    def test_exact(self) -> None:
        """A search of a type, a device or root devices finds that."""
        for st in self.device.types:
            self.assert_answers(st, st)

    def test_other(self) -> None:
        """A search of something else finds nothing; nor is anything else a pattern."""
        for st in ("urn:schemas-upnp-org:service:api:1.1", "uuid:e", "urn:*", "ssdp:al", f"{API}x"):
            self.assert_answers(st)

    def test_version(self) -> None:
        """A later version answers to an earlier one, and not the other way round."""
        self.assert_answers("urn:schemas-upnp-org:service:Switch:1", "urn:schemas-upnp-org:service:Switch:1")
        self.assert_answers("urn:schemas-upnp-org:service:Switch:4")

    def test_redfish(self) -> None:
        """A Redfish service tells its minor version to who searches for the major one."""
        self.assert_answers("urn:dmtf-org:service:redfish-rest:1", REDFISH)
