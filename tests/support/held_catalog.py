"""Server of Consul's catalog in memory that responds to transactions only when a test lets it."""

from __future__ import annotations

import json
from typing import Any

from twisted.web.server import NOT_DONE_YET

from ssdpreg.testing import FakeConsulCatalog


class HeldCatalog(FakeConsulCatalog):
    """
    Server that holds the transactions that write, if a test wants that.

    :ivar holding: Whether transactions are held.
    :ivar held: The transactions that are held, in the order of their arrival.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holding = False
        self.held: list[HeldTransaction] = []

    def render(self, request: Any) -> Any:
        if not (self.holding and request.path == b"/v1/txn"):
            return super().render(request)
        operations = json.loads(request.content.read())
        request.content.seek(0)
        if operations[0].get("KV", {}).get("Verb") != "check-session":
            return super().render(request)
        self.held.append(HeldTransaction(self, request, operations))
        return NOT_DONE_YET

    def respond(self, request: Any) -> None:
        """Process a request that was held."""
        body = super().render(request)
        if body is not NOT_DONE_YET:
            request.write(body)
            request.finish()


class HeldTransaction:
    """
    A transaction that the server has not processed yet.

    :ivar operations: Its operations.
    """

    def __init__(self, server: HeldCatalog, request: Any, operations: list[dict[str, Any]]) -> None:
        self._server, self._request, self.operations = server, request, operations

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that it writes, in their order."""
        return [each["Node"]["Node"]["Node"] for each in self.operations if "Node" in each]

    def respond(self) -> None:
        """Process it, and respond."""
        self._server.held.remove(self)
        self._server.respond(self._request)

    def apply(self) -> None:
        """Apply it as Consul does when its sender has closed the connection, without a response."""
        self._server.held.remove(self)
        self._server.state.transact(self.operations)

    def lose(self) -> None:
        """Close the connection without an effect."""
        self._server.held.remove(self)
        self._request.transport.loseConnection()
