"""Protocol of one UDP socket: datagrams to messages and back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.messages import GROUPS, Message
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo, identity

#: IP address and UDP port of the sender or the recipient of a datagram.
PeerAddress = tuple[str, int]

_GROUPS = frozenset(group for groups in GROUPS.values() for group in groups)


class GroupReachability:
    """
    Log of the failures to send to the SSDP group: one line at the first failure, and one at the recovery.

    :param interface: Name of the interface.
    """

    log = Logger()

    def __init__(self, interface: str = "") -> None:
        self._interface = interface
        self._reachable = True

    def fail(self, error: Exception) -> None:
        """Process a failure to send to the group."""
        if self._reachable:
            self._reachable = False
            self.log.warn(
                "Cannot send to the SSDP group on {interface}: {error}", interface=self._interface, error=error
            )

    def succeed(self) -> None:
        """Process a datagram that was sent to the group."""
        if not self._reachable:
            self._reachable = True
            self.log.info("Can send to the SSDP group on {interface} again", interface=self._interface)


class SSDPProtocol(DatagramProtocol):
    """
    Decode datagrams into messages and encode messages into datagrams.

    Neither an invalid datagram nor a network error raises an exception.

    :param deliver: Called as ``deliver(message, peer)`` for each valid message that is not a known repetition. Returns
        the function that processes the message when it is repeated, or None if it has to be delivered again.
    :param drop: Called as ``drop(error, peer)`` for each invalid datagram.
    :param reachability: Log of the failures to send to the group. It is shared by the sockets of an interface, which
        are opened for one search round each.
    :param memo: Memo of repeated datagrams, and the scope of this socket in it; None to parse every datagram.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        deliver: Callable[[Message, PeerAddress], Repeat | None],
        drop: Callable[[MessageError, PeerAddress], None] | None = None,
        reachability: GroupReachability | None = None,
        memo: tuple[RepeatMemo, int] | None = None,
    ) -> None:
        self._deliver = deliver
        self._drop = drop
        self._reachability = reachability or GroupReachability()
        self._memo: RepeatMemo | None
        self._memo, self._scope = memo or (None, 0)

    def datagramReceived(self, datagram: bytes, addr: PeerAddress) -> None:
        try:
            memo = self._memo
            if memo is None:
                self._receive(datagram, addr)
                return
            # Only replies have a DATE.
            key = identity(datagram) if datagram[:1] == b"H" else datagram, addr[0], self._scope
            known = memo.newer.get(key) or memo.find_older(key)
            if known is None or not known():
                repeat = self._receive(datagram, addr)
                if repeat is not None:
                    memo.add(key, repeat)
        except Exception:
            # A defect of a receiver must not close the socket: the next datagram may be processed.
            self.log.failure("Failed to process a datagram from {peer}", peer=addr)

    def _receive(self, datagram: bytes, peer: PeerAddress) -> Repeat | None:
        """Parse and deliver a datagram. Return what ``deliver`` returned."""
        try:
            message = decode(datagram)
        except MessageError as error:
            if self._drop is not None:
                self._drop(error, peer)
            return None
        return self._deliver(message, peer)

    def send(self, message: Message, address: PeerAddress) -> None:
        """
        Send a message. It is lost if the socket is closed or the network is down, as UDP permits.

        :param address: The SSDP group, or one peer.
        :raise HeaderError: If the message cannot be serialized.
        """
        datagram = encode(message, address)
        if self.transport is None:
            return
        try:
            self.transport.write(datagram, address)
        except (OSError, MessageLengthError) as error:
            if address[0] in _GROUPS:
                self._reachability.fail(error)
            else:
                # Only debug: any sender of a search can name an address that is out of reach.
                self.log.debug("Cannot send to {peer}: {error}", peer=address, error=error)
        else:
            if address[0] in _GROUPS:
                self._reachability.succeed()
