"""Contests about services and their moves from one claim to another. Pure: time is an argument."""

from __future__ import annotations

import math

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.doubts import Doubt
from ssdpreg.discovery.events import Event, SearchUrgency
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices, verification


class Moves:
    """
    Contests about services and their moves from one claim to another.

    :ivar moves: Number of moves.
    :ivar contests: Number of contests.
    """

    def __init__(self, services: TrackedServices) -> None:
        self._services = services
        self.moves = 0
        self.contests = 0

    def begin_contest(
        self, service: TrackedService, now: float, urgency: SearchUrgency = SearchUrgency.CLAIM
    ) -> list[Event]:
        """Begin a contest."""
        service.claim.latest = None
        service.begin_contest(now)
        self.contests += 1
        return [self._services.searches.request(service, ROUND, now, urgency)]

    def end_contest(self, service: TrackedService) -> None:
        """End a contest, and the wait for its search."""
        service.contest = None
        self._services.searches.cancel_needless(service)

    def doubt(self, service: TrackedService, since: float, now: float) -> None:
        """
        Doubt whether the host of the current claim is still there, unless another decision is pending.

        :param since: Time since which a message of that host shows that it is there.
        """
        if service.contest is None and service.leaves_at == service.deferred_at == math.inf:
            if service.doubt is None:
                service.doubt = Doubt()
            service.doubt.begin(since, now)

    def check_host(self, service: TrackedService, doubt: Doubt, now: float) -> list[Event]:
        """Search the doubted host. If it has not replied after that, request a contest."""
        claim = service.claim
        if doubt.examine(claim.received_at, now):
            return [verification(claim)]
        if claim.received_at <= doubt.since:
            service.deferred_at = min(service.deferred_at, doubt.since)
        doubt.end(now)
        return []

    def move(self, service: TrackedService, claim: Claim, now: float) -> list[Event]:
        """Make a claim the current one, at once or when the budget for moves permits it."""
        self.end_contest(service)
        if claim.standing < self._services.trust:
            return []
        if now < service.may_move_at():
            service.next_move, service.move_at = claim, service.may_move_at()
            return []
        return self.move_now(service, claim, now)

    def move_now(self, service: TrackedService, claim: Claim, now: float) -> list[Event]:
        """Make a claim the current one at once, regardless of the budget for moves."""
        service.set_current(claim, now)
        self.moves += 1
        self._services.capacity.update(service)
        return self._services.publish(service, now, changed=True)
