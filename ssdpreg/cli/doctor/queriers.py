"""Wait for IGMP and MLD queries, which needs root."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater

from ssdpreg.cli.doctor.igmp import QUERY_INTERVAL, QuerierSearch

#: Type of a query in IGMP, RFC 3376, 4; and in MLD, RFC 3810, 5.
_IGMP_QUERY = 0x11
_MLD_QUERY = 130
#: Seconds between two looks at the sockets.
_EVERY = 0.25


async def search_queriers(
    reactor: Any, names: Sequence[str], seconds: float = QUERY_INTERVAL, version: int = 4
) -> QuerierSearch:
    """
    Wait until each interface has received a query, or the time is over.

    :param reactor: Provides ``IReactorTime``.
    :param names: Names of the interfaces.
    :param seconds: Longest wait.
    :param version: IP version: 4 for IGMP, 6 for MLD.
    """
    queriers: dict[str, str] = {}
    sockets: dict[str, socket.socket] = {}
    try:
        for name in names:
            sockets[name] = _open(name, version)
        deadline = reactor.seconds() + seconds
        while len(queriers) < len(names) and reactor.seconds() < deadline:
            await deferLater(reactor, _EVERY)
            for name, opened in sockets.items():
                if sender := _receive(opened):
                    queriers.setdefault(name, sender)
    except PermissionError:
        return QuerierSearch("needs root: run this command with sudo")
    except OSError as error:
        return QuerierSearch(f"cannot receive {'IGMP' if version == 4 else 'MLD'}: {error}")
    finally:
        for opened in sockets.values():
            opened.close()
    return QuerierSearch(queriers=queriers)


def parse_query(packet: bytes) -> str | None:
    """
    Return the sender of an IGMP query, or None for another packet.

    :param packet: IP packet with its header.
    """
    start = 4 * (packet[0] & 0xF) if packet else 0
    if start < 20 or len(packet) < start + 8 or packet[start] != _IGMP_QUERY:
        return None
    return socket.inet_ntoa(packet[12:16])


def _open(name: str, version: int) -> socket.socket:
    """Open a socket that receives the IGMP or MLD messages of one interface."""
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_IGMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    opened = socket.socket(family, socket.SOCK_RAW, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def _receive(opened: socket.socket) -> str | None:
    """Return the sender of a query that has arrived, or None."""
    while True:
        try:
            packet, address = opened.recvfrom(2048)
        except BlockingIOError:
            return None
        # The kernel removes the header of IPv6 only.
        if opened.family == socket.AF_INET6:
            sender = str(address[0]) if packet[:1] == bytes([_MLD_QUERY]) else None
        else:
            sender = parse_query(packet)
        if sender:
            return sender
