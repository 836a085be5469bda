"""Index of the live services by name and by node, with the change indexes of Consul's blocking queries."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.timers import EarliestCall
from ssdpreg.web.slices import RequestCooperator
from ssdpreg.web.sorted_keys import GroupedKeys, SortedKeys

#: Node in lower case, service ID, and index at which the service appeared. There is one for each service.
CatalogueKey: TypeAlias = tuple[str, str, int]

#: The subject of a query: all services, the services with one name, or the services of one node.
Topic = tuple[str, str]
EVERYTHING: Topic = ("everything", "")

#: Number of services in one slice of a listing: some milliseconds of work, and some 100 kB of a response.
SLICE = 100

#: A device ID that is used as the name of a node: it needs no quoting in a URL.
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

#: Seconds between a change and the end of the queries that wait for it: changes that come together end them once.
_GATHERING = 0.05


def name_topic(name: str) -> Topic:
    """Return the topic of all services with a name. Consul compares names without regard to case."""
    return ("name", name.casefold())


def node_topic(node: str) -> Topic:
    """Return the topic of all services of a node."""
    return ("node", node.casefold())


def node_name(device_id: str) -> str:
    """Return the name of a device's node: the device ID, or a hash of an ID with unusual characters or length."""
    if _PLAIN_ID.fullmatch(device_id):
        return device_id
    return hashlib.sha256(device_id.casefold().encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A live service as a query finds it.

    :ivar node: Name of its device's node.
    :ivar created: Index at which the service appeared.
    :ivar modified: Index of its last change.
    """

    registration: Registration
    node: str
    created: int
    modified: int


def _node(registration: Registration) -> str:
    """Return the name of a service's node in lower case."""
    node = node_name(registration.device_id)
    folded = node.casefold()
    # The text of the device ID is shared if possible: there is one for every service.
    return node if folded == node else folded


@implementer(IRegistrationListener)
class Catalogue:
    """
    Index of the live services, for queries that return at once and for queries that wait for a change.

    :param reactor: Provides ``IReactorTime``.
    :param registrations: The live services by service ID: the registry's own mapping, which is read at each query.
    :param wall_clock: Returns the seconds since 1970. The first index is made from it.
    :param cooperator: Ends the queries that wait for one change, one after the other.
    :ivar by_name: Keys of the services, by name in lower case.
    :ivar devices: Number of devices with live services.
    """

    def __init__(
        self,
        reactor: Any,
        registrations: Mapping[str, Registration],
        wall_clock: Callable[[], float] = time.time,
        cooperator: RequestCooperator | None = None,
    ) -> None:
        self._reactor = reactor
        self._registrations = registrations
        self._cooperator = cooperator or RequestCooperator(reactor)
        # Indexes rise over restarts too: otherwise a client that waits for an index above its last one waits in vain.
        # The numbers of count() take 32 bytes, and a sum as large takes 48.
        self._indexes = count(max(1, int(wall_clock() * 1000)))
        self._index = self._last_removal = next(self._indexes)
        # Index of the last change of the services that changed since they appeared.
        self._modified: dict[str, int] = {}
        # Both contain the same keys, in different orders.
        self.by_name: GroupedKeys[CatalogueKey] = GroupedKeys()
        self._by_node: SortedKeys[CatalogueKey] = SortedKeys()
        self.devices = 0
        # Number of services by name and tags.
        self._tags: dict[str, Counter[tuple[str, ...]]] = {}
        self._names: SortedKeys[str] = SortedKeys()
        # Index of the last change by name in lower case. Those without services are removed.
        self._name_indexes: dict[str, int] = {}
        # The same by node, as far as it is not the index at which the only service of the node appeared.
        self._node_indexes: dict[str, int] = {}
        self._waiting: dict[Deferred[None], tuple[Topic, int]] = {}
        self._notification = EarliestCall(reactor, self._notify)
        for registration in registrations.values():
            self.appeared(registration)

    def slices(self, topic: Topic = EVERYTHING) -> Iterator[list[Entry]]:
        """
        Iterate over the services of a topic, sorted by node and service ID, in slices of at most :data:`SLICE`.

        Services may appear and leave between two slices. Those that have left are skipped.
        """
        kind, value = topic
        if kind == "name":
            parts = self.by_name.of(value, SLICE)
        else:
            parts = self._by_node.starting_with((value,) if kind == "node" else (), SLICE)
        return self._entries(parts)

    def slices_by_name(self) -> Iterator[list[Entry]]:
        """Iterate over all services, sorted by name without regard to case, in slices like those of :meth:`slices`."""
        return self._entries(self.by_name.parts(SLICE))

    def _entries(self, parts: Iterator[list[CatalogueKey]]) -> Iterator[list[Entry]]:
        for keys in parts:
            yield [entry for key in keys if (entry := self._entry(key)) is not None]

    def names(self) -> Iterator[list[tuple[str, list[str]]]]:
        """Iterate over the sorted names of services and all tags of each name, in slices."""
        last: str | None = None
        while names := self._names.after(last, SLICE):
            last = names[-1]
            yield [(name, sorted({tag for tags in self._tags[name] for tag in tags})) for name in names]

    def index(self, topic: Topic) -> int:
        """
        Return the index of the last change of a topic, which never falls.

        A topic without services has the index of the last removal of any topic: the indexes of removed topics are not
        kept, since their names come from the network and their number has no limit.
        """
        if topic == EVERYTHING:
            return self._index
        kind, value = topic
        if kind == "name":
            return self._name_indexes.get(value, self._last_removal)
        only = self._by_node.first((value,))
        return self._last_removal if only is None else self._node_indexes.get(value, only[2])

    def wait(self, topic: Topic, index: int, seconds: float) -> Deferred[None]:
        """
        Wait until the index of a topic is above a given index, or a time has passed.

        :param index: Index that the client has seen.
        :return: Fires with None in either case, at once if the topic has changed already. It can be cancelled.
        """
        if self.index(topic) > index:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiting[waiter] = topic, index

        def remove(result: Any) -> Any:
            self._waiting.pop(waiter, None)
            if not self._waiting:
                self._notification.cancel()
            return result

        waiter.addBoth(remove)
        return waiter.addTimeout(seconds, self._reactor, lambda result, timeout: None)

    def appeared(self, registration: Registration) -> None:
        self._index = next(self._indexes)
        node = _node(registration)
        if self._by_node.first((node,)) is None:
            self.devices += 1
        else:
            self._node_indexes[node] = self._index
        self._add(registration, (node, registration.service_id, self._index))
        self._request_notification()

    def changed(self, registration: Registration, before: Registration) -> None:
        # The node of a service never changes.
        self._index = next(self._indexes)
        self._modified[registration.service_id] = self._index
        key = self._key(before)
        self._remove_tags(before)
        self._remove_name(before, key)
        self._add(registration, key)
        self._node_indexes[key[0]] = self._index
        self._request_notification()

    def left(self, registration: Registration, reason: str) -> None:
        self._index = next(self._indexes)
        self._modified.pop(registration.service_id, None)
        key = self._key(registration)
        self._remove_tags(registration)
        self._remove_name(registration, key)
        self._by_node.discard(key)
        node = key[0]
        if self._by_node.first((node,)) is None:
            self.devices -= 1
            self._node_indexes.pop(node, None)
            self._last_removal = self._index
        else:
            self._node_indexes[node] = self._index
        self._request_notification()

    def _key(self, registration: Registration) -> CatalogueKey:
        """Return the key of a service in the catalogue."""
        key = self._by_node.first((_node(registration), registration.service_id))
        if key is None:
            raise KeyError(registration.service_id)
        return key

    def _entry(self, key: CatalogueKey) -> Entry | None:
        _, service_id, created = key
        registration = self._registrations.get(service_id)
        if registration is None:
            return None
        return Entry(registration, node_name(registration.device_id), created, self._modified.get(service_id, created))

    def _add(self, registration: Registration, key: CatalogueKey) -> None:
        """Add a service, and set the index of its name."""
        name = registration.name
        folded = name.casefold()
        self.by_name.add(folded, key)
        self._by_node.add(key)
        self._name_indexes[folded] = self._index
        tags = self._tags.get(name)
        if tags is None:
            tags = self._tags[name] = Counter()
            self._names.add(name)
        tags[registration.tags] += 1

    def _remove_tags(self, registration: Registration) -> None:
        tags = self._tags[registration.name]
        tags[registration.tags] -= 1
        if not tags[registration.tags]:
            del tags[registration.tags]
        if not tags:
            del self._tags[registration.name]
            self._names.discard(registration.name)

    def _remove_name(self, registration: Registration, key: CatalogueKey) -> None:
        """Remove a service from its name, and set or remove the index of the name."""
        name = registration.name.casefold()
        self.by_name.discard(name, key)
        if name in self.by_name:
            self._name_indexes[name] = self._index
        else:
            del self._name_indexes[name]
            self._last_removal = self._index

    def _request_notification(self) -> None:
        if self._waiting:
            self._notification.request(self._reactor.seconds() + _GATHERING)

    def _notify(self) -> None:
        self._cooperator.cooperate(self._end_queries())

    def _end_queries(self) -> Iterator[None]:
        for waiter, (topic, index) in list(self._waiting.items()):
            if waiter in self._waiting and self.index(topic) > index:
                waiter.callback(None)
                yield
