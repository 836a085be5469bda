"""Decision of a contest between the claims about one service. Pure."""

from __future__ import annotations

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService


def decide(service: TrackedService, now: float, trust: Standing) -> Claim:
    """
    Return the claim that wins the contest.

    The first of these that exists wins: the claim of the home, if the home replied or announced the service, or if
    it has never replied, and its announcement began the contest and is the second since it lost the service; a claim
    whose host replied; the claim of the home, if its announcement began the contest; another LOCATION of the same host
    that the holder announced twice; a claim of a higher standing than the current one; the current claim.

    :param trust: Lowest standing of a claim that can win.
    """
    contest = service.contest
    assert contest is not None
    claims = [claim for claim in service.claims(now) if not claim.superseded and claim.standing >= trust]
    answered = [claim for claim in claims if claim.advertisement.location in contest.answered]
    announced = [claim for claim in claims if claim.advertisement.location in contest.announced]
    # A device that never replies to searches, and sends each announcement once, is not received during the rounds.
    returned = [
        claim
        for claim in claims
        if claim.sender == claim.host == service.home
        and claim.standing > Standing.INDIRECT
        and claim.received_at >= contest.began_at
    ]
    if contest.searched:
        for claim in claims:
            if claim not in answered:
                claim.miss_search()
    # The silence of a home that has replied before shows that it is off, unless it has just announced itself.
    insisting = [
        claim
        for claim in returned
        if (claim.received_at > contest.began_at and claim.received_at > claim.replied_at)
        or (claim.previous_at >= service.moved_at and not claim.has_replied)
    ]
    homes = [claim for claim in (*answered, *announced) if claim.host == service.home]
    for alive in (homes or insisting, answered, returned):
        if alive:
            return service.claim if service.claim in alive else max(alive, key=lambda claim: claim.received_at)
    if contest.needs_evidence:
        claims = [claim for claim in claims if claim is service.claim or claim in announced]
    # Since the holder announced the current LOCATION, it has announced another one of the same host twice.
    repeated = [
        claim
        for claim in claims
        if claim.sender == service.claim.sender
        and claim.host == service.claim.host
        and claim.previous_at > service.claim.received_at
    ]
    if repeated:
        return max(repeated, key=lambda claim: claim.received_at)
    best = max(claims, key=lambda claim: claim.standing, default=service.claim)
    if best.standing > service.claim.standing:
        return best
    if service.claim.received_at >= contest.began_at:
        return service.claim
    # A device that never replies to searches cannot win by a reply. It wins if it announces itself, and has done so
    # more often than the current claim, or if the current claim was not announced in time.
    late = service.claim.silence(now) >= service.claim.expected_silence
    announcing = [
        claim
        for claim in claims
        if claim.standing >= max(service.claim.standing, Standing.DIRECT)
        and claim.received_at >= contest.began_at
        and (late or claim.announcements > service.claim.announcements)
    ]
    return max(announcing, key=lambda claim: claim.received_at, default=service.claim)
