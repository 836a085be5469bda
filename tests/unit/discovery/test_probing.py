"""Tests for :mod:`ssdpreg.discovery.probing`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.probing import may_probe

NAMED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


class MayProbeTests(SynchronousTestCase):
    """Tests for :func:`may_probe`."""

    def test_direct(self) -> None:
        """A host that announced the endpoint itself, or answered a search, may be probed in any network."""
        for host in ("10.0.0.5", "192.0.2.5", "2001:db9::5", "fe80::1", "127.0.0.1"):
            self.assertTrue(may_probe(Endpoint("http", host, 80), True, ()), host)
            self.assertTrue(may_probe(Endpoint("http", host, 80), True, NAMED), host)

    def test_indirect(self) -> None:
        """A host that another host announced may be probed only in a network that the operator named."""
        for host, expected in {"10.0.0.5": True, "2001:db8::5": True, "192.0.2.5": False, "2001:db9::5": False}.items():
            self.assertEqual(may_probe(Endpoint("http", host, 80), False, NAMED), expected, host)
            self.assertFalse(may_probe(Endpoint("http", host, 80), False, ()), host)

    def test_names(self) -> None:
        """A name is never probed: its address can change between two checks."""
        for direct in (True, False):
            self.assertFalse(may_probe(Endpoint("http", "bmc.example", 80), direct, NAMED))
