"""Server of Consul's catalog in memory, with the responses of Consul 1.8."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ssdpreg.testing.catalog_state import MOST_OPERATIONS, CatalogState, OperationError
from ssdpreg.testing.fake_consul import FakeResponseError

#: Bytes of a transaction that Consul 1.8 accepts.
_MOST_BYTES = 524_288


class FakeConsulCatalog(Resource):
    """
    The part of Consul's catalog, transactions, keys and sessions that ssdpreg uses, in memory.

    :ivar state: Content of the catalog.
    :ivar requests: Method, path and query of every request so far.
    :ivar transactions: Operations of every transaction so far that was not rejected as a whole.
    :ivar most_operations: Operations of a transaction that are accepted.
    :ivar unreadable: Whether the token may read nothing: listings are empty then.
    :ivar hidden: Names of nodes that listings lack.
    :ivar hidden_services: Names of nodes whose services the token may not read.
    :ivar faults: Statuses and texts of error responses, by prefix of the path.
    :ivar lose_responses: Number of transactions that are still to be applied without a response: their connections are
        closed.
    :ivar down: Whether every connection is closed without a response.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.state = CatalogState()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.transactions: list[list[dict[str, Any]]] = []
        self.most_operations = MOST_OPERATIONS
        self.unreadable = False
        self.hidden: set[str] = set()
        self.hidden_services: set[str] = set()
        self.faults: dict[str, tuple[int, str]] = {}
        self.lose_responses = 0
        self.down = False
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("PUT", "/v1/txn", self._transact),
            ("GET", "/v1/catalog/nodes", self._list_nodes),
            ("GET", "/v1/catalog/node/([^/]*)", self._show_node),
            ("GET", "/v1/catalog/services", self._list_services),
            ("GET", "/v1/catalog/service/([^/]*)", self._show_service),
            ("GET", "/v1/health/state/(any|critical)", self._list_checks),
            ("GET", "/v1/health/node/([^/]*)", self._show_checks),
            ("PUT", "/v1/catalog/register", self._register),
            ("PUT", "/v1/catalog/deregister", self._deregister),
            ("PUT", "/v1/session/create", self._create_session),
            ("PUT", "/v1/session/renew/([^/]*)", self._renew_session),
            ("PUT", "/v1/session/destroy/([^/]*)", self._destroy_session),
            ("PUT", "/v1/kv/(.*)", self._write_key),
            ("GET", "/v1/kv/(.*)", self._read_key),
        ]

    def render(self, request: Any) -> Any:
        method, path = request.method.decode(), request.path.decode()
        query = {key.decode(): values[0].decode() for key, values in request.args.items()}
        self.requests.append((method, path, query))
        if self.down:
            request.transport.loseConnection()
            return NOT_DONE_YET
        try:
            answer = self._answer(request, method, path, query)
        except FakeResponseError as error:
            request.setResponseCode(error.status)
            if not error.text.startswith("{"):
                request.setHeader("Content-Type", "text/plain")
            return error.text.encode()
        if path == "/v1/txn" and self.lose_responses:
            self.lose_responses -= 1
            request.transport.loseConnection()
            return NOT_DONE_YET
        request.setHeader("Content-Type", "application/json")
        return json.dumps(answer).encode()

    def _answer(self, request: Any, method: str, path: str, query: dict[str, str]) -> Any:
        for start, fault in self.faults.items():
            if path.startswith(start):
                raise FakeResponseError(*fault)
        for allowed, pattern, answer in self._routes:
            match = re.fullmatch(pattern, path)
            if match is not None and method == allowed:
                return answer(request.content.read(), query, *map(unquote, match.groups()))
        raise FakeResponseError(404, "")

    def _transact(self, content: bytes, query: dict[str, str]) -> Any:
        if len(content) > _MOST_BYTES:
            raise FakeResponseError(413, f"Request body(len) too large, max size: {_MOST_BYTES} bytes.")
        operations = json.loads(content)
        if len(operations) > self.most_operations:
            count = f"{len(operations)} > {self.most_operations}"
            raise FakeResponseError(413, f"Transaction contains too many operations ({count})")
        self.transactions.append(operations)
        results, errors = self.state.transact(operations)
        if self.hidden_services and not errors:
            # All operations of a transaction that reads have a result.
            results = [
                result
                for operation, result in zip(operations, results, strict=False)
                if operation.get("Service", {}).get("Node") not in self.hidden_services
            ]
        answer = {"Results": None if errors else results, "Errors": errors or None}
        if errors:
            raise FakeResponseError(409, json.dumps(answer))
        return answer

    def _list_nodes(self, content: bytes, query: dict[str, str]) -> Any:
        return self._filter_nodes(query)

    def _filter_nodes(self, query: dict[str, str]) -> list[dict[str, Any]]:
        name, _, value = query.get("node-meta", "").partition(":")
        if self.unreadable:
            return []
        nodes = (node for _, node in sorted(self.state.nodes.items()))
        nodes = (node for node in nodes if node["Node"] not in self.hidden)
        return [node for node in nodes if not name or (node["Meta"] or {}).get(name) == value]

    def _show_node(self, content: bytes, query: dict[str, str], name: str) -> Any:
        node = self.state.nodes.get(name.lower()) or self._find_by_id(name.lower())
        if node is None or self.unreadable:
            return None
        services = {each["ID"]: each for key, each in self.state.services.items() if key[0] == node["Node"].lower()}
        return {"Node": node, "Services": services}

    def _find_by_id(self, prefix: str) -> dict[str, Any] | None:
        """Return the only node whose ID begins with a text of two or more characters, as Consul does."""
        found = [node for node in self.state.nodes.values() if len(prefix) > 1 and node["ID"].startswith(prefix)]
        return found[0] if len(found) == 1 else None

    def _list_services(self, content: bytes, query: dict[str, str]) -> Any:
        names = {node["Node"].lower() for node in self._filter_nodes(query)}
        tags: dict[str, set[str]] = {}
        for (node, _), service in sorted(self.state.services.items()):
            if node in names:
                tags.setdefault(service["Service"], set()).update(service["Tags"] or ())
        return {name: sorted(found) for name, found in tags.items()}

    def _show_service(self, content: bytes, query: dict[str, str], name: str) -> Any:
        return [
            {
                **{field: self.state.nodes[node][field] for field in ("ID", "Node", "Address", "Datacenter")},
                "NodeMeta": self.state.nodes[node]["Meta"],
                **{
                    f"Service{field}": service[field]
                    for field in ("ID", "Tags", "Address", "Meta", "Port", "EnableTagOverride")
                },
                "ServiceName": service["Service"],
                "CreateIndex": service["CreateIndex"],
                "ModifyIndex": service["ModifyIndex"],
            }
            for (node, _), service in sorted(self.state.services.items())
            if service["Service"].lower() == name.lower()
        ]

    def _list_checks(self, content: bytes, query: dict[str, str], status: str) -> Any:
        names = {node["Node"].lower() for node in self._filter_nodes(query)}
        checks = [check for (node, _), check in sorted(self.state.checks.items()) if node in names]
        return [check for check in checks if status in ("any", check["Status"])]

    def _show_checks(self, content: bytes, query: dict[str, str], name: str) -> Any:
        return [check for (node, _), check in sorted(self.state.checks.items()) if node == name.lower()]

    def _register(self, content: bytes, query: dict[str, str]) -> Any:
        body = json.loads(content)
        operations: list[dict[str, Any]] = []
        if not body.get("SkipNodeUpdate"):
            node = {key: body.get(key) for key in ("Node", "Address", "Datacenter", "TaggedAddresses")}
            operations.append(
                {"Node": {"Verb": "set", "Node": {**node, "ID": body.get("ID", ""), "Meta": body.get("NodeMeta")}}}
            )
        if "Service" in body:
            operations.append({"Service": {"Verb": "set", "Node": body["Node"], "Service": body["Service"]}})
        if "Check" in body:
            operations.append({"Check": {"Verb": "set", "Check": {**body["Check"], "Node": body["Node"]}}})
        _, errors = self.state.transact(operations)
        if errors:
            raise FakeResponseError(500, errors[0]["What"])
        return True

    def _deregister(self, content: bytes, query: dict[str, str]) -> Any:
        body = json.loads(content)
        operation: dict[str, Any] = {"Node": {"Verb": "delete", "Node": {"Node": body["Node"]}}}
        if "ServiceID" in body:
            service = {"ID": body["ServiceID"], "Service": body["ServiceID"]}
            operation = {"Service": {"Verb": "delete", "Node": body["Node"], "Service": service}}
        elif "CheckID" in body:
            operation = {"Check": {"Verb": "delete", "Check": {"Node": body["Node"], "CheckID": body["CheckID"]}}}
        self.state.transact([operation])
        return True

    def _create_session(self, content: bytes, query: dict[str, str]) -> Any:
        node = json.loads(content)["Node"]
        if node.lower() not in self.state.nodes:
            raise FakeResponseError(500, "Missing node registration")
        return {"ID": self.state.create_session(node)}

    def _renew_session(self, content: bytes, query: dict[str, str], session: str) -> Any:
        if session not in self.state.sessions:
            raise FakeResponseError(404, f"Session id '{session}' not found")
        return [{"ID": session}]

    def _destroy_session(self, content: bytes, query: dict[str, str], session: str) -> Any:
        self.state.destroy_session(session)
        return True

    def _write_key(self, content: bytes, query: dict[str, str], name: str) -> Any:
        if "release" in query:
            return self.state.release(name, query["release"])
        if "acquire" not in query:
            raise FakeResponseError(400, "only acquire and release are supported")
        try:
            return self.state.acquire(name, query["acquire"])
        except OperationError as error:
            raise FakeResponseError(500, str(error)) from error

    def _read_key(self, content: bytes, query: dict[str, str], name: str) -> Any:
        key = self.state.keys.get(name)
        if key is None or self.unreadable:
            raise FakeResponseError(404, "")
        return [key]
