"""Tests for :mod:`ssdpreg.web.prometheus_sd`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.memory_daemon import API, LLDP, Daemon, Reader
from tests.support.memory_reactor import MemoryMulticastReactor
from tests.support.programs import ProgramTestCase, skip_without


class PrometheusSDTests(SynchronousTestCase):
    """Tests for :class:`PrometheusSD`, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.reactor.advance(10)

    def read(self, query: str = "") -> Reader:
        """Ask for the targets."""
        return Reader(self.daemon.root, self.reactor, f"/sd/prometheus{query}")

    def devices(self, query: str) -> list[str]:
        """Ask for targets, and tell of which devices they are."""
        return [group["labels"]["__meta_ssdp_device"] for group in self.read(query).json]

    def test_group(self) -> None:
        """A service is a target, labelled with what the device said."""
        self.daemon.hear_alive("dev-1", location="https://[2001:db8::5]/redfish/v1?x")
        reader = self.read()
        self.assertEqual(reader.headers["Content-Type"], "application/json")
        (group,) = reader.json
        self.assertEqual(group["targets"], ["[2001:db8::5]:443"])
        labels = group["labels"]
        self.assertRegex(labels.pop("__meta_ssdp_service_id"), "^ssdpreg-service-api-2-0-[0-9a-f]{16}$")
        expected = {
            "service": "RackHD-service:api:2.0",
            "device": "dev-1",
            "address": "2001:db8::5",
            "port": "443",
            "tags": ",lab,Blue,",
            "nt": API,
            "usn": f"uuid:dev-1::{API}",
            "location": "https://[2001:db8::5]/redfish/v1?x",
            "scheme": "https",
            "path": "/redfish/v1",
            "server": "Linux/6 UPnP/2.0",
            "scope": "rack-7",
        }
        self.assertEqual(
            labels, {"__scheme__": "https", **{f"__meta_ssdp_{key}": value for key, value in expected.items()}}
        )

    def test_order(self) -> None:
        """The order does not depend on who was heard first."""
        for device in ("c", "a", "b"):
            self.daemon.hear_alive(device)
        self.assertEqual(self.devices(""), ["a", "b", "c"])

    def test_filters(self) -> None:
        """Of services and devices one has to be met, of tags all, in any case of letters."""
        self.daemon.hear_alive("a")
        self.daemon.hear_alive("b")
        self.daemon.hear_alive("c", LLDP)
        for query, devices in {
            "?service=rackhd-service:api:2.0": ["a", "b"],
            "?service=nothing": [],
            "?service=nothing&service=Inservice-service%3Alldp%3A0.1": ["c"],
            "?device=A": ["a"],
            "?device=A&device=c&service=Inservice-service:lldp:0.1": ["c"],
            "?tag=LAB&tag=blue": ["a", "b", "c"],
            "?tag=lab&tag=red": [],
        }.items():
            self.assertEqual(self.devices(query), devices, query)

    def test_unknown_filter(self) -> None:
        """A filter that is misspelt is an error, on which Prometheus keeps what it has."""
        reader = self.read("?services=x")
        self.assertEqual(
            (reader.status, reader.body), (400, b"Unknown filter 'services': there are service, device and tag")
        )

    def test_too_early(self) -> None:
        """Before devices had the time to be heard there is no list at all, least of all an empty one."""
        daemon = Daemon(self.reactor)
        daemon.start()
        self.addCleanup(daemon.stop)
        statuses = []
        for _ in range(8):
            statuses.append(Reader(daemon.root, self.reactor, "/sd/prometheus").status)
            self.reactor.advance(1)
        self.assertEqual(statuses, [503] * 6 + [200] * 2)

    def test_strange_locations(self) -> None:
        """No LOCATION that was let in keeps the others from being listed."""
        for number, location in enumerate(("http://[2001:db8::1%25a%25b]:80/", "http://[10.0.0.7]/", "HTTP://h")):
            self.daemon.hear_alive(f"dev-{number}", location=location)
        groups: list[Any] = self.read().json
        self.assertEqual([group["targets"] for group in groups], [["[2001:db8::1]:80"], ["10.0.0.7:80"], ["h:80"]])


_CONFIG = """
scrape_configs:
  - job_name: ssdp
    http_sd_configs:
      - url: http://{address}/sd/prometheus?service=RackHD-service:api:2.0
        refresh_interval: 1s
"""


class PrometheusTests(ProgramTestCase):
    """A real Prometheus with ``http_sd_configs`` that point at the daemon."""

    skip = skip_without("prometheus", "prometheus")

    async def test_service_comes_and_goes(self) -> None:
        """Prometheus begins to scrape a device when it is heard, and ends when it left."""
        config = self.folder / "prometheus.yml"
        config.write_text(_CONFIG.format(address=self.address))
        self.run_program(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.program_port}",
        )
        self.daemon.hear_alive("dev-1", location="https://127.0.0.1:9/", sender="127.0.0.1")
        self.daemon.hear_alive("dev-1", LLDP, location="https://127.0.0.1:9/", sender="127.0.0.1")
        (target,) = await self.wait_for("target", self.targets, 40)
        self.assertEqual(target["scrapeUrl"], "https://127.0.0.1:9/metrics")
        self.assertEqual(target["discoveredLabels"]["__meta_ssdp_device"], "dev-1")
        self.daemon.hear_bye("dev-1", sender="127.0.0.1")
        await self.wait_for("end of the target", lambda: not self.targets())
