"""Service discovery of a real Prometheus from ``/sd/prometheus``."""

from __future__ import annotations

from tests.support.memory_daemon import LLDP
from tests.support.programs import ProgramTestCase, skip_without

_CONFIG = """
scrape_configs:
  - job_name: ssdp
    http_sd_configs:
      - url: http://{address}/sd/prometheus?service=RackHD-service:api:2.0
        refresh_interval: 1s
"""


class PrometheusTests(ProgramTestCase):
    """Prometheus with an ``http_sd_configs`` that refers to the daemon."""

    skip = skip_without("prometheus", "prometheus")

    async def test_target_appears_and_leaves(self) -> None:
        """Prometheus scrapes a device after its announcement, and stops after its byebye."""
        config = self.folder / "prometheus.yml"
        config.write_text(_CONFIG.format(address=self.address))
        self.run_program(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.program_port}",
        )
        self.daemon.receive_alive("dev-1", location="https://127.0.0.1:9/", sender="127.0.0.1")
        self.daemon.receive_alive("dev-1", LLDP, location="https://127.0.0.1:9/", sender="127.0.0.1")
        (target,) = await self.wait_for("target", self.targets, 40)
        self.assertEqual(target["scrapeUrl"], "https://127.0.0.1:9/metrics")
        self.assertEqual(target["discoveredLabels"]["__meta_ssdp_device"], "dev-1")
        self.daemon.receive_byebye("dev-1", sender="127.0.0.1")
        await self.wait_for("end of the target", lambda: not self.targets())
