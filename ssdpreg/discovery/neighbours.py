"""
Link-local IPv6 addresses that announce the global address of a device. Pure: time is an argument.

IPv6 devices send announcements from their link-local address, while LOCATION has the global one. Nothing shows that
both addresses are of one device, except that the host of the LOCATION replies to searches.
"""

from __future__ import annotations

import math

from ssdpreg.discovery.hosts import is_link_local_ipv6
from ssdpreg.ssdp.reception import Reception

#: Seconds after a proof until the next search, and the time for which a proof is valid.
_PAUSE = 3600.0
_VALIDITY = 3 * _PAUSE
#: Seconds between searches without a reply. The pause is doubled after each, from the shortest to the longest one.
_SHORTEST_PAUSE = 60.0
_LONGEST_PAUSE = 86400.0
#: Largest number of addresses.
_LIMIT = 2


def is_link_local_announcement(reception: Reception, host: str) -> bool:
    """
    Return whether a link-local IPv6 address announced a host with a global one.

    :param host: Host of the LOCATION.
    """
    return (
        ":" in host and is_link_local_ipv6(reception.sender) and not reception.is_reply and not is_link_local_ipv6(host)
    )


class Neighbours:
    """
    Neighbour addresses of one claim, and the searches that prove it.

    :ivar addresses: Addresses that announced the claim, the latest ones if there are many.
    """

    __slots__ = ("_pause", "_proved_at", "_search_at", "addresses")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self._proved_at = self._search_at = -math.inf
        self._pause = _SHORTEST_PAUSE

    def add(self, address: str) -> None:
        """Add an address. It replaces the one that was added first if there are too many."""
        if address not in self.addresses:
            self.addresses = (*self.addresses[1 - _LIMIT :], address)

    def prove(self, now: float) -> None:
        """Record that the host of the LOCATION was received."""
        self._proved_at = now
        self._search_at, self._pause = now + _PAUSE, _SHORTEST_PAUSE

    def is_proved(self, now: float) -> bool:
        """Return whether the host was received in the time for which that is valid."""
        return now - self._proved_at <= _VALIDITY

    def take_search(self, now: float) -> bool:
        """Return whether the host has to be searched for now."""
        if now < self._search_at:
            return False
        self._search_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return True
