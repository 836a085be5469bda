"""``/events``: tells whoever looks at the page that there is something new to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

#: Seconds between two looks, and so between two hints.
_INTERVAL = 1.0
#: Looks after which a reader is sent something in any case, so that one who is no longer there is noticed.
_KEEP_ALIVE = 15


class Hints(Resource):
    """
    Server-sent events, of which each says no more than that something has changed.

    While nobody listens, nothing is done.

    :param reactor: Provides ``IReactorTime``.
    :param state: Makes a value that is another whenever there is something new to see.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, reactor: Any, state: Callable[[], object]) -> None:
        super().__init__()
        self._state = state
        self._seen: object = None
        self._looks = 0
        self._readers: set[Request] = set()
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def render_GET(self, request: Request) -> int:
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache")
        # Milliseconds until a browser that lost the connection tries again.
        request.write(b"retry: 1000\n\n")
        if request.method == b"HEAD":
            request.finish()
            return NOT_DONE_YET
        self._readers.add(request)
        request.notifyFinish().addErrback(lambda _: self._leave(request))
        if not self._looking.running:
            self._seen = self._state()
            self._looking.start(_INTERVAL, now=False)
        return NOT_DONE_YET

    def _leave(self, request: Request) -> None:
        self._readers.discard(request)
        if not self._readers and self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        try:
            seen, self._seen = self._seen, self._state()
        except Exception:
            # LoopingCall would end here for good.
            self.log.failure("Cannot look for changes, next in {seconds} s", seconds=_INTERVAL)
            return
        self._looks += 1
        if self._seen != seen:
            self._tell(b"data: changed\n\n")
        elif self._looks % _KEEP_ALIVE == 0:
            self._tell(b":\n\n")

    def _tell(self, text: bytes) -> None:
        for reader in list(self._readers):
            reader.write(text)
