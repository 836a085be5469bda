"""The thin edge between a socket and messages."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.messages import GROUP, PORT, Message

#: Host and port.
Address = tuple[str, int]


class SSDPProtocol(DatagramProtocol):
    """
    Turns datagrams into messages and back. Nothing that a stranger sends, and no network that fails, raises out of it.

    :param deliver: Called as ``deliver(message, peer)`` for each datagram that parses.
    :param drop: Called as ``drop(error, peer)`` for each that does not.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        deliver: Callable[[Message, Address], None],
        drop: Callable[[MessageError, Address], None] | None = None,
    ) -> None:
        self._deliver = deliver
        self._drop = drop
        self._group_reached = True

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        try:
            try:
                message = decode(datagram)
            except MessageError as error:
                if self._drop is not None:
                    self._drop(error, addr)
            else:
                self._deliver(message, addr)
        except Exception:
            # An error of our own concerns this one datagram, not the next.
            self.log.failure("Failed on a datagram from {peer}", peer=addr)

    def send(self, message: Message, address: Address) -> None:
        """
        Send a message, or lose it: that is what UDP promises, and all that an absent network allows.

        :param message: What to say.
        :param address: To whom: the group, or one peer.
        :raise HeaderError: If a value would break out of its line.
        """
        datagram = encode(message)
        if self.transport is None:
            return
        try:
            self.transport.write(datagram, address)
        except (OSError, MessageLengthError) as error:
            self._failed(address, error)
        else:
            self._succeeded(address)

    def _failed(self, address: Address, error: Exception) -> None:
        if address != (GROUP, PORT):
            # Peers are strangers, who may well be out of reach on purpose.
            self.log.debug("Cannot send to {peer}: {error}", peer=address, error=error)
        elif self._group_reached:
            self._group_reached = False
            self.log.warn("Cannot send to the SSDP group: {error}", error=error)

    def _succeeded(self, address: Address) -> None:
        if address == (GROUP, PORT) and not self._group_reached:
            self._group_reached = True
            self.log.info("Can send to the SSDP group again")
