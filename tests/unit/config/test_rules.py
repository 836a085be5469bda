"""Tests for :mod:`ssdpreg.config.rules`."""

from __future__ import annotations

import json

from ssdpreg.config import parse
from tests.unit.config.support import API, DATA, TAGS, ConfigTestCase


class SSDPTests(ConfigTestCase):
    """Tests for :func:`find_ssdp_faults`."""

    def test_urn_listed_twice(self) -> None:
        """A URN in two lists is a fault with the path of the other list."""
        self.assertEqual(
            self.ssdp_faults(tags={"A": ["urn:a", "urn:b"], "B C": ["urn:a"]}),
            ['ssdp.tags["B C"][0]: "urn:a" is already listed at ssdp.tags.A[0]'],
        )

    def test_dns_names(self) -> None:
        """Two URNs with the same DNS name are a fault; patterns have no name of their own."""
        tags = {"A": ["urn:x:service:api:2.0", "urn:x:service:api:2-0", "urn:x:service:api:2.0*"]}
        self.assertEqual(
            self.ssdp_faults(tags=tags, names="dns"),
            ['ssdp.tags.A[1]: has the same DNS name as ssdp.tags.A[0]: "a-service-api-2-0"'],
        )
        parse(json.dumps({"ssdp": {"tags": tags, "names": "seed"}}))

    def test_checks_with_faulty_tags(self) -> None:
        """A fault of the tags causes no further fault of the checks."""
        check = {"a b": {"tcp": True}, API: {"tcp": True}}
        self.assertEqual(
            [fault.partition(": ")[0] for fault in self.ssdp_faults(tags={"A": ["a b", API]}, checks=check)],
            ["ssdp.tags.A[0]", 'ssdp.checks["a b"]'],
        )
        self.assertEqual(self.ssdp_faults(tags=5, checks={API: {"tcp": True}}), ["ssdp.tags: 5 is not an object"])


class CheckTests(ConfigTestCase):
    """Tests for :func:`find_check_faults`."""

    def test_http_or_tcp(self) -> None:
        """A check is either an HTTP check or a TCP check."""
        fault = f'ssdp.checks["{API}"]: requires exactly one of "http": "/PATH" and "tcp": true'
        for check in ({}, {"tcp": False}, {"http": None}, {"http": "/", "tcp": True}):
            self.assertEqual(self.ssdp_faults(checks={API: check}), [fault])
        parse(json.dumps({"ssdp": {**TAGS, "checks": {API: {"http": "/", "tcp": False}}}}))


class ConsulTests(ConfigTestCase):
    """Tests for :func:`find_consul_faults`."""

    def test_scheme(self) -> None:
        """The key ``scheme`` must agree with the scheme of the address."""
        self.assertEqual(
            self.backend_fault({"address": "https://consul", "scheme": "http"}),
            'backend.scheme: "http" conflicts with the address, which starts with https://',
        )
        self.assertEqual(self.consul({"address": "https://consul", "scheme": "https"}).scheme, "https")

    def test_certificate_and_key(self) -> None:
        """A certificate requires its key, and a key requires its certificate."""
        here = str(DATA / "full.json")
        self.assertEqual(self.backend_fault({"cert_file": here}), "backend.cert_file: requires key_file")
        self.assertEqual(self.backend_fault({"key_file": here}), "backend.key_file: requires cert_file")
        self.assertEqual(self.consul({"cert_file": here, "key_file": here}).key_file, here)

    def test_two_tokens(self) -> None:
        """A token and a token file are a fault together."""
        fault = self.backend_fault({"token": "abc", "token_file": str(DATA / "full.json")})
        self.assertEqual(fault, "backend.token_file: conflicts with token: remove one of them")

    def test_keys_of_catalog_mode(self) -> None:
        """A lock and a prefix of node names are a fault in agent mode."""
        for key, value in {"lock": "rack-7", "node_prefix": "ssdp-"}.items():
            self.assertEqual(self.backend_fault({key: value}), f'backend.{key}: requires "mode": "catalog"')
            self.assertEqual(getattr(self.consul({"mode": "catalog", key: value}), key), value)
        self.assertEqual(self.consul({"lock": None, "node_prefix": "", "reap_after": "5m"}).reap_after, 300)
