"""Registry of live services: receives SSDP messages, searches, and publishes registrations to listeners."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.discovery.advertisement import Advertisement, Appeared, Changed, Event, Left, LiveService, SearchNeeded
from ssdpreg.discovery.interpret import UNMATCHED, Departure, Meaning, Rejection, cached_interpreter
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.log_limit import LogLimit
from ssdpreg.discovery.search_terms import SearchTerms, search_target
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import MessageError, RejectedError
from ssdpreg.interfaces import ILifetimeStore, IRegistrationListener, ISSDPListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.meta import from_meta
from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse, Update
from ssdpreg.ssdp.search_scheduler import MAX_TARGETS, SPACING, SearchScheduler
from ssdpreg.timers import EarliestCall, RepeatingCall

#: Seconds between the two search rounds at start and on a new interface.
_SECOND_ROUND = 1.0
#: Seconds that a reply may need on its way, besides the MX of the search.
_TRAVEL = 0.5
#: Seconds between two checks for interfaces that appeared or disappeared.
_REFRESH_INTERVAL = 10.0
#: Seconds between two recordings of lifetimes.
_RECORD_INTERVAL = 2.0

_UNKNOWN: Mapping[str, float] = MappingProxyType({})


class Sockets(Protocol):
    """The part of :class:`ssdpreg.ssdp.network.Network` that :class:`Registry` uses."""

    def refresh(self) -> bool: ...
    def send(self, message: Message) -> None: ...
    def close(self) -> Deferred[None]: ...
    @property
    def interfaces(self) -> Sequence[tuple[str, str]]: ...


class LiveRegistrations:
    """
    Registrations of the live services, published to listeners.

    :ivar by_id: Read-only view of the registrations by service ID, in the order of their first announcement.
    """

    log = Logger()

    def __init__(self) -> None:
        self._by_id: dict[str, Registration] = {}
        self._listeners: list[IRegistrationListener] = []
        self.by_id: Mapping[str, Registration] = MappingProxyType(self._by_id)

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Publish every further change to a listener."""
        self._listeners.append(listener)

    def put(self, registration: Registration) -> None:
        """Add or replace a registration. Nothing is published if it is equal to the present one."""
        before = self._by_id.get(registration.service_id)
        if before == registration:
            return
        self._by_id[registration.service_id] = registration
        if before is None:
            self._publish("appeared", registration)
        else:
            self._publish("changed", registration, before)

    def remove(self, service_id: str, reason: str) -> None:
        """
        Remove a registration.

        :param reason: See :meth:`ssdpreg.interfaces.IRegistrationListener.left`.
        """
        self._publish("left", self._by_id.pop(service_id), reason)

    def _publish(self, event: str, *arguments: object) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, event)(*arguments)
            except Exception:  # noqa: PERF203
                self.log.failure("{listener} failed on {event}", listener=listener, event=event)


@implementer(ISSDPListener)
class Registry(Service):
    """
    Service that keeps track of the live services among those that the operator listed.

    A message is interpreted, the table decides, and its events become changes of the registrations or searches.

    :param reactor: Provides ``IReactorTime``.
    :param open_network: Creates the sockets, as ``open_network(deliver=…, drop=…)``.
    :param table: Table of live services.
    :param rules: Rules for registrations.
    :param locations: Rules for acceptable LOCATIONs.
    :param search_interval: Seconds between two searches; 0 for a search at start only.
    :param mx: Maximum delay of a reply that searches ask for, in whole seconds.
    :ivar received: Number of messages by kind and interface.
    :ivar dropped: Number of dropped datagrams and rejected messages by reason.
    :ivar searches: Number of search rounds for all search terms.
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
        random: Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._table, self._rules, self._locations = table, rules, locations
        self._terms = SearchTerms({})
        self._interpret = cached_interpreter(self._terms, locations)
        self._live = LiveRegistrations()
        # Device ID and URN by service ID.
        self._keys: dict[str, tuple[str, str]] = {}
        self._network = open_network(deliver=self.deliver, drop=self.drop)
        self._searcher = SearchScheduler(reactor, self._network.send, mx, random or Random())
        self._search_interval = search_interval
        self._searching = RepeatingCall(reactor, search_interval, self._search, self.log)
        self._refreshing = RepeatingCall(reactor, _REFRESH_INTERVAL, self._refresh_interfaces, self.log)
        self._expiry = EarliestCall(reactor, self._expire)
        # Seconds from the first search until the last reply can have been received.
        self._settle_time = _SECOND_ROUND + SPACING * MAX_TARGETS + mx + _TRAVEL
        self._settles_at = math.inf
        self._log_limit = LogLimit()
        self.received: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[str] = Counter()
        self.searches = 0

    # Search terms and rules.

    def add_search_term(self, urn: str, tag: str) -> None:
        """
        Register services of one more type.

        :param urn: URN, or a pattern that ends in ``*``. The tag of a term that exists already is replaced.
        :param tag: Beginning of the names of its services.
        """
        self.set_search_terms({**self._terms.tags, urn: tag})

    def remove_search_term(self, urn: str) -> None:
        """Register services of a type no longer. Its services leave, unless another term matches them."""
        self.set_search_terms({other: tag for other, tag in self._terms.tags.items() if other != urn})

    def get_search_terms(self) -> dict[str, str]:
        """Return a copy of the search terms: tag by URN or pattern."""
        return dict(self._terms.tags)

    def set_search_terms(self, tags: Mapping[str, str]) -> None:
        """Replace all search terms. Services of terms in both sets are not affected."""
        added = not self._terms.tags.items() >= tags.items()
        self._terms = SearchTerms(tags)
        self._interpret = cached_interpreter(self._terms, self._locations)
        self._apply_events(self._table.reassign(self._terms.match, self._reactor.seconds()))
        if self.running and added:
            self._search()

    def set_rules(self, rules: RegistrationRules) -> None:
        """Replace the rules for registrations, of the present services as well. The scope must be the same."""
        self._rules = rules
        for service in list(self._table):
            self._live.put(rules.registration(service.advertisement))

    # Live services.

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Publish every further change of the live services to a listener."""
        self._live.subscribe(listener)

    @property
    def registrations(self) -> Mapping[str, Registration]:
        """Read-only view of the registrations of the live services, by service ID."""
        return self._live.by_id

    def services(self) -> list[tuple[Registration, LiveService]]:
        """Return the live services with their registrations."""
        return [(self._live.by_id[self._service_id(service.advertisement)], service) for service in self._table]

    def service(self, service_id: str) -> LiveService | None:
        """Return the live service with an ID, or None. The time does not grow with the number of services."""
        key = self._keys.get(service_id)
        return None if key is None else self._table.get(*key)

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        """Names and addresses of the interfaces on which SSDP is received."""
        return self._network.interfaces

    @property
    def settled(self) -> bool:
        """Whether every device has had the time to reply to the first searches."""
        return bool(self._reactor.seconds() >= self._settles_at)

    def adopt(self, registrations: Iterable[Registration], remaining: Mapping[str, float] = _UNKNOWN) -> None:
        """
        Add the services that an earlier run of this daemon registered.

        :param remaining: Seconds until expiry by service ID, as far as they are known.
        """
        now, before = self._reactor.seconds(), len(self._table)
        for registration in registrations:
            advertisement = from_meta(registration.meta, registration.address, self._interpret)
            # A service that would have another ID now is not adopted, so it will be deregistered.
            if advertisement is not None and self._service_id(advertisement) == registration.service_id:
                lifetime = remaining.get(registration.service_id)
                self._apply_events(self._table.adopt(advertisement, now, lifetime))
        # Some may have expired while no daemon was running.
        self._apply_events(self._table.expire(now))
        if len(self._table) > before:
            self.log.info("Adopted {count} services", count=len(self._table) - before)

    # Start and stop.

    def startService(self) -> None:
        super().startService()
        self._refreshing.start()
        if self._search_interval:
            self._searching.start(now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._searching.stop()
        self._refreshing.stop()
        self._searcher.stop()
        self._expiry.cancel()
        self._settles_at = math.inf
        return self._network.close()

    # Messages.

    def deliver(self, message: Message, peer: tuple[str, int], interface: str) -> None:
        """
        Process a message from the network.

        :param peer: IP address and port of the sender.
        :param interface: Name of the interface that received it.
        """
        self.received[message.kind, interface] += 1
        match message:
            case Alive():
                self.notify_alive(message, peer[0])
            case SearchResponse():
                self.response(message, peer[0])
            case ByeBye():
                self.notify_bye(message, peer[0])
            case Update():
                self.notify_update(message, peer[0])

    def drop(self, error: MessageError, peer: tuple[str, int], interface: str) -> None:
        """Count a datagram that is not an SSDP message."""
        self.dropped[error.kind] += 1

    def notify_alive(self, message: Alive, sender: str = "") -> None:
        self._process(self._interpret(message, sender), sender)

    def response(self, message: SearchResponse, sender: str = "") -> None:
        self._process(self._interpret(message, sender), sender, answer=True)

    def notify_bye(self, message: ByeBye, sender: str = "") -> None:
        self._process(self._interpret(message, sender), sender)

    def notify_update(self, message: Update, sender: str = "") -> None:
        self._process(self._interpret(message, sender), sender)

    def _process(self, meaning: Meaning | None, sender: str, *, answer: bool = False) -> None:
        now = self._reactor.seconds()
        match meaning:
            case Advertisement():
                try:
                    events = self._table.observe(meaning, sender, now, answer=answer)
                except RejectedError as error:
                    self._reject(Rejection(meaning.nt, error.reason), sender, now)
                else:
                    self._apply_events(events)
            case Departure(device_id, urn):
                self._apply_events(self._table.bye(device_id, urn, sender, now))
            case Rejection():
                self._reject(meaning, sender, now)

    def _reject(self, rejection: Rejection, sender: str, now: float) -> None:
        reason = rejection.reason
        self.dropped[reason] += 1
        if reason != UNMATCHED and self._log_limit.allows(sender, reason, now):
            self.log.info("Rejected {nt} from {sender}: {reason}", nt=rejection.nt, sender=sender, reason=reason)

    # Events of the table.

    def _apply_events(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Appeared(advertisement) | Changed(advertisement):
                    registration = self._rules.registration(advertisement)
                    self._keys[registration.service_id] = advertisement.device_id, advertisement.urn
                    self._live.put(registration)
                case Left(advertisement, reason):
                    service_id = self._service_id(advertisement)
                    del self._keys[service_id]
                    self._live.remove(service_id, reason)
                case SearchNeeded(advertisement, within):
                    self._searcher.search_soon(search_target(advertisement.term, advertisement.nt), within)
        if self._table.next_due < math.inf:
            self._expiry.request(self._table.next_due)

    def _expire(self) -> None:
        self._apply_events(self._table.expire(self._reactor.seconds()))

    def _service_id(self, advertisement: Advertisement) -> str:
        return self._rules.service_id(advertisement.device_id, advertisement.urn)

    # Searches.

    def _search(self, delay: float = 0.0) -> None:
        """
        Search for all search terms.

        :param delay: Seconds until the first search.
        """
        exact = [term for term in self._terms.tags if not term.endswith("*")]
        # A pattern is no search target: every device is searched for instead.
        self._searcher.search(exact if len(exact) == len(self._terms.tags) else [*exact, SEARCH_ALL], delay)
        self.searches += 1

    def _refresh_interfaces(self) -> None:
        """Open the sockets of new interfaces, and search on them twice, because UDP loses datagrams."""
        if self._network.refresh():
            self._search()
            self._search(_SECOND_ROUND)
            self._settles_at = min(self._settles_at, self._reactor.seconds() + self._settle_time)


class LifetimeRecorder(Service):
    """
    Service that records the remaining lifetimes of services, so that a restart does not prolong them.

    :param reactor: Provides ``IReactorTime``.
    :param registry: Source of the lifetimes.
    :param store: Destination.
    """

    log = Logger()

    def __init__(self, reactor: Any, registry: Registry, store: ILifetimeStore) -> None:
        self._reactor, self._registry, self._store = reactor, registry, store
        self._recorded_at = -math.inf
        self._recording = RepeatingCall(reactor, _RECORD_INTERVAL, self._record, self.log)

    def startService(self) -> None:
        super().startService()
        self._recording.start(now=False)

    def stopService(self) -> None:
        super().stopService()
        self._recording.stop()

    def _record(self) -> None:
        """Record the lifetimes of the services that were received since the last recording."""
        now = self._reactor.seconds()
        lifetimes = {
            registration.service_id: service.expires_at - now
            for registration, service in self._registry.services()
            if service.received_at >= self._recorded_at
        }
        self._recorded_at = now
        if lifetimes:
            self._store.remember(lifetimes)
