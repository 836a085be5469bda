"""Services of a scope, read from Consul's catalog by transactions: many in each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ssdpreg.backends.catalog.format import (
    CatalogFormat,
    Operation,
    catalog_check_id,
    parse_service,
    service_id_of,
)
from ssdpreg.backends.catalog.nodes import CatalogNodes
from ssdpreg.backends.catalog.requests import MOST_TRANSACTIONS, ConsulTransactions, match_results
from ssdpreg.backends.changes import run_parallel
from ssdpreg.backends.consul_format import check_service, is_owned
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.registration import Registration


@dataclass(slots=True)
class ServiceQuery:
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


class ServiceReader:
    """
    Reader of services.

    :param transactions: Client for transactions.
    :param format: Format of the scope.
    :param nodes: Table of the known nodes.
    :ivar newest: Name of the node with the highest ModifyIndex of a service that was read; empty if there is none.
    """

    def __init__(self, transactions: ConsulTransactions, format: CatalogFormat, nodes: CatalogNodes) -> None:
        self._transactions, self._format, self._nodes = transactions, format, nodes
        self.newest, self._newest_index = "", 0

    def restart(self) -> None:
        """Forget the latest change: everything is read again."""
        self.newest, self._newest_index = "", 0

    async def read(self, keys: list[ServiceQuery], *, consistent: bool) -> list[Registration | None]:
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

    def _split(self, keys: list[ServiceQuery]) -> Iterable[tuple[int, int]]:
        """Yield the parts of a list of services that fit into one transaction each."""
        start, count = 0, 0
        for index, key in enumerate(keys):
            if count + key.size > self._transactions.limits.operations and index > start:
                yield start, index
                start, count = index, 0
            count += key.size
        if keys:
            yield start, len(keys)

    def _parse_found(self, key: ServiceQuery, service: Any, checks: Mapping[str, Any]) -> Registration | None:
        if service is None:
            return None
        try:
            entry = check_service(service)
        except ValueError as error:
            raise BackendUnavailableError(f"the response to a transaction is malformed: {error}") from error
        if not is_owned(entry, self._format.scope):
            return None
        index = service.get("ModifyIndex")
        if isinstance(index, int) and index > self._newest_index:
            self.newest, self._newest_index = key.node, index
        read = {kind: check for kind, check in checks.items() if isinstance(check, dict)}
        kinds = [*key.kinds, *(kind for kind, check in read.items() if counts(kind, check))]
        notes = [*(check.get("Notes") for check in read.values()), *key.notes]
        service_id = service_id_of(key.node, key.name, notes)
        known = self._nodes.by_name[key.node].find(service_id)
        parsed = parse_service(entry, service_id, kinds)
        return known if known == parsed else parsed


def keys_of(name: str, services: Iterable[Registration]) -> list[ServiceQuery]:
    """Return the services on a node that may have any of some registrations."""
    keys: dict[str, ServiceQuery] = {}
    for each in services:
        key = keys.setdefault(each.name.lower(), ServiceQuery(name, each.name))
        # The checks, whose notes have the ID, may be lost.
        key.notes.append(each.service_id)
        for check in each.checks:
            key.checks[check.check_id.removeprefix(f"{each.service_id}-")] = catalog_check_id(each, check)
    return list(keys.values())


def by_node(keys: Iterable[ServiceQuery], found: Iterable[Registration | None]) -> dict[str, list[Registration | None]]:
    """Return the registrations that were found, by the names of their nodes."""
    found_on: dict[str, list[Registration | None]] = {}
    for key, registration in zip(keys, found, strict=True):
        found_on.setdefault(key.node, []).append(registration)
    return found_on


def counts(kind: str, check: Mapping[str, Any]) -> bool:
    """Return whether a check is as it was written: the status of a check that consul-esm runs may have changed."""
    return kind != "alive" or check.get("Status") == "passing"


def _call(function: Callable[[int, int], Awaitable[None]], start: int, end: int) -> Callable[[], Awaitable[None]]:
    return lambda: function(start, end)
