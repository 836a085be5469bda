"""Network interfaces of this host, and the selection of those that are used for SSDP. Linux only."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address, ip_network
from pathlib import Path

import ifaddr

from ssdpreg.ssdp.links import KernelLinks

# Linux: <linux/sockios.h>, <linux/if.h>. Python does not define them.
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_MULTICAST = 0x1000
_SIOCGIFDSTADDR = 0x8917
# Linux: <linux/if_addr.h>.
_IFA_F_OPTIMISTIC = 0x04
_IFA_F_DADFAILED = 0x08
_IFA_F_TENTATIVE = 0x40

Subnet = IPv4Network | IPv6Network
#: Link-local IPv6 addresses: RFC 4291, 2.5.6. They are on the network of every interface that has IPv6.
LINK_LOCAL_NETWORK = IPv6Network("fe80::/10")


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """
    A network interface of this host.

    :ivar name: Such as ``eth0``.
    :ivar index: Number in the kernel. An interface that is deleted and created again gets another one.
    :ivar addresses: IPv4 addresses, in the kernel's order.
    :ivar ipv6_addresses: IPv6 addresses that can be used, without zones, in the kernel's order.
    :ivar up: Whether it is enabled (``IFF_UP``).
    :ivar loopback: Whether it is a loopback interface.
    :ivar multicast: Whether it supports multicast.
    :ivar networks: Networks of its addresses: hosts in them are reached without a router.
    :ivar is_port: Whether it is a part of another interface, such as a port of a bridge.
    """

    name: str
    index: int
    addresses: tuple[str, ...]
    up: bool = True
    loopback: bool = False
    multicast: bool = True
    networks: tuple[Subnet, ...] = ()
    ipv6_addresses: tuple[str, ...] = ()
    is_port: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """
    An interface that is used for SSDP over one IP version, with the address that is used on it.

    :ivar name: Such as ``eth0``.
    :ivar index: Number in the kernel.
    :ivar address: One of the interface's IPv4 addresses; or one of its IPv6 addresses, without a zone, where the kernel
        selects the source address of each datagram.
    """

    name: str
    index: int
    address: str

    @property
    def version(self) -> int:
        """IP version, 4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def zoned_address(self) -> str:
        """The address, with the zone of a link-local IPv6 address."""
        return f"{self.address}%{self.name}" if is_link_local(self.address) else self.address


class InterfaceSelection:
    """
    The operator's selection of interfaces.

    :param selectors: Names of interfaces, and networks such as ``10.0.0.0/8`` in which an interface has an address.
        An empty sequence selects every interface that supports multicast, except loopback. If there is none, it selects
        loopback.
    """

    def __init__(self, selectors: Sequence[str]) -> None:
        self._selectors = [_Selector(text) for text in selectors]

    def select(self, interfaces: Sequence[NetworkInterface]) -> list[InterfaceAddress]:
        """
        Return the interfaces to use, with the address to use on each: one for each IP version that the interface has.

        :param interfaces: Interfaces of this host. Those that are down or have no address are not used.
        """
        usable = _usable(interfaces)
        if not self._selectors:
            selected = [each for each in usable if each.multicast and not each.loopback and _has_hosts(each)]
            # Loopback supports multicast, although its flags on Linux do not include it.
            selected = selected or [each for each in usable if each.loopback]
            return [address for each in selected for address in _addresses(each)]
        addresses: list[InterfaceAddress] = []
        for interface in usable:
            matching = next(self._matching_addresses(interface), None)
            if matching is not None:
                addresses += _addresses(interface, matching)
        return addresses

    def unmatched(self, interfaces: Sequence[NetworkInterface]) -> list[str]:
        """Return the selectors that match no usable interface."""
        usable = [
            (interface.name, address)
            for interface in _usable(interfaces)
            for address in (*interface.addresses, *interface.ipv6_addresses)
        ]
        return [
            selector.text
            for selector in self._selectors
            if not any(selector.matches(name, address) for name, address in usable)
        ]

    def _matching_addresses(self, interface: NetworkInterface) -> Iterator[str]:
        for address in (*interface.addresses, *interface.ipv6_addresses):
            if any(selector.matches(interface.name, address) for selector in self._selectors):
                yield address


class _Selector:
    """
    The name of an interface, or a network.

    :ivar text: The selector as configured.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._network: IPv4Network | IPv6Network | None
        try:
            self._network = ip_network(text, strict=False)
        except ValueError:
            self._network = None

    def matches(self, name: str, address: str) -> bool:
        """Return whether it selects this address of the interface with this name."""
        return name == self.text if self._network is None else ip_address(address) in self._network


def find_interfaces() -> list[NetworkInterface]:
    """
    Return the interfaces that this host has now.

    :raise OSError: If the kernel does not list them.
    """
    addresses: dict[str, list[IPv4Interface]] = {}
    ipv6_addresses: dict[str, list[IPv6Interface]] = {}
    unusable = _unusable_ipv6_addresses()
    for adapter in ifaddr.get_adapters(include_unconfigured=True):
        # ifaddr lists an address with a label, such as "eth0:1", as a separate interface.
        name = adapter.name.partition(":")[0]
        found = addresses.setdefault(name, [])
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                found.append(IPv4Interface((ip.ip, ip.network_prefix)))
            elif (ip.ip[0], name) not in unusable:
                ipv6_addresses.setdefault(name, []).append(IPv6Interface((ip.ip[0], ip.network_prefix)))
    ports = _ports() if ipv6_addresses else frozenset()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        read = (
            _read_interface(handle, name, found, ipv6_addresses.get(name, ()), ports)
            for name, found in addresses.items()
        )
        return [interface for interface in read if interface is not None]


def is_link_local(address: str) -> bool:
    """Return whether an address, with or without a zone, is a link-local IPv6 address."""
    return address[:2] in ("fe", "FE") and IPv6Address(address.partition("%")[0]) in LINK_LOCAL_NETWORK


def _unusable_ipv6_addresses() -> frozenset[tuple[str, str]]:
    """
    Return the IPv6 addresses that the kernel does not use, because it has not verified that they are unique.

    :return: Addresses and names of interfaces; empty without IPv6.
    """
    try:
        # Not /proc/net, which is that of the first thread of the process.
        lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
    except OSError:
        return frozenset()
    fields = [line.split() for line in lines]
    return frozenset(
        (str(IPv6Address(int(address, 16))), name)
        for address, _, _, _, flags, name in fields
        if int(flags, 16) & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED) and not int(flags, 16) & _IFA_F_OPTIMISTIC
    )


def _ports() -> frozenset[int]:
    """Return the indexes of the interfaces that are a part of another one; none if the kernel does not list them."""
    try:
        with closing(KernelLinks()) as links:
            return frozenset(state.index for state in links.read()[1] if state.is_port)
    except OSError:
        return frozenset()


def _read_interface(
    handle: socket.socket,
    name: str,
    addresses: Sequence[IPv4Interface],
    ipv6_addresses: Sequence[IPv6Interface],
    ports: frozenset[int],
) -> NetworkInterface | None:
    """
    Read the index, the flags and the peers of an interface.

    :param handle: Any socket: the ioctl needs one.
    :param ports: Indexes of the interfaces that are a part of another one.
    :return: The interface, or ``None`` if it was removed after it had been listed.
    """
    request = struct.pack("16sH22x", name.encode(), 0)
    try:
        index = socket.if_nametoindex(name)
        flags = struct.unpack("16xH22x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[0]
        networks: list[Subnet] = [address.network for address in addresses]
        networks += [_peer(handle, name, address) for address in addresses if address.network.prefixlen == 32]
    except OSError:
        return None
    return NetworkInterface(
        name,
        index,
        tuple(str(address.ip) for address in addresses),
        up=bool(flags & _IFF_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        multicast=bool(flags & _IFF_MULTICAST),
        networks=tuple(dict.fromkeys([*networks, *(address.network for address in ipv6_addresses)])),
        ipv6_addresses=tuple(str(address.ip) for address in ipv6_addresses),
        is_port=index in ports,
    )


def _peer(handle: socket.socket, name: str, address: IPv4Interface) -> IPv4Network:
    """Return the peer of a point-to-point address, which is the address itself if there is no peer."""
    request = struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address.ip.packed)
    return IPv4Network(struct.unpack("20x4s16x", fcntl.ioctl(handle, _SIOCGIFDSTADDR, request))[0])


def _usable(interfaces: Sequence[NetworkInterface]) -> list[NetworkInterface]:
    return [each for each in interfaces if each.up and (each.addresses or each.ipv6_addresses)]


def _has_hosts(interface: NetworkInterface) -> bool:
    """
    Return whether an interface can have other hosts on its network.

    The kernel gives a link-local address to each port of a bridge, and receives nothing there but on the bridge.
    """
    return bool(interface.addresses) or not interface.is_port or not all(map(is_link_local, interface.ipv6_addresses))


def _addresses(interface: NetworkInterface, matching: str = "") -> Iterator[InterfaceAddress]:
    """
    Yield the address to use over each IP version.

    :param matching: An address that the operator selected, or empty.
    """
    addresses = (matching,) if matching in interface.addresses else interface.addresses[:1]
    # The kernel has no route for IPv6 multicast on loopback. A link-local address stays the same for the longest time.
    if not interface.loopback and interface.multicast:
        addresses += tuple(sorted(interface.ipv6_addresses, key=lambda each: not is_link_local(each))[:1])
    for address in addresses:
        yield InterfaceAddress(interface.name, interface.index, address)
