"""Tests for :mod:`ssdpreg.web.consul_api`."""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web import consul_json
from tests.support.consul import remove_all_services, shared_consul, skip_without_consul
from tests.support.memory_daemon import LLDP, REDFISH, Daemon, Reader
from tests.support.memory_reactor import MemoryMulticastReactor


class ConsulAPITests(SynchronousTestCase):
    """Tests for the tree below ``/v1``, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)

    def read(self, path: str, method: str = "GET", **headers: str) -> Reader:
        """Ask for something."""
        return Reader(self.daemon.root, self.reactor, path, method, headers)

    def test_services(self) -> None:
        """All names are listed with their tags."""
        self.daemon.hear_alive("dev-1")
        self.daemon.hear_alive("dev-2", LLDP)
        answer = self.read("/v1/catalog/services")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        tags = ["Blue", "lab"]
        self.assertEqual(answer.json, {"Inservice-service:lldp:0.1": tags, "RackHD-service:api:2.0": tags})

    def test_service(self) -> None:
        """The services of a name are listed with where they are."""
        self.daemon.hear_alive("dev-1", location="https://[2001:db8::5]/redfish")
        (service,) = self.read("/v1/catalog/service/RackHD-service:api:2.0").json
        self.assertEqual((service["Node"], service["Address"]), ("dev-1", "2001:db8::5"))
        self.assertEqual((service["ServiceAddress"], service["ServicePort"]), ("2001:db8::5", 443))
        self.assertEqual(service["ServiceMeta"]["ssdp-location"], "https://[2001:db8::5]/redfish")

    def test_name_in_any_form(self) -> None:
        """A name is found in any case of letters, quoted or not, and what nobody offers is an empty list."""
        self.daemon.hear_alive("dev-1")
        for path in ("rackhd-SERVICE:api:2.0", "RackHD%2Dservice%3Aapi%3A2.0", "RackHD-service:api:2.0"):
            self.assertEqual(len(self.read(f"/v1/catalog/service/{path}").json), 1)
        for path in ("nothing", "a/b", "%FF%00"):
            self.assertEqual(self.read(f"/v1/catalog/service/{path}").json, [])

    def test_tags(self) -> None:
        """Every tag that is asked for has to be there, in any case of letters."""
        self.daemon.hear_alive("dev-1")
        for query, count in {"tag=lab&tag=blue": 1, "tag=lab&tag=red": 0, "tag=": 0}.items():
            for path in ("catalog", "health"):
                answer = self.read(f"/v1/{path}/service/RackHD-service:api:2.0?{query}")
                self.assertEqual(len(answer.json), count, query)

    def test_node_meta(self) -> None:
        """Nodes can be asked for by their meta data."""
        self.daemon.hear_alive("dev-1")
        self.assertEqual(len(self.read("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack-7").json), 1)
        self.assertEqual(self.read("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack-8").json, [])

    def test_passing(self) -> None:
        """What is live is well."""
        self.daemon.hear_alive("dev-1")
        (service,) = self.read("/v1/health/service/RackHD-service:api:2.0?passing").json
        self.assertEqual([check["Status"] for check in service["Checks"]], ["passing"])

    def test_node(self) -> None:
        """A device is a node with all of its services; one that nobody heard is null."""
        self.daemon.hear_alive("dev-1")
        self.daemon.hear_alive("dev-1", LLDP)
        self.daemon.hear_alive("dev-2")
        node = self.read("/v1/catalog/node/DEV-1").json
        self.assertEqual(node["Node"]["Node"], "dev-1")
        self.assertEqual(
            {service["Service"] for service in node["Services"].values()},
            {"RackHD-service:api:2.0", "Inservice-service:lldp:0.1"},
        )
        self.assertIsNone(self.read("/v1/catalog/node/dev-3").json)
        self.assertEqual([node["Node"] for node in self.read("/v1/catalog/nodes").json], ["dev-1", "dev-2"])

    def test_who_answers(self) -> None:
        """A reader learns the datacenter, and that there is a leader."""
        self.assertEqual(self.read("/v1/catalog/datacenters").json, ["dc1"])
        self.assertEqual(self.read("/v1/status/leader").json, "127.0.0.1:8580")
        config = self.read("/v1/agent/self").json["Config"]
        self.assertEqual((config["Datacenter"], config["NodeName"]), ("dc1", "host-1"))

    def test_pretty(self) -> None:
        """What people ask for is indented as Consul does it."""
        self.daemon.hear_alive("dev-1")
        self.assertEqual(
            self.read("/v1/catalog/services?pretty").body,
            b'{\n    "RackHD-service:api:2.0": [\n        "Blue",\n        "lab"\n    ]\n}\n',
        )

    def test_compressed(self) -> None:
        """Who asks for gzip gets gzip."""
        self.daemon.hear_alive("dev-1")
        path = "/v1/catalog/service/RackHD-service:api:2.0"
        answer = self.read(path, **{"Accept-Encoding": "gzip"})
        self.assertEqual(answer.headers["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(answer.body), self.read(path).body)

    def test_head(self) -> None:
        """HEAD is answered as GET, without the body."""
        got, head = self.read("/v1/catalog/services"), self.read("/v1/catalog/services", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], got.headers["Content-Length"])
        self.assertEqual(head.headers["X-Consul-Index"], got.headers["X-Consul-Index"])

    def test_read_only(self) -> None:
        """Nothing can be changed."""
        for method in ("PUT", "POST", "DELETE", "PATCH", "FOO"):
            answer = self.read("/v1/catalog/services", method)
            self.assertEqual(answer.status, 405)
            self.assertEqual(answer.headers["Allow"], "OPTIONS,GET,HEAD")
            self.assertEqual(answer.body, f"method {method} not allowed".encode())
        self.assertEqual(self.read("/v1/catalog/services", "OPTIONS").status, 200)

    def test_errors(self) -> None:
        """A reader's mistakes are answered as Consul does."""
        for path, answer in {
            "/v1/catalog/service/": (400, b"Missing service name"),
            "/v1/health/service/": (400, b"Missing service name"),
            "/v1/catalog/node/": (400, b"Missing node name"),
            "/v1/catalog/services?index=abc": (400, b"Invalid index"),
            "/v1/catalog/services?dc=dc2": (500, b"No path to datacenter"),
            "/v1/catalog/services/x": (404, b""),
            "/v1/catalog": (404, b""),
            "/v1/kv/x": (404, b""),
            "/v2": (404, b""),
        }.items():
            reader = self.read(path)
            self.assertEqual((reader.status, reader.body), answer, path)

    def test_blocking(self) -> None:
        """A reader that has seen the present state is answered when there is another."""
        index = self.read("/v1/catalog/services").headers["X-Consul-Index"]
        reader = self.read(f"/v1/catalog/services?index={index}&wait=60s")
        self.reactor.advance(30)
        self.assertIsNone(reader.status)
        self.daemon.hear_alive("dev-1")
        self.reactor.advance(0.1)
        self.assertEqual(list(reader.json), ["RackHD-service:api:2.0"])
        self.assertGreater(int(reader.headers["X-Consul-Index"]), int(index))

    def test_blocking_until_time_is_up(self) -> None:
        """A reader is answered in the end, with the state that it has seen."""
        index = self.read("/v1/health/service/x").headers["X-Consul-Index"]
        reader = self.read(f"/v1/health/service/x?index={index}&wait=2s")
        self.reactor.advance(1.9)
        self.assertIsNone(reader.status)
        self.reactor.advance(0.1)
        self.assertEqual((reader.json, reader.headers["X-Consul-Index"]), ([], index))

    def test_unrelated_change(self) -> None:
        """A reader of one name sleeps through the changes of others."""
        self.daemon.hear_alive("dev-1")
        path = "/v1/health/service/RackHD-service:api:2.0"
        index = self.read(path).headers["X-Consul-Index"]
        reader = self.read(f"{path}?index={index}")
        self.daemon.hear_alive("dev-2", LLDP)
        self.reactor.advance(1)
        self.assertIsNone(reader.status)
        self.daemon.hear_alive("dev-1", location="http://10.0.0.6:8080/")
        self.reactor.advance(1)
        self.assertEqual([entry["Service"]["Address"] for entry in reader.json], ["10.0.0.6"])

    def test_reader_leaves(self) -> None:
        """A reader that hangs up leaves nothing behind."""
        reader = self.read("/v1/catalog/services?index=99999999999999")
        before = len(self.reactor.getDelayedCalls())
        reader.leave()
        self.assertLess(len(self.reactor.getDelayedCalls()), before)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_own_error(self) -> None:
        """An error of ours is logged, and answered without its details."""
        self.daemon.hear_alive("dev-1")
        self.patch(consul_json, "node_meta", {})
        answer = self.read("/v1/catalog/nodes")
        self.assertEqual((answer.status, answer.body), (500, b"Internal error: see the log"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


def _without_indexes(value: Any) -> Any:
    """Leave out what two catalogues cannot have in common."""
    if isinstance(value, dict):
        return {key: _without_indexes(part) for key, part in value.items() if key not in ("CreateIndex", "ModifyIndex")}
    return [_without_indexes(part) for part in value] if isinstance(value, list) else value


class SameAsConsulTests(SynchronousTestCase):
    """What the API answers, compared with what a real Consul does that was told of the same devices."""

    skip = skip_without_consul

    def setUp(self) -> None:
        self.consul = shared_consul()
        remove_all_services(self.consul)
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)
        self.daemon.hear_alive("dev-1")
        self.daemon.hear_alive("dev-1", REDFISH, "https://10.0.0.5/redfish/v1")
        self.daemon.hear_alive("dev-2", location="http://[2001:db8::7]:81/")
        for registration in self.daemon.registry.registrations.values():
            node = registration.meta["ssdp-device"]
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

    def both(self, path: str) -> tuple[Any, Any]:
        """Ask both catalogues the same."""
        reader = Reader(self.daemon.root, self.reactor, path)
        status, body = self.consul.request("GET", path)
        self.assertEqual(reader.status, status, path)
        if reader.headers["Content-Type"] != "application/json":
            return reader.body, body
        return _without_indexes(reader.json), _without_indexes(json.loads(body))

    def test_same_entries(self) -> None:
        """Services, nodes and their health are described in the same words."""
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
            ours, theirs = self.both(path)
            self.assertEqual(ours, theirs, path)

    def test_same_names(self) -> None:
        """All names are listed, in the same form."""
        ours, theirs = self.both("/v1/catalog/services?node-meta=external-source:ssdpreg")
        self.assertEqual(ours, {name: sorted(tags) for name, tags in theirs.items()})

    def test_same_errors(self) -> None:
        """Mistakes are answered with the same status and text."""
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
            ours, theirs = self.both(path)
            self.assertEqual(ours, theirs, path)

    def test_same_self(self) -> None:
        """What a reader learns of the agent has the form that it has there."""
        ours, theirs = self.both("/v1/agent/self")
        self.assertEqual(ours["Config"].keys(), theirs["Config"].keys())
        for key, value in theirs["Config"].items():
            self.assertIs(type(ours["Config"][key]), type(value), key)

    def test_same_headers(self) -> None:
        """The headers by which a reader follows changes are there, as in Consul."""
        reader = Reader(self.daemon.root, self.reactor, "/v1/health/service/RackHD-service:api:2.0")
        self.assertEqual(reader.headers["X-Consul-Knownleader"], "true")
        self.assertEqual(reader.headers["X-Consul-Lastcontact"], "0")
        self.assertGreater(int(reader.headers["X-Consul-Index"]), 0)
