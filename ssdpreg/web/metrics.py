"""``/metrics``: how the daemon is, in numbers. No label says what a stranger said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

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
from ssdpreg.interfaces import IRequestStatistics
from ssdpreg.web.history import History
from ssdpreg.web.resources import Readable
from ssdpreg.web.view import View

_STATES = ("registered", "waiting", "refused")
_DEPARTURES = ("byebye", "expired", "unconfigured")


class Metrics(Readable):
    """
    Lists all numbers, in the format that a reader prefers.

    The library's own resource would read them in a thread, while they change.

    :param view: Where they are.
    :param history: Where more are.
    """

    def __init__(self, view: View, history: History) -> None:
        super().__init__()
        # Not the library's own one, which is the same for all that happens in the process.
        self._collectors = CollectorRegistry()
        self._collectors.register(DaemonCollector(view, history))
        ProcessCollector(registry=self._collectors)

    async def answer(self, request: Request) -> bytes:
        encode, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader(b"Content-Type", content_type.encode())
        return encode(self._collectors)


class DaemonCollector(Collector):
    """Reads the numbers, whenever somebody wants to know them."""

    def __init__(self, view: View, history: History) -> None:
        self._view, self._history = view, history

    def collect(self) -> Iterator[Metric]:
        view = self._view
        yield InfoMetricFamily("ssdpreg_build", "Version of the daemon.", {"version": ssdpreg.__version__})
        yield from self._network()
        yield from self._services()
        yield GaugeMetricFamily("ssdpreg_backend_up", "Whether the backend answered last.", view.reconciler.available)
        yield GaugeMetricFamily(
            "ssdpreg_backend_pending", "Changes that the backend has yet to take.", view.reconciler.pending
        )
        if view.requests is not None:
            yield from _requests(view.requests)

    def _network(self) -> Iterator[Metric]:
        registry = self._view.registry
        packets = CounterMetricFamily(
            "ssdpreg_packets", "Messages heard, by kind and interface.", labels=("kind", "interface")
        )
        for (kind, interface), count in registry.received.items():
            packets.add_metric((kind, interface), count)
        yield packets
        dropped = CounterMetricFamily("ssdpreg_packets_dropped", "Messages that came to nothing.", labels=("reason",))
        for reason, count in registry.dropped.items():
            dropped.add_metric((reason,), count)
        yield dropped
        yield CounterMetricFamily("ssdpreg_search_rounds", "Searches sent, of all search terms.", registry.searches)
        interfaces = GaugeMetricFamily(
            "ssdpreg_interface_up", "Interfaces that are listened on.", labels=("interface",)
        )
        for name in {name for name, _ in registry.interfaces}:
            interfaces.add_metric((name,), 1)
        yield interfaces
        yield GaugeMetricFamily("ssdpreg_settled", "Whether the first searches are over.", registry.settled)

    def _services(self) -> Iterator[Metric]:
        registrations = self._view.registry.registrations
        states: Counter[str] = Counter(self._view.reconciler.state(service_id).name for service_id in registrations)
        services = GaugeMetricFamily("ssdpreg_services", "Live services, by what the backend has.", labels=("state",))
        for state in _STATES:
            services.add_metric((state,), states[state])
        yield services
        devices = {registration.meta["ssdp-device"].casefold() for registration in registrations.values()}
        yield GaugeMetricFamily("ssdpreg_devices", "Devices that have live services.", len(devices))
        counts = self._history.counts
        yield CounterMetricFamily("ssdpreg_services_appeared", "Services that came.", counts["alive"])
        left = CounterMetricFamily("ssdpreg_services_left", "Services that went, and why.", labels=("reason",))
        for reason in _DEPARTURES:
            left.add_metric((reason,), counts[reason])
        yield left


def _requests(counts: IRequestStatistics) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "ssdpreg_backend_requests", "Requests to the backend, by answer.", labels=("operation", "answer")
    )
    totals: Counter[str] = Counter()
    for (operation, answer), count in counts.requests.items():
        requests.add_metric((operation, answer), count)
        totals[operation] += count
    yield requests
    seconds = SummaryMetricFamily(
        "ssdpreg_backend_request_seconds", "How long requests to the backend took.", labels=("operation",)
    )
    for operation, total in counts.seconds.items():
        seconds.add_metric((operation,), totals[operation], total)
    yield seconds
