"""Responses of the API below ``/v1``, compared with those of a real Consul."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.support.consul import remove_all_services, shared_consul, skip_without_consul
from tests.support.memory_daemon import REDFISH, Daemon, Exchange
from tests.support.memory_reactor import MemoryMulticastReactor

#: Expressions by path, both valid and not.
EXPRESSIONS = {
    "/v1/health/service/RackHD-service:api:2.0": (
        "",
        # Comparisons.
        "Service.Port == 8080",
        "Service.Port==8080",
        'Service.Port != "8080"',
        'Service.Port == "0x51"',
        'Service.Port == "0121"',
        'Service.Port == "0b1010001"',
        'Service.Port == "+81"',
        'Service.Port == "8_1"',
        "Service.Port == -1",
        'Service.Service == "RackHD-service:api:2.0"',
        'Node.Node == "dev-1"',
        "Node.Node == `dev-1`",
        'Node.Node == "dev\\x2d1"',
        'Node.Node == "dev\\u002d\\061"',
        'Node.Node contains "-1"',
        '"-1" not in Node.Node',
        'Node.Node not contains "-1"',
        "Node.Datacenter == dc1",
        'Node.Address == "10.0.0.5" or Node.Address == "2001:db8::7"',
        'Node.Meta["external-source"] == ssdpreg',
        'Node.Meta["ssdpreg-scope"] != "rack-7"',
        "Node.Meta.nothing != x",
        "Node.Meta.nothing not contains x",
        "Node.TaggedAddresses is empty",
        'Service.Meta["ssdp-device"] == "dev-1"',
        'Service.Meta[ `ssdp-device` ] contains "2"',
        'Service.Meta["nothing"] == x',
        'Service.Meta["nothing"] != x',
        'Service.Meta contains "ssdp-nt"',
        '"nothing" in Service.Meta',
        "Service.Meta is not empty",
        "lab in Service.Tags",
        "LAB in Service.Tags",
        "Service.Tags contains Blue",
        "Service.Tags not contains red",
        "Service.Tags is empty",
        "Service.Tags is not empty",
        'Service.Kind == ""',
        "Service.EnableTagOverride == false",
        "Service.EnableTagOverride != F",
        "Service.Weights.Passing == 1",
        "Service.Connect.Native == true",
        "Service.TaggedAddresses is empty",
        'Service.TaggedAddresses["lan"].Address != x',
        'Service.TaggedAddresses["lan"].Port == 1',
        'Service.Proxy.MeshGateway.Mode == ""',
        "Service.Proxy.Expose.Checks == false",
        "Service.Proxy.Upstreams is empty",
        "Service.Proxy.Upstreams.DestinationName != x",
        "not Service.Proxy.Upstreams.LocalBindPort == 1",
        "Checks.Status == passing",
        "Checks.Status != passing",
        "Checks is not empty",
        "Checks.ServiceTags contains lab",
        "Checks.Name in Checks.Name",
        # Conjunctions.
        "Service.Port == 81 or Service.Port == 8080 and Service.Port == 1",
        "(Service.Port == 81 or Service.Port == 8080) and Service.Port == 1",
        "not Service.Port == 81 and Service.Port == 8080",
        "not (Service.Port == 81 and Service.Port == 8080)",
        "not not Service.Port == 81",
        "not in Service.Tags",
        "not not in Service.Tags",
        "not == x",
        " ( ( Service.Port\n==\t81 ) ) ",
        # Selectors, operators and values that are not valid.
        "Nothing == 1",
        "Service.Nothing == 1",
        "Service.CreateIndex == 3",
        "Checks.Definition.HTTP == x",
        "Node == x",
        "Service is empty",
        "Service.Tags == lab",
        "Service.Kind is empty",
        'Service.Meta["x"] is empty',
        "Service.Port contains 8",
        "Service.Port == 80.5",
        "Service.Port == 99999999999999999999",
        "Service.Port == nothing",
        'Service.Port == ""',
        "Service.EnableTagOverride == x",
        'Service.Tags matches "x"',
        # Syntax.
        " ",
        "(",
        "Service.Port",
        "Service.Port > 81",
        "Service.Port == 81 and",
        "Service.Port == 81 AND Service.Port == 81",
        "Service.Port == 81 Service.Port == 81",
        "Service.Port == 81)",
        "(Service.Port == 81",
        "Service.Port == 081",
        "Service.Port == 0x51",
        "Node.Node == dev-1",
        "Node.Node == 'dev-1'",
        'Node.Node == "dev-1',
        'Node.Node == "\\q"',
        'Node.Node == "a\nb"',
        "Node.Meta[x] == y",
        'Node.Meta["x" == y',
        "Node. == x",
        "x in 5",
        "5 == x",
        "Service.Tags contains",
    ),
    "/v1/catalog/service/RackHD-service:api:2.0": (
        "ServicePort == 81",
        'ServiceName == "RackHD-service:api:2.0"',
        "ServiceTags contains lab",
        'ServiceMeta["ssdp-device"] == "dev-1"',
        'ServiceID contains "ssdpreg-"',
        'ServiceAddress == "2001:db8::7"',
        'Address == "10.0.0.5"',
        'Node == "dev-2"',
        'NodeMeta["external-node"] == "true"',
        "NodeMeta is empty",
        'ID == ""',
        "Datacenter == dc1",
        "ServiceEnableTagOverride == false",
        "ServiceConnect.Native == false",
        "ServiceWeights.Warning == 1",
        'ServiceKind == ""',
        "ServiceTaggedAddresses is empty",
        'ServiceProxy.DestinationServiceName == ""',
        "ServiceProxy.Expose.Paths.Path != x",
        "ServiceProxy.Config is empty",
        "Service.Port == 81",
        "Port == 81",
        "Meta is empty",
    ),
    "/v1/catalog/nodes": (
        'Node == "dev-1"',
        'Address contains "10.0"',
        'Meta["external-source"] == ssdpreg',
        "Services is empty",
        "Checks.Status == passing",
    ),
    "/v1/catalog/node/dev-1": (
        'Service contains "redfish"',
        "Service == nothing",
        "Port == 443",
        "Tags contains lab",
        "ServicePort == 443",
    ),
    "/v1/catalog/node/nothing": ("Port == 443", "Nothing == 1"),
    "/v1/health/node/dev-1": (
        'ServiceName contains "redfish"',
        "Status == passing",
        "Status != passing",
        'CheckID contains "-alive"',
        "Name == alive",
        "ServiceTags contains lab",
        'ServiceID == "" or Notes == "" and Output == "" and Type == ""',
        "CheckId == x",
        "Service.Port == 443",
    ),
    "/v1/health/checks/RackHD-service:api:2.0": ('Node == "dev-1"', "Nothing == 1"),
    "/v1/health/state/any": ('Node == "dev-1"', "Nothing == 1"),
    "/v1/health/state/critical": ('Node == "dev-1"', "Nothing == 1"),
    "/v1/catalog/datacenters": ("(",),
}

#: Place of a syntax error, and what could follow there. Both have the same form, but other words.
_PLACE = re.compile(r"\d+:\d+ \(\d+\): .*", re.DOTALL)


def _without_place(text: str) -> str:
    return _PLACE.sub("", text)


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
            "/v1/health/node/DEV-1?tag=red&node-meta=external-source:nothing",
            "/v1/health/node/nothing",
            "/v1/health/checks/rackhd-service:api:2.0?tag=red",
            "/v1/health/checks/RackHD-service:api:2.0?node-meta=external-source:nothing",
            "/v1/health/checks/nothing",
            "/v1/health/state/any?node-meta=external-source:ssdpreg",
            "/v1/health/state/passing?node-meta=external-source:ssdpreg&tag=red",
            "/v1/health/state/PASSING",
            "/v1/health/state/passing/",
            "/v1/health/state/critical",
            "/v1/catalog/node/dev-2?tag=red&node-meta=external-source:nothing",
            "/v1/catalog/nodes?tag=red&node-meta=external-source:ssdpreg",
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
            "/v1/health/node",
            "/v1/health/node/",
            "/v1/health/checks/",
            "/v1/health/state/",
            "/v1/health/state/any?index=abc",
            "/v1/health/service/x?passing=maybe",
            "/v1/catalog/services?index=abc",
            "/v1/catalog/services?wait=5",
            "/v1/catalog/services?stale&consistent",
            "/v1/catalog/services?dc=nowhere",
        ):
            ours, theirs = self.get_both(path)
            self.assertEqual(ours, theirs, path)

    def test_same_filtered_entries(self) -> None:
        """A filter selects the same entries, and an expression that is not valid has the same error."""
        for path, expressions in EXPRESSIONS.items():
            for expression in expressions:
                parameters = f"filter={quote(expression)}&node-meta=external-source:ssdpreg"
                self.compare_filtered(f"{path}?{parameters}", expression)

    def compare_filtered(self, path: str, expression: str) -> None:
        """Compare the responses to a request with a filter."""
        exchange = Exchange(self.daemon.root, self.reactor, path)
        status, body = self.consul.request("GET", path)
        if status == 200:
            self.assertEqual(exchange.status, 200, (path, expression, exchange.body))
            self.assertEqual(_without_indexes(exchange.json), _without_indexes(json.loads(body)), (path, expression))
            return
        # Consul answers an error in the expression with 500, as if the server had failed.
        self.assertEqual((status, exchange.status), (500, 400), (path, expression))
        ours, theirs = (_without_place(text.decode()) for text in (exchange.body, body))
        self.assertEqual(ours, theirs, (path, expression))

    def test_filter_of_names(self) -> None:
        """
        The names are filtered by the daemon, as by later versions of Consul.

        Consul 1.8 returns all names, also for an expression that is not valid.
        """
        path = f"/v1/catalog/services?filter={quote('ServiceName contains redfish')}"
        self.assertEqual(list(Exchange(self.daemon.root, self.reactor, path).json), ["RackHD-service:redfish-rest:1"])

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
