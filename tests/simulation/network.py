"""Simulated network: segments with faults, and the daemon's sockets on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.interface_sockets import InterfaceSockets
from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUP, PORT, Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol
from ssdpreg.ssdp.reception import Reception
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo
from ssdpreg.ssdp.search_rounds import Deliver, Drop
from ssdpreg.ssdp.sockets import MOST_HOST_SOCKETS
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.search_counts import SearchCounts

#: Longest time in seconds that a host waits before it replies to a search that was sent to it alone.
_HOST_REPLY = 0.3
#: Seconds after a search in which replies are accepted, at most.
_ROUND = 6.5
#: Datagrams that the receive buffers of the sockets of one interface hold.
_BUFFER = 2000
#: Seconds without an overflow after which another one is reported.
_OVERFLOW_PAUSE = 120.0
#: Seconds that the daemon needs for one of them.
_PROCESSING = 20e-6

encoded = lru_cache(65536)(encode)


class Sender(Protocol):
    """A device or an attacker that sends datagrams."""

    def heard(self, message: Message, address: str) -> None:
        """Process that the daemon received a message."""

    def lost(self, types: str) -> None:
        """
        Process that an exchange with this host failed because a datagram was lost, although the daemon could receive.

        :param types: Search target of the search, or type of the reply or announcement.
        """


class Responder(Sender, Protocol):
    """A host that replies to searches."""

    def matches(self, st: str) -> bool:
        """Return whether the host offers a search target."""

    def replies(self, st: str) -> Sequence[tuple[str, Message]]:
        """Return the replies to a search that arrived, each with its source address."""


class Segment:
    """
    A network segment, to which the daemon has one interface.

    :ivar name: Name of the daemon's interface.
    :ivar carrier: Whether the interface has a link.
    :ivar present: Whether the interface exists and has an address.
    :ivar loss: Probability that a datagram is lost.
    :ivar duplicates: Probability that a datagram arrives twice.
    :ivar delay: Shortest and longest seconds that a datagram takes.
    :ivar responders: Hosts that receive searches.
    :ivar searched_at: Time of the latest search on it.
    :ivar overflow: Probability that the receive buffer of the daemon has no space for a datagram.
    """

    def __init__(self, number: int, random: Random, loss: float) -> None:
        self.name = f"eth{number}"
        self.prefix = f"10.{number + 1}."
        self.networks = (IPv4Network(f"10.{number + 1}.0.0/16"),)
        self.interface = InterfaceAddress(self.name, number + 2, f"{self.prefix}0.1")
        self.searched_at = -1000.0
        self.carrier, self.present = True, True
        self.normal_loss = self.loss = loss
        self.duplicates = self.overflow = 0.0
        self.delay = (0.0002, 0.005)
        self.responders: list[Responder] = []
        self._by_address: dict[str, Responder] = {}
        self._random = random

    def new_address(self) -> str:
        """Return an unused address. One that was used before may be returned again, as by DHCP."""
        while True:
            address = f"{self.prefix}{self._random.randrange(4)}.{self._random.randrange(1, 255)}"
            if address not in self._by_address:
                return address

    def attach(self, address: str, host: Responder) -> None:
        """Give an address to a host."""
        self._by_address[address] = host

    def detach(self, address: str, host: Responder) -> None:
        """Take an address from a host."""
        if self._by_address.get(address) is host:
            del self._by_address[address]

    def at(self, address: str) -> Responder | None:
        """Return the host with an address."""
        return self._by_address.get(address)

    @property
    def usable(self) -> bool:
        """Whether the daemon can send and receive on it."""
        return self.carrier and self.present


class Network:
    """
    All segments, and the transmission of datagrams.

    :param clock: Clock of the world.
    :param random: Source of losses and delays.
    :param segments: The segments.
    :ivar random: Returns a random number from 0 to 1.
    :ivar sent: Number of datagrams that were sent to the daemon.
    :ivar received: Number of datagrams that it received.
    :ivar searches: Number of searches that it sent.
    :ivar observed: Process whose receptions are reported to the senders.
    :ivar overflowed: Called with the sockets and the segment of the first datagram for which a receive buffer had no
        space, for two minutes.
    :ivar unobserved: Called with the sender, the message and its source address for receptions of other processes.
    """

    def __init__(self, clock: WorldClock, random: Random, segments: Sequence[Segment]) -> None:
        self._clock, self._random = clock, random
        self.random = random.random
        self.segments = segments
        self.listeners: list[SimulatedSockets] = []
        self.observed: ProcessClock | None = None
        self.unobserved: Callable[[Sender, Message, str], None] = lambda sender, message, address: None
        self.overflowed: Callable[[SimulatedSockets, Segment], None] = lambda sockets, segment: None
        self.sent = self.received = self.searches = 0

    def call_later(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """Call a function later, independently of any process."""
        self._clock.callLater(delay, function, *arguments)

    def announce(self, segment: Segment, address: str, message: Message, sender: Sender) -> None:
        """Send a message to the group."""
        for sockets in self.listeners:
            self._transmit(sockets, segment, message, address, sender, None)

    def send_to_searches(self, segment: Segment, address: str, message: Message, sender: Sender) -> None:
        """Send a message to every open socket that sent searches on a segment."""
        for sockets in self.listeners:
            for opened in list(sockets.searching.get(segment.name, ())):
                self._transmit(sockets, segment, message, address, sender, opened)

    def is_searched(self, segment: Segment) -> bool:
        """Return whether replies to a search on a segment may be accepted now."""
        return self._clock.seconds() - segment.searched_at < _ROUND

    def search(self, opened: _Socket, request: SearchRequest, address: str) -> None:
        """Carry a search to all hosts of a segment that offer its target, or to one host."""
        segment, sockets = opened.segment, opened.sockets
        if not segment.usable or sockets.process.killed:
            return
        self.searches += 1
        segment.searched_at = self._clock.seconds()
        if address == GROUP:
            sockets.searches.add(segment.name, request.st, self._clock.seconds(), sockets.process.resumed_at)
            for host in list(segment.responders):
                if host.matches(request.st):
                    self._ask(opened, host, request.st, request.mx or 1)
        else:
            found = segment.at(address)
            if found is not None and found.matches(request.st):
                self._ask(opened, found, request.st, _HOST_REPLY, address)

    def _ask(self, opened: _Socket, host: Responder, st: str, mx: float, only: str = "") -> None:
        segment, random = opened.segment, self._random.random
        if random() < segment.loss:
            self._count_loss(opened.sockets, host, st)
            return
        wait = _between(segment.delay, random()) + mx * random()
        self._clock.callLater(wait, self._reply, opened, host, st, only)

    def _reply(self, opened: _Socket, host: Responder, st: str, only: str) -> None:
        segment = opened.segment
        for address, message in host.replies(st):
            if address.startswith(segment.prefix) and (not only or address == only):
                self._transmit(opened.sockets, segment, message, address, host, opened)

    def _transmit(
        self,
        sockets: SimulatedSockets,
        segment: Segment,
        message: Message,
        address: str,
        sender: Sender,
        opened: _Socket | None,
    ) -> None:
        random = self._random.random
        self.sent += 1
        if random() < segment.loss:
            if opened is not None and segment.usable:
                self._count_loss(sockets, sender, _type(message))
            return
        if segment.overflow and sockets.overflows_now(segment, opened):
            if opened is not None:
                self._count_loss(sockets, sender, _type(message))
            return
        for _ in range(2 if segment.duplicates and random() < segment.duplicates else 1):
            delay = _between(segment.delay, random())
            self._clock.callLater(delay, sockets.arrive, segment, encoded(message), address, sender, opened)

    def _count_loss(self, sockets: SimulatedSockets, sender: Sender, types: str) -> None:
        process = sockets.process
        if process is self.observed and not (process.suspended or process.killed):
            sender.lost(types)


def _between(limits: tuple[float, float], part: float) -> float:
    """Return the value between two limits, as :meth:`random.Random.uniform` does, which takes longer."""
    shortest, longest = limits
    return shortest + (longest - shortest) * part


def _type(message: Message) -> str:
    return str(getattr(message, "st", "") or getattr(message, "nt", ""))


class _Socket:
    """Socket of the daemon, in place of :class:`ssdpreg.ssdp.open_socket.OpenSocket`, and transport of its protocol."""

    def __init__(self, sockets: SimulatedSockets, segment: Segment, protocol: SSDPProtocol) -> None:
        self.sockets, self.segment, self.protocol = sockets, segment, protocol
        self.alive = True
        self.opened_at = sockets.process.seconds()
        self.overflows = 0
        transport: Any = self
        protocol.transport = transport

    def write(self, datagram: bytes, address: PeerAddress) -> None:
        """Send a search."""
        request = decode(datagram)
        assert isinstance(request, SearchRequest)
        self.sockets.network.search(self, request, address[0])

    def take_overflows(self) -> int:
        """Return the number of datagrams that the kernel dropped since the last call."""
        overflows, self.overflows = self.overflows, 0
        return overflows

    def close(self) -> None:
        """Close the socket."""
        self.alive = False
        self.protocol.transport = None


class SimulatedSockets:
    """
    Sockets of one process of the daemon, in place of :class:`ssdpreg.ssdp.network.Network`.

    The sockets of each interface, and thus the search rounds, are those of the daemon. Only the UDP sockets are
    simulated.

    :param network: The simulated network.
    :param process: Clock of the process.
    :param deliver: Called with each message and the circumstances of its reception.
    :param drop: Called with the error of each invalid datagram.
    :ivar searching: Open sockets for searches by the name of the interface.
    :ivar searches: Searches of the groups.
    """

    def __init__(
        self,
        network: Network,
        process: ProcessClock,
        deliver: Deliver,
        drop: Drop,
    ) -> None:
        self.network, self.process = network, process
        self._deliver, self._drop = deliver, drop
        self._buffer: list[tuple[bytes, str, Sender, _Socket]] = []
        self._overflowed: dict[str, None] = {}
        self._overflowed_at: dict[str, float] = {}
        self.searches = SearchCounts()
        self._known: dict[str, None] = {}
        self._opened: dict[str, InterfaceSockets] = {}
        self._groups: dict[str, _Socket] = {}
        self._by_name = {segment.name: segment for segment in network.segments}
        self.searching: dict[str, dict[_Socket, None]] = {}
        self.sources: set[PeerAddress] = set()
        self.overflows = self.rejected_searches = 0
        self._memo = RepeatMemo()
        self._sender: Sender | None = None
        network.listeners.append(self)

    # Calls of the registry.

    @property
    def memo_bytes(self) -> int:
        return self._memo.size

    def refresh(self) -> bool:
        opened = False
        for segment in self.network.segments:
            if not segment.present:
                if segment.name in self._opened:
                    self._opened.pop(segment.name).close()
            elif segment.name not in self._opened:
                udp: Any = self
                sockets = InterfaceSockets(
                    self.process,
                    udp,
                    segment.interface,
                    segment.networks,
                    (),
                    self._deliver_observed,
                    self._drop,
                    self._memo,
                )
                sockets.open(announcing=False)
                self._opened[segment.name] = sockets
                opened = True
        self._known.update(dict.fromkeys(self._opened))
        return opened

    def search(self, request: SearchRequest) -> None:
        for sockets in self._opened.values():
            sockets.search(request)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        for name, sockets in self._opened.items():
            chosen = [host for host in hosts if host.startswith(self._by_name[name].prefix)]
            if chosen:
                sockets.search_hosts(st, chosen)

    def check_reception(self) -> Mapping[str, str]:
        losses = {
            name: "receive buffer overflow"
            for name in self._overflowed
            if name in self._opened and self._opened[name].take_overflows()
        }
        self._overflowed.clear()
        for segment in self.network.segments:
            if segment.name not in self._known:
                continue
            if not segment.usable:
                losses[segment.name] = "no carrier" if segment.present else "absent"
            elif segment.name not in self._opened:
                losses[segment.name] = "socket closed"
        return losses

    def close(self, opened: _Socket | None = None) -> Deferred[None]:
        """Close one socket, as :class:`ssdpreg.ssdp.sockets.UDPSockets` does, or all."""
        if opened is not None:
            opened.close()
            self.searching.get(opened.segment.name, {}).pop(opened, None)
            return succeed(None)
        for sockets in self._opened.values():
            sockets.close()
        self._opened = {}
        if self in self.network.listeners:
            self.network.listeners.remove(self)
        return succeed(None)

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        return [(name, sockets.interface.address) for name, sockets in self._opened.items()]

    @property
    def broadcasts(self) -> frozenset[str]:
        return frozenset(f"{self._by_name[name].prefix}255.255" for name in self._opened)

    @property
    def receiving(self) -> frozenset[str]:
        return frozenset(name for name in self._opened if self._by_name[name].usable)

    # Calls of the daemon's sockets, in place of :class:`ssdpreg.ssdp.sockets.UDPSockets`.

    def is_source(self, peer: PeerAddress) -> bool:
        """Return whether a datagram was sent from an open socket for searches of this process."""
        return peer in self.sources

    def open_group(self, interface: InterfaceAddress, protocol: SSDPProtocol, *, group: str) -> _Socket:
        """Open the socket that receives announcements on an interface."""
        opened = self._groups[interface.name] = _Socket(self, self._by_name[interface.name], protocol)
        return opened

    def may_search_host(self, interface: InterfaceAddress) -> bool:
        """Return whether another socket that searches a single host may be opened on an interface."""
        return len(self.searching.get(interface.name, {})) < MOST_HOST_SOCKETS

    def open_search(self, interface: InterfaceAddress, protocol: SSDPProtocol, *, host: bool = False) -> _Socket:
        """Open a socket that sends searches on an interface, and receives the replies."""
        opened = _Socket(self, self._by_name[interface.name], protocol)
        self.searching.setdefault(interface.name, {})[opened] = None
        return opened

    def open_searches(self) -> list[_Socket]:
        """Return the open sockets for searches."""
        return [opened for sockets in self.searching.values() for opened in sockets]

    # Calls of the network.

    def arrive(self, segment: Segment, data: bytes, address: str, sender: Sender, opened: _Socket | None) -> None:
        """Process a datagram that reaches the host."""
        if self.process.killed or segment.name not in self._opened or not segment.usable:
            return
        receiver = opened or self._groups[segment.name]
        if not receiver.alive:
            return
        if not self.process.suspended:
            self._receive(data, address, sender, receiver)
        elif len(self._buffer) < _BUFFER:
            if not self._buffer:
                # At the end of a suspension the reactor makes the overdue calls before it reads from its sockets.
                self.process.at_resume.append(self._read_buffer)
            self._buffer.append((data, address, sender, receiver))
        else:
            self._overflow(receiver)

    def overflows_now(self, segment: Segment, opened: _Socket | None) -> bool:
        """Return whether the receive buffer of a socket has no space for a datagram now."""
        receiver = opened or self._groups.get(segment.name)
        if receiver is None or not receiver.alive or self.process.killed or self.process.suspended:
            return False
        if self.network.random() >= segment.overflow:
            return False
        self._overflow(receiver)
        return True

    def _overflow(self, receiver: _Socket) -> None:
        receiver.overflows += 1
        segment, now = receiver.segment, self.process.seconds()
        self._overflowed[segment.name] = None
        if now - self._overflowed_at.get(segment.name, -math.inf) > _OVERFLOW_PAUSE:
            self.network.overflowed(self, segment)
        self._overflowed_at[segment.name] = now

    def _read_buffer(self) -> None:
        buffered, self._buffer = self._buffer, []
        for number, each in enumerate(buffered):
            # No two datagrams are processed at the same time.
            self.process.callLater(number * _PROCESSING, self._receive, *each)

    def _receive(self, data: bytes, address: str, sender: Sender, receiver: _Socket) -> None:
        if receiver.alive:
            self.network.received += 1
            self._sender = sender
            receiver.protocol.datagramReceived(data, (address, PORT))

    def _deliver_observed(self, message: Message, reception: Reception, peer: PeerAddress) -> Repeat | None:
        self._report(message, reception)
        repeat = self._deliver(message, reception, peer)
        if repeat is None:
            return None

        def repeat_observed() -> bool:
            if not repeat():
                return False
            self._report(message, reception)
            return True

        return repeat_observed

    def _report(self, message: Message, reception: Reception) -> None:
        """Report a message to its sender: the checker expects only what the daemon has received."""
        if self._sender is None:
            return
        if self.process is self.network.observed:
            self._sender.heard(message, reception.sender)
        else:
            self.network.unobserved(self._sender, message, reception.sender)
