"""Decisions about services that are due. Pure: time is an argument."""

from __future__ import annotations

import math

from ssdpreg.discovery.contests import ROUND, Contest
from ssdpreg.discovery.decision import decide
from ssdpreg.discovery.departures import Departures
from ssdpreg.discovery.events import Event, SearchNeeded, SearchUrgency
from ssdpreg.discovery.holds import Holds
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices

#: Longest time, in seconds, until a service whose expiry is held is examined again.
_HELD_PAUSE = 30.0
#: Searches for a device that answers searches, or whose service was adopted, between the end of a hold and the expiry.
_ROUNDS_AFTER_HOLD = 3


class DueDecisions:
    """Decisions about services that the schedule has taken out."""

    def __init__(self, services: TrackedServices, moves: Moves, departures: Departures, holds: Holds) -> None:
        self._services, self._moves, self._departures, self._holds = services, moves, departures, holds

    def examine(self, service: TrackedService, now: float) -> list[Event]:
        """Take the decisions that are due, and schedule the next one."""
        claim = service.claim
        events: list[Event] = []
        if service.leaves_at <= now < service.bye_until and service.awaits:
            self._departures.wait_for_reply(service, now)
        elif service.leaves_at <= now:
            return self._departures.end_claim(service, "byebye", now)
        if claim.expires_at <= now and self._holds.until(service) <= now:
            if not service.rounds_after_hold:
                return self._departures.end_claim(service, "expired", now)
            service.rounds_after_hold -= 1
            self._services.schedule(service, now + ROUND)
            return [SearchNeeded(claim.advertisement, ROUND, (claim.searched_host,), scheduled=True, repeated=True)]
        if service.move_at <= now and service.contest is None:
            events += self._make_waiting_move(service, now)
        elif service.contest is not None and service.contest.ends_at <= now:
            events += self._end_round(service, service.contest, now)
        elif service.deferred_at < math.inf and service.leaves_at == math.inf and service.may_contest(now):
            events += self._begin_deferred_contest(service, now)
        elif service.doubt is not None and service.doubt.due <= now:
            events += self._moves.check_host(service, service.doubt, now)
        elif service.search_is_due(now):
            within = max(claim.expires_at - now, ROUND)
            repeated = service.begin_search(now)
            events.append(
                SearchNeeded(claim.advertisement, within, (claim.searched_host,), scheduled=True, repeated=repeated)
            )
            if claim.answers and self._holds.until(service) > now:
                # The hold may end shortly before the expiry, too late for another repetition.
                service.rounds_after_hold = _ROUNDS_AFTER_HOLD
        when = service.due
        if claim.expires_at <= now and service.claim is claim:
            when = min(self._holds.until(service), now + _HELD_PAUSE, service.decision_due)
            # The next reception is the reason to examine it earlier.
            claim.latest = None
            # The search at the end of the hold may be lost. An adopted service may have replied to the earlier run.
            service.rounds_after_hold = _ROUNDS_AFTER_HOLD if claim.answers or claim.is_adopted else 0
        self._services.schedule(service, when)
        return events

    def _make_waiting_move(self, service: TrackedService, now: float) -> list[Event]:
        """Make a move that the budget for moves permits now."""
        following, service.next_move, service.move_at = service.next_move, None, math.inf
        # Its sender may have ended it meanwhile.
        if following in service.others and following.expires_at > now:
            return self._moves.move(service, following, now)
        service.claim.superseded = False
        return []

    def _end_round(self, service: TrackedService, contest: Contest, now: float) -> list[Event]:
        """Begin the next round of a contest, or decide it."""
        if not contest.searching:
            # Nothing was searched for: the current claim stays.
            self._moves.end_contest(service)
            return []
        if contest.next_round(now):
            urgency = SearchUrgency.CLAIM if service.others else SearchUrgency.UNFOUNDED
            return [self._services.searches.request(service, ROUND, now, urgency)]
        winner = decide(service, now, self._services.trust)
        service.contest = None
        return [] if winner is service.claim else self._moves.move(service, winner, now)

    def _begin_deferred_contest(self, service: TrackedService, now: float) -> list[Event]:
        """Begin the contest that had to wait for the end of the pause, if a claim was received that is its reason."""
        service.drop_expired(now)
        if any(other.received_at >= service.deferred_at for other in service.others):
            return self._moves.begin_contest(service, now)
        service.deferred_at = math.inf
        return []
