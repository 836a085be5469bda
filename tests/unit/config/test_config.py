"""Tests for :mod:`ssdpreg.config`, and for what ``docs/configuration.md`` says of it."""

from __future__ import annotations

# Trial takes a "suppress" of the module for its own.
import contextlib
import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from ipaddress import ip_network
from operator import getitem, setitem
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import (
    CheckConfig,
    Config,
    ConsulConfig,
    EmbeddedConfig,
    LimitsConfig,
    PluginBackendConfig,
    SearchConfig,
    SSDPConfig,
    WebConfig,
    find,
    load,
    normalised,
    parse,
    schema,
)
from ssdpreg.config.environment import VARIABLES
from ssdpreg.errors import ConfigError
from tests.support import paths

DATA = paths.DATA / "config"
DOCUMENTATION = (paths.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

API = "urn:schemas-upnp-org:service:api:2.0"
#: The least that a file has to say.
TAGS: Mapping[str, Any] = {"tags": {"RackHD": [API]}}

#: Texts of those characters that mean something, and any others.
texts = st.text(st.sampled_from('10.5smh:/*[]-"\\ a') | st.characters(), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def parts(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths to everything in a piece of JSON, but itself."""
    for step in raw if isinstance(raw, dict) else range(len(raw)) if isinstance(raw, list) else ():
        yield (*path, step)
        yield from parts(raw[step], (*path, step))


FULL: Any = json.loads((DATA / "full.json").read_text(encoding="utf-8"))
PARTS = list(parts(FULL))


class ConfigTestCase(SynchronousTestCase):
    """What these tests have in common."""

    def assert_faults(self, raw: object, *faults: str, environ: Mapping[str, str] | None = None) -> None:
        """Check that a file, as text or as JSON to be written, has exactly these faults."""
        text = raw if isinstance(raw, str) else json.dumps(raw)
        error = self.assertRaises(ConfigError, parse, text, environ)
        self.assertEqual([str(fault) for fault in error.faults], list(faults))

    def consul(self, backend: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> ConsulConfig:
        """Read a section on Consul."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": backend}), environ)
        assert isinstance(config.backend, ConsulConfig)
        return config.backend

    def backend_fault(self, backend: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> str:
        """Read a section on a backend that has one fault."""
        text = json.dumps({"ssdp": TAGS, "backend": backend})
        error = self.assertRaises(ConfigError, parse, text, environ)
        [fault] = error.faults
        return str(fault)

    def ssdp_faults(self, **ssdp: Any) -> list[str]:
        """Read a section on SSDP that has faults."""
        error = self.assertRaises(ConfigError, parse, json.dumps({"ssdp": {**TAGS, **ssdp}}))
        return [str(fault) for fault in error.faults]


class ParseTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.parse` of what is right."""

    def test_original_file(self) -> None:
        """The original's file is valid as it is, and Consul's agent is where the original had it."""
        config = parse('{"ssdp": {"tags": {"Service-Tag": ["ServiceUrn", "ServiceUrn2"], "ServiceTag2": ["Urn3"]}}}')
        self.assertEqual(
            config, Config(SSDPConfig({"Service-Tag": ("ServiceUrn", "ServiceUrn2"), "ServiceTag2": ("Urn3",)}))
        )
        self.assertEqual(config.backend, ConsulConfig(address="127.0.0.1:8500", mode="agent"))

    def test_everything(self) -> None:
        """Every key finds its place."""
        self.assertEqual(
            load(str(DATA / "full.json"), {}),
            Config(
                SSDPConfig(
                    tags={
                        "RackHD": (API, "urn:dmtf-org:service:redfish-rest:*"),
                        "Lab": ("urn:schemas-upnp-org:device:basic:1",),
                    },
                    checks={
                        API: CheckConfig(
                            http="/api/2.0/nodes",
                            interval=15,
                            timeout=0.5,
                            tls_skip_verify=True,
                            deregister_after=5400,
                        ),
                        "urn:schemas-upnp-org:device:basic:1": CheckConfig(tcp=True, interval=30),
                    },
                    interfaces=("eth0", "10.0.0.0/8"),
                    search=SearchConfig(interval=0, mx=5, ttl=4),
                    names="dns",
                    allow=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
                    limits=LimitsConfig(services=500, services_per_source=50),
                ),
                ConsulConfig(
                    address="[::1]:8501",
                    scheme="https",
                    datacenter="rack-7",
                    token="s3cret",
                    service_tags=("ssdp",),
                    on_stop="deregister",
                ),
                WebConfig(None),
            ),
        )

    def test_own_file(self) -> None:
        """The file at the top asks for what the original asked for, and has the API checked."""
        config = load(str(paths.ROOT / "registry.json"), {})
        self.assertEqual(
            config.search_terms(),
            {
                "urn:schemas-upnp-org:service:agent:0.1": "Inservice",
                "urn:schemas-upnp-org:service:lldp:0.1": "Inservice",
                "urn:schemas-upnp-org:service:catalog-compute:0.1": "Inservice",
                "urn:skunkworxs:inservice:agent:0": "Inservice-agent",
                "urn:dmtf-org:service:redfish-rest:1.0": "RackHD",
                "urn:schemas-upnp-org:service:api:1.1": "RackHD",
                "urn:schemas-upnp-org:service:api:2.0": "RackHD",
                "urn:schemas-upnp-org:device:on-http:1": "RackHD",
            },
        )
        check = CheckConfig(http="/api/2.0/nodes", interval=15, deregister_after=300)
        self.assertEqual(config.ssdp.checks, {API: check})

    def test_frozen(self) -> None:
        """What was read cannot be changed, mappings included."""
        config = parse(json.dumps({"ssdp": TAGS}))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, config.ssdp, "names", "dns")
        self.assertRaises(TypeError, setitem, config.ssdp.tags, "A", ())

    def test_durations(self) -> None:
        """A duration is a number of seconds, or a string as Go writes it."""
        durations = {"15s": 15, "5m": 300, "1h": 3600, "1h30m": 5400, "1500ms": 1.5, "1.5s": 1.5, 2: 2, 2.5: 2.5}
        for text, duration in durations.items():
            config = parse(json.dumps({"ssdp": {**TAGS, "search": {"interval": text}}}))
            self.assertEqual(config.ssdp.search.interval, duration)

    def test_whole_numbers(self) -> None:
        """JSON has one kind of number: 4.0 is whole."""
        config = parse(json.dumps({"ssdp": {**TAGS, "search": {"mx": 4.0}}}))
        self.assertEqual(repr(config.ssdp.search.mx), "4")

    def test_embedded(self) -> None:
        """A backend may be the daemon itself."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded", "path": None}}))
        self.assertEqual(config.backend, EmbeddedConfig(path=None))

    def test_file_of_embedded(self) -> None:
        """The file to write to need not be there yet, but its folder, and what has its name is a file."""
        for path in ("ssdpreg.sqlite", str(DATA / "full.json")):
            config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded", "path": path}}))
            self.assertEqual(config.backend, EmbeddedConfig(path=os.path.abspath(path)))
        for path, problem in {
            "": "is empty",
            str(DATA): f'"{DATA}" is no file',
            "/nowhere/x.sqlite": 'there is no folder "/nowhere"',
        }.items():
            self.assertEqual(self.backend_fault({"type": "embedded", "path": path}), f"backend.path: {problem}")

    def test_plugin(self) -> None:
        """A backend of another type gets all other keys, whatever they are."""
        options = {"options": 1, "mode": "catalog", "path": {"deep": [None, 1.5]}}
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "other", **options}}))
        self.assertEqual(config.backend, PluginBackendConfig("other", options))

    def test_addresses(self) -> None:
        """Consul is reached at a host and port, by HTTP or HTTPS, or at a socket."""
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

    def test_files_stay_where_they_are(self) -> None:
        """A file is found again after the daemon has gone to another directory."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(DATA)
        self.assertEqual(self.consul({"ca_file": "full.json"}).ca_file, str(DATA / "full.json"))


class FaultTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.parse` of what is wrong."""

    def test_all_at_once(self) -> None:
        """Every fault of a file is told, with its place, in the order of the file."""
        error = self.assertRaises(ConfigError, load, str(DATA / "faulty.json"), {})
        self.assertEqual(f"{error}\n", (DATA / "faulty.txt").read_text(encoding="utf-8"))

    def test_not_json(self) -> None:
        """Where a file is no JSON, the message says the line and column."""
        self.assert_faults('{\n  "ssdp": {]\n}', "line 2, column 12: Expecting property name enclosed in double quotes")
        self.assert_faults("", "line 1, column 1: Expecting value")
        self.assert_faults('{"ssdp', "line 1, column 2: Unterminated string starting here")

    def test_keys_twice(self) -> None:
        """Of a key that stands in an object twice, JSON would forget the first."""
        self.assert_faults(
            '{"ssdp": {"tags": {"A": ["a"], "A": ["b"]}}, "web": {}, "web": {}}',
            "web: stands here more than once",
            "ssdp.tags.A: stands here more than once",
        )

    def test_not_numbers(self) -> None:
        """What Python takes for numbers in JSON, and JSON does not."""
        self.assert_faults(
            '{"a": [NaN], "b": -1e999}', "a[0]: NaN is no number of JSON", "b: -Infinity is no number of JSON"
        )
        self.assert_faults("1" * 5000, "has a number of too many digits")

    def test_nested_too_deeply(self) -> None:
        """No depth of nesting is too much for the reader."""
        self.assert_faults("[" * 100_000, "is nested too deeply")
        self.assert_faults("[" * 60 + "]" * 60, "[0][0][0]: is nested too deeply")

    def test_missing(self) -> None:
        """Tags have to be there, and have to be objects."""
        self.assert_faults({}, "ssdp: is missing")
        self.assert_faults({"ssdp": {}}, "ssdp.tags: is missing")
        self.assert_faults([], "a list is no object")
        self.assert_faults({"ssdp": {"tags": {}}, "web": 5}, "ssdp.tags: is empty", "web: 5 is no object")

    def test_booleans_are_no_numbers(self) -> None:
        """And numbers are no strings, nor the other way round."""
        self.assertEqual(
            self.ssdp_faults(search={"mx": True, "interval": False, "ttl": "2"}, describe=0, interfaces=[1]),
            [
                "ssdp.search.mx: true is no whole number of 1 to 5",
                "ssdp.search.interval: false is no duration: "
                'write a number of seconds, or one like "15s", "5m", "1h30m"',
                'ssdp.search.ttl: "2" is no whole number of 1 to 255',
                "ssdp.describe: 0 is neither true nor false",
                "ssdp.interfaces[0]: 1 is no text",
            ],
        )

    def test_limits_of_numbers(self) -> None:
        """The least and the greatest are right, and what is beyond them is not."""
        ranges: list[tuple[str, str, list[Any], list[Any]]] = [
            ("search", "interval", [0, 1, "1s", 31536000], [-1, 0.999, "999ms", 31536001, "9" * 400 + "h"]),
            ("search", "mx", [1, 5], [0, 6, 1.5]),
            ("search", "ttl", [1, 255], [0, 256]),
            ("limits", "services", [1, 10**9], [0, -5]),
            ("limits", "services_per_source", [1], [0]),
        ]
        for section, key, right, wrong in ranges:
            for value in right:
                parse(json.dumps({"ssdp": {**TAGS, section: {key: value}}}))
            for value in wrong:
                [fault] = self.ssdp_faults(**{section: {key: value}})
                self.assertTrue(fault.startswith(f"ssdp.{section}.{key}: "), fault)

    def test_durations(self) -> None:
        """What Go would not read is no duration."""
        for text in ("", "5", "s", "5 s", "-5s", "5S", "5d", ".5s", "1e3s", "\u0665s"):
            [fault] = self.ssdp_faults(search={"interval": text})
            self.assertTrue(fault.startswith("ssdp.search.interval: "), fault)
            self.assertIn(" is no duration", fault)

    def test_check_durations(self) -> None:
        """A check leaves devices and Consul the time that they need."""
        check = {"tcp": True, "interval": 0.5, "timeout": 0, "deregister_after": 59}
        self.assertEqual(
            self.ssdp_faults(checks={API: check}),
            [
                f'ssdp.checks["{API}"].interval: 0.5 is less than 1 s: devices have other things to do',
                f'ssdp.checks["{API}"].timeout: 0 is less than 0.1 s: a device under load takes longer to answer',
                f'ssdp.checks["{API}"].deregister_after: 59 is less than 60 s: Consul makes a minute of it',
            ],
        )

    def test_urns(self) -> None:
        """A URN is visible text in one piece; a star ends a pattern and stands nowhere else."""
        for urn in ("", " ", "a b", "a\tb", " a", "a\n", "a\u00a0b", "a\x7f", "\ud800", "*a", "a**", 5, None):
            [fault] = self.ssdp_faults(tags={"A": [urn]})
            self.assertTrue(fault.startswith("ssdp.tags.A[0]: "), fault)
        for urn in ("*", "a*", "a"):
            parse(json.dumps({"ssdp": {"tags": {"A": [urn]}}}))

    def test_tags(self) -> None:
        """A tag may be of several words, but nobody would see a blank at its end."""
        for tag in ("", " ", " A", "A ", "A\tB"):
            [fault] = self.ssdp_faults(tags={tag: [API]})
            self.assertTrue(fault.startswith(f"ssdp.tags[{json.dumps(tag)}]: "), fault)
        parse(json.dumps({"ssdp": {"tags": {"Rack HD": [API]}}}))

    def test_urn_twice(self) -> None:
        """A URN under two tags would have two names: both places are told."""
        self.assertEqual(
            self.ssdp_faults(tags={"A": ["urn:a", "urn:b"], "B C": ["urn:a"]}),
            ['ssdp.tags["B C"][0]: "urn:a" is already at ssdp.tags.A[0]'],
        )

    def test_dns_names(self) -> None:
        """Two URNs must not share a name in DNS; what patterns will meet is not known yet."""
        tags = {"A": ["urn:x:service:api:2.0", "urn:x:service:api:2-0", "urn:x:service:api:2.0*"]}
        self.assertEqual(
            self.ssdp_faults(tags=tags, names="dns"),
            ['ssdp.tags.A[1]: is called "a-service-api-2-0" in DNS, as is ssdp.tags.A[0]'],
        )
        parse(json.dumps({"ssdp": {"tags": tags, "names": "seed"}}))

    def test_checks_where_tags_are_faulty(self) -> None:
        """A fault of the tags is not told again as one of the checks."""
        check = {"a b": {"tcp": True}, API: {"tcp": True}}
        self.assertEqual(
            [fault.partition(": ")[0] for fault in self.ssdp_faults(tags={"A": ["a b", API]}, checks=check)],
            ["ssdp.tags.A[0]", 'ssdp.checks["a b"]'],
        )
        self.assertEqual(self.ssdp_faults(tags=5, checks={API: {"tcp": True}}), ["ssdp.tags: 5 is no object"])

    def test_one_way_to_check(self) -> None:
        """A check is made by HTTP or by TCP."""
        fault = f'ssdp.checks["{API}"]: takes one of "http": "/PATH" and "tcp": true'
        for check in ({}, {"tcp": False}, {"http": None}, {"http": "/", "tcp": True}):
            self.assertEqual(self.ssdp_faults(checks={API: check}), [fault])
        parse(json.dumps({"ssdp": {**TAGS, "checks": {API: {"http": "/", "tcp": False}}}}))

    def test_paths_to_check(self) -> None:
        """A path begins with a slash and has what a URL may have in it."""
        for path in ("", "nodes", "http://x/", "/a b", "/ä"):
            [fault] = self.ssdp_faults(checks={API: {"http": path}})
            self.assertTrue(fault.startswith(f'ssdp.checks["{API}"].http: '), fault)

    def test_networks(self) -> None:
        """An address within a network is not the network, which the message names."""
        fault = '"10.1.2.3/8" is no network, but an address in "10.0.0.0/8"'
        self.assertEqual(
            self.ssdp_faults(interfaces=["10.1.2.3/8"], allow=["10.1.2.3/8"]),
            [f"ssdp.interfaces[0]: {fault}", f"ssdp.allow[0]: {fault}"],
        )
        self.assertEqual(self.ssdp_faults(allow=[]), ["ssdp.allow: is empty"])

    def test_addresses(self) -> None:
        """What is no address of Consul's is told, without what may be a password."""
        for address in ("", ":8500", "ftp://consul", "consul:port", "consul:123456", "a b", "http://u:secret@consul"):
            fault = self.backend_fault({"address": address})
            self.assertTrue(fault.startswith("backend.address: "), fault)
            self.assertNotIn("secret", fault)
        for port in (0, 65536):
            fault = self.backend_fault({"address": f"consul:{port}"})
            self.assertEqual(fault, f"backend.address: {port} is no port: 1 to 65535 are")
        self.assertIn("goes in brackets: [::1]:8500", self.backend_fault({"address": "::1"}))
        self.assertIn("is no address", self.backend_fault({"address": "[1::2::3]"}))
        self.assertIn("is no address", self.backend_fault({"address": "unix://run/consul.sock"}))

    def test_scheme_twice(self) -> None:
        """A scheme that is said twice is the same one."""
        self.assertEqual(
            self.backend_fault({"address": "https://consul", "scheme": "http"}),
            'backend.scheme: "http" contradicts the address, which says https',
        )
        self.assertEqual(self.consul({"address": "https://consul", "scheme": "https"}).scheme, "https")

    def test_files(self) -> None:
        """Files have to be there and readable, and a certificate goes with its key."""
        here = str(DATA / "full.json")
        self.assertEqual(self.backend_fault({"ca_file": "nowhere.pem"}), "backend.ca_file: there is no such file")
        self.assertEqual(self.backend_fault({"ca_file": str(DATA)}), "backend.ca_file: is no file that can be read")
        self.assertEqual(self.backend_fault({"cert_file": here}), "backend.cert_file: is of no use without key_file")
        self.assertEqual(self.backend_fault({"key_file": here}), "backend.key_file: is of no use without cert_file")
        self.assertEqual(self.consul({"cert_file": here, "key_file": here}).key_file, here)

    def test_two_tokens(self) -> None:
        """A token stands in the file or in a file of its own."""
        fault = self.backend_fault({"token": "abc", "token_file": str(DATA / "full.json")})
        self.assertEqual(fault, "backend.token_file: there is a token already; leave out one of them")

    def test_type_of_backend(self) -> None:
        """A type is a name."""
        for value in (None, 5, "", ["consul"]):
            self.assertTrue(self.backend_fault({"type": value}).startswith("backend.type: "))
        self.assert_faults({"ssdp": TAGS, "backend": "consul"}, 'backend: "consul" is no object')

    def test_not_yet(self) -> None:
        """A key whose feature is yet to come is refused as such, unless it asks for nothing."""
        self.assertEqual(self.ssdp_faults(describe=True), ["ssdp.describe: true is not supported yet"])
        self.assertEqual(self.backend_fault({"mode": "catalog"}), 'backend.mode: "catalog" is not supported yet')
        self.assertEqual(self.backend_fault({"lock": "rack-7"}), 'backend.lock: "rack-7" is not supported yet')

    def test_only_the_environment_turns_verification_off(self) -> None:
        """No file can say that Consul's certificate does not matter."""
        fault = self.backend_fault({"verify_tls": False})
        self.assertTrue(fault.startswith("backend.verify_tls: is unknown; known are type, mode, "), fault)
        self.assertNotIn("verify_tls,", fault)

    def test_endpoints(self) -> None:
        """An endpoint is what Twisted makes one of; what depends on the place where it runs is left to be seen."""
        for endpoint in ("8580", "tcp", "tcp:web", "tcp:8580:port=1", "gopher:70"):
            self.assert_faults(
                {"ssdp": TAGS, "web": {"endpoint": endpoint}},
                f'web.endpoint: "{endpoint}" is no endpoint of Twisted: '
                '"tcp:8580:interface=127.0.0.1" is, and null is none',
            )
        for endpoint in (
            "tcp6:8580",
            "unix:/run/ssdpreg.sock",
            "systemd:domain=INET:index=0",
            "ssl:8580:privateKey=no",
        ):
            parse(json.dumps({"ssdp": TAGS, "web": {"endpoint": endpoint}}))

    def test_long_values_are_cut(self) -> None:
        """A message stays readable whatever stands in the file."""
        [fault] = self.ssdp_faults(names="x" * 10_000)
        self.assertTrue(len(fault) < 150, fault)


class SecretTests(ConfigTestCase):
    """A token is for Consul alone."""

    def test_not_shown(self) -> None:
        """It is in no ``repr`` and not in what ``check-config`` prints."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"token": "hunter2"}}))
        self.assertNotIn("hunter2", repr(config))
        self.assertEqual(normalised(config)["backend"]["token"], "(hidden)")

    def test_plugin(self) -> None:
        """Among the options of a plugin there may be one, too."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "other", "password": "hunter2"}}))
        self.assertNotIn("hunter2", repr(config))

    def test_not_in_messages(self) -> None:
        """It is in no message either, wherever it got to."""
        for key, value in (("token", "hunter2 "), ("token", ["hunter2"]), ("token_file", "hunter2")):
            self.assertNotIn("hunter2", self.backend_fault({key: value}))
        for name in ("CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"):
            fault = self.backend_fault({}, {name: "hunter2 hunter2"})
            self.assertTrue(fault.startswith(f"{name}: "), fault)
            self.assertNotIn("hunter2", fault)


class WithConsulTests(ConfigTestCase):
    """Tests for :meth:`ssdpreg.config.Config.with_consul`."""

    def test_command_line_first(self) -> None:
        """What the command line says goes before the file; all else stays."""
        backend = {"address": "consul:1", "datacenter": "dc1", "token": "abc"}
        config = parse(json.dumps({"ssdp": TAGS, "backend": backend}), {"CONSUL_HTTP_SSL_VERIFY": "0"})
        before = config.backend
        assert isinstance(before, ConsulConfig)
        self.assertEqual(config.with_consul(), config)
        self.assertEqual(config.with_consul("other").backend, attrs.evolve(before, address="other:8500"))
        self.assertEqual(config.with_consul(datacenter="dc2").backend, attrs.evolve(before, datacenter="dc2"))

    def test_scheme(self) -> None:
        """An address sets the scheme if it has one."""
        consul = Config(SSDPConfig({"A": ("a",)}), ConsulConfig(scheme="https"))
        self.assertEqual(consul.with_consul("other:1").backend, ConsulConfig(address="other:1", scheme="https"))
        self.assertEqual(consul.with_consul("http://other:1").backend, ConsulConfig(address="other:1", scheme="http"))

    def test_faults(self) -> None:
        """Both are checked as in the file, and named as on the command line."""
        config = Config(SSDPConfig({"A": ("a",)}))
        error = self.assertRaises(ConfigError, config.with_consul, "other:0", "dc 1")
        self.assertEqual([fault.path for fault in error.faults], ["--address", "--datacenter"])

    def test_no_consul(self) -> None:
        """Where there is no Consul, they would be obeyed by nobody."""
        config = Config(SSDPConfig({"A": ("a",)}), EmbeddedConfig())
        error = self.assertRaises(ConfigError, config.with_consul, "other:1")
        self.assertEqual(str(error), '--address: means nothing where backend.type is "embedded"')
        self.assertEqual(config.with_consul(), config)


class FileTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.load` and :func:`ssdpreg.config.find`."""

    def setUp(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        self.here = Path(self.mktemp()).absolute()
        self.home = self.here / "home"
        self.home.mkdir(parents=True)
        os.chdir(self.here)

    def test_unreadable(self) -> None:
        """A file that cannot be read is a fault like any other."""
        error = self.assertRaises(ConfigError, load, "nowhere.json")
        self.assertEqual(str(error), "nowhere.json cannot be read: No such file or directory")

    def test_encoding(self) -> None:
        """A file is UTF-8, and may begin with the mark that some editors write."""
        Path("bom.json").write_bytes(b'\xef\xbb\xbf{"ssdp": {"tags": {"Ger\xc3\xa4t": ["urn:a"]}}}')
        self.assertEqual(load("bom.json", {}).search_terms(), {"urn:a": "Gerät"})
        Path("latin.json").write_bytes(b'{"\xe4": 1}')
        error = self.assertRaises(ConfigError, load, "latin.json")
        self.assertEqual(str(error), "latin.json is no UTF-8 text, from its byte 3 on")

    def test_environment(self) -> None:
        """The environment counts."""
        Path("registry.json").write_text(json.dumps({"ssdp": TAGS}), encoding="utf-8")
        config = load("registry.json", {"CONSUL_HTTP_ADDR": "consul"})
        self.assertEqual(config.backend, ConsulConfig(address="consul:8500"))

    def test_found(self) -> None:
        """The working directory goes before the home."""
        (self.home / "registry.json").touch()
        self.assertEqual(find({"HOME": str(self.home)}), str(self.home / "registry.json"))
        Path("registry.json").touch()
        self.assertEqual(find({"HOME": str(self.home)}), "registry.json")

    def test_nowhere(self) -> None:
        """If there is none, the message lists where it could have been."""
        self.patch(os.path, "exists", lambda path: False)
        error = self.assertRaises(ConfigError, find, {"HOME": "/home/me"})
        self.assertEqual(
            str(error),
            "there is no registry.json, no /home/me/registry.json, no /etc/ssdpreg/registry.json, "
            "no /etc/infranm.d/registry.json",
        )
        self.assertNotIn("home", str(self.assertRaises(ConfigError, find, {})))


class NormalisedTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.normalised`."""

    def test_says_the_same(self) -> None:
        """What comes out can be read again, and means the same."""
        for backend in ({}, {"address": "https://[::1]:1"}, {"type": "embedded"}, {"type": "x", "y": [1.0, {}]}):
            config = parse(json.dumps({**FULL, "backend": backend}))
            self.assertEqual(parse(json.dumps(normalised(config))), config)

    def test_nothing_left_out(self) -> None:
        """Every key has its value, and numbers look as people write them."""
        plain = normalised(parse(json.dumps({"ssdp": TAGS})))
        self.assertEqual(plain["ssdp"]["search"], {"interval": 300, "mx": 3, "ttl": 2})
        self.assertIn('"interval": 300,', json.dumps(plain))
        self.assertEqual(plain["backend"]["address"], "127.0.0.1:8500")


class SchemaTests(ConfigTestCase):
    """Tests for :func:`ssdpreg.config.schema`."""

    def test_is_json(self) -> None:
        """It is JSON, and says which dialect of JSON Schema it is."""
        self.assertEqual(json.loads(json.dumps(schema())), schema())
        self.assertEqual(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema")

    def test_every_key_is_explained(self) -> None:
        """Every key has a description, which comes from the docstring of its class."""
        for path, key in schema_keys(schema()):
            self.assertTrue(key["description"], path)

    def test_only_tags_are_needed(self) -> None:
        """An editor asks for what the reader asks for."""
        ssdp = schema()["properties"]["ssdp"]
        self.assertEqual((schema()["required"], ssdp["required"]), (["ssdp"], ["tags"]))
        self.assertEqual(ssdp["additionalProperties"], False)

    def test_backends_are_told_apart(self) -> None:
        """A backend is one of three, by its type; only Consul may go without."""
        consul, embedded, plugin = schema()["properties"]["backend"]["anyOf"]
        self.assertEqual([consul["required"], embedded["required"], plugin["required"]], [[], ["type"], ["type"]])
        self.assertEqual(consul["properties"]["type"]["enum"], ["consul"])
        self.assertEqual(plugin["properties"]["type"]["not"], {"enum": ["consul", "embedded"]})
        self.assertEqual([consul["additionalProperties"], plugin["additionalProperties"]], [False, True])


def schema_keys(described: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """List the keys that a schema knows, those in maps by ``URN``."""
    for part in described.get("anyOf", ()):
        yield from schema_keys(part, path)
    for name, inner in described.get("properties", {}).items():
        below = list(schema_keys(inner, f"{path}.{name}".lstrip(".")))
        if inner["description"]:
            yield from below or [(f"{path}.{name}".lstrip("."), inner)]
    if isinstance(inner := described.get("additionalProperties"), dict):
        yield from schema_keys(inner, f"{path}.URN")


class DocumentationTests(ConfigTestCase):
    """``docs/configuration.md`` says what the reader does."""

    def test_keys_and_defaults(self) -> None:
        """Every key is there with its default, and no other."""
        rows = re.findall(r"^\| `([a-z][\w.]*URN[\w.]*|[a-z][\w.]*)` \| (?:`(.*?)`)? *\|", DOCUMENTATION, re.MULTILINE)
        documented = {key: json.loads(default) if default else None for key, default in rows}
        known: dict[str, Any] = {}
        for key, described in schema_keys(schema()):
            known.setdefault(key, described.get("default"))
        self.assertEqual(documented, known)

    def test_variables(self) -> None:
        """Every variable is there with the key that it stands in for."""
        rows = dict(re.findall(r"^\| `(CONSUL_\w+)` \| `?([\w ]+)", DOCUMENTATION, re.MULTILINE))
        known = {name: key for key, name in VARIABLES.items()}
        self.assertEqual(rows, {**known, "CONSUL_HTTP_SSL": "scheme", "CONSUL_HTTP_SSL_VERIFY": "no key"})

    def test_examples(self) -> None:
        """Every example can be used."""
        examples = re.findall(r"^```json\n(.*?)^```", DOCUMENTATION, re.MULTILINE | re.DOTALL)
        self.assertEqual([type(parse(example)) for example in examples], [Config] * 4)


class AnythingTests(ConfigTestCase):
    """Whatever comes, there is a configuration or a :class:`ssdpreg.errors.ConfigError`, and nothing else."""

    def read(self, text: str, environ: Mapping[str, str] | None = None) -> None:
        """Read a file; if it is right, what is printed of it is right too."""
        try:
            config = parse(text, environ)
        except ConfigError as error:
            self.assertTrue(error.faults)
            # It can be shown on any terminal that knows Unicode.
            str(error).encode()
        else:
            self.assertIsInstance(parse(json.dumps(normalised(config))), Config)

    @given(st.text())
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_text(self, text: str) -> None:
        """Any text."""
        self.read(text)

    @given(json_values)
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_json(self, raw: object) -> None:
        """Any JSON."""
        self.read(json.dumps(raw))

    @given(st.lists(st.tuples(st.sampled_from(PARTS), json_values), min_size=1, max_size=3))
    @settings(derandomize=True, deadline=None, max_examples=300)
    def test_any_part(self, changes: list[tuple[tuple[Any, ...], object]]) -> None:
        """A good file in which some values were replaced by anything."""
        raw = copy.deepcopy(FULL)
        for (*above, last), value in changes:
            # An earlier change may have taken the place away.
            with contextlib.suppress(LookupError, TypeError):
                reduce(getitem, above, raw)[last] = value
        self.read(json.dumps(raw))

    @given(st.dictionaries(st.sampled_from([*VARIABLES.values(), "CONSUL_HTTP_SSL"]), texts))
    @settings(derandomize=True, deadline=None, max_examples=100)
    def test_any_environment(self, environ: dict[str, str]) -> None:
        """Any environment."""
        self.read(json.dumps({"ssdp": TAGS}), environ)
