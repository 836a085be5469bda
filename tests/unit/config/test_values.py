"""Tests for :mod:`ssdpreg.config.values` and :mod:`ssdpreg.config.consul_address`."""

from __future__ import annotations

import json
import os
from typing import Any

from ssdpreg.config import EmbeddedConfig, parse
from ssdpreg.config.faults import quote
from ssdpreg.config.values import PortRange
from tests.unit.config.support import API, DATA, TAGS, ConfigTestCase


class NumberTests(ConfigTestCase):
    """Tests for :func:`whole` and :func:`seconds`."""

    def test_whole_numbers(self) -> None:
        """A whole number may be written with a decimal point."""
        config = parse(json.dumps({"ssdp": {**TAGS, "search": {"mx": 4.0}}}))
        self.assertEqual(repr(config.ssdp.search.mx), "4")

    def test_wrong_types(self) -> None:
        """A boolean is not a number, and a number is not a string or a boolean."""
        self.assertEqual(
            self.ssdp_faults(search={"mx": True, "interval": False, "ttl": "2"}, describe=0, interfaces=[1]),
            [
                "ssdp.search.mx: true is not a whole number from 1 to 5",
                "ssdp.search.interval: false is not a duration: "
                'use a number of seconds, or a string such as "15s" or "1h30m"',
                'ssdp.search.ttl: "2" is not a whole number from 1 to 255',
                "ssdp.describe: 0 is not true or false",
                "ssdp.interfaces[0]: 1 is not a string",
            ],
        )

    def test_limits(self) -> None:
        """The minimum and the maximum are valid, and numbers beyond them are not."""
        ranges: list[tuple[str, str, list[Any], list[Any]]] = [
            ("search", "interval", [0, 1, "1s", 31536000], [-1, 0.999, "999ms", 31536001, "9" * 400 + "h"]),
            ("search", "mx", [1, 5], [0, 6, 1.5]),
            ("search", "ttl", [1, 255], [0, 256]),
            ("limits", "services", [1, 10**9], [0, -5]),
            ("limits", "services_per_source", [1], [0]),
        ]
        for section, key, valid, invalid in ranges:
            for value in valid:
                parse(json.dumps({"ssdp": {**TAGS, section: {key: value}}}))
            for value in invalid:
                [fault] = self.ssdp_faults(**{section: {key: value}})
                self.assertTrue(fault.startswith(f"ssdp.{section}.{key}: "), fault)

    def test_durations(self) -> None:
        """A duration is a number of seconds, or a string in the syntax of Go."""
        durations = {"15s": 15, "5m": 300, "1h": 3600, "1h30m": 5400, "1500ms": 1.5, "1.5s": 1.5, 2: 2, 2.5: 2.5}
        for text, duration in durations.items():
            config = parse(json.dumps({"ssdp": {**TAGS, "search": {"interval": text}}}))
            self.assertEqual(config.ssdp.search.interval, duration)

    def test_invalid_durations(self) -> None:
        """Signs, spaces, missing or unknown units, and digits outside ASCII are faults."""
        for text in ("", "5", "s", "5 s", "-5s", "5S", "5d", ".5s", "1e3s", "\u0665s"):
            [fault] = self.ssdp_faults(search={"interval": text})
            self.assertTrue(fault.startswith("ssdp.search.interval: "), fault)
            self.assertIn(" is not a duration", fault)

    def test_minimum_durations(self) -> None:
        """A duration below the minimum is a fault with the reason of the minimum."""
        check = {"tcp": True, "interval": 0.5, "timeout": 0, "deregister_after": 59}
        path = f'ssdp.checks["{API}"]'
        self.assertEqual(
            self.ssdp_faults(checks={API: check}),
            [
                f"{path}.interval: 0.5 is less than the minimum of 1 s: shorter intervals load the devices",
                f"{path}.timeout: 0 is less than the minimum of 0.1 s: a device under load responds more slowly",
                f"{path}.deregister_after: 59 is less than the minimum of 60 s: Consul raises shorter times to 60 s",
            ],
        )


class TextTests(ConfigTestCase):
    """Tests for texts, URNs and paths of URLs."""

    def test_tags(self) -> None:
        """A tag may contain spaces, but not at its ends."""
        for tag in ("", " ", " A", "A ", "A\tB"):
            [fault] = self.ssdp_faults(tags={tag: [API]})
            self.assertTrue(fault.startswith(f"ssdp.tags[{json.dumps(tag)}]: "), fault)
        parse(json.dumps({"ssdp": {"tags": {"Rack HD": [API]}}}))

    def test_urns(self) -> None:
        """A URN is printable text without spaces. It may end in an asterisk."""
        for urn in ("", " ", "a b", "a\tb", " a", "a\n", "a\u00a0b", "a\x7f", "\ud800", "*a", "a**", 5, None):
            [fault] = self.ssdp_faults(tags={"A": [urn]})
            self.assertTrue(fault.startswith("ssdp.tags.A[0]: "), fault)
        for urn in ("*", "a*", "a"):
            parse(json.dumps({"ssdp": {"tags": {"A": [urn]}}}))

    def test_http_paths(self) -> None:
        """The path of a URL begins with a slash, and contains only characters that URLs may contain."""
        for path in ("", "nodes", "http://x/", "/a b", "/ä"):
            [fault] = self.ssdp_faults(checks={API: {"http": path}})
            self.assertTrue(fault.startswith(f'ssdp.checks["{API}"].http: '), fault)


class NetworkTests(ConfigTestCase):
    """Tests for networks and interfaces."""

    def test_host_bits(self) -> None:
        """A fault for an address within a network suggests the network."""
        fault = '"10.1.2.3/8" is not a network, because it has host bits set: use "10.0.0.0/8"'
        self.assertEqual(
            self.ssdp_faults(interfaces=["10.1.2.3/8"], allow=["10.1.2.3/8"]),
            [f"ssdp.interfaces[0]: {fault}", f"ssdp.allow[0]: {fault}"],
        )

    def test_empty(self) -> None:
        """The list of allowed networks must not be empty."""
        self.assertEqual(self.ssdp_faults(allow=[]), ["ssdp.allow: is empty"])


class PortRangeTests(ConfigTestCase):
    """Tests for ranges of ports."""

    def test_valid(self) -> None:
        """A range has two ports and everything between them."""
        for text, ports in (("40000-40099", (40000, 40099)), ("1-8", (1, 8)), ("65528-65535", (65528, 65535))):
            search = parse(json.dumps({"ssdp": {**TAGS, "search": {"ports": text}}})).ssdp.search
            self.assertEqual(search.ports, PortRange(*ports))
        self.assertIsNone(parse(json.dumps({"ssdp": {**TAGS, "search": {"ports": None}}})).ssdp.search.ports)

    def test_invalid(self) -> None:
        """A range is in order, has at least 8 ports, and does not contain the port of SSDP."""
        for value, problem in (
            ("40000", ' is not a range of ports: use for example "40000-40099"'),
            ("40000:40099", ' is not a range of ports: use for example "40000-40099"'),
            ("40000 - 40099", ' is not a range of ports: use for example "40000-40099"'),
            ("٤0000-40099", ' is not a range of ports: use for example "40000-40099"'),
            ("0-99", " is not a range of ports from 1 to 65535, the lowest port first"),
            ("65529-65536", " is not a range of ports from 1 to 65535, the lowest port first"),
            ("40099-40000", " is not a range of ports from 1 to 65535, the lowest port first"),
            ("40000-40006", " has less than 8 ports: several searches run at the same time"),
            ("1800-1900", " contains port 1900, on which devices announce themselves"),
            ("1900-1999", " contains port 1900, on which devices announce themselves"),
            ([40000, 40099], None),
            (40000, None),
        ):
            [fault] = self.ssdp_faults(search={"ports": value})
            expected = f"{json.dumps(value)}{problem}" if problem else " is not a string"
            self.assertTrue(fault.startswith("ssdp.search.ports: ") and fault.endswith(expected), fault)


class ScopeTests(ConfigTestCase):
    """Tests for scopes."""

    def test_limits(self) -> None:
        """A scope is printable text of at most 128 characters."""
        self.assertEqual(self.consul({"scope": "ü" * 128}).scope, "ü" * 128)
        self.assertIsNone(self.consul({"scope": None}).scope)
        for value in ("", " ", " a", "a\n", "a\0", "a\u202eb", 5):
            self.assertTrue(self.backend_fault({"scope": value}).startswith("backend.scope: "), value)
        self.assertTrue(self.backend_fault({"scope": "a" * 129}).endswith(" has more than 128 characters"))


class NodePrefixTests(ConfigTestCase):
    """Tests for the beginning of node names."""

    def test_values(self) -> None:
        """A prefix is empty, or begins with a letter or digit and has characters that need no hash."""
        for prefix in ("", "ssdp-", "7.x_", "a" * 32):
            self.assertEqual(self.consul({"mode": "catalog", "node_prefix": prefix}).node_prefix, prefix)
        for invalid in ("SSDP-", "-a", ".", "a b", "a/", "a" * 33, 7):
            self.assertIn(
                "is not", self.backend_fault({"mode": "catalog", "node_prefix": invalid}).removeprefix("backend.")
            )


class HostNameTests(ConfigTestCase):
    """Tests for the names of the web server."""

    def test_valid(self) -> None:
        """Names are in lower case, without the dot of the root."""
        longest = "a." * 126 + "a"
        names = ["SSDPreg.Example", "rack_7", "a.b.example.", "7.example", "a" * 63, longest]
        config = parse(json.dumps({"ssdp": TAGS, "web": {"hosts": names}}))
        self.assertEqual(config.web.hosts, ("ssdpreg.example", "rack_7", "a.b.example", "7.example", "a" * 63, longest))

    def test_invalid(self) -> None:
        """Addresses, ports, URLs and patterns are faults."""
        for name, problem in (
            ("10.0.0.1", "is an IP address: the server always accepts those"),
            ("[::1]", "is an IP address: the server always accepts those"),
            ("a.example:8580", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("http://a.example", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("*.example", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("a..b", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("-a", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("a." * 126 + "aa", 'is not a host name: use for example "ssdpreg.example", without a port'),
            ("a" * 64, 'is not a host name: use for example "ssdpreg.example", without a port'),
        ):
            self.assert_faults(
                {"ssdp": TAGS, "web": {"hosts": [name]}},
                f"web.hosts[0]: {quote(name)} {problem}",
            )


class FileTests(ConfigTestCase):
    """Tests for paths of files."""

    def test_readable_files(self) -> None:
        """A file to be read must exist and be readable."""
        self.assertEqual(self.backend_fault({"ca_file": "nowhere.pem"}), "backend.ca_file: file does not exist")
        self.assertEqual(self.backend_fault({"ca_file": str(DATA)}), "backend.ca_file: is not a readable file")

    def test_absolute_paths(self) -> None:
        """A path becomes absolute, because the daemon may change its working directory."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(DATA)
        self.assertEqual(self.consul({"ca_file": "full.json"}).ca_file, str(DATA / "full.json"))

    def test_writable_files(self) -> None:
        """A database file need not exist, but its directory must."""
        for path in ("ssdpreg.sqlite", str(DATA / "full.json")):
            config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded", "path": path}}))
            self.assertEqual(config.backend, EmbeddedConfig(path=os.path.abspath(path)))
        for path, problem in {
            "": "is empty",
            str(DATA): f'"{DATA}" is not a file',
            "/nowhere/x.sqlite": 'directory "/nowhere" does not exist',
        }.items():
            self.assertEqual(self.backend_fault({"type": "embedded", "path": path}), f"backend.path: {problem}")


class ConsulAddressTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.consul_address.parse_address`."""

    def test_valid(self) -> None:
        """An address is a host with an optional scheme and port, or a UNIX socket."""
        addresses = {
            "consul": ("http", "consul:8500"),
            "192.0.2.1:80": ("http", "192.0.2.1:80"),
            "[2001:db8::1]": ("http", "[2001:db8::1]:8500"),
            "http://consul_1:1/": ("http", "consul_1:1"),
            "HTTPS://consul.example:65535": ("https", "consul.example:65535"),
            "unix:///run/consul.sock": ("http", "unix:///run/consul.sock"),
        }
        for text, expected in addresses.items():
            consul = self.consul({"address": text})
            self.assertEqual((consul.scheme, consul.address), expected)

    def test_invalid(self) -> None:
        """A fault for an invalid address does not repeat it, because it may contain a password."""
        for address in ("", ":8500", "ftp://consul", "consul:port", "consul:123456", "a b", "http://u:secret@consul"):
            fault = self.backend_fault({"address": address})
            self.assertTrue(fault.startswith("backend.address: "), fault)
            self.assertNotIn("secret", fault)
        for port in (0, 65536):
            fault = self.backend_fault({"address": f"consul:{port}"})
            self.assertEqual(fault, f"backend.address: {port} is not a valid port: use 1 to 65535")
        self.assertIn("without brackets: use [::1]:8500", self.backend_fault({"address": "::1"}))
        self.assertIn("is not a valid address", self.backend_fault({"address": "[1::2::3]"}))
        self.assertIn("is not a valid address", self.backend_fault({"address": "unix://run/consul.sock"}))


class ServerEndpointTests(ConfigTestCase):
    """Tests for Twisted server endpoints."""

    def test_invalid(self) -> None:
        """A description that Twisted cannot parse is a fault."""
        for endpoint in ("8580", "tcp", "tcp:web", "tcp:8580:port=1", "gopher:70"):
            self.assert_faults(
                {"ssdp": TAGS, "web": {"endpoint": endpoint}},
                f'web.endpoint: "{endpoint}" is not a Twisted server endpoint: '
                'use for example "tcp:8580:interface=127.0.0.1", or null for no server',
            )

    def test_valid(self) -> None:
        """A description is valid even if its sockets or files do not exist on this host."""
        for endpoint in (
            "tcp6:8580",
            "unix:/run/ssdpreg.sock",
            "systemd:domain=INET:index=0",
            "ssl:8580:privateKey=no",
        ):
            parse(json.dumps({"ssdp": TAGS, "web": {"endpoint": endpoint}}))
