"""``/``: the status page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from twisted.python.filepath import FilePath
from twisted.web.server import Request
from twisted.web.template import Element, Tag, XMLFile, flattenString, renderer, tags

import ssdpreg
from ssdpreg.web import chart
from ssdpreg.web.history import History, Minute
from ssdpreg.web.resources import ReadOnlyResource, query_string
from ssdpreg.web.status import (
    EventRow,
    Page,
    Row,
    count_devices,
    count_states,
    find_page,
    format_duration,
    make_event_rows,
    make_rows,
)
from ssdpreg.web.view import View

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
    """

    def __init__(self, reactor: Any, view: View, history: History) -> None:
        super().__init__()
        self._reactor, self._view, self._history = reactor, view, history

    def state(self) -> object:
        """Return a value that changes when the page changes, apart from ages and remaining times."""
        reconciler, registry = self._view.reconciler, self._view.registry
        return (
            self._history.latest,
            # The charts move with each minute.
            self._history.minutes[-1].number,
            reconciler.available,
            reconciler.pending,
            registry.settled,
            tuple(registry.interfaces),
            registry.get_search_terms(),
        )

    async def respond(self, request: Request) -> bytes:
        query = parse_qs(query_string(request))
        text, number = query.get("q", [""])[0], query.get("page", ["1"])[0]
        now = self._reactor.seconds()
        rows = make_rows(self._view.registry.services(), self._view.reconciler.state, now)
        page = find_page(rows, text, int(number) if number.isdecimal() and len(number) < 7 else 1)
        events = make_event_rows(self._history.events, now)
        element = _Page(self._view, self._history.minutes, events, rows, page, text)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Security-Policy", _POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return b"<!DOCTYPE html>\n" + await flattenString(request, element)


class _Page(Element):
    """
    HTML of the page. The template escapes all text from devices.

    Ages and remaining times have a ``data-age`` or ``data-remaining``, in seconds at the time of rendering, from which
    page.js computes the present text.

    :param view: Parts of the daemon.
    :param minutes: Contents of the charts.
    :param events: The latest events.
    :param rows: All services.
    :param page: The services to show.
    :param text: The filter.
    """

    loader = XMLFile(FilePath(__file__).sibling("page.xml"))

    def __init__(
        self,
        view: View,
        minutes: Sequence[Minute],
        events: Sequence[EventRow],
        rows: Sequence[Row],
        page: Page,
        text: str,
    ) -> None:
        super().__init__()
        self._view, self._minutes, self._events = view, minutes, events
        self._rows, self._page, self._text = rows, page, text

    @renderer
    def title(self, request: Request, tag: Tag) -> Tag:
        return tag(f"{_plural(len(self._rows), 'service')} on {self._view.node}: ssdpreg")

    @renderer
    def node(self, request: Request, tag: Tag) -> Tag:
        return tag(f"on {self._view.node}")

    @renderer
    def backend(self, request: Request, tag: Tag) -> Tag:
        name = self._view.backend
        # Refused changes are counted elsewhere on the page.
        pending = self._view.reconciler.pending - count_states(self._rows)["refused"]
        if not self._view.reconciler.available:
            return _pill(tag, "bad", f"{name} is unavailable")
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
        states = count_states(self._rows)
        slots = {"services": f"{len(self._rows):,}", "devices": f"{count_devices(self._rows):,}"}
        for state, emphasis in (("registered", "good"), ("waiting", "busy"), ("refused", "bad")):
            slots[state] = f"{states[state]:,}"
            slots[f"{state}-class"] = emphasis if states[state] else "none"
        return tag.fillSlots(**slots)

    @renderer
    def announcement(self, request: Request, tag: Tag) -> Tag:
        return tag(f"{_plural(len(self._rows), 'service')} on {_plural(count_devices(self._rows), 'device')}")

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
            f"{page.found:,} of {_plural(len(self._rows), 'service')}" if self._text else _plural(page.found, "service")
        )

    @renderer
    def rows(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for row in self._page.rows:
            yield tag.clone().fillSlots(
                **{
                    "id": row.registration.service_id,
                    "name": row.registration.name,
                    "device": row.registration.device_id,
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
                }
            )

    @renderer
    def empty(self, request: Request, tag: Tag) -> Tag | str:
        if self._page.rows:
            return ""
        if self._rows:
            return tag(tags.p(f"None of {_plural(len(self._rows), 'service')} matches the filter."))
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
