"""Tests for :mod:`ssdpreg.discovery.shared`, and for the values that advertisements share."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.interpret import interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.messages import Alive
from ssdpreg.ssdp.reception import Reception
from tests.support.table_case import URN


class SharedValuesTests(SynchronousTestCase):
    """Tests for the memory of many advertisements."""

    def advertisement(self, number: int) -> Advertisement:
        """Return the advertisement of a device as it is received."""
        alive = Alive(URN, f"uuid:{number}::{URN}", f"HTTP://10.0.0.{number}:8080/", 1800, "Linux/6.1 UPnP/1.1 x/1")
        terms, rules = SearchTerms({URN: "A"}), LocationRules([ip_network("0.0.0.0/0")])
        meaning = interpret(decode(encode(alive)), f"10.0.0.{number}", terms, rules)
        assert isinstance(meaning, Advertisement)
        return meaning

    def test_advertisements(self) -> None:
        """Advertisements of one product share what does not name the device."""
        one, two = self.advertisement(1), self.advertisement(2)
        self.assertIs(one.server, two.server)
        self.assertIs(one.max_age, two.max_age)
        self.assertIs(one.lifetime, two.lifetime)
        self.assertIs(one.endpoint.port, two.endpoint.port)
        self.assertIs(one.nt, one.urn)
        self.assertEqual((one.endpoint.scheme, one.nt, one.server), ("http", URN, "Linux/6.1 UPnP/1.1 x/1"))

    def test_claim(self) -> None:
        """A claim keeps no second copy of the address of a device that announces itself."""
        one = self.advertisement(1)
        claim = Claim(one, Reception("".join(["10.0.0.", "1"])), 0.0)
        self.assertIs(claim.sender, one.endpoint.host)
