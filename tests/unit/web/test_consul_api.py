"""Tests for :mod:`ssdpreg.web.consul_api`."""

from __future__ import annotations

import gzip
from urllib.parse import quote

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

    def test_checks(self) -> None:
        """The checks of a node, of a name and of a state are listed."""
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-1", LLDP)
        self.daemon.receive_alive("dev-2")
        for path, nodes in {
            "node/DEV-1": ["dev-1", "dev-1"],
            "node/dev-3": [],
            "checks/rackhd-SERVICE:api:2.0": ["dev-1", "dev-2"],
            "checks/nothing": [],
            "state/any": ["dev-1", "dev-1", "dev-2"],
            "state/passing": ["dev-1", "dev-1", "dev-2"],
            "state/critical": [],
            "state/any/x": [],
            "state/any?node-meta=ssdpreg-scope:rack-8": [],
            "checks/RackHD-service:api:2.0?node-meta=ssdpreg-scope:rack-8": [],
            "checks/RackHD-service:api:2.0?tag=red": ["dev-1", "dev-2"],
        }.items():
            checks = self.send(f"/v1/health/{path}").json
            self.assertEqual([check["Node"] for check in checks], nodes, path)
            self.assertTrue(all(check["Status"] == "passing" for check in checks))

    def test_filter(self) -> None:
        """A filter selects entries by the fields of the path."""
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-2", location="http://10.0.0.6:81/")
        self.daemon.receive_alive("dev-2", LLDP)
        for path, expression, count in (
            ("catalog/service/RackHD-service:api:2.0", "ServicePort == 81", 1),
            ("health/service/RackHD-service:api:2.0", "Service.Port == 81 and Checks.Status == passing", 1),
            ("health/service/RackHD-service:api:2.0", "Service.Port == 82", 0),
            ("health/service/RackHD-service:api:2.0", "", 2),
            ("health/node/dev-2", "ServiceName contains lldp", 1),
            ("health/checks/RackHD-service:api:2.0", 'Node == "dev-1"', 1),
            ("health/state/passing", 'Node == "dev-2"', 2),
            ("catalog/nodes", 'Node == "dev-2"', 1),
            ("catalog/services", 'Node == "dev-1"', 1),
            ("catalog/services", 'Node == "dev-2"', 2),
            ("catalog/services", 'Node == "dev-3"', 0),
            ("catalog/datacenters", "(", 1),
        ):
            listed = self.send(f"/v1/{path}?filter={quote(expression)}").json
            self.assertEqual(len(listed), count, (path, expression))

    def test_filter_of_node(self) -> None:
        """A filter of the services of a node leaves the node."""
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-1", LLDP)
        for expression, count in (("Service contains lldp", 1), ("Service == x", 0)):
            node = self.send(f"/v1/catalog/node/dev-1?filter={quote(expression)}").json
            self.assertEqual((node["Node"]["Node"], len(node["Services"])), ("dev-1", count))

    def test_filter_of_names(self) -> None:
        """Names that differ in case only keep their own tags, and a name has the tags of its selected services."""
        types = [f"urn:{domain}:service:api:2.0" for domain in ("x", "y", "z")]
        self.daemon.registry.set_search_terms(dict(zip(types, ("RackHD", "rackhd", "Rack"), strict=True)))
        for number in range(9):
            self.daemon.receive_alive(f"dev-{number}", types[number % 3])
        tags = ["Blue", "lab"]
        for expression, names in {
            "ServiceTags contains lab": ["Rack-service:api:2.0", "RackHD-service:api:2.0", "rackhd-service:api:2.0"],
            'ServiceName contains "RackHD"': ["RackHD-service:api:2.0"],
            'Node == "dev-4" or Node == "dev-2"': ["Rack-service:api:2.0", "rackhd-service:api:2.0"],
        }.items():
            listed = self.send(f"/v1/catalog/services?filter={quote(expression)}")
            self.assertEqual(listed.json, dict.fromkeys(names, tags), expression)
            self.assertEqual(listed.body.count(b"service:api"), len(names))

    def test_filter_errors(self) -> None:
        """An expression that is not valid is answered with 400, and one beyond a limit is counted."""
        path = "/v1/health/service/nothing?index=99999999999999&filter="
        for expression, problem in {
            "Nothing == 1": b'Selector "Nothing" is not valid',
            "Service.Port >": b"1:14 (13): expected an operator",
            'Service.Port == "\\xff"': b'strconv.ParseInt: parsing "\xef\xbf\xbd": invalid syntax',
            "Service.Service matches x": b"The operator matches is not supported",
        }.items():
            exchange = self.send(path + quote(expression))
            self.assertEqual(exchange.status, 400)
            self.assertTrue(exchange.body.startswith(b"Failed to create boolean expression evaluator: "))
            self.assertIn(problem, exchange.body)
        self.assertEqual(self.refused(), 0)
        self.assertEqual(self.send(path + quote("not " * 100)).status, 400)
        self.assertEqual(self.refused(), 1)

    def refused(self) -> int:
        """Return the number of filters that were refused."""
        return self.daemon.connections.refused_requests["filter"]

    def test_blocking_filter(self) -> None:
        """A blocking query with a filter returns at the next change, also one that the filter does not select."""
        path = f"/v1/health/state/any?filter={quote('Node == dev')}"
        index = self.send(path).headers["X-Consul-Index"]
        exchange = self.send(f"{path}&index={index}")
        self.reactor.advance(1)
        self.assertIsNone(exchange.status)
        self.daemon.receive_alive("dev-1")
        self.reactor.advance(1)
        self.assertEqual(exchange.json, [])
        self.assertGreater(int(exchange.headers["X-Consul-Index"]), int(index))

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
            "/v1/health/node": (400, b"Missing node name"),
            "/v1/health/checks/": (400, b"Missing service name"),
            "/v1/health/state/": (400, b"Missing check state"),
            "/v1/health": (404, b""),
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
