"""The service that receives SSDP messages, searches, and publishes registrations to listeners."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from types import MappingProxyType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.events import (
    Appeared,
    Changed,
    Event,
    SearchNeeded,
    SearchUrgency,
)
from ssdpreg.discovery.interpret import UNMATCHED, BootNotice, Meaning, Rejection, interpreter
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.log_limit import LogBudget, LogLimit
from ssdpreg.discovery.rates import SenderBuckets
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import MessageError, RejectedError
from ssdpreg.interfaces import ISSDPListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registration.meta import from_meta
from ssdpreg.registry.live_services import LiveServices
from ssdpreg.registry.reception import ReceptionMonitor
from ssdpreg.registry.repeats import MessageGroups, RepeatedAdvertisement, RepeatedRejection
from ssdpreg.registry.searching import NeededSearches
from ssdpreg.registry.sockets import Sockets
from ssdpreg.registry.statistics import RegistryStatistics
from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse, Update
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Reception
from ssdpreg.ssdp.repeats import Repeat
from ssdpreg.ssdp.search_scheduler import MAX_TARGETS, SPACING, SearchScheduler
from ssdpreg.timers import DelayedCalls, EarliestCall, RepeatingCall

#: Seconds between the two search rounds at start and on a new interface.
_SECOND_ROUND = 1.0
#: Seconds from the sending of a reply to its reception, at most.
_NETWORK_DELAY = 0.5
#: Seconds between two checks for interfaces that appeared or disappeared.
_REFRESH_INTERVAL = 10.0
#: Seconds from the first part of an adoption to its log line.
_ADOPTION_TIME = 1.0
#: Number of changes that the backend has yet to apply at which the new services of each sender are limited: to a burst,
#: and to a number in a second.
_BACKLOG = 1000
_NEW_BURST = 20.0
_NEW_RATE = 2.0
#: Services that are examined in one turn of the reactor when search terms or rules change.
_SLICE = 500

_UNKNOWN: Mapping[str, float] = MappingProxyType({})


@implementer(ISSDPListener)
class Registry(LiveServices, Service):
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
    :param backlog: Returns the number of changes that the backend has yet to apply.
    :param describe: Whether the registrations contain facts that devices state about themselves.
    :param budget: Budget of the log lines that unsolicited datagrams cause.
    :ivar dropped: Number of dropped datagrams and rejected messages by reason.
    :ivar searches: Number of search rounds for all search terms.
    :ivar broadcasts: Broadcast addresses of the networks on which SSDP is received.
    :ivar needed_searches: Searches that the table needed.
    :ivar reception: Monitor of the daemon's ability to receive.
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
        backlog: Callable[[], int] = lambda: 0,
        describe: bool = False,
        random: Random | None = None,
        budget: LogBudget | None = None,
    ) -> None:
        super().__init__(reactor, table, rules, describe=describe)
        self._locations = locations
        table.admit = self._admit
        self._backlog = backlog
        self._new_services = SenderBuckets(_NEW_RATE, _NEW_BURST)
        self._terms = SearchTerms({})
        self._interpret = interpreter(self._terms, locations)
        self._messages = MessageGroups(reactor.seconds, self._process, self._reject)
        self._network = open_network(deliver=self.deliver, drop=self.drop)
        random = random or Random()
        self._scheduler = SearchScheduler(reactor, self._network.search, mx, random)
        self.needed_searches = NeededSearches(
            reactor, self._scheduler, self._network, self._search_sent, table.awaits, random
        )
        self._delayed = DelayedCalls(reactor)
        self._adopted = 0
        self._search_interval = search_interval
        self._searching = RepeatingCall(reactor, search_interval, self._search, self.log, "Search")
        self._refreshing = RepeatingCall(
            reactor, _REFRESH_INTERVAL, self._refresh_interfaces, self.log, "Refresh of the interfaces"
        )
        self._expiry = EarliestCall(reactor, self._expire)
        # Seconds from the first search until the last reply can have been received.
        self._settle_time = _SECOND_ROUND + SPACING * MAX_TARGETS + mx + _NETWORK_DELAY
        self._settles_at = math.inf
        self.reception = ReceptionMonitor(reactor, self._network, table, self._search, self._settle_time)
        self._log_limit = LogLimit(budget or LogBudget())
        self.dropped: Counter[str] = Counter()
        self.searches = 0
        self.broadcasts: frozenset[str] = frozenset()

    # Search terms and rules.

    def add_search_term(self, urn: str, tag: str) -> None:
        """
        Register services of one more type.

        :param urn: URN, or a pattern that ends in ``*``. The tag of a term that exists already is replaced.
        :param tag: Beginning of the names of its services.
        """
        self.set_search_terms({**self._terms.tags, urn: tag})

    def remove_search_term(self, urn: str) -> None:
        """Stop the registration of services of a type. Its services leave, unless another term matches them."""
        self.set_search_terms({other: tag for other, tag in self._terms.tags.items() if other != urn})

    def get_search_terms(self) -> dict[str, str]:
        """Return a copy of the search terms: tag by URN or pattern."""
        return dict(self._terms.tags)

    def set_search_terms(self, tags: Mapping[str, str]) -> None:
        """Replace all search terms. Services of terms in both sets are not affected."""
        added = not self._terms.tags.items() >= tags.items()
        self._terms = SearchTerms(tags)
        self._interpret_anew()
        self._apply_in_slices(self._table.reassign(self._terms.match, self._reactor.seconds()))
        if self.running and added:
            self._search()

    def _interpret_anew(self) -> None:
        """Interpret messages by the present search terms and networks."""
        self._interpret = interpreter(self._terms, self._locations)
        self._messages.reinterpret()

    def set_rules(self, rules: RegistrationRules) -> None:
        """Replace the rules for registrations, of the present services as well. The scope must be the same."""
        self._rules = rules
        self._apply_in_slices([Changed(each.advertisement, each.standing)] for each in list(self._table))

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        """Names and addresses of the interfaces on which SSDP is received."""
        return self._network.interfaces

    def statistics(self) -> RegistryStatistics:
        """Return numbers for the metrics."""
        return RegistryStatistics(
            tracked=self._table.tracked,
            evictions=self._table.evictions,
            displaced_claims=self._table.displaced_claims,
            homes=self._table.homes,
            byebyes=self._table.byebyes,
            moves=self._table.moves,
            contests=self._table.contests,
            rejected_searches=self.needed_searches.rejected + self._network.rejected_searches,
            interruptions=self.reception.holds,
            overflows=self._network.overflows,
            memo_bytes=self._network.memo_bytes,
            suppressed_lines=self._log_limit.suppressed,
        )

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
                # A configured check, besides the alive check, was registered for direct claims only.
                standing = Standing.DIRECT if len(registration.checks) > 1 else Standing.INDIRECT
                self._adopt_facts(registration)
                self._apply_events(self._table.adopt(advertisement, now, lifetime, standing))
                if registration.service_id not in self._live.by_id:
                    self._facts.pop(registration.service_id, None)
        # Some may have expired while no daemon was running.
        self._apply_events(self._table.expire(now))
        if len(self._table) > before:
            if not self._adopted:
                # A large adoption is made in parts.
                self._delayed.call(_ADOPTION_TIME, self._log_adoption)
            self._adopted += len(self._table) - before

    def _log_adoption(self) -> None:
        self.log.info("Adopted {count} services", count=self._adopted)
        self._adopted = 0

    # Start and stop.

    def startService(self) -> None:
        super().startService()
        self._refreshing.start()
        self.reception.start()
        if self._search_interval:
            self._searching.start(now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._searching.stop()
        self._refreshing.stop()
        self.reception.stop()
        self.needed_searches.stop()
        self._scheduler.stop()
        self._delayed.cancel_all()
        self._expiry.cancel()
        self._settles_at = math.inf
        return self._network.close()

    # Messages.

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> Repeat | None:
        """
        Process a message from the network.

        :param reception: Circumstances of the reception.
        :param peer: IP address and port of the sender.
        :return: Function that processes the message when it is received again, in the same circumstances; None for
            kinds of messages that are not repeated often.
        """
        group = self._messages.of(message, reception)
        group.count += 1
        meaning = self._interpret(message, reception.sender)
        if isinstance(meaning, Advertisement):
            # The announcement of a new service is no repetition yet: one that is received once is not kept.
            service = self._table.find(meaning)
            self._process(meaning, reception)
            if service is not None and not service.removed:
                return RepeatedAdvertisement(group, service, meaning, reception)
            return None
        self._process(meaning, reception)
        return RepeatedRejection(group, meaning, reception.sender) if isinstance(meaning, Rejection) else None

    @property
    def received(self) -> Counter[tuple[str, str]]:
        """Number of messages by kind and interface."""
        return self._messages.counts()

    def drop(self, error: MessageError, reception: Reception, peer: PeerAddress) -> None:
        """Count a datagram that is not an accepted SSDP message."""
        self.dropped[error.kind] += 1

    # Methods of ISSDPListener. Messages without the circumstances of their reception have the lowest standing.

    def notify_alive(self, message: Alive, sender: str = "") -> None:
        self._process(self._interpret(message, sender), Reception(sender, on_link=False))

    def response(self, message: SearchResponse, sender: str = "") -> None:
        self._process(self._interpret(message, sender), Reception(sender, on_link=False))

    def notify_bye(self, message: ByeBye, sender: str = "") -> None:
        self._process(self._interpret(message, sender), Reception(sender, on_link=False))

    def notify_update(self, message: Update, sender: str = "") -> None:
        self._process(self._interpret(message, sender), Reception(sender, on_link=False))

    def _process(self, meaning: Meaning | None, reception: Reception) -> None:
        if isinstance(meaning, Advertisement):
            now = self._reactor.seconds()
            try:
                events = self._table.observe(meaning, reception, now)
            except RejectedError as error:
                self._reject(Rejection(meaning.nt, error.reason), reception.sender)
                self._apply_events(self._table.search_for_rejected(meaning, reception, now))
            else:
                if events or self._table.next_due < self._expiry.when:
                    self._apply_events(events)
        elif isinstance(meaning, Rejection):
            self._reject(meaning, reception.sender)
        elif isinstance(meaning, BootNotice):
            self._table.change_boot_id(meaning.device_id, meaning.boot_id, meaning.next_boot_id, reception.sender)
        elif meaning is not None:
            now = self._reactor.seconds()
            self._apply_events(
                self._table.bye(meaning.device_id, meaning.urn, reception.sender, now, reception.interface)
            )

    def _admit(self, sender: str, now: float) -> bool:
        """Return whether a sender may create a service now. While the backend is late, each sender has a budget."""
        return self._backlog() < _BACKLOG or self._new_services.take(sender, now)

    def _reject(self, rejection: Rejection, sender: str) -> None:
        reason = rejection.reason
        self.dropped[reason] += 1
        if reason is not UNMATCHED and self._log_limit.allows(sender, reason, self._reactor.seconds()):
            self.log.info("Rejected {nt} from {sender}: {reason}", nt=rejection.nt, sender=sender, reason=reason)

    # Events of the table.

    def _apply_events(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, (Appeared, Changed)):
                self._publish(event.advertisement, event.standing)
            elif isinstance(event, SearchNeeded):
                self.needed_searches.request(event)
            else:
                self._remove(event.advertisement, event.reason)
                if event.reason == "byebye":
                    # The byebye may have been forged, and the reply of the device lost or late.
                    search = SearchNeeded(event.advertisement, ROUND, urgency=SearchUrgency.UNFOUNDED, is_tracked=False)
                    self.needed_searches.request(search)
        self._request_expiry()

    def _apply_in_slices(self, events: Iterator[list[Event]]) -> None:
        """Apply the events of many services, without blocking the reactor for long."""
        for each in islice(events, _SLICE):
            self._apply_events(each)
        try:
            following = next(events)
        except StopIteration:
            return
        self._apply_events(following)
        self._delayed.call(0.0, self._apply_in_slices, events)

    def _search_sent(self, target: str) -> None:
        self._table.search_sent(target, self._reactor.seconds())
        self._request_expiry()

    def _request_expiry(self) -> None:
        next_due = self._table.next_due
        if next_due < self._expiry.when:
            self._expiry.request(next_due)

    def _expire(self) -> None:
        self.reception.check()
        self._apply_events(self._table.expire(self._reactor.seconds()))

    # Searches.

    def _search(self, delay: float = 0.0) -> None:
        """
        Search for all search terms.

        :param delay: Seconds until the first search.
        """
        exact = [term for term in self._terms.tags if not term.endswith("*")]
        # A pattern is no search target: every device is searched for instead.
        self._scheduler.search(exact if len(exact) == len(self._terms.tags) else [*exact, SEARCH_ALL], delay)
        self.searches += 1

    def _refresh_interfaces(self) -> None:
        """Open the sockets of new interfaces, and search on them twice, because UDP loses datagrams."""
        opened = self._network.refresh()
        broadcasts = self._network.broadcasts
        if broadcasts != self.broadcasts:
            # Each LOCATION is compared with them.
            self.broadcasts = broadcasts
            self._interpret_anew()
        if opened:
            self._search()
            self._search(_SECOND_ROUND)
            self._settles_at = min(self._settles_at, self._reactor.seconds() + self._settle_time)
