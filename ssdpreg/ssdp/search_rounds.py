"""Sockets of the search rounds of one network interface: each is open for a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ssdpreg.errors import MessageError, OffLinkReplyError, UnsolicitedError
from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUPS, PORT, Alive, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.open_socket import OpenSocket
from ssdpreg.ssdp.protocol import GroupReachability, PeerAddress, SSDPProtocol
from ssdpreg.ssdp.reception import Channel, Reception, Receptions
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo
from ssdpreg.ssdp.search_address import parse_search_address
from ssdpreg.ssdp.sockets import UDPSockets

#: Returns the function that processes the message when it is repeated: see :mod:`ssdpreg.ssdp.repeats`.
Deliver = Callable[[Message, Reception, PeerAddress], Repeat | None]
Drop = Callable[[MessageError, Reception, PeerAddress], None]

#: Longest time in seconds from the sending of a reply to its reception. A device may wait for MX before it sends.
NETWORK_DELAY = 0.5
#: Seconds that a host may need to reply to a unicast search. UPnP Device Architecture 2.0 (UDA), 1.3.3, allows 1 s;
#: BMCs need more under load.
HOST_REPLY_TIME = 2.5
#: Longest MX. UDA, 1.3.3: a device treats a higher value as 5.
_LONGEST_MX = 5
#: Seconds from the opening of a socket until the next search opens another. A socket is open for at most this time and
#: the time of replies, so that an interface has at most five for searches of the group, which is (2 + 5.5) / 2 rounded
#: up and one more, and two for each host.
_REUSED_FOR = {Channel.SEARCH: 2.0, Channel.HOST: 3.0}
#: Largest number of searches of single hosts that wait for a socket, and longest time in seconds that they wait. After
#: that time the decision that needed the search has been made.
_MAX_WAITING = 256
_LONGEST_WAIT = 2.0

_UNSOLICITED = UnsolicitedError("no reply to a search")
_OFF_LINK = OffLinkReplyError("the sender is on another network")


def check_reply(message: Message, reception: Reception, host: str | None) -> MessageError | None:
    """
    Return the error of a message that is received on the socket of a search and is not accepted, or None.

    :param host: Host that was searched from that socket; None if the search was sent to the group.
    """
    # Some devices, such as those with ssdpy, send an announcement in place of a reply.
    if not isinstance(message, SearchResponse | Alive) or (host is not None and reception.sender != host):
        return _UNSOLICITED
    return None if reception.on_link or reception.named else _OFF_LINK


def reply_time(channel: Channel, request: SearchRequest) -> float:
    """Return the seconds for which replies to a search are received."""
    if channel is Channel.HOST:
        return HOST_REPLY_TIME + NETWORK_DELAY
    return max(1.0, min(request.mx or 0, _LONGEST_MX) + NETWORK_DELAY)


class SearchRound:
    """
    Socket of one search round, and the searches that were sent from it.

    :param interface: The interface.
    :param receptions: Receptions of its senders.
    :param host: The only host that is searched; None for a round that is sent to the group. Only this host learns the
        port of the socket. Another one that shared it could send a reply with the address of this one.
    :param deliver: Called for each reply.
    :param drop: Called for each other datagram.
    :param memo: Memo of repeated datagrams, and the scope of the round in it. A round of one host has none.
    """

    def __init__(
        self,
        sockets: UDPSockets,
        interface: InterfaceAddress,
        receptions: Receptions,
        host: str | None,
        deliver: Deliver,
        drop: Drop,
        reachability: GroupReachability,
        memo: tuple[RepeatMemo, int] | None,
    ) -> None:
        self.host = host
        #: Call that closes the socket.
        self.closing: IDelayedCall | None = None
        self._receptions, self._deliver, self._drop = receptions, deliver, drop
        self._protocol = SSDPProtocol(self._receive, self._drop_invalid, reachability, memo)
        self.socket: OpenSocket = sockets.open_search(interface, self._protocol, host=host is not None)

    def send(self, message: Message, address: PeerAddress) -> None:
        """Send a search."""
        self._protocol.send(message, address)

    def _receive(self, message: Message, peer: PeerAddress) -> Repeat | None:
        reception = self._receptions[peer[0]]
        error = check_reply(message, reception, self.host)
        if error is None:
            return self._deliver(message, reception, peer)
        self._drop(error, reception, peer)
        return None

    def _drop_invalid(self, error: MessageError, peer: PeerAddress) -> None:
        self._drop(error, self._receptions[peer[0]], peer)


class SearchRounds:
    """
    The search rounds of one interface.

    :param reactor: Provides ``IReactorTime``.
    :param sockets: Opens and closes the sockets.
    :param interface: The interface.
    :param receptions: Makes the receptions of a channel.
    :param deliver: Called for each reply.
    :param drop: Called for each other datagram.
    :param memo: Memo of repeated datagrams.
    :param random: Selects the search that is dropped when too many wait for a socket.
    :ivar overflows: Number of datagrams that the kernel dropped because the receive buffer of a socket was full.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        sockets: UDPSockets,
        interface: InterfaceAddress,
        receptions: Callable[[Channel], Receptions],
        deliver: Deliver,
        drop: Drop,
        memo: RepeatMemo,
        random: Random | None = None,
    ) -> None:
        self._random = random or Random()
        self._reactor, self._sockets, self._interface = reactor, sockets, interface
        self._make_receptions, self._deliver, self._drop = receptions, deliver, drop
        # All rounds that are sent to the group have one scope: devices repeat their replies in the next round.
        self._memo = memo, memo.new_scope()
        self._reachability = GroupReachability(interface.name)
        #: The round that the next search is sent in, and the time at which it began, by host; None is the group.
        self._current: dict[str | None, tuple[SearchRound, float]] = {}
        #: Searches of single hosts that wait for a socket: the time until which they wait, by host and target.
        self._waiting: dict[tuple[str, str], float] = {}
        self._open: set[SearchRound] = set()
        self._failed = False
        self.overflows = 0

    def search(self, request: SearchRequest) -> None:
        """Send a search to the group."""
        current = self._round(None)
        if current is not None:
            self._keep_open(current, reply_time(Channel.SEARCH, request))
            for group in GROUPS[self._interface.version]:
                current.send(request, (group, PORT))

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """
        Send a search to each of some hosts, each from a socket of its own, or when a socket can be opened.

        :param hosts: IP addresses on the network of the interface.
        """
        self._send_waiting()
        for address in hosts:
            if not self._search_host(st, address):
                self._wait(st, address)

    def count_overflows(self) -> None:
        """Add the datagrams dropped by the kernel on the open sockets to :attr:`overflows`."""
        self.overflows += sum(each.socket.take_overflows() for each in self._open)

    def close(self) -> None:
        """Close all sockets."""
        self._waiting.clear()
        for each in list(self._open):
            self._close(each)

    def _search_host(self, st: str, address: str) -> bool:
        """Send a search to a host. Return False if it has to wait for a socket."""
        host, port = parse_search_address(address)
        if self._reusable(host) is None and not self._sockets.may_search_host(self._interface):
            return False
        current = self._round(host)
        if current is not None:
            # UDA, 1.3.2: a unicast search has no MX.
            request = SearchRequest(st, None)
            self._keep_open(current, reply_time(Channel.HOST, request))
            # Sent to port 1900 as well as to the device's own port, whose number may be forged. The socket sends on its
            # interface only, so that a zone is not needed.
            for number in dict.fromkeys((port, PORT)):
                current.send(request, (host.partition("%")[0], number))
        return True

    def _wait(self, st: str, host: str) -> None:
        """Let a search of a host wait for a socket. If too many wait, one of them is dropped, whichever it is."""
        self._waiting.setdefault((host, st), self._reactor.seconds() + _LONGEST_WAIT)
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[self._random.choice(list(self._waiting))]
            self._sockets.rejected_searches += 1

    def _send_waiting(self) -> None:
        """Send the searches that wait for a socket, as far as sockets can be opened. Drop those that are too late."""
        now = self._reactor.seconds()
        while self._waiting:
            (host, st), until = next(iter(self._waiting.items()))
            if until <= now:
                self._sockets.rejected_searches += 1
            elif not self._search_host(st, host):
                return
            del self._waiting[host, st]

    def _reusable(self, host: str | None) -> SearchRound | None:
        """Return the present round of a host, or of the group, if another search can be sent in it."""
        current, began = self._current.get(host, (None, 0.0))
        reused_for = _REUSED_FOR[Channel.SEARCH if host is None else Channel.HOST]
        if current is not None and current.socket.alive and self._reactor.seconds() < began + reused_for:
            return current
        return None

    def _round(self, host: str | None) -> SearchRound | None:
        """Return the present round of a host, or of the group, or a new one; None if no socket can be opened."""
        current = self._reusable(host)
        if current is not None:
            return current
        try:
            opened = SearchRound(
                self._sockets,
                self._interface,
                self._make_receptions(Channel.SEARCH if host is None else Channel.HOST),
                host,
                self._deliver,
                self._drop,
                self._reachability,
                self._memo if host is None else None,
            )
        except (OSError, CannotListenError) as error:
            if not self._failed:
                self.log.warn("Cannot search on {interface}: {error}", interface=self._interface.name, error=error)
            self._failed = True
            return None
        if self._failed:
            self.log.info("Can search on {interface} again", interface=self._interface.name)
        self._failed = False
        self._open.add(opened)
        self._current[host] = opened, self._reactor.seconds()
        return opened

    def _keep_open(self, opened: SearchRound, seconds: float) -> None:
        """Keep a socket open for at least some seconds from now."""
        if opened.closing is None:
            opened.closing = self._reactor.callLater(seconds, self._close, opened)
        elif opened.closing.getTime() < self._reactor.seconds() + seconds:
            opened.closing.reset(seconds)

    def _close(self, opened: SearchRound) -> None:
        self.overflows += opened.socket.take_overflows()
        self._open.discard(opened)
        if self._current.get(opened.host, (None, 0.0))[0] is opened:
            del self._current[opened.host]
        if opened.closing is not None and opened.closing.active():
            opened.closing.cancel()
        self._sockets.close(opened.socket)
        self._send_waiting()
