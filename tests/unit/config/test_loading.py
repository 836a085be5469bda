"""Tests for :mod:`ssdpreg.config.loading`."""

from __future__ import annotations

import json
import os
from ipaddress import ip_network
from operator import setitem
from pathlib import Path

import attrs

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
    parse,
)
from ssdpreg.config.values import PortRange
from ssdpreg.errors import ConfigError
from tests.support import paths
from tests.unit.config.support import API, DATA, TAGS, ConfigTestCase


class ParseTests(ConfigTestCase):
    """Tests for :func:`parse` with valid files."""

    def test_original_file(self) -> None:
        """The file of the original program is valid, and selects Consul's agent at its default address."""
        config = parse('{"ssdp": {"tags": {"Service-Tag": ["ServiceUrn", "ServiceUrn2"], "ServiceTag2": ["Urn3"]}}}')
        self.assertEqual(
            config, Config(SSDPConfig({"Service-Tag": ("ServiceUrn", "ServiceUrn2"), "ServiceTag2": ("Urn3",)}))
        )
        self.assertEqual(config.backend, ConsulConfig(address="127.0.0.1:8500", mode="agent"))

    def test_all_keys(self) -> None:
        """Every key sets the attribute of the same name."""
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
                    search=SearchConfig(interval=0, mx=5, ttl=4, ports=PortRange(40000, 40099)),
                    names="dns",
                    describe=True,
                    trust="confirmed",
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
                    mode="catalog",
                    scope="rack-7",
                    lock="rack-7-writers",
                    reap_after=900.0,
                    node_prefix="ssdp-",
                ),
                WebConfig(None, ("ssdpreg.example",)),
            ),
        )

    def test_project_file(self) -> None:
        """The project's ``registry.json`` has the URNs of the original program and a check of the API."""
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
        """Attributes and mappings of a configuration are read-only."""
        config = parse(json.dumps({"ssdp": TAGS}))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, config.ssdp, "names", "dns")
        self.assertRaises(TypeError, setitem, config.ssdp.tags, "A", ())

    def test_embedded(self) -> None:
        """The type ``embedded`` selects the embedded backend."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded", "path": None}}))
        self.assertEqual(config.backend, EmbeddedConfig(path=None))

    def test_plugin(self) -> None:
        """A plugin receives all other keys without changes."""
        options = {"options": 1, "mode": "catalog", "path": {"deep": [None, 1.5]}}
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "other", **options}}))
        self.assertEqual(config.backend, PluginBackendConfig("other", options))


class FaultTests(ConfigTestCase):
    """Tests for :func:`parse` with faulty files."""

    def test_all_at_once(self) -> None:
        """All faults of a file are reported with their paths, in the order of the file."""
        error = self.assertRaises(ConfigError, load, str(DATA / "faulty.json"), {})
        self.assertEqual(f"{error}\n", (DATA / "faulty.txt").read_text(encoding="utf-8"))

    def test_missing(self) -> None:
        """Missing keys and sections of the wrong type are reported."""
        self.assert_faults({}, "ssdp: is missing")
        self.assert_faults({"ssdp": {}}, "ssdp.tags: is missing")
        self.assert_faults([], "a list is not an object")
        self.assert_faults({"ssdp": {"tags": {}}, "web": 5}, "ssdp.tags: is empty", "web: 5 is not an object")

    def test_unknown_key(self) -> None:
        """A fault for an unknown key suggests a similar key, or lists the known ones."""
        self.assertEqual(
            self.ssdp_faults(limits={"service": 5, "x": 5}),
            [
                'ssdp.limits.service: is not a known key; did you mean "services"?',
                "ssdp.limits.x: is not a known key; known keys are services, services_per_source",
            ],
        )

    def test_backend_type(self) -> None:
        """The type of a backend must be a string that is not empty."""
        for value in (None, 5, "", ["consul"]):
            self.assertTrue(self.backend_fault({"type": value}).startswith("backend.type: "))
        self.assert_faults({"ssdp": TAGS, "backend": "consul"}, 'backend: "consul" is not an object')

    def test_verify_tls(self) -> None:
        """The file has no key that disables the verification of Consul's certificate."""
        fault = self.backend_fault({"verify_tls": False})
        self.assertTrue(fault.startswith("backend.verify_tls: is not a known key; known keys are type, mode, "), fault)
        self.assertNotIn("verify_tls,", fault)

    def test_long_values(self) -> None:
        """Long values are shortened in the fault."""
        [fault] = self.ssdp_faults(names="x" * 10_000)
        self.assertTrue(len(fault) < 150, fault)


class FileTests(ConfigTestCase):
    """Tests for :func:`load` and :func:`find`."""

    def setUp(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        self.here = Path(self.mktemp()).absolute()
        self.home = self.here / "home"
        self.home.mkdir(parents=True)
        os.chdir(self.here)

    def test_environment(self) -> None:
        """Environment variables are used when a file is loaded."""
        Path("registry.json").write_text(json.dumps({"ssdp": TAGS}), encoding="utf-8")
        config = load("registry.json", {"CONSUL_HTTP_ADDR": "consul"})
        self.assertEqual(config.backend, ConsulConfig(address="consul:8500"))

    def test_byte_order_mark(self) -> None:
        """A file may begin with a byte order mark, and contain letters outside ASCII."""
        Path("bom.json").write_bytes(b'\xef\xbb\xbf{"ssdp": {"tags": {"Ger\xc3\xa4t": ["urn:a"]}}}')
        self.assertEqual(load("bom.json", {}).search_terms(), {"urn:a": "Gerät"})

    def test_search_order(self) -> None:
        """The working directory comes before the home directory."""
        (self.home / "registry.json").touch()
        self.assertEqual(find({"HOME": str(self.home)}), str(self.home / "registry.json"))
        Path("registry.json").touch()
        self.assertEqual(find({"HOME": str(self.home)}), "registry.json")

    def test_not_found(self) -> None:
        """If there is no file, the fault lists all paths."""
        self.patch(os.path, "exists", lambda path: False)
        error = self.assertRaises(ConfigError, find, {"HOME": "/home/me"})
        self.assertEqual(
            str(error),
            "no configuration file found: none of registry.json, /home/me/registry.json, "
            "/etc/ssdpreg/registry.json, /etc/infranm.d/registry.json exists",
        )
        self.assertNotIn("home", str(self.assertRaises(ConfigError, find, {})))
