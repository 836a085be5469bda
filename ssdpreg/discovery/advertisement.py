"""Advertisements of services and their lifetime."""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache

from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm, search_target
from ssdpreg.discovery.shared import shared_text
from ssdpreg.values import value

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


def short_usn(usn: str, device_id: str, nt: str) -> str:
    """Return an empty text for the usual USN of a device and a type, and any other USN unchanged."""
    return "" if usn == f"uuid:{device_id}::{nt}" else usn


def short_location(location: str, endpoint: Endpoint) -> str:
    """Return a URL without its scheme and host, or the whole URL if it spells them in another way than the endpoint."""
    origin = endpoint.origin
    rest = location[len(origin) :]
    # Most devices of a product have the same port and path.
    return shared_text(rest) if location.startswith(origin) and rest[:1] in ("", ":", "/", "?", "#") else location


@value(frozen=True, slots=True)
class Advertisement:
    """
    Announcement of one service by its device, matched with a search term.

    The daemon keeps one for each live service. USN and LOCATION are derived from the other values where that is
    possible, because they have more than 200 bytes.

    :ivar device_id: Part of the USN after ``uuid:`` and before ``::``. Compared case-insensitively.
    :ivar urn: Identity of the service within the device: the URN of the search term, or the announced URN where the
        term is a pattern. All versions that one term matches are one service.
    :ivar term: Search term that matches.
    :ivar nt: Announced URN (NT of a NOTIFY, ST of a search response).
    :ivar usn_text: Announced USN, shortened by :func:`short_usn`.
    :ivar location_text: Announced URL, shortened by :func:`short_location`.
    :ivar scheme: ``http`` or ``https``.
    :ivar host: Host of the URL: see :class:`~ssdpreg.discovery.location.Endpoint`.
    :ivar port: Port of the URL.
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
    usn_text: str
    location_text: str
    scheme: str
    host: str
    port: int
    max_age: int
    server: str = ""
    # Numbers that any sender can choose: an equal advertisement may have others.
    boot_id: str = field(default="", compare=False)
    config_id: int | None = field(default=None, compare=False)
    search_port: int | None = field(default=None, compare=False)

    @classmethod
    def make(
        cls,
        device_id: str,
        urn: str,
        term: SearchTerm,
        nt: str,
        usn: str,
        location: str,
        endpoint: Endpoint,
        max_age: int,
        server: str = "",
        boot_id: str = "",
        config_id: int | None = None,
        search_port: int | None = None,
    ) -> Advertisement:
        """
        Return the advertisement with a USN and a LOCATION. The other parameters are those of the class.

        :param endpoint: Scheme, host and port of the LOCATION.
        """
        usn_text, location_text = short_usn(usn, device_id, nt), short_location(location, endpoint)
        return cls(
            device_id,
            urn,
            term,
            nt,
            usn_text,
            location_text,
            endpoint.scheme,
            endpoint.host,
            endpoint.port,
            max_age,
            server,
            boot_id,
            config_id,
            search_port,
        )

    @property
    def usn(self) -> str:
        """Announced USN."""
        return self.usn_text or f"uuid:{self.device_id}::{self.nt}"

    @property
    def location(self) -> str:
        """Announced URL."""
        text = self.location_text
        # A URL begins with its scheme.
        return text if text[:1] in ("h", "H") else self.endpoint.origin + text

    @property
    def endpoint(self) -> Endpoint:
        """Scheme, host and port of the URL."""
        return Endpoint(self.scheme, self.host, self.port)

    @property
    def lifetime(self) -> float:
        """Seconds from reception to expiry: see :func:`lifetime`."""
        return lifetime(self.max_age)

    @property
    def search_target(self) -> str:
        """ST of a search to which the device replies."""
        return search_target(self.term, self.nt)

    def has_location_of(self, other: Advertisement) -> bool:
        """Return whether another advertisement has the same LOCATION."""
        return (
            self.location_text == other.location_text
            and self.host == other.host
            and self.port == other.port
            and self.scheme == other.scheme
        )

    def is_same(self, other: Advertisement) -> bool:
        """Return whether all values are equal, also those that the comparison of advertisements ignores."""
        return self is other or (
            self == other
            and self.boot_id == other.boot_id
            and self.config_id == other.config_id
            and self.search_port == other.search_port
        )
