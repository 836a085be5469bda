"""Nodes of any scope in Consul's catalog: listing, marks for scopes without a daemon, and removal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ssdpreg.backends.catalog_format import Operation
from ssdpreg.backends.catalog_transactions import (
    FEWEST_OPERATIONS,
    answer_limit,
    encode_operation,
    is_denied,
    parse_answer,
)
from ssdpreg.backends.consul_format import is_owned
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_session import LockKey, parse_key
from ssdpreg.backends.lock_holder import SCOPE_CHECK, SCOPES, lock_node, lock_node_meta, scope_key
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration.meta import META_SCOPE

if TYPE_CHECKING:
    from ssdpreg.interfaces import IRequestStatistics

#: Nodes of one transaction: each has two operations, and there are two fences.
_PART = 30
#: Bytes of the longest listing. A node has about 240 bytes, a check about 500.
_MOST_BYTES = 64 * 1024 * 1024
#: Characters of an error that are repeated in a log line.
_LONGEST_REASON = 200


class FenceError(BackendUnavailableError):
    """
    A transaction was rejected by one of the operations at its beginning.

    :ivar number: Number of that operation, from 0.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


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

    async def list_unmarked(self, scope: str) -> list[ScopeNode]:
        """Return the nodes that have a check of this program, and no mark."""
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
        return [node for node in await self.list_nodes(scope) if node.name in ours - marked]

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
        return await self._write_all("mark", units, fences)

    async def remove_marks(self, names: Iterable[str], fences: Sequence[Operation]) -> list[str]:
        """Remove the mark from some nodes, in the way of :meth:`mark`."""
        units = {name: [_delete_mark(name)] for name in names}
        return await self._write_all("unmark", units, fences)

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
            used: dict[str, list[Operation]] = {}
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
                if operations:
                    used[node.name] = [self._set_node(node), *operations]
            removed = await self._write_all("reap", empty, fences)
            removal.removed += removed
            cleared = await self._write_all("reap", used, fences)
            changed = {*empty, *used}.difference(removed, cleared)
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
            await self._write_all("reap", {name: operations}, fences)

    async def _read_content(self, scope: str, name: str) -> _Content:
        path = quote(name, safe="")
        _, node = await self._exchange("read-node", "GET", f"/v1/catalog/node/{path}", consistent="")
        _, checks = await self._exchange("read-node", "GET", f"/v1/health/node/{path}", consistent="")
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

    async def _write_all(
        self, operation: str, units: Mapping[str, Sequence[Operation]], fences: Sequence[Operation]
    ) -> list[str]:
        """Apply units of operations, each of which is applied as a whole or not at all. Return those applied."""
        applied: list[str] = []
        part: dict[str, Sequence[Operation]] = {}
        count = 0
        for name, operations in units.items():
            if part and count + len(operations) > FEWEST_OPERATIONS - len(fences):
                applied += await self._write(operation, part, fences)
                part, count = {}, 0
            part[name] = operations
            count += len(operations)
        return applied + await self._write(operation, part, fences)

    async def _write(
        self, operation: str, units: Mapping[str, Sequence[Operation]], fences: Sequence[Operation]
    ) -> list[str]:
        """Apply units in one transaction. Leave out those that Consul rejects, and send the rest again."""
        rest = dict(units)
        while rest:
            pieces = [*fences, *(each for operations in rest.values() for each in operations)]
            body = f"[{','.join(map(encode_operation, pieces))}]".encode()
            response = await self._http.transact(operation, body, answer_limit(len(body)), **self._dc)
            try:
                errors = parse_answer(response.body).errors
            except ValueError as error:
                raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response is malformed: {error}") from error
            if not errors:
                return list(rest)
            for name in _find_failed(errors, len(fences), rest):
                del rest[name]
        return []

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


def key_fence(scope: str, index: int | None) -> Operation:
    """
    Return the operation that fails if the lock of a scope was acquired since it was read.

    :param index: Index of the key; None if there was none.
    """
    if index is None:
        return {"KV": {"Verb": "check-not-exists", "Key": scope_key(scope)}}
    return {"KV": {"Verb": "check-index", "Key": scope_key(scope), "Index": index}}


def _delete_service(node: str, service_id: str, index: int) -> Operation:
    service = {"ID": service_id, "Service": service_id, "ModifyIndex": index}
    return {"Service": {"Verb": "delete-cas", "Node": node, "Service": service}}


def _delete_mark(node: str) -> Operation:
    return {"Check": {"Verb": "delete", "Check": {"Node": node, "CheckID": SCOPE_CHECK}}}


def _find_failed(errors: Mapping[int, str], fences: int, units: Mapping[str, Sequence[Operation]]) -> set[str]:
    """
    Return the names of the units with an error.

    :param errors: Errors by index of the operation.
    :param fences: Number of operations before those of the units.
    :raise FenceError: If one of those has an error.
    :raise BackendRefusedError: If the token lacks a permission.
    :raise BackendUnavailableError: If the errors belong to no operation.
    """
    names = [name for name, operations in units.items() for _ in operations]
    for number, what in sorted(errors.items()):
        if is_denied(what):
            raise BackendRefusedError(403, what[:_LONGEST_REASON])
        if number < fences:
            raise FenceError(number, what[:_LONGEST_REASON])
    failed = {names[number - fences] for number in errors if number - fences < len(names)}
    if not failed:
        raise BackendUnavailableError("a transaction has errors of unknown operations")
    return failed
