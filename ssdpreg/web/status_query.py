"""Query string of the status page: filter, order, number of the page, and opened services. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlencode

from ssdpreg.registration import Registration
from ssdpreg.web.backend_states import STATES

#: Services on one page: few enough to render the page every second.
PAGE_SIZE = 100
#: Services that can be open at a time. The earliest one of more is closed.
MOST_OPEN = 20

#: Columns of the table by which the services can be sorted, from left to right.
COLUMNS = ("name", "device", "address", "tag", "age", "expires", "state")

#: Characters of a filter. Each word is looked for in each of 100,000 services, and a header has room for 8,000 words.
_LONGEST_TEXT = 500

_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """
    Wishes of a reader of the page.

    :ivar text: Filter.
    :ivar column: One of :data:`COLUMNS`, or empty for the usual order.
    :ivar descending: Whether the order of the column is reversed.
    :ivar number: Number of the page, from 1.
    :ivar opened: IDs of the opened services, in the order in which they were opened.
    """

    text: str = ""
    column: str = ""
    descending: bool = False
    number: int = 1
    opened: tuple[str, ...] = ()

    @property
    def sort(self) -> str:
        """Value of ``?sort=``: the column, after a hyphen for the descending order; empty for the usual order."""
        return f"-{self.column}" if self.descending else self.column

    def link(self) -> str:
        """Return a relative URL of the page. Parameters with their default value are omitted."""
        number = "" if self.number == 1 else str(self.number)
        values = [("q", self.text), ("sort", self.sort), ("page", number), *(("open", each) for each in self.opened)]
        return "?" + urlencode([(name, value) for name, value in values if value])

    def with_number(self, number: int) -> PageQuery:
        """Return the query for another page. The services of this page are closed."""
        return replace(self, number=number, opened=())

    def sorted_by(self, column: str) -> PageQuery:
        """Return the query for the order of a column: ascending first, and then descending."""
        return replace(self, column=column, descending=self.sort == column, number=1)

    def toggled(self, service_id: str) -> PageQuery:
        """Return the query that opens a closed service, or closes an opened one."""
        others = tuple(each for each in self.opened if each != service_id)
        opened = others if service_id in self.opened else (*others, service_id)[-MOST_OPEN:]
        return replace(self, opened=opened)


def parse_page_query(text: str) -> PageQuery:
    """Parse a query string. Values that cannot be read have no effect: the page has no place for an error."""
    values = parse_qs(text)
    sort, number = values.get("sort", [""])[0], values.get("page", [""])[0]
    column = sort.removeprefix("-")
    return PageQuery(
        text=values.get("q", [""])[0][:_LONGEST_TEXT],
        column=column if column in COLUMNS else "",
        descending=column in COLUMNS and sort != column,
        number=int(number) if _NUMBER.fullmatch(number) else 1,
        opened=tuple(dict.fromkeys(values.get("open", ())))[-MOST_OPEN:],
    )


class Filter:
    """
    Filter for services that contain all words of a text.

    :param text: Words, in any case.
    :param tags: Tags of all search terms.
    """

    def __init__(self, text: str, tags: Iterable[str]) -> None:
        # Each word once, in their order.
        self._words = list(dict.fromkeys(text.casefold().split()))
        # The words that may be part of a state or a tag. Most are not, and need no look at either.
        others = [*STATES, *(tag.casefold() for tag in tags)]
        self._tags_texts: dict[tuple[str, ...], str] = {}
        self._rare = {word for word in self._words if any(word in other for other in others)}
        self._in_tags = {word for word in self._rare if any(word in other for other in others[len(STATES) :])}

    def __bool__(self) -> bool:
        return bool(self._words)

    def matches(
        self, registration: Registration, state: Callable[[str], str], tag: Callable[[Registration], str]
    ) -> bool:
        """
        Return whether the name, device, address, tags, state or tag of the search term contain each word.

        :param state: Returns the state of the service with an ID.
        :param tag: Returns the tag of the search term of a service.
        """
        # Runs for each of 100,000 services.
        address, port, tags = registration.address, registration.port, registration.tags
        host = f"[{address}]" if ":" in address else address
        text = f"{registration.name} {registration.device_id} {host}:{port}".casefold()
        tags_text = None
        for word in self._words:
            if word in text:
                continue
            if tags_text is None:
                tags_text = self._tags_texts.get(tags)
                if tags_text is None:
                    tags_text = self._tags_texts[tags] = " ".join(tags).casefold()
            if word in tags_text:
                continue
            if word not in self._rare:
                return False
            if word in state(registration.service_id):
                continue
            if word not in self._in_tags or word not in tag(registration).casefold():
                return False
        return True


def number_pages(found: int, number: int) -> tuple[int, int]:
    """
    Return the number of the page to show, and the number of pages.

    :param found: Number of services on all pages.
    :param number: Number of the wanted page, from 1. For a number beyond the pages, the nearest page is shown.
    """
    pages = max(1, math.ceil(found / PAGE_SIZE))
    return min(max(number, 1), pages), pages
