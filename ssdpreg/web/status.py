"""
Contents of the status page, before they become HTML. Pure functions.

This is the one place where readings of the reactor's clock become ages and remaining times. A reading itself means
nothing to a browser: it counts from an arbitrary moment.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssdpreg.discovery.events import LiveService
from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Registration
from ssdpreg.web.history import Event

#: Services on one page: few enough to render the page every second.
PAGE_SIZE = 100

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
    """

    registration: Registration
    address: str
    tag: str
    age: float
    remaining: float
    state: str
    reason: str

    @property
    def words(self) -> str:
        """The text that a filter is compared with, in lower case."""
        registration = self.registration
        texts = (registration.name, registration.device_id, self.address, *registration.tags, self.state)
        return " ".join((*texts, self.tag)).casefold()


@dataclass(frozen=True, slots=True)
class EventRow:
    """
    An event in the list of the page.

    :ivar number: Serial number, from 1.
    :ivar age: Seconds since the event.
    :ivar kind: ``alive``, ``changed``, ``byebye``, ``expired`` or ``unconfigured``.
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


def make_rows(
    services: Sequence[tuple[Registration, LiveService]], state: Callable[[str], ServiceState], now: float
) -> list[Row]:
    """
    Create the rows of all services. Refused services come first: an operator has to act on them.

    :param state: :meth:`ssdpreg.reconciler.Reconciler.state`.
    :param now: Reading of the reactor's clock.
    """
    rows = []
    for registration, live in services:
        in_backend = state(registration.service_id)
        rows.append(
            Row(
                registration,
                address=live.advertisement.endpoint.netloc,
                tag=live.advertisement.term.tag,
                age=now - live.appeared_at,
                remaining=live.expires_at - now,
                state=in_backend.name,
                reason=in_backend.reason,
            )
        )
    return sorted(
        rows,
        key=lambda row: (
            row.state != "refused",
            row.registration.name,
            row.registration.device_id,
            row.registration.service_id,
        ),
    )


def make_event_rows(events: Sequence[Event], now: float) -> list[EventRow]:
    """
    Create the rows of events, in the same order.

    :param now: Reading of the reactor's clock.
    """
    return [EventRow(event.number, now - event.at, event.kind, event.registration) for event in events]


def find_page(rows: Sequence[Row], text: str, number: int) -> Page:
    """
    Return one page of the rows that contain all words of a filter.

    :param number: Number of the page, from 1. Beyond the last page, the last one is returned.
    """
    words = text.casefold().split()
    found = [row for row in rows if all(word in row.words for word in words)] if words else rows
    pages = max(1, math.ceil(len(found) / PAGE_SIZE))
    number = min(max(number, 1), pages)
    return Page(found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE], number, pages, len(found))


def count_states(rows: Sequence[Row]) -> Counter[str]:
    """Count the services in each state."""
    return Counter(row.state for row in rows)


def count_devices(rows: Sequence[Row]) -> int:
    """Count the devices."""
    return len({row.registration.device_id.casefold() for row in rows})


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
