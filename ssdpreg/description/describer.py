"""The service that fetches the facts that devices state about themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.description.queue import FetchBudget, FetchQueue
from ssdpreg.description.source import Edition, Fetch, Source, Target, find_edition, find_source, find_target
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.expiry import Schedule
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.discovery.probing import may_probe
from ssdpreg.discovery.standing import Standing
from ssdpreg.errors import DescriptionError
from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.registry import Registry
from ssdpreg.timers import EarliestCall

#: Fetches under way at a time.
MAX_FETCHES = 4
#: Devices whose facts are kept up to date: as many as the budget suffices for once a day, with a reserve.
MAX_TARGETS = 50_000
#: Seconds until the document of a device is fetched again that announces no change of it.
_DAY = 86400.0
#: Seconds until the next attempt after a failure.
_HOUR = 3600.0
#: Seconds between two fetches from one device, however often it announces a change.
_SHORTEST_PAUSE = 60.0


class _Wanted:
    """
    Target whose facts are wanted.

    :ivar target: Device.
    :ivar service_ids: Services that have its facts in their Meta, in the order of their announcement.
    :ivar edition: Edition of the latest attempt, or None before the first one.
    :ivar attempted_at: Time of the latest attempt.
    :ivar fetching: Whether an attempt is under way.
    :ivar scheduled_at: See :class:`ssdpreg.discovery.expiry.Scheduled`.
    """

    __slots__ = ("attempted_at", "edition", "fetching", "scheduled_at", "service_ids", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.service_ids: list[str] = []
        self.edition: Edition | None = None
        self.attempted_at = -math.inf
        self.fetching = False
        self.scheduled_at = math.inf


@implementer(IRegistrationListener)
class Describer(Service):
    """
    Service that fetches the facts of the devices of live services, and gives them to the registry.

    :param reactor: Provides ``IReactorTime``.
    :param registry: Live services, and receiver of the facts.
    :param fetch: Fetches a document: see :class:`ssdpreg.description.fetching.DocumentFetcher`.
    :param named_networks: Networks that the operator named in ``ssdp.allow``.
    :param edition: Returns the edition of the document that an advertisement announces.
    :ivar fetches: Number of fetches by result: ``ok``, or one of :data:`ssdpreg.description.source.FAILURES`.
    :ivar skipped: Number of services without facts because of :data:`MAX_TARGETS`.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        registry: Registry,
        fetch: Fetch,
        named_networks: Collection[IPNetwork] = (),
        edition: Callable[[Advertisement], Edition] = find_edition,
    ) -> None:
        self._reactor, self._registry, self._fetch = reactor, registry, fetch
        self._named_networks, self._edition = named_networks, edition
        self._budget = FetchBudget(reactor.seconds())
        self._wanted: dict[Target, _Wanted] = {}
        self._by_service: dict[str, _Wanted] = {}
        # Targets whose facts are not known, and others: the one does not delay the other.
        self._first, self._again = FetchQueue(), FetchQueue()
        self._again_in_turn = False
        self._schedule: Schedule[_Wanted] = Schedule()
        self._due = EarliestCall(reactor, self._take_due)
        self._next = EarliestCall(reactor, self._start_fetches)
        self._fetching: dict[str, Deferred[None]] = {}
        self.fetches: Counter[str] = Counter()
        self.skipped = 0
        registry.observe_claims(self._observe)
        registry.subscribe(self)

    @property
    def waiting(self) -> int:
        """Number of documents that wait for their fetch."""
        return len(self._first) + len(self._again)

    @property
    def targets(self) -> int:
        """Number of devices whose facts are kept up to date."""
        return len(self._wanted)

    def startService(self) -> None:
        super().startService()
        self._take_due()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        self._due.cancel()
        self._next.cancel()
        fetching = list(self._fetching.values())
        for each in fetching:
            each.cancel()
        return DeferredList(fetching)

    # Methods of IRegistrationListener.

    def appeared(self, registration: Registration) -> None:
        """Do nothing: :meth:`_observe` follows."""

    def changed(self, registration: Registration, before: Registration) -> None:
        """Do nothing: :meth:`_observe` follows if the claim is another one."""

    def left(self, registration: Registration, reason: str) -> None:
        self._detach(registration.service_id)

    # Targets.

    def _observe(self, service_id: str) -> None:
        """Find out whether the facts of a service are wanted, and whether they are due."""
        advertisement = self._permitted(service_id)
        if advertisement is None:
            self._detach(service_id)
            return
        wanted = self._attach(service_id, find_target(advertisement))
        if wanted is not None:
            self._request(wanted)

    def _permitted(self, service_id: str) -> Advertisement | None:
        """Return the advertisement of a live service if its host may be connected to, or None."""
        service = self._registry.service(service_id)
        if service is None:
            return None
        is_direct = service.standing is not Standing.INDIRECT
        advertisement = service.advertisement
        return advertisement if may_probe(advertisement.endpoint, is_direct, self._named_networks) else None

    def _attach(self, service_id: str, target: Target) -> _Wanted | None:
        """Add a service to its target. Return the target, or None if there are too many."""
        present = self._by_service.get(service_id)
        if present is not None and present.target == target:
            return present
        self._detach(service_id)
        wanted = self._wanted.get(target)
        if wanted is None:
            if len(self._wanted) >= MAX_TARGETS:
                self.skipped += 1
                return None
            wanted = self._wanted[target] = _Wanted(target)
        elif facts := self._facts(wanted):
            self._registry.set_facts(service_id, facts)
        wanted.service_ids.append(service_id)
        self._by_service[service_id] = wanted
        return wanted

    def _detach(self, service_id: str) -> None:
        """Remove a service from its target."""
        wanted = self._by_service.pop(service_id, None)
        if wanted is None:
            return
        wanted.service_ids.remove(service_id)
        if not wanted.service_ids:
            del self._wanted[wanted.target]
            self._schedule.discard(wanted)
            self._first.discard(wanted.target)
            self._again.discard(wanted.target)

    def _facts(self, wanted: _Wanted) -> Mapping[str, str]:
        """Return the facts of a target as far as they are known."""
        return self._registry.facts(wanted.service_ids[0])

    def _source(self, wanted: _Wanted) -> tuple[Source, Edition] | None:
        """
        Return the document of a target, and the edition that is announced, or None if it may not be fetched now.

        The first service decides: another one, with another LOCATION, does not cause another fetch.
        """
        for service_id in wanted.service_ids:
            advertisement = self._permitted(service_id)
            if advertisement is not None and find_target(advertisement) == wanted.target:
                return find_source(advertisement), self._edition(advertisement)
        return None

    # Times of the fetches.

    def _request(self, wanted: _Wanted) -> None:
        """Request a fetch if the document is another one than that of the latest attempt."""
        found = self._source(wanted)
        if found is None or wanted.fetching or found[1] == wanted.edition:
            return
        now, edition = self._reactor.seconds(), found[1]
        if wanted.edition == Edition(edition.location) and now < wanted.attempted_at + _SHORTEST_PAUSE:
            # The latest attempt was made before the version was known, such as that of a service of an earlier run.
            wanted.edition = edition
            return
        self._schedule_at(wanted, max(now, wanted.attempted_at + _SHORTEST_PAUSE))

    def _schedule_at(self, wanted: _Wanted, when: float) -> None:
        self._schedule.schedule(wanted, when)
        if self.running:
            self._due.request(self._schedule.next_due)

    def _take_due(self) -> None:
        for wanted in self._schedule.take_due(self._reactor.seconds()):
            (self._again if self._facts(wanted) else self._first).add(wanted.target)
        if self._schedule.next_due < math.inf:
            self._due.request(self._schedule.next_due)
        self._start_fetches()

    def _start_fetches(self) -> None:
        while self.running and len(self._fetching) < MAX_FETCHES and self._start_next():
            pass

    def _start_next(self) -> bool:
        """Start one fetch. Return False if there is none to start now."""
        now, is_waiting = self._reactor.seconds(), False
        queues = (self._again, self._first) if self._again_in_turn else (self._first, self._again)
        for queue in queues:
            target = queue.next(self._fetching)
            if target is None:
                continue
            if self._budget.take(now, first=queue is self._first):
                queue.take(target)
                self._again_in_turn = queue is self._first
                self._start(self._wanted[target])
                return True
            is_waiting = True
        if is_waiting:
            self._next.request(now + self._budget.wait(now))
        return False

    # Fetches.

    def _start(self, wanted: _Wanted) -> None:
        found = self._source(wanted)
        if found is None:
            # The standing of its claims is lower than before. A higher one will be observed.
            return
        source, edition = found
        wanted.fetching = True
        self._schedule.discard(wanted)
        host = wanted.target.host
        fetching: Deferred[None] = Deferred.fromCoroutine(self._describe(wanted, source, edition))
        if not fetching.called:
            self._fetching[host] = fetching
            fetching.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _describe(self, wanted: _Wanted, source: Source, edition: Edition) -> None:
        """Fetch a document, and process the result."""
        facts = None
        try:
            facts = await self._fetch(source)
            result = "ok"
        except CancelledError:
            self._fetching.pop(wanted.target.host, None)
            raise
        except DescriptionError as error:
            result = error.kind
            self.log.debug("No facts from {url}{path}: {error}", url=source.url, path=source.path, error=error)
        except Exception:
            result = "internal"
            if not self.fetches[result]:
                self.log.failure("Failed to process the document at {url}{path}", url=source.url, path=source.path)
        self.fetches[result] += 1
        self._fetching.pop(wanted.target.host, None)
        wanted.fetching = False
        if self._wanted.get(wanted.target) is wanted:
            self._finish(wanted, edition, facts)
        self._next.request(self._reactor.seconds())

    def _finish(self, wanted: _Wanted, edition: Edition, facts: Mapping[str, str] | None) -> None:
        """
        Give the facts to the services of a device, and schedule the next fetch.

        :param facts: The facts, or None after a failure: the services keep those that they have.
        """
        now = self._reactor.seconds()
        wanted.attempted_at, wanted.edition = now, edition
        if facts is None:
            self._schedule_at(wanted, now + _HOUR)
        else:
            for service_id in wanted.service_ids:
                self._registry.set_facts(service_id, facts)
            if edition.version is None:
                self._schedule_at(wanted, now + _DAY)
        self._request(wanted)
