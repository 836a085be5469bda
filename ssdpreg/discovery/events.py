"""Events of the table of live services, and snapshots of its content."""

from __future__ import annotations

from dataclasses import dataclass

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.standing import Standing


@dataclass(frozen=True, slots=True)
class Appeared:
    """
    A service is live that was not live before.

    :ivar standing: Standing of its claim.
    """

    advertisement: Advertisement
    standing: Standing = Standing.DIRECT


@dataclass(frozen=True, slots=True)
class Changed:
    """
    A live service has another LOCATION, other facts after a restart of its device, or a higher standing.

    :ivar standing: Standing of its claim.
    """

    advertisement: Advertisement
    standing: Standing = Standing.DIRECT


@dataclass(frozen=True, slots=True)
class Left:
    """
    A service is no longer live.

    :ivar reason: ``byebye``, ``expired``, ``evicted`` or ``unconfigured``.
    """

    advertisement: Advertisement
    reason: str


@dataclass(frozen=True, slots=True)
class SearchNeeded:
    """
    A search for a service is needed, whose replies decide how the table goes on.

    :ivar within: Seconds until a reply is too late.
    :ivar hosts: Hosts to search by unicast, besides the group.
    :ivar scheduled: Whether the daemon's own schedule caused it. Unsolicited datagrams cause all others, which have a
        budget.
    """

    advertisement: Advertisement
    within: float
    hosts: tuple[str, ...] = ()
    scheduled: bool = False


Event = Appeared | Changed | Left | SearchNeeded


@dataclass(frozen=True, slots=True)
class LiveService:
    """
    Snapshot of a live service.

    :ivar sender: IP address that announced it.
    :ivar appeared_at: Time of the first reception or of the adoption, in seconds of the table's clock.
    :ivar received_at: Time of the latest reception, same clock.
    :ivar expires_at: Time of expiry if it is not received again, same clock.
    :ivar standing: Standing of its claim.
    """

    advertisement: Advertisement
    sender: str
    appeared_at: float
    received_at: float
    expires_at: float
    standing: Standing = Standing.DIRECT
