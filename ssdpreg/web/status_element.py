"""HTML of the status page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from twisted.python.filepath import FilePath
from twisted.web.server import Request
from twisted.web.template import Element, Tag, XMLFile, renderer, tags

import ssdpreg
from ssdpreg.web import chart
from ssdpreg.web.history import Minute
from ssdpreg.web.status import EventRow, Page, Totals, format_duration
from ssdpreg.web.status_details import Details
from ssdpreg.web.status_query import PageQuery
from ssdpreg.web.status_service import ServiceElement
from ssdpreg.web.view import View

#: Labels of events whose kind is not its own label.
_LABELS = {"alive": "appeared"}

#: Labels of the columns. They are links that sort the services.
_COLUMN_LABELS = {
    "name": "Service",
    "device": "Device",
    "address": "Address",
    "tag": "Tag",
    "age": "Age",
    "expires": "Expires in",
    "state": "State",
}
_TIME_COLUMNS = ("age", "expires")


@dataclass(frozen=True, slots=True)
class PageContents:
    """
    Everything that one response shows.

    :ivar view: Parts of the daemon.
    :ivar minutes: Contents of the charts.
    :ivar events: The latest events.
    :ivar totals: Numbers of all services.
    :ivar page: The services to show.
    :ivar details: Details of the opened services among them, by service ID.
    :ivar query: The query of the reader.
    """

    view: View
    minutes: Sequence[Minute]
    events: Sequence[EventRow]
    totals: Totals
    page: Page
    details: Mapping[str, Details]
    query: PageQuery


class PageElement(Element):
    """
    The page. The template escapes all text from devices.

    Links that page.js follows in place end in a fragment, so that a browser without scripts shows the same part of the
    page again.

    Ages and remaining times have a ``data-age`` or ``data-remaining``, in seconds at the time of rendering, from which
    page.js computes the present text.

    :param contents: Contents of the page.
    """

    loader = XMLFile(FilePath(__file__).sibling("page.xml"))

    def __init__(self, contents: PageContents) -> None:
        super().__init__()
        self._view, self._minutes, self._events = contents.view, contents.minutes, contents.events
        self._totals, self._page, self._details = contents.totals, contents.page, contents.details
        self._query = contents.query

    @renderer
    def title(self, request: Request, tag: Tag) -> Tag:
        return tag(f"{_plural(self._totals.services, 'service')} on {self._view.node}: ssdpreg")

    @renderer
    def node(self, request: Request, tag: Tag) -> Tag:
        return tag(f"on {self._view.node}")

    @renderer
    def backend(self, request: Request, tag: Tag) -> Tag:
        fault = self._view.backend_fault
        if fault:
            return _pill(tag, "bad", fault)
        name = "; ".join(filter(None, (self._view.backend, self._view.writer)))
        # Refused changes are counted elsewhere on the page.
        pending = self._view.reconciler.pending - self._totals.states["refused"]
        return _pill(tag, "good", f"{name}, {_plural(pending, 'change')} pending" if pending > 0 else name)

    @renderer
    def search(self, request: Request, tag: Tag) -> Tag:
        terms = len(self._view.registry.get_search_terms())
        if not self._view.registry.settled:
            return _pill(tag, "busy", f"searching for {_plural(terms, 'type')}")
        return _pill(tag, "good", f"searches for {_plural(terms, 'type')}")

    @renderer
    def interfaces(self, request: Request, tag: Tag) -> Tag:
        interfaces = self._view.registry.interfaces
        if not interfaces:
            return _pill(tag, "bad", "no interface to listen on")
        return _pill(tag, "good", ", ".join(f"{name} {address}" for name, address in interfaces))

    @renderer
    def numbers(self, request: Request, tag: Tag) -> Tag:
        states = self._totals.states
        slots = {"services": f"{self._totals.services:,}", "devices": f"{self._totals.devices:,}"}
        for state, emphasis in (("registered", "good"), ("waiting", "busy"), ("refused", "bad")):
            slots[state] = f"{states[state]:,}"
            slots[f"{state}-class"] = emphasis if states[state] else "none"
        return tag.fillSlots(**slots)

    @renderer
    def announcement(self, request: Request, tag: Tag) -> Tag:
        return tag(f"{_plural(self._totals.services, 'service')} on {_plural(self._totals.devices, 'device')}")

    @renderer
    def charts(self, request: Request, tag: Tag) -> Tag:
        minutes = self._minutes
        alive = sum(minute.alive for minute in minutes)
        byebye = sum(minute.byebye for minute in minutes)
        expired = sum(minute.expired for minute in minutes)
        fewest = min(minute.services for minute in minutes)
        most = max(minute.services for minute in minutes)
        return tag.fillSlots(
            peak=f"{most:,}" if most else "",
            description=f"Live services in the last {_plural(len(minutes), 'minute')}: {fewest} to {most}. "
            f"{alive} appeared, {byebye} left with a byebye, {expired} expired.",
            area=chart.area(minutes),
            outline=chart.outline(minutes),
            bars=[
                Tag(
                    "rect", {"class": kind, "x": f"{x + 1:g}", "y": f"{y:.1f}", "width": "8", "height": f"{height:.1f}"}
                )
                for kind, x, y, height in chart.bars(minutes)
            ],
            alive=f"{alive:,}",
            byebye=f"{byebye:,}",
            expired=f"{expired:,}",
        )

    @renderer
    def events(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for event in self._events:
            yield tag.clone().fillSlots(
                id=f"event-{event.number}",
                kind=event.kind,
                label=_LABELS.get(event.kind, event.kind),
                name=event.registration.name,
                device=event.registration.device_id,
                seconds=f"{event.age:.1f}",
                age=format_duration(event.age),
            )

    @renderer
    def query(self, request: Request, tag: Tag) -> Tag:
        return tag(value=self._query.text)

    @renderer
    def caption(self, request: Request, tag: Tag) -> Tag:
        page = self._page
        if page.pages > 1:
            return tag(f"{page.first:,} to {page.first + len(page.rows) - 1:,} of {_plural(page.found, 'service')}")
        return tag(
            f"{page.found:,} of {_plural(self._totals.services, 'service')}"
            if self._query.text
            else _plural(page.found, "service")
        )

    @renderer
    def order(self, request: Request, tag: Tag) -> Tag | str:
        return tag(value=self._query.sort) if self._query.sort else ""

    @renderer
    def columns(self, request: Request, tag: Tag) -> Iterator[Tag]:
        query = self._query
        for column, label in _COLUMN_LABELS.items():
            header = tag.clone().fillSlots(label=label, link=f"{query.sorted_by(column).link()}#services")
            if column == query.column:
                header(**{"aria-sort": "descending" if query.descending else "ascending"})
            yield header(class_="time") if column in _TIME_COLUMNS else header

    @renderer
    def rows(self, request: Request, tag: Tag) -> Iterator[Tag | Element]:
        for row in self._page.rows:
            service_id = row.registration.service_id
            details = self._details.get(service_id)
            yield tag.clone().fillSlots(
                **{
                    "id": service_id,
                    "toggle": f"{self._query.toggled(service_id).link()}#{service_id}",
                    "expanded": "true" if details else "false",
                    "name": row.registration.name,
                    "device": row.registration.device_id,
                    "device-name": tags.span(" ", row.device_name, class_="device-name") if row.device_name else "",
                    "location": row.registration.location,
                    "address": row.address,
                    "tag": row.tag,
                    "age-seconds": f"{row.age:.1f}",
                    "age": format_duration(row.age),
                    "remaining-seconds": f"{row.remaining:.1f}",
                    "remaining": format_duration(row.remaining),
                    "state": row.state,
                    "state-class": f"badge {row.state}",
                    "reason": row.reason,
                    "standing": row.standing,
                }
            )
            if details:
                yield ServiceElement(details)

    @renderer
    def empty(self, request: Request, tag: Tag) -> Tag | str:
        if self._page.rows:
            return ""
        if self._totals.services:
            return tag(tags.p(f"None of {_plural(self._totals.services, 'service')} matches the filter."))
        heading = "Listening." if self._view.registry.settled else "Searching…"
        terms = self._view.registry.get_search_terms()
        return tag(
            tags.p(heading, class_="heading"),
            tags.p("No device has announced one of these types:"),
            tags.ul(tags.li(tags.code(term)) for term in sorted(terms)),
        )

    @renderer
    def paging(self, request: Request, tag: Tag) -> Tag | str:
        page = self._page
        if page.pages == 1:
            return ""
        if page.number > 1:
            tag(tags.a("← Previous", href=self._query.with_number(page.number - 1).link(), rel="prev"))
        tag(tags.span(f"Page {page.number} of {page.pages}"))
        if page.number < page.pages:
            tag(tags.a("Next →", href=self._query.with_number(page.number + 1).link(), rel="next"))
        return tag

    @renderer
    def version(self, request: Request, tag: Tag) -> Tag:
        return tag(f"ssdpreg {ssdpreg.__version__}")


def _pill(tag: Tag, state: str, text: str) -> Tag:
    return tag(class_=f"pill {state}").fillSlots(text=text)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
