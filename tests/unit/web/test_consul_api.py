"""Tests for :mod:`ssdpreg.web.consul_api`."""

from __future__ import annotations

import gzip

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web import consul_json
from tests.support.memory_daemon import LLDP, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor


class ConsulAPITests(SynchronousTestCase):
    """Tests for the tree below ``/v1``, through HTTP in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.daemon = Daemon(self.reactor)

    def send(self, path: str, method: str = "GET", **headers: str) -> Exchange:
        """Send a request."""
        return Exchange(self.daemon.root, self.reactor, path, method, headers)

    def test_services(self) -> None:
        """All service names are listed with their tags."""
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-2", LLDP)
        exchange = self.send("/v1/catalog/services")
        self.assertEqual(exchange.status, 200)
        self.assertEqual(exchange.headers["Content-Type"], "application/json")
        tags = ["Blue", "lab"]
        self.assertEqual(exchange.json, {"Inservice-service:lldp:0.1": tags, "RackHD-service:api:2.0": tags})

    def test_service(self) -> None:
        """The services with a name are listed with their addresses."""
        self.daemon.receive_alive("dev-1", location="https://[2001:db8::5]/redfish")
        (service,) = self.send("/v1/catalog/service/RackHD-service:api:2.0").json
        self.assertEqual((service["Node"], service["Address"]), ("dev-1", "2001:db8::5"))
        self.assertEqual((service["ServiceAddress"], service["ServicePort"]), ("2001:db8::5", 443))
        self.assertEqual(service["ServiceMeta"]["ssdp-location"], "https://[2001:db8::5]/redfish")

    def test_spellings_of_a_name(self) -> None:
        """A name is found in any case, quoted or not, and the list of an unknown name is empty."""
        self.daemon.receive_alive("dev-1")
        for path in ("rackhd-SERVICE:api:2.0", "RackHD%2Dservice%3Aapi%3A2.0", "RackHD-service:api:2.0"):
            self.assertEqual(len(self.send(f"/v1/catalog/service/{path}").json), 1)
        for path in ("nothing", "a/b", "%FF%00"):
            self.assertEqual(self.send(f"/v1/catalog/service/{path}").json, [])

    def test_tags(self) -> None:
        """A service must have every tag of the query, in any case."""
        self.daemon.receive_alive("dev-1")
        for query, count in {"tag=lab&tag=blue": 1, "tag=lab&tag=red": 0, "tag=": 0}.items():
            for path in ("catalog", "health"):
                exchange = self.send(f"/v1/{path}/service/RackHD-service:api:2.0?{query}")
                self.assertEqual(len(exchange.json), count, query)

    def test_node_meta(self) -> None:
        """Nodes are filtered by their Meta."""
        self.daemon.receive_alive("dev-1")
        self.assertEqual(len(self.send("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack-7").json), 1)
        self.assertEqual(self.send("/v1/catalog/nodes?node-meta=ssdpreg-scope:rack-8").json, [])

    def test_passing(self) -> None:
        """The check of a live service passes."""
        self.daemon.receive_alive("dev-1")
        (service,) = self.send("/v1/health/service/RackHD-service:api:2.0?passing").json
        self.assertEqual([check["Status"] for check in service["Checks"]], ["passing"])

    def test_node(self) -> None:
        """A device is a node with all its services, and an unknown node is null."""
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-1", LLDP)
        self.daemon.receive_alive("dev-2")
        node = self.send("/v1/catalog/node/DEV-1").json
        self.assertEqual(node["Node"]["Node"], "dev-1")
        self.assertEqual(
            {service["Service"] for service in node["Services"].values()},
            {"RackHD-service:api:2.0", "Inservice-service:lldp:0.1"},
        )
        self.assertIsNone(self.send("/v1/catalog/node/dev-3").json)
        self.assertEqual([node["Node"] for node in self.send("/v1/catalog/nodes").json], ["dev-1", "dev-2"])

    def test_server(self) -> None:
        """A client reads the datacenter, the leader and the name of the node."""
        self.assertEqual(self.send("/v1/catalog/datacenters").json, ["dc1"])
        self.assertEqual(self.send("/v1/status/leader").json, "127.0.0.1:8580")
        config = self.send("/v1/agent/self").json["Config"]
        self.assertEqual((config["Datacenter"], config["NodeName"]), ("dc1", "host-1"))

    def test_pretty(self) -> None:
        """With ?pretty, the response is indented as by Consul."""
        self.daemon.receive_alive("dev-1")
        self.assertEqual(
            self.send("/v1/catalog/services?pretty").body,
            b'{\n    "RackHD-service:api:2.0": [\n        "Blue",\n        "lab"\n    ]\n}\n',
        )

    def test_compressed(self) -> None:
        """The response is compressed for a client that accepts gzip."""
        self.daemon.receive_alive("dev-1")
        path = "/v1/catalog/service/RackHD-service:api:2.0"
        exchange = self.send(path, **{"Accept-Encoding": "gzip"})
        self.assertEqual(exchange.headers["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(exchange.body), self.send(path).body)

    def test_head(self) -> None:
        """The response to HEAD is that to GET, without the body."""
        got, head = self.send("/v1/catalog/services"), self.send("/v1/catalog/services", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], got.headers["Content-Length"])
        self.assertEqual(head.headers["X-Consul-Index"], got.headers["X-Consul-Index"])

    def test_read_only(self) -> None:
        """Methods that could change anything are rejected."""
        for method in ("PUT", "POST", "DELETE", "PATCH", "FOO"):
            exchange = self.send("/v1/catalog/services", method)
            self.assertEqual(exchange.status, 405)
            self.assertEqual(exchange.headers["Allow"], "OPTIONS,GET,HEAD")
            self.assertEqual(exchange.body, f"method {method} not allowed".encode())
        self.assertEqual(self.send("/v1/catalog/services", "OPTIONS").status, 200)

    def test_errors(self) -> None:
        """Invalid requests are rejected as Consul rejects them."""
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
            exchange = self.send(path)
            self.assertEqual((exchange.status, exchange.body), answer, path)

    def test_blocking(self) -> None:
        """A blocking query returns at the next change."""
        index = self.send("/v1/catalog/services").headers["X-Consul-Index"]
        exchange = self.send(f"/v1/catalog/services?index={index}&wait=60s")
        self.reactor.advance(30)
        self.assertIsNone(exchange.status)
        self.daemon.receive_alive("dev-1")
        self.reactor.advance(0.1)
        self.assertEqual(list(exchange.json), ["RackHD-service:api:2.0"])
        self.assertGreater(int(exchange.headers["X-Consul-Index"]), int(index))

    def test_blocking_timeout(self) -> None:
        """A blocking query returns when its time has passed, with the same index."""
        index = self.send("/v1/health/service/x").headers["X-Consul-Index"]
        exchange = self.send(f"/v1/health/service/x?index={index}&wait=2s")
        self.reactor.advance(1.9)
        self.assertIsNone(exchange.status)
        self.reactor.advance(0.1)
        self.assertEqual((exchange.json, exchange.headers["X-Consul-Index"]), ([], index))

    def test_unrelated_change(self) -> None:
        """A blocking query for one name does not return at changes of other names."""
        self.daemon.receive_alive("dev-1")
        path = "/v1/health/service/RackHD-service:api:2.0"
        index = self.send(path).headers["X-Consul-Index"]
        exchange = self.send(f"{path}?index={index}")
        self.daemon.receive_alive("dev-2", LLDP)
        self.reactor.advance(1)
        self.assertIsNone(exchange.status)
        self.daemon.receive_alive("dev-1", location="http://10.0.0.5:8081/")
        self.reactor.advance(1)
        self.assertEqual([entry["Service"]["Port"] for entry in exchange.json], [8081])

    def test_disconnect(self) -> None:
        """A blocking query is cancelled when the client disconnects."""
        exchange = self.send("/v1/catalog/services?index=99999999999999")
        before = len(self.reactor.getDelayedCalls())
        exchange.disconnect()
        self.assertLess(len(self.reactor.getDelayedCalls()), before)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_internal_error(self) -> None:
        """An exception is logged, and the response does not contain its details."""
        self.daemon.receive_alive("dev-1")
        self.patch(consul_json, "node_meta", {})
        exchange = self.send("/v1/catalog/nodes")
        self.assertEqual((exchange.status, exchange.body), (500, b"Internal error: see the log"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
