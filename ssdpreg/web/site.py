"""The HTTP server's factory of connections, and the checks of every request."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Protocol
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from ssdpreg.web.channel import LimitedChannel
from ssdpreg.web.connections import Connections, client_of
from ssdpreg.web.hosts import AcceptedHosts
from ssdpreg.web.resources import header_values, plain_text

#: Seconds that clients have to receive responses when the server stops.
_CLOSE_TIMEOUT = 1.0

#: A request target in absolute form, RFC 9112, section 3.2.2: authority, and path with query.
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

_HOST_REFUSED = "The name in the Host header is not accepted: add it to web.hosts in registry.json"
_ORIGIN_REFUSED = "Pages of other sites may not read from this server: see web.hosts in registry.json"


class Refusal(Protocol):
    """A connection that is refused, because too many are open."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
        )
        transport.loseConnection()


class RefusedRequest(Resource):
    """
    Response to a request that is refused before its path is considered.

    :param text: Reason, in one line.
    """

    isLeaf = True

    def __init__(self, status: int, text: str) -> None:
        super().__init__()
        self._status, self._text = status, text

    def render(self, request: Request) -> bytes:
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        return plain_text(request, self._text + "\n", self._status)


class TargetRequest(Request):
    """
    Request whose target may be in absolute form, as clients send it to a proxy.

    RFC 9112, section 3.2.2: the host in the target replaces the ``Host`` header. A request that lacks the header, or
    has more than one, stays invalid.
    """

    def process(self) -> None:
        match = _ABSOLUTE.fullmatch(self.uri)
        if match is not None:
            host, target = match.groups()
            self.uri = target if target.startswith(b"/") else b"/" + target
            self.path = self.uri.partition(b"?")[0]
            hosts = self.requestHeaders.getRawHeaders(b"Host", [])
            if len(hosts) == 1 or (not hosts and self.clientproto != b"HTTP/1.1"):
                self.requestHeaders.setRawHeaders(b"Host", [host])
        super().process()


class LimitedSite(Site):
    """
    Site with a limited number of connections, and without an access log: the daemon logs changes of state.

    :param connections: The open connections and their limits.
    :param hosts: Accepted values of the ``Host`` header.
    """

    noisy = False

    def __init__(self, reactor: Any, root: IResource, connections: Connections, hosts: AcceptedHosts) -> None:
        # A timeout of None: the channel has its own.
        super().__init__(root, requestFactory=TargetRequest, timeout=None, reactor=reactor)
        self.connections, self._hosts = connections, hosts
        # Connections that were accepted in this turn of the reactor.
        self._accepted = 0

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]
        if not self._accepted:
            self.reactor.callLater(0.0, self._begin_turn)
        self._accepted += 1
        if self._accepted > self.connections.limit:
            # The descriptor is closed at once. That of a connection with a protocol is closed in another turn.
            self.connections.refused["connections"] += 1
            return None
        client = client_of(getattr(addr, "host", ""))
        if not self.connections.make_room(client):
            return Refusal()
        channel: Any = LimitedChannel()
        channel.factory = channel.site = self
        channel.timeOut = None
        channel.callLater = self.reactor.callLater
        channel.requestFactory = self.requestFactory
        channel.connections, channel.client = self.connections, client
        channel.call_later = self.reactor.callLater
        made: IProtocol = channel
        return made

    def _begin_turn(self) -> None:
        self._accepted = 0

    def getResourceFor(self, request: Request) -> IResource:  # noqa: N802
        return self._check(request) or super().getResourceFor(request)

    def log(self, request: Any) -> None:
        pass

    def _check(self, request: Request) -> RefusedRequest | None:
        """Return the response to a request for another site, or from a page of another site."""
        if not request.path.startswith(b"/"):
            return RefusedRequest(400, "The target of the request must be a path, or an http URL")
        hosts = header_values(request, b"Host")
        if len(hosts) > 1 or (not hosts and request.clientproto == b"HTTP/1.1"):
            return RefusedRequest(400, "The request must have one Host header")
        # A browser always sends the header; some HTTP/1.0 clients of monitoring systems do not.
        host = hosts[0] if hosts else ""
        if hosts and not self._hosts.accepts(host):
            self.connections.refused_requests["host"] += 1
            return RefusedRequest(403, _HOST_REFUSED)
        origins = header_values(request, b"Origin")
        site = request.getHeader(b"Sec-Fetch-Site")
        if any(not self._hosts.accepts_origin(origin, host) for origin in origins) or (
            site == b"cross-site" and request.path == b"/events"
        ):
            self.connections.refused_requests["origin"] += 1
            return RefusedRequest(403, _ORIGIN_REFUSED)
        return None

    async def close(self) -> None:
        """Close all connections, and abort those that are still open after a second."""
        channels: list[Any] = self.connections.all()
        if not channels:
            return
        for channel in channels:
            channel.transport.loseConnection()
        timeout = self.reactor.callLater(_CLOSE_TIMEOUT, self._abort)
        await gatherResults([channel.lost for channel in channels])
        if timeout.active():
            timeout.cancel()

    def _abort(self) -> None:
        for connection in self.connections.all():
            connection.displace()
