"""Tests for :mod:`ssdpreg.registration.names`."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration.names import dns_name, seed_name


class SeedNameTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.registration.names.seed_name`."""

    def test_part_after_the_second_colon(self) -> None:
        """A name is the tag, a hyphen, and the part of the URN after its second colon."""
        names = {
            "urn:schemas-upnp-org:service:api:2.0": "RackHD-service:api:2.0",
            "urn:skunkworxs:inservice:agent:0": "RackHD-inservice:agent:0",
            "urn:a:b:c": "RackHD-b:c",
            "urn:a:b:": "RackHD-b:",
        }
        for urn, name in names.items():
            self.assertEqual(seed_name("RackHD", urn), name)

    def test_blanks(self) -> None:
        """Blanks of a URN become hyphens, and a literal asterisk is kept."""
        names = {
            "urn:schemas-mbs upnp device:service:URLService:1": "UPS-service:URLService:1",
            "urn:Microsoft Windows Peer Name Resolution Protocol: V4:IPV6": "UPS-V4:IPV6",
            "urn:a b": "UPS-urn:a-b",
            "urn:a:b:c  d e": "UPS-b:c-d-e",
            "urn:Belkin:device:**": "UPS-device:**",
        }
        for urn, name in names.items():
            self.assertEqual(seed_name("UPS", urn), name)

    def test_few_colons(self) -> None:
        """A URN with fewer than three colons is used as a whole."""
        for urn in ("urn:MalformedData", "urn:a:b", "upnp:rootdevice", "plain", ""):
            self.assertEqual(seed_name("Inservice", urn), f"Inservice-{urn}")


class DNSNameTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.registration.names.dns_name`."""

    def test_letters_digits_and_hyphens(self) -> None:
        """Each sequence of other characters becomes one hyphen, and the name has none at its ends."""
        self.assertEqual(dns_name("RackHD", "urn:schemas-upnp-org:service:api:2.0"), "rackhd-service-api-2-0")
        self.assertEqual(dns_name("_Lab ", "urn:x:y:_Z__1:"), "lab-y-z-1")

    def test_no_hyphen_after_truncation(self) -> None:
        """A truncated name that would end in a hyphen is one character shorter."""
        self.assertEqual(dns_name("a" * 62, "urn"), "a" * 62)

    def test_longest_name(self) -> None:
        """A name of 63 characters is not truncated, and a longer one has 63."""
        self.assertEqual(dns_name("RackHD", "u" * 56), "rackhd-" + "u" * 56)
        self.assertEqual(dns_name("RackHD", "u" * 57), "rackhd-" + "u" * 56)

    def test_no_valid_character(self) -> None:
        """A name without any character that DNS accepts is replaced by a constant."""
        self.assertEqual(dns_name("器", "電話"), "unnamed")

    @given(st.text(), st.text())
    @settings(derandomize=True, deadline=None)
    def test_any_text(self, tag: str, urn: str) -> None:
        """The name is a valid DNS label for any tag and any URN."""
        name = dns_name(tag, urn)
        self.assertTrue(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name), name)
