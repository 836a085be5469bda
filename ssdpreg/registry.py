"""The service that hears and asks: messages go in, registrations come out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from random import Random
from types import MappingProxyType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.log_limit import LogGate
from ssdpreg.discovery.search_terms import SearchTerms, search_target
from ssdpreg.discovery.table import (
    DEFAULT_MAX_AGE,
    LONGEST_MAX_AGE,
    Advertisement,
    AdvertisementTable,
    Appeared,
    Ask,
    Changed,
    Event,
    Left,
    Live,
)
from ssdpreg.errors import IgnoredError, MessageError
from ssdpreg.interfaces import IRegistrationListener, ISSDPListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse, Update
from ssdpreg.ssdp.search_scheduler import MAX_TARGETS, SPACING, SearchScheduler
from ssdpreg.ssdp.usn import device_id, is_usable, means_whole_device

#: Messages whose meaning is remembered.
_REMEMBERED = 8192
#: Seconds between the two rounds of searches at the start, and on an interface that is new.
_SECOND_ROUND = 1.0
#: Seconds that a reply may be late.
_TRAVEL = 0.5
#: Seconds between two looks for interfaces that came or went, and between two times that lifetimes are written down.
_LOOK_AROUND = 10.0
_REMEMBER_INTERVAL = 2.0

_NOTHING: Mapping[str, float] = MappingProxyType({})


class Sockets(Protocol):
    """What :class:`Registry` asks of :class:`ssdpreg.ssdp.network.Network`."""

    def refresh(self) -> bool: ...
    def send(self, message: Message) -> None: ...
    def close(self) -> Deferred[None]: ...
    @property
    def interfaces(self) -> Sequence[tuple[str, str]]: ...


@implementer(ISSDPListener)
class Registry(Service):
    """
    Knows which of the services that the operator asked for are live, and tells its listeners.

    :param reactor: Provides ``IReactorTime``.
    :param open_network: Makes the sockets, as ``open_network(deliver=…, drop=…)``.
    :param table: What is live.
    :param rules: How a live service is to be registered.
    :param locations: Which LOCATIONs may be registered.
    :param search_interval: Seconds between two searches; 0 for none after the start.
    :param mx: Longest wait of a device before it replies, in whole seconds.
    :param remember: Told every few seconds how long services have left, by service ID, where that can be kept.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        open_network: Callable[..., Sockets],
        table: AdvertisementTable,
        rules: RegistrationRules,
        locations: LocationRules,
        *,
        search_interval: float = 300.0,
        mx: int = 3,
        remember: Callable[[Mapping[str, float]], None] | None = None,
        random: Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._table, self._rules, self._locations = table, rules, locations
        self._search_interval = search_interval
        # Seconds from the first search until every device had the time to answer.
        self._settling = _SECOND_ROUND + SPACING * MAX_TARGETS + mx + _TRAVEL
        self._network = open_network(deliver=self.deliver, drop=self.drop)
        self._searcher = SearchScheduler(reactor, self._network.send, mx, random or Random())
        self._terms = SearchTerms({})
        # A device repeats itself to the letter, and most of what is heard was heard before.
        self._advertisement = lru_cache(_REMEMBERED)(self._read_advertisement)
        self._registrations: dict[str, Registration] = {}
        self._listeners: list[IRegistrationListener] = []
        self._gate = LogGate()
        self._searching = LoopingCall(self._search)
        self._looking = LoopingCall(self._look_around)
        self._remembering = LoopingCall(self._remember_lifetimes)
        self._searching.clock = self._looking.clock = self._remembering.clock = reactor
        self._remember = remember
        self._remembered_at = -math.inf
        self._expiry: IDelayedCall | None = None
        self._expires_at = math.inf
        self._settles_at = math.inf
        #: Messages by kind and interface, and those that came to nothing by reason.
        self.received: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[str] = Counter()
        self.searches = 0

    # What the operator asks for.

    def add_search_term(self, urn: str, tag: str) -> None:
        """
        Ask for one more type.

        :param urn: A URN, or a pattern that ends in ``*``; asked for already, its tag is replaced.
        :param tag: What names of its services begin with.
        """
        self.set_search_terms({**self._terms.tags, urn: tag})

    def remove_search_term(self, urn: str) -> None:
        """Ask no more for a type: its services are no longer live, unless another term is met by them."""
        self.set_search_terms({other: tag for other, tag in self._terms.tags.items() if other != urn})

    def get_search_terms(self) -> dict[str, str]:
        """Return a copy of what is asked for: tag by URN or pattern."""
        return dict(self._terms.tags)

    def set_search_terms(self, tags: Mapping[str, str]) -> None:
        """Ask for these types instead of all before. What both ask for stays as it is."""
        added = not self._terms.tags.items() >= tags.items()
        self._terms = SearchTerms(tags)
        self._advertisement.cache_clear()
        self._follow(self._table.reassign(self._terms.match, self._reactor.seconds()))
        if self.running and added:
            self._search()

    def set_rules(self, rules: RegistrationRules) -> None:
        """Register by other rules from now on, what is live already too. The scope has to be the same."""
        self._rules = rules
        for live in list(self._table):
            self._register(live.advertisement)

    # What others follow.

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Tell a listener of every change from now on."""
        self._listeners.append(listener)

    @property
    def registrations(self) -> Mapping[str, Registration]:
        """What is live, by service ID."""
        return self._registrations

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        """Names and addresses of the interfaces that are listened on."""
        return self._network.interfaces

    @property
    def settled(self) -> bool:
        """Whether every device had the time to answer the first searches, once there was an interface to send them."""
        return bool(self._reactor.seconds() >= self._settles_at)

    def services(self) -> list[tuple[Registration, Live]]:
        """What is live, and how it came to be known."""
        return [(self._registrations[self._service_id(live.advertisement)], live) for live in self._table]

    def adopt(self, registrations: Iterable[Registration], remaining: Mapping[str, float] = _NOTHING) -> None:
        """
        Take over what an earlier run of this daemon had registered.

        :param remaining: Seconds that services have left, by service ID. Of others nobody knows: they are believed
            until there was time to hear them.
        """
        now, before = self._reactor.seconds(), len(self._table)
        for registration in registrations:
            advertisement = self._recall(registration)
            if advertisement is not None:
                self._follow(self._table.adopt(advertisement, now, remaining.get(registration.service_id)))
        # Some had no time left.
        self._follow(self._table.expire(now))
        if len(self._table) > before:
            self.log.info("Adopted {count} services", count=len(self._table) - before)

    # The life of the service.

    def startService(self) -> None:
        super().startService()
        self._looking.start(_LOOK_AROUND)
        if self._search_interval:
            self._searching.start(self._search_interval, now=False)
        if self._remember is not None:
            self._remembering.start(_REMEMBER_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for loop in (self._searching, self._looking, self._remembering):
            if loop.running:
                loop.stop()
        self._searcher.stop()
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry, self._expires_at, self._settles_at = None, math.inf, math.inf
        return self._network.close()

    # What is heard.

    def deliver(self, message: Message, peer: tuple[str, int], interface: str) -> None:
        """Hand a message to the method for its kind."""
        sender = peer[0]
        self.received[message.kind, interface] += 1
        match message:
            case Alive():
                self.notify_alive(message, sender)
            case SearchResponse():
                self.response(message, sender)
            case ByeBye():
                self.notify_bye(message, sender)
            case Update():
                self.notify_update(message, sender)

    def drop(self, error: MessageError, peer: tuple[str, int], interface: str) -> None:
        """Count a datagram that is no message."""
        self.dropped[error.kind] += 1

    def notify_alive(self, message: Alive, sender: str = "") -> None:
        self._observe(message.nt, message, sender, answer=False)

    def response(self, message: SearchResponse, sender: str = "") -> None:
        self._observe(message.st, message, sender, answer=True)

    def notify_bye(self, message: ByeBye, sender: str = "") -> None:
        urn = None
        if not means_whole_device(message.nt):
            term = self._terms.match(message.nt)
            if term is None:
                return
            urn = message.nt if term.is_pattern else term.urn
        self._follow(self._table.bye(device_id(message.usn), urn, sender, self._reactor.seconds()))

    def notify_update(self, message: Update, sender: str = "") -> None:
        # It prolongs nothing, and its LOCATION has to be the one announced: UPnP Device Architecture 2.0, 1.2.4.
        pass

    def _observe(self, nt: str, message: Alive | SearchResponse, sender: str, *, answer: bool) -> None:
        now = self._reactor.seconds()
        try:
            advertisement = self._advertisement(nt, message, sender)
            if advertisement is None:
                self.dropped["not asked for"] += 1
                return
            events = self._table.observe(advertisement, sender, now, answer=answer)
        except IgnoredError as error:
            self.dropped[error.reason] += 1
            if self._gate.opens(sender, error.reason, now):
                self.log.info("Ignored {nt} of {sender}: {reason}", nt=nt, sender=sender, reason=error.reason)
        else:
            self._follow(events)

    def _read_advertisement(self, nt: str, message: Alive | SearchResponse, sender: str) -> Advertisement | None:
        term = self._terms.match(nt)
        if term is None:
            return None
        announcer = device_id(message.usn)
        if not is_usable(announcer):
            raise IgnoredError("no device ID")
        return Advertisement(
            device_id=announcer,
            urn=nt if term.is_pattern else term.urn,
            term=term,
            nt=nt,
            usn=message.usn,
            location=message.location,
            endpoint=self._locations.endpoint(message.location, sender),
            max_age=DEFAULT_MAX_AGE if message.max_age is None else min(message.max_age, LONGEST_MAX_AGE),
            server=message.server,
        )

    def _recall(self, registration: Registration) -> Advertisement | None:
        """Read an advertisement out of what was registered for it; ``None`` if it would be registered otherwise."""
        meta = registration.meta
        max_age = meta.get("ssdp-max-age", "")
        message = Alive(
            nt=meta.get("ssdp-nt", ""),
            usn=meta.get("ssdp-usn", ""),
            location=meta.get("ssdp-location", ""),
            max_age=int(max_age) if re.fullmatch(r"[1-9]\d{0,4}", max_age, re.ASCII) else None,
            server=meta.get("ssdp-server", ""),
        )
        try:
            advertisement = self._advertisement(message.nt, message, registration.address)
        except IgnoredError:
            return None
        if advertisement is None or self._service_id(advertisement) != registration.service_id:
            return None
        return advertisement

    # What follows.

    def _follow(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Appeared(advertisement) | Changed(advertisement):
                    self._register(advertisement)
                case Left(advertisement, reason):
                    registration = self._registrations.pop(self._service_id(advertisement))
                    self._publish("left", registration, reason)
                case Ask(advertisement, within):
                    self._searcher.search_soon(search_target(advertisement.term, advertisement.nt), within)
        if self._table.next_due < self._expires_at:
            self._expire_later()

    def _register(self, advertisement: Advertisement) -> None:
        registration = self._rules.registration(advertisement)
        before = self._registrations.get(registration.service_id)
        if before == registration:
            return
        self._registrations[registration.service_id] = registration
        if before is None:
            self._publish("appeared", registration)
        else:
            self._publish("changed", registration, before)

    def _publish(self, event: str, *arguments: object) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, event)(*arguments)
            except Exception:  # noqa: PERF203
                self.log.failure("{listener} failed on a change of the live services", listener=listener)

    def _service_id(self, advertisement: Advertisement) -> str:
        return self._rules.service_id(advertisement.device_id, advertisement.urn)

    def _expire_later(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = self._table.next_due
        self._expiry = self._reactor.callLater(max(0.0, self._expires_at - self._reactor.seconds()), self._expire)

    def _expire(self) -> None:
        self._expiry, self._expires_at = None, math.inf
        self._follow(self._table.expire(self._reactor.seconds()))

    # What is asked.

    def _search(self, delay: float = 0.0) -> None:
        exact = [term for term in self._terms.tags if not term.endswith("*")]
        self._searcher.search(exact if len(exact) == len(self._terms.tags) else [*exact, SEARCH_ALL], delay)
        self.searches += 1

    def _remember_lifetimes(self) -> None:
        """Have it written down how long those services have left that were heard since the last time."""
        assert self._remember is not None
        now = self._reactor.seconds()
        lifetimes = {
            self._service_id(live.advertisement): live.expires_at - now
            for live in self._table
            if live.heard_at >= self._remembered_at
        }
        self._remembered_at = now
        try:
            if lifetimes:
                self._remember(lifetimes)
        except Exception:
            # LoopingCall would end here for good.
            self.log.failure("Cannot remember lifetimes, next in {seconds} s", seconds=_REMEMBER_INTERVAL)

    def _look_around(self) -> None:
        try:
            if self._network.refresh():
                # Twice, since datagrams get lost.
                self._search()
                self._search(_SECOND_ROUND)
                self._settles_at = min(self._settles_at, self._reactor.seconds() + self._settling)
        except Exception:
            # LoopingCall would end here for good.
            self.log.failure("Cannot look for interfaces, next in {seconds} s", seconds=_LOOK_AROUND)
