"""Tests for :mod:`ssdpreg.web.metrics`, and for what is made of the numbers: the dashboard and the alerts."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.errors import HeaderError
from ssdpreg.interfaces import IRequestStatistics
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import SearchRequest
from tests.support.memory_daemon import LLDP, Daemon, Reader
from tests.support.memory_reactor import MemoryMulticastReactor
from tests.support.paths import DATA, ROOT
from tests.support.programs import skip_without
from tests.unit.web.test_health import BrokenBackend

_DEPLOY = ROOT / "deploy"


@implementer(IRequestStatistics)
class Requests:
    """What a backend counts."""

    requests: Counter[tuple[str, str]] = Counter({("register", "ok"): 2, ("register", "refused"): 1})  # noqa: RUF012
    seconds = {"register": 1.5}  # noqa: RUF012


class MetricsTestCase(SynchronousTestCase):
    """A daemon with some numbers."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.daemon = Daemon(self.reactor, requests=Requests(), adapters=adapters)
        self.daemon.start()
        self.addCleanup(self.reactor.advance, 0)
        self.addCleanup(self.daemon.stop)
        self.reactor.advance(10)
        self.daemon.hear_alive("dev-1")
        self.daemon.hear_alive("DEV-1", LLDP)
        self.daemon.hear_alive("dev-2")
        self.daemon.hear_alive("dev-3", nt="urn:x:service:unknown:1")
        self.daemon.hear_alive("<script>", location="nonsense")
        self.daemon.registry.drop(HeaderError("NT", "<script>"), ("10.0.0.5", 1900), "eth0")
        self.daemon.registry.deliver(SearchRequest("ssdp:all"), ("10.0.0.5", 1900), "eth0")
        self.daemon.hear_bye("dev-2")
        self.reactor.pump([1] * 5)

    def samples(self) -> dict[tuple[str, ...], float]:
        """Read all of the daemon's numbers, by name and values of labels."""
        reader = Reader(self.daemon.root, self.reactor, "/metrics")
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(reader.body.decode())
            for sample in family.samples
            if sample.name.startswith("ssdpreg")
        }


class MetricsTests(MetricsTestCase):
    """Tests for :class:`Metrics`, through HTTP in memory."""

    def test_numbers(self) -> None:
        """What happened is counted, and what is there."""
        samples = self.samples()
        for key, value in {
            ("ssdpreg_packets_total", "eth0", "alive"): 5,
            ("ssdpreg_packets_total", "eth0", "byebye"): 1,
            ("ssdpreg_packets_total", "eth0", "search"): 1,
            ("ssdpreg_packets_dropped_total", "not asked for"): 1,
            ("ssdpreg_packets_dropped_total", "header"): 1,
            ("ssdpreg_packets_dropped_total", "LOCATION is no http or https URL"): 1,
            ("ssdpreg_search_rounds_total",): 2,
            ("ssdpreg_interface_up", "eth0"): 1,
            ("ssdpreg_settled",): 1,
            ("ssdpreg_services", "registered"): 2,
            ("ssdpreg_services", "waiting"): 0,
            ("ssdpreg_services", "refused"): 0,
            ("ssdpreg_devices",): 1,
            ("ssdpreg_services_appeared_total",): 3,
            ("ssdpreg_services_left_total", "byebye"): 1,
            ("ssdpreg_services_left_total", "expired"): 0,
            ("ssdpreg_backend_up",): 1,
            ("ssdpreg_backend_pending",): 0,
            ("ssdpreg_backend_requests_total", "ok", "register"): 2,
            ("ssdpreg_backend_requests_total", "refused", "register"): 1,
            ("ssdpreg_backend_request_seconds_sum", "register"): 1.5,
            ("ssdpreg_backend_request_seconds_count", "register"): 3,
            ("ssdpreg_build_info", "0.1.0"): 1,
        }.items():
            self.assertEqual(samples.get(key), value, key)

    def test_backend_unavailable(self) -> None:
        """It shows in the numbers that the backend does not answer, and that requests to it are not counted."""
        self.daemon = Daemon(self.reactor, BrokenBackend())
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.daemon.hear_alive("dev-1")
        self.reactor.advance(0)
        samples = self.samples()
        self.assertEqual(samples["ssdpreg_backend_up",], 0)
        self.assertEqual(samples["ssdpreg_backend_pending",], 1)
        self.assertEqual(samples["ssdpreg_services", "waiting"], 1)
        self.assertEqual([key for key in samples if key[0].startswith("ssdpreg_backend_request")], [])

    def test_no_words_of_strangers(self) -> None:
        """Nothing that a device said is in a label."""
        words = " ".join(word for key in self.samples() for word in key)
        for word in ("script", "dev-", "urn:", "10.0.0"):
            self.assertNotIn(word, words)

    def test_formats(self) -> None:
        """A reader that prefers OpenMetrics gets that."""
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        reader = Reader(self.daemon.root, self.reactor, "/metrics", headers=accept)
        self.assertIn("application/openmetrics-text", reader.headers["Content-Type"])
        self.assertTrue(reader.body.endswith(b"# EOF\n"))


class DeployTests(MetricsTestCase):
    """Tests for the dashboard and the alerts."""

    skip = skip_without("promtool", "prometheus")

    def promtool(self, *arguments: str) -> None:
        """Let Prometheus' own tool check something."""
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assert_known(self, expression: str) -> None:
        """Check that an expression reads nothing that the daemon does not show."""
        used = set(re.findall(r"\bssdpreg_\w+", expression))
        self.assertEqual(used - {key[0] for key in self.samples()}, set(), expression)

    def test_metrics(self) -> None:
        """The names, types and help of all numbers are as they should be."""
        body = Reader(self.daemon.root, self.reactor, "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def test_alerts(self) -> None:
        """The alerts are valid, are about numbers that there are, and fire when they should, and not before."""
        self.promtool("check", "rules", str(_DEPLOY / "alerts.yml"))
        for expression in re.findall(r"expr: \|?\n?(.*?)\n +for:", (_DEPLOY / "alerts.yml").read_text(), re.DOTALL):
            self.assert_known(expression)
        self.promtool("test", "rules", str(DATA / "alerts_test.yml"))

    def test_dashboard(self) -> None:
        """Every expression of the dashboard is valid, and about numbers that there are."""
        dashboard: Any = json.loads((_DEPLOY / "grafana-dashboard.json").read_text())
        expressions = [
            target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            for panel in dashboard["panels"]
            for target in panel.get("targets", ())
        ]
        self.assertGreater(len(expressions), 10)
        rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
        path = Path(self.mktemp())
        # JSON is YAML.
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.promtool("check", "rules", str(path))
        for expression in expressions:
            self.assert_known(expression)
