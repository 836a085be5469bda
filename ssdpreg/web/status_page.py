"""``/``: the status page."""

from __future__ import annotations

from typing import Any

from twisted.web.server import Request
from twisted.web.template import flattenString

from ssdpreg.web.backend_states import BackendStates
from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.changes import ServiceChanges
from ssdpreg.web.competing import CompetingClaims
from ssdpreg.web.history import History
from ssdpreg.web.resources import ReadOnlyResource, query_string
from ssdpreg.web.slices import RequestCooperator
from ssdpreg.web.status import Page, Row, Totals, make_event_rows, make_row
from ssdpreg.web.status_details import Details, make_details
from ssdpreg.web.status_element import PageContents, PageElement
from ssdpreg.web.status_query import PageQuery, parse_page_query
from ssdpreg.web.status_search import ServiceSearch
from ssdpreg.web.view import View

#: The browser loads files of this server only, runs no inline script, and does not show the page in a frame.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class StatusPage(ReadOnlyResource):
    """
    Page with the live services, the latest events and the state of the daemon.

    :param reactor: Provides ``IReactorTime``.
    :param view: Parts of the daemon.
    :param history: The latest events.
    :param catalogue: The live services in their order.
    :param states: Numbers of services by state.
    :param changes: The latest changes of single services.
    :param claims: Competing claims of single services.
    :param cooperator: Searches and sorts the services.
    """

    def __init__(
        self,
        reactor: Any,
        view: View,
        history: History,
        catalogue: Catalogue,
        states: BackendStates,
        changes: ServiceChanges,
        claims: CompetingClaims,
        cooperator: RequestCooperator,
    ) -> None:
        super().__init__(cooperator)
        self._reactor, self._view, self._history = reactor, view, history
        self._catalogue, self._states, self._changes, self._claims = catalogue, states, changes, claims
        self._turns = cooperator
        self._search = ServiceSearch(view, catalogue, states, cooperator)

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
        query = parse_page_query(query_string(request))
        await self._states.refresh()
        page = await self._find(query)
        # The page is made in one step, after steps of a search.
        await self._turns.turn()
        totals = Totals(len(self._view.registry.registrations), self._catalogue.devices, self._states.counts)
        events = make_event_rows(self._history.events, self._reactor.seconds())
        details = self._make_details(query, page)
        element = PageElement(PageContents(self._view, self._history.minutes, events, totals, page, details, query))
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Security-Policy", _POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return b"<!DOCTYPE html>\n" + await flattenString(request, element)

    async def _find(self, query: PageQuery) -> Page:
        """Return one page of the services that match a query."""
        service_ids, number, pages, found = await self._search.find(query)
        registry, now = self._view.registry, self._reactor.seconds()
        rows: list[Row] = []
        for service_id in service_ids:
            registration, live = registry.registrations.get(service_id), registry.service(service_id)
            if registration is not None and live is not None:
                rows.append(make_row(registration, live, self._view.reconciler.state(service_id), now))
        return Page(rows, number, pages, found)

    def _make_details(self, query: PageQuery, page: Page) -> dict[str, Details]:
        """Return the details of the opened services of a page, by service ID."""
        view, now = self._view, self._reactor.seconds()
        rows = {row.registration.service_id: row for row in page.rows}
        return {
            each: make_details(
                rows[each], self._changes.of(each), self._claims.of(each), view.backend, view.backend_fault, now
            )
            for each in query.opened
            if each in rows
        }
