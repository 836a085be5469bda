"""Collection of the SSDP traffic of ``ssdpreg doctor``: sends probes and a search, and records what arrives."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from ssdpreg.cli.doctor.traffic import Traffic
from ssdpreg.errors import MessageError
from ssdpreg.ssdp import socket_options
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.interfaces import InterfaceAddress
from ssdpreg.ssdp.messages import GROUPS, PORT, SEARCH_ALL, SearchRequest, SearchResponse
from ssdpreg.ssdp.open_socket import OpenSocket
from ssdpreg.ssdp.sockets import UDPSockets

#: Seconds between the two transmissions of each datagram, because UDP loses datagrams.
_REPEAT_DELAY = 0.2
#: Seconds of the wait for replies. Devices may wait for MX, which is 1 s here.
_WAIT = 1.8
#: Datagrams that are kept of each socket.
_MOST_RECORDED = 4096


class _Recorder(DatagramProtocol):
    """
    Protocol that keeps the datagrams it receives.

    :ivar received: Datagrams with the IP addresses of their senders.
    """

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str]] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        if len(self.received) < _MOST_RECORDED:
            self.received.append((datagram, addr[0]))


async def observe_traffic(
    reactor: Any,
    interfaces: Sequence[InterfaceAddress],
    ttl: int,
    ports: tuple[int, int] | None,
    own: Collection[str],
    joined: Callable[[], None],
) -> list[Traffic]:
    """
    Send probes and a search on each interface, and return what was received. Takes 2 s.

    :param reactor: Provides ``IReactorTime`` and ``IReactorMulticast``.
    :param ttl: IP time to live of the searches.
    :param ports: First and last port of sockets for searches, or None for any port.
    :param own: Addresses of this host.
    :param joined: Called when all interfaces have joined the group.
    """
    sockets = UDPSockets(reactor, ttl, ports)
    probes = [_Probe(reactor, sockets, interface, ports) for interface in interfaces]
    try:
        for probe in probes:
            probe.open()
        joined()
        await gatherResults([Deferred.fromCoroutine(probe.run()) for probe in probes])
        return [probe.result(own) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
        await sockets.closed()


class _Probe:
    """Sockets of one interface, with the datagrams that they send and receive."""

    def __init__(
        self, reactor: Any, sockets: UDPSockets, interface: InterfaceAddress, ports: tuple[int, int] | None
    ) -> None:
        self._reactor, self._sockets, self._interface = reactor, sockets, interface
        self._ports = ports
        self._groups = {group: _Recorder() for group in GROUPS[interface.version]}
        #: Group whose port is that of the search. All groups are treated alike by rules for ports.
        self._group = GROUPS[interface.version][0]
        self._reply_port, self._search = _Recorder(), _Recorder()
        self._open: list[OpenSocket] = []
        self._in_use = False
        self._problem = ""
        self._blocked = False
        self._at_limit = False
        self._probe_port = 0
        # No device has these IDs, so no device replies to the probes.
        self._marker, self._marker_from_1900 = (
            encode(SearchRequest(f"uuid:{uuid.uuid4()}", 1), (self._group, PORT)) for _ in range(2)
        )
        self._sent_from_1900 = False

    def open(self) -> None:
        """Open the sockets, and keep the reason if that fails."""
        for group in tuple(self._groups):
            self._open_group(group)
        if self._problem:
            return
        try:
            opened = self._sockets.open_search(self._interface, self._search)
            self._open.append(opened)
            self._probe_port = opened.address[1]
            # The same port of the group: the firewall treats it as the port of the search.
            if self._interface.version == 4:
                self._open.append(self._sockets.open_group(self._interface, self._reply_port, self._probe_port))
            else:
                self._join(opened)
        except (CannotListenError, OSError) as error:
            self._problem = f"cannot open the socket of a search: {error}"

    def _open_group(self, group: str) -> None:
        """Open the socket of a group, and keep the reason if that fails."""
        try:
            self._open.append(self._sockets.open_group(self._interface, self._groups[group], group=group))
        except PermissionError as error:
            # Linux before 5.7 requires CAP_NET_RAW for the group of the site, which the daemon does without, too.
            if group == self._group:
                self._problem = f"cannot join {group}: {error.strerror or error}"
            del self._groups[group]
        except CannotListenError as error:
            self._in_use = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
            self._problem = f"cannot open UDP port {PORT}: {error.socketError}"
        except OSError as error:
            self._problem = f"cannot join {group}: {error.strerror or error}"
            # ip_mc_join_group() of Linux.
            self._at_limit = error.errno == errno.ENOBUFS

    def _join(self, opened: OpenSocket) -> None:
        """
        Make the socket of a search over IPv6 receive what is sent to the group and its port.

        It is bound to any address of its interface, so that no other socket can be bound to the group and that port.
        """
        self._reply_port = self._search
        socket_options.join_ipv6(opened.port.getHandle(), self._interface, self._group)

    async def run(self) -> None:
        """Send each datagram twice, and wait for the replies."""
        if self._problem:
            return
        for _ in range(2):
            for group in self._groups:
                self._send(self._marker, (group, PORT))
                self._send(encode(SearchRequest(SEARCH_ALL, 1), (group, PORT)), (group, PORT))
            self._send(self._marker, (self._group, self._probe_port))
            self._send_from_1900()
            await deferLater(self._reactor, _REPEAT_DELAY)
        await deferLater(self._reactor, _WAIT - _REPEAT_DELAY)

    def _send(self, datagram: bytes, target: tuple[str, int]) -> None:
        try:
            self._search.transport.write(datagram, target)  # type: ignore[union-attr]
        except OSError as error:
            self._problem = f"cannot send to {target[0]}: {error.strerror or error}"
            # The result of a drop in a chain for outgoing packets.
            self._blocked = error.errno == errno.EPERM

    def _send_from_1900(self) -> None:
        """Send the probe from UDP port 1900, from which most devices reply: a firewall may have a rule for it."""
        protocol = _Recorder()
        try:
            opened = self._sockets.open_announcing(self._interface, protocol)
        except (CannotListenError, OSError):
            return
        with suppress(OSError):
            protocol.transport.write(self._marker_from_1900, (self._group, self._probe_port))  # type: ignore[union-attr]
            self._sent_from_1900 = True
        # At once: the socket shares the port with programs that need the unicast datagrams.
        self._sockets.close(opened)

    def result(self, own: Collection[str]) -> Traffic:
        """
        Return what was received.

        :param own: Addresses of this host, whose replies prove nothing.
        """
        return Traffic(
            self._interface.name,
            self._in_use,
            self._problem,
            self._blocked,
            [group for group, recorder in self._groups.items() if not _contains(recorder, self._marker)],
            self._probe_port,
            _contains(self._reply_port, self._marker),
            not self._sent_from_1900 or _contains(self._reply_port, self._marker_from_1900),
            sorted(
                {
                    sender
                    for datagram, sender in self._search.received
                    if _is_foreign(sender, own) and _is_reply(datagram)
                }
            ),
            self._interface.version,
            self._at_limit,
        )

    def close(self) -> None:
        """Begin to close the sockets."""
        for opened in self._open:
            self._sockets.close(opened)


def _is_foreign(sender: str, own: Collection[str]) -> bool:
    """Return whether a sender is another host. The addresses of this host have no zones."""
    return sender.partition("%")[0] not in own


def _contains(recorder: _Recorder, datagram: bytes) -> bool:
    return any(received == datagram for received, _ in recorder.received)


def _is_reply(datagram: bytes) -> bool:
    try:
        return isinstance(decode(datagram), SearchResponse)
    except MessageError:
        return False
