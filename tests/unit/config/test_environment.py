"""Tests for :mod:`ssdpreg.config.environment`."""

from __future__ import annotations

import json

from ssdpreg.config import ConsulConfig, EmbeddedConfig, parse
from ssdpreg.config.environment import VARIABLES
from tests.unit.config.test_config import DATA, TAGS, ConfigTestCase


class EnvironmentTests(ConfigTestCase):
    """Tests for :mod:`ssdpreg.config.environment`: where the file says nothing, Consul's variables do."""

    def test_all(self) -> None:
        """Each variable has its place."""
        here = str(DATA / "full.json")
        environ = {
            "CONSUL_HTTP_ADDR": "consul.example",
            "CONSUL_HTTP_SSL": "true",
            "CONSUL_HTTP_SSL_VERIFY": "0",
            "CONSUL_HTTP_TOKEN": "abc",
            "CONSUL_CACERT": here,
            "CONSUL_CLIENT_CERT": here,
            "CONSUL_CLIENT_KEY": here,
        }
        self.assertEqual(
            self.consul({}, environ),
            ConsulConfig(
                address="consul.example:8500",
                scheme="https",
                verify_tls=False,
                token="abc",
                ca_file=here,
                cert_file=here,
                key_file=here,
            ),
        )

    def test_file_first(self) -> None:
        """What stands in the file is not looked up, so it does no harm there either."""
        environ = {"CONSUL_HTTP_ADDR": "https://:nonsense:", "CONSUL_HTTP_TOKEN": "a b", "CONSUL_CACERT": "nowhere"}
        consul = self.consul({"address": "consul", "token": None, "ca_file": None}, environ)
        self.assertEqual(consul, ConsulConfig(address="consul:8500"))

    def test_no_section(self) -> None:
        """A file that does not speak of a backend leaves all to the environment."""
        config = parse(json.dumps({"ssdp": TAGS}), {"CONSUL_HTTP_ADDR": "https://consul:1"})
        self.assertEqual(config.backend, ConsulConfig(address="consul:1", scheme="https"))

    def test_empty_is_unset(self) -> None:
        """A variable that is empty says nothing."""
        names = [*VARIABLES.values(), "CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY"]
        self.assertEqual(self.consul({}, dict.fromkeys(names, "")), ConsulConfig())

    def test_scheme(self) -> None:
        """Who asks for TLS gets it, unless the file says otherwise."""
        tls = {"CONSUL_HTTP_SSL": "1"}
        self.assertEqual(self.consul({}, {**tls, "CONSUL_HTTP_ADDR": "http://consul"}).scheme, "https")
        self.assertEqual(self.consul({"address": "consul"}, tls).scheme, "https")
        self.assertEqual(self.consul({"address": "http://consul"}, tls).scheme, "http")
        self.assertEqual(self.consul({"scheme": "http"}, tls).scheme, "http")
        self.assertEqual(self.consul({}, {"CONSUL_HTTP_SSL": "false"}).scheme, "http")
        no_tls = {"CONSUL_HTTP_SSL": "0", "CONSUL_HTTP_ADDR": "https://consul"}
        self.assertEqual(self.consul({}, no_tls).scheme, "https")

    def test_token_file(self) -> None:
        """Of two tokens the one in a file counts, but none of them where the registry has one."""
        here = str(DATA / "full.json")
        environ = {"CONSUL_HTTP_TOKEN": "abc", "CONSUL_HTTP_TOKEN_FILE": here}
        self.assertEqual(self.consul({}, environ), ConsulConfig(token_file=here))
        self.assertEqual(self.consul({"token": "xyz"}, environ), ConsulConfig(token="xyz"))
        other = str(DATA / "faulty.json")
        self.assertEqual(self.consul({"token_file": other}, environ), ConsulConfig(token_file=other))

    def test_faults(self) -> None:
        """A variable that makes no sense is named, after all that is wrong with the file."""
        environ = {
            "CONSUL_HTTP_ADDR": "consul:0",
            "CONSUL_HTTP_SSL": "yes",
            "CONSUL_HTTP_SSL_VERIFY": "no",
            "CONSUL_CLIENT_CERT": str(DATA / "full.json"),
        }
        self.assert_faults(
            {"ssdp": {**TAGS, "names": "x"}},
            'ssdp.names: "x" is none of "seed", "dns"',
            "CONSUL_HTTP_ADDR: 0 is no port: 1 to 65535 are",
            "CONSUL_CLIENT_CERT: is of no use without key_file",
            'CONSUL_HTTP_SSL: "yes" is neither true nor false',
            'CONSUL_HTTP_SSL_VERIFY: "no" is neither true nor false',
            environ=environ,
        )

    def test_only_for_consul(self) -> None:
        """Another backend has nothing to do with it."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded"}}), {"CONSUL_HTTP_ADDR": "consul:0"})
        self.assertEqual(config.backend, EmbeddedConfig())
