"""Tests for :mod:`ssdpreg.config.model`."""

from __future__ import annotations

import json

import attrs

from ssdpreg.config import Config, ConsulConfig, EmbeddedConfig, SSDPConfig, normalised, parse, schema
from ssdpreg.errors import ConfigError
from tests.unit.config.support import FULL, TAGS, ConfigTestCase, schema_keys


class SecretTests(ConfigTestCase):
    """ACL tokens are not logged and not printed."""

    def test_token(self) -> None:
        """A token is neither in the ``repr`` of the configuration nor in its normalised form."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"token": "hunter2"}}))
        self.assertNotIn("hunter2", repr(config))
        self.assertEqual(normalised(config)["backend"]["token"], "(hidden)")

    def test_plugin(self) -> None:
        """Options of a plugin are not in the ``repr``: they may contain secrets."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "other", "password": "hunter2"}}))
        self.assertNotIn("hunter2", repr(config))

    def test_faults(self) -> None:
        """A fault does not contain a token, not even a token in the place of a file name."""
        for key, value in (("token", "hunter2 "), ("token", ["hunter2"]), ("token_file", "hunter2")):
            self.assertNotIn("hunter2", self.backend_fault({key: value}))
        for name in ("CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"):
            fault = self.backend_fault({}, {name: "hunter2 hunter2"})
            self.assertTrue(fault.startswith(f"{name}: "), fault)
            self.assertNotIn("hunter2", fault)


class WithConsulTests(ConfigTestCase):
    """Tests for :meth:`Config.with_consul`."""

    def test_replaces(self) -> None:
        """The options of the command line replace keys of the file, and the other keys stay."""
        backend = {"address": "consul:1", "datacenter": "dc1", "token": "abc"}
        config = parse(json.dumps({"ssdp": TAGS, "backend": backend}), {"CONSUL_HTTP_SSL_VERIFY": "0"})
        before = config.backend
        assert isinstance(before, ConsulConfig)
        self.assertEqual(config.with_consul(), config)
        self.assertEqual(config.with_consul("other").backend, attrs.evolve(before, address="other:8500"))
        self.assertEqual(config.with_consul(datacenter="dc2").backend, attrs.evolve(before, datacenter="dc2"))

    def test_scheme(self) -> None:
        """An address with a scheme replaces the scheme, too."""
        consul = Config(SSDPConfig({"A": ("a",)}), ConsulConfig(scheme="https"))
        self.assertEqual(consul.with_consul("other:1").backend, ConsulConfig(address="other:1", scheme="https"))
        self.assertEqual(consul.with_consul("http://other:1").backend, ConsulConfig(address="other:1", scheme="http"))

    def test_faults(self) -> None:
        """Faults have the names of the options."""
        config = Config(SSDPConfig({"A": ("a",)}))
        error = self.assertRaises(ConfigError, config.with_consul, "other:0", "dc 1")
        self.assertEqual([fault.path for fault in error.faults], ["--address", "--datacenter"])

    def test_other_backend(self) -> None:
        """The options are faults if the backend is not Consul."""
        config = Config(SSDPConfig({"A": ("a",)}), EmbeddedConfig())
        error = self.assertRaises(ConfigError, config.with_consul, "other:1")
        self.assertEqual(str(error), '--address: is valid only with Consul, but backend.type is "embedded"')
        self.assertEqual(config.with_consul(), config)


class ScopeTests(ConfigTestCase):
    """Tests for :meth:`Config.scope`."""

    def test_default(self) -> None:
        """The scope is the host name, unless the file names a scope or a lock."""
        ssdp = SSDPConfig({"A": ("a",)})
        self.assertEqual(Config(ssdp).scope("host-1"), "host-1")
        self.assertEqual(Config(ssdp, ConsulConfig(scope="rack-7")).scope("host-1"), "rack-7")
        lock = ConsulConfig(mode="catalog", lock="row-3")
        self.assertEqual(Config(ssdp, lock).scope("host-1"), "row-3")
        self.assertEqual(Config(ssdp, attrs.evolve(lock, scope="rack-7")).scope("host-1"), "rack-7")
        self.assertEqual(Config(ssdp, EmbeddedConfig()).scope("host-1"), "host-1")


class NamedNetworksTests(ConfigTestCase):
    """Tests for :attr:`SSDPConfig.named_networks`."""

    def test_named(self) -> None:
        """Networks of the default value contain every address, and so name none."""
        for allow, named in (
            (["0.0.0.0/0", "::/0"], []),
            (["0.0.0.0/0"], []),
            (["10.0.0.0/8", "::/0"], ["10.0.0.0/8"]),
            (["10.0.0.0/8", "2001:db8::1/128"], ["10.0.0.0/8", "2001:db8::1/128"]),
        ):
            config = parse(json.dumps({"ssdp": {**TAGS, "allow": allow}}))
            self.assertEqual([str(network) for network in config.ssdp.named_networks], named)
        self.assertEqual(parse(json.dumps({"ssdp": TAGS})).ssdp.named_networks, ())


class NormalisedTests(ConfigTestCase):
    """Tests for :func:`normalised`."""

    def test_round_trip(self) -> None:
        """The normalised form of a configuration parses to an equal configuration."""
        for backend in ({}, {"address": "https://[::1]:1"}, {"type": "embedded"}, {"type": "x", "y": [1.0, {}]}):
            config = parse(json.dumps({**FULL, "backend": backend}))
            self.assertEqual(parse(json.dumps(normalised(config))), config)

    def test_defaults(self) -> None:
        """The normalised form has every key, and whole numbers have no decimal point."""
        plain = normalised(parse(json.dumps({"ssdp": TAGS})))
        self.assertEqual(plain["ssdp"]["search"], {"interval": 300, "mx": 3, "ttl": 2, "ports": None})
        self.assertIn('"interval": 300,', json.dumps(plain))
        self.assertEqual(plain["backend"]["address"], "127.0.0.1:8500")


class SchemaTests(ConfigTestCase):
    """Tests for :func:`schema`."""

    def test_json(self) -> None:
        """The schema can be encoded as JSON, and names its dialect."""
        self.assertEqual(json.loads(json.dumps(schema())), schema())
        self.assertEqual(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema")

    def test_descriptions(self) -> None:
        """Every key has a description, which comes from the docstring of its class."""
        for path, key in schema_keys(schema()):
            self.assertTrue(key["description"], path)
        limits = schema()["properties"]["ssdp"]["properties"]["limits"]["properties"]
        self.assertEqual(limits["services"]["description"], "Maximum number of services.")

    def test_required_keys(self) -> None:
        """Only ``ssdp.tags`` is required, and unknown keys are invalid."""
        ssdp = schema()["properties"]["ssdp"]
        self.assertEqual((schema()["required"], ssdp["required"]), (["ssdp"], ["tags"]))
        self.assertEqual(ssdp["additionalProperties"], False)

    def test_backends(self) -> None:
        """The key ``type`` selects one of three backends, and is optional only for Consul."""
        consul, embedded, plugin = schema()["properties"]["backend"]["anyOf"]
        self.assertEqual([consul["required"], embedded["required"], plugin["required"]], [[], ["type"], ["type"]])
        self.assertEqual(consul["properties"]["type"]["enum"], ["consul"])
        self.assertEqual(plugin["properties"]["type"]["not"], {"enum": ["consul", "embedded"]})
        self.assertEqual([consul["additionalProperties"], plugin["additionalProperties"]], [False, True])
