"""Simulated network: segments with faults, and the daemon's sockets on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.messages import PORT, Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from tests.simulation.clock import ProcessClock, WorldClock

#: Seconds that a search round stays open besides its MX, and MX of a search that is sent to single hosts.
_TRAVEL = 0.5
_UNICAST_MX = 1
#: Datagrams that the receive buffers of the sockets of one interface hold.
_BUFFER = 2000

encoded = lru_cache(65536)(encode)


class Sender(Protocol):
    """A device or an attacker that sends datagrams."""

    def heard(self, message: Message, address: str) -> None:
        """Process that the daemon received a message."""

    def lost(self) -> None:
        """Process that a datagram to or from this host was lost."""


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
    """

    def __init__(self, number: int, random: Random, loss: float) -> None:
        self.name = f"eth{number}"
        self.prefix = f"10.{number + 1}."
        self.carrier, self.present = True, True
        self.normal_loss = self.loss = loss
        self.duplicates = 0.0
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
    :ivar sent: Number of datagrams that were sent to the daemon.
    :ivar received: Number of datagrams that it received.
    :ivar observed: Process whose receptions are reported to the senders.
    """

    def __init__(self, clock: WorldClock, random: Random, segments: Sequence[Segment]) -> None:
        self._clock, self._random = clock, random
        self.segments = segments
        self.listeners: list[SimulatedSockets] = []
        self.observed: ProcessClock | None = None
        self.sent = self.received = self.searches = 0

    def announce(self, segment: Segment, address: str, message: Message, sender: Sender, on_link: bool = True) -> None:
        """Send a message to the group."""
        for sockets in self.listeners:
            self._transmit(sockets, segment, message, Reception(address, segment.name, on_link=on_link), sender)

    def search(self, sockets: SimulatedSockets, request: SearchRequest) -> None:
        """Carry a search to all hosts that offer its target."""
        mx = request.mx or _UNICAST_MX
        closes_at = self._clock.seconds() + mx + _TRAVEL
        for segment in self.segments:
            if segment.usable and segment.name in sockets.opened:
                self.searches += 1
                for host in list(segment.responders):
                    if host.matches(request.st):
                        self._ask(sockets, segment, host, request.st, Channel.SEARCH, mx, closes_at)

    def search_host(self, sockets: SimulatedSockets, st: str, address: str) -> None:
        """Carry a search to one host."""
        for segment in self.segments:
            host = segment.at(address)
            if host is not None and segment.usable and segment.name in sockets.opened:
                self.searches += 1
                closes_at = self._clock.seconds() + _UNICAST_MX + _TRAVEL
                if host.matches(st):
                    self._ask(sockets, segment, host, st, Channel.HOST, 0.3, closes_at, address)

    def _ask(
        self,
        sockets: SimulatedSockets,
        segment: Segment,
        host: Responder,
        st: str,
        channel: Channel,
        mx: float,
        closes_at: float,
        only: str = "",
    ) -> None:
        if self._random.random() < segment.loss:
            host.lost()
            return
        wait = self._random.uniform(*segment.delay) + self._random.uniform(0.0, mx)
        self._clock.callLater(wait, self._reply, sockets, segment, host, st, channel, closes_at, only)

    def _reply(
        self,
        sockets: SimulatedSockets,
        segment: Segment,
        host: Responder,
        st: str,
        channel: Channel,
        closes_at: float,
        only: str,
    ) -> None:
        for address, message in host.replies(st):
            if address.startswith(segment.prefix) and (not only or address == only):
                self._transmit(sockets, segment, message, Reception(address, segment.name, channel), host, closes_at)

    def _transmit(
        self,
        sockets: SimulatedSockets,
        segment: Segment,
        message: Message,
        reception: Reception,
        sender: Sender,
        closes_at: float = float("inf"),
    ) -> None:
        random = self._random
        self.sent += 1
        if random.random() < segment.loss:
            sender.lost()
            return
        for _ in range(2 if segment.duplicates and random.random() < segment.duplicates else 1):
            delay = random.uniform(*segment.delay)
            self._clock.callLater(delay, sockets.arrive, segment, encoded(message), reception, sender, closes_at)


class SimulatedSockets:
    """
    Sockets of one process of the daemon, in place of :class:`ssdpreg.ssdp.network.Network`.

    :param network: The simulated network.
    :param process: Clock of the process.
    :param deliver: Called with each message and the circumstances of its reception.
    :param drop: Called with the error of each invalid datagram.
    :ivar opened: Names of the interfaces with open sockets.
    """

    def __init__(
        self,
        network: Network,
        process: ProcessClock,
        deliver: Callable[[Message, Reception, PeerAddress], None],
        drop: Callable[[MessageError, Reception, PeerAddress], None],
    ) -> None:
        self._network, self._process = network, process
        self._deliver, self._drop = deliver, drop
        self._buffer: list[tuple[bytes, Reception, Sender, float]] = []
        self._overflowed: dict[str, None] = {}
        self._known: dict[str, None] = {}
        self.opened: dict[str, None] = {}
        self.overflows = 0
        self.memo_bytes = 0
        network.listeners.append(self)

    # Calls of the registry.

    def refresh(self) -> bool:
        before = self.opened
        self.opened = {segment.name: None for segment in self._network.segments if segment.present}
        self._known.update(self.opened)
        return any(name not in before for name in self.opened)

    def search(self, request: SearchRequest) -> None:
        self._network.search(self, request)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        for host in hosts:
            self._network.search_host(self, st, host)

    def check_reception(self) -> Mapping[str, str]:
        losses = dict.fromkeys(self._overflowed, "receive buffer overflow")
        self._overflowed.clear()
        for segment in self._network.segments:
            if segment.name in self._known and not segment.usable:
                losses[segment.name] = "no carrier" if segment.present else "absent"
        return losses

    def close(self) -> Deferred[None]:
        self.opened = {}
        if self in self._network.listeners:
            self._network.listeners.remove(self)
        return succeed(None)

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        return [(each.name, f"{each.prefix}0.1") for each in self._network.segments if each.name in self.opened]

    @property
    def broadcasts(self) -> frozenset[str]:
        return frozenset(f"{each.prefix}255.255" for each in self._network.segments if each.name in self.opened)

    @property
    def receiving(self) -> frozenset[str]:
        return frozenset(each.name for each in self._network.segments if each.name in self.opened and each.usable)

    # Calls of the network.

    def belongs_to(self, process: ProcessClock) -> bool:
        """Return whether these are the sockets of a process."""
        return self._process is process

    def arrive(self, segment: Segment, data: bytes, reception: Reception, sender: Sender, closes_at: float) -> None:
        """Process a datagram that reaches the host."""
        if self._process.killed or segment.name not in self.opened or not segment.usable:
            sender.lost()
        elif not self._process.suspended:
            self._receive(data, reception, sender, closes_at)
        elif len(self._buffer) < _BUFFER:
            if not self._buffer:
                # At the end of a suspension the reactor makes the overdue calls before it reads from its sockets.
                self._process.at_resume.append(self._read_buffer)
            self._buffer.append((data, reception, sender, closes_at))
        else:
            self._overflowed[segment.name] = None
            sender.lost()

    def _read_buffer(self) -> None:
        buffered, self._buffer = self._buffer, []
        for each in buffered:
            self._receive(*each)

    def _receive(self, data: bytes, reception: Reception, sender: Sender, closes_at: float) -> None:
        if self._process.seconds() > closes_at:
            sender.lost()
            return
        if reception.is_reply and not reception.on_link:
            return
        self._network.received += 1
        try:
            message = decode(data)
        except MessageError as error:
            self._drop(error, reception, (reception.sender, PORT))
            return
        if self._process is self._network.observed:
            sender.heard(message, reception.sender)
        self._deliver(message, reception, (reception.sender, PORT))
