"""Search for the services of one page of the status page: filter, order and page number."""

from __future__ import annotations

import heapq
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import DeferredSemaphore

from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration
from ssdpreg.web.backend_states import BackendStates
from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.slices import RequestCooperator, run_in_slices
from ssdpreg.web.status_query import PAGE_SIZE, Filter, PageQuery, number_pages
from ssdpreg.web.view import View

#: Number of services that are compared with a filter, or sorted, in one slice.
_SLICE = 1000

#: Searches at a time. Each one keeps up to 13 MB for 100,000 services, and more do not end earlier.
_MOST_SEARCHES = 2

#: Order of the states: an operator has to act on refused services.
_STATE_RANKS = {"refused": 0, "waiting": 1, "registered": 2}

#: A service with its key in an order, and its position in the usual order.
_Place = tuple[Any, int, str]


class _Found:
    """
    Services that a search found.

    :param most: Number of services on the wanted page and the pages before it.
    :ivar runs: Sorted lists, which together contain the services of these pages.
    :ivar count: Number of all services that match.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.runs: list[list[_Place]] = []
        self.count = 0


class ServiceSearch:
    """
    Search for the services of one page.

    :param view: Parts of the daemon.
    :param catalogue: The live services in their usual order.
    :param states: States of the services in the backend.
    :param cooperator: Runs the search in slices.
    """

    def __init__(self, view: View, catalogue: Catalogue, states: BackendStates, cooperator: RequestCooperator) -> None:
        self._view, self._states, self._cooperator = view, states, cooperator
        self._by_name = catalogue.by_name
        self._searches = DeferredSemaphore(_MOST_SEARCHES)

    async def find(self, query: PageQuery) -> tuple[Sequence[str], int, int, int]:
        """
        Return the IDs of the services of one page, the number of the page, and the numbers of pages and of services.

        Without an order, refused services come first. A filter that is the ID of a service finds this service only.
        """
        registry = self._view.registry
        if query.text in registry.registrations:
            return [query.text], 1, 1, 1
        words = Filter(query.text, registry.get_search_terms().values())
        if not words and not query.column and not self._states.refused:
            total = len(self._by_name)
            number, pages = number_pages(total, query.number)
            keys = self._by_name.at((number - 1) * PAGE_SIZE, PAGE_SIZE)
            return [key[1] for key in keys], number, pages, total
        await self._searches.acquire()
        try:
            return await self._find_among_all(words, query)
        finally:
            self._searches.release()

    async def _find_among_all(self, words: Filter, query: PageQuery) -> tuple[Sequence[str], int, int, int]:
        """Return the result of :meth:`find` after a look at every service."""
        found = _Found(number_pages(len(self._by_name), query.number)[0] * PAGE_SIZE)
        await run_in_slices(self._cooperator, self._collect(words, query, found))
        total = found.count
        number, pages = number_pages(total, query.number)
        places: list[_Place] = []
        merged = heapq.merge(*found.runs, reverse=query.descending)
        await run_in_slices(self._cooperator, _take(merged, number * PAGE_SIZE, places))
        return [place[-1] for place in places[(number - 1) * PAGE_SIZE :]], number, pages, total

    def _collect(self, words: Filter, query: PageQuery, found: _Found) -> Iterator[None]:
        """Collect sorted lists of the services that match a filter, without those that are on later pages."""
        registrations, matches, key = self._view.registry.registrations, words.matches, self._key(query.column)
        state, tag = self._states.name, self._tag_finder()
        # Services with equal keys are in the usual order, also in a descending order.
        position, step = 0, -1 if query.descending else 1
        descending, worst = query.descending, None
        for keys in self._by_name.parts(_SLICE):
            places: list[_Place] = []
            for _, service_id, _ in keys:
                registration = registrations.get(service_id)
                if registration is None or (words and not matches(registration, state, tag)):
                    continue
                position += step
                value = key(registration)
                # The wanted pages are full of services that come before this one.
                if worst is not None and (value < worst if descending else value > worst):
                    continue
                places.append((value, position, service_id))
            places.sort(reverse=descending)
            if len(places) >= found.most:
                del places[found.most :]
                worst = places[-1][0]
            found.runs.append(places)
            found.count = abs(position)
            yield

    def _key(self, column: str) -> Callable[[Registration], Any]:
        """Return a function that returns the key of a service in the order of a column."""
        match column:
            case "name":
                return lambda each: each.name.casefold()
            case "device":
                return lambda each: each.device_id.casefold()
            case "address":
                return _address_key
            case "tag":
                tag = self._tag_finder()
                return lambda each: tag(each).casefold()
            case "age":
                return self._age_key()
            case "expires":
                return self._view.registry.expiry_finder()
            case "state":
                return lambda each: _STATE_RANKS[self._states.name(each.service_id)]
        return lambda each: each.service_id not in self._states.refused

    def _tag_finder(self) -> Callable[[Registration], str]:
        """Return a function that returns the tag of a service's search term."""
        terms = SearchTerms(self._view.registry.get_search_terms())

        def find(registration: Registration) -> str:
            term = terms.match(registration.nt)
            return "" if term is None else term.tag

        return find

    def _age_key(self) -> Callable[[Registration], int]:
        # The registrations are in the order in which they appeared. A look at each service takes five times as long.
        ranks = {service_id: -rank for rank, service_id in enumerate(self._view.registry.registrations)}
        return lambda each: ranks.get(each.service_id, -len(ranks))


def _take(places: Iterator[_Place], count: int, taken: list[_Place]) -> Iterator[None]:
    """Append the first places to a list, in slices."""
    while len(taken) < count and (part := list(islice(places, min(_SLICE, count - len(taken))))):
        taken += part
        yield


def _address_key(registration: Registration) -> tuple[int, bytes, int]:
    """Return the key of a service in the order of addresses: IPv4, IPv6, and host names."""
    address, port = registration.address, registration.port
    try:
        if ":" in address:
            return 1, socket.inet_pton(socket.AF_INET6, address), port
        return 0, socket.inet_pton(socket.AF_INET, address), port
    except OSError:
        return 2, address.casefold().encode(), port
