"""Tests for ``twistd ssdpreg`` in catalog mode with two datacenters of a real Consul, joined by WAN federation."""

from __future__ import annotations

import signal
import sys
from typing import Any

from tests.support.rack import API, Rack, byebye
from tests.support.waiting import wait_until
from tests.system.test_daemon import DaemonTestCase

API_NAME = "RackHD-service:api:2.0"


class DatacenterTests(DaemonTestCase):
    """Tests with the daemon beside a server of datacenter ``dc1`` and a server of ``dc2`` on another host."""

    def setUp(self) -> None:
        super().setUp()
        self.other = Rack(self.second, self.rack.folder)
        for rack, datacenter in ((self.rack, "dc1"), (self.other, "dc2")):
            rack.start_consul(f"-datacenter={datacenter}", f"-node={datacenter}", bind=rack.host.address)
        self.rack.put(f"/v1/agent/join/{self.second.address}?wan=1")
        wait_until(lambda: self.rack.request("/v1/catalog/datacenters").json() == ["dc1", "dc2"], 30)
        wait_until(
            lambda: (answer := self.rack.request("/v1/catalog/nodes?dc=dc2")).status == 200 and answer.json(), 30
        )

    def start(self, **backend: Any) -> None:
        """Start the daemon for the other datacenter."""
        settings = {"mode": "catalog", "scope": "rack", "datacenter": "dc2", **backend}
        self.rack.start_daemon({"ssdp": {"tags": {"RackHD": [API]}}, "backend": settings})

    def nodes(self) -> list[str]:
        """Return the names of the devices' nodes in the other datacenter, as its own server lists them."""
        return sorted(
            each["Node"] for each in self.other.request("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack").json()
        )

    def services(self) -> list[dict[str, Any]]:
        """Return the instances of the service in the other datacenter."""
        found: list[dict[str, Any]] = self.other.request(f"/v1/catalog/service/{API_NAME}").json()
        return found

    def content_of_dc1(self) -> tuple[Any, Any]:
        """Return the nodes and the keys in the datacenter of the daemon's host."""
        return tuple(self.rack.request(path).json() for path in ("/v1/catalog/nodes", "/v1/kv/?keys&separator="))

    def test_life_of_a_service(self) -> None:
        """A service is registered, moved, and removed in the configured datacenter. The other one stays unchanged."""
        before = self.content_of_dc1()
        self.start()
        self.announce(self.first, "D1")
        self.assert_soon(self.nodes, ["d1"], 8)
        (entry,) = self.services()
        shown = (entry["Datacenter"], entry["Node"], entry["ServiceAddress"], entry["ServicePort"])
        self.assertEqual(shown, ("dc2", "d1", "10.77.0.3", 8080))
        self.announce(self.first, "D1", port=9090)
        self.assert_soon(lambda: [each["ServicePort"] for each in self.services()], [9090], 3)
        self.first.send(byebye(API, "D1"))
        self.assert_soon(self.nodes, [], 6)
        self.assertEqual(self.content_of_dc1(), before)
        assert self.rack.daemon is not None
        self.assertNotIn("#warn", self.rack.daemon.output)

    def test_restart_and_purge(self) -> None:
        """After ``kill -9``, the next daemon adopts the nodes. ``ssdpreg purge`` removes them from the datacenter."""
        self.start(lock="rack")
        self.announce(self.first, "D1")
        self.assert_soon(self.nodes, ["d1"], 8)
        before = self.services()
        daemon = self.rack.daemon
        assert daemon is not None
        daemon.signal(signal.SIGKILL)
        daemon.stop()
        self.start(lock="rack")
        self.announce(self.first, "D2")
        self.assert_soon(self.nodes, ["d1", "d2"], 30)
        found = self.services()
        self.assertEqual([each for each in found if each["Node"] == "d1"], before)
        daemon = self.rack.daemon
        assert daemon is not None
        daemon.stop()
        config = str(self.rack.folder / "registry.json")
        purge = [sys.executable, "-m", "ssdpreg", "purge", "--config", config, "--scope", "rack"]
        self.assertIn("d1", self.rack.host.call([*purge, "--dry-run"]))
        self.rack.host.call(purge)
        self.assertEqual(self.nodes(), [])
