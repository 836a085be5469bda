"""Consul's address: ``HOST:PORT``, with an optional scheme, or a UNIX socket. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any

from ssdpreg.config.faults import quote

#: The default port of Consul's HTTP API.
_DEFAULT_PORT = 8500

_HOST_AND_PORT = re.compile(r"(\[(?P<v6>[0-9a-f:.]+)\]|[a-z0-9_](?:[a-z0-9._-]*))(?::(?P<port>\d{1,5}))?", re.A | re.I)
_SCHEME = re.compile(r"(https?)://(.*?)/?", re.I | re.S)


def parse_address(text: str) -> str:
    """
    Parse an address, and remove its scheme.

    :return: ``HOST:PORT`` or ``unix:///PATH``.
    :raise ValueError: If the text is not an address. The message does not contain the text: a URL may contain a
        password.
    """
    _, address = split_scheme(text)
    if re.fullmatch("unix:///.+", address):
        return address
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        if _is_ipv6(address):
            raise ValueError(f"{quote(address)} is an IPv6 address without brackets: use [{address}]:{_DEFAULT_PORT}")
        raise ValueError(
            'is not a valid address: use for example "127.0.0.1:8500", "[::1]:8500", "https://consul.example:8501" or '
            '"unix:///run/consul.sock"'
        )
    port = int(match["port"] or _DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a valid port: use 1 to 65535")
    return f"{match[1]}:{port}"


def split_scheme(address: str) -> tuple[str | None, str]:
    """
    Split an address into its scheme and the rest.

    :return: ``http``, ``https`` or ``None``, and the address without the scheme.
    """
    match = _SCHEME.fullmatch(address)
    return (match[1].lower(), match[2]) if match else (None, address)


def scheme_of(backend: Mapping[str, Any]) -> str | None:
    """Return the scheme with which the address of a ``backend`` section starts, or ``None``."""
    address = backend.get("address")
    return split_scheme(address)[0] if isinstance(address, str) else None


def with_scheme(backend: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``backend`` section with the scheme of its address, if it has no key ``scheme``."""
    scheme = scheme_of(backend)
    return {**backend} if scheme is None else {**backend, "scheme": backend.get("scheme", scheme)}


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True
