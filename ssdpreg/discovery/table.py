"""
Table of live services. Pure: time is an argument, in seconds of any steady clock.

A service is one type that a device offers. Normally one host claims one LOCATION for it. A second claim can be a second
address of the same device, a move that was not announced, or a forgery. Such a service is contested, and search rounds
decide: see :mod:`ssdpreg.discovery.contests`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from ssdpreg.discovery.adoption import Adoptions
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.announcements import Announcements
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.departures import Departures
from ssdpreg.discovery.due import DueDecisions
from ssdpreg.discovery.events import ClaimState, Event, LiveService, TrackedState
from ssdpreg.discovery.holds import Holds
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices
from ssdpreg.ssdp.reception import Reception


class AdvertisementTable:
    """
    Table of live services.

    Every method that takes ``now`` returns the events that result from its call.

    :param limit: Number of services in all, so that the network cannot fill the memory.
    :param limit_per_sender: Number of services that one sender may create.
    :param trust: Lowest standing of a claim that makes a service live.
    :ivar admit: Called as ``admit(sender, now)`` before a service is created. If it returns False, the service is
        rejected.
    """

    def __init__(self, limit: int = 100_000, limit_per_sender: int = 4096, trust: Standing = Standing.INDIRECT) -> None:
        self._services = TrackedServices(limit, limit_per_sender, trust)
        self._moves = Moves(self._services)
        self._announcements = Announcements(self._services, self._moves)
        self._departures = Departures(self._services, self._moves)
        self._holds = Holds()
        self._adoptions = Adoptions(self._services, self._moves, self._departures)
        self._due = DueDecisions(self._services, self._moves, self._departures, self._holds)

    def __len__(self) -> int:
        return self._services.live

    def __iter__(self) -> Iterator[LiveService]:
        for service in self._services:
            if service.live:
                yield _snapshot(service)

    def get(self, device_id: str, urn: str) -> LiveService | None:
        """Return the live service of a device and URN, or None."""
        service = self._services.find(device_id, urn)
        return None if service is None or not service.live else _snapshot(service)

    def states(self, device_id: str, urn: str | None) -> list[TrackedState]:
        """
        Return snapshots of the services of a device, for diagnosis.

        :param urn: URN of one service, or None for all services of the device.
        """
        if urn is None:
            return [_state(service) for service in self._services.of_device(device_id)]
        service = self._services.find(device_id, urn)
        return [] if service is None else [_state(service)]

    def other_claims(self, device_id: str, urn: str, now: float) -> Sequence[ClaimState]:
        """Return the claims of other LOCATIONs of a service. A LOCATION that the device itself left is none."""
        service = self._services.find(device_id, urn)
        if service is None or not service.others:
            return ()
        return [_claim_state(each) for each in service.others if each.expires_at > now and not each.superseded]

    @property
    def tracked(self) -> int:
        """Number of all services, including those whose claim has too low a standing to be live."""
        return len(self._services)

    @property
    def evictions(self) -> int:
        """Number of services that were evicted when the table was full."""
        return self._services.capacity.evictions

    @property
    def displaced_claims(self) -> int:
        """Number of claims that gave way because services had too many claims besides their current ones."""
        return self._services.other_claims.displaced

    @property
    def homes(self) -> int:
        """Number of homes that are kept of services that have left."""
        return len(self._services.homes)

    @property
    def byebyes(self) -> int:
        """Number of byebyes that are kept for the adoption of services."""
        return len(self._adoptions.byebyes)

    @property
    def moves(self) -> int:
        """Number of moves of services."""
        return self._moves.moves

    @property
    def contests(self) -> int:
        """Number of contests about services."""
        return self._moves.contests

    @property
    def next_due(self) -> float:
        """Earliest time at which :meth:`expire` has something to do."""
        return self._services.next_due

    @property
    def admit(self) -> Callable[[str, float], bool]:
        return self._announcements.admit

    @admit.setter
    def admit(self, admit: Callable[[str, float], bool]) -> None:
        self._announcements.admit = admit

    def observe(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """
        Process an advertisement.

        :raise RejectedError: If a limit is reached, or if the sender may not prolong the claim.
        """
        service = self._services.find_advertised(advertisement)
        if service is None:
            self._adoptions.byebyes.discard(advertisement.device_id, advertisement.urn)
            return self._announcements.create(advertisement, reception, now)
        events = self._announcements.process(service, advertisement, reception, now)
        self._services.schedule(service)
        return events

    def find(self, advertisement: Advertisement) -> TrackedService | None:
        """Return the service that an advertisement is about, or None."""
        return self._services.find(advertisement.device_id, advertisement.urn)

    def finder(self) -> Callable[[str, str], TrackedService | None]:
        """Return a function that returns the service of a device and URN, or None, for a look at all services."""
        return self._services.find

    def search_for_rejected(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """
        Search the host of a service that :meth:`observe` rejected because of the number of services of its sender.

        If the host replies, the service may replace one whose host has never replied. The searches have a budget.
        """
        return self._announcements.search_for_rejected(advertisement, reception, now)

    def bye(self, device_id: str, urn: str | None, sender: str, now: float, interface: str = "") -> list[Event]:
        """
        Process the departure of a service, or of all services of a device.

        :param urn: As in :class:`~ssdpreg.discovery.interpret.Departure`.
        :param interface: Interface that received it, empty if it is unknown.
        """
        self._adoptions.byebyes.remember(device_id, urn, sender, now)
        if urn is None:
            services = list(self._services.of_device(device_id))
        else:
            services = [service for service in [self._services.find(device_id, urn)] if service is not None]
        return [event for service in services for event in self._departures.bye(service, sender, now, interface)]

    def change_boot_id(self, device_id: str, boot_id: str, next_boot_id: str, sender: str) -> None:
        """
        Process that a device goes on with another BOOTID: the announcement that follows is no restart.

        :param boot_id: Present BOOTID of the claims that the sender owns.
        """
        for service in self._services.of_device(device_id):
            for claim in (service.claim, *service.others):
                if claim.sender == sender and claim.boot_id == boot_id:
                    claim.boot_id = next_boot_id

    def awaits(self, target: str) -> bool:
        """Return whether a service waits for a search that has not been sent."""
        return target in self._services.searches

    def search_sent(self, target: str, now: float) -> None:
        """Process that a search has been sent: the decisions that waited for it take their time from now."""
        for service in self._services.searches.sent(target):
            if service.contest is not None:
                service.contest.begin_round(now)
            if service.leaves_at < math.inf:
                self._departures.wait_for_reply(service, now)
            self._services.schedule(service)

    def adopt(
        self,
        advertisement: Advertisement,
        now: float,
        remaining: float | None = None,
        standing: Standing = Standing.INDIRECT,
    ) -> list[Event]:
        """
        Add a service that was registered by an earlier run, or by another daemon.

        If the service is in the table at another LOCATION, it changes to the registered one, and a contest decides
        between them. The registered one stays if no host replies to the searches or announces the service.

        If its device has sent a byebye before, the service leaves as it does after any byebye.

        :param remaining: Seconds until it expires. None means that they are not known: the service then has the full
            lifetime of its advertisement, and at least a minute, to be received.
        :param standing: Standing of its claim at that time, as far as it is known. It was live, so it had at least the
            lowest standing that makes a service live.
        """
        return self._adoptions.adopt(advertisement, now, remaining, standing)

    def reassign(self, match: Callable[[str], SearchTerm | None], now: float) -> Iterator[list[Event]]:
        """
        Apply a change of the search terms, one service at a time: a large table takes seconds.

        :param match: Returns the search term that now matches an announced type.
        :return: Events of each affected service.
        """
        for service in list(self._services):
            if service.removed:
                continue
            advertisement = service.claim.advertisement
            term = match(advertisement.nt)
            if term == advertisement.term:
                continue
            events = self._services.remove(service, "unconfigured", now)
            if term is not None:
                service.claim.advertisement = replace(advertisement, term=term, urn=term.identity(advertisement.nt))
                # Another version of the same type may have been added by this term already.
                if self._services.find_advertised(service.claim.advertisement) is None:
                    events += self._services.add(service.claim, now)
            yield events

    def hold(self, until: float, interface: str = "") -> None:
        """
        Prevent services from expiring before a time. Called if the daemon could not receive or process datagrams.

        :param until: Time of the table's clock, infinite for an interface that is down.
        :param interface: Interface whose services are concerned; empty for all.
        """
        self._holds.hold(until, interface)

    def add_interruption(self, began_at: float, ended_at: float, interface: str = "") -> None:
        """
        Record that the daemon received nothing for some time. It does not count for devices that never reply.

        :param interface: Interface that did not receive; empty for all.
        """
        self._holds.add_interruption(began_at, ended_at, interface)

    def expire(self, now: float, limit: int = 1000) -> list[Event]:
        """
        Take decisions that are due.

        :param limit: Number of services to decide about at most. Further ones stay due.
        """
        due = list(islice(self._services.take_due(now), limit))
        events = self._holds.check_mass_expiry(due, self._services, now)
        for service in due:
            events += self._due.examine(service, now)
        return events


def _state(service: TrackedService) -> TrackedState:
    return TrackedState(
        service.claim.advertisement,
        service.live,
        tuple(_claim_state(claim) for claim in (service.claim, *service.others)),
        service.leaves_at,
        service.contest is not None,
        service.move_at,
    )


def _claim_state(claim: Claim) -> ClaimState:
    return ClaimState(
        claim.advertisement.location,
        claim.sender,
        claim.standing,
        claim.expires_at,
        claim.began_at,
        claim.received_at,
        claim.answers,
    )


def _snapshot(service: TrackedService) -> LiveService:
    claim = service.claim
    return LiveService(
        claim.advertisement,
        claim.sender,
        service.appeared_at,
        claim.received_at,
        claim.expires_at,
        claim.standing,
        claim.interface,
    )
