"""Table of the nodes that the daemon is known to have in Consul's catalog, with their services. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ssdpreg.backends.catalog.format import CatalogFormat, NodeContent, has_definition
from ssdpreg.registration import Registration

#: Nodes with the latest changes that are known. After a restored snapshot of Consul, those lack their changes first.
_MOST_RECENT = 3


@dataclass(slots=True)
class CatalogNode:
    """
    A node of the scope in the catalog.

    :ivar content: Its address and other fields.
    :ivar index: Index of the latest change of the node, without its services.
    :ivar services: Registrations on the node, as far as they are known.
    :ivar lost: IDs of services that another program, such as consul-esm, removed from the node.
    """

    content: NodeContent
    index: int
    services: tuple[Registration, ...] = ()
    lost: tuple[str, ...] = ()
    # Content and services for which the node was found to be right: those of nearly all nodes stay the same objects.
    _right: tuple[NodeContent, tuple[Registration, ...]] | None = None

    def find(self, service_id: str) -> Registration | None:
        """Return the registration with an ID, or None."""
        return next((each for each in self.services if each.service_id == service_id), None)

    @property
    def is_right(self) -> bool:
        """Whether the node's own fields are those that its services require."""
        right = self._right
        if right is not None and right[0] is self.content and right[1] is self.services:
            return True
        if self.services and (
            all(each.address != self.content.address for each in self.services)
            or self.content.external != has_definition(self.services)
        ):
            return False
        self._right = (self.content, self.services)
        return True


class CatalogNodes:
    """
    Nodes of the scope by name.

    :param format: Format of the scope.
    :ivar by_name: The nodes.
    :ivar misplaced: Nodes of services that are not on the node of their device, by service ID.
    :ivar emptied: Names of the nodes of a batch, in the order in which their last services were removed.
    :ivar uncertain: Services that may be on a node, by its name, because the outcome of a transaction is unknown.
    :ivar recent: Names of the few nodes whose services changed the latest, and that have any. The latest is the last.
    """

    def __init__(self, format: CatalogFormat) -> None:
        self._format = format
        self.by_name: dict[str, CatalogNode] = {}
        self.emptied: dict[str, None] = {}
        self.uncertain: dict[str, tuple[Registration, ...]] = {}
        self.recent: dict[str, None] = {}
        # Names of the nodes whose contents are still to be compared in this round.
        self._round: list[str] = []
        self._part = 1
        # There are some after a change of the prefix.
        self.misplaced: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.by_name)

    def clear(self) -> None:
        """Remove all nodes."""
        self.by_name.clear()
        self.emptied.clear()
        self.uncertain.clear()
        self.recent.clear()
        self._round.clear()
        self.misplaced.clear()

    def has_no_services(self, name: str) -> bool:
        """Return whether a node exists, and has no known services."""
        node = self.by_name.get(name)
        return node is not None and not node.services

    def set_services(self, name: str, services: Iterable[Registration]) -> None:
        """Replace the known services of a node."""
        node = self.by_name[name]
        before = node.services
        for each in before:
            self.misplaced.pop(each.service_id, None)
        node.services = tuple(services)
        if node.services != before:
            self.note_change(name)
        for each in node.services:
            if self._format.node_name(each) != name:
                self.misplaced[each.service_id] = name

    def remove(self, name: str) -> None:
        """Remove a node that does not exist any more."""
        if name in self.by_name:
            self.set_services(name, ())
            del self.by_name[name]

    def note_change(self, name: str) -> None:
        """Record that the services of a node changed."""
        self.recent.pop(name, None)
        if self.has_no_services(name):
            return
        self.recent[name] = None
        if len(self.recent) > _MOST_RECENT:
            del self.recent[next(iter(self.recent))]

    def next_round(self, share: float) -> list[str]:
        """
        Return the names of the nodes whose contents are to be compared next.

        :param share: Share of all nodes, so that a round takes at most ``1 / share`` calls.
        """
        if not self._round:
            self._round = list(self.by_name)
            # The number of nodes may become smaller in the round.
            self._part = max(1, math.ceil(len(self._round) * share))
        taken, self._round = self._round[-self._part :], self._round[: -self._part]
        return [name for name in taken if name in self.by_name]

    def registrations(self, names: Iterable[str], known: Mapping[str, Registration]) -> Iterator[Registration]:
        """
        Return the registrations on some nodes, as a backend's ``read`` does.

        :param known: Registrations by service ID, which are kept in place of equal ones.
        """
        for name in names:
            node = self.by_name.get(name)
            if node is None:
                continue
            for each in node.services:
                other = known.get(each.service_id)
                if other is not None and other is not each and other == each:
                    node.services = tuple(other if one is each else one for one in node.services)
                    each = other
                if node.is_right and (not self.misplaced or each.service_id not in self.misplaced):
                    yield each
                else:
                    # It differs from every live service, so the service is registered again, with its node.
                    yield replace(each, checks=frozenset())
