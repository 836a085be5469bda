"""The service that listens at ``web.endpoint``."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from ssdpreg.timers import Backoff

#: Seconds between attempts to listen at an endpoint that is in use: the first pause, and the longest.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
#: Seconds that clients have to receive responses when the service stops.
_CLOSE_TIMEOUT = 1.0


class WebService(Service):
    """
    HTTP server. If the endpoint is in use, the rest of the daemon runs without it, and the attempt is repeated.

    :param reactor: Provides ``IReactorTime``, and the interfaces that the endpoint needs.
    :param endpoint: Description of a Twisted server endpoint, such as ``tcp:8580:interface=127.0.0.1``.
    :param root: The resource at ``/``.
    """

    log = Logger()

    def __init__(self, reactor: Any, endpoint: str, root: IResource) -> None:
        self._reactor = reactor
        self._description = endpoint
        self._endpoint = serverFromString(reactor, endpoint)
        self._connections = _Connections(_QuietSite(root, reactor=reactor))
        self._listening: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._retry: IDelayedCall | None = None
        self._backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE)

    @property
    def port(self) -> IListeningPort | None:
        """The listening port, or None while there is none."""
        return self._port

    def startService(self) -> None:
        super().startService()
        self._listen()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._listening is not None:
            self._listening.cancel()
        if self._port is not None:
            port, self._port = self._port, None
            await (port.stopListening() or succeed(None))
        await self._connections.close(self._reactor)

    def _listen(self) -> None:
        self._retry = None
        self._listening = self._endpoint.listen(self._connections)
        self._listening.addCallbacks(self._succeed, self._fail)

    def _succeed(self, port: IListeningPort) -> None:
        self._listening, self._port = None, port
        self._backoff.reset()
        self.log.info("Serving at {endpoint}", endpoint=self._description)

    def _fail(self, failure: Failure) -> None:
        self._listening = None
        if failure.check(CancelledError):
            return
        if not self._backoff.failures:
            self.log.error(
                "Cannot serve at {endpoint}, retrying: {error}",
                endpoint=self._description,
                error=failure.getErrorMessage(),
            )
        self._backoff.fail()
        self._retry = self._reactor.callLater(self._backoff.pause(), self._listen)


class _QuietSite(Site):
    """A site without an access log: the log of the daemon has a line for each change of state."""

    noisy = False

    def log(self, request: Request) -> None:
        pass


class _Connection(ProtocolWrapper):
    """
    A connection of a client.

    :ivar lost: Fires when the connection has been lost.
    """

    def __init__(self, factory: WrappingFactory[_Connection], wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost.callback(None)


class _Connections(WrappingFactory[_Connection]):
    """Factory that keeps the open connections, and can close them all."""

    protocol = _Connection
    noisy = False

    async def close(self, reactor: Any) -> None:
        """Close all connections, and abort those that are still open after a second."""
        connections: list[_Connection] = list(self.protocols)
        if not connections:
            return
        for connection in connections:
            connection.loseConnection()
        timeout = reactor.callLater(_CLOSE_TIMEOUT, self._abort)
        await gatherResults([connection.lost for connection in connections])
        if timeout.active():
            timeout.cancel()

    def _abort(self) -> None:
        for connection in list(self.protocols):
            connection.abortConnection()
