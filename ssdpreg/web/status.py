"""What the status page says, before it is a page. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ssdpreg.discovery.advertisement import LiveService
from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Registration

#: Services on one page: more than anybody reads, and few enough to be made every second.
PAGE_SIZE = 100

# Seconds.
_MINUTE = 60
_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Row:
    """
    A service, as it is shown.

    :ivar state: ``registered``, ``waiting`` or ``refused``.
    :ivar reason: Why it was refused, or empty.
    """

    registration: Registration
    live: LiveService
    state: str
    reason: str

    @property
    def words(self) -> str:
        """All that it can be found by, in lower case."""
        registration = self.registration
        texts = (registration.name, registration.meta["ssdp-device"], self.address, *registration.tags, self.state)
        return " ".join((*texts, self.live.advertisement.term.tag)).casefold()

    @property
    def address(self) -> str:
        """Host and port."""
        return self.live.advertisement.endpoint.netloc


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of the services that somebody looks for.

    :ivar number: Which one, from 1.
    :ivar pages: How many there are.
    :ivar found: How many services are on all of them.
    """

    rows: Sequence[Row]
    number: int
    pages: int
    found: int

    @property
    def first(self) -> int:
        """The number of its first service, from 1."""
        return (self.number - 1) * PAGE_SIZE + 1


def make_rows(services: Sequence[tuple[Registration, LiveService]], state: Callable[[str], ServiceState]) -> list[Row]:
    """
    Make the rows of all services, sorted for people.

    :param state: What :meth:`ssdpreg.reconciler.Reconciler.state` says of a service.
    """
    rows = []
    for registration, live in services:
        in_backend = state(registration.service_id)
        rows.append(Row(registration, live, in_backend.name, in_backend.reason))
    # What needs a person comes first.
    return sorted(
        rows,
        key=lambda row: (
            row.state != "refused",
            row.registration.name,
            row.registration.meta["ssdp-device"],
            row.registration.service_id,
        ),
    )


def find_page(rows: Sequence[Row], text: str, number: int) -> Page:
    """
    Find the rows that have all words of a text, and of those the ones of a page.

    :param number: The page that is wanted, from 1; the nearest that there is will be had.
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
    return len({row.registration.meta["ssdp-device"].casefold() for row in rows})


def say_duration(seconds: float) -> str:
    """Say how long something lasts, as precisely as anybody wants to know. The page's script does the same."""
    rest = max(0, int(seconds))
    if rest < _MINUTE:
        return f"{rest} s"
    if rest < _HOUR:
        # Seconds beside minutes would only flicker.
        return f"{rest // _MINUTE} min"
    if rest < _DAY:
        return _say_both(rest // _HOUR, "h", rest % _HOUR // _MINUTE, "min")
    return _say_both(rest // _DAY, "d", rest % _DAY // _HOUR, "h")


def _say_both(major: int, major_unit: str, minor: int, minor_unit: str) -> str:
    return f"{major} {major_unit} {minor} {minor_unit}" if minor else f"{major} {major_unit}"
