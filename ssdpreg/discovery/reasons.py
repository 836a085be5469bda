"""Reasons to begin a contest, or to check a host, because a service was claimed at another LOCATION. Pure."""

from __future__ import annotations

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.contests import ROUND
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.tracked import TrackedService


def is_doubtful(service: TrackedService, claim: Claim, now: float) -> bool:
    """Return whether another claim, which is not new, is a reason to begin a contest."""
    current = service.claim
    # An indirect announcement of the home is not the home's own. It cannot win against a direct claim.
    if claim.host == service.home != current.host and claim.standing >= min(current.standing, Standing.DIRECT):
        return True
    # A device with two LOCATIONs announces both. A forgery, and an address that the device left, are not repeated.
    if current.received_at < claim.previous_at:
        return True
    if claim.sender == current.sender:
        return False
    # One device with two addresses: UDA, 1.2.2. A forgery with the number of the device causes fewer searches.
    is_same_boot = bool(claim.boot_id) and claim.boot_id == current.boot_id
    return (
        (claim.standing > current.standing and not (is_same_boot and current.standing))
        or current.received_at < service.contested_at
        or current.silence(now) > current.expected_silence / 2
    )


def home_is_there(service: TrackedService, claim: Claim, now: float) -> bool:
    """Return whether the home holds the service and was received lately, while another host claims the service."""
    return service.claim.host == service.home != claim.host and service.claim.silence(now) <= ROUND


def may_have_ceased(service: TrackedService, claim: Claim) -> bool:
    """
    Return whether a message of another host is a reason to check the current host, which may have gone a moment ago.

    The silence of a home that never replied to searches shows nothing.
    """
    current = service.claim
    return claim.sender != current.sender and (current.host != service.home or current.has_replied)
