"""Listings of a scope's nodes and checks in Consul's catalog, and single nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ssdpreg.backends.catalog.format import META_BATCH, CatalogFormat, parse_check_id, parse_service, service_id_of
from ssdpreg.backends.catalog.nodes import CatalogNode
from ssdpreg.backends.catalog.services import ServiceQuery, counts
from ssdpreg.backends.consul_format import check_service, is_owned
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import ResponseTooLongError
from ssdpreg.backends.listing_limit import MOST_ENTRIES, ListingLimit
from ssdpreg.backends.scopes.holder import SCOPE_CHECK
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import META_SCOPE

#: Bytes of the longest response for a single node: more than a thousand services of other programs.
_LONGEST_NODE = 1024 * 1024


@dataclass(slots=True)
class Inspection:
    """
    A single node as it is.

    :ivar node: The node with its own services; None if it does not exist, or belongs to another program.
    :ivar exists: Whether there is a node with this name.
    :ivar owner: Description of the owner of a node that is not of this scope.
    :ivar foreign: Whether another program registered a service or a check on it.
    :ivar own: IDs of the services of this scope, in lower case.
    """

    node: CatalogNode | None = None
    exists: bool = False
    owner: str = ""
    foreign: bool = False
    own: frozenset[str] = frozenset()


class CatalogListings:
    """
    Requests that list a scope.

    :param http: Client of Consul.
    :param format: Format of the scope.
    """

    def __init__(self, http: ConsulHTTP, format: CatalogFormat) -> None:
        self._http, self._format = http, format
        self._node_limit, self._check_limit = ListingLimit(), ListingLimit()
        self._query = {"node-meta": f"{META_SCOPE}:{format.scope}"}

    @property
    def url(self) -> str:
        """URL of the server."""
        return self._http.url

    async def list_nodes(self, expected: int, *, consistent: bool) -> dict[str, Mapping[str, Any]]:
        """
        Return the nodes of the scope by name.

        :param expected: Number of nodes that are known.
        """
        listed: dict[str, Mapping[str, Any]] = {}

        def add(node: Any) -> None:
            if not isinstance(node, dict) or not isinstance(node.get("Node"), str):
                raise ValueError("a node has no name")
            if len(listed) >= MOST_ENTRIES:
                raise ValueError(f"there are more than {MOST_ENTRIES} nodes")
            if self._format.owns(node):
                listed[node["Node"].lower()] = node

        await self._list("list-nodes", "/v1/catalog/nodes", add, self._node_limit, expected, consistent, listed.clear)
        self._node_limit.set_entries(len(listed))
        return listed

    async def list_services(self, nodes: Collection[str]) -> list[ServiceQuery]:
        """
        Return the services of the scope, found by their checks.

        :param nodes: Names of its nodes.
        """
        keys: dict[tuple[str, str], ServiceQuery] = {}

        def add(check: Any) -> None:
            node, check_id, service = _parse_check(check)
            if node not in nodes:
                return
            kind = parse_check_id(check_id)
            if kind is not None and service:
                key = keys.setdefault((node, service.lower()), ServiceQuery(node, service))
                key.notes.append(check.get("Notes"))
                if counts(kind, check):
                    key.kinds.append(kind)
                if len(keys) > MOST_ENTRIES:
                    raise ValueError(f"there are more than {MOST_ENTRIES} services")

        await self._list("list-checks", "/v1/health/state/any", add, self._check_limit, len(nodes), True, keys.clear)
        return list(keys.values())

    async def inspect(self, name: str, *, services: bool = True) -> Inspection:
        """
        Read a single node, with the certainty that Consul's leader can give.

        :param services: Whether to read its own services, too. Otherwise ``foreign`` considers the checks of the node.
        :raise BackendError: If it cannot be read.
        """
        path = f"/v1/catalog/node/{quote(name, safe='')}"
        answer = await self._get("find-node", path)
        if answer is None:
            return Inspection()
        try:
            node, entries = answer["Node"], answer["Services"] or {}
            if node["Node"].lower() != name:
                # If no node has the name, Consul shows the only node whose ID begins with it.
                return Inspection()
            owned = self._format.owns(node)
            if not owned and not self._format.has_no_owner(node):
                return Inspection(exists=True, owner=_describe_owner(node))
            content, index = self._format.parse_node({**node, "Meta": node["Meta"] or {}})
            own, foreign = {}, False
            for entry in map(check_service, entries.values()):
                if is_owned(entry, self._format.scope):
                    own[entry["ID"]] = entry
                else:
                    foreign = True
            if not owned and not own:
                return Inspection(exists=True, owner=_describe_owner(node))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is malformed: {error}") from error
        found = CatalogNode(content, index)
        if own and services:
            found.services = await self._read_own(name, own)
        if not services and not foreign:
            foreign = any(map(_is_foreign, await self._list_checks_of(name)))
        return Inspection(found, True, "", foreign, frozenset(each.lower() for each in own))

    async def is_used(self, batch: str) -> bool:
        """
        Return whether any node of a batch may have a service, or a check of another program.

        The response has the certainty of Consul's leader.

        :raise BackendUnavailableError: If Consul does not respond.
        """
        query = {"node-meta": f"{META_BATCH}:{batch}"}
        try:
            names = await self._get("list-batch", "/v1/catalog/services", **query)
            checks = [] if names else await self._get("list-batch", "/v1/health/state/any", **query)
        except (ResponseTooLongError, BackendRefusedError):
            # A proxy may reject the request. The requests for single nodes tell.
            return True
        if not isinstance(names, dict) or not isinstance(checks, list):
            raise BackendUnavailableError(f"{self._http.url}: the response for a batch of nodes is malformed")
        return bool(names) or any(map(_is_foreign, checks))

    async def _read_own(self, name: str, own: Mapping[str, Mapping[str, Any]]) -> tuple[Registration, ...]:
        """Return the registrations of the own services of one node."""
        checks: dict[str, dict[str, Any]] = {service.lower(): {} for service in own}
        for check in await self._list_checks_of(name):
            kind = parse_check_id(str(check.get("CheckID")))
            service = str(check.get("ServiceID")).lower()
            if kind is not None and service in checks and counts(kind, check):
                checks[service][kind] = check
        registrations = []
        for service, entry in own.items():
            found = checks[service.lower()]
            service_id = service_id_of(name, service, [each.get("Notes") for each in found.values()])
            registrations.append(parse_service(entry, service_id, found))
        return tuple(registrations)

    async def _list_checks_of(self, name: str) -> list[Mapping[str, Any]]:
        path = f"/v1/health/node/{quote(name, safe='')}"
        checks = await self._get("find-checks", path) or []
        if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is malformed: no list of checks")
        return checks

    # Requests.

    async def _get(self, operation: str, path: str, **query: str) -> Any:
        try:
            return await self._http.get(operation, path, limit=_LONGEST_NODE, consistent="", **query)
        except BackendForgotError as error:
            # Consul does not send this response to these requests.
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is: {error}") from error

    async def _list(
        self,
        operation: str,
        path: str,
        add: Callable[[Any], None],
        limit: ListingLimit,
        expected: int,
        consistent: bool,
        restart: Callable[[], None],
    ) -> None:
        query = {**self._query, **({"consistent": ""} if consistent else {})}
        restart()
        limit.raise_to(expected)
        try:
            await self._http.get_items(operation, path, add, limit.bytes, **query)
        except ResponseTooLongError:
            limit.exceed()
            raise
        except BackendForgotError as error:
            # Consul does not send this response to a listing.
            raise BackendUnavailableError(f"{self._http.url}{path}: the response is: {error}") from error


def _is_foreign(check: object) -> bool:
    """Return whether a check belongs to a node and to another program. Those of a service are removed with it."""
    return not isinstance(check, dict) or (not check.get("ServiceID") and check.get("CheckID") != SCOPE_CHECK)


def _parse_check(check: Any) -> tuple[str, str, str]:
    """Return the name of the node in lower case, the ID of the check, and the ID of the service."""
    fields = (check.get("Node"), check.get("CheckID"), check.get("ServiceID")) if isinstance(check, dict) else ()
    match fields:
        case (str(node), str(check_id), str(service)):
            return node.lower(), check_id, service
    raise ValueError("a check has no Node, CheckID or ServiceID")


def _describe_owner(node: Mapping[str, Any]) -> str:
    meta = node.get("Meta")
    scope = meta.get(META_SCOPE) if isinstance(meta, dict) else None
    return f"scope {scope[:128]!r}" if isinstance(scope, str) else "another program"
