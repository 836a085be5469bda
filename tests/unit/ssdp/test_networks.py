"""Tests for :mod:`ssdpreg.ssdp.networks`."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.networks import Networks, ipv4_number

NETWORKS = [ip_network(text) for text in ("10.0.0.0/8", "192.0.2.64/26", "198.51.100.7/32", "2001:db8::/32")]


class IPv4NumberTests(SynchronousTestCase):
    """Tests for :func:`ipv4_number`."""

    @settings(derandomize=True, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_address(self, number: int) -> None:
        """The number of an address is that of the module ipaddress."""
        self.assertEqual(ipv4_number(str(IPv4Address(number))), number)

    def test_other_text(self) -> None:
        """A text that is no IPv4 address in the usual spelling has no number."""
        for text in (
            "",
            "10.0.0",
            "10.0.0.05",
            "10.0.0.256",
            "0x0a.0.0.1",
            " 10.0.0.1",
            "10.0.0.1\0",
            "10.0.0.1.",
            "::1",
        ):
            self.assertIsNone(ipv4_number(text), text)
        for text in ("\u0661.0.0.1", "\ud800"):
            self.assertIsNone(ipv4_number(text))


class NetworksTests(SynchronousTestCase):
    """Tests for :class:`Networks`."""

    @settings(derandomize=True, deadline=None)
    @given(st.sampled_from(["10.0.0.0", "192.0.2.64", "198.51.100.7"]), st.integers(-100, 100))
    def test_ipv4(self, text: str, offset: int) -> None:
        """An IPv4 address is in the networks if it is in one of them, whichever way it is compared."""
        address = ip_address(text) + offset
        expected = any(address in network for network in NETWORKS)
        self.assertEqual(Networks(NETWORKS).contains_ipv4(int(address)), expected)
        self.assertEqual(address in Networks(NETWORKS), expected)

    def test_ipv6(self) -> None:
        """An IPv6 address is compared with the networks of its version."""
        self.assertIn(ip_address("2001:db8::1"), Networks(NETWORKS))
        self.assertNotIn(ip_address("2001:db9::1"), Networks(NETWORKS))

    def test_empty(self) -> None:
        """No address is in an empty set."""
        self.assertFalse(Networks([]).contains_ipv4(0))
        self.assertNotIn(ip_address("::"), Networks([]))
