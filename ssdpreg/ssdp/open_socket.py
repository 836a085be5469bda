"""An open UDP socket of a network interface."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from ssdpreg.ssdp import socket_options
from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.protocol import PeerAddress


class OpenSocket:
    """
    An open UDP socket of one interface.

    :param protocol: Its protocol.
    :param port: Its port.
    """

    def __init__(self, protocol: DatagramProtocol, port: Any) -> None:
        self._protocol = protocol
        self.port = port
        host = port.getHost()
        #: IP address and port that it is bound to.
        self.address: PeerAddress = (host.host, host.port)
        #: Interface on which it searches a single host, or None.
        self.searches_hosts_of: InterfaceAddress | None = None
        self._dropped = 0

    @property
    def alive(self) -> bool:
        """Whether it is open. The reactor closes a socket when reading from it fails."""
        return self._protocol.transport is not None

    def take_overflows(self) -> int:
        """Return the number of datagrams that the kernel dropped since the last call, because the buffer was full."""
        if not self.alive:
            return 0
        drops = socket_options.read_drops(self.port.getHandle())
        if drops is None:
            return 0
        before, self._dropped = self._dropped, drops
        # The kernel's counter has 32 bits.
        return (self._dropped - before) % 2**32
