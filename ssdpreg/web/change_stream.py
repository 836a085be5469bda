"""``/events``: server-sent events for the status page, one for each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ssdpreg.timers import RepeatingCall
from ssdpreg.web.connections import EVENTS, Connections
from ssdpreg.web.errors import ResponseError
from ssdpreg.web.resources import client_of_request, plain_text

#: Seconds between two comparisons of the state, and so the shortest time between two events.
_INTERVAL = 1.0
#: Number of comparisons after which a comment is sent if nothing changed: writing to a broken connection closes it.
_KEEP_ALIVE = 15


class ChangeStream(Resource):
    """
    Server-sent events, each of which means "the state has changed" and carries no data.

    The state is not computed while no client is connected.

    :param reactor: Provides ``IReactorTime``.
    :param state: Returns a value that differs from the one before when the page has changed.
    :param connections: Limits the number of clients.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, reactor: Any, state: Callable[[], object], connections: Connections) -> None:
        super().__init__()
        self._connections = connections
        self._state = state
        self._last_state: object = None
        self._comparisons = 0
        self._clients: set[Request] = set()
        self._comparing = RepeatingCall(reactor, _INTERVAL, self._compare, self.log, "Comparison for the status page")

    def render_GET(self, request: Request) -> int | bytes:
        client = client_of_request(request)
        try:
            self._connections.hold(EVENTS, client)
        except ResponseError as error:
            return plain_text(request, str(error), error.status)
        request.notifyFinish().addBoth(lambda _: self._connections.release(EVENTS, client))
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache")
        # Milliseconds after which a browser reconnects.
        request.write(b"retry: 1000\n\n")
        if request.method == b"HEAD":
            request.finish()
            return NOT_DONE_YET
        self._clients.add(request)
        request.notifyFinish().addErrback(lambda _: self._remove(request))
        if not self._comparing.running:
            self._last_state = self._state()
            self._comparing.start(now=False)
        return NOT_DONE_YET

    def _remove(self, request: Request) -> None:
        self._clients.discard(request)
        if not self._clients:
            self._comparing.stop()

    def _compare(self) -> None:
        last, self._last_state = self._last_state, self._state()
        self._comparisons += 1
        if self._last_state != last:
            self._send(b"data: changed\n\n")
        elif self._comparisons % _KEEP_ALIVE == 0:
            self._send(b":\n\n")

    def _send(self, text: bytes) -> None:
        for client in list(self._clients):
            client.write(text)
