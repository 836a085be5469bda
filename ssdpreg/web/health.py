"""``/healthz`` and ``/readyz``: for whoever starts and watches the daemon."""

from __future__ import annotations

from twisted.web.server import Request

from ssdpreg.web.errors import AnswerError
from ssdpreg.web.resources import Readable, plain
from ssdpreg.web.view import View


class Healthz(Readable):
    """Whether the daemon runs: it does if it can say so."""

    async def answer(self, request: Request) -> bytes:
        return plain(request, "ok\n")


class Readyz(Readable):
    """
    Whether what the daemon shows, and its backend, can be relied on.

    :param view: What knows.
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    async def answer(self, request: Request) -> bytes:
        obstacles = []
        if not self._view.registry.settled:
            obstacles.append("the first search is not over yet")
        if not self._view.reconciler.available:
            obstacles.append(f"{self._view.backend} is unavailable")
        if obstacles:
            raise AnswerError(f"not ready: {'; '.join(obstacles)}\n", 503)
        return plain(request, "ready\n")
