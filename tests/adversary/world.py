"""World around one table: clock, network, searches, and the history of the service at stake."""

from __future__ import annotations

import contextlib
import heapq
import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Event, Left, SearchNeeded
from ssdpreg.discovery.homes import SHORTEST
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import URN

DEVICE = "D"
#: Seconds between two searches for all search terms: ``ssdp.search.interval``.
SEARCH_INTERVAL = 300.0
#: Longest wait, in seconds, of a host that replies to a search of the group, and to one of the host alone.
_GROUP_REPLY, _HOST_REPLY = 2.0, 0.3


class Responder(Protocol):
    """A host that receives searches."""

    def replies(self) -> Iterable[Advertisement]:
        """Return the advertisements with which it replies now."""


class World:
    """
    World around one table.

    :param random: Source of all decisions.
    :ivar responders: Hosts that receive searches.
    :ivar loss: Probability that a datagram is lost.
    :ivar late: Probability that a datagram takes up to 0.5 s, so that others overtake it.
    :ivar search_delay: Longest wait, in seconds, of a search for the budget.
    :ivar location: Registered LOCATION, empty if the service is not live.
    :ivar held: Seconds for which each host has been registered until :attr:`changed_at`.
    :ivar moved_at: Time of the latest move.
    :ivar searches: Number of searches of the group, and of single hosts, that the table requested.
    :ivar record: Events, for the message of a failure.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.table = AdvertisementTable()
        self.now = self.start = 1000.0
        self.responders: list[Responder] = []
        self.loss = self.late = self.search_delay = 0.0
        self.location = ""
        self.held: dict[str, float] = {}
        self.changed_at, self.moved_at = self.now, -math.inf
        self.searches = 0
        self.record: list[str] = []
        self._host = ""
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.call_later(random.uniform(0, SEARCH_INTERVAL), self._search_all)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function later."""
        self._number += 1
        heapq.heappush(self._calls, (self.now + seconds, self._number, function))

    def wait(self, seconds: float) -> None:
        """Let time pass. The table decides whenever a decision is due."""
        end = self.now + seconds
        while True:
            when = self._calls[0][0] if self._calls else math.inf
            if min(when, self.table.next_due) > end:
                break
            if self.table.next_due <= when:
                self.now = max(self.now, self.table.next_due)
                self._apply(self.table.expire(self.now))
            else:
                self.now = max(self.now, when)
                heapq.heappop(self._calls)[2]()
        self.now = end

    def announce(self, advertisement: Advertisement, sender: str, channel: Channel = Channel.GROUP) -> None:
        """Send an announcement or a reply to the daemon."""
        self._transmit(lambda: self.receive(advertisement, sender, channel))

    def byebye(self, sender: str) -> None:
        """Send a byebye to the daemon."""
        self._transmit(lambda: self._receive_byebye(sender))

    def receive(self, advertisement: Advertisement, sender: str, channel: Channel) -> None:
        """Receive an announcement or a reply."""
        self.note(f"received {advertisement.location} from {sender} by {channel.name}, {advertisement.max_age} s")
        with contextlib.suppress(RejectedError):
            self._apply(self.table.observe(advertisement, Reception(sender, "eth0", channel), self.now))

    def note(self, text: str) -> None:
        """Record an event."""
        self.record.append(f"{self.now - self.start:10.2f} {text}")

    def holding(self) -> dict[str, float]:
        """Return the seconds for which each host has been registered until now."""
        held = dict(self.held)
        if self._host:
            held[self._host] = held.get(self._host, 0.0) + self.now - self.changed_at
        return held

    def _receive_byebye(self, sender: str) -> None:
        self.note(f"received byebye from {sender}")
        self._apply(self.table.bye(DEVICE, URN, sender, self.now, "eth0"))

    def _transmit(self, deliver: Callable[[], None]) -> None:
        if self.random.random() < self.loss:
            return
        delay = self.random.uniform(0.0002, 0.005)
        if self.random.random() < self.late:
            delay = self.random.uniform(0, 0.5)
        self.call_later(delay, deliver)

    def _apply(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, SearchNeeded):
                self.searches += 1
                self.call_later(self.random.uniform(0, self.search_delay), lambda event=event: self._search(event))  # type: ignore[misc]
                continue
            self.held = self.holding()
            self.changed_at = self.now
            before, self.location = self.location, "" if isinstance(event, Left) else event.advertisement.location
            self._host = "" if isinstance(event, Left) else event.advertisement.host
            if not self.location:
                # Only a home that held the service for some time is known after the service has left.
                home = max(self.held, key=self.held.__getitem__)
                self.held = {home: self.held[home]} if self.held[home] >= SHORTEST else {}
            if before and self.location and before != self.location:
                self.moved_at = self.now
            self.note(f"the service is at {self.location or 'no LOCATION'}")

    def _search(self, event: SearchNeeded) -> None:
        """Send the searches that the table has requested."""
        self.note(f"search, hosts {', '.join(event.hosts)}{' only' if event.hosts_only else ''}")
        if not event.hosts_only:
            self.table.search_sent(event.advertisement.search_target, self.now)
            self._search_group()
        for responder in self.responders:
            for reply in responder.replies():
                if reply.host in event.hosts:
                    self._reply(responder, reply, Channel.HOST, _HOST_REPLY)

    def _search_all(self) -> None:
        self.call_later(SEARCH_INTERVAL, self._search_all)
        self.table.search_sent(URN, self.now)
        self._search_group()

    def _search_group(self) -> None:
        for responder in self.responders:
            for reply in responder.replies():
                self._reply(responder, reply, Channel.SEARCH, _GROUP_REPLY)

    def _reply(self, responder: Responder, reply: Advertisement, channel: Channel, latest: float) -> None:
        # The search may be lost, too.
        if self.random.random() >= self.loss:

            def send() -> None:
                if reply in responder.replies():
                    self.announce(reply, reply.host, channel)

            self.call_later(self.random.uniform(0.01, latest), send)
