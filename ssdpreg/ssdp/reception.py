"""Circumstances of the reception of a datagram."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Channel(Enum):
    """Socket that received a datagram."""

    #: Socket bound to the SSDP group: announcements.
    GROUP = "group"
    #: Socket of a search round that was sent to the group: replies of any device.
    SEARCH = "search"
    #: Socket of a search that was sent to single hosts: replies of these hosts.
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Reception:
    """
    Circumstances of the reception of a datagram.

    :ivar sender: IP address of the sender, empty if unknown.
    :ivar interface: Name of the interface.
    :ivar channel: Socket that received it.
    :ivar on_link: Whether the sender is on the network of the interface, so that no router forwarded the datagram.
    """

    sender: str
    interface: str = ""
    channel: Channel = Channel.GROUP
    on_link: bool = True

    @property
    def is_reply(self) -> bool:
        """Whether it was received in reply to a search of this daemon."""
        return self.channel is not Channel.GROUP
