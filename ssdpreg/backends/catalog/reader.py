"""Content of a scope in Consul's catalog: complete after a start, and compared in parts from then on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ssdpreg.backends.catalog.format import CatalogFormat, NodeContent, Operation
from ssdpreg.backends.catalog.listings import CatalogListings, Inspection
from ssdpreg.backends.catalog.nodes import CatalogNode, CatalogNodes
from ssdpreg.backends.catalog.requests import ConsulTransactions, match_results
from ssdpreg.backends.catalog.services import ServiceQuery, ServiceReader, by_node, keys_of
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.registration import Registration

#: Nodes that are read one by one. If there are more of them, everything is read.
_MOST_SINGLE_NODES = 50


class CatalogReader:
    """
    Reader of one scope.

    :param http: Client of Consul.
    :param transactions: Client for transactions.
    :param format: Format of the scope.
    :param nodes: Table of the known nodes, which the reader keeps up to date.
    :ivar complete: Whether everything was read. Otherwise :meth:`compare` must not be called.
    """

    def __init__(
        self, http: ConsulHTTP, transactions: ConsulTransactions, format: CatalogFormat, nodes: CatalogNodes
    ) -> None:
        self._transactions, self._format, self._nodes = transactions, format, nodes
        self._listings = CatalogListings(http, format)
        self._services = ServiceReader(transactions, format, nodes)
        self._objects = LongLivedObjects()
        # Comparisons until a missing change may cause everything to be read again.
        self._comparisons_left = 0
        self.complete = False

    async def read_all(self) -> None:
        """
        Read the whole content of the scope, without trust in anything that is known.

        :raise BackendError: If it cannot be read.
        """
        expected = len(self._nodes)
        self.complete = False
        self._nodes.clear()
        for name, node in (await self._listings.list_nodes(expected, consistent=True)).items():
            content, index = self._parse_node(node)
            self._nodes.by_name[name] = CatalogNode(content, index)
            if content.batch:
                # The daemon that removed the services ended before it deleted the node.
                self._nodes.emptied[name] = None
        keys = await self._listings.list_services(self._nodes.by_name)
        self._services.restart()
        found = await self._services.read(keys, consistent=True)
        for name, services in by_node(keys, found).items():
            self._nodes.set_services(name, (each for each in services if each is not None))
        self._nodes.recent.clear()
        if self._services.newest in self._nodes.by_name:
            self._nodes.note_change(self._services.newest)
        self._objects.grow(len(found))
        self.complete = True

    async def compare(self, share: float) -> list[str]:
        """
        Compare all nodes, and the contents of some of them: a share of all, and those with the latest changes.

        If the latest changes are missing, an older snapshot of Consul may have been restored: everything is read again.
        Other programs can also undo the latest change, so that happens once in a round at most.

        :param share: Share of the nodes whose contents are compared.
        :return: Names of the compared nodes that had no service of this scope the last time either.
        :raise BackendError: If they cannot be read.
        """
        listed = await self._listings.list_nodes(len(self._nodes), consistent=False)
        recent = {name: self._nodes.by_name[name].services for name in self._nodes.recent}
        await self._remove_lost(listed)
        unknown = []
        for name, entry in listed.items():
            content, index = self._parse_node(entry)
            known = self._nodes.by_name.get(name)
            if known is not None:
                known.index = index
                if known.content != content:
                    known.content = content
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
        for name in {**uncertain, **dict.fromkeys(names), **recent}:
            node = self._nodes.by_name.get(name)
            if node is not None:
                keys += keys_of(name, (*uncertain.get(name, ()), *node.services))
        await self._compare_services(keys, uncertain)
        for name in uncertain:
            self._nodes.uncertain.pop(name, None)
            node = self._nodes.by_name.get(name)
            if node is not None and node.content.batch:
                # The services were removed, but the response was lost.
                self._nodes.emptied[name] = None
        self._comparisons_left = max(0, self._comparisons_left - 1)
        if not self._comparisons_left and any(
            name not in uncertain and self._has_changed(name, services) for name, services in recent.items()
        ):
            self._comparisons_left = math.ceil(1 / share)
            await self._read_all_again()
            return []
        return empty

    async def inspect(self, name: str) -> Inspection:
        """Read a single node and its checks, without its services: see :meth:`CatalogListings.inspect`."""
        return await self._listings.inspect(name, services=False)

    async def is_used(self, batch: str) -> bool:
        """Return whether a program uses any node of a batch: see :meth:`CatalogListings.is_used`."""
        return await self._listings.is_used(batch)

    async def refresh(self, name: str) -> Inspection:
        """Read a single node, and replace its entry in the table."""
        inspection = await self._listings.inspect(name)
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

    # Restored snapshots.

    def _has_changed(self, name: str, services: tuple[Registration, ...]) -> bool:
        node = self._nodes.by_name.get(name)
        return node is None or node.services != services

    async def _read_all_again(self) -> None:
        # If consul-esm removed a service, its check must be registered as critical.
        lost = {name: node.lost for name, node in self._nodes.by_name.items() if node.lost}
        await self.read_all()
        for name, ids in lost.items():
            if name in self._nodes.by_name:
                self._nodes.by_name[name].lost = ids

    # Nodes.

    def _parse_node(self, node: Mapping[str, Any]) -> tuple[NodeContent, int]:
        try:
            return self._format.parse_node(node)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._listings.url}/v1/catalog/nodes: {error}") from error

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
                f"{self._listings.url}/v1/catalog/nodes: the listing is incomplete: it lacks {lost[0]}"
            )
        for name in lost:
            self._nodes.remove(name)

    # Services.

    async def _compare_services(self, keys: list[ServiceQuery], uncertain: Mapping[str, object]) -> None:
        found = await self._services.read(keys, consistent=bool(uncertain))
        for name, services in by_node(keys, found).items():
            node = self._nodes.by_name[name]
            present = [each for each in services if each is not None]
            if name not in uncertain and len(present) < len(services):
                ids = {each.service_id for each in present}
                node.lost = tuple(each.service_id for each in node.services if each.service_id not in ids)
            self._nodes.set_services(name, present)
