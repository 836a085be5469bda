"""Service discovery of a real vmagent from the daemon's Consul API."""

from __future__ import annotations

from tests.support.programs import ProgramTestCase, skip_without

_CONFIG = """
scrape_configs:
  - job_name: consul
    consul_sd_configs:
      - server: {address}
"""


class VMAgentTests(ProgramTestCase):
    """VictoriaMetrics' vmagent with a ``consul_sd_configs`` that refers to the daemon."""

    skip = skip_without("vmagent", "victoria-metrics")

    async def test_target_appears_and_leaves(self) -> None:
        """vmagent scrapes a device after its announcement, and stops after its byebye."""
        config = self.folder / "scrape.yml"
        config.write_text(_CONFIG.format(address=self.address))
        self.run_program(
            "vmagent",
            f"-promscrape.config={config}",
            "-remoteWrite.url=http://127.0.0.1:1/",
            f"-remoteWrite.tmpDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.program_port}",
            "-promscrape.consulSDCheckInterval=1s",
        )
        self.daemon.receive_alive("dev-1", location="http://127.0.0.1:9/", sender="127.0.0.1")
        (target,) = await self.wait_for("target", self.targets)
        self.assertEqual(target["scrapeUrl"], "http://127.0.0.1:9/metrics")
        labels = target["discoveredLabels"]
        self.assertEqual(
            {key: labels[f"__meta_consul_{key}"] for key in ("dc", "node", "service", "tags", "health")},
            {
                "dc": "dc1",
                "node": "dev-1",
                "service": "RackHD-service:api:2.0",
                "tags": ",lab,Blue,",
                "health": "passing",
            },
        )
        self.assertEqual(labels["__meta_consul_service_metadata_external_source"], "ssdpreg")
        self.daemon.receive_byebye("dev-1", sender="127.0.0.1")
        await self.wait_for("end of the target", lambda: not self.targets())
