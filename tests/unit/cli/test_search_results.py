"""Tests for :mod:`ssdpreg.cli.search_results`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.search_results import SearchResults
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.ssdp.messages import Alive, ByeBye, SearchRequest, SearchResponse, Update

API = "urn:schemas-upnp-org:service:api:2.0"
ROOT = "upnp:rootdevice"
LOCATION = "http://10.0.0.5:8080/"


def make_alive(nt: str = API, device_id: str = "D", location: str = LOCATION, max_age: int | None = 1800) -> Alive:
    """Create an announcement."""
    return Alive(nt, f"uuid:{device_id}::{nt}", location, max_age, "Linux/6")


def make_results(*urns: str) -> SearchResults:
    """
    Create a collection.

    :param urns: URNs that an advertisement has to match; none to collect all.
    """
    terms = SearchTerms(dict.fromkeys(urns, "")) if urns else None
    return SearchResults(terms, LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")]))


class SearchResultsTests(SynchronousTestCase):
    """Tests for :class:`ssdpreg.cli.search_results.SearchResults`."""

    def add(
        self, results: SearchResults, *messages: Alive | ByeBye | SearchResponse, address: str = "10.0.0.5"
    ) -> list[str]:
        """Add messages, and return the device ID and type of each advertisement in the collection."""
        for message in messages:
            results.add(message, address)
        return [f"{device.device_id} {each.nt}" for device in results.devices() for each in device.advertisements]

    def test_devices(self) -> None:
        """Device IDs are compared without case, and devices are sorted by address as a number."""
        results = make_results()
        self.add(results, make_alive(device_id="far"), address="10.0.0.10")
        self.add(
            results,
            make_alive(),
            make_alive(ROOT, "d"),
            SearchResponse(API, f"uuid:D::{API}", LOCATION),
            address="10.0.0.9",
        )
        self.assertEqual(
            [(device.device_id, device.addresses, len(device.advertisements)) for device in results.devices()],
            [("D", ("10.0.0.9",), 2), ("far", ("10.0.0.10",), 1)],
        )

    def test_two_addresses(self) -> None:
        """A device with two addresses is one device with the advertisements from both."""
        results = make_results()
        self.add(results, make_alive(), address="10.0.0.10")
        self.add(results, make_alive(), address="10.0.0.9")
        (device,) = results.devices()
        self.assertEqual((device.addresses, len(device.advertisements)), (("10.0.0.9", "10.0.0.10"), 2))

    def test_repeated_advertisement(self) -> None:
        """A later advertisement replaces an earlier one."""
        results = make_results()
        self.add(results, make_alive(max_age=5), make_alive(max_age=None))
        self.assertEqual([each.max_age for each in results.devices()[0].advertisements], [None])

    def test_without_device_id(self) -> None:
        """Devices without an ID are distinguished by their addresses, and cannot be registered."""
        results = make_results()
        for address in ("10.0.0.5", "10.0.0.6"):
            self.add(results, Alive(API, "nonsense", LOCATION), address=address)
        self.assertEqual(
            [(device.device_id, device.advertisements[0].problem) for device in results.devices()],
            [("", "no device ID")] * 2,
        )

    def test_unprintable_device_id(self) -> None:
        """A device ID with a control character is reported, and cannot be registered."""
        results = make_results()
        self.add(results, make_alive(device_id="a\x1bb"))
        (device,) = results.devices()
        self.assertEqual((device.device_id, device.advertisements[0].problem), ("a\x1bb", "no device ID"))

    def test_problem(self) -> None:
        """An advertisement that the daemon would reject has the reason as its problem."""
        results = make_results()
        self.add(results, make_alive(location="http://127.0.0.1/"), make_alive(ROOT))
        self.assertEqual(
            {each.nt: each.problem for each in results.devices()[0].advertisements},
            {API: "LOCATION is on loopback", ROOT: ""},
        )

    def test_terms(self) -> None:
        """Only advertisements that match a search term are collected, later versions and patterns included."""
        device = "urn:schemas-upnp-org:device:x"
        received = (make_alive(f"{device}:2"), make_alive(ROOT), make_alive())
        self.assertEqual(self.add(make_results(f"{device}:1"), *received), [f"D {device}:2"])
        self.assertEqual(self.add(make_results("urn:*"), *received), [f"D {device}:2", f"D {API}"])
        self.assertEqual(self.add(make_results(ROOT), *received), [f"D {ROOT}"])

    def test_departure(self) -> None:
        """A byebye or a max-age of 0 removes a type, that of a root device all types, and only those of its sender."""
        received = (make_alive(), make_alive(ROOT), make_alive(device_id="E"))
        without_api = [f"D {ROOT}", f"E {API}"]
        self.assertEqual(self.add(make_results(), *received, ByeBye(API, f"uuid:d::{API}")), without_api)
        self.assertEqual(self.add(make_results(), *received, make_alive(max_age=0)), without_api)
        self.assertEqual(self.add(make_results(), *received, ByeBye(ROOT, f"uuid:D::{ROOT}")), [f"E {API}"])
        self.assertEqual(self.add(make_results(), *received, ByeBye("uuid:D", "uuid:D")), [f"E {API}"])
        results = make_results()
        self.add(results, *received)
        self.assertEqual(
            self.add(results, ByeBye(ROOT, f"uuid:D::{ROOT}"), address="10.0.0.66"),
            [f"D {ROOT}", f"D {API}", f"E {API}"],
        )

    def test_other_messages(self) -> None:
        """Searches and updates are ignored."""
        results = make_results()
        results.add(SearchRequest(API), "10.0.0.5")
        results.add(Update(API, f"uuid:D::{API}"), "10.0.0.5")
        self.assertEqual(results.devices(), [])
