"""``/healthz`` and ``/readyz``: liveness and readiness, for service managers and monitoring."""

from __future__ import annotations

from twisted.web.server import Request

from ssdpreg.web.errors import ResponseError
from ssdpreg.web.resources import ReadOnlyResource, plain_text
from ssdpreg.web.view import View


class Healthz(ReadOnlyResource):
    """Liveness: 200 for as long as the process answers."""

    async def respond(self, request: Request) -> bytes:
        return plain_text(request, "ok\n")


class Readyz(ReadOnlyResource):
    """
    Readiness: 200 when the first search is over and the backend answers, otherwise 503 with the reasons.

    For a backend with a lock, both state the daemon that holds it.

    :param view: Parts of the daemon.
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    async def respond(self, request: Request) -> bytes:
        reasons = []
        if not self._view.registry.settled:
            reasons.append("the first search is not over yet")
        if self._view.backend_fault:
            reasons.append(self._view.backend_fault)
        if reasons:
            raise ResponseError(f"not ready: {'; '.join(reasons)}\n", 503)
        writer = self._view.writer
        return plain_text(request, f"ready: {writer}\n" if writer else "ready\n")
