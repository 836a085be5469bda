"""``/``: the status page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from twisted.internet.task import Cooperator
from twisted.python.filepath import FilePath
from twisted.web.server import Request
from twisted.web.template import Element, Tag, XMLFile, flattenString, renderer, tags

import ssdpreg
from ssdpreg.web import chart
from ssdpreg.web.backend_states import BackendStates
from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.history import History, Minute
from ssdpreg.web.resources import ReadOnlyResource, query_string
from ssdpreg.web.slices import run_in_slices
from ssdpreg.web.status import (
    PAGE_SIZE,
    EventRow,
    Filter,
    Page,
    Totals,
    format_duration,
    make_event_rows,
    make_row,
    number_pages,
)
from ssdpreg.web.view import View

#: Number of services that are compared with a filter in one slice.
_SLICE = 1000

#: The browser loads files of this server only, runs no inline script, and does not show the page in a frame.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

#: Labels of events whose kind is not its own label.
_LABELS = {"alive": "appeared"}


class StatusPage(ReadOnlyResource):
    """
    Page with the live services, the latest events and the state of the daemon.

    :param reactor: Provides ``IReactorTime``.
    :param view: Parts of the daemon.
    :param history: The latest events.
    :param catalogue: The live services in their order.
    :param states: Numbers of services by state.
    :param cooperator: Compares the services with a filter.
    """

    def __init__(
        self,
        reactor: Any,
        view: View,
        history: History,
        catalogue: Catalogue,
        states: BackendStates,
        cooperator: Cooperator,
    ) -> None:
        super().__init__(cooperator)
        self._reactor, self._view, self._history = reactor, view, history
        self._catalogue, self._states, self._slices = catalogue, states, cooperator

    def state(self) -> object:
        """Return a value that changes when the page changes, apart from ages and remaining times."""
        reconciler, registry = self._view.reconciler, self._view.registry
        return (
            self._history.latest,
            # The charts move with each minute.
            self._history.minutes[-1].number,
            self._view.backend_fault,
            self._view.writer,
            reconciler.pending,
            registry.settled,
            tuple(registry.interfaces),
            registry.get_search_terms(),
        )

    async def respond(self, request: Request) -> bytes:
        query = parse_qs(query_string(request))
        text, number = query.get("q", [""])[0], query.get("page", ["1"])[0]
        await self._states.refresh()
        page = await self._find(text, int(number) if number.isdecimal() and len(number) < 7 else 1)
        registrations = self._view.registry.registrations
        totals = Totals(len(registrations), self._catalogue.devices, self._states.counts)
        events = make_event_rows(self._history.events, self._reactor.seconds())
        element = _Page(self._view, self._history.minutes, events, totals, page, text)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Security-Policy", _POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return b"<!DOCTYPE html>\n" + await flattenString(request, element)

    async def _find(self, text: str, number: int) -> Page:
        """Return one page of the services that match a filter. Refused services come first: an operator has to act."""
        by_name, refused = self._catalogue.by_name, self._states.refused
        words = Filter(text, self._view.registry.get_search_terms().values())
        if not words and not refused:
            number, pages = number_pages(len(by_name), number)
            keys = by_name.at((number - 1) * PAGE_SIZE, PAGE_SIZE)
            return self._make_page([key[-1] for key in keys], number, pages, len(by_name))
        first: list[str] = []
        rest: list[str] = []

        registrations, matches = self._view.registry.registrations, words.matches

        def look() -> Iterator[None]:
            for keys in by_name.starting_with((), _SLICE):
                for _, _, service_id in keys:
                    registration = registrations.get(service_id)
                    if registration is not None and matches(registration, self._state_and_tag):
                        (first if service_id in refused else rest).append(service_id)
                yield

        await run_in_slices(self._slices, look())
        found = first + rest
        number, pages = number_pages(len(found), number)
        return self._make_page(found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE], number, pages, len(found))

    def _state_and_tag(self, service_id: str) -> Iterator[str]:
        """Return the state of a service, and the tag of its search term."""
        yield self._view.reconciler.state(service_id).name
        live = self._view.registry.service(service_id)
        if live is not None:
            yield live.advertisement.term.tag

    def _make_page(self, service_ids: Sequence[str], number: int, pages: int, found: int) -> Page:
        registry, now = self._view.registry, self._reactor.seconds()
        rows = []
        for service_id in service_ids:
            registration, live = registry.registrations.get(service_id), registry.service(service_id)
            if registration is not None and live is not None:
                rows.append(make_row(registration, live, self._view.reconciler.state(service_id), now))
        return Page(rows, number, pages, found)


class _Page(Element):
    """
    HTML of the page. The template escapes all text from devices.

    Ages and remaining times have a ``data-age`` or ``data-remaining``, in seconds at the time of rendering, from which
    page.js computes the present text.

    :param view: Parts of the daemon.
    :param minutes: Contents of the charts.
    :param events: The latest events.
    :param totals: Numbers of all services.
    :param page: The services to show.
    :param text: The filter.
    """

    loader = XMLFile(FilePath(__file__).sibling("page.xml"))

    def __init__(
        self,
        view: View,
        minutes: Sequence[Minute],
        events: Sequence[EventRow],
        totals: Totals,
        page: Page,
        text: str,
    ) -> None:
        super().__init__()
        self._view, self._minutes, self._events = view, minutes, events
        self._totals, self._page, self._text = totals, page, text

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
        return tag(value=self._text)

    @renderer
    def caption(self, request: Request, tag: Tag) -> Tag:
        page = self._page
        if page.pages > 1:
            return tag(f"{page.first:,} to {page.first + len(page.rows) - 1:,} of {_plural(page.found, 'service')}")
        return tag(
            f"{page.found:,} of {_plural(self._totals.services, 'service')}"
            if self._text
            else _plural(page.found, "service")
        )

    @renderer
    def rows(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for row in self._page.rows:
            yield tag.clone().fillSlots(
                **{
                    "id": row.registration.service_id,
                    "name": row.registration.name,
                    "device": row.registration.device_id,
                    "device-name": row.device_name,
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
            tag(tags.a("← Previous", href=self._link(page.number - 1), rel="prev"))
        tag(tags.span(f"Page {page.number} of {page.pages}"))
        if page.number < page.pages:
            tag(tags.a("Next →", href=self._link(page.number + 1), rel="next"))
        return tag

    def _link(self, number: int) -> str:
        return "?" + urlencode({"q": self._text, "page": number})

    @renderer
    def version(self, request: Request, tag: Tag) -> Tag:
        return tag(f"ssdpreg {ssdpreg.__version__}")


def _pill(tag: Tag, state: str, text: str) -> Tag:
    return tag(class_=f"pill {state}").fillSlots(text=text)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
