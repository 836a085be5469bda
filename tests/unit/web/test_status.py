"""Tests for :mod:`ssdpreg.web.status`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import LiveService
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import RegistrationRules
from ssdpreg.testing import make_registration
from ssdpreg.web.history import Event
from ssdpreg.web.status import (
    EventRow,
    Row,
    count_devices,
    count_states,
    find_page,
    format_duration,
    make_event_rows,
    make_rows,
)

_API = "urn:schemas-upnp-org:service:api:2.0"
_LLDP = "urn:schemas-upnp-org:service:lldp:0.1"


def make_live(device_id: str, urn: str = _API, host: str = "10.0.0.5") -> LiveService:
    """Create a live service that was announced at 1000 s."""
    return LiveService(
        Advertisement(
            device_id=device_id,
            urn=urn,
            term=SearchTerm(urn, "Rack"),
            nt=urn,
            usn=f"uuid:{device_id}::{urn}",
            location=f"http://{host}:80/",
            endpoint=Endpoint("http", host, 80),
            max_age=1800,
        ),
        "10.0.0.5",
        appeared_at=1000.0,
        received_at=1000.0,
        expires_at=2860.0,
    )


def rows_of(*services: LiveService, refused: str = "") -> list[Row]:
    """Create the rows of services at 1008 s, of which those of one device were refused."""
    rules = RegistrationRules("rack-7", tags=("Blue",))
    registrations = [(rules.registration(live.advertisement), live) for live in services]
    refused_ids = {registration.service_id for registration, _ in registrations if registration.device_id == refused}
    return make_rows(
        registrations,
        lambda service_id: (
            ServiceState("refused", "403 no: never") if service_id in refused_ids else ServiceState("registered")
        ),
        1008.0,
    )


def devices(rows: list[Row]) -> list[str]:
    """Return the devices of rows."""
    return [row.registration.device_id for row in rows]


class RowsTests(SynchronousTestCase):
    """Tests for :func:`make_rows` and the counts."""

    def test_sorted(self) -> None:
        """Refused services come first, then the order is by name and device."""
        rows = rows_of(make_live("b"), make_live("z", _LLDP), make_live("c"), make_live("a"), refused="c")
        self.assertEqual(devices(rows), ["c", "a", "b", "z"])

    def test_state(self) -> None:
        """A refused service has the backend's reason."""
        (row,) = rows_of(make_live("a"), refused="a")
        self.assertEqual((row.state, row.reason), ("refused", "403 no: never"))

    def test_times(self) -> None:
        """A row has ages and remaining times, not readings of the clock."""
        (row,) = rows_of(make_live("a"))
        self.assertEqual((row.age, row.remaining), (8.0, 1852.0))

    def test_events(self) -> None:
        """Events have ages, not readings of the clock."""
        registration = make_registration(1)
        events = [Event(2, 1007.5, "byebye", registration), Event(1, 1000.0, "alive", registration)]
        self.assertEqual(
            make_event_rows(events, 1008.0),
            [EventRow(2, 0.5, "byebye", registration), EventRow(1, 8.0, "alive", registration)],
        )

    def test_counts(self) -> None:
        """Services are counted by state, and each device once, without regard to case."""
        rows = rows_of(make_live("a"), make_live("A", _LLDP), make_live("b"), refused="b")
        self.assertEqual(count_states(rows), {"registered": 2, "refused": 1})
        self.assertEqual(count_devices(rows), 2)


class FindPageTests(SynchronousTestCase):
    """Tests for :func:`find_page`."""

    def test_words(self) -> None:
        """Each word must be in the name, device, address, tags or state, in any case."""
        rows = rows_of(make_live("dev-1"), make_live("dev-2", host="2001:db8::5"), make_live("x", _LLDP), refused="x")
        for text, found in {
            "": ["x", "dev-1", "dev-2"],
            "DEV": ["dev-1", "dev-2"],
            "dev 10.0.0.5:80": ["dev-1"],
            "[2001:db8::5]": ["dev-2"],
            "lldp": ["x"],
            "refused": ["x"],
            "blue rack x": ["x"],
            "dev lldp": [],
        }.items():
            self.assertEqual(devices(list(find_page(rows, text, 1).rows)), found, text)

    def test_pages(self) -> None:
        """A page has a hundred rows; for a number beyond the pages, the nearest page is returned."""
        rows = rows_of(*(make_live(f"dev-{number:03}") for number in range(250)))
        for wanted, number, first, count in ((1, 1, 1, 100), (3, 3, 201, 50), (9, 3, 201, 50), (0, 1, 1, 100)):
            page = find_page(rows, "", wanted)
            self.assertEqual(
                (page.number, page.first, len(page.rows), page.pages, page.found), (number, first, count, 3, 250)
            )
        self.assertEqual(find_page([], "", 1).pages, 1)


class FormatDurationTests(SynchronousTestCase):
    """Tests for :func:`format_duration`. A system test compares the script's function with it."""

    def test_durations(self) -> None:
        """Durations have one unit, or two if they are an hour or longer and the second is not 0."""
        for seconds, text in {
            -5: "0 s",
            0.9: "0 s",
            59.9: "59 s",
            60: "1 min",
            119: "1 min",
            3600: "1 h",
            3725: "1 h 2 min",
            86399: "23 h 59 min",
            86400: "1 d",
            90000: "1 d 1 h",
        }.items():
            self.assertEqual(format_duration(seconds), text)
