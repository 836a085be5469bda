"""Wait for IGMP queries, which needs root."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.task import deferLater

from ssdpreg.cli.doctor.igmp import QUERY_INTERVAL, QuerierSearch

_MEMBERSHIP_QUERY = 0x11
#: Seconds between two looks at the sockets.
_EVERY = 0.25


async def search_queriers(reactor: Any, names: Sequence[str], seconds: float = QUERY_INTERVAL) -> QuerierSearch:
    """
    Wait until each interface has received a query, or the time is over.

    :param reactor: Provides ``IReactorTime``.
    :param names: Names of the interfaces.
    :param seconds: Longest wait.
    """
    queriers: dict[str, str] = {}
    sockets: dict[str, socket.socket] = {}
    try:
        for name in names:
            sockets[name] = _open(name)
        deadline = reactor.seconds() + seconds
        while len(queriers) < len(names) and reactor.seconds() < deadline:
            await deferLater(reactor, _EVERY)
            for name, opened in sockets.items():
                if sender := _receive(opened):
                    queriers.setdefault(name, sender)
    except PermissionError:
        return QuerierSearch("needs root: run this command with sudo")
    except OSError as error:
        return QuerierSearch(f"cannot receive IGMP: {error}")
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
    if start < 20 or len(packet) < start + 8 or packet[start] != _MEMBERSHIP_QUERY:
        return None
    return socket.inet_ntoa(packet[12:16])


def _open(name: str) -> socket.socket:
    """Open a socket that receives the IGMP messages of one interface."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
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
            sender = parse_query(opened.recv(2048))
        except BlockingIOError:
            return None
        if sender:
            return sender
