"""Circumstances of the reception of a datagram."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address

from ssdpreg.ssdp.networks import Networks, ipv4_number
from ssdpreg.values import plain_members, value

#: Number of senders whose receptions are cached, for each socket. Senders can be forged: the number has to be limited.
_CACHED_SENDERS = 2048


@plain_members
class Channel(str, Enum):
    """Socket that received a datagram. A text, because the hash of any other member is computed in Python."""

    #: Socket bound to the SSDP group: announcements.
    GROUP = "group"
    #: Socket of a search round that was sent to the group: replies of any device.
    SEARCH = "search"
    #: Socket of a search that was sent to single hosts: replies of these hosts.
    HOST = "host"
    #: Socket bound to port 1900 of the interface's address: unicast searches. Only an announcer opens it.
    UNICAST = "unicast"


@value(frozen=True, slots=True)
class Reception:
    """
    Circumstances of the reception of a datagram.

    :ivar sender: IP address of the sender, empty if unknown. A link-local IPv6 address has the name of the interface as
        its zone, as in ``fe80::1%eth0``.
    :ivar interface: Name of the interface.
    :ivar channel: Socket that received it.
    :ivar on_link: Whether the sender is on the network of the interface, so that no router forwarded the datagram.
    :ivar named: Whether the sender is in a network that the operator named.
    """

    sender: str
    interface: str = ""
    channel: Channel = Channel.GROUP
    on_link: bool = True
    named: bool = False

    @property
    def is_reply(self) -> bool:
        """Whether it was received in reply to a search of this daemon."""
        return self.channel is Channel.SEARCH or self.channel is Channel.HOST


class Receptions(dict[str, Reception]):
    """
    Receptions by the address of the sender without a zone, made at the first lookup of a sender.

    :param interface: Name of the interface.
    :param channel: Socket that receives.
    :param networks: Networks of the interface.
    :param named: Networks that the operator named.
    """

    def __init__(
        self,
        interface: str,
        channel: Channel,
        networks: Sequence[IPv4Network | IPv6Network],
        named: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        super().__init__()
        self._interface, self._channel = interface, channel
        self._networks, self._named = Networks(networks), Networks(named)

    def __missing__(self, sender: str) -> Reception:
        if len(self) >= _CACHED_SENDERS:
            self.clear()
        self[sender] = reception = self._make(sender)
        return reception

    def _make(self, sender: str) -> Reception:
        number = ipv4_number(sender)
        if number is not None:
            on_link, named = self._networks.contains_ipv4(number), self._named.contains_ipv4(number)
            return Reception(sender, self._interface, self._channel, on_link, named)
        address = ip_address(sender)
        if is_link_local := address.is_link_local:
            sender = f"{sender}%{self._interface}"
        on_link, named = is_link_local or address in self._networks, address in self._named
        return Reception(sender, self._interface, self._channel, on_link, named)
