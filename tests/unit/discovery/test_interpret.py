"""Tests for :mod:`ssdpreg.discovery.interpret`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import (
    NO_DEVICE_ID,
    UNMATCHED,
    BootNotice,
    Departure,
    Meaning,
    Rejection,
    interpret,
    interpreter,
)
from ssdpreg.discovery.location import Endpoint, LocationRules
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update

API = "urn:schemas-upnp-org:service:api:2.0"
SWITCH = "urn:schemas-upnp-org:service:SwitchPower"
PATTERN = "urn:example-com:*"

TERMS = SearchTerms({API: "RackHD", f"{SWITCH}:1": "Switch", PATTERN: "Example"})
LOCATIONS = LocationRules([ip_network("10.0.0.0/8")])


def alive(
    nt: str = API,
    usn: str | None = None,
    location: str = "http://10.0.0.5:8080/",
    max_age: int | None = 1800,
    server: str = "",
) -> Alive:
    """Return an ``ssdp:alive``. Its USN is derived from the type unless one is given."""
    return Alive(nt, f"uuid:D::{nt}" if usn is None else usn, location, max_age, server)


class InterpretTestCase(SynchronousTestCase):
    """Base class: messages are interpreted for the same search terms and LOCATION rules."""

    def interpret(self, message: Message) -> Meaning | None:
        """Return the meaning of a message from 10.0.0.5."""
        return interpret(message, "10.0.0.5", TERMS, LOCATIONS)


class AdvertisementTests(InterpretTestCase):
    """Announcements and search responses of live services."""

    def test_alive(self) -> None:
        """An ``ssdp:alive`` of a matching type is an advertisement with all facts of the message."""
        self.assertEqual(
            self.interpret(alive(server="Linux/6 UPnP/2.0")),
            Advertisement.make(
                device_id="D",
                urn=API,
                term=SearchTerm(API, "RackHD"),
                nt=API,
                usn=f"uuid:D::{API}",
                location="http://10.0.0.5:8080/",
                endpoint=Endpoint("http", "10.0.0.5", 8080),
                max_age=1800,
                server="Linux/6 UPnP/2.0",
            ),
        )

    def test_search_response(self) -> None:
        """A search response is interpreted like an ``ssdp:alive`` with the same fields."""
        response = SearchResponse(API, f"uuid:D::{API}", "http://10.0.0.5:8080/", 1800)
        self.assertEqual(self.interpret(response), self.interpret(alive()))

    def test_identity_of_an_exact_term(self) -> None:
        """All versions that an exact term matches have the URN of the term, and keep the announced NT."""
        meaning = self.interpret(alive(f"{SWITCH}:3"))
        assert isinstance(meaning, Advertisement)
        self.assertEqual((meaning.urn, meaning.nt), (f"{SWITCH}:1", f"{SWITCH}:3"))

    def test_identity_of_a_pattern(self) -> None:
        """A service that a pattern matches has the announced URN, not the pattern."""
        meaning = self.interpret(alive("urn:example-com:service:pump:1"))
        assert isinstance(meaning, Advertisement)
        self.assertEqual((meaning.urn, meaning.term.urn), ("urn:example-com:service:pump:1", PATTERN))

    def test_max_age(self) -> None:
        """A missing max-age is replaced by the default, and a long one is reduced to the longest accepted."""
        for announced, accepted in {None: 1800, 1: 1, 86399: 86399, 86401: 86400, 10**9: 86400}.items():
            meaning = self.interpret(alive(max_age=announced))
            assert isinstance(meaning, Advertisement)
            self.assertEqual(meaning.max_age, accepted)


class DepartureTests(InterpretTestCase):
    """Messages that end one service or all services of a device."""

    def test_byebye(self) -> None:
        """An ``ssdp:byebye`` of a matching type ends one service."""
        self.assertEqual(self.interpret(ByeBye(API, f"uuid:D::{API}")), Departure("D", API))

    def test_byebye_of_a_later_version(self) -> None:
        """A byebye of a later version ends the service of the exact term."""
        self.assertEqual(self.interpret(ByeBye(f"{SWITCH}:3", f"uuid:D::{SWITCH}:3")), Departure("D", f"{SWITCH}:1"))

    def test_byebye_of_a_type_that_a_pattern_matches(self) -> None:
        """A byebye of a type that a pattern matches ends the service of that type."""
        nt = "urn:example-com:service:pump:1"
        self.assertEqual(self.interpret(ByeBye(nt, f"uuid:D::{nt}")), Departure("D", nt))

    def test_byebye_of_a_root_device(self) -> None:
        """A byebye of ``upnp:rootdevice`` ends all services of its device, in any case of the letters."""
        for nt in ("upnp:rootdevice", "UPNP:RootDevice"):
            self.assertEqual(self.interpret(ByeBye(nt, "uuid:D::upnp:rootdevice")), Departure("D", None))

    def test_byebye_of_a_bare_uuid(self) -> None:
        """A byebye whose NT and USN are only the UUID ends all services of its device."""
        self.assertEqual(self.interpret(ByeBye("uuid:D", "uuid:D")), Departure("D", None))

    def test_max_age_0(self) -> None:
        """An announcement or a response with max-age 0 ends its service, even without a LOCATION."""
        for message in (alive(max_age=0), alive(max_age=0, location=""), SearchResponse(API, f"uuid:D::{API}", "", 0)):
            self.assertEqual(self.interpret(message), Departure("D", API))

    def test_byebye_without_a_matching_term(self) -> None:
        """A byebye of a type that no search term matches ends no service."""
        self.assertEqual(self.interpret(ByeBye("urn:x", "uuid:D::urn:x")), Rejection("urn:x", UNMATCHED))


class RejectionTests(InterpretTestCase):
    """Announcements that cannot be registered."""

    def test_unmatched_type(self) -> None:
        """A type that no search term matches is rejected before its other fields are checked."""
        self.assertEqual(self.interpret(alive("urn:x", usn="", location="")), Rejection("urn:x", UNMATCHED))

    def test_no_device_id(self) -> None:
        """A USN without a device ID that can be displayed is rejected."""
        for usn in ("", API, "uuid:", f"uuid:::{API}", "uuid:a\x00b", "uuid:" + "x" * 256):
            self.assertEqual(self.interpret(alive(usn=usn)), Rejection(API, NO_DEVICE_ID))

    def test_location(self) -> None:
        """The reason for a rejected LOCATION is the reason of the LOCATION rules."""
        for location, reason in {
            "": "no LOCATION",
            "ftp://10.0.0.5/": "LOCATION is no http or https URL",
            "http://192.168.1.1/": "LOCATION is not in an allowed network",
        }.items():
            self.assertEqual(self.interpret(alive(location=location)), Rejection(API, reason))

    def test_sender(self) -> None:
        """A loopback LOCATION is accepted from a loopback sender only."""
        locations = LocationRules([ip_network("0.0.0.0/0")])
        message = alive(location="http://127.0.0.1:80/")
        self.assertIsInstance(interpret(message, "127.0.0.1", TERMS, locations), Advertisement)
        self.assertEqual(interpret(message, "10.0.0.5", TERMS, locations), Rejection(API, "LOCATION is on loopback"))


class MeaninglessTests(InterpretTestCase):
    """Messages that do not affect live services."""

    def test_search(self) -> None:
        """A search has no meaning for live services."""
        self.assertIsNone(self.interpret(SearchRequest(API)))

    def test_update(self) -> None:
        """
        An ``ssdp:update`` announces another BOOTID of the device, and changes nothing else.

        Without valid BOOTIDs it has no meaning.
        """
        for boot_ids in (("", ""), ("1", ""), ("", "2")):
            self.assertIsNone(self.interpret(Update(API, f"uuid:D::{API}", *boot_ids)))
        self.assertEqual(self.interpret(Update("urn:x", "uuid:D::urn:x", "1", "2")), BootNotice("D", "1", "2"))


class InterpreterTests(SynchronousTestCase):
    """Tests for :func:`interpreter`."""

    def test_same_meaning(self) -> None:
        """It returns the meanings that :func:`interpret` returns, for each sender."""
        fixed = interpreter(TERMS, LOCATIONS)
        for message in (alive(), alive("urn:x"), ByeBye(API, f"uuid:D::{API}"), SearchRequest(API)):
            for sender in ("10.0.0.5", "127.0.0.1"):
                self.assertEqual(fixed(message, sender), interpret(message, sender, TERMS, LOCATIONS))
