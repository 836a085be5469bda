"""Hosts in a LOCATION: the addresses and names that may be registered. Pure: no name is resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ssdpreg.errors import RejectedError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

NO_HOST = "LOCATION's host is no address and no name"
NO_HOST_ADDRESS = "LOCATION's address is no host's"
ON_LOOPBACK = "LOCATION is on loopback"
LINK_LOCAL = "LOCATION is link-local"
ZONE_NOT_STORED = "LOCATION is link-local, and the backend stores no zones"
SPECIAL_NAME = "LOCATION's name has a special meaning"

#: An IPv6 address in brackets. RFC 6874 writes its zone as ``%25eth0``, most devices write ``%eth0``. A zone that
#: begins with 00 is the escape of a zero byte.
_IPV6_LITERAL = re.compile(r"\[([0-9a-f:.]+)(%(?!00|2500)(?:25)?[a-z0-9_.~-]{1,32})?\]", re.ASCII)

#: RFC 1123, section 2.1. Underscores are accepted, because hosts in the field have them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
#: Names whose last label is a number. Many programs parse them as IPv4 addresses: "127.1", "0x7f.1", "192.168.1165535".
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)\.?", re.ASCII)

#: Names of the loopback addresses, as /etc/hosts of the common systems has them, also with a domain.
_LOOPBACK_LABELS = frozenset({"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "loopback"})
#: Names of the servers from which cloud machines receive their credentials, also with a domain.
_METADATA_LABELS = frozenset({"metadata", "instance-data"})
#: Names that Consul, Kubernetes and container engines resolve to services of their own.
_SPECIAL_DOMAINS = (".consul", ".svc", ".cluster.local", ".docker.internal", ".containers.internal")

#: Networks without hosts: "this network", IETF protocol assignments, multicast, and reserved addresses with the
#: limited broadcast address (RFC 6890, RFC 5771).
_NO_HOSTS = tuple(map(IPv4Network, ("0.0.0.0/8", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4")))
#: The unicast addresses of IPv6: global, unique local, link-local and the former site-local (RFC 4291, RFC 4193). All
#: others are reserved, multicast, or forms of IPv4 addresses that no host has: IPv4-compatible (::/96), IPv4-translated
#: (::ffff:0:0:0/96) and NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_UNICAST = tuple(map(IPv6Network, ("2000::/3", "fc00::/7", "fe80::/10", "fec0::/10")))
_IPV6_LOOPBACK = IPv6Address("::1")
_IPV4_LOOPBACK = IPv4Network("127.0.0.0/8")
_IPV4_LINK_LOCAL = IPv4Network("169.254.0.0/16")
_IPV6_LINK_LOCAL = IPv6Network("fe80::/10")

#: Addresses of the servers from which cloud machines receive their credentials. No host of a network has them.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::23",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)


def _beginnings(bits: int) -> frozenset[int]:
    """Return the first 8 or 16 bits of the IPv4 addresses that may not be the address of a device."""
    special = [*_NO_HOSTS, _IPV4_LOOPBACK, _IPV4_LINK_LOCAL]
    special += [IPv4Network(address) for address in _METADATA if isinstance(address, IPv4Address)]
    found: set[int] = set()
    for network in special:
        if (network.prefixlen <= 8) == (bits == 8):
            first, last = int(network.network_address), int(network.broadcast_address)
            found.update(range(first >> 32 - bits, (last >> 32 - bits) + 1))
    return frozenset(found)


_SPECIAL_8, _SPECIAL_16 = _beginnings(8), _beginnings(16)

#: Interface identifiers of ISATAP (RFC 5214, section 6.1), without the bit for globally unique IPv4 addresses.
_ISATAP = 0x00005EFE
_ISATAP_UNIQUE_BIT = 0x02000000


def parse_host(text: str) -> IPAddress | str:
    """
    Parse the host of a URL.

    :param text: An IPv4 address, an IPv6 address in brackets, or a name.
    :return: An address, IPv4 for an IPv4-mapped IPv6 address, or a name in lower case without the dot of the root.
    :raise RejectedError: If it is none of them, or another program could parse a name as an address.
    """
    # Some characters outside ASCII have a lower case in ASCII.
    if not text.isascii():
        raise RejectedError(NO_HOST)
    text = text.lower()
    if text.startswith("["):
        return _parse_ipv6(text)
    try:
        return IPv4Address(text)
    except ValueError:
        pass
    if not _NAME.fullmatch(text) or _NUMBER_LAST.fullmatch(text):
        raise RejectedError(NO_HOST)
    return text.removesuffix(".")


def _parse_ipv6(text: str) -> IPAddress:
    match = _IPV6_LITERAL.fullmatch(text)
    try:
        address = IPv6Address(match[1] if match else "")
    except ValueError:
        raise RejectedError(NO_HOST) from None
    # A zone names an interface of the sender. It is removed: the same link has another name on this host.
    if match and match[2] and address not in _IPV6_LINK_LOCAL:
        raise RejectedError(NO_HOST)
    return address.ipv4_mapped or address


def is_ordinary(number: int) -> bool:
    """
    Return whether :func:`check_address` accepts an IPv4 address of any sender, if it is no broadcast address.

    :param number: See :func:`ssdpreg.ssdp.networks.ipv4_number`.
    :return: False also for some addresses that are accepted.
    """
    return number >> 24 not in _SPECIAL_8 and number >> 16 not in _SPECIAL_16


def is_link_local_ipv6(host: str) -> bool:
    """Return whether the text of a host is a link-local IPv6 address, with or without a zone."""
    return host[:2] == "fe" and host[2:3] in "89ab" and ":" in host[:5]


def needs_zone(host: IPAddress | str) -> bool:
    """Return whether a host is a link-local IPv6 address, which has a meaning only with the zone of an interface."""
    return isinstance(host, IPv6Address) and host in _IPV6_LINK_LOCAL


def parse_sender(text: str) -> IPAddress | None:
    """
    Parse the address of a sender.

    :param text: An IP address, possibly with a zone, or empty if it is unknown.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def check_name(name: str) -> None:
    """
    Check a host name.

    :param name: In lower case, without the dot of the root.
    :raise RejectedError: If each host resolves the name differently, or if it is not the name of a device.
    """
    first, last = name.partition(".")[0], name.rpartition(".")[2]
    if first in _LOOPBACK_LABELS or last in _LOOPBACK_LABELS:
        raise RejectedError(ON_LOOPBACK)
    if first in _METADATA_LABELS or name.endswith(_SPECIAL_DOMAINS):
        raise RejectedError(SPECIAL_NAME)


def check_address(address: IPAddress, sender: IPAddress | None, broadcasts: frozenset[str]) -> None:
    """
    Check whether an address can be that of a device.

    :param sender: Address that announced it, or None if it is unknown.
    :param broadcasts: Directed broadcast addresses: see :func:`broadcast_addresses`.
    :raise RejectedError: If no host has the address, or it has another meaning on each host or link.
    """
    _check_own_address(address, sender)
    for each in (address, *embedded_addresses(address)):
        if _is_no_host(each) or each in _METADATA or str(each) in broadcasts:
            raise RejectedError(NO_HOST_ADDRESS)
        if each is not address:
            # The sender cannot have the embedded address: its own address is the outer one.
            _check_own_address(each, None)


def _check_own_address(address: IPAddress, sender: IPAddress | None) -> None:
    """Check that a loopback or link-local address belongs to the sender."""
    # All loopback addresses belong to one host. The kernel drops datagrams from them that come from a network.
    if _is_loopback(address) and not (sender is not None and _is_loopback(sender)):
        raise RejectedError(ON_LOOPBACK)
    if _is_in(address, _IPV4_LINK_LOCAL, _IPV6_LINK_LOCAL) and address != sender:
        raise RejectedError(LINK_LOCAL)


def embedded_addresses(address: IPAddress) -> tuple[IPv4Address, ...]:
    """
    Return the IPv4 addresses to which packets for an IPv6 address are sent.

    :return: The addresses in a 6to4, Teredo or ISATAP address (RFC 3056, RFC 4380, RFC 5214), else none.
    """
    if isinstance(address, IPv4Address):
        return ()
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    interface_id = int(address) & 0xFFFFFFFF_FFFFFFFF
    if interface_id >> 32 | _ISATAP_UNIQUE_BIT == _ISATAP | _ISATAP_UNIQUE_BIT:
        return (IPv4Address(interface_id & 0xFFFFFFFF),)
    return ()


def broadcast_addresses(networks: Iterable[IPNetwork]) -> frozenset[str]:
    """
    Return the directed broadcast addresses of networks, in the form in which :class:`LocationRules` compares them.

    Some systems also use the lowest address of a network for broadcasts (RFC 1122, section 3.3.6). IPv6 has no
    broadcasts, and IPv4 networks of one or two addresses have none.

    :param networks: Networks of the interfaces on which the daemon listens.
    """
    return frozenset(
        str(address)
        for network in networks
        if isinstance(network, IPv4Network) and network.prefixlen <= 30
        for address in (network.network_address, network.broadcast_address)
    )


def _is_no_host(address: IPAddress) -> bool:
    if isinstance(address, IPv4Address):
        return _is_in(address, *_NO_HOSTS)
    return address != _IPV6_LOOPBACK and not _is_in(address, *_UNICAST)


def _is_loopback(address: IPAddress) -> bool:
    return address == _IPV6_LOOPBACK or address in _IPV4_LOOPBACK


def _is_in(address: IPAddress, *networks: IPNetwork) -> bool:
    # An address of one version is in no network of the other.
    return any(address in network for network in networks)
