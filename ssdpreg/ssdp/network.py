"""
Which interfaces SSDP is spoken on, and a pair of sockets for each.

Written for Linux: another system may lack the options by which a socket hears one interface alone.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from typing import Any

import ifaddr
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorMulticast
from twisted.logger import Logger

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.messages import GROUP, PORT, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.protocol import Address, SSDPProtocol

Deliver = Callable[[Message, Address, str], None]
Drop = Callable[[MessageError, Address, str], None]

#: The longest payload of a UDP datagram over IPv4.
_MAX_DATAGRAM = 65507
#: Bytes. A search of everything is answered by all devices within a few seconds.
_RECEIVE_BUFFER = 4 * 1024 * 1024

# Of Linux: <asm-generic/socket.h>, <linux/in.h>, <linux/sockios.h>, <linux/if.h>. Python does not name them.
_SO_RCVBUFFORCE = 33
_IP_MULTICAST_ALL = 49
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_MULTICAST = 0x1000


@dataclass(frozen=True, slots=True)
class Adapter:
    """
    An interface of this host.

    :ivar name: Such as ``eth0``.
    :ivar index: The kernel's number for it; one that is deleted and made again has another.
    :ivar addresses: Its IPv4 addresses, in the kernel's order.
    :ivar up: Whether it is in use.
    :ivar loopback: Whether it leads nowhere but here.
    :ivar multicast: Whether it can multicast.
    """

    name: str
    index: int
    addresses: tuple[str, ...]
    up: bool = True
    loopback: bool = False
    multicast: bool = True


def find_adapters() -> list[Adapter]:
    """
    Look which interfaces this host has now.

    :raise OSError: If the kernel does not say.
    """
    addresses: dict[str, list[str]] = {}
    for adapter in ifaddr.get_adapters():
        # An address with a label shows as an interface of its own: "eth0:1".
        name = adapter.name.partition(":")[0]
        addresses.setdefault(name, []).extend(ip.ip for ip in adapter.ips if isinstance(ip.ip, str))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        found = (_ask(asker, name, tuple(texts)) for name, texts in addresses.items())
        return [adapter for adapter in found if adapter is not None]


def _ask(asker: socket.socket, name: str, addresses: tuple[str, ...]) -> Adapter | None:
    request = struct.pack("16sH22x", name.encode(), 0)
    try:
        index = socket.if_nametoindex(name)
        flags = struct.unpack("16xH22x", fcntl.ioctl(asker, _SIOCGIFFLAGS, request))[0]
    except OSError:
        # It went while we looked.
        return None
    return Adapter(
        name,
        index,
        addresses,
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        multicast=bool(flags & _IFF_MULTICAST),
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """
    What the operator wants to be used.

    :ivar text: As it was configured: an interface's name, or a network that its address has to be in.
    """

    text: str

    def meets(self, name: str, address: str) -> bool:
        try:
            return IPv4Address(address) in ip_network(self.text, strict=False)
        except ValueError:
            return name == self.text


@dataclass(frozen=True, slots=True)
class _Link:
    """An interface as it is used; it is opened anew when any of this changes."""

    name: str
    index: int
    address: str


def _links(adapters: Sequence[Adapter], wanted: Sequence[_Wanted]) -> list[_Link]:
    if not wanted:
        able = [adapter for adapter in adapters if adapter.multicast and not adapter.loopback]
        # A host without any network still has itself. Loopback does multicast, though Linux does not say so.
        able = able or [adapter for adapter in adapters if adapter.loopback]
        return [_Link(adapter.name, adapter.index, adapter.addresses[0]) for adapter in able]
    links = []
    for adapter in adapters:
        met = [address for address in adapter.addresses if any(want.meets(adapter.name, address) for want in wanted)]
        if met:
            links.append(_Link(adapter.name, adapter.index, met[0]))
    return links


def _absent(adapters: Sequence[Adapter], wanted: Sequence[_Wanted]) -> list[str]:
    here = [(adapter.name, address) for adapter in adapters for address in adapter.addresses]
    return [want.text for want in wanted if not any(want.meets(name, address) for name, address in here)]


class _Pair:
    """
    The two sockets of one interface: one bound to the group, which hears what is said to all, and one on a port of its
    own, which asks and is answered.

    Port 1900 may be shared with other programs, and unicast reaches only one of the sharers.

    :param link: The interface.
    :param group: Hears what is sent to the group.
    :param search: Hears what is sent to this host alone, and sends.
    """

    def __init__(self, link: _Link, group: SSDPProtocol, search: SSDPProtocol) -> None:
        self.link = link
        self.search = search
        #: Where our searches come from.
        self.source: Address | None = None
        self._group = group
        # Twisted's interfaces for ports do not promise all that its ports can do.
        self._ports: list[Any] = []

    @property
    def alive(self) -> bool:
        """Whether both sockets are open. The reactor closes one on which reading failed."""
        return self._group.transport is not None and self.search.transport is not None

    def open(self, reactor: IReactorMulticast, ttl: int) -> None:
        """
        Open both sockets.

        :param ttl: Of multicast datagrams.
        :raise CannotListenError: If the address is gone.
        :raise OSError: If the interface is.
        """
        hearing: Any = reactor.listenMulticast(PORT, self._group, GROUP, _MAX_DATAGRAM, listenMultiple=True)
        self._ports.append(hearing)
        asking: Any = reactor.listenMulticast(0, self.search, self.link.address, _MAX_DATAGRAM)
        self._ports.append(asking)
        host = asking.getHost()
        self.source = (host.host, host.port)
        # By its index (struct ip_mreqn), for two interfaces may have the same address, and the transport's own methods
        # go by the address.
        interface = struct.pack("@4s4si", socket.inet_aton(GROUP), socket.inet_aton(self.link.address), self.link.index)
        # Otherwise the socket hears what comes in on any interface that any socket of the host has joined with.
        hearing.getHandle().setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        # Twisted shares ports by SO_REUSEADDR, which is enough, and by SO_REUSEPORT. With the latter, Linux gives a
        # datagram for the only member on an interface to any of the sockets that share: seen with 6.18.
        hearing.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        hearing.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, interface)
        asking.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        asking.setTTL(ttl)
        for port in self._ports:
            _enlarge(port.getHandle())

    def close(self) -> Deferred[Any]:
        """Close what is open; fires when it is closed."""
        stopping = (port.stopListening() for port in self._ports)
        return gatherResults([stopped for stopped in stopping if stopped is not None])


def _enlarge(handle: socket.socket) -> None:
    try:
        handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        # As much as the kernel grants to anybody: net.core.rmem_max.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


class Network:
    """
    Speaks SSDP on every interface, those that come and go included. Its owner says when to look: :meth:`refresh`.

    A message counts once, for the interface that it came in on; replies to searches count on the socket that asked.

    :param reactor: Provides ``IReactorMulticast``.
    :param deliver: Called as ``deliver(message, peer, interface)``; the interface by its name.
    :param drop: Called as ``drop(error, peer, interface)`` for what is no SSDP.
    :param interfaces: Names of interfaces, or networks that their addresses are in. None means all that are up and
        can multicast; loopback, if there is no other.
    :param ttl: How many routers multicast datagrams may pass, and one more.
    :param find_adapters: Tells which interfaces there are.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorMulticast,
        deliver: Deliver,
        drop: Drop,
        interfaces: Sequence[str] = (),
        ttl: int = 2,
        find_adapters: Callable[[], Sequence[Adapter]] = find_adapters,
    ) -> None:
        self._reactor = reactor
        self._deliver = deliver
        self._drop = drop
        self._wanted = [_Wanted(text) for text in interfaces]
        self._ttl = ttl
        self._find_adapters = find_adapters
        self._pairs: dict[str, _Pair] = {}
        self._closing: set[Deferred[Any]] = set()
        #: What was complained of, so that it is said once.
        self._troubled: frozenset[str] = frozenset()

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        """Name and address of each interface that is open."""
        return tuple((pair.link.name, pair.link.address) for pair in self._pairs.values() if pair.alive)

    def refresh(self) -> bool:
        """
        Open what came, close what went or changed, open again what died. What fails is tried again the next time.

        :return: Whether any was opened.
        """
        try:
            usable = [adapter for adapter in self._find_adapters() if adapter.up and adapter.addresses]
        except OSError as error:
            self._tell({"any new interface": str(error)})
            return False
        links = _links(usable, self._wanted)
        troubles = dict.fromkeys(_absent(usable, self._wanted), "absent, down or without an IPv4 address")
        self._close_all_but(links)
        came = [link for link in links if link.name not in self._pairs]
        for link in came:
            problem = self._open(link)
            if problem:
                troubles[link.name] = problem
        self._tell(troubles)
        return any(link.name in self._pairs for link in came)

    def send(self, message: Message) -> None:
        """Send a message to the group, through each interface."""
        for pair in self._pairs.values():
            pair.search.send(message, (GROUP, PORT))

    def reply(self, message: Message, peer: Address, interface: str) -> None:
        """
        Send a message to one peer.

        :param interface: What the peer was heard on. Where it is gone by now, so is the peer.
        """
        if interface in self._pairs:
            self._pairs[interface].search.send(message, peer)

    def close(self) -> Deferred[None]:
        """Close all sockets; fires when nothing is left."""
        self._close_all_but(())

        async def closed() -> None:
            await gatherResults(list(self._closing))

        return Deferred.fromCoroutine(closed())

    def _open(self, link: _Link) -> str:
        """Open an interface, or tell what is in the way."""
        name = link.name
        group = SSDPProtocol(
            lambda message, peer: self._heard(message, peer, name), lambda error, peer: self._drop(error, peer, name)
        )
        search = SSDPProtocol(
            lambda message, peer: self._deliver(message, peer, name), lambda error, peer: self._drop(error, peer, name)
        )
        pair = _Pair(link, group, search)
        try:
            pair.open(self._reactor, self._ttl)
        except (OSError, CannotListenError) as error:
            self._let_go(pair)
            return str(error)
        self._pairs[name] = pair
        self.log.info("Listening on {interface} at {address}", interface=name, address=link.address)
        return ""

    def _heard(self, message: Message, peer: Address, interface: str) -> None:
        match message:
            case SearchResponse():
                # Nobody asked: replies go to the socket that did.
                return
            case SearchRequest() if any(pair.source == peer for pair in self._pairs.values()):
                # Our own, looped back, or come round by another interface.
                return
        self._deliver(message, peer, interface)

    def _close_all_but(self, links: Sequence[_Link]) -> None:
        for name, pair in list(self._pairs.items()):
            if pair.link not in links or not pair.alive:
                del self._pairs[name]
                self._let_go(pair)
                self.log.info(
                    "Stopped listening on {interface} at {address}", interface=name, address=pair.link.address
                )

    def _let_go(self, pair: _Pair) -> None:
        closing = pair.close()
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def _tell(self, troubles: Mapping[str, str]) -> None:
        for interface, problem in troubles.items():
            if interface not in self._troubled:
                self.log.warn("Cannot listen on {interface} yet: {problem}", interface=interface, problem=problem)
        self._troubled = frozenset(troubles)
