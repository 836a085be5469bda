"""The service that lets others read."""

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

#: Seconds to wait after an endpoint was taken: at first, at most.
_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0
#: Seconds that a reader has at the end to take what was written for it.
_FAREWELL = 1.0


class WebService(Service):
    """
    Serves resources at an endpoint. Where it is taken, everything else goes on, and the endpoint is tried again.

    :param reactor: Provides ``IReactorTime``, and what the endpoint needs.
    :param endpoint: A server endpoint as Twisted describes it, such as ``tcp:8580:interface=127.0.0.1``.
    :param root: The resource at ``/``.
    """

    log = Logger()

    def __init__(self, reactor: Any, endpoint: str, root: IResource) -> None:
        self._reactor = reactor
        self._description = endpoint
        self._endpoint = serverFromString(reactor, endpoint)
        self._connections = _Connections(_SilentSite(root, reactor=reactor))
        self._listening: Deferred[None] | None = None
        self._port: IListeningPort | None = None
        self._retry: IDelayedCall | None = None
        self._failures = 0

    @property
    def port(self) -> IListeningPort | None:
        """Where it listens, if it does."""
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
        self._listening.addCallbacks(self._listens, self._fail)

    def _listens(self, port: IListeningPort) -> None:
        self._listening, self._port, self._failures = None, port, 0
        self.log.info("Serving at {endpoint}", endpoint=self._description)

    def _fail(self, failure: Failure) -> None:
        self._listening = None
        if failure.check(CancelledError):
            return
        if not self._failures:
            self.log.error(
                "Cannot serve at {endpoint}, trying again: {error}",
                endpoint=self._description,
                error=failure.getErrorMessage(),
            )
        self._failures += 1
        delay = min(_BACK_OFF * 2 ** min(self._failures - 1, 10), _LONGEST_BACK_OFF)
        self._retry = self._reactor.callLater(delay, self._listen)


class _SilentSite(Site):
    """A site that leaves the log to what changes."""

    noisy = False

    def log(self, request: Request) -> None:
        pass


class _Connection(ProtocolWrapper):
    """
    One connection.

    :ivar lost: Fires when it is over.
    """

    def __init__(self, factory: WrappingFactory[_Connection], wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.lost.callback(None)


class _Connections(WrappingFactory[_Connection]):
    """Keeps track of who is connected, so that nobody is at the end."""

    protocol = _Connection
    noisy = False

    async def close(self, reactor: Any) -> None:
        """End all connections: in peace, or after a while without."""
        connections: list[_Connection] = list(self.protocols)
        if not connections:
            return
        for connection in connections:
            connection.loseConnection()
        patience = reactor.callLater(_FAREWELL, self._abort)
        await gatherResults([connection.lost for connection in connections])
        if patience.active():
            patience.cancel()

    def _abort(self) -> None:
        for connection in list(self.protocols):
            connection.abortConnection()
