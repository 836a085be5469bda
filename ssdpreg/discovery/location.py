"""Policy for LOCATION: a URL from the network to an endpoint that may be registered. Pure: no name is resolved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ssdpreg.errors import RejectedError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

#: RFC 3986, sections 3.1 to 3.3: scheme, user, host, port, and the rest. The parser of urllib accepts control
#: characters, blanks and backslashes, and raises exceptions from its properties.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?#\\@]*@)?(?P<host>\[[0-9a-f:.]+(?:%[\w.~%-]+)?\]|[^/?#\\@:\[\]]*)"
    r"(?::(?P<port>\d{0,5}))?(?:[/?#].*)?",
    re.ASCII | re.IGNORECASE,
)
#: RFC 1123, section 2.1. Underscores are accepted, because hosts in the field have them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(?:\.{_LABEL})*\.?", re.ASCII | re.IGNORECASE)
#: Names whose last part is a number. inet_aton() would parse them as addresses: "192.168.1165535", "0x7f.1".
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)

#: Length in characters. Devices use less than a hundred.
_MAX_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_BROADCAST = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Address at which a service is reached.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: An IP address without brackets, or a name in lower case.
    :ivar port: 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port in the form of a URL, such as ``[2001:db8::1]:443``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class LocationRules:
    """
    Rules for acceptable LOCATIONs.

    :param allow: Networks that may contain the address. Host names are accepted only if every address is, because a
        name is not resolved.
    """

    def __init__(self, allow: Sequence[IPNetwork]) -> None:
        self._allow = tuple(allow)
        self._names_allowed = any(network.prefixlen == 0 for network in self._allow)
        # Devices repeat their LOCATION with each announcement.
        self._cached = lru_cache(8192)(self._endpoint)

    def endpoint(self, location: str, sender: str) -> Endpoint:
        """
        Parse a LOCATION.

        :param location: Value of the field.
        :param sender: IP address that sent the message, empty if unknown.
        :raise RejectedError: If it may not be registered.
        """
        if not location:
            raise RejectedError("no LOCATION")
        if len(location) > _MAX_LENGTH:
            raise RejectedError("LOCATION is too long")
        return self._cached(location, sender)

    def _endpoint(self, location: str, sender: str) -> Endpoint:
        match = _URL.fullmatch(location)
        # Devices send blanks and umlauts in paths unquoted. A path is displayed, but never requested.
        if match is None or not location.isprintable():
            raise RejectedError("LOCATION is no http or https URL")
        if match["user"] is not None:
            raise RejectedError("LOCATION has a user or password")
        scheme = match["scheme"].lower()
        port = int(match["port"] or _DEFAULT_PORTS[scheme])
        if not 1 <= port <= 65535:
            raise RejectedError("LOCATION's port is not 1 to 65535")
        return Endpoint(scheme, self._host(match["host"].lower(), sender), port)

    def _host(self, host: str, sender: str) -> str:
        address = _address(host)
        if address is not None:
            # An IPv4-mapped IPv6 address is registered as IPv4.
            address = getattr(address, "ipv4_mapped", None) or address
            self._check_address(address, sender)
            return str(address)
        if not _NAME.fullmatch(host) or _NUMBER_LAST.fullmatch(host):
            raise RejectedError("LOCATION's host is no address and no name")
        if host.rstrip(".").endswith("localhost") and not _is(sender, "is_loopback"):
            raise RejectedError("LOCATION is on loopback")
        if not self._names_allowed:
            raise RejectedError("LOCATION is not in an allowed network")
        return host.rstrip(".")

    def _check_address(self, address: IPAddress, sender: str) -> None:
        if address.is_unspecified or address.is_multicast or address == _BROADCAST or address in _THIS_NETWORK:
            raise RejectedError("LOCATION's address is no host's")
        # Loopback and link-local addresses have a meaning only on the host or link of the sender.
        if address.is_loopback and not _is(sender, "is_loopback"):
            raise RejectedError("LOCATION is on loopback")
        if address.is_link_local and not _is(sender, "is_link_local"):
            raise RejectedError("LOCATION is link-local")
        if not any(address in network for network in self._allow):
            raise RejectedError("LOCATION is not in an allowed network")


def _address(host: str) -> IPAddress | None:
    # The zone is dropped: it names an interface of the sender, not of this host.
    literal = host.strip("[]").partition("%")[0]
    try:
        return ip_address(literal)
    except ValueError:
        return None


def _is(sender: str, property_name: str) -> bool:
    address = _address(sender)
    return address is not None and bool(getattr(address, property_name))
