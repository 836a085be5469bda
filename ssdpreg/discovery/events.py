"""Events of the table of live services, and snapshots of its content."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.standing import Standing
from ssdpreg.values import plain_members, value

#: Reason why a service is no longer live: its device sent a byebye; max-age and the grace period passed; the table was
#: full and another service needed the place; no search term of the operator matches it any more.
Reason = Literal["byebye", "expired", "evicted", "unconfigured"]
#: Reason why a registration is removed from the backend. ``stopped``: this daemon stops and removes all of them.
RemovalReason = Reason | Literal["stopped"]


@value(frozen=True, slots=True)
class Appeared:
    """
    A service is live that was not live before.

    :ivar standing: Standing of its claim.
    """

    advertisement: Advertisement
    standing: Standing = Standing.DIRECT


@value(frozen=True, slots=True)
class Changed:
    """
    A live service has another LOCATION, other facts after a restart of its device, another BOOTID or CONFIGID, or a
    higher standing.

    :ivar standing: Standing of its claim.
    """

    advertisement: Advertisement
    standing: Standing = Standing.DIRECT


@value(frozen=True, slots=True)
class Left:
    """
    A service is no longer live.

    :ivar reason: See :data:`Reason`.
    """

    advertisement: Advertisement
    reason: Reason


@plain_members
class SearchUrgency(IntEnum):
    """Urgency of a search, the highest first."""

    #: The holder of a service sent a byebye, which may be forged: the service leaves in 2 s.
    BYEBYE = 0
    #: Another claim was received.
    CLAIM = 1
    #: A new claim has to be confirmed before its service is live.
    NEW = 2
    #: A sender without a claim sent a byebye.
    UNFOUNDED = 3


@value(frozen=True, slots=True)
class SearchNeeded:
    """
    A search for a service is needed. The replies decide whether the current claim stays.

    :ivar within: Seconds until a reply is too late.
    :ivar hosts: Hosts to search by unicast, besides the group.
    :ivar urgency: Urgency among the searches that wait for the budget.
    :ivar is_tracked: Whether the service is in the table, and waits for the search.
    :ivar scheduled: Whether the daemon's own schedule caused it. Unsolicited datagrams cause all others, and their
        rate is limited.
    :ivar hosts_only: Whether only the hosts are searched, because they have just replied to a search of the group.
    :ivar repeated: Whether a scheduled search is repeated, because there was no reply to the one before.
    """

    advertisement: Advertisement
    within: float
    hosts: tuple[str, ...] = ()
    scheduled: bool = False
    repeated: bool = False
    urgency: SearchUrgency = SearchUrgency.CLAIM
    is_tracked: bool = True
    hosts_only: bool = False


Event = Appeared | Changed | Left | SearchNeeded


@dataclass(frozen=True, slots=True)
class ClaimState:
    """
    Snapshot of one claim about a service.

    :ivar location: Claimed LOCATION.
    :ivar sender: IP address of its owner.
    :ivar standing: Standing of the claim.
    :ivar expires_at: Time of expiry if it is not received again, in seconds of the table's clock.
    :ivar began_at: Time of the first reception, same clock.
    :ivar received_at: Time of the latest reception, same clock.
    :ivar answers: Whether the LOCATION's host replied to the latest search.
    """

    location: str
    sender: str
    standing: Standing
    expires_at: float
    began_at: float = 0.0
    received_at: float = 0.0
    answers: bool = False


@dataclass(frozen=True, slots=True)
class TrackedState:
    """
    Snapshot of a service in the table with its pending decisions, for diagnosis.

    :ivar advertisement: Advertisement of the current claim.
    :ivar live: Whether it is live. A service whose claim has too low a standing is not.
    :ivar claims: The current claim, and the other ones.
    :ivar leaves_at: Time at which a byebye takes effect, infinite without one.
    :ivar contested: Whether searches decide between claims now.
    :ivar move_at: Time of a move that waits, infinite without one.
    """

    advertisement: Advertisement
    live: bool
    claims: tuple[ClaimState, ...]
    leaves_at: float
    contested: bool
    move_at: float


@value(frozen=True, slots=True)
class LiveService:
    """
    Snapshot of a live service.

    :ivar sender: IP address that announced it.
    :ivar appeared_at: Time of the first reception or of the adoption, in seconds of the table's clock.
    :ivar received_at: Time of the latest reception, same clock.
    :ivar expires_at: Time of expiry if it is not received again, same clock.
    :ivar standing: Standing of its claim.
    :ivar interface: Interface of the latest reception; empty for a service of an earlier run that was not received yet.
    """

    advertisement: Advertisement
    sender: str
    appeared_at: float
    received_at: float
    expires_at: float
    standing: Standing = Standing.DIRECT
    interface: str = ""
