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
from ssdpreg.web.history import PastEvent
from ssdpreg.web.status import EventRow, Row, format_duration, make_event_rows, make_row

_API = "urn:schemas-upnp-org:service:api:2.0"


def make_live(device_id: str, urn: str = _API, host: str = "10.0.0.5") -> LiveService:
    """Create a live service that was announced at 1000 s."""
    return LiveService(
        Advertisement.make(
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
        received_at=1005.0,
        expires_at=2860.0,
        interface="eth0",
    )


def row_of(live: LiveService, state: ServiceState) -> Row:
    """Create the row of a service at 1008 s."""
    return make_row(RegistrationRules("rack-7").registration(live.advertisement), live, state, 1008.0)


class RowTests(SynchronousTestCase):
    """Tests for :func:`make_row`, and :func:`make_event_rows`."""

    def test_state(self) -> None:
        """A refused service has the backend's reason."""
        row = row_of(make_live("a"), ServiceState("refused", "403 no: never"))
        self.assertEqual((row.state, row.reason), ("refused", "403 no: never"))

    def test_times(self) -> None:
        """A row has ages and remaining times, not readings of the clock."""
        row = row_of(make_live("a"), ServiceState("registered"))
        self.assertEqual((row.age, row.remaining, row.silence), (8.0, 1852.0, 3.0))

    def test_facts(self) -> None:
        """The name of a device consists of the facts that are known, each of them once."""
        live = make_live("a")
        for facts, name in (
            ({}, ""),
            ({"ssdp-friendly-name": "Lab", "ssdp-manufacturer": "Example", "ssdp-model": "X"}, "Lab, Example, X"),
            ({"ssdp-friendly-name": "X", "ssdp-model": "X", "ssdp-serial": "4711"}, "X"),
            ({"redfish-vendor": "Example", "redfish-product": "Server", "redfish-version": "1.0"}, "Example, Server"),
        ):
            registration = RegistrationRules("rack-7").registration(live.advertisement, facts=facts)
            self.assertEqual(make_row(registration, live, ServiceState("registered"), 1008.0).device_name, name)

    def test_events(self) -> None:
        """Events have ages, not readings of the clock."""
        registration = make_registration(1)
        events = [PastEvent(2, 1007.5, "byebye", registration), PastEvent(1, 1000.0, "alive", registration)]
        self.assertEqual(
            make_event_rows(events, 1008.0),
            [EventRow(2, 0.5, "byebye", registration), EventRow(1, 8.0, "alive", registration)],
        )


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
