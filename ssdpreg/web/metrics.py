"""
``/metrics``: numbers for Prometheus.

No label contains text from a datagram: otherwise any sender could create as many time series as it likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.web.server import Request

import ssdpreg
from ssdpreg.description.describer import Describer
from ssdpreg.description.source import FAILURES
from ssdpreg.interfaces import ILockedBackend, IRequestStatistics
from ssdpreg.web.backend_states import STATES, BackendStates
from ssdpreg.web.catalogue import Catalogue
from ssdpreg.web.changes import ServiceChanges
from ssdpreg.web.connections import CLOSED_REASONS, HELD_KINDS, REFUSED_REASONS, REFUSED_REQUEST_REASONS, Connections
from ssdpreg.web.history import History
from ssdpreg.web.resources import ReadOnlyResource, header_values
from ssdpreg.web.view import View

_REASONS = ("byebye", "expired", "evicted", "unconfigured")


@dataclass(frozen=True)
class Numbers:
    """
    Sources of the metrics.

    :ivar view: Parts of the daemon.
    :ivar history: Numbers of events.
    :ivar catalogue: Number of devices.
    :ivar states: Numbers of services by state.
    :ivar changes: Numbers of services with changes.
    :ivar connections: Numbers of connections.
    """

    view: View
    history: History
    catalogue: Catalogue
    states: BackendStates
    changes: ServiceChanges
    connections: Connections


class Metrics(ReadOnlyResource):
    """
    All metrics, in the exposition format that the client prefers.

    The resource of prometheus_client is not used: it collects in a thread, while the reactor changes the numbers.

    :param numbers: The numbers.
    """

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self._states = numbers.states
        # The default registry of prometheus_client is shared by the whole process.
        self._collectors = CollectorRegistry()
        self._collectors.register(DaemonCollector(numbers))
        ProcessCollector(registry=self._collectors)

    async def respond(self, request: Request) -> bytes:
        await self._states.refresh()
        try:
            encode, content_type = choose_encoder(",".join(header_values(request, b"Accept")))
        except (TypeError, ValueError):
            # prometheus_client compares a version in Accept with numbers, also one that is not a number.
            encode, content_type = choose_encoder("")
        request.setHeader(b"Content-Type", content_type.encode())
        return encode(self._collectors)


class DaemonCollector(Collector):
    """
    Collector that reads the present numbers of the daemon.

    :param numbers: The numbers.
    """

    def __init__(self, numbers: Numbers) -> None:
        self._numbers, self._view = numbers, numbers.view

    def collect(self) -> Iterator[Metric]:
        view = self._view
        yield InfoMetricFamily("ssdpreg_build", "Version of the daemon.", {"version": ssdpreg.__version__})
        yield from self._network()
        yield from self._services()
        yield GaugeMetricFamily(
            "ssdpreg_backend_up", "Whether the backend answered the last request.", view.reconciler.available
        )
        yield GaugeMetricFamily(
            "ssdpreg_backend_pending", "Changes that have not been applied to the backend.", view.reconciler.pending
        )
        yield GaugeMetricFamily(
            "ssdpreg_backend_rejected",
            "Changes that the backend rejected, until their next attempt.",
            view.reconciler.rejected,
        )
        yield GaugeMetricFamily(
            "ssdpreg_backend_held_removals",
            "Removals that wait for a second comparison, because they are most of the services.",
            view.reconciler.held_removals,
        )
        yield CounterMetricFamily(
            "ssdpreg_backend_keep_alive_failures",
            "Keep-alives that the backend did not accept.",
            view.reconciler.keep_alive_failures,
        )
        yield CounterMetricFamily(
            "ssdpreg_backend_changes_summarized",
            "Changes that were logged only in a summary of several changes.",
            view.reconciler.summarized_changes,
        )
        if view.requests is not None:
            yield from _requests(view.requests)
        if view.locked is not None:
            yield from _lock(view.locked)
        if view.describer is not None:
            yield from _descriptions(view.describer)
        yield from _connections(self._numbers.connections)

    def _network(self) -> Iterator[Metric]:
        registry = self._view.registry
        packets = CounterMetricFamily(
            "ssdpreg_packets", "Messages received, by kind and interface.", labels=("kind", "interface")
        )
        for (kind, interface), count in registry.received.items():
            packets.add_metric((kind, interface), count)
        yield packets
        dropped = CounterMetricFamily("ssdpreg_packets_dropped", "Datagrams dropped, by reason.", labels=("reason",))
        for reason, count in registry.dropped.items():
            dropped.add_metric((reason,), count)
        yield dropped
        yield CounterMetricFamily(
            "ssdpreg_search_rounds", "Search rounds sent, each for all search terms.", registry.searches
        )
        searches = CounterMetricFamily(
            "ssdpreg_searches", "Searches for decisions and for silent devices, by cause.", labels=("cause",)
        )
        for cause, count in registry.needed_searches.sent_by_cause.items():
            searches.add_metric((cause,), count)
        yield searches
        interfaces = GaugeMetricFamily(
            "ssdpreg_interface_up", "Whether the daemon listens on the interface.", labels=("interface",)
        )
        for name in {name for name, _ in registry.interfaces}:
            interfaces.add_metric((name,), 1)
        yield interfaces
        yield from self._limits()
        yield GaugeMetricFamily("ssdpreg_settled", "Whether the first search is over.", registry.settled)

    def _limits(self) -> Iterator[Metric]:
        numbers = self._view.registry.statistics()
        yield GaugeMetricFamily(
            "ssdpreg_services_tracked", "Services in the table, also those with too low a standing.", numbers.tracked
        )
        yield GaugeMetricFamily(
            "ssdpreg_datagram_memo_bytes", "Estimated size of the memo of repeated datagrams.", numbers.memo_bytes
        )
        yield GaugeMetricFamily("ssdpreg_homes", "Homes that are kept of services that have left.", numbers.homes)
        yield GaugeMetricFamily(
            "ssdpreg_byebyes_kept", "Byebyes that are kept for the adoption of services.", numbers.byebyes
        )
        for name, text, value in (
            ("services_evicted", "Services that gave way to others when the table was full.", numbers.evictions),
            ("claims_displaced", "Claims that gave way to others of the table.", numbers.displaced_claims),
            ("service_moves", "Moves of services to another LOCATION.", numbers.moves),
            ("service_contests", "Contests between claims about a service.", numbers.contests),
            ("searches_rejected", "Searches that were not sent because of their budget.", numbers.rejected_searches),
            ("reception_interruptions", "Times in which datagrams may have been lost.", numbers.interruptions),
            ("receive_buffer_overflows", "Datagrams lost because a receive buffer was full.", numbers.overflows),
            (
                "log_lines_suppressed",
                "Log lines that were not written because of their budget.",
                numbers.suppressed_lines,
            ),
        ):
            yield CounterMetricFamily(f"ssdpreg_{name}", text, value)

    def _services(self) -> Iterator[Metric]:
        states = self._numbers.states.counts
        services = GaugeMetricFamily("ssdpreg_services", "Live services, by state in the backend.", labels=("state",))
        for state in STATES:
            services.add_metric((state,), states[state])
        yield services
        yield GaugeMetricFamily("ssdpreg_devices", "Devices that have live services.", self._numbers.catalogue.devices)
        counts = self._numbers.history.counts
        yield CounterMetricFamily("ssdpreg_services_appeared", "Services that appeared.", counts["alive"])
        left = CounterMetricFamily("ssdpreg_services_left", "Services that left, by reason.", labels=("reason",))
        for reason in _REASONS:
            left.add_metric((reason,), counts[reason])
        yield left
        changes = self._numbers.changes
        yield GaugeMetricFamily(
            "ssdpreg_web_services_with_changes", "Services whose changes the status page can show.", len(changes)
        )
        yield CounterMetricFamily(
            "ssdpreg_web_changes_displaced",
            "Services whose changes are no longer kept, because more than 1,000 services changed.",
            changes.displaced,
        )


def _requests(statistics: IRequestStatistics) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "ssdpreg_backend_requests", "Requests to the backend, by result.", labels=("operation", "answer")
    )
    totals: Counter[str] = Counter()
    for (operation, result), count in statistics.requests.items():
        requests.add_metric((operation, result), count)
        totals[operation] += count
    yield requests
    seconds = SummaryMetricFamily(
        "ssdpreg_backend_request_seconds", "Duration of requests to the backend.", labels=("operation",)
    )
    for operation, total in statistics.seconds.items():
        seconds.add_metric((operation,), totals[operation], total)
    yield seconds
    yield CounterMetricFamily(
        "ssdpreg_backend_responses_too_long",
        "Responses of the backend that were not accepted because of their length.",
        statistics.too_long,
    )


def _lock(locked: ILockedBackend) -> Iterator[Metric]:
    lock, reaper = locked.lock, locked.reaper
    for name, text, state in (
        ("lock_held", "Whether this daemon holds the lock of its scope, so that it writes.", lock.held),
        ("lock_waiting", "Whether another daemon holds the lock of its scope.", lock.waiting),
    ):
        family = GaugeMetricFamily(f"ssdpreg_{name}", text, labels=("scope",))
        family.add_metric((lock.scope,), state)
        yield family
    for name, text, number in (
        ("reaper", "Whether this daemon removes the nodes of scopes whose daemons have ended.", reaper.elected),
        ("scopes", "Scopes in the datacenter; 0 for a daemon that is not the reaper.", reaper.scopes),
        (
            "scopes_dead",
            "Scopes with nodes, whose daemons have ended; 0 for a daemon that is not the reaper.",
            reaper.dead_scopes,
        ),
    ):
        yield GaugeMetricFamily(f"ssdpreg_{name}", text, number)
    for name, text, number in (
        ("lock_acquisitions", "Times that this daemon acquired the lock.", lock.acquisitions),
        ("lock_losses", "Times that this daemon lost the lock.", lock.losses),
        ("lock_refusals", "Transactions rejected because this daemon did not hold the lock.", lock.refusals),
        ("reaper_nodes_marked", "Nodes of dead scopes that this daemon marked.", reaper.marked),
        ("reaper_nodes_removed", "Nodes of dead scopes that this daemon removed.", reaper.removed),
        ("reaper_nodes_kept", "Nodes of dead scopes that other programs use, too.", reaper.kept),
        ("reaper_failures", "Rounds of the reaper that failed.", reaper.failures),
    ):
        yield CounterMetricFamily(f"ssdpreg_{name}", text, number)


def _descriptions(describer: Describer) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "ssdpreg_description_devices", "Devices whose facts are fetched, and kept up to date.", describer.targets
    )
    yield GaugeMetricFamily(
        "ssdpreg_description_waiting", "Documents with facts that wait for their fetch.", describer.waiting
    )
    fetches = CounterMetricFamily(
        "ssdpreg_description_fetches", "Fetches of documents with facts, by result.", labels=("result",)
    )
    for result in ("ok", *FAILURES):
        fetches.add_metric((result,), describer.fetches[result])
    yield fetches
    yield CounterMetricFamily(
        "ssdpreg_description_skipped",
        "Services whose facts are not fetched because of the limit of devices.",
        describer.skipped,
    )


def _connections(connections: Connections) -> Iterator[Metric]:
    yield GaugeMetricFamily("ssdpreg_web_connections", "Open connections of HTTP clients.", len(connections))
    yield GaugeMetricFamily("ssdpreg_web_connections_limit", "Limit of open connections.", connections.limit)
    held = GaugeMetricFamily(
        "ssdpreg_web_open_requests", "Requests that stay open until something changes, by kind.", labels=("kind",)
    )
    for kind in HELD_KINDS:
        held.add_metric((kind,), connections.held[kind])
    yield held
    for name, text, counts, reasons in (
        ("connections_refused", "Connections refused, by reason.", connections.refused, REFUSED_REASONS),
        ("connections_closed", "Connections closed by a limit, by reason.", connections.closed, CLOSED_REASONS),
        ("requests_refused", "Requests refused, by reason.", connections.refused_requests, REFUSED_REQUEST_REASONS),
    ):
        family = CounterMetricFamily(f"ssdpreg_web_{name}", text, labels=("reason",))
        for reason in reasons:
            family.add_metric((reason,), counts[reason])
        yield family
