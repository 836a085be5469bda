"""Index of the live services by name and by node, with the change indexes of Consul's blocking queries."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.timers import EarliestCall

#: The subject of a query: all services, the services with one name, or the services of one node.
Topic = tuple[str, str]
EVERYTHING: Topic = ("everything", "")

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


def _topics(registration: Registration) -> frozenset[Topic]:
    """Return the topics that a service belongs to, besides :data:`EVERYTHING`."""
    return frozenset((name_topic(registration.name), node_topic(node_name(registration.device_id))))


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


@implementer(IRegistrationListener)
class Catalogue:
    """
    Index of the live services, for queries that return at once and for queries that wait for a change.

    :param reactor: Provides ``IReactorTime``.
    :param registrations: The live services by service ID: the registry's own mapping, which is read at each query.
    :param wall_clock: Returns the seconds since 1970. The first index is made from it.
    """

    def __init__(
        self, reactor: Any, registrations: Mapping[str, Registration], wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._reactor = reactor
        self._registrations = registrations
        # Indexes rise over restarts too: otherwise a client that waits for an index above its last one waits in vain.
        self._index = self._last_removal = max(1, int(wall_clock() * 1000))
        # Node, index of creation and index of the last change, by service ID.
        self._facts: dict[str, tuple[str, int, int]] = {}
        # Service IDs, and index of the last change, by topic. Topics without services are removed.
        self._service_ids: dict[Topic, set[str]] = {}
        self._topic_indexes: dict[Topic, int] = {}
        self._waiting: dict[Deferred[None], tuple[Topic, int]] = {}
        self._notification = EarliestCall(reactor, self._notify)
        for registration in registrations.values():
            self.appeared(registration)

    def entries(self, topic: Topic = EVERYTHING) -> list[Entry]:
        """Return the services of a topic, sorted by node and service ID."""
        found: Iterable[str] = self._facts if topic == EVERYTHING else self._service_ids.get(topic, ())
        by_node = sorted((self._facts[service_id][0], service_id) for service_id in found)
        return [
            Entry(self._registrations[service_id], *self._facts[service_id])
            for _, service_id in by_node
            if service_id in self._registrations
        ]

    def index(self, topic: Topic) -> int:
        """
        Return the index of the last change of a topic, which never falls.

        A topic without services has the index of the last removal of any topic: the indexes of removed topics are not
        kept, since their names come from the network and their number has no limit.
        """
        return self._index if topic == EVERYTHING else self._topic_indexes.get(topic, self._last_removal)

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
            del self._waiting[waiter]
            if not self._waiting:
                self._notification.cancel()
            return result

        waiter.addBoth(remove)
        return waiter.addTimeout(seconds, self._reactor, lambda result, timeout: None)

    def appeared(self, registration: Registration) -> None:
        self._index += 1
        self._update(registration, created=self._index)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._index += 1
        _, created, _ = self._facts[registration.service_id]
        self._update(registration, created)
        self._remove(registration.service_id, _topics(before) - _topics(registration))

    def left(self, registration: Registration, reason: str) -> None:
        self._index += 1
        del self._facts[registration.service_id]
        self._remove(registration.service_id, _topics(registration))

    def _update(self, registration: Registration, created: int) -> None:
        self._facts[registration.service_id] = node_name(registration.device_id), created, self._index
        topics = _topics(registration)
        for topic in topics:
            self._service_ids.setdefault(topic, set()).add(registration.service_id)
        self._touch(topics)

    def _remove(self, service_id: str, topics: Iterable[Topic]) -> None:
        self._touch(topics)
        for topic in topics:
            service_ids = self._service_ids[topic]
            service_ids.remove(service_id)
            if not service_ids:
                del self._service_ids[topic], self._topic_indexes[topic]
                self._last_removal = self._index

    def _touch(self, topics: Iterable[Topic]) -> None:
        """Set the index of topics that have changed, and end the queries that wait for them soon."""
        for topic in topics:
            self._topic_indexes[topic] = self._index
        if self._waiting:
            self._notification.request(self._reactor.seconds() + _GATHERING)

    def _notify(self) -> None:
        for waiter, (topic, index) in list(self._waiting.items()):
            if self.index(topic) > index:
                waiter.callback(None)
