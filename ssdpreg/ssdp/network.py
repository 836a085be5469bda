"""Sending and receiving of SSDP messages on all selected network interfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorMulticast
from twisted.logger import Logger

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.interfaces import InterfaceAddress, InterfaceSelection, NetworkInterface, find_interfaces
from ssdpreg.ssdp.messages import GROUP, PORT, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol
from ssdpreg.ssdp.sockets import InterfaceSockets

Deliver = Callable[[Message, PeerAddress, str], None]
Drop = Callable[[MessageError, PeerAddress, str], None]


class Network:
    """
    SSDP on all selected interfaces, including those that appear later.

    The owner calls :meth:`refresh` at intervals. A multicast datagram is delivered once, for the interface that
    received it. A reply is delivered only from the socket that sent the search.

    :param reactor: Provides ``IReactorMulticast``.
    :param deliver: Called as ``deliver(message, peer, interface)``, with the name of the interface.
    :param drop: Called as ``drop(error, peer, interface)`` for each invalid datagram.
    :param interfaces: Selectors of interfaces, as in :class:`ssdpreg.ssdp.interfaces.InterfaceSelection`.
    :param ttl: TTL of multicast datagrams.
    :param find_interfaces: Returns the interfaces of this host.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorMulticast,
        deliver: Deliver,
        drop: Drop,
        interfaces: Sequence[str] = (),
        ttl: int = 2,
        find_interfaces: Callable[[], Sequence[NetworkInterface]] = find_interfaces,
    ) -> None:
        self._reactor = reactor
        self._deliver = deliver
        self._drop = drop
        self._selection = InterfaceSelection(interfaces)
        self._ttl = ttl
        self._find_interfaces = find_interfaces
        #: Sockets by the name of the interface.
        self._sockets: dict[str, InterfaceSockets] = {}
        self._closing: set[Deferred[Any]] = set()
        #: Interfaces and selectors with a problem that has been logged.
        self._problematic: frozenset[str] = frozenset()

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        """Name and address of each interface with open sockets."""
        return tuple(
            (sockets.interface.name, sockets.interface.address) for sockets in self._sockets.values() if sockets.alive
        )

    def refresh(self) -> bool:
        """
        Open the sockets of new interfaces, close those of removed ones, and reopen those that changed or failed.

        An interface that cannot be opened is tried again at the next call.

        :return: Whether the sockets of any interface were opened.
        """
        try:
            found = self._find_interfaces()
        except OSError as error:
            self._log_problems({"any new interface": str(error)})
            return False
        selected = self._selection.select(found)
        problems = dict.fromkeys(self._selection.unmatched(found), "absent, down or without an IPv4 address")
        self._close_all_except(selected)
        new = [interface for interface in selected if interface.name not in self._sockets]
        for interface in new:
            problem = self._open(interface)
            if problem:
                problems[interface.name] = problem
        self._log_problems(problems)
        return any(interface.name in self._sockets for interface in new)

    def send(self, message: Message) -> None:
        """Send a message to the group on each interface."""
        for sockets in self._sockets.values():
            sockets.send(message, (GROUP, PORT))

    def reply(self, message: Message, peer: PeerAddress, interface: str) -> None:
        """
        Send a message to one peer.

        :param interface: Name of the interface that received the peer's message. If it is no longer open, the message
            is not sent.
        """
        if interface in self._sockets:
            self._sockets[interface].send(message, peer)

    def close(self) -> Deferred[None]:
        """Close all sockets; fires when every socket is closed."""
        self._close_all_except(())

        async def wait() -> None:
            await gatherResults(list(self._closing))

        return Deferred.fromCoroutine(wait())

    def _open(self, interface: InterfaceAddress) -> str:
        """
        Open the sockets of an interface.

        :return: The problem, or an empty text if they are open.
        """
        name = interface.name

        def drop(error: MessageError, peer: PeerAddress) -> None:
            self._drop(error, peer, name)

        group = SSDPProtocol(lambda message, peer: self._receive_multicast(message, peer, name), drop)
        search = SSDPProtocol(lambda message, peer: self._deliver(message, peer, name), drop)
        sockets = InterfaceSockets(interface, group, search)
        try:
            sockets.open(self._reactor, self._ttl)
        except (OSError, CannotListenError) as error:
            self._close(sockets)
            return str(error)
        self._sockets[name] = sockets
        self.log.info("Listening on {interface} at {address}", interface=name, address=interface.address)
        return ""

    def _receive_multicast(self, message: Message, peer: PeerAddress, interface: str) -> None:
        match message:
            case SearchResponse():
                # A reply is sent to the socket that searched, never to the group.
                return
            case SearchRequest() if any(sockets.source == peer for sockets in self._sockets.values()):
                # A search of this daemon: multicast loops back, also from one interface to another.
                return
        self._deliver(message, peer, interface)

    def _close_all_except(self, interfaces: Sequence[InterfaceAddress]) -> None:
        for name, sockets in list(self._sockets.items()):
            if sockets.interface not in interfaces or not sockets.alive:
                del self._sockets[name]
                self._close(sockets)
                self.log.info(
                    "Stopped listening on {interface} at {address}", interface=name, address=sockets.interface.address
                )

    def _close(self, sockets: InterfaceSockets) -> None:
        closing = sockets.close()
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def _log_problems(self, problems: Mapping[str, str]) -> None:
        """Log the problem of each interface or selector that had none at the refresh before."""
        for interface, problem in problems.items():
            if interface not in self._problematic:
                self.log.warn("Cannot listen on {interface} yet: {problem}", interface=interface, problem=problem)
        self._problematic = frozenset(problems)
