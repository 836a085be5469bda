"""A daemon for tests of metrics."""

from __future__ import annotations

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.errors import HeaderError
from ssdpreg.interfaces import IRequestStatistics
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import SearchRequest
from ssdpreg.ssdp.reception import Reception
from tests.support.memory_daemon import LLDP, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor


@implementer(IRequestStatistics)
class Requests:
    """Statistics of a backend's requests."""

    requests: Counter[tuple[str, str]] = Counter({("register", "ok"): 2, ("register", "refused"): 1})  # noqa: RUF012
    seconds = {"register": 1.5}  # noqa: RUF012
    too_long = 4


class MetricsTestCase(SynchronousTestCase):
    """A daemon that has received some messages."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.daemon = Daemon(self.reactor, requests=Requests(), adapters=adapters)
        self.daemon.start()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(self.daemon.stop)
        self.reactor.pump([1] * 10)
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("DEV-1", LLDP)
        self.daemon.receive_alive("dev-2")
        self.daemon.receive_alive("dev-3", nt="urn:x:service:unknown:1")
        self.daemon.receive_alive("<script>", location="nonsense")
        self.daemon.registry.drop(HeaderError("NT", "<script>"), Reception("10.0.0.5", "eth0"), ("10.0.0.5", 1900))
        self.daemon.registry.deliver(SearchRequest("ssdp:all"), Reception("10.0.0.5", "eth0"), ("10.0.0.5", 1900))
        self.daemon.receive_byebye("dev-2")
        self.reactor.pump([1] * 5)

    def samples(self) -> dict[tuple[str, ...], float]:
        """Return the values of the daemon's own metrics, by name and values of labels."""
        exchange = Exchange(self.daemon.root, self.reactor, "/metrics")
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(exchange.body.decode())
            for sample in family.samples
            if sample.name.startswith("ssdpreg")
        }
