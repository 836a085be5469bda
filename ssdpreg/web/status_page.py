"""``/``: what is live, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode

from twisted.python.filepath import FilePath
from twisted.web.server import Request
from twisted.web.template import Element, Tag, XMLFile, flattenString, renderer, tags

import ssdpreg
from ssdpreg.web import picture
from ssdpreg.web.history import History
from ssdpreg.web.resources import Readable, query_of
from ssdpreg.web.status import Page, Row, count_devices, count_states, find_page, make_rows, say_duration
from ssdpreg.web.view import View

#: Nothing comes from elsewhere, nothing within the page is run, and nobody puts it into a frame.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_WORDS = {
    "alive": "appeared",
    "changed": "changed",
    "byebye": "said goodbye",
    "expired": "fell silent",
    "unconfigured": "not asked for",
}


class StatusPage(Readable):
    """
    Shows what is live, and how the daemon is.

    :param reactor: Provides ``IReactorTime``.
    :param view: What there is to show.
    :param history: What happened lately.
    """

    def __init__(self, reactor: Any, view: View, history: History) -> None:
        super().__init__()
        self._reactor, self._view, self._history = reactor, view, history

    def state(self) -> object:
        """Make a value that is another whenever the page would be, but for the time that passes."""
        reconciler, registry = self._view.reconciler, self._view.registry
        return (
            self._history.latest,
            # The picture moves on with each minute.
            self._history.minutes[-1].number,
            reconciler.available,
            reconciler.pending,
            registry.settled,
            tuple(registry.interfaces),
            registry.get_search_terms(),
        )

    async def answer(self, request: Request) -> bytes:
        query = parse_qs(query_of(request))
        text, number = query.get("q", [""])[0], query.get("page", ["1"])[0]
        rows = make_rows(self._view.registry.services(), self._view.reconciler.state)
        page = find_page(rows, text, int(number) if number.isdecimal() and len(number) < 7 else 1)
        element = _Page(self._reactor.seconds(), self._view, self._history, rows, page, text)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Security-Policy", _POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return b"<!DOCTYPE html>\n" + await flattenString(request, element)


class _Page(Element):
    """
    The page itself. Whatever a device says is text in it, never markup.

    :param now: Seconds of the reactor's clock.
    :param rows: All services.
    :param page: Those that are shown.
    :param text: What the reader looks for.
    """

    loader = XMLFile(FilePath(__file__).sibling("page.xml"))

    def __init__(self, now: float, view: View, history: History, rows: list[Row], page: Page, text: str) -> None:
        super().__init__()
        self._now, self._view, self._history = now, view, history
        self._rows, self._page, self._text = rows, page, text
        self._minutes = history.minutes

    @renderer
    def title(self, request: Request, tag: Tag) -> Tag:
        return tag(f"{_say(len(self._rows), 'service')} on {self._view.node}: ssdpreg")

    @renderer
    def node(self, request: Request, tag: Tag) -> Tag:
        return tag(f"on {self._view.node}")

    @renderer
    def backend(self, request: Request, tag: Tag) -> Tag:
        name = self._view.backend
        # What is refused has a number of its own.
        pending = self._view.reconciler.pending - count_states(self._rows)["refused"]
        if not self._view.reconciler.available:
            return _pill(tag, "bad", f"{name} is unavailable")
        return _pill(tag, "good", f"{name}, {pending:,} to be written" if pending > 0 else name)

    @renderer
    def search(self, request: Request, tag: Tag) -> Tag:
        terms = len(self._view.registry.get_search_terms())
        if not self._view.registry.settled:
            return _pill(tag, "busy", f"searching for {_say(terms, 'type')}")
        return _pill(tag, "good", f"asks for {_say(terms, 'type')}")

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
        return tag(f"{_say(len(self._rows), 'service')} on {_say(count_devices(self._rows), 'device')}")

    @renderer
    def picture(self, request: Request, tag: Tag) -> Tag:
        minutes = self._minutes
        alive = sum(minute.alive for minute in minutes)
        byebye = sum(minute.byebye for minute in minutes)
        expired = sum(minute.expired for minute in minutes)
        fewest = min(minute.services for minute in minutes)
        most = max(minute.services for minute in minutes)
        return tag.fillSlots(
            peak=f"{most:,}" if most else "",
            description=f"In the last {_say(len(minutes), 'minute')} between {fewest} and {most} services were live. "
            f"{alive} appeared, {byebye} said goodbye, {expired} fell silent.",
            area=picture.area(minutes),
            outline=picture.outline(minutes),
            bars=[
                Tag(
                    "rect", {"class": kind, "x": f"{x + 1:g}", "y": f"{y:.1f}", "width": "8", "height": f"{height:.1f}"}
                )
                for kind, x, y, height in picture.bars(minutes)
            ],
            alive=f"{alive:,}",
            byebye=f"{byebye:,}",
            expired=f"{expired:,}",
        )

    @renderer
    def events(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for event in self._history.events:
            yield tag.clone().fillSlots(
                id=f"event-{event.number}",
                kind=event.kind,
                word=_WORDS[event.kind],
                name=event.registration.name,
                device=event.registration.meta["ssdp-device"],
                at=f"{event.at:.1f}",
                age=say_duration(self._now - event.at),
            )

    @renderer
    def query(self, request: Request, tag: Tag) -> Tag:
        return tag(value=self._text)

    @renderer
    def caption(self, request: Request, tag: Tag) -> Tag:
        page = self._page
        if page.pages > 1:
            return tag(f"{page.first:,} to {page.first + len(page.rows) - 1:,} of {_say(page.found, 'service')}")
        return tag(
            f"{page.found:,} of {_say(len(self._rows), 'service')}" if self._text else _say(page.found, "service")
        )

    @renderer
    def rows(self, request: Request, tag: Tag) -> Iterator[Tag]:
        for row in self._page.rows:
            yield tag.clone().fillSlots(
                **{
                    "id": row.registration.service_id,
                    "name": row.registration.name,
                    "device": row.registration.meta["ssdp-device"],
                    "location": row.registration.meta["ssdp-location"],
                    "address": row.address,
                    "tag": row.live.advertisement.term.tag,
                    "since": f"{row.live.appeared_at:.1f}",
                    "age": say_duration(self._now - row.live.appeared_at),
                    "until": f"{row.live.expires_at:.1f}",
                    "expiry": say_duration(row.live.expires_at - self._now),
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
            return tag(tags.p(f"None of {_say(len(self._rows), 'service')} has all these words."))
        heading = "Listening." if self._view.registry.settled else "Searching…"
        terms = self._view.registry.get_search_terms()
        return tag(
            tags.p(heading, class_="heading"),
            tags.p("No device has announced what is asked for:"),
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


def _say(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
