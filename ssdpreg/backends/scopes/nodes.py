"""Nodes of any scope in Consul's catalog: listing, marks for scopes without a daemon, and removal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from ssdpreg.backends.catalog.format import Operation
from ssdpreg.backends.consul_format import is_owned
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.scopes.holder import SCOPE_CHECK, SCOPES, lock_node, lock_node_meta, scope_key
from ssdpreg.backends.scopes.session import LockKey, parse_key
from ssdpreg.backends.scopes.transactions import write_units
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration.meta import META_SCOPE

if TYPE_CHECKING:
    from ssdpreg.interfaces import IRequestStatistics

#: Nodes of one transaction: each has two operations, and there are two fences.
_PART = 30
#: Bytes of the longest listing. A node has about 240 bytes, a check about 500.
_MOST_BYTES = 64 * 1024 * 1024
#: Bytes of the longest listing of a node: about 4,000 services with their Meta.
_LONGEST_NODE = 4 * 1024 * 1024
#: Services that are removed from a node by one transaction.
_MOST_SERVICES = 50

_Key = TypeVar("_Key", str, tuple[str, int])


@dataclass(frozen=True, slots=True)
class ScopeNode:
    """
    Node of a scope.

    :ivar name: Its name.
    :ivar index: Index of its latest change.
    :ivar content: Its fields, as the operation of a transaction needs them.
    """

    name: str
    index: int
    content: Mapping[str, Any]


@dataclass(slots=True)
class Removal:
    """
    Result of a removal.

    :ivar removed: Names of the nodes that were removed.
    :ivar kept: Names of the nodes that other programs use: only the services of the scope were removed.
    :ivar changed: Names of the nodes that changed meanwhile, and stay.
    """

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Content:
    """
    Content of a node.

    :ivar foreign: Whether other programs use the node.
    :ivar services: Services of the scope: indexes of their latest changes by ID.
    :ivar marked: Whether the node has the mark.
    """

    foreign: bool
    services: Mapping[str, int]
    marked: bool


class ScopeNodes:
    """
    Nodes of the scopes in a datacenter.

    Every transaction begins with fences, operations that the caller chooses: a node must not be changed if a daemon of
    its scope is alive again.

    :param http: Client of Consul.
    :param datacenter: Datacenter of the catalog; None for that of the agent.
    """

    def __init__(self, http: ConsulHTTP, datacenter: str | None) -> None:
        self._http = http
        self._dc: dict[str, Any] = {} if datacenter is None else {"dc": datacenter}
        self._datacenter = {} if datacenter is None else {"Datacenter": datacenter}

    @property
    def statistics(self) -> IRequestStatistics:
        """Statistics of the requests."""
        return cast("IRequestStatistics", self._http)

    async def list_scopes(self) -> dict[str, LockKey]:
        """Return the locks of all scopes, by scope. It is empty if the token may not read them."""
        found: dict[str, LockKey] = {}

        def process(entry: Any) -> None:
            key = parse_key(entry)
            name = entry.get("Key")
            if isinstance(name, str) and name.startswith(SCOPES) and name != SCOPES:
                found[name.removeprefix(SCOPES)] = key

        try:
            await self._list("list-scopes", f"/v1/kv/{quote(SCOPES)}", process, recurse="")
        except BackendRefusedError as error:
            if error.status != 404:
                raise
        return found

    async def list_nodes(self, scope: str) -> list[ScopeNode]:
        """Return the nodes of a scope. It is empty if the token may not read them."""
        found: list[ScopeNode] = []

        def process(node: Any) -> None:
            name, index = node.get("Node"), node.get("ModifyIndex")
            if not isinstance(name, str) or type(index) is not int or not isinstance(node.get("Address"), str):
                raise ValueError("a node has no Node, Address or ModifyIndex")
            if is_owned({"Meta": node.get("Meta")}, scope):
                content = {key: node[key] for key in ("ID", "Address", "TaggedAddresses", "Meta") if node.get(key)}
                found.append(ScopeNode(name, index, content))

        await self._list("list-nodes", "/v1/catalog/nodes", process, **{"node-meta": f"{META_SCOPE}:{scope}"})
        return found

    async def list_marks(self, scope: str) -> list[str]:
        """Return the names of the nodes that have the mark."""
        found: list[str] = []

        def process(check: Any) -> None:
            if check.get("CheckID") == SCOPE_CHECK and isinstance(check.get("Node"), str):
                found.append(check["Node"])

        query = {"node-meta": f"{META_SCOPE}:{scope}"}
        await self._list("list-marks", "/v1/health/state/critical", process, **query)
        return found

    async def find_unmarked(self, scope: str, nodes: Iterable[ScopeNode]) -> list[ScopeNode]:
        """Return those of the nodes of a scope that have a check of this program, and no mark."""
        ours: set[str] = set()
        marked: set[str] = set()

        def process(check: Any) -> None:
            check_id, name = check.get("CheckID"), check.get("Node")
            if check_id == SCOPE_CHECK:
                marked.add(name)
            elif isinstance(check_id, str) and check_id.startswith("ssdpreg"):
                ours.add(name)

        query = {"node-meta": f"{META_SCOPE}:{scope}"}
        await self._list("list-marks", "/v1/health/state/any", process, **query)
        return [node for node in nodes if node.name in ours - marked]

    async def mark(self, nodes: Sequence[ScopeNode], fences: Sequence[Operation], output: str) -> list[str]:
        """
        Add the mark to some nodes: a critical check of the node.

        :param output: Explanation, which Consul's tools show.
        :return: Names of the nodes that were marked. The others changed meanwhile.
        :raise FenceError: If a fence was rejected.
        :raise BackendError: If Consul does not answer, or rejects the transaction.
        """
        units = {}
        for node in nodes:
            check = {
                "Node": node.name,
                "CheckID": SCOPE_CHECK,
                "Name": "ssdpreg is running",
                "Status": "critical",
                "Output": output,
            }
            # An identical node is not written. The operation only checks its index.
            units[node.name] = [self._set_node(node), {"Check": {"Verb": "set", "Check": check}}]
        return await self._write("mark", units, fences)

    async def remove_marks(self, names: Iterable[str], fences: Sequence[Operation]) -> list[str]:
        """Remove the mark from some nodes, in the way of :meth:`mark`."""
        units = {name: [_delete_mark(name)] for name in names}
        return await self._write("unmark", units, fences)

    async def remove(
        self, scope: str, nodes: Sequence[ScopeNode], fences: Sequence[Operation], removal: Removal
    ) -> None:
        """
        Remove nodes with everything on them. A node that other programs use loses only the services of the scope.

        :param removal: Receives the names of the nodes, also of those that were removed before an error.
        :raise FenceError: If a fence was rejected.
        :raise BackendError: If Consul does not answer, or rejects a transaction.
        """
        for start in range(0, len(nodes), _PART):
            empty: dict[str, list[Operation]] = {}
            used: dict[tuple[str, int], list[Operation]] = {}
            kept: list[str] = []
            for node in nodes[start : start + _PART]:
                content = await self._read_content(scope, node.name)
                if not content.foreign:
                    empty[node.name] = [self._delete_node(node.name, node.index)]
                    continue
                kept.append(node.name)
                operations = [_delete_service(node.name, *each) for each in content.services.items()]
                if content.marked:
                    operations.append(_delete_mark(node.name))
                for first in range(0, len(operations), _MOST_SERVICES):
                    part = operations[first : first + _MOST_SERVICES]
                    used[node.name, first] = [self._set_node(node), *part]
            removed = await self._write("reap", empty, fences)
            removal.removed += removed
            cleared = await self._write("reap", used, fences)
            changed = {name for name in empty if name not in removed}
            changed.update(key[0] for key in used if key not in cleared)
            removal.kept += [name for name in kept if name not in changed]
            removal.changed += sorted(changed)

    async def is_used(self, scope: str, name: str) -> bool:
        """Return whether other programs use a node of a scope, so that it would not be removed."""
        return (await self._read_content(scope, name)).foreign

    async def remove_lock(self, scope: str, index: int | None, fences: Sequence[Operation]) -> None:
        """
        Remove the key of a scope, and the node of its sessions.

        :param index: Index of the key; None if there is no key.
        :raise FenceError: If a fence was rejected.
        """
        name, operations = lock_node(scope), []
        if index is not None:
            operations.append({"KV": {"Verb": "delete-cas", "Key": scope_key(scope), "Index": index}})
        _, found = await self._exchange("reap", "GET", f"/v1/catalog/node/{quote(name, safe='')}")
        node = found.get("Node") if isinstance(found, dict) else None
        if isinstance(node, dict) and node.get("Meta") == lock_node_meta(scope) and not found.get("Services"):
            operations.append(self._delete_node(name, node.get("ModifyIndex")))
        if operations:
            await self._write("reap", {name: operations}, fences)

    async def _read_content(self, scope: str, name: str) -> _Content:
        path = quote(name, safe="")
        options: dict[str, Any] = {"limit": _LONGEST_NODE, "consistent": ""}
        _, node = await self._exchange("read-node", "GET", f"/v1/catalog/node/{path}", **options)
        _, checks = await self._exchange("read-node", "GET", f"/v1/health/node/{path}", **options)
        services: dict[str, int] = {}
        foreign = marked = False
        try:
            for service_id, service in ((node or {}).get("Services") or {}).items():
                if is_owned(service, scope):
                    services[service_id] = service["ModifyIndex"]
                else:
                    foreign = True
            for check in checks:
                marked = marked or check["CheckID"] == SCOPE_CHECK
                # A check of a service is removed with the service.
                foreign = foreign or (not check["ServiceID"] and check["CheckID"] != SCOPE_CHECK)
        except (AttributeError, KeyError, TypeError) as error:
            raise BackendUnavailableError(f"{self._http.url}: the content of node {name} is malformed") from error
        return _Content(foreign, services, marked)

    async def _write(
        self, operation: str, units: Mapping[_Key, Sequence[Operation]], fences: Sequence[Operation]
    ) -> list[_Key]:
        return await write_units(self._http, operation, units, fences, **self._dc)

    def _set_node(self, node: ScopeNode) -> Operation:
        content = {"Node": node.name, **node.content, **self._datacenter, "ModifyIndex": node.index}
        return {"Node": {"Verb": "cas", "Node": content}}

    def _delete_node(self, name: str, index: Any) -> Operation:
        return {"Node": {"Verb": "delete-cas", "Node": {"Node": name, **self._datacenter, "ModifyIndex": index}}}

    async def _list(self, operation: str, path: str, process: Callable[[Any], None], **query: str) -> None:
        def process_object(entry: Any) -> None:
            if not isinstance(entry, dict):
                raise ValueError("an entry is not an object")
            process(entry)

        await self._http.get_items(operation, path, process_object, _MOST_BYTES, consistent="", **self._dc, **query)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _exchange(
        self, operation: str, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, Any]:
        return await self._http.exchange(operation, method, path, body, **self._dc, **options)


def _delete_service(node: str, service_id: str, index: int) -> Operation:
    service = {"ID": service_id, "Service": service_id, "ModifyIndex": index}
    return {"Service": {"Verb": "delete-cas", "Node": node, "Service": service}}


def _delete_mark(node: str) -> Operation:
    return {"Check": {"Verb": "delete", "Check": {"Node": node, "CheckID": SCOPE_CHECK}}}
