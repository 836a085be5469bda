"""Tests for ``twistd ssdpreg`` in catalog mode with two datacenters of a real Consul, joined by WAN federation."""

from __future__ import annotations

import signal
import sys
from typing import Any

from tests.support.consul import find_consul
from tests.support.hosts import Host
from tests.support.rack import API, byebye
from tests.support.waiting import wait_until
from tests.system.test_daemon import DaemonTestCase

API_NAME = "RackHD-service:api:2.0"


class DatacenterTests(DaemonTestCase):
    """Tests with the daemon beside a server of datacenter ``dc1`` and a server of ``dc2`` on another host."""

    def setUp(self) -> None:
        super().setUp()
        self.near, self.far = self.rack.host, self.second
        for host, datacenter in ((self.near, "dc1"), (self.far, "dc2")):
            self.start_server(host, datacenter)
        self.near.http(f"/v1/agent/join/{self.far.address}?wan=1", method="PUT")
        wait_until(lambda: self.get("/v1/catalog/datacenters") == ["dc1", "dc2"], 30)
        wait_until(lambda: self.get("/v1/catalog/nodes?dc=dc2"), 30)

    def start_server(self, host: Host, datacenter: str) -> None:
        """Start the only server of a datacenter, and wait until its node is in the catalog."""
        binary = find_consul()
        assert binary is not None
        host.run([binary, "agent", "-dev", f"-bind={host.address}", f"-datacenter={datacenter}", f"-node={datacenter}"])

        def has_node() -> bool:
            try:
                return bool(host.http("/v1/health/service/consul").json())
            except (OSError, ValueError):
                return False

        wait_until(has_node, 30)

    def get(self, path: str, host: Host | None = None) -> Any:
        """Return the JSON of a response of the Consul on a host, by default that of the daemon."""
        return (host or self.near).http(path).json()

    def start(self, **backend: Any) -> None:
        """Start the daemon for the other datacenter."""
        settings = {"mode": "catalog", "scope": "rack", "datacenter": "dc2", **backend}
        self.rack.start_daemon({"ssdp": {"tags": {"RackHD": [API]}}, "backend": settings})

    def nodes(self) -> list[str]:
        """Return the names of the devices' nodes in the other datacenter, as its own server lists them."""
        return sorted(each["Node"] for each in self.get("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack", self.far))

    def test_life_of_a_service(self) -> None:
        """A service is registered, moved, and removed in the configured datacenter. The other one stays unchanged."""
        before = self.get("/v1/catalog/nodes"), self.get("/v1/kv/?keys&separator=")
        self.start()
        self.announce(self.first, "D1")
        self.assert_soon(self.nodes, ["d1"], 8)
        (entry,) = self.get(f"/v1/catalog/service/{API_NAME}", self.far)
        shown = (entry["Datacenter"], entry["Node"], entry["ServiceAddress"], entry["ServicePort"])
        self.assertEqual(shown, ("dc2", "d1", "10.77.0.3", 8080))
        self.announce(self.first, "D1", port=9090)
        self.assert_soon(
            lambda: [each["ServicePort"] for each in self.get(f"/v1/catalog/service/{API_NAME}", self.far)], [9090], 3
        )
        self.first.send(byebye(API, "D1"))
        self.assert_soon(self.nodes, [], 6)
        self.assertEqual((self.get("/v1/catalog/nodes"), self.get("/v1/kv/?keys&separator=")), before)
        assert self.rack.daemon is not None
        self.assertNotIn("#warn", self.rack.daemon.output)

    def test_restart_and_purge(self) -> None:
        """After ``kill -9``, the next daemon adopts the nodes. ``ssdpreg purge`` removes them from the datacenter."""
        self.start(lock="rack")
        self.announce(self.first, "D1")
        self.assert_soon(self.nodes, ["d1"], 8)
        before = self.get(f"/v1/catalog/service/{API_NAME}", self.far)
        daemon = self.rack.daemon
        assert daemon is not None
        daemon.signal(signal.SIGKILL)
        daemon.stop()
        self.start(lock="rack")
        self.announce(self.first, "D2")
        self.assert_soon(self.nodes, ["d1", "d2"], 30)
        found = self.get(f"/v1/catalog/service/{API_NAME}", self.far)
        self.assertEqual([each for each in found if each["Node"] == "d1"], before)
        daemon = self.rack.daemon
        assert daemon is not None
        daemon.stop()
        config = str(self.rack.folder / "registry.json")
        purge = [sys.executable, "-m", "ssdpreg", "purge", "--config", config, "--scope", "rack"]
        self.assertIn("d1", self.near.call([*purge, "--dry-run"]))
        self.near.call(purge)
        self.assertEqual(self.nodes(), [])
