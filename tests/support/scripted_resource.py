"""Web resource for tests of HTTP clients."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource


class ScriptedResource(Resource):
    """
    Web resource that sends the same response to every request, and records the requests.

    :ivar status: Status of the response.
    :ivar headers: Header fields of the response.
    :ivar body: Body of the response.
    :ivar requests: Method, path with query, headers and body of each request.
    :ivar connections: Transports of the requests.
    """

    isLeaf = True

    def __init__(self, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[object] = set()

    def render(self, request: Any) -> Any:
        headers = {name.decode(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        self.requests.append((request.method.decode(), request.uri.decode(), headers, request.content.read()))
        self.connections.add(request.transport)
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body
