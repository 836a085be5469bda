"""
``/metrics``: numbers for Prometheus.

No label contains text from a datagram: otherwise any sender could create as many time series as it likes.
"""

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
from ssdpreg.web.resources import ReadOnlyResource
from ssdpreg.web.view import View

_STATES = ("registered", "waiting", "refused")
_REASONS = ("byebye", "expired", "unconfigured")


class Metrics(ReadOnlyResource):
    """
    All metrics, in the exposition format that the client prefers.

    The resource of prometheus_client is not used: it collects in a thread, while the reactor changes the numbers.

    :param view: Parts of the daemon.
    :param history: Numbers of events.
    """

    def __init__(self, view: View, history: History) -> None:
        super().__init__()
        # The default registry of prometheus_client is shared by the whole process.
        self._collectors = CollectorRegistry()
        self._collectors.register(DaemonCollector(view, history))
        ProcessCollector(registry=self._collectors)

    async def respond(self, request: Request) -> bytes:
        encode, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader(b"Content-Type", content_type.encode())
        return encode(self._collectors)


class DaemonCollector(Collector):
    """
    Collector that reads the present numbers of the daemon.

    :param view: Parts of the daemon.
    :param history: Numbers of events.
    """

    def __init__(self, view: View, history: History) -> None:
        self._view, self._history = view, history

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
        if view.requests is not None:
            yield from _requests(view.requests)

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
        interfaces = GaugeMetricFamily(
            "ssdpreg_interface_up", "Whether the daemon listens on the interface.", labels=("interface",)
        )
        for name in {name for name, _ in registry.interfaces}:
            interfaces.add_metric((name,), 1)
        yield interfaces
        yield GaugeMetricFamily("ssdpreg_settled", "Whether the first search is over.", registry.settled)

    def _services(self) -> Iterator[Metric]:
        registrations = self._view.registry.registrations
        states: Counter[str] = Counter(self._view.reconciler.state(service_id).name for service_id in registrations)
        services = GaugeMetricFamily("ssdpreg_services", "Live services, by state in the backend.", labels=("state",))
        for state in _STATES:
            services.add_metric((state,), states[state])
        yield services
        devices = {registration.device_id.casefold() for registration in registrations.values()}
        yield GaugeMetricFamily("ssdpreg_devices", "Devices that have live services.", len(devices))
        counts = self._history.counts
        yield CounterMetricFamily("ssdpreg_services_appeared", "Services that appeared.", counts["alive"])
        left = CounterMetricFamily("ssdpreg_services_left", "Services that left, by reason.", labels=("reason",))
        for reason in _REASONS:
            left.add_metric((reason,), counts[reason])
        yield left


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
