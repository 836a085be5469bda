"""Advertisements of services, their lifetime, and the events of a table of advertisements."""

from __future__ import annotations

from dataclasses import dataclass

from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm

#: Seconds of validity of an advertisement without a readable max-age: the minimum that UPnP Device Architecture 2.0
#: (UDA), section 1.2.2, recommends.
DEFAULT_MAX_AGE = 1800
#: Seconds of validity that are accepted at most.
LONGEST_MAX_AGE = 86400

#: Many devices repeat an advertisement only after max-age has passed. A tenth more keeps them registered.
_GRACE = 0.1
#: Shortest and longest grace in seconds.
_GRACE_BOUNDS = (1.0, 60.0)


def lifetime(max_age: int) -> float:
    """
    Return the seconds after which a service expires that is not received again: max-age plus a grace period.

    :param max_age: Seconds.
    """
    shortest, longest = _GRACE_BOUNDS
    return max_age + min(max(max_age * _GRACE, shortest), longest)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """
    Announcement of one service by its device, matched with a search term.

    :ivar device_id: Part of the USN after ``uuid:`` and before ``::``. Compared case-insensitively.
    :ivar urn: Identity of the service within the device: the URN of the search term, or the announced URN where the
        term is a pattern. All versions that one term matches are one service.
    :ivar term: Search term that matches.
    :ivar nt: Announced URN (NT of a NOTIFY, ST of a search response).
    :ivar usn: Announced USN.
    :ivar location: Announced URL.
    :ivar endpoint: Scheme, host and port of the URL.
    :ivar max_age: Seconds of validity, 1 to :data:`LONGEST_MAX_AGE`.
    :ivar server: Value of the SERVER field, empty if absent.
    """

    device_id: str
    urn: str
    term: SearchTerm
    nt: str
    usn: str
    location: str
    endpoint: Endpoint
    max_age: int
    server: str = ""

    @property
    def lifetime(self) -> float:
        """Seconds from reception to expiry: see :func:`lifetime`."""
        return lifetime(self.max_age)


@dataclass(frozen=True, slots=True)
class Appeared:
    """A service is live that was not live before."""

    advertisement: Advertisement


@dataclass(frozen=True, slots=True)
class Changed:
    """A live service has another LOCATION, or other facts after a restart of its device."""

    advertisement: Advertisement


@dataclass(frozen=True, slots=True)
class Left:
    """
    A service is no longer live.

    :ivar reason: ``byebye``, ``expired`` or ``unconfigured``.
    """

    advertisement: Advertisement
    reason: str


@dataclass(frozen=True, slots=True)
class SearchNeeded:
    """
    A search for a service is needed, whose reply decides how the table goes on.

    :ivar within: Seconds until a reply is too late.
    """

    advertisement: Advertisement
    within: float


Event = Appeared | Changed | Left | SearchNeeded


@dataclass(frozen=True, slots=True)
class LiveService:
    """
    Snapshot of a live service.

    :ivar sender: IP address that announced it.
    :ivar appeared_at: Time of the first reception or of the adoption, in seconds of the table's clock.
    :ivar received_at: Time of the latest reception, same clock.
    :ivar expires_at: Time of expiry if it is not received again, same clock.
    """

    advertisement: Advertisement
    sender: str
    appeared_at: float
    received_at: float
    expires_at: float
