"""Tests for :mod:`ssdpreg.config.environment`."""

from __future__ import annotations

import json

from ssdpreg.config import ConsulConfig, EmbeddedConfig, parse
from ssdpreg.config.environment import VARIABLES
from tests.unit.config.support import DATA, TAGS, ConfigTestCase


class ConsulEnvironmentTests(ConfigTestCase):
    """Tests for :func:`consul_environment`, by way of :func:`ssdpreg.config.parse`."""

    def test_all_variables(self) -> None:
        """Each variable sets the value of its key."""
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

    def test_file_overrides(self) -> None:
        """A key of the file overrides its variable, which may then have any value."""
        environ = {"CONSUL_HTTP_ADDR": "https://:nonsense:", "CONSUL_HTTP_TOKEN": "a b", "CONSUL_CACERT": "nowhere"}
        consul = self.consul({"address": "consul", "token": None, "ca_file": None}, environ)
        self.assertEqual(consul, ConsulConfig(address="consul:8500"))

    def test_no_section(self) -> None:
        """The variables are used if the file has no ``backend`` section."""
        config = parse(json.dumps({"ssdp": TAGS}), {"CONSUL_HTTP_ADDR": "https://consul:1"})
        self.assertEqual(config.backend, ConsulConfig(address="consul:1", scheme="https"))

    def test_empty_variables(self) -> None:
        """An empty variable counts as unset."""
        names = [*VARIABLES.values(), "CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY"]
        self.assertEqual(self.consul({}, dict.fromkeys(names, "")), ConsulConfig())

    def test_scheme(self) -> None:
        """``CONSUL_HTTP_SSL`` selects HTTPS unless the file has a scheme; its value 0 does not select HTTP."""
        tls = {"CONSUL_HTTP_SSL": "1"}
        self.assertEqual(self.consul({}, {**tls, "CONSUL_HTTP_ADDR": "http://consul"}).scheme, "https")
        self.assertEqual(self.consul({"address": "consul"}, tls).scheme, "https")
        self.assertEqual(self.consul({"address": "http://consul"}, tls).scheme, "http")
        self.assertEqual(self.consul({"scheme": "http"}, tls).scheme, "http")
        self.assertEqual(self.consul({}, {"CONSUL_HTTP_SSL": "false"}).scheme, "http")
        no_tls = {"CONSUL_HTTP_SSL": "0", "CONSUL_HTTP_ADDR": "https://consul"}
        self.assertEqual(self.consul({}, no_tls).scheme, "https")

    def test_token_file(self) -> None:
        """A token file overrides a token of the environment, and the file of ssdpreg overrides both."""
        here = str(DATA / "full.json")
        environ = {"CONSUL_HTTP_TOKEN": "abc", "CONSUL_HTTP_TOKEN_FILE": here}
        self.assertEqual(self.consul({}, environ), ConsulConfig(token_file=here))
        self.assertEqual(self.consul({"token": "xyz"}, environ), ConsulConfig(token="xyz"))
        other = str(DATA / "faulty.json")
        self.assertEqual(self.consul({"token_file": other}, environ), ConsulConfig(token_file=other))

    def test_faults(self) -> None:
        """Faults of variables have the variable's name, and follow the faults of the file."""
        environ = {
            "CONSUL_HTTP_ADDR": "consul:0",
            "CONSUL_HTTP_SSL": "yes",
            "CONSUL_HTTP_SSL_VERIFY": "no",
            "CONSUL_CLIENT_CERT": str(DATA / "full.json"),
        }
        self.assert_faults(
            {"ssdp": {**TAGS, "names": "x"}},
            'ssdp.names: "x" is not one of "seed", "dns"',
            "CONSUL_HTTP_ADDR: 0 is not a valid port: use 1 to 65535",
            "CONSUL_CLIENT_CERT: requires key_file",
            'CONSUL_HTTP_SSL: "yes" is not true or false',
            'CONSUL_HTTP_SSL_VERIFY: "no" is not true or false',
            environ=environ,
        )

    def test_other_backend(self) -> None:
        """The variables have no effect on another backend."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": {"type": "embedded"}}), {"CONSUL_HTTP_ADDR": "consul:0"})
        self.assertEqual(config.backend, EmbeddedConfig())
