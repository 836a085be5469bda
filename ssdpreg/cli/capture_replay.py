"""Replay of a capture: which datagrams the daemon received, on which socket, and at which time."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from ssdpreg.cli.capture import CapturedDatagram
from ssdpreg.cli.explainer import Explainer
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import decode
from ssdpreg.ssdp.interfaces import is_link_local
from ssdpreg.ssdp.messages import ALL_RECEIVED_GROUPS, PORT, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.ssdp.search_rounds import check_reply, reply_time

#: Groups of scopes in which the daemon does not listen: UPnP Device Architecture 2.0, annex A.
_OTHER_GROUPS = frozenset({"ff01::c", "ff08::c"})
#: Zone of a link-local address if the capture does not contain the name of the interface.
UNKNOWN_ZONE = "unknown"
#: Field by which the searches of the daemon are recognized.
_OWN_SEARCH = re.compile(rb"^USER-AGENT:[^\r\n]*\bssdpreg/", re.IGNORECASE | re.MULTILINE)
#: Largest number of sockets of searches that are remembered.
_MOST_ROUNDS = 4096

#: Reasons for which the daemon does not receive a datagram.
OTHER_GROUP = "sent to a group of IPv6 on which the daemon does not listen"
REPLY_TO_GROUP = "reply to the group"
OTHER_SEARCH = "reply to a search of another program"
LATE = "reply after the end of the search round"
NOT_TO_GROUP = "sent to one host and not to the group"

#: Results of the daemon's own searches.
SENT = "sent"
SEARCH_OF_GROUP = "search of the group"
SEARCH_OF_HOST = "search of one host"

Address = tuple[str, int]


class ReplayClock(Clock):
    """Clock that makes each delayed call at its exact time."""

    def advance_to(self, when: float) -> None:
        """Make the calls up to a time, in their order. A time in the past changes nothing."""
        # The list is not sorted after a call was postponed.
        while (following := min((call.getTime() for call in self.calls), default=math.inf)) <= when:
            self.rightNow = max(self.rightNow, following)
            self.advance(0)
        self.rightNow = max(self.rightNow, when)


class ReplayNetwork:
    """The sockets of the daemon in a replay: searches are in the capture, if they were sent."""

    interfaces: Sequence[tuple[str, str]] = ()
    overflows = 0
    rejected_searches = 0
    receiving: frozenset[str] = frozenset()
    broadcasts: frozenset[str] = frozenset()

    def __init__(self, deliver: object, drop: object) -> None:
        """Ignore the functions: :class:`Replay` calls the explainer."""

    def refresh(self) -> bool:
        return False

    def search(self, request: SearchRequest) -> None:
        """Send nothing."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """Send nothing."""

    def check_reception(self) -> Mapping[str, str]:
        return {}

    def close(self) -> Deferred[None]:
        return succeed(None)


@dataclass
class _Round:
    """
    Socket of a search.

    :ivar ends_at: Time until which replies are received.
    :ivar hosts: Hosts that were searched; None for a search of the group.
    :ivar own: Whether the daemon sent the search.
    """

    ends_at: float
    hosts: set[str] | None
    own: bool = field(default=True)

    def searched(self, sender: str) -> str | None:
        """Return the sender if it was searched, another text if it was not, and None for a search of the group."""
        if self.hosts is None:
            return None
        return sender if sender in self.hosts else ""


class Replay:
    """
    Replay of a capture.

    :param clock: Clock of the explainer's registry.
    :param daemon: Addresses of the daemon's host, all of whose searches count as the daemon's. Without any, searches
        with the USER-AGENT of this program count.
    :param networks: Networks of the daemon's interfaces. Without any, each sender counts as being on the network.
    :param named: Networks that the operator named in ``ssdp.allow``.
    :ivar not_ssdp: Number of datagrams from and to other ports.
    """

    def __init__(
        self,
        clock: ReplayClock,
        explainer: Explainer,
        daemon: Collection[str],
        networks: Collection[IPNetwork],
        named: Collection[IPNetwork],
    ) -> None:
        self._clock, self._explainer, self._daemon = clock, explainer, daemon
        self._networks, self._named = networks, named
        self._rounds: OrderedDict[Address, _Round] = OrderedDict()
        self._reception = lru_cache(4096)(self._make_reception)
        explainer.registry.broadcasts = frozenset(
            str(address)
            for network in networks
            if network.version == 4 and network.prefixlen < 31
            for address in (network.broadcast_address, network.network_address)
        )
        self.not_ssdp = 0

    def run(self, datagrams: Iterable[CapturedDatagram]) -> None:
        """Process datagrams at their times."""
        for datagram in datagrams:
            if not self._is_ssdp(datagram):
                self.not_ssdp += 1
                continue
            self._clock.advance_to(datagram.time)
            self._process(datagram)

    def _is_ssdp(self, datagram: CapturedDatagram) -> bool:
        return PORT in (datagram.target[1], datagram.source[1]) or datagram.target in self._rounds

    def _process(self, datagram: CapturedDatagram) -> None:
        message: Message | MessageError
        try:
            message = decode(datagram.payload)
        except MessageError as error:
            message = error
        if isinstance(message, SearchRequest):
            self._open_round(datagram, message)
        host, port = datagram.target
        if port == PORT and host in ALL_RECEIVED_GROUPS:
            self._receive_from_group(datagram, message)
        elif port == PORT and host in _OTHER_GROUPS:
            self._skip(datagram, message, OTHER_GROUP)
        else:
            self._receive_unicast(datagram, message)

    def _receive_from_group(self, datagram: CapturedDatagram, message: Message | MessageError) -> None:
        if isinstance(message, SearchResponse):
            self._skip(datagram, message, REPLY_TO_GROUP)
        elif isinstance(message, SearchRequest) and self._rounds[datagram.source].own:
            self._skip(datagram, message, SEARCH_OF_GROUP, SENT)
        else:
            self._receive(datagram, message, Channel.GROUP)

    def _receive_unicast(self, datagram: CapturedDatagram, message: Message | MessageError) -> None:
        current = self._rounds.get(datagram.target)
        if isinstance(message, SearchRequest) and self._rounds[datagram.source].own:
            self._skip(datagram, message, SEARCH_OF_HOST, SENT)
        elif current is None:
            reply = isinstance(message, SearchResponse)
            self._skip(datagram, message, OTHER_SEARCH if reply else NOT_TO_GROUP)
        elif not current.own:
            self._skip(datagram, message, OTHER_SEARCH)
        elif self._clock.seconds() > current.ends_at:
            self._skip(datagram, message, LATE)
        else:
            channel = Channel.SEARCH if current.hosts is None else Channel.HOST
            if not isinstance(message, MessageError):
                reception = self._reception(datagram.source[0], datagram.interface, channel)
                host = current.searched(reception.sender)
                error = check_reply(message, reception, host)
                if error is not None:
                    self._explainer.drop(error, reception, datagram.source, message)
                    return
            self._receive(datagram, message, channel)

    def _receive(self, datagram: CapturedDatagram, message: Message | MessageError, channel: Channel) -> None:
        reception = self._reception(datagram.source[0], datagram.interface, channel)
        if isinstance(message, MessageError):
            self._explainer.drop(message, reception, datagram.source)
        else:
            self._explainer.deliver(message, reception, datagram.source)

    def _skip(
        self, datagram: CapturedDatagram, message: Message | MessageError, reason: str, result: str = "not received"
    ) -> None:
        reception = self._reception(datagram.source[0], datagram.interface, Channel.GROUP)
        self._explainer.skip(message, reason, reception, datagram.source, result)

    def _open_round(self, datagram: CapturedDatagram, request: SearchRequest) -> None:
        """Record the socket of a search: replies to it are received for some seconds."""
        own = datagram.source[0] in self._daemon if self._daemon else _OWN_SEARCH.search(datagram.payload) is not None
        host, port = datagram.target
        to_host = port == PORT and not ip_address(host).is_multicast
        channel = Channel.HOST if to_host else Channel.SEARCH
        ends_at = self._clock.seconds() + reply_time(channel, request)
        current = self._rounds.get(datagram.source)
        # A later socket may have the port of one that was closed.
        is_open = current is not None and current.ends_at >= self._clock.seconds()
        if current is not None and is_open and (current.hosts is not None) == to_host:
            current.ends_at = max(current.ends_at, ends_at)
            current.own = own
        else:
            current = _Round(ends_at, set() if to_host else None, own)
            self._rounds[datagram.source] = current
            if len(self._rounds) > _MOST_ROUNDS:
                self._rounds.popitem(last=False)
        if current.hosts is not None:
            current.hosts.add(_zoned(host, datagram.interface))

    def _make_reception(self, sender: str, interface: str, channel: Channel) -> Reception:
        address = ip_address(sender)
        return Reception(
            _zoned(sender, interface),
            interface,
            channel,
            not self._networks or is_link_local(sender) or any(address in network for network in self._networks),
            any(address in network for network in self._named),
        )


def _zoned(address: str, interface: str) -> str:
    """Return an address, with the interface as the zone of a link-local IPv6 address."""
    return f"{address}%{interface or UNKNOWN_ZONE}" if is_link_local(address) else address
