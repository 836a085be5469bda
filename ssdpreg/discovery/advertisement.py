"""Advertisements of services and their lifetime."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm, search_target

#: Seconds of validity of an advertisement without a readable max-age: the minimum that UPnP Device Architecture 2.0
#: (UDA), section 1.2.2, recommends.
DEFAULT_MAX_AGE = 1800
#: Longest accepted validity in seconds.
LONGEST_MAX_AGE = 86400

#: Many devices repeat an advertisement only when max-age has passed. A tenth more keeps their services registered.
_GRACE = 0.1
#: Shortest and longest grace in seconds.
_GRACE_BOUNDS = (1.0, 60.0)


@lru_cache(1024)
def lifetime(max_age: int) -> float:
    """
    Return the lifetime of a service that is not received again, in seconds: max-age plus a grace period.

    Services with one max-age share the number.

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
    :ivar boot_id: BOOTID, which changes when the device restarts; empty if absent.
    :ivar config_id: CONFIGID, which changes with the device's description; None if absent.
    :ivar search_port: UDP port for unicast searches in place of 1900, or None.
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
    # Numbers that any sender can choose: an equal advertisement may have others.
    boot_id: str = field(default="", compare=False)
    config_id: int | None = field(default=None, compare=False)
    search_port: int | None = field(default=None, compare=False)

    #: Seconds from reception to expiry: see :func:`lifetime`. Computed once, because each announcement needs it.
    lifetime: float = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lifetime", lifetime(self.max_age))

    @property
    def search_target(self) -> str:
        """ST of a search to which the device replies."""
        return search_target(self.term, self.nt)
