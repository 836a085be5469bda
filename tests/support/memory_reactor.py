"""In-memory reactor for time and multicast: tests advance its clock and read and write the datagrams of its sockets."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IMulticastTransport, IReactorMulticast, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface import implementer

from ssdpreg.ssdp.links import LinkState
from ssdpreg.ssdp.protocol import PeerAddress


class MemoryPort:
    """
    In-memory UDP port and its socket.

    :ivar interface: Address that it is bound to.
    :ivar number: Port number.
    :ivar protocol: Protocol that receives its datagrams.
    :ivar written: Datagrams sent, with the address of each.
    :ivar options: Socket options by level and name, with the value set last.
    :ivar overflows: Number of datagrams that the kernel dropped because the receive buffer was full.
    :ivar failure: Exception raised by each send, or ``None``.
    """

    def __init__(
        self, reactor: MemoryMulticastReactor, interface: str, number: int, protocol: DatagramProtocol
    ) -> None:
        self.interface = interface
        self.number = number
        self.protocol = protocol
        self.written: list[tuple[bytes, PeerAddress]] = []
        self.options: dict[tuple[int, int], int | bytes] = {}
        self.overflows = 0
        self.failure: Exception | None = None
        self._reactor = reactor

    def write(self, packet: bytes, addr: PeerAddress) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append((packet, addr))
        self._reactor.written.append((packet, addr))

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", self.interface, self.number)

    def getHandle(self) -> MemoryPort:  # noqa: N802
        """Return the socket. The port itself has the methods of the socket that are needed."""
        return self

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        if (level, option) in self._reactor.refused_options:
            raise self._reactor.refused_options[level, option]
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int, length: int) -> bytes:
        """Return the statistics of the socket, SO_MEMINFO: nine numbers, of which the last counts overflows."""
        if (level, option) in self._reactor.refused_options:
            raise self._reactor.refused_options[level, option]
        if (level, option) != (socket.SOL_SOCKET, 55):
            raise OSError(errno.ENOPROTOOPT, "not in memory")
        return struct.pack("@9I", *[0] * 8, self.overflows)[:length]

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
        """Close the port, as Twisted does when reading from the socket fails."""
        self._reactor.ports.remove(self)
        self.protocol.doStop()


@implementer(IReactorMulticast, IReactorTime)
class MemoryMulticastReactor(Clock):
    """
    Clock with in-memory sockets.

    :ivar ports: Open ports.
    :ivar written: Datagrams sent from any port, with the address of each.
    :ivar refused_addresses: Addresses that cannot be bound to.
    :ivar used_ports: Ports that another program uses.
    :ivar refused_options: Exceptions raised by setting a socket option, by the level and the name of the option.
    """

    def __init__(self) -> None:
        super().__init__()
        # As on a monotonic clock, whose readings count from an arbitrary moment: neither 0 nor the time of day.
        self.rightNow = 12345.5
        self.ports: list[MemoryPort] = []
        self.written: list[tuple[bytes, PeerAddress]] = []
        self.refused_addresses: set[str] = set()
        self.used_ports: set[int] = set()
        self.refused_options: dict[tuple[int, int], Exception] = {}
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
        bound = any((opened.interface, opened.number) == (interface, port) for opened in self.ports)
        if port in self.used_ports or (bound and not listenMultiple):
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "used by the test"))
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        opened = MemoryPort(self, interface, port, protocol)
        self.ports.append(opened)
        # It has the methods of the interface that the code under test calls.
        transport = cast(IMulticastTransport, opened)
        protocol.makeConnection(transport)
        return transport


class MemoryLinks:
    """
    In-memory states of network interfaces.

    :ivar earlier: States since the last reading.
    :ivar present: Present states; empty if they are unknown.
    :ivar failure: Exception raised by the next reading, or ``None``.
    :ivar closed: Whether it was closed.
    """

    def __init__(self) -> None:
        self.earlier: list[LinkState] = []
        self.present: list[LinkState] = []
        self.failure: OSError | None = None
        self.closed = False

    def read(self) -> tuple[Sequence[LinkState], Sequence[LinkState]]:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        earlier, self.earlier = self.earlier, []
        return earlier, list(self.present)

    def close(self) -> None:
        self.closed = True
