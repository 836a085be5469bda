"""Multicast UDP ports that do not log when they open and close."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
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
