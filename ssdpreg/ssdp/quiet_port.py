"""Multicast UDP ports that do not log when they open and close."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import MulticastPort
from twisted.python.failure import Failure
from twisted.python.log import callWithContext

#: Context of Twisted's log. Observers write no line for an event with an empty format.
_NO_TEXT = {"log_format": ""}


class QuietMulticastPort(MulticastPort):
    """
    Port that does not log when it opens and closes.

    Twisted logs both for each port, whether or not the protocol is ``noisy``. There are several ports for each search
    round, and devices on the network can cause searches.
    """

    _closed: Deferred[None] | None = None

    def startListening(self) -> None:
        callWithContext(_NO_TEXT, super().startListening)

    def connectionLost(self, reason: Failure | None = None) -> None:
        callWithContext(_NO_TEXT, super().connectionLost, reason)
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.callback(None)

    def stopListening(self) -> Deferred[None] | None:
        if super().stopListening() is None:
            return None
        # Not the Deferred of the superclass: its callbacks would run in the context without text.
        self._closed = Deferred()
        return self._closed


def listen_quietly(
    reactor: Any, number: int, protocol: DatagramProtocol, address: str, max_datagram: int, *, shared: bool
) -> Any:
    """
    Open a port like ``IReactorMulticast.listenMulticast``, and without log lines if the reactor watches descriptors.

    :param shared: Whether other programs may use the port too.
    """
    if not IReactorFDSet.providedBy(reactor):
        return reactor.listenMulticast(number, protocol, address, max_datagram, listenMultiple=shared)
    port = QuietMulticastPort(number, protocol, address, max_datagram, cast("Any", reactor), shared)
    port.startListening()
    return port


def listen_quietly_ipv6(
    reactor: Any,
    address: tuple[str, int, int],
    protocol: DatagramProtocol,
    configure: Callable[[socket.socket], None],
    max_datagram: int,
    *,
    shared: bool,
) -> Any:
    """
    Open a port of IPv6 like :func:`listen_quietly`.

    The socket is made here, because ``listenMulticast`` has no parameter for the interface of a link-local address, and
    options that restrict a socket to one interface have to be set before it is bound.

    :param address: IP address, port, and the index of the interface for a link-local address, or 0.
    :param configure: Sets the options of the socket, before it is bound.
    :param shared: Whether other programs may use the port too.
    :raise CannotListenError: If it cannot be bound.
    :raise OSError: If an option cannot be set.
    """
    host, number, scope = address
    if not IReactorFDSet.providedBy(reactor):
        port = reactor.listenMulticast(number, protocol, host, max_datagram, listenMultiple=shared)
        configure(port.getHandle())
        return port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as handle:
        handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        configure(handle)
        try:
            handle.bind((host, number, 0, scope))
        except OSError as error:
            raise CannotListenError(host, number, error) from error
        # The same as adoptDatagramPort, for a port of this class. It duplicates the descriptor.
        port = QuietMulticastPort._fromListeningDescriptor(
            reactor, handle.fileno(), socket.AF_INET6, protocol, max_datagram
        )
    port.startListening()
    return port
