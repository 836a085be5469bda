"""Tests for ``twistd ssdpreg`` in catalog mode with a real Consul, and with devices on other hosts."""

from __future__ import annotations

import signal
from typing import Any

from tests.support.rack import API, REDFISH, byebye
from tests.support.waiting import wait_until
from tests.system.test_daemon import DaemonTestCase

TAGS = {"RackHD": [API, REDFISH]}


class CatalogDaemonTests(DaemonTestCase):
    """Tests with a Consul agent and a daemon on one host."""

    def setUp(self) -> None:
        super().setUp()
        self.rack.start_consul()

    def start(self, **backend: Any) -> None:
        """Start the daemon in catalog mode."""
        self.rack.start_daemon({"ssdp": {"tags": TAGS}, "backend": {"mode": "catalog", "scope": "rack", **backend}})

    def instances(self) -> list[str]:
        """Return all instances of the devices' services, with their nodes."""
        return sorted(
            f"{entry['Node']} {entry['ServiceName']} {entry['ServiceAddress']}:{entry['ServicePort']}"
            for name in self.rack.names()
            for entry in self.rack.request(f"/v1/catalog/service/{name}").json()
        )

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes of the scope, with their services and checks."""
        listed = self.rack.request("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack").json()
        return [
            {
                "Node": node,
                "Services": self.rack.request(f"/v1/catalog/node/{node['Node']}").json()["Services"],
                "Checks": self.rack.request(f"/v1/health/node/{node['Node']}").json(),
            }
            for node in listed
        ]

    def test_original_example(self) -> None:
        """Consul shows the device of the original's example as the original did, field by field."""
        self.start()
        self.announce(self.first, "228617159241066160", port=65535)
        self.assert_soon(self.instances, ["228617159241066160 RackHD-service:api:2.0 10.77.0.3:65535"], 2)
        (entry,) = self.rack.request("/v1/catalog/service/RackHD-service:api:2.0").json()
        expected = {
            "Address": "10.77.0.3",
            "Node": "228617159241066160",
            "ServiceAddress": "10.77.0.3",
            "ServiceEnableTagOverride": False,
            "ServiceID": "RackHD-service:api:2.0",
            "ServiceName": "RackHD-service:api:2.0",
            "ServicePort": 65535,
            "ServiceTags": [],
        }
        self.assertEqual({key: entry[key] for key in expected}, expected)
        self.assertEqual(entry["CreateIndex"], entry["ModifyIndex"])
        self.assertEqual(self.rack.request("/v1/catalog/services").json()["RackHD-service:api:2.0"], [])
        self.first.send(byebye(API, "228617159241066160"))
        self.assert_soon(self.instances, [], 6)
        self.assertEqual(self.nodes(), [])

    def test_restart(self) -> None:
        """A restart changes no index in the catalog, however the daemon ended, and a new device is added at once."""
        self.start()
        for number in range(3):
            self.announce(self.first, f"D{number}", API, REDFISH)
        self.assert_soon(lambda: len(self.instances()), 6, 3)
        before = self.nodes()
        for number, end in enumerate((signal.SIGKILL, signal.SIGTERM)):
            assert self.rack.daemon is not None
            self.rack.daemon.signal(end)
            self.rack.daemon.stop()
            self.start()
            self.announce(self.second, f"new-{number}")
            self.assert_soon(lambda: len(self.instances()), 7 + number, 8)
            self.assertEqual([each for each in self.nodes() if "new" not in each["Node"]["Node"]], before)

    def test_foreign_node(self) -> None:
        """A node of another program blocks one device, which the log says once, and nothing else."""
        node = {"Node": "d1", "Address": "10.9.9.9", "NodeMeta": {"owner": "operator"}}
        self.rack.put("/v1/catalog/register", node)
        before = self.rack.request("/v1/catalog/node/d1").json()
        self.start()
        self.announce(self.first, "D1")
        self.announce(self.second, "D2")
        self.assert_soon(self.instances, ["d2 RackHD-service:api:2.0 10.77.0.4:8080"], 2)
        assert self.rack.daemon is not None
        self.rack.daemon.wait_for("Refused .*: 409 the node d1 of the catalog belongs to another program")
        for _ in range(3):
            self.announce(self.first, "D1")
        page = self.rack.host.http("/", port=8580).body.decode()
        self.assertIn("the node d1 of the catalog belongs to another program", page)
        self.assertEqual(self.rack.daemon.output.count("Refused"), 1)
        self.assertEqual(self.rack.request("/v1/catalog/node/d1").json(), before)

    def test_migration(self) -> None:
        """
        After the change from agent mode, the agent's copies of the services are removed when their nodes exist.

        The device neither announces itself nor replies to searches meanwhile.
        """
        daemon = self.rack.start_daemon({"ssdp": {"tags": TAGS}, "backend": {"scope": "rack"}})
        self.announce(self.first, "D1")
        self.assert_soon(lambda: len(self.instances()), 1, 3)
        daemon.stop()
        self.start()
        self.assert_soon(self.instances, ["d1 RackHD-service:api:2.0 10.77.0.3:8080"], 45)
        self.assertEqual(self.rack.request("/v1/agent/services").json(), {})

    def test_wiped(self) -> None:
        """When Consul starts again without its data, everything is registered again within seconds."""
        self.start()
        for number in range(30):
            self.announce(self.first, f"D{number}")
        self.assert_soon(lambda: len(self.instances()), 30, 5)
        assert self.rack.consul is not None
        self.rack.consul.kill()
        self.rack.start_consul()
        self.assert_soon(lambda: len(self.instances()), 30, 15)

    def test_deregister_on_stop(self) -> None:
        """With ``on_stop: deregister``, the nodes of the devices are removed when the daemon stops."""
        self.start(on_stop="deregister", node_prefix="ssdp-")
        for number in range(7):
            self.announce(self.first, f"D{number}")
        self.assert_soon(lambda: len(self.instances()), 7, 3)
        self.assertEqual({each["Node"]["Node"] for each in self.nodes()}, {f"ssdp-d{number}" for number in range(7)})
        assert self.rack.daemon is not None
        self.rack.daemon.stop()
        wait_until(lambda: not self.nodes(), 5, what="removal of the nodes")
