"""Tests for :mod:`ssdpreg.registration.names`."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration.names import dns_name, seed_name


class SeedNameTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.registration.names.seed_name`."""

    def test_what_follows_the_second_colon(self) -> None:
        """A name is the tag, a hyphen, and what follows the second colon of the URN."""
        names = {
            "urn:schemas-upnp-org:service:api:2.0": "RackHD-service:api:2.0",
            "urn:skunkworxs:inservice:agent:0": "RackHD-inservice:agent:0",
            "urn:a:b:c": "RackHD-b:c",
            "urn:a:b:": "RackHD-b:",
        }
        for urn, name in names.items():
            self.assertEqual(seed_name("RackHD", urn), name)

    def test_few_colons(self) -> None:
        """A URN of fewer than three colons is taken whole."""
        for urn in ("urn:MalformedData", "urn:a:b", "upnp:rootdevice", "plain", ""):
            self.assertEqual(seed_name("Inservice", urn), f"Inservice-{urn}")


class DNSNameTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.registration.names.dns_name`."""

    def test_letters_digits_and_hyphens(self) -> None:
        """Everything else becomes one hyphen, and none is left at the ends."""
        self.assertEqual(dns_name("RackHD", "urn:schemas-upnp-org:service:api:2.0"), "rackhd-service-api-2-0")
        self.assertEqual(dns_name("_Lab ", "urn:x:y:_Z__1:"), "lab-y-z-1")

    def test_no_hyphen_where_it_is_cut(self) -> None:
        """A name that would end in a hyphen at its 63rd character is shorter."""
        self.assertEqual(dns_name("a" * 62, "urn"), "a" * 62)

    def test_nothing_left(self) -> None:
        """A name of no letter that DNS knows is still a name."""
        self.assertEqual(dns_name("器", "電話"), "unnamed")

    @given(st.text(), st.text())
    @settings(derandomize=True, deadline=None)
    def test_is_a_label(self, tag: str, urn: str) -> None:
        """Whatever the configuration says, the name is a label of DNS."""
        name = dns_name(tag, urn)
        self.assertTrue(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name), name)
