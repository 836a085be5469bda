"""Metrics, dashboard and alerts, checked by Prometheus' promtool."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssdpreg.description.source import Source
from tests.support.memory_daemon import Daemon, Exchange
from tests.support.memory_lock import LockedBackend
from tests.support.metrics import MetricsTestCase
from tests.support.paths import DATA, ROOT
from tests.support.programs import skip_without

_DEPLOY = ROOT / "deploy"


async def _no_facts(source: Source) -> Mapping[str, str]:
    """Return the facts of any device."""
    return {}


class PromtoolTests(MetricsTestCase):
    """The metrics, the dashboard and the alerts, checked by promtool."""

    skip = skip_without("promtool", "prometheus")

    def setUp(self) -> None:
        super().setUp()
        self.known = {key[0] for key in self.samples()}
        locked = Daemon(self.reactor, LockedBackend(held=True))
        self.addCleanup(locked.stop)
        locked.start()
        self.daemon, plain = locked, self.daemon
        self.known |= {key[0] for key in self.samples()}
        describing = Daemon(self.reactor, fetch=_no_facts)
        self.addCleanup(describing.stop)
        describing.start()
        self.daemon = describing
        self.known |= {key[0] for key in self.samples()}
        self.daemon = plain

    def promtool(self, *arguments: str) -> None:
        """Run promtool, which must succeed."""
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assert_known(self, expression: str) -> None:
        """Check that the daemon serves every metric in an expression."""
        used = set(re.findall(r"\bssdpreg_\w+", expression))
        self.assertEqual(used - self.known, set(), expression)

    def test_metrics(self) -> None:
        """Names, types and help texts of the metrics have no fault."""
        body = Exchange(self.daemon.root, self.reactor, "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def test_alerts(self) -> None:
        """The alerts are valid, use metrics that the daemon serves, and pass their tests."""
        self.promtool("check", "rules", str(_DEPLOY / "alerts.yml"))
        for expression in re.findall(r"expr: \|?\n?(.*?)\n +for:", (_DEPLOY / "alerts.yml").read_text(), re.DOTALL):
            self.assert_known(expression)
        self.promtool("test", "rules", str(DATA / "alerts_test.yml"))

    def test_dashboard(self) -> None:
        """Every expression of the dashboard is valid, and uses metrics that the daemon serves."""
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
