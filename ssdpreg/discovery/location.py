"""Rules for LOCATION: which URLs from the network are parsed into an endpoint. Pure: no name is resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from ssdpreg.discovery.hosts import (
    ZONE_NOT_STORED,
    IPNetwork,
    check_address,
    check_name,
    is_ordinary,
    needs_zone,
    parse_host,
    parse_sender,
)
from ssdpreg.discovery.shared import shared_number
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.networks import Networks, ipv4_number
from ssdpreg.values import value

#: RFC 3986, sections 3.1 to 3.3: scheme, user, host, port, and the rest. The parser of urllib accepts control
#: characters, blanks and backslashes, and raises exceptions from its properties.
_URL = re.compile(
    r"(https?)://([^/?#\\@]*@)?(\[[^/?#\\@\[\]]*\]|[^/?#\\@:\[\]]*)(?::(\d{0,5}))?(?:[/?#].*)?",
    re.ASCII | re.IGNORECASE,
)

#: Length in characters. Devices use less than a hundred.
_MAX_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_PORT = 5
#: Number of ports that are parsed once. Most devices of a product have the same one.
_KEPT_PORTS = 1024


@value(frozen=True, slots=True)
class Endpoint:
    """
    Address at which a service is reached.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: An IP address without brackets, or a name in lower case. A link-local IPv6 address has its zone, as in
        ``fe80::1%eth0``.
    :ivar port: 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme and host in the form of a URL, such as ``https://[2001:db8::1]``."""
        return f"{self.scheme}://[{self.host}]" if ":" in self.host else f"{self.scheme}://{self.host}"

    @property
    def netloc(self) -> str:
        """Host and port in the form of a URL, such as ``[2001:db8::1]:443``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class LocationRules:
    """
    Rules for acceptable LOCATIONs.

    :param allow: Networks that may contain the address. Host names are accepted only if every address is, because a
        name is not resolved.
    :param broadcasts: Called for each LOCATION. Returns the directed broadcast addresses of the networks on which the
        daemon listens: see :func:`ssdpreg.discovery.hosts.broadcast_addresses`.
    :param zones: Whether the backend stores addresses with zones. Otherwise link-local IPv6 addresses are rejected,
        because readers on other hosts, and Consul itself, cannot use them.
    """

    def __init__(
        self,
        allow: Sequence[IPNetwork],
        broadcasts: Callable[[], frozenset[str]] = frozenset,
        *,
        zones: bool = False,
    ) -> None:
        self._zones = zones
        self._allow = Networks(allow)
        self._names_allowed = any(network.prefixlen == 0 for network in allow)
        self._broadcasts = broadcasts

    def endpoint(self, location: str, sender: str) -> Endpoint:
        """
        Parse a LOCATION.

        :param location: Value of the field.
        :param sender: IP address that sent the message, empty if unknown. A link-local IPv6 address has its zone on
            this host.
        :raise RejectedError: If it may not be registered.
        """
        if not location:
            raise RejectedError("no LOCATION")
        if len(location) > _MAX_LENGTH:
            raise RejectedError("LOCATION is too long")
        return self._plain_endpoint(location) or self._other_endpoint(location, sender)

    def _plain_endpoint(self, location: str) -> Endpoint | None:
        """
        Return the endpoint of a LOCATION like ``http://10.0.0.5:8080/description.xml``, as nearly all devices send it:
        it has an IPv4 address that needs no comparison with the sender, a port and a path.

        :return: None for any other LOCATION, which :meth:`_other_endpoint` parses with the same result in more time.
        """
        scheme, _, rest = location.partition("://")
        netloc, slash, _ = rest.partition("/")
        host, _, port_text = netloc.partition(":")
        port = _plain_port(port_text) if slash and len(port_text) <= _LONGEST_PORT else None
        if port is None or scheme not in _DEFAULT_PORTS or not location.isprintable() or not self._is_plain_host(host):
            return None
        return Endpoint(scheme, host, port)

    def _is_plain_host(self, text: str) -> bool:
        """Return whether a host is an IPv4 address that any sender may announce."""
        number = ipv4_number(text)
        return (
            number is not None
            and is_ordinary(number)
            and self._allow.contains_ipv4(number)
            and text not in self._broadcasts()
        )

    def _other_endpoint(self, location: str, sender: str) -> Endpoint:
        match = _URL.fullmatch(location)
        # Devices send blanks and umlauts in paths unquoted. A path is displayed, and quoted for requests.
        if match is None or not location.isprintable():
            raise RejectedError("LOCATION is no http or https URL")
        scheme, user, host, port_text = match.groups()
        if user is not None:
            raise RejectedError("LOCATION has a user or password")
        scheme = "https" if scheme.lower() == "https" else "http"
        port = shared_number(int(port_text or _DEFAULT_PORTS[scheme]))
        if not 1 <= port <= 65535:
            raise RejectedError("LOCATION's port is not 1 to 65535")
        return Endpoint(scheme, self._host(host, sender), port)

    def _host(self, text: str, sender: str) -> str:
        if self._is_plain_host(text):
            # The checks below would accept it, and take 20 µs.
            return text
        host = parse_host(text)
        if isinstance(host, str):
            check_name(host)
            allowed = self._names_allowed
        else:
            check_address(host, parse_sender(sender), self._broadcasts())
            allowed = host in self._allow
        if not allowed:
            raise RejectedError("LOCATION is not in an allowed network")
        if needs_zone(host):
            # The host is the sender. Its zone in the LOCATION has a meaning on the device only.
            zone = sender.partition("%")[2]
            if not zone or not self._zones:
                raise RejectedError(ZONE_NOT_STORED)
            return f"{host}%{zone}"
        return str(host)


@lru_cache(_KEPT_PORTS)
def _plain_port(text: str) -> int | None:
    """Return a port from 1 to 65535 in decimal digits, None for any other text. Services with one port share it."""
    port = int(text) if text.isascii() and text.isdigit() else 0
    return port if 1 <= port <= 65535 else None
