"""Responses of the API below ``/v1``, compared with those of a real Consul."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.consul import remove_all_services, shared_consul, skip_without_consul
from tests.support.memory_daemon import REDFISH, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor


def _without_indexes(value: Any) -> Any:
    """Remove the indexes, which differ between two servers."""
    if isinstance(value, dict):
        return {key: _without_indexes(part) for key, part in value.items() if key not in ("CreateIndex", "ModifyIndex")}
    return [_without_indexes(part) for part in value] if isinstance(value, list) else value


class SameAsConsulTests(SynchronousTestCase):
    """The daemon and a Consul in which the same devices are registered."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        remove_all_services(self.consul)
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-1", REDFISH, "https://10.0.0.5/redfish/v1")
        self.daemon.receive_alive("dev-2", location="http://[2001:db8::7]:81/")
        for registration in self.daemon.registry.registrations.values():
            node = registration.device_id
            meta = {"external-node": "true", "external-source": "ssdpreg", "ssdpreg-scope": "rack-7"}
            self.consul.put(
                "/v1/catalog/register",
                {
                    "Node": node,
                    "Address": registration.address,
                    "NodeMeta": meta,
                    "Service": {
                        "ID": registration.service_id,
                        "Service": registration.name,
                        "Address": registration.address,
                        "Port": registration.port,
                        "Tags": registration.tags,
                        "Meta": registration.meta,
                    },
                    "Check": {
                        "Node": node,
                        "CheckID": f"{registration.service_id}-alive",
                        "Name": "alive",
                        "Status": "passing",
                        "ServiceID": registration.service_id,
                    },
                },
            )
            self.addCleanup(self.consul.put, "/v1/catalog/deregister", {"Node": node})

    def get_both(self, path: str) -> tuple[Any, Any]:
        """Return the responses of the daemon and of Consul to one request."""
        exchange = Exchange(self.daemon.root, self.reactor, path)
        status, body = self.consul.request("GET", path)
        self.assertEqual(exchange.status, status, path)
        if exchange.headers["Content-Type"] != "application/json":
            return exchange.body, body
        return _without_indexes(exchange.json), _without_indexes(json.loads(body))

    def test_same_entries(self) -> None:
        """Services, nodes and checks have the same JSON."""
        for path in (
            "/v1/catalog/service/RackHD-service:api:2.0",
            "/v1/catalog/service/rackhd-service:api:2.0?tag=LAB&tag=Blue",
            "/v1/catalog/service/RackHD-service:api:2.0?tag=red",
            "/v1/catalog/service/nothing",
            "/v1/catalog/node/dev-2",
            "/v1/catalog/node/nothing",
            "/v1/health/service/RackHD-service:api:2.0?passing=1",
            "/v1/health/service/nothing",
            "/v1/catalog/nodes?node-meta=external-source:ssdpreg&node-meta=external-node:nothing",
            "/v1/catalog/services?node-meta=external-source:nothing",
            "/v1/catalog/datacenters",
        ):
            ours, theirs = self.get_both(path)
            self.assertEqual(ours, theirs, path)

    def test_same_names(self) -> None:
        """The list of service names is the same, apart from the order of tags."""
        ours, theirs = self.get_both("/v1/catalog/services?node-meta=external-source:ssdpreg")
        self.assertEqual(ours, {name: sorted(tags) for name, tags in theirs.items()})

    def test_same_errors(self) -> None:
        """Invalid requests are rejected with the same status and text."""
        for path in (
            "/v1/catalog/service/",
            "/v1/catalog/node/",
            "/v1/health/service/",
            "/v1/health/service/x?passing=maybe",
            "/v1/catalog/services?index=abc",
            "/v1/catalog/services?wait=5",
            "/v1/catalog/services?stale&consistent",
            "/v1/catalog/services?dc=nowhere",
        ):
            ours, theirs = self.get_both(path)
            self.assertEqual(ours, theirs, path)

    def test_same_self(self) -> None:
        """/v1/agent/self has the same keys and types."""
        ours, theirs = self.get_both("/v1/agent/self")
        self.assertEqual(ours["Config"].keys(), theirs["Config"].keys())
        for key, value in theirs["Config"].items():
            self.assertIs(type(ours["Config"][key]), type(value), key)

    def test_same_headers(self) -> None:
        """The response has the headers that a blocking query needs."""
        exchange = Exchange(self.daemon.root, self.reactor, "/v1/health/service/RackHD-service:api:2.0")
        self.assertEqual(exchange.headers["X-Consul-Knownleader"], "true")
        self.assertEqual(exchange.headers["X-Consul-Lastcontact"], "0")
        self.assertGreater(int(exchange.headers["X-Consul-Index"]), 0)
