"""A flood of claims about types that a pattern matches does not delay the decision about another service."""

from __future__ import annotations

from ssdpreg.ssdp.messages import SEARCH_ALL, SearchResponse
from ssdpreg.ssdp.reception import Channel
from tests.unit.registry.registry_case import API, RegistryTestCase, alive


class ClaimFloodTests(RegistryTestCase):
    """A device gets a new address, while two hosts claim services of 20 types a second, each of a pattern."""

    terms = {API: "RackHD", "urn:x:*": "Any"}  # noqa: RUF012

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.forged = 0

    def flood(self, seconds: int) -> None:
        """Let time pass. The device at its new address replies to each search of the group that includes it."""
        for _ in range(2 * seconds):
            for _ in range(10):
                self.forged += 1
                for host in ("10.0.0.66", "10.0.0.67"):
                    self.receive(alive(host, f"urn:x:{self.forged}", "E"), host)
            self.advance(0.5)
            for target, _mx in self.searches():
                if target in (API, SEARCH_ALL):
                    self.network.receive(
                        SearchResponse(API, f"uuid:D::{API}", "http://10.0.0.7/x", 1800), "10.0.0.7", Channel.SEARCH
                    )

    def test_move(self) -> None:
        """The service is at the new address within 40 s."""
        self.receive(alive())
        self.flood(20)
        self.receive(alive("10.0.0.7"), "10.0.0.7")
        self.flood(40)
        (registration,) = [
            each for each in self.registry.registrations.values() if each.name == "RackHD-service:api:2.0"
        ]
        self.assertEqual(registration.address, "10.0.0.7")
