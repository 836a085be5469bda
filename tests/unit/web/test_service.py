"""Tests for :mod:`ssdpreg.web.service`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Request

from ssdpreg.web.resources import Folder, Readable
from ssdpreg.web.service import WebService


class CrowdedReactor(MemoryReactorClock):
    """
    A reactor whose ports somebody else may have.

    :ivar taken: Whether that is so.
    """

    taken = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:  # noqa: N802
        if self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class SlowEndpoint:
    """
    An endpoint that does not know yet.

    :param listening: What it promises.
    """

    def __init__(self, listening: Deferred[Any]) -> None:
        self._listening = listening

    def listen(self, factory: object) -> Deferred[Any]:
        return self._listening


class TakenEndpointTests(SynchronousTestCase):
    """Tests for :class:`WebService` on ports in memory."""

    def setUp(self) -> None:
        self.reactor = CrowdedReactor()
        self.service = WebService(self.reactor, "tcp:8580:interface=127.0.0.1", Folder())

    def test_listens(self) -> None:
        """It listens where it is told to, once it is started."""
        self.assertEqual(self.reactor.tcpServers, [])
        self.service.startService()
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (8580, "127.0.0.1"))

    def test_taken(self) -> None:
        """An endpoint that is taken is an error, logged once, and is tried again at growing intervals."""
        self.reactor.taken = True
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

    def test_free_again(self) -> None:
        """It listens as soon as it tries and nobody else does."""
        self.reactor.taken = True
        self.service.startService()
        self.reactor.taken = False
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stops_while_it_begins(self) -> None:
        """An endpoint that takes its time is not listened on later, when it is no longer wanted."""
        listening: Deferred[Any] = Deferred()
        self.patch(self.service, "_endpoint", SlowEndpoint(listening))
        self.service.startService()
        self.successResultOf(self.service.stopService())
        # It was cancelled, and nobody tries again.
        self.assertTrue(listening.called)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stops_while_taken(self) -> None:
        """It can be stopped while it waits for the next try, which then is none."""
        self.reactor.taken = True
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Endless(Readable):
    """
    A resource without an end.

    :ivar read: Fires when somebody reads it.
    :ivar left: Fires when nobody does any more.
    """

    def __init__(self, first: bytes) -> None:
        super().__init__()
        self.first = first
        self.read: Deferred[None] = Deferred()
        self.left: Deferred[None] = Deferred()

    async def answer(self, request: Request) -> bytes:
        request.write(self.first)
        self.read.callback(None)
        try:
            await Deferred()
        finally:
            self.left.callback(None)
        raise AssertionError


class Client(Protocol):
    """
    Asks for ``/endless``.

    :ivar lost: Fires when the connection is over.
    """

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class StoppingTests(TestCase):
    """Tests for the end of :class:`WebService`, on 127.0.0.1."""

    async def start(self, first: bytes) -> tuple[WebService, Endless, Client]:
        """Start a server with one reader of something endless."""
        root, endless = Folder(), Endless(first)
        root.putChild(b"endless", endless)
        service = WebService(real_reactor, "tcp:0:interface=127.0.0.1", root)
        service.startService()
        assert service.port is not None
        address: Any = service.port.getHost()
        endpoint = TCP4ClientEndpoint(real_reactor, address.host, address.port)
        client: Client = await connectProtocol(endpoint, Client())
        await endless.read
        return service, endless, client

    async def test_ends_open_requests(self) -> None:
        """When it has stopped, at once, nobody is connected, and no answer is being made."""
        service, endless, client = await self.start(b"")
        stopping = service.stopService()
        stopping.addTimeout(0.9, real_reactor)
        await stopping
        self.assertIsNone(service.port)
        self.successResultOf(endless.left)
        await client.lost

    async def test_reader_that_does_not_read(self) -> None:
        """A reader that takes nothing holds up the end for a second, and no longer."""
        service, endless, client = await self.start(b"x" * 30_000_000)
        transport: Any = client.transport
        transport.pauseProducing()
        stopping = service.stopService()
        stopping.addTimeout(10, real_reactor)
        await stopping
        self.successResultOf(endless.left)
        transport.resumeProducing()
        await client.lost
