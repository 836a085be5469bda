"""
Contents of the status page, before they become HTML. Pure functions.

This is the one place where readings of the reactor's clock become ages and remaining times. A reading itself means
nothing to a browser: it counts from an arbitrary moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssdpreg.discovery.events import LiveService
from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import facts_by_name
from ssdpreg.web.history import PastEvent
from ssdpreg.web.status_query import PAGE_SIZE

# Seconds.
_MINUTE = 60
_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Row:
    """
    A service in the table of the page.

    :ivar address: Host and port.
    :ivar tag: Tag of the search term.
    :ivar age: Seconds since the service appeared.
    :ivar remaining: Seconds until the service expires.
    :ivar state: ``registered``, ``waiting`` or ``refused``.
    :ivar reason: The backend's reason for a refusal, otherwise empty.
    :ivar standing: Standing of the service's claim: ``indirect``, ``direct`` or ``confirmed``.
    :ivar silence: Seconds since the latest reception.
    :ivar sender: IP address that announced the service.
    :ivar interface: Interface of the latest reception; empty if the service was not received in this run.
    :ivar facts: Facts that the device states about itself, by name.
    """

    registration: Registration
    address: str
    tag: str
    age: float
    remaining: float
    state: str
    reason: str
    standing: str
    silence: float
    sender: str
    interface: str
    facts: Mapping[str, str]

    @property
    def device_name(self) -> str:
        """Names that the device has for itself and for its model, as far as they are known and differ."""
        names = [
            self.facts.get("friendly_name", ""),
            self.facts.get("manufacturer", self.facts.get("redfish_vendor", "")),
            self.facts.get("model", self.facts.get("redfish_product", "")),
        ]
        return ", ".join(dict.fromkeys(filter(None, names)))


@dataclass(frozen=True, slots=True)
class EventRow:
    """
    An event in the list of the page.

    :ivar number: Serial number, from 1.
    :ivar age: Seconds since the event.
    :ivar kind: ``alive``, ``changed``, ``byebye``, ``expired``, ``evicted`` or ``unconfigured``.
    """

    number: int
    age: float
    kind: str
    registration: Registration


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of the services that match a filter.

    :ivar number: Number of the page, from 1.
    :ivar pages: Number of pages.
    :ivar found: Number of services on all pages.
    """

    rows: Sequence[Row]
    number: int
    pages: int
    found: int

    @property
    def first(self) -> int:
        """The number of its first service, from 1."""
        return (self.number - 1) * PAGE_SIZE + 1


@dataclass(frozen=True, slots=True)
class Totals:
    """
    Numbers of all services.

    :ivar services: Number of services.
    :ivar devices: Number of their devices.
    :ivar states: Number of services by state.
    """

    services: int
    devices: int
    states: Mapping[str, int]


def make_row(registration: Registration, live: LiveService, state: ServiceState, now: float) -> Row:
    """
    Create the row of a service.

    :param state: Its state in the backend.
    :param now: Reading of the reactor's clock.
    """
    return Row(
        registration,
        address=live.advertisement.endpoint.netloc,
        tag=live.advertisement.term.tag,
        age=now - live.appeared_at,
        remaining=live.expires_at - now,
        state=state.name,
        reason=state.reason,
        standing=live.standing.name.lower(),
        silence=now - live.received_at,
        sender=live.sender,
        interface=live.interface,
        facts=facts_by_name(registration.meta),
    )


def make_event_rows(events: Sequence[PastEvent], now: float) -> list[EventRow]:
    """
    Create the rows of events, in the same order.

    :param now: Reading of the reactor's clock.
    """
    return [EventRow(event.number, now - event.at, event.kind, event.registration) for event in events]


def format_duration(seconds: float) -> str:
    """Format a duration in its one or two largest units. ``formatDuration`` in page.js does the same."""
    rest = max(0, int(seconds))
    if rest < _MINUTE:
        return f"{rest} s"
    if rest < _HOUR:
        # Seconds beside minutes would change too often to be read.
        return f"{rest // _MINUTE} min"
    if rest < _DAY:
        return _format_units(rest // _HOUR, "h", rest % _HOUR // _MINUTE, "min")
    return _format_units(rest // _DAY, "d", rest % _DAY // _HOUR, "h")


def _format_units(major: int, major_unit: str, minor: int, minor_unit: str) -> str:
    return f"{major} {major_unit} {minor} {minor_unit}" if minor else f"{major} {major_unit}"
