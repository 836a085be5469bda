"""Standing of a claim: the degree to which the way of its reception supports it. SSDP has no authentication. Pure."""

from __future__ import annotations

from enum import IntEnum

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.values import plain_members


@plain_members
class Standing(IntEnum):
    """Standing of the claim "service S is at LOCATION L", from the lowest."""

    #: Another host than L's sent it, L has a host name, or a router forwarded it.
    INDIRECT = 0
    #: L's host sent it, on the network of the receiving interface.
    DIRECT = 1
    #: L's host replied to a unicast search, on a socket that was opened for that search.
    CONFIRMED = 2

    @classmethod
    def parse(cls, text: str) -> Standing:
        """Return the standing that the configuration names: ``indirect``, ``direct`` or ``confirmed``."""
        return cls[text.upper()]


def standing_of(advertisement: Advertisement, reception: Reception) -> Standing:
    """Return the standing that a reception gives to a claim."""
    if advertisement.host != reception.sender or not reception.on_link:
        return Standing.INDIRECT
    return Standing.CONFIRMED if reception.channel is Channel.HOST else Standing.DIRECT
