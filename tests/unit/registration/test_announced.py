"""Tests for :mod:`ssdpreg.registration.announced`."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import CheckConfig
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.announced import AnnouncedRegistration

API = "urn:schemas-upnp-org:service:api:2.0"
ADVERTISEMENT = Advertisement.make(
    device_id="2286171\x00" + "5" * 600,
    urn=API,
    term=SearchTerm(API, "RackHD"),
    nt=API,
    usn=f"uuid:2286171::{API}",
    location="http://192.0.2.1:8080/größe",
    endpoint=Endpoint("http", "192.0.2.1", 8080),
    max_age=1800,
    server="Linux/6.1 UPnP/1.1 test/1.0",
)
RULES = RegistrationRules("rack-7", tags=("a", "b"), checks={API: CheckConfig(http="/", interval=15)})


def plain(registration: Registration) -> Registration:
    """Return an ordinary registration with the same fields."""
    return Registration(**{field.name: getattr(registration, field.name) for field in fields(registration)})


class AnnouncedRegistrationTests(SynchronousTestCase):
    """Tests for :class:`ssdpreg.registration.announced.AnnouncedRegistration`."""

    def setUp(self) -> None:
        self.registration = RULES.registration(ADVERTISEMENT)
        self.plain = plain(self.registration)

    def test_equal(self) -> None:
        """It is equal to an ordinary registration with the same fields, and to that of an equal advertisement."""
        again = RULES.registration(replace(ADVERTISEMENT))
        for one, other in (
            (self.registration, self.plain),
            (self.plain, self.registration),
            (self.registration, again),
        ):
            self.assertTrue(one == other)
            self.assertFalse(one != other)
        self.assertNotIsInstance(self.plain, AnnouncedRegistration)

    def test_differs(self) -> None:
        """It differs from a registration that differs in one field, and from other objects."""
        changes: dict[str, Any] = {
            "service_id": "x",
            "name": "x",
            "address": "x",
            "port": 1,
            "tags": (),
            "meta": {},
            "checks": frozenset(),
        }
        for name, value in changes.items():
            self.assertFalse(self.registration == replace(self.plain, **{name: value}), name)
        for advertisement in (replace(ADVERTISEMENT, server=""), replace(ADVERTISEMENT, max_age=60)):
            self.assertFalse(self.registration == RULES.registration(advertisement))
        self.assertFalse(self.registration == RegistrationRules("rack-7", tags=("a", "b")).registration(ADVERTISEMENT))
        self.assertFalse(self.registration == "x")

    def test_facts(self) -> None:
        """The facts are those of the Meta."""
        for name in ("device_id", "location", "nt", "usn", "server", "scope"):
            self.assertEqual(getattr(self.registration, name), getattr(self.plain, name), name)

    def test_shared_values(self) -> None:
        """The registrations of all services of one type share name, tags, scope and configured check."""
        one, other = (RULES.registration(replace(ADVERTISEMENT, device_id=device_id)) for device_id in ("1", "2"))
        assert isinstance(one, AnnouncedRegistration) and isinstance(other, AnnouncedRegistration)
        self.assertIs(one._shared, other._shared)
        self.assertEqual(one.checks & other.checks, frozenset())

    def test_replace(self) -> None:
        """A copy with other fields is an ordinary registration."""
        moved = replace(self.registration, address="192.0.2.99")
        self.assertEqual(moved, replace(self.plain, address="192.0.2.99"))
        self.assertEqual(moved.meta, self.registration.meta)

    def test_serialized(self) -> None:
        """All fields are found by :mod:`dataclasses`."""
        self.assertEqual(asdict(self.registration), asdict(self.plain))
        self.assertEqual(repr(self.registration).partition("(")[2], repr(self.plain).partition("(")[2])

    def test_immutable(self) -> None:
        """No field can be changed, and there is no hash, because Meta is a dictionary."""
        with self.assertRaises(AttributeError):
            self.registration.address = "x"  # type: ignore[misc]
        with self.assertRaises(AttributeError):
            self.registration.meta = {}  # type: ignore[misc]
        self.assertRaises(TypeError, hash, self.registration)
        self.assertFalse(hasattr(self.registration, "__dict__"))
