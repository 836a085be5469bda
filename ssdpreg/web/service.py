"""The service that listens at ``web.endpoint``."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from ssdpreg.timers import Backoff
from ssdpreg.web.connections import Connections
from ssdpreg.web.hosts import AcceptedHosts
from ssdpreg.web.site import LimitedSite

#: Seconds between attempts to listen at an endpoint that is in use: the first pause, and the longest.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class WebService(Service):
    """
    HTTP server. If the endpoint is in use, the rest of the daemon runs without it, and the attempt is repeated.

    :param reactor: Provides ``IReactorTime``, and the interfaces that the endpoint needs.
    :param endpoint: Description of a Twisted server endpoint, such as ``tcp:8580:interface=127.0.0.1``.
    :param root: The resource at ``/``.
    :param connections: The open connections and their limits.
    :param hosts: Accepted values of the ``Host`` header.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: str,
        root: IResource,
        connections: Connections | None = None,
        hosts: AcceptedHosts | None = None,
    ) -> None:
        self._reactor = reactor
        self._description = endpoint
        self._endpoint = serverFromString(reactor, endpoint)
        self._hosts = AcceptedHosts() if hosts is None else hosts
        # Not "connections or": an object without connections is false.
        self._site = LimitedSite(reactor, root, Connections() if connections is None else connections, self._hosts)
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
        self._hosts.start()
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
        await self._site.close()

    def _listen(self) -> None:
        self._retry = None
        self._listening = self._endpoint.listen(self._site)
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
