"""
Types of single values in the configuration.

Each type is an ``Annotated`` type. Its annotation contains the parser and the JSON Schema.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, NamedTuple, TypeGuard

from twisted.internet.endpoints import serverFromString

from ssdpreg.config.consul_address import parse_address
from ssdpreg.config.faults import quote
from ssdpreg.config.go_syntax import parse_duration
from ssdpreg.config.kinds import ScalarKind

#: The durations of Go that are useful in a configuration: positive, of a millisecond or more.
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+", re.ASCII)
#: Seconds of a year. A longer duration is probably a mistake.
_MAX_DURATION = 31_536_000

#: Linux stores the name of an interface in 16 bytes, with a zero at the end (IFNAMSIZ in net/if.h).
_INTERFACE_NAME = re.compile(r"[^\s/]{1,15}")

_PORT_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})", re.ASCII)
#: One socket per interface and search round, and the sockets of single devices that are searched at the same time.
_MIN_PORTS = 8
#: Devices announce themselves on this port. Another program on this host may use it, too.
_SSDP_PORT = 1900

#: Consul limits a value of Meta to 512 bytes. A character has at most 4 bytes in UTF-8.
_MAX_SCOPE_LENGTH = 128

#: Characters of node names that Consul DNS and URLs accept, in lower case: node names are.
_NODE_PREFIX = re.compile(r"(?:[a-z0-9][a-z0-9._-]{0,31})?")

#: RFC 1123, section 2.1. Underscores are valid, because some networks have names with them.
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.A | re.I
)


class PortRange(NamedTuple):
    """
    A range of UDP ports.

    :ivar first: The lowest port.
    :ivar last: The highest port.
    """

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def whole(low: int, high: int | None = None) -> ScalarKind:
    """
    Return the kind of whole numbers within limits.

    :param low: The minimum.
    :param high: The maximum, or ``None`` for no maximum.
    """

    def parse(value: object) -> int:
        # JSON does not distinguish between 3.0 and 3.
        if not _is_number(value) or value % 1 or value < low or (high is not None and value > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"{quote(value)} is not a whole number {limits}")
        return int(value)

    schema = {"type": "integer", "minimum": low}
    return ScalarKind(parse, schema if high is None else {**schema, "maximum": high})


def seconds(low: float, reason: str, *, or_zero: bool = False) -> ScalarKind:
    """
    Return the kind of durations: numbers of seconds, or strings such as ``"15s"``, ``"5m"`` and ``"1h30m"``.

    :param low: The minimum, in seconds.
    :param reason: Reason of the minimum, for the error message.
    :param or_zero: Whether 0 is valid, too.
    """

    def parse(value: object) -> float:
        duration = _parse_duration(value)
        if duration < low and not (or_zero and duration == 0):
            exception = " and is not 0" if or_zero else ""
            raise ValueError(f"{quote(value)} is less than the minimum of {low:g} s{exception}: {reason}")
        if duration > _MAX_DURATION:
            raise ValueError(f"{quote(value)} is more than the maximum of one year")
        return float(duration)

    number: dict[str, object] = {"type": "number", "minimum": 0 if or_zero else low}
    return ScalarKind(parse, {"anyOf": [number, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}]})


def _is_number(value: object) -> TypeGuard[float]:
    # In Python, True is an instance of int.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parse_duration(value: object) -> float:
    if _is_number(value):
        return value
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return parse_duration(value)
    raise ValueError(f'{quote(value)} is not a duration: use a number of seconds, or a string such as "15s" or "1h30m"')


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is not a string")
    if not value.strip():
        raise ValueError("is empty")
    if value != value.strip():
        raise ValueError(f"{quote(value)} starts or ends with white space")
    if not value.isprintable():
        raise ValueError(f"{quote(value)} contains a character that is not printable")
    return value


def _parse_urn(value: object) -> str:
    urn = _parse_text(value)
    if " " in urn:
        raise ValueError(f"{quote(urn)} contains a space")
    if "*" in urn[:-1]:
        raise ValueError(f'{quote(urn)} contains "*" before its last character')
    return urn


def _parse_http_path(value: object) -> str:
    path = _parse_text(value)
    if not re.fullmatch(r"/[!-~]*", path):
        raise ValueError(f'{quote(path)} is not the path of a URL: start with "/", and write spaces as "%20"')
    return path


def _parse_token(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        # The message does not contain the value: a wrong token may still be a secret.
        raise ValueError("is not an ACL token: use letters, digits and hyphens, without spaces")
    return value


def _parse_readable_file(value: object) -> str:
    path = _parse_text(value)
    # The messages do not contain the value: it may be a token that was put here by mistake.
    if not os.path.exists(path):
        raise ValueError("file does not exist")
    if os.path.isdir(path) or not os.access(path, os.R_OK):
        raise ValueError("is not a readable file")
    # twistd may change the working directory later.
    return os.path.abspath(path)


def _parse_writable_file(value: object) -> str:
    path = os.path.abspath(_parse_text(value))
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ValueError(f"directory {quote(directory)} does not exist")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{quote(path)} is not a file")
    return path


def _parse_datacenter(value: object) -> str:
    name = _parse_text(value)
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"{quote(name)} is not the name of a datacenter: use letters, digits, hyphens and underscores")
    return name


def _parse_consul_address(value: object) -> str:
    return parse_address(_parse_text(value))


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    text = _parse_text(value)
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f'{quote(text)} is not a network: use for example "10.0.0.0/8" or "2001:db8::/32"'
            ) from error
        raise ValueError(f'{quote(text)} is not a network, because it has host bits set: use "{network}"') from error


def _parse_interface(value: object) -> str:
    interface = _parse_text(value)
    if "/" in interface:
        return str(_parse_network(interface))
    if not _INTERFACE_NAME.fullmatch(interface):
        raise ValueError(f"{quote(interface)} is neither the name of an interface nor a network")
    return interface


def _parse_port_range(value: object) -> PortRange:
    text = _parse_text(value)
    match = _PORT_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f'{quote(text)} is not a range of ports: use for example "40000-40099"')
    ports = PortRange(int(match[1]), int(match[2]))
    if not 1 <= ports.first <= ports.last <= 65535:
        raise ValueError(f"{quote(text)} is not a range of ports from 1 to 65535, the lowest port first")
    if ports.last - ports.first + 1 < _MIN_PORTS:
        raise ValueError(f"{quote(text)} has less than {_MIN_PORTS} ports: several searches run at the same time")
    if ports.first <= _SSDP_PORT <= ports.last:
        raise ValueError(f"{quote(text)} contains port {_SSDP_PORT}, on which devices announce themselves")
    return ports


def _parse_scope(value: object) -> str:
    scope = _parse_text(value)
    if len(scope) > _MAX_SCOPE_LENGTH:
        raise ValueError(f"{quote(scope)} has more than {_MAX_SCOPE_LENGTH} characters")
    return scope


def _parse_node_prefix(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quote(value)} is not a string")
    if not _NODE_PREFIX.fullmatch(value):
        raise ValueError(
            f"{quote(value)} is not the beginning of a node name: use at most 32 lower-case letters, digits, dots,"
            ' hyphens and underscores, such as "ssdp-"'
        )
    return value


def _parse_host_name(value: object) -> str:
    name = _parse_text(value).lower().removesuffix(".")
    if _is_address(name.strip("[]")):
        raise ValueError(f"{quote(value)} is an IP address: the server always accepts those")
    if _HOST_NAME.fullmatch(name) is None:
        raise ValueError(f'{quote(value)} is not a host name: use for example "ssdpreg.example", without a port')
    return name


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _parse_server_endpoint(value: object) -> str:
    description = _parse_text(value)
    try:
        # Without a reactor: this only parses the description, and opens no socket.
        serverFromString(None, description)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{quote(description)} is not a Twisted server endpoint: use for example "
            '"tcp:8580:interface=127.0.0.1", or null for no server'
        ) from error
    except Exception:
        # The description is valid. Its parts, such as a systemd socket or a certificate, exist only where the daemon
        # runs.
        pass
    return description


Text = Annotated[str, ScalarKind(_parse_text, {"type": "string", "minLength": 1})]
Urn = Annotated[str, ScalarKind(_parse_urn, {"type": "string", "pattern": r"^[^\s*]*([^\s*]|\*)$"})]
HTTPPath = Annotated[str, ScalarKind(_parse_http_path, {"type": "string", "pattern": "^/[!-~]*$"})]
ACLToken = Annotated[str, ScalarKind(_parse_token, {"type": "string", "pattern": "^[!-~]+$"})]
ReadableFile = Annotated[str, ScalarKind(_parse_readable_file, {"type": "string", "minLength": 1})]
WritableFile = Annotated[str, ScalarKind(_parse_writable_file, {"type": "string", "minLength": 1})]
Datacenter = Annotated[str, ScalarKind(_parse_datacenter, {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"})]
ConsulAddress = Annotated[str, ScalarKind(_parse_consul_address, {"type": "string", "minLength": 1})]
AllowedNetwork = Annotated[IPv4Network | IPv6Network, ScalarKind(_parse_network, {"type": "string", "minLength": 2})]
InterfaceOrNetwork = Annotated[str, ScalarKind(_parse_interface, {"type": "string", "minLength": 1})]
ServerEndpoint = Annotated[str, ScalarKind(_parse_server_endpoint, {"type": "string", "minLength": 1})]
SearchPorts = Annotated[PortRange, ScalarKind(_parse_port_range, {"type": "string", "pattern": r"^\d{1,5}-\d{1,5}$"})]
Scope = Annotated[str, ScalarKind(_parse_scope, {"type": "string", "minLength": 1, "maxLength": _MAX_SCOPE_LENGTH})]
NodePrefix = Annotated[str, ScalarKind(_parse_node_prefix, {"type": "string", "pattern": f"^{_NODE_PREFIX.pattern}$"})]
HostName = Annotated[str, ScalarKind(_parse_host_name, {"type": "string", "minLength": 1})]
