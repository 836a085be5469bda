"""A reactor of time and multicast that has neither: tests move its clock, and write and read its datagrams."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IMulticastTransport, IReactorMulticast, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface import implementer

Address = tuple[str, int]


class MemoryPort:
    """
    A socket, and what Twisted has around it.

    :ivar interface: The address that it is bound to.
    :ivar number: Its port.
    :ivar protocol: Who reads it.
    :ivar written: What was sent, and to whom.
    :ivar ttl: Of multicast datagrams.
    :ivar options: What was set on the socket, with the value that was set last.
    :ivar failure: What sending raises, if it is set.
    """

    def __init__(
        self, reactor: MemoryMulticastReactor, interface: str, number: int, protocol: DatagramProtocol
    ) -> None:
        self.interface = interface
        self.number = number
        self.protocol = protocol
        self.written: list[tuple[bytes, Address]] = []
        self.ttl = 1
        self.options: dict[tuple[int, int], int | bytes] = {}
        self.failure: Exception | None = None
        self._reactor = reactor

    def write(self, packet: bytes, addr: Address) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append((packet, addr))

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", self.interface, self.number)

    def getHandle(self) -> MemoryPort:  # noqa: N802
        """The socket is the port itself, as far as options go."""
        return self

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if option in self._reactor.refused_options:
            raise self._reactor.refused_options[option]
        self.options[level, option] = value

    def setTTL(self, ttl: int) -> None:
        self.ttl = ttl

    def stopListening(self) -> Deferred[None] | None:
        if self not in self._reactor.ports:
            return None
        stopped: Deferred[None] = Deferred()

        def stop() -> None:
            self.die()
            stopped.callback(None)

        self._reactor.callLater(0, stop)
        return stopped

    def die(self) -> None:
        """End as a port does when reading from its socket fails."""
        self._reactor.ports.remove(self)
        self.protocol.doStop()


@implementer(IReactorMulticast, IReactorTime)
class MemoryMulticastReactor(Clock):
    """
    A clock, and sockets in memory.

    :ivar ports: Those that are open.
    :ivar refused_addresses: Those that cannot be bound to.
    :ivar refused_options: What setting a socket's option raises, by the option.
    """

    def __init__(self) -> None:
        super().__init__()
        # As on a monotonic clock, whose readings count from an arbitrary moment: neither 0 nor the time of day.
        self.rightNow = 12345.5
        self.ports: list[MemoryPort] = []
        self.refused_addresses: set[str] = set()
        self.refused_options: dict[int, Exception] = {}
        self._next_port = 50000

    def listenMulticast(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,  # noqa: N803
        listenMultiple: bool = False,  # noqa: N803
    ) -> IMulticastTransport:
        if interface in self.refused_addresses:
            raise CannotListenError(interface, port, OSError("refused by the test"))
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        opened = MemoryPort(self, interface, port, protocol)
        self.ports.append(opened)
        # It has of the interface what we use.
        transport = cast(IMulticastTransport, opened)
        protocol.makeConnection(transport)
        return transport
