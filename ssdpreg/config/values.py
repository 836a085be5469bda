"""
What single values of the configuration may be.

Each is a type that carries, by ``Annotated``, how it is read from JSON and how JSON Schema describes it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, TypeGuard

from twisted.internet.endpoints import serverFromString

#: Where Consul listens unless told otherwise.
_CONSUL_PORT = 8500

#: As Go writes durations, without the parts of a second that nobody needs here.
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"([\d.]+)(h|ms|m|s)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
#: Seconds of a year. What waits longer was meant to be something else.
_LONGEST = 31_536_000

_ADDRESS = re.compile(r"(\[(?P<v6>[0-9a-f:.]+)\]|[a-z0-9_](?:[a-z0-9._-]*))(?::(?P<port>\d{1,5}))?", re.ASCII | re.I)
_SCHEME = re.compile(r"(https?)://(.*?)/?", re.I | re.S)
#: Linux gives 16 bytes to an interface's name, and ends it with a zero.
_INTERFACE_NAME = re.compile(r"[^\s/]{1,15}")


@dataclass(frozen=True, eq=False)
class Kind:
    """
    What a value may be.

    :ivar read: Makes the value of what stood in JSON. Raises :class:`ValueError` that says what would be right.
    :ivar schema: The same for editors, as far as JSON Schema can say it.
    """

    read: Callable[[object], object]
    schema: Mapping[str, object]


def show(value: object) -> str:
    """Quote a value from JSON in a message: as JSON, and cut short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    quoted = json.dumps(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."


def whole(low: int, high: int | None = None) -> Kind:
    """
    Make the kind of whole numbers.

    :param low: The least.
    :param high: The greatest, or ``None`` where there is none.
    """

    def read(value: object) -> int:
        # JSON has one kind of number, so 3.0 is 3.
        if not _is_number(value) or value % 1 or value < low or (high is not None and value > high):
            limits = f"{low} or more" if high is None else f"{low} to {high}"
            raise ValueError(f"{show(value)} is no whole number of {limits}")
        return int(value)

    schema = {"type": "integer", "minimum": low}
    return Kind(read, schema if high is None else {**schema, "maximum": high})


def seconds(low: float, reason: str, *, or_zero: bool = False) -> Kind:
    """
    Make the kind of durations: numbers of seconds, or strings such as ``"15s"``, ``"5m"`` and ``"1h30m"``.

    :param low: The shortest, in seconds.
    :param reason: Why none is shorter.
    :param or_zero: Whether 0, too, means something.
    """

    def read(value: object) -> float:
        duration = _duration(value)
        if duration < low and not (or_zero and duration == 0):
            raise ValueError(f"{show(value)} is less than {low:g} s{' and not 0' * or_zero}: {reason}")
        if duration > _LONGEST:
            raise ValueError(f"{show(value)} is more than a year")
        return float(duration)

    number: dict[str, object] = {"type": "number", "minimum": 0 if or_zero else low}
    return Kind(read, {"anyOf": [number, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}]})


def _is_number(value: object) -> TypeGuard[float]:
    # To Python, True is 1.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _duration(value: object) -> float:
    if _is_number(value):
        return value
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    raise ValueError(f'{show(value)} is no duration: write a number of seconds, or one like "15s", "5m", "1h30m"')


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{show(value)} is no text")
    if not value.strip():
        raise ValueError("is empty")
    if value != value.strip() or not value.isprintable():
        raise ValueError(f"{show(value)} has blanks at its ends, or characters that nobody can see")
    return value


def _urn(value: object) -> str:
    urn = _text(value)
    if " " in urn:
        raise ValueError(f"{show(urn)} has a blank in it")
    if "*" in urn[:-1]:
        raise ValueError(f'{show(urn)} has a "*" that is not its end')
    return urn


def _http_path(value: object) -> str:
    path = _text(value)
    if not re.fullmatch(r"/[!-~]*", path):
        raise ValueError(f'{show(path)} is no path of a URL: it begins with "/", and blanks are written as "%20"')
    return path


def _token(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        # Without the value, which is a secret even if it is wrong.
        raise ValueError("is no token: letters, digits and hyphens are, with no blanks between them")
    return value


def _readable_file(value: object) -> str:
    path = _text(value)
    # Without the value: a token may have come to the place of its file.
    if not os.path.exists(path):
        raise ValueError("there is no such file")
    if os.path.isdir(path) or not os.access(path, os.R_OK):
        raise ValueError("is no file that can be read")
    # The daemon may change its working directory later.
    return os.path.abspath(path)


def _own_file(value: object) -> str:
    path = os.path.abspath(_text(value))
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise ValueError(f"there is no folder {show(folder)}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{show(path)} is no file")
    return path


def _datacenter(value: object) -> str:
    name = _text(value)
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"{show(name)} is no datacenter: letters, digits, hyphens and underscores are")
    return name


def split_scheme(address: str) -> tuple[str | None, str]:
    """
    Take ``http://`` or ``https://`` off an address.

    :return: ``http``, ``https`` or ``None``, and the rest.
    """
    match = _SCHEME.fullmatch(address)
    return (match[1].lower(), match[2]) if match else (None, address)


def _address(value: object) -> str:
    _, address = split_scheme(_text(value))
    if re.fullmatch("unix:///.+", address):
        return address
    match = _ADDRESS.fullmatch(address)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        if _is_ipv6(address):
            raise ValueError(f"{show(address)} is an IPv6 address, which goes in brackets: [{address}]:{_CONSUL_PORT}")
        # Without the value: some put passwords into URLs.
        raise ValueError(
            'is no address: "127.0.0.1:8500", "[::1]:8500", "https://consul.example:8501", '
            '"unix:///run/consul.sock" are'
        )
    port = int(match["port"] or _CONSUL_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port: 1 to 65535 are")
    return f"{match[1]}:{port}"


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def _network(value: object) -> IPv4Network | IPv6Network:
    network = _text(value)
    try:
        return ip_network(network)
    except ValueError as error:
        try:
            meant = ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f'{show(network)} is no network: "10.0.0.0/8" and "2001:db8::/32" are') from error
        raise ValueError(f'{show(network)} is no network, but an address in "{meant}"') from error


def _interface(value: object) -> str:
    interface = _text(value)
    if "/" in interface:
        return str(_network(interface))
    if not _INTERFACE_NAME.fullmatch(interface):
        raise ValueError(f"{show(interface)} is neither a network nor the name of an interface")
    return interface


def _endpoint(value: object) -> str:
    description = _text(value)
    try:
        # Makes an object and nothing else: no socket is opened, and so nothing is asked of a reactor.
        serverFromString(None, description)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'{show(description)} is no endpoint of Twisted: "tcp:8580:interface=127.0.0.1" is, and null is none'
        ) from error
    except Exception:
        # Well-formed, but to be had only where the daemon runs, as a socket of systemd's or a certificate.
        pass
    return description


Text = Annotated[str, Kind(_text, {"type": "string", "minLength": 1})]
Urn = Annotated[str, Kind(_urn, {"type": "string", "pattern": r"^[^\s*]*([^\s*]|\*)$"})]
HTTPPath = Annotated[str, Kind(_http_path, {"type": "string", "pattern": "^/[!-~]*$"})]
Token = Annotated[str, Kind(_token, {"type": "string", "pattern": "^[!-~]+$"})]
ReadableFile = Annotated[str, Kind(_readable_file, {"type": "string", "minLength": 1})]
OwnFile = Annotated[str, Kind(_own_file, {"type": "string", "minLength": 1})]
Datacenter = Annotated[str, Kind(_datacenter, {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"})]
Address = Annotated[str, Kind(_address, {"type": "string", "minLength": 1})]
Network = Annotated[IPv4Network | IPv6Network, Kind(_network, {"type": "string", "minLength": 2})]
Interface = Annotated[str, Kind(_interface, {"type": "string", "minLength": 1})]
Endpoint = Annotated[str, Kind(_endpoint, {"type": "string", "minLength": 1})]
