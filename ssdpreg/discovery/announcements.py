"""Processing of advertisements: new services, renewed claims, and claims of another LOCATION. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.events import Event, SearchNeeded, SearchUrgency
from ssdpreg.discovery.hosts import is_link_local_ipv6
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.rates import SenderBuckets
from ssdpreg.discovery.reasons import home_is_there, is_doubtful, may_have_ceased
from ssdpreg.discovery.standing import Standing, standing_of
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.discovery.tracked_services import TrackedServices, verification
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Reception

#: Shortest time, in seconds, between two changes of the facts of a service because of another BOOTID.
_RESTART_PAUSE = 10.0
#: Seconds after its appearance in which a service at a link-local IPv6 address moves to another address of the device
#: as soon as that is announced.
_PREFERENCE = 600.0
#: Searches in a second, and burst, for new services of a sender that has reached its number of services.
_SENDER_SEARCH_RATE = 0.1
_SENDER_SEARCH_BURST = 2.0


class Announcements:
    """
    Processing of advertisements.

    :ivar admit: See :class:`~ssdpreg.discovery.table.AdvertisementTable`.
    """

    def __init__(self, services: TrackedServices, moves: Moves) -> None:
        self._services, self._moves = services, moves
        # Searches of senders that have reached their number of services.
        self._sender_searches = SenderBuckets(_SENDER_SEARCH_RATE, _SENDER_SEARCH_BURST)
        self.admit: Callable[[str, float], bool] = lambda sender, now: True

    def create(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """
        Create the service of an advertisement.

        :raise RejectedError: If a limit is reached.
        """
        if not self.admit(reception.sender, now):
            raise RejectedError("too many new services at a time")
        claim = Claim(advertisement, reception, now)
        capacity = self._services.capacity
        replaces = capacity.is_full_for(reception.sender)
        evicted = capacity.admit(reception.sender, claim.standing, claim.answers, now)
        events = [] if evicted is None else self._services.remove(evicted, "evicted", now)
        events += self._services.add(claim, now)
        if claim.take_proof(reception, now):
            events.append(_proof(claim))
        # Only the decisions below need the service.
        service = self._services.find_advertised(advertisement) if replaces or reception.is_reply else None
        if replaces and service is not None and claim.standing is not Standing.CONFIRMED and not service.awaits:
            # A service whose host replies to a search of this host alone is never evicted.
            events.append(self._services.searches.request(service, ROUND, now, SearchUrgency.UNFOUNDED))
        elif service is not None and service.live and self._is_to_be_proven(claim, reception):
            events.append(verification(claim))
        return events

    def search_for_rejected(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        """See :meth:`~ssdpreg.discovery.table.AdvertisementTable.search_for_rejected`."""
        capacity, is_reply = self._services.capacity, reception.is_reply
        if (
            self._services.find_advertised(advertisement) is not None
            or standing_of(advertisement, reception) is not Standing.DIRECT
            or not (capacity.is_full_for(reception.sender) or (is_reply and capacity.is_full))
            or not self._sender_searches.take(reception.sender, now)
        ):
            return []
        hosts = (advertisement.host,)
        urgency = SearchUrgency.UNFOUNDED
        return [SearchNeeded(advertisement, ROUND, hosts, urgency=urgency, is_tracked=False, hosts_only=is_reply)]

    def process(
        self, service: TrackedService, advertisement: Advertisement, reception: Reception, now: float
    ) -> list[Event]:
        """
        Process an advertisement of a service in the table.

        :raise RejectedError: If a limit is reached.
        """
        if service.claim.advertisement.has_location_of(advertisement):
            return self._renew(service, advertisement, reception, now)
        return self._process_other(service, advertisement, reception, now)

    def _renew(
        self, service: TrackedService, advertisement: Advertisement, reception: Reception, now: float
    ) -> list[Event]:
        """Process an advertisement of the current LOCATION."""
        claim = service.claim
        owner, before = claim.sender, (claim.standing, claim.answers, claim.is_adopted)
        described = claim.advertisement
        if not claim.renew(advertisement, reception, now):
            return []
        proof: list[Event] = [_proof(claim)] if claim.take_proof(reception, now) else []
        if service.live and claim.standing < self._services.trust <= before[0]:
            # It has been announced from another address only, and its host has not replied for a long time.
            claim.end()
            return proof
        service.repeat_at = None
        if (claim.standing, claim.answers, claim.is_adopted) != before:
            self._services.capacity.update(service)
        standing = standing_of(advertisement, reception)
        if standing:
            if service.contest is not None:
                service.contest.add_evidence(advertisement.location, reply=reception.is_reply)
            service.cancel_outdated_move()
            if claim.host == service.home:
                # The home is alive: nothing remains to decide.
                self._moves.end_contest(service)
        changed = False
        if service.leaves_at < math.inf and (not reception.is_reply or standing):
            # The byebye was forged, or the device restarted, possibly with other software.
            service.leaves_at = math.inf
            self._services.searches.cancel_needless(service)
            changed = claim.advertisement != advertisement
            claim.advertisement = advertisement
        elif standing and claim.sender != owner:
            # Another host announced the LOCATION first. Its facts give way to those of the LOCATION's host.
            changed = claim.advertisement != advertisement
            claim.advertisement = advertisement
        changed = _process_edition(service, advertisement, described, reception, now) or changed
        is_repetition = claim.is_latest(advertisement, reception)
        claim.latest = None
        if _is_settled(service, standing, advertisement):
            claim.settle(advertisement, reception)
        if service.live and standing and not is_repetition and self._is_to_be_proven(claim, reception):
            proof.append(verification(claim))
        if not service.live and claim.standing < self._services.trust:
            is_reply = reception.is_reply and bool(standing)
            # The first reply does not wait for the end of the pause.
            if service.may_contest(now) or (is_reply and not before[1]):
                service.contested_at = now
                return [self._services.confirm(service, now, is_reply=is_reply)]
            return proof
        return self._services.publish(service, now, changed=changed) + proof

    def _is_to_be_proven(self, claim: Claim, reception: Reception) -> bool:
        """
        Return whether the host of a claim, which replied to a search of the group, has to reply to a search of this
        host alone.

        Only then is the service kept when a limit is reached: a reply to a search of the group may be forged.
        """
        return (
            reception.is_reply
            and claim.standing is Standing.DIRECT
            and self._services.capacity.is_crowded_for(reception.sender)
        )

    def _process_other(
        self, service: TrackedService, advertisement: Advertisement, reception: Reception, now: float
    ) -> list[Event]:
        """Process an advertisement of another LOCATION than the current one."""
        current = service.claim
        service.drop_expired(now)
        claim = service.claim_at(advertisement.location)
        is_new, was_superseded = claim is None, claim is not None and claim.superseded
        answered = claim is not None and claim.answers
        # A device with more addresses than claims are kept replies from all of them to the search of each contest.
        is_one_of_many = reception.is_reply and service.has_all_claims
        if claim is None:
            claim = Claim(advertisement, reception, now)
            if service.next_move is not None and service.next_move.sender == claim.sender:
                # The new claim replaces the move that waits for the budget.
                service.next_move.superseded = True
            if not service.add_other(claim):
                raise RejectedError("too many LOCATIONs of one service")
        else:
            # Another host can have claimed the LOCATION before its own host did. A link-local address of the device is
            # no such host.
            was_foreign = claim.standing is Standing.INDIRECT and not is_link_local_ipv6(claim.sender)
            if not claim.renew(advertisement, reception, now):
                return []
            is_new = was_foreign and claim.is_direct and not home_is_there(service, claim, now)
        if not service.live and claim.standing >= self._services.trust:
            return self._moves.move(service, claim, now)
        if not service.live and claim.answers and not answered:
            return [verification(claim)]
        if _is_preferred(service, claim, now):
            events = self._moves.move(service, claim, now)
            if service.claim is claim:
                service.pass_home()
            return events
        moves_itself = is_new and reception.sender == current.sender and _may_move_itself(current, claim)
        if service.next_move is not None and service.next_move.sender != reception.sender:
            # A contest has decided for another sender. The move waits for the budget.
            moves_itself = False
        if moves_itself and service.contest is None and claim.standing >= self._services.trust:
            current.superseded = True
            current.latest = None
            return self._moves.move(service, claim, now)
        if service.contest is not None:
            if standing_of(advertisement, reception):
                service.contest.add_evidence(advertisement.location, reply=reception.is_reply)
                if claim.host == service.home != current.host and claim.standing >= self._services.trust:
                    # The home lost the service, and is alive: the service returns to it.
                    return self._moves.move(service, claim, now)
            if claim.is_direct and (
                (is_new and not is_one_of_many) or (current.host != service.home and not reception.is_reply)
            ):
                # The replies of the contest may be those of an address that the device has left since then, or of a
                # host that has ceased to reply.
                service.deferred_at = min(service.deferred_at, now)
            # A contest that waits for a less urgent search has a better reason now.
            return (
                [self._services.searches.request(service, ROUND, now)]
                if is_new and not service.contest.searching
                else []
            )
        if is_new or was_superseded or is_doubtful(service, claim, now):
            if service.leaves_at == math.inf and service.may_contest(now):
                return self._moves.begin_contest(service, now)
            if claim.host == service.home and claim.is_direct:
                # The home is alive: a decision for another host, which waits for the budget, is outdated.
                service.cancel_move()
            if (is_new and not is_one_of_many) or was_superseded or not reception.is_reply:
                # The contest begins after the pause. Any other reply belongs to the search of the contest before.
                service.deferred_at = min(service.deferred_at, now)
        elif standing_of(advertisement, reception) is not Standing.INDIRECT and may_have_ceased(service, claim):
            # The addresses of one device reply within a round.
            self._moves.doubt(service, now - ROUND if reception.is_reply else now, now)
        return []


def _proof(claim: Claim) -> SearchNeeded:
    """Return a search for the host of a claim that another address of the link announced."""
    return SearchNeeded(claim.advertisement, ROUND, (claim.host,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False)


def _process_edition(
    service: TrackedService, advertisement: Advertisement, described: Advertisement, reception: Reception, now: float
) -> bool:
    """
    Process the BOOTID and the CONFIGID of an advertisement that has renewed the current claim.

    The facts of a device that has restarted, possibly with other software, are replaced. The device may also describe
    itself in another way than before, which is a change that the registration does not show.

    :param described: Advertisement of the claim before this reception.
    :return: Whether there is a change to report.
    """
    claim = service.claim
    boot_id, config_id = _edition(advertisement, described)
    # A notice (``ssdp:update``) has announced a BOOTID that is no restart.
    is_other = config_id != described.config_id or boot_id not in (described.boot_id, claim.boot_id)
    is_owner = claim.sender == reception.sender
    # There is no BOOTID after an adoption.
    restarted = is_owner and bool(claim.boot_id and advertisement.boot_id) and claim.boot_id != advertisement.boot_id
    if (is_other or restarted) and now < service.restarted_at + _RESTART_PAUSE:
        return False
    if is_owner:
        claim.boot_id = advertisement.boot_id or claim.boot_id
    facts = claim.advertisement
    if restarted:
        service.restarted_at = now
        facts = advertisement
    if (boot_id, config_id) != (facts.boot_id, facts.config_id):
        facts = replace(facts, boot_id=boot_id, config_id=config_id)
    changed = is_other or claim.advertisement != facts
    claim.advertisement = facts
    return changed


def _edition(advertisement: Advertisement, before: Advertisement) -> tuple[str, int | None]:
    """
    Return the BOOTID and the CONFIGID of an advertisement. Some replies to searches have neither.

    :param before: Advertisement that has the present ones.
    """
    config_id = before.config_id if advertisement.config_id is None else advertisement.config_id
    return advertisement.boot_id or before.boot_id, config_id


def _is_preferred(service: TrackedService, claim: Claim, now: float) -> bool:
    """Return whether a service at a link-local IPv6 address moves to another address that a device announces."""
    return (
        is_link_local_ipv6(service.claim.host)
        and not is_link_local_ipv6(claim.host)
        and claim.is_direct
        and service.contest is None
        and now < service.appeared_at + _PREFERENCE
    )


def _is_settled(service: TrackedService, standing: Standing, advertisement: Advertisement) -> bool:
    """
    Return whether the message that has just renewed the current claim only prolongs it when it is received again.

    :param standing: Standing of its reception.
    """
    claim = service.claim
    # Each reception of an adopted claim may end its adoption, and each one of a claim with neighbour addresses may
    # need a proof. A reception counts as an announcement by its standing.
    return (
        service.live
        and service.contest is None
        and not claim.is_adopted
        and claim.neighbours is None
        # Another BOOTID in the pause after a restart is processed when it is received again.
        and _edition(advertisement, claim.advertisement) == (claim.advertisement.boot_id, claim.advertisement.config_id)
        and (standing is Standing.INDIRECT) == (claim.standing is Standing.INDIRECT)
    )


def _may_move_itself(current: Claim, claim: Claim) -> bool:
    """Return whether a sender may move its service without a contest: on its own host, or at the same standing."""
    return claim.standing > Standing.INDIRECT or current.standing is Standing.INDIRECT
