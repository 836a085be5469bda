"""Tests for :mod:`ssdpreg.web.service`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Request

from ssdpreg.web.connections import Connections
from ssdpreg.web.resources import Folder, ReadOnlyResource
from ssdpreg.web.root import make_root
from ssdpreg.web.service import WebService
from tests.support.memory_daemon import Daemon, Exchange


class BusyReactor(MemoryReactorClock):
    """
    A reactor in memory whose ports may be in use by another program.

    :ivar in_use: Whether they are in use.
    """

    in_use = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:  # noqa: N802
        if self.in_use:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class SlowEndpoint:
    """
    An endpoint that does not listen at once.

    :param listening: Returned by :meth:`listen`.
    """

    def __init__(self, listening: Deferred[Any]) -> None:
        self._listening = listening

    def listen(self, factory: object) -> Deferred[Any]:
        return self._listening


class EndpointTests(SynchronousTestCase):
    """Tests for :class:`WebService` on ports in memory."""

    def setUp(self) -> None:
        self.reactor = BusyReactor()
        self.service = WebService(self.reactor, "tcp:8580:interface=127.0.0.1", Folder())

    def test_listens(self) -> None:
        """The service listens at its endpoint when it is started."""
        self.assertEqual(self.reactor.tcpServers, [])
        self.service.startService()
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (8580, "127.0.0.1"))

    def test_connections(self) -> None:
        """Connections are counted in the object whose numbers the metrics show."""
        connections = Connections(16)
        daemon = Daemon(self.reactor)
        root = make_root(self.reactor, daemon.view, connections)
        WebService(self.reactor, "tcp:8580:interface=127.0.0.1", root, connections).startService()
        ((_, site, _, _),) = self.reactor.tcpServers
        protocol: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        protocol.makeConnection(StringTransport())
        self.assertEqual(len(connections), 1)
        self.assertIn(b"ssdpreg_web_connections 1.0", Exchange(root, self.reactor, "/metrics").body)

    def test_endpoint_in_use(self) -> None:
        """If the endpoint is in use, an error is logged once, and the pauses between retries grow."""
        self.reactor.in_use = True
        with capturedLogs() as events:
            self.service.startService()
            waits = []
            for _ in range(8):
                (call,) = self.reactor.getDelayedCalls()
                waits.append(call.getTime() - self.reactor.seconds())
                self.reactor.advance(waits[-1])
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60])
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.error)
        self.assertIn("Address already in use", event["error"])

    def test_endpoint_is_released(self) -> None:
        """The service listens at the first retry after the endpoint was released."""
        self.reactor.in_use = True
        self.service.startService()
        self.reactor.in_use = False
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_before_it_listens(self) -> None:
        """A service that is stopped before its endpoint listens does not listen later."""
        listening: Deferred[Any] = Deferred()
        self.patch(self.service, "_endpoint", SlowEndpoint(listening))
        self.service.startService()
        self.successResultOf(self.service.stopService())
        # The attempt was cancelled, and is not repeated.
        self.assertTrue(listening.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_between_retries(self) -> None:
        """A service that is stopped between two retries makes no more."""
        self.reactor.in_use = True
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Endless(ReadOnlyResource):
    """
    A resource whose response never ends.

    :param first: The beginning of the body.
    :ivar requested: Fires when a request arrives.
    :ivar cancelled: Fires when the response is cancelled.
    """

    def __init__(self, first: bytes) -> None:
        super().__init__()
        self.first = first
        self.requested: Deferred[None] = Deferred()
        self.cancelled: Deferred[None] = Deferred()

    async def respond(self, request: Request) -> bytes:
        request.write(self.first)
        self.requested.callback(None)
        try:
            await Deferred()
        finally:
            self.cancelled.callback(None)
        raise AssertionError


class Client(Protocol):
    """
    A client that requests ``/endless``.

    :ivar lost: Fires when the connection is lost.
    """

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class StoppingTests(TestCase):
    """Tests for stopping :class:`WebService`, on 127.0.0.1."""

    async def start(self, first: bytes) -> tuple[WebService, Endless, Client]:
        """Start a server with one client of an endless response."""
        root, endless = Folder(), Endless(first)
        root.putChild(b"endless", endless)
        service = WebService(real_reactor, "tcp:0:interface=127.0.0.1", root)
        service.startService()
        assert service.port is not None
        address: Any = service.port.getHost()
        endpoint = TCP4ClientEndpoint(real_reactor, address.host, address.port)
        client: Client = await connectProtocol(endpoint, Client())
        await endless.requested
        return service, endless, client

    async def test_open_requests(self) -> None:
        """Stopping closes all connections and cancels all responses, at once."""
        service, endless, client = await self.start(b"")
        stopping = service.stopService()
        stopping.addTimeout(0.9, real_reactor)
        await stopping
        self.assertIsNone(service.port)
        self.successResultOf(endless.cancelled)
        await client.lost

    async def test_client_that_does_not_read(self) -> None:
        """A client that does not read delays stopping by a second, and no longer."""
        service, endless, client = await self.start(b"x" * 30_000_000)
        transport: Any = client.transport
        transport.pauseProducing()
        stopping = service.stopService()
        stopping.addTimeout(10, real_reactor)
        await stopping
        self.successResultOf(endless.cancelled)
        transport.resumeProducing()
        await client.lost
