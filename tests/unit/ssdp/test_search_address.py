"""Tests for :mod:`ssdpreg.ssdp.search_address`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.search_address import parse_search_address, search_address


class SearchAddressTests(SynchronousTestCase):
    """Tests for :func:`search_address` and :func:`parse_search_address`."""

    def test_round_trip(self) -> None:
        """A host has its port in the form of a URL, unless it is 1900."""
        for host, port, text in (
            ("10.0.0.5", 1900, "10.0.0.5"),
            ("10.0.0.5", 50000, "10.0.0.5:50000"),
            ("2001:db8::5", 1900, "2001:db8::5"),
            ("2001:db8::5", 50000, "[2001:db8::5]:50000"),
            ("fe80::5%eth0", 1900, "fe80::5%eth0"),
            ("fe80::5%eth0", 50000, "[fe80::5%eth0]:50000"),
            ("bmc.example", 1900, "bmc.example"),
        ):
            self.assertEqual(search_address(host, port), text)
            self.assertEqual(parse_search_address(text), (host, port))
