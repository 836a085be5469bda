"""LOCATION, a stranger's text, to an endpoint that may be registered. Pure: no name is ever resolved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ssdpreg.errors import IgnoredError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

#: RFC 3986, 3.1 to 3.3, as far as it concerns us: scheme, user, host, port, and the rest. urllib's parser lets
#: control characters, blanks and backslashes through, and raises from its properties.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?#\\@]*@)?(?P<host>\[[0-9a-f:.]+(?:%[\w.~%-]+)?\]|[^/?#\\@:\[\]]*)"
    r"(?::(?P<port>\d{0,5}))?(?:[/?#].*)?",
    re.ASCII | re.IGNORECASE,
)
#: RFC 1123, 2.1; underscores, which hosts in the field have.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII | re.IGNORECASE)
#: What inet_aton() would take for an address: its last part is a number, "192.168.1165535" and "0x7f.1" included.
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)

#: Characters; devices use less than a hundred.
_LONGEST = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where a service is reached.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: An IP address without brackets, or a name in lower case.
    :ivar port: 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """The host and port as a URL has them, such as ``[2001:db8::1]:443``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class LocationRules:
    """
    Which LOCATIONs may be registered.

    :param allow: Networks that an address has to be in. A name can be in no network that anybody knows of, so names
        are let through only where every address is.
    """

    def __init__(self, allow: Sequence[IPNetwork]) -> None:
        self._allow = tuple(allow)
        self._names_allowed = any(network.prefixlen == 0 for network in self._allow)
        # The same few devices say the same again and again.
        self._remembered = lru_cache(8192)(self._endpoint)

    def endpoint(self, location: str, sender: str) -> Endpoint:
        """
        Read a LOCATION.

        :param location: An absolute URL, in the best case.
        :param sender: IP address that the message came from, or empty.
        :raise IgnoredError: If nothing may be registered for it.
        """
        if not location:
            raise IgnoredError("no LOCATION")
        if len(location) > _LONGEST:
            raise IgnoredError("LOCATION is too long")
        return self._remembered(location, sender)

    def _endpoint(self, location: str, sender: str) -> Endpoint:
        match = _URL.fullmatch(location)
        # Devices write blanks and umlauts in paths as they are; a path is shown, and never followed.
        if match is None or not location.isprintable():
            raise IgnoredError("LOCATION is no http or https URL")
        if match["user"] is not None:
            raise IgnoredError("LOCATION has a user or password")
        scheme = match["scheme"].lower()
        port = int(match["port"] or _DEFAULT_PORTS[scheme])
        if not 1 <= port <= 65535:
            raise IgnoredError("LOCATION's port is not 1 to 65535")
        return Endpoint(scheme, self._host(match["host"].lower(), sender), port)

    def _host(self, host: str, sender: str) -> str:
        address = _address(host)
        if address is not None:
            # An IPv4 address in IPv6's clothes is an IPv4 address.
            address = getattr(address, "ipv4_mapped", None) or address
            self._judge(address, sender)
            return str(address)
        if not _NAME.fullmatch(host) or _NUMBER_LAST.fullmatch(host):
            raise IgnoredError("LOCATION's host is no address and no name")
        if host.rstrip(".").endswith("localhost") and not _is(sender, "is_loopback"):
            raise IgnoredError("LOCATION is on loopback")
        if not self._names_allowed:
            raise IgnoredError("LOCATION is not in an allowed network")
        return host.rstrip(".")

    def _judge(self, address: IPAddress, sender: str) -> None:
        if address.is_unspecified or address.is_multicast or address == _BROADCAST or address in _THIS_NETWORK:
            raise IgnoredError("LOCATION's address is no host's")
        # Such an address means something else to everybody: only who has one too may speak of it.
        if address.is_loopback and not _is(sender, "is_loopback"):
            raise IgnoredError("LOCATION is on loopback")
        if address.is_link_local and not _is(sender, "is_link_local"):
            raise IgnoredError("LOCATION is link-local")
        if not any(address in network for network in self._allow):
            raise IgnoredError("LOCATION is not in an allowed network")


def _address(host: str) -> IPAddress | None:
    # The sender's zone means nothing here: SSDP is heard on our interfaces, not on the sender's.
    literal = host.strip("[]").partition("%")[0]
    try:
        return ip_address(literal)
    except ValueError:
        return None


def _is(sender: str, property_name: str) -> bool:
    address = _address(sender)
    return address is not None and bool(getattr(address, property_name))
