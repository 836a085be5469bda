"""Content of a scope in Consul's catalog: complete after a start, and compared in parts from then on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ssdpreg.backends.catalog_format import (
    CatalogFormat,
    NodeContent,
    Operation,
    catalog_check_id,
    parse_check_id,
    parse_service,
    service_id_of,
)
from ssdpreg.backends.catalog_nodes import CatalogNode, CatalogNodes
from ssdpreg.backends.changes import run_parallel
from ssdpreg.backends.consul_format import check_service, is_owned
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_transactions import MOST_TRANSACTIONS, ConsulTransactions, match_results
from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.backends.http_client import ResponseTooLongError
from ssdpreg.backends.listing_limit import MOST_ENTRIES, ListingLimit
from ssdpreg.errors import BackendForgotError, BackendUnavailableError
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import META_SCOPE

#: Nodes that are read one by one. If there are more of them, everything is read.
_MOST_SINGLE_NODES = 50


@dataclass(slots=True)
class ServiceKey:
    """
    A service in the catalog that is to be read.

    :ivar node: Name of the node.
    :ivar name: ID of the service in the catalog.
    :ivar checks: Checks that are to be read, too: their IDs in the catalog, by kind.
    :ivar kinds: Kinds of the checks that it is known to have.
    :ivar notes: Notes of these checks, or other texts that may be the ID of the registration.
    """

    node: str
    name: str
    checks: dict[str, str] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    notes: list[object] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of operations that read it."""
        return 1 + len(self.checks)


@dataclass(slots=True)
class Inspection:
    """
    A single node as it is.

    :ivar node: The node with its own services; None if it does not exist, or belongs to another program.
    :ivar exists: Whether there is a node with this name.
    :ivar owner: Description of the owner of a node that is not of this scope.
    :ivar foreign: Whether another program registered a service on it.
    :ivar own: IDs of its own services in the catalog, in lower case.
    """

    node: CatalogNode | None = None
    exists: bool = False
    owner: str = ""
    foreign: bool = False
    own: frozenset[str] = frozenset()


class CatalogReader:
    """
    Reader of one scope.

    :param http: Client of Consul.
    :param transactions: Client for transactions.
    :param format: Format of the scope.
    :param nodes: Table of the known nodes, which the reader keeps up to date.
    """

    def __init__(
        self, http: ConsulHTTP, transactions: ConsulTransactions, format: CatalogFormat, nodes: CatalogNodes
    ) -> None:
        self._http, self._transactions, self._format, self._nodes = http, transactions, format, nodes
        self._node_limit, self._check_limit = ListingLimit(), ListingLimit()
        self._objects = LongLivedObjects()
        self._query = {"node-meta": f"{META_SCOPE}:{format.scope}"}

    async def read_all(self) -> None:
        """
        Read the whole content of the scope, without trust in anything that is known.

        :raise BackendError: If it cannot be read.
        """
        self._nodes.clear()
        for name, node in (await self._list_nodes(consistent=True)).items():
            content, index = self._parse_node(node)
            self._nodes.by_name[name] = CatalogNode(content, index)
        keys = await self._list_services()
        found = await self._read_services(keys, consistent=True)
        for name, services in _by_node(keys, found).items():
            self._nodes.set_services(name, (each for each in services if each is not None))
        self._objects.grow(len(found))

    async def compare(self, share: float) -> list[str]:
        """
        Compare all nodes, and the contents of some of them.

        :param share: Share of the nodes whose contents are compared.
        :return: Names of the compared nodes that had no service of this scope the last time either.
        :raise BackendError: If they cannot be read.
        """
        listed = await self._list_nodes(consistent=False)
        await self._remove_lost(listed)
        unknown = []
        for name, entry in listed.items():
            content, index = self._parse_node(entry)
            known = self._nodes.by_name.get(name)
            if known is not None:
                known.content, known.index = content, index
            elif name in self._nodes.uncertain:
                self._nodes.by_name[name] = CatalogNode(content, index)
            else:
                unknown.append(name)
        if len(unknown) > _MOST_SINGLE_NODES:
            await self.read_all()
            return []
        for name in unknown:
            await self.refresh(name)
        names = self._nodes.next_round(share)
        # A service that was lost just now is about to be registered again.
        empty = [name for name in names if not self._nodes.by_name[name].services]
        uncertain, keys = dict(self._nodes.uncertain), []
        for name in {**uncertain, **dict.fromkeys(names)}:
            node = self._nodes.by_name.get(name)
            if node is not None:
                keys += _keys_of(name, (*uncertain.get(name, ()), *node.services))
        await self._compare_services(keys, uncertain)
        for name in uncertain:
            self._nodes.uncertain.pop(name, None)
        return [name for name in empty if name not in uncertain]

    async def inspect(self, name: str, *, services: bool = True) -> Inspection:
        """
        Read a single node, with the certainty that Consul's leader can give.

        :param services: Whether to read its own services, too.
        :raise BackendError: If it cannot be read.
        """
        path = f"/v1/catalog/node/{quote(name, safe='')}"
        answer = await self._get("find-node", path)
        if answer is None:
            return Inspection()
        try:
            node, entries = answer["Node"], answer["Services"] or {}
            if not self._format.owns(node):
                return Inspection(exists=True, owner=_describe_owner(node))
            content, index = self._format.parse_node(node)
            own, foreign = {}, False
            for entry in map(check_service, entries.values()):
                if is_owned(entry, self._format.scope):
                    own[entry["ID"]] = entry
                else:
                    foreign = True
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is malformed: {error}") from error
        found = CatalogNode(content, index)
        if own and services:
            found.services = await self._read_own(name, own)
        return Inspection(found, True, "", foreign, frozenset(each.lower() for each in own))

    async def refresh(self, name: str) -> Inspection:
        """Read a single node, and replace what is known of it."""
        inspection = await self.inspect(name)
        known = self._nodes.by_name.get(name)
        if inspection.node is None:
            self._nodes.remove(name)
        elif known is None:
            services, inspection.node.services = inspection.node.services, ()
            self._nodes.by_name[name] = inspection.node
            self._nodes.set_services(name, services)
        else:
            known.content, known.index = inspection.node.content, inspection.node.index
            self._nodes.set_services(name, inspection.node.services)
        self._nodes.uncertain.pop(name, None)
        return inspection

    # Nodes.

    async def _list_nodes(self, *, consistent: bool) -> dict[str, Mapping[str, Any]]:
        """Return the nodes of the scope by name. Those that have not changed are left as they are."""
        listed: dict[str, Mapping[str, Any]] = {}

        def add(node: Any) -> None:
            if not isinstance(node, dict) or not isinstance(node.get("Node"), str):
                raise ValueError("a node has no name")
            if len(listed) >= MOST_ENTRIES:
                raise ValueError(f"there are more than {MOST_ENTRIES} nodes")
            if self._format.owns(node):
                listed[node["Node"].lower()] = node

        await self._list("list-nodes", "/v1/catalog/nodes", add, self._node_limit, consistent, listed.clear)
        self._node_limit.set_entries(len(listed))
        return listed

    def _parse_node(self, node: Mapping[str, Any]) -> tuple[NodeContent, int]:
        try:
            return self._format.parse_node(node)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._http.url}/v1/catalog/nodes: {error}") from error

    async def _remove_lost(self, listed: Mapping[str, Any]) -> None:
        """
        Remove the known nodes that a listing lacks.

        :raise BackendUnavailableError: If the first one of them exists: then the listing is incomplete.
        """
        lost = [name for name in self._nodes.by_name if name not in listed]
        if not lost:
            return
        operation: Operation = {"Node": {"Verb": "get", "Node": {"Node": lost[0]}}}
        results, _ = await self._transactions.read([operation], consistent=True)
        (node,) = match_results([operation], results, ())
        if node is not None and self._format.owns(node):
            raise BackendUnavailableError(
                f"{self._http.url}/v1/catalog/nodes: the listing is incomplete: it lacks {lost[0]}"
            )
        for name in lost:
            self._nodes.remove(name)

    # Services.

    async def _list_services(self) -> list[ServiceKey]:
        """Return the own services on the known nodes, found by their checks."""
        keys: dict[tuple[str, str], ServiceKey] = {}

        def add(check: Any) -> None:
            node, check_id, service = _parse_check(check)
            if node not in self._nodes.by_name:
                return
            kind = parse_check_id(check_id)
            if kind is not None and service:
                key = keys.setdefault((node, service.lower()), ServiceKey(node, service))
                key.notes.append(check.get("Notes"))
                if _counts(kind, check):
                    key.kinds.append(kind)
                if len(keys) > MOST_ENTRIES:
                    raise ValueError(f"there are more than {MOST_ENTRIES} services")

        await self._list("list-checks", "/v1/health/state/any", add, self._check_limit, True, keys.clear)
        return list(keys.values())

    async def _read_own(self, name: str, own: Mapping[str, Mapping[str, Any]]) -> tuple[Registration, ...]:
        """Return the registrations of the own services of one node."""
        path = f"/v1/health/node/{quote(name, safe='')}"
        checks: dict[str, dict[str, Any]] = {service.lower(): {} for service in own}
        for check in await self._get("find-checks", path) or ():
            kind = parse_check_id(str(check.get("CheckID")))
            service = str(check.get("ServiceID")).lower()
            if kind is not None and service in checks and _counts(kind, check):
                checks[service][kind] = check
        registrations = []
        for service, entry in own.items():
            found = checks[service.lower()]
            service_id = service_id_of(name, service, [each.get("Notes") for each in found.values()])
            registrations.append(parse_service(entry, service_id, found))
        return tuple(registrations)

    async def _compare_services(self, keys: list[ServiceKey], uncertain: Mapping[str, object]) -> None:
        found = await self._read_services(keys, consistent=bool(uncertain))
        for name, services in _by_node(keys, found).items():
            node = self._nodes.by_name[name]
            present = [each for each in services if each is not None]
            if name not in uncertain and len(present) < len(services):
                ids = {each.service_id for each in present}
                node.lost = tuple(each.service_id for each in node.services if each.service_id not in ids)
            self._nodes.set_services(name, present)

    async def _read_services(self, keys: list[ServiceKey], *, consistent: bool) -> list[Registration | None]:
        """Return the registrations of some services: None for those that do not exist, or are not of this scope."""
        found: list[Registration | None] = [None] * len(keys)

        async def read(start: int, end: int) -> None:
            operations: list[Operation] = []
            for key in keys[start:end]:
                operations.append(self._format.get_service(key.node, key.name))
                operations += (self._format.get_check(key.node, check_id) for check_id in key.checks.values())
            results, errors = await self._transactions.read(operations, consistent=consistent)
            matched = iter(match_results(operations, results, errors))
            for index, key in enumerate(keys[start:end], start):
                service = next(matched)
                checks = {kind: next(matched) for kind in key.checks}
                found[index] = self._parse_found(key, service, checks)

        await run_parallel((_call(read, *part) for part in self._split(keys)), MOST_TRANSACTIONS)
        return found

    def _split(self, keys: list[ServiceKey]) -> Iterable[tuple[int, int]]:
        """Yield the parts of a list of services that fit into one transaction each."""
        start, count = 0, 0
        for index, key in enumerate(keys):
            if count + key.size > self._transactions.limits.operations and index > start:
                yield start, index
                start, count = index, 0
            count += key.size
        if keys:
            yield start, len(keys)

    def _parse_found(self, key: ServiceKey, service: Any, checks: Mapping[str, Any]) -> Registration | None:
        if service is None:
            return None
        try:
            entry = check_service(service)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response is malformed: {error}") from error
        if not is_owned(entry, self._format.scope):
            return None
        read = {kind: check for kind, check in checks.items() if isinstance(check, dict)}
        kinds = [*key.kinds, *(kind for kind, check in read.items() if _counts(kind, check))]
        notes = [*(check.get("Notes") for check in read.values()), *key.notes]
        service_id = service_id_of(key.node, key.name, notes)
        known = self._nodes.by_name[key.node].find(service_id)
        parsed = parse_service(entry, service_id, kinds)
        return known if known == parsed else parsed

    # Requests.

    async def _get(self, operation: str, path: str) -> Any:
        try:
            return await self._http.get(operation, path, consistent="")
        except BackendForgotError as error:
            # Consul does not send this response to these requests.
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is: {error}") from error

    async def _list(
        self,
        operation: str,
        path: str,
        add: Callable[[Any], None],
        limit: ListingLimit,
        consistent: bool,
        restart: Callable[[], None],
    ) -> None:
        query = {**self._query, **({"consistent": ""} if consistent else {})}
        restart()
        limit.raise_to(len(self._nodes))
        try:
            await self._http.get_items(operation, path, add, limit.bytes, **query)
        except ResponseTooLongError:
            limit.exceed()
            raise
        except BackendForgotError as error:
            # Consul does not send this response to a listing.
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is: {error}") from error


def _keys_of(name: str, services: Iterable[Registration]) -> list[ServiceKey]:
    """Return the services on a node that may have any of some registrations."""
    keys: dict[str, ServiceKey] = {}
    for each in services:
        key = keys.setdefault(each.name.lower(), ServiceKey(name, each.name))
        # The checks, whose notes have the ID, may be lost.
        key.notes.append(each.service_id)
        for check in each.checks:
            key.checks[check.check_id.removeprefix(f"{each.service_id}-")] = catalog_check_id(each, check)
        key.checks.setdefault("alive", f"ssdpreg:{each.name}")
    return list(keys.values())


def _by_node(keys: Iterable[ServiceKey], found: Iterable[Registration | None]) -> dict[str, list[Registration | None]]:
    by_node: dict[str, list[Registration | None]] = {}
    for key, registration in zip(keys, found, strict=True):
        by_node.setdefault(key.node, []).append(registration)
    return by_node


def _parse_check(check: Any) -> tuple[str, str, str]:
    """Return the name of the node in lower case, the ID of the check, and the ID of the service."""
    fields = (check.get("Node"), check.get("CheckID"), check.get("ServiceID")) if isinstance(check, dict) else ()
    match fields:
        case (str(node), str(check_id), str(service)):
            return node.lower(), check_id, service
    raise ValueError("a check has no Node, CheckID or ServiceID")


def _counts(kind: str, check: Mapping[str, Any]) -> bool:
    """Return whether a check is as it was written: the status of a check that consul-esm runs may have changed."""
    return kind != "alive" or check.get("Status") == "passing"


def _describe_owner(node: Mapping[str, Any]) -> str:
    meta = node.get("Meta")
    scope = meta.get(META_SCOPE) if isinstance(meta, dict) else None
    return f"scope {scope[:128]!r}" if isinstance(scope, str) else "another program"


def _call(function: Callable[[int, int], Awaitable[None]], start: int, end: int) -> Callable[[], Awaitable[None]]:
    return lambda: function(start, end)
