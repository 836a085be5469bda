"""Departures of services: byebye, and the end of the current claim. Pure: time is an argument."""

from __future__ import annotations

import math

from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.events import Event, Reason, SearchUrgency
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices

#: A device that starts sends byebye, then alive: UPnP Device Architecture 2.0, section 1.2.2. The service must survive
#: that, so a byebye takes effect after this many seconds.
_BYE_DELAY = 2.0
#: Longest time, in seconds, from a byebye until it takes effect, if the search by which the device can void it has to
#: wait for the budget.
_LATEST_BYE = 5.0


class Departures:
    """Processing of byebyes, and of current claims that end."""

    def __init__(self, services: TrackedServices, moves: Moves) -> None:
        self._services, self._moves = services, moves

    def bye(self, service: TrackedService, sender: str, now: float, interface: str = "") -> list[Event]:
        """
        Process the byebye of a sender for a service.

        :param interface: Interface that received it, empty if it is unknown.
        """
        events: list[Event] = []
        remaining = tuple(claim for claim in service.others if not claim.owns(sender, interface))
        service.claim.latest = None
        if service.claim.owns(sender, interface):
            if service.leaves_at == math.inf:
                # The byebye may be forged: a reply of the device within the delay voids it.
                events.append(self._services.searches.request(service, _BYE_DELAY, now, SearchUrgency.BYEBYE))
                service.bye_until = now + _LATEST_BYE
            service.leaves_at = min(service.leaves_at, now + _BYE_DELAY)
        elif len(remaining) == len(service.others) and service.may_contest(now):
            # The sender has no claim on the service.
            events += self._moves.begin_contest(service, now, SearchUrgency.UNFOUNDED)
        service.others = remaining
        self._services.schedule(service)
        return events

    def wait_for_reply(self, service: TrackedService, now: float) -> None:
        """Wait for the reply that would void a byebye: the search was sent now, or is about to be sent."""
        service.leaves_at = min(now + _BYE_DELAY, service.bye_until)

    def end_claim(self, service: TrackedService, reason: Reason, now: float) -> list[Event]:
        """
        End the current claim.

        Another claim takes its place at once if its host replied to the search that the byebye or the silence caused,
        or announced the service after it, or if it waits only for the budget for moves. Otherwise the service leaves:
        an announcement that is received later creates it again.
        """
        valid = [
            claim
            for claim in service.others
            if not claim.superseded and claim.expires_at > now and claim.standing >= self._services.trust
        ]
        asked_at = max(service.asked_at, service.claim.received_at)
        # Since the byebye; or since the silence became long, or the contest had its reason.
        if reason == "byebye":
            since = service.bye_until - _LATEST_BYE
        else:
            since = min(service.claim.search_at, service.contest.began_at if service.contest else math.inf)
        candidates = [claim for claim in valid if claim.replied_at >= asked_at] or [
            claim for claim in valid if claim is service.next_move or (claim.is_direct and claim.received_at >= since)
        ]
        if not candidates:
            return self._services.remove(service, reason, now)
        latest = max(claim.received_at for claim in candidates)
        # The home may be an address that the device left long ago.
        home = [claim for claim in candidates if claim.host == service.home and claim.received_at >= latest - ROUND]
        best = max(home or candidates, key=lambda claim: claim.received_at)
        service.claim.end()
        events = self._moves.move_now(service, best, now)
        self._services.schedule(service)
        return events
