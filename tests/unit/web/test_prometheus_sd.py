"""Tests for :mod:`ssdpreg.web.prometheus_sd`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.memory_daemon import API, LLDP, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor


class PrometheusSDTests(SynchronousTestCase):
    """Tests for :class:`PrometheusSD`, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.reactor.advance(10)

    def get(self, query: str = "") -> Exchange:
        """Request the targets."""
        return Exchange(self.daemon.root, self.reactor, f"/sd/prometheus{query}")

    def devices(self, query: str) -> list[str]:
        """Return the devices of the targets."""
        return [group["labels"]["__meta_ssdp_device"] for group in self.get(query).json]

    def test_group(self) -> None:
        """A service is a target with the device's announcement in its labels."""
        self.daemon.receive_alive("dev-1", location="https://[2001:db8::5]/redfish/v1?x")
        exchange = self.get()
        self.assertEqual(exchange.headers["Content-Type"], "application/json")
        (group,) = exchange.json
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

    def test_facts(self) -> None:
        """The facts that are known are labels."""
        self.daemon.receive_alive("dev-1")
        (service_id,) = self.daemon.registry.registrations
        before = self.get().json[0]["labels"]
        self.daemon.registry.set_facts(service_id, {"ssdp-friendly-name": "Lab", "redfish-vendor": "Example"})
        self.assertEqual(
            self.get().json[0]["labels"],
            {**before, "__meta_ssdp_friendly_name": "Lab", "__meta_ssdp_redfish_vendor": "Example"},
        )

    def test_order(self) -> None:
        """The order of the targets does not depend on the order of the announcements."""
        for device in ("c", "a", "b"):
            self.daemon.receive_alive(device)
        self.assertEqual(self.devices(""), ["a", "b", "c"])

    def test_filters(self) -> None:
        """A target has one of the names and devices, and all of the tags, in any case."""
        self.daemon.receive_alive("a")
        self.daemon.receive_alive("b")
        self.daemon.receive_alive("c", LLDP)
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
        """An unknown filter is an error, so that Prometheus keeps its targets."""
        exchange = self.get("?services=x")
        self.assertEqual(
            (exchange.status, exchange.body), (400, b"Unknown filter 'services': there are service, device and tag")
        )

    def test_first_search(self) -> None:
        """The response is an error until devices have had the time to answer the first search."""
        daemon = Daemon(self.reactor)
        daemon.start()
        self.addCleanup(daemon.stop)
        statuses = []
        for _ in range(8):
            statuses.append(Exchange(daemon.root, self.reactor, "/sd/prometheus").status)
            self.reactor.advance(1)
        self.assertEqual(statuses, [503] * 6 + [200] * 2)

    def test_unusual_locations(self) -> None:
        """A LOCATION that was accepted never prevents the list."""
        for number, location in enumerate(("http://[2001:DB8::1]:80?x", "http://[::ffff:10.0.0.7]/", "HTTP://h")):
            self.daemon.receive_alive(f"dev-{number}", location=location)
        groups: list[Any] = self.get().json
        self.assertEqual([group["targets"] for group in groups], [["[2001:db8::1]:80"], ["10.0.0.7:80"], ["h:80"]])
