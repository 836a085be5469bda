"""Facts of the Linux kernel from ``/proc``, ``/sys`` and ioctls. The parsers are pure."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Linux: <linux/sockios.h>, <linux/if.h>. Python does not define them.
_SIOCGIFFLAGS = 0x8913
_IFF_BROADCAST = 0x2


@dataclass(frozen=True, slots=True)
class UDPSocket:
    """
    A UDP socket of any process in this network namespace: a line of ``/proc/net/udp`` or ``/proc/net/udp6``.

    :ivar address: Local IP address; ``0.0.0.0`` or ``::`` for all.
    :ivar port: Local port.
    :ivar uid: ID of the user whose process opened it.
    :ivar inode: Number by which the process is found.
    :ivar drops: Datagrams that the kernel dropped because the receive buffer was full.
    """

    address: str
    port: int
    uid: int
    inode: int
    drops: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """
    Multicast groups that an interface has joined: an entry of ``/proc/net/igmp``.

    :ivar version: IGMP version that the kernel uses on the interface, such as 3.
    :ivar groups: IPv4 addresses.
    """

    version: int
    groups: frozenset[str]


def parse_udp_table(text: str) -> list[UDPSocket]:
    """Parse ``/proc/net/udp`` or ``/proc/net/udp6``."""
    return list(_parse_udp_lines(text))


def _parse_udp_lines(text: str) -> Iterator[UDPSocket]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        # The address is printed as one or four numbers of 32 bits in the byte order of this host.
        words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
        packed = struct.pack(f"={len(words)}I", *words)
        family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
        yield UDPSocket(
            socket.inet_ntop(family, packed), int(port, 16), int(fields[7]), int(fields[9]), int(fields[12])
        )


def parse_igmp_table(text: str) -> dict[str, Membership]:
    """Parse ``/proc/net/igmp``, and return the memberships by the name of the interface."""
    versions: dict[str, int] = {}
    groups: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines()[1:]:
        if not line.startswith("\t"):
            _, name, *_, version = line.replace(":", " ").split()
            versions[name] = int(version.removeprefix("V"))
            groups[name] = set()
        elif name:
            groups[name].add(socket.inet_ntoa(struct.pack("=I", int(line.split()[0], 16))))
    return {name: Membership(version, frozenset(groups[name])) for name, version in versions.items()}


def read_udp_sockets(port: int) -> list[UDPSocket]:
    """Return all sockets of this network namespace with a local port."""
    texts = [read_text("/proc/net/udp"), read_text("/proc/net/udp6")]
    return [found for text in texts for found in parse_udp_table(text or "") if found.port == port]


def read_memberships() -> Mapping[str, Membership]:
    """Return the groups that the interfaces have joined."""
    return parse_igmp_table(read_text("/proc/net/igmp") or "")


def read_text(path: str) -> str | None:
    """Return the content of a file of the kernel, or None if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return None


def read_number(path: str) -> int | None:
    """Return the number in a file of the kernel, or None if it cannot be read."""
    try:
        return int(read_text(path) or "")
    except ValueError:
        return None


def is_broadcast(name: str) -> bool:
    """Return whether an interface is connected to a broadcast network: not a tunnel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            answer = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
        except OSError:
            return False
    return bool(struct.unpack("16xH22x", answer)[0] & _IFF_BROADCAST)


def is_root() -> bool:
    """Return whether this process is run by root."""
    return os.geteuid() == 0
