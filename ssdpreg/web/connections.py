"""Limits of the connections of clients, and of the requests that they keep open. Pure."""

from __future__ import annotations

import resource
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Protocol

from ssdpreg.web.errors import ResponseError

#: Connections in all, if the descriptor limit of the process allows it.
_MOST = 256
#: Descriptors that are left to the backend, the sockets for SSDP, and files.
_RESERVE = 64
#: Connections that are accepted even if the descriptor limit is very low.
_FEWEST = 8

#: Kinds of requests that stay open: server-sent events, and blocking queries.
EVENTS = "events"
BLOCKING = "blocking"
HELD_KINDS = (EVENTS, BLOCKING)

#: Reasons of :attr:`Connections.refused`, :attr:`Connections.closed` and :attr:`Connections.refused_requests`.
REFUSED_REASONS = ("connections", "client")
CLOSED_REASONS = ("displaced", "header", "idle", "reader", "pipelined")
REFUSED_REQUEST_REASONS = ("body", *HELD_KINDS, "filter", "host", "origin")


class Connection(Protocol):
    """A connection that may be closed in favour of a new one."""

    def displace(self) -> None:
        """Close the connection at once."""


def most_connections() -> int:
    """Return the number of connections that this process can accept, from its soft limit of descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    # Half of the rest: a connection that is closed keeps its descriptor until the end of the reactor's turn.
    return max(_FEWEST, min(_MOST, (soft - _RESERVE) // 2))


def client_of(host: str) -> str:
    """
    Return the text that identifies a client: its IPv4 address, or the network of its IPv6 address.

    A host chooses its IPv6 addresses from a network of 64 bits.

    :param host: IP address, or the empty string for a client without one, such as that of a Unix socket.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.exploded[:19]


class Connections:
    """
    Open connections and the limits of their number.

    When a limit is reached, the oldest connection without a request is closed in favour of a new one. If every
    connection has a request, the new one is refused.

    :param limit: Connections in all.
    :ivar limit: Connections in all.
    :ivar client_limit: Connections of one client.
    :ivar held_limits: Requests that stay open, by kind: in all.
    :ivar client_held_limits: Requests that stay open, by kind: of one client.
    :ivar held: Number of requests that are open at present, by kind.
    :ivar refused: Number of refused connections, by reason: ``connections`` or ``client``.
    :ivar closed: Number of connections that were closed by the server before their end, by reason: ``displaced``,
        ``header``, ``idle``, ``reader`` or ``pipelined``.
    :ivar refused_requests: Number of refused requests, by reason: ``body``, ``blocking``, ``events``, ``filter``,
        ``host`` or ``origin``.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = most_connections() if limit is None else limit
        self.client_limit = max(1, self.limit // 4)
        self.held_limits = {EVENTS: max(1, self.limit // 4), BLOCKING: max(1, self.limit // 2)}
        self.client_held_limits = {EVENTS: max(1, self.client_limit // 2), BLOCKING: self.client_limit}
        self.held: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.refused_requests: Counter[str] = Counter()
        self._client_held: Counter[tuple[str, str]] = Counter()
        self._clients: dict[Connection, str] = {}
        self._client_counts: Counter[str] = Counter()
        # Connections without a request, the oldest one first: of all clients, and by client.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._client_idle: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def make_room(self, client: str) -> bool:
        """
        Make room for a connection of a client, and return whether there is room.

        :param client: See :func:`client_of`.
        """
        if self._client_counts[client] >= self.client_limit:
            return self._displace(self._client_idle.get(client), "client")
        if len(self) >= self.limit:
            return self._displace(self._idle, "connections")
        return True

    def _displace(self, idle: OrderedDict[Connection, None] | None, reason: str) -> bool:
        if not idle:
            self.refused[reason] += 1
            return False
        oldest = next(iter(idle))
        self.closed["displaced"] += 1
        self.remove(oldest)
        oldest.displace()
        return True

    def add(self, connection: Connection, client: str) -> None:
        """Add a connection that has no request yet."""
        self._clients[connection] = client
        self._client_counts[client] += 1
        self.set_idle(connection)

    def remove(self, connection: Connection) -> None:
        """Remove a connection, unless it was removed already."""
        self.set_busy(connection)
        client = self._clients.pop(connection, None)
        if client is not None:
            self._client_counts[client] -= 1
            if not self._client_counts[client]:
                del self._client_counts[client]

    def set_idle(self, connection: Connection) -> None:
        """Record that a connection has no request."""
        client = self._clients.get(connection)
        if client is not None:
            self._idle[connection] = None
            self._client_idle.setdefault(client, OrderedDict())[connection] = None

    def set_busy(self, connection: Connection) -> None:
        """Record that a connection has a request."""
        client = self._clients.get(connection)
        if client is None or connection not in self._idle:
            return
        del self._idle[connection]
        idle = self._client_idle[client]
        del idle[connection]
        if not idle:
            del self._client_idle[client]

    def all(self) -> list[Connection]:
        """Return the open connections."""
        return list(self._clients)

    def hold(self, kind: str, client: str) -> None:
        """
        Count a request that stays open. :meth:`release` must be called at its end.

        :param kind: :data:`EVENTS` or :data:`BLOCKING`.
        :raise ResponseError: If too many are open.
        """
        if (
            self.held[kind] >= self.held_limits[kind]
            or self._client_held[kind, client] >= self.client_held_limits[kind]
        ):
            self.refused_requests[kind] += 1
            raise ResponseError("Too many open requests of this kind, try again later", 503)
        self.held[kind] += 1
        self._client_held[kind, client] += 1

    def release(self, kind: str, client: str) -> None:
        """Count the end of a request."""
        self.held[kind] -= 1
        self._client_held[kind, client] -= 1
        if not self._client_held[kind, client]:
            del self._client_held[kind, client]

    @contextmanager
    def holding(self, kind: str, client: str) -> Iterator[None]:
        """Call :meth:`hold` at the beginning and :meth:`release` at the end."""
        self.hold(kind, client)
        try:
            yield
        finally:
            self.release(kind, client)
