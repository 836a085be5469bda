"""Network interfaces of this host, and the selection of those that are used for SSDP. Linux only."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network, ip_network

import ifaddr

# Linux: <linux/sockios.h>, <linux/if.h>. Python does not define them.
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_MULTICAST = 0x1000
_SIOCGIFDSTADDR = 0x8917


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """
    A network interface of this host.

    :ivar name: Such as ``eth0``.
    :ivar index: Number in the kernel. An interface that is deleted and created again gets another one.
    :ivar addresses: IPv4 addresses, in the kernel's order.
    :ivar up: Whether it is enabled (``IFF_UP``).
    :ivar loopback: Whether it is a loopback interface.
    :ivar multicast: Whether it supports multicast.
    :ivar networks: Networks of its addresses: hosts in them are reached without a router.
    """

    name: str
    index: int
    addresses: tuple[str, ...]
    up: bool = True
    loopback: bool = False
    multicast: bool = True
    networks: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """
    An interface that is used for SSDP, with the IPv4 address that is used on it.

    :ivar name: Such as ``eth0``.
    :ivar index: Number in the kernel.
    :ivar address: One of the interface's IPv4 addresses.
    """

    name: str
    index: int
    address: str


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
        Return the interfaces to use, with the address to use on each.

        :param interfaces: Interfaces of this host. Those that are down or have no IPv4 address are not used.
        """
        usable = _usable(interfaces)
        if not self._selectors:
            selected = [interface for interface in usable if interface.multicast and not interface.loopback]
            # Loopback supports multicast, although its flags on Linux do not include it.
            selected = selected or [interface for interface in usable if interface.loopback]
            return [InterfaceAddress(each.name, each.index, each.addresses[0]) for each in selected]
        addresses = []
        for interface in usable:
            matching = next(self._matching_addresses(interface), None)
            if matching is not None:
                addresses.append(InterfaceAddress(interface.name, interface.index, matching))
        return addresses

    def unmatched(self, interfaces: Sequence[NetworkInterface]) -> list[str]:
        """Return the selectors that match no usable interface."""
        usable = [(interface.name, address) for interface in _usable(interfaces) for address in interface.addresses]
        return [
            selector.text
            for selector in self._selectors
            if not any(selector.matches(name, address) for name, address in usable)
        ]

    def _matching_addresses(self, interface: NetworkInterface) -> Iterator[str]:
        for address in interface.addresses:
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
        return name == self.text if self._network is None else IPv4Address(address) in self._network


def find_interfaces() -> list[NetworkInterface]:
    """
    Return the interfaces that this host has now.

    :raise OSError: If the kernel does not list them.
    """
    addresses: dict[str, list[IPv4Interface]] = {}
    for adapter in ifaddr.get_adapters():
        # ifaddr lists an address with a label, such as "eth0:1", as a separate interface.
        name = adapter.name.partition(":")[0]
        found = [IPv4Interface((ip.ip, ip.network_prefix)) for ip in adapter.ips if isinstance(ip.ip, str)]
        addresses.setdefault(name, []).extend(found)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        read = (_read_interface(handle, name, found) for name, found in addresses.items())
        return [interface for interface in read if interface is not None]


def _read_interface(handle: socket.socket, name: str, addresses: Sequence[IPv4Interface]) -> NetworkInterface | None:
    """
    Read the index, the flags and the peers of an interface.

    :param handle: Any socket: the ioctl needs one.
    :return: The interface, or ``None`` if it was removed after it had been listed.
    """
    request = struct.pack("16sH22x", name.encode(), 0)
    try:
        index = socket.if_nametoindex(name)
        flags = struct.unpack("16xH22x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[0]
        networks = [address.network for address in addresses]
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
        networks=tuple(dict.fromkeys(networks)),
    )


def _peer(handle: socket.socket, name: str, address: IPv4Interface) -> IPv4Network:
    """Return the peer of a point-to-point address, which is the address itself if there is no peer."""
    request = struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address.ip.packed)
    return IPv4Network(struct.unpack("20x4s16x", fcntl.ioctl(handle, _SIOCGIFDSTADDR, request))[0])


def _usable(interfaces: Sequence[NetworkInterface]) -> list[NetworkInterface]:
    return [interface for interface in interfaces if interface.up and interface.addresses]
