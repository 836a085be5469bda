"""The services that are live, with the indexes by which Consul's readers follow changes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration

#: What may change: everything, the services of one name, or those of one node.
Topic = tuple[str, str]
EVERYTHING: Topic = ("everything", "")

#: A device ID that every reader of node names can take.
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

#: Seconds to wait for changes that come together, before readers are told.
_GATHERING = 0.05


def name_topic(name: str) -> Topic:
    """Name the services of one name. Consul's names are the same in any case of letters."""
    return ("name", name.casefold())


def node_topic(node: str) -> Topic:
    """Name the services of one node."""
    return ("node", node.casefold())


def node_name(device_id: str) -> str:
    """Name the node that a device is: by its ID, or a hash of one that would not do."""
    if _PLAIN_ID.fullmatch(device_id):
        return device_id
    return hashlib.sha256(device_id.casefold().encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One service of the catalogue.

    :ivar node: The name of its device's node.
    :ivar created: Index at which it appeared.
    :ivar modified: Index at which it changed last.
    """

    registration: Registration
    node: str
    created: int
    modified: int

    @property
    def topics(self) -> frozenset[Topic]:
        """What changes when it does, beside everything."""
        return frozenset((name_topic(self.registration.name), node_topic(self.node)))


@implementer(IRegistrationListener)
class Catalogue:
    """
    Knows what is live, in which state of the whole it changed last, and who waits for a change.

    :param reactor: Provides ``IReactorTime``.
    :param wall_clock: Tells the seconds since 1970: no other clock goes on from one run to the next.
    """

    def __init__(self, reactor: Any, wall_clock: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        # A reader that saw the daemon before a restart, and waits for a higher index, must not wait in vain.
        self._index = self._last_loss = max(1, int(wall_clock() * 1000))
        self._entries: dict[str, Entry] = {}
        self._by_topic: dict[Topic, dict[str, Entry]] = {}
        self._indexes: dict[Topic, int] = {}
        self._waiting: dict[Deferred[None], tuple[Topic, int]] = {}
        self._telling: IDelayedCall | None = None

    def entries(self, topic: Topic = EVERYTHING) -> list[Entry]:
        """Return the services of a topic, in an order that does not depend on when they appeared."""
        found: Iterable[Entry] = (
            self._entries.values() if topic == EVERYTHING else self._by_topic.get(topic, {}).values()
        )
        return sorted(found, key=lambda entry: (entry.node, entry.registration.service_id))

    def index(self, topic: Topic) -> int:
        """
        Tell in which state of the whole a topic changed last. Never falls.

        Of what is not there, nobody remembers more than that nothing was lost later than the last loss of all.
        """
        return self._index if topic == EVERYTHING else self._indexes.get(topic, self._last_loss)

    def wait(self, topic: Topic, index: int, seconds: float) -> Deferred[None]:
        """
        Wait until a topic has changed since a state, or some time has passed.

        :param index: The state.
        :return: Fires in either case, at once if the topic has changed already. Cancelling it ends the waiting.
        """
        if self.index(topic) > index:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiting[waiter] = topic, index

        def forget(result: Any) -> Any:
            del self._waiting[waiter]
            if not self._waiting and self._telling is not None:
                self._telling.cancel()
                self._telling = None
            return result

        waiter.addBoth(forget)
        return waiter.addTimeout(seconds, self._reactor, lambda result, timeout: None)

    def appeared(self, registration: Registration) -> None:
        self._live(registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._live(registration)

    def _live(self, registration: Registration) -> None:
        before = self._entries.get(registration.service_id)
        self._index += 1
        node = node_name(registration.meta["ssdp-device"])
        entry = Entry(registration, node, self._index if before is None else before.created, self._index)
        self._entries[registration.service_id] = entry
        for topic in entry.topics:
            self._by_topic.setdefault(topic, {})[registration.service_id] = entry
        self._change(entry.topics)
        if before is not None:
            self._leave(before, before.topics - entry.topics)

    def left(self, registration: Registration, reason: str) -> None:
        entry = self._entries.pop(registration.service_id)
        self._index += 1
        self._leave(entry, entry.topics)

    def _leave(self, entry: Entry, topics: Iterable[Topic]) -> None:
        self._change(topics)
        for topic in topics:
            rest = self._by_topic[topic]
            del rest[entry.registration.service_id]
            if not rest:
                # What strangers name must not fill the memory once it is gone.
                del self._by_topic[topic], self._indexes[topic]
                self._last_loss = self._index

    def _change(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            self._indexes[topic] = self._index
        if self._telling is None and self._waiting:
            self._telling = self._reactor.callLater(_GATHERING, self._tell)

    def _tell(self) -> None:
        self._telling = None
        for waiter, (topic, index) in list(self._waiting.items()):
            if self.index(topic) > index:
                waiter.callback(None)
