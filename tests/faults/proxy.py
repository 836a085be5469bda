"""HTTP proxy between the daemon and Consul, whose answers a test determines."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.host_loop import HostLoop

#: Port of Consul on the host of the proxy.
CONSUL_PORT = 8500
#: Port of the proxy.
PROXY_PORT = 8501


@dataclass(frozen=True)
class Message:
    """
    HTTP request or response.

    :ivar start: First line, without the end of the line.
    :ivar headers: Values by name in lower case.
    :ivar body: Body, not decoded.
    """

    start: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Path and query of a request."""
        return self.start.split(" ")[1]

    def encode(self) -> bytes:
        """Return the bytes of the message. Its length is in ``Content-Length``."""
        headers = {**self.headers, "content-length": str(len(self.body))}
        lines = [self.start, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


class Exchange:
    """
    Request of the daemon, to which a behaviour responds.

    :ivar request: The request.
    """

    def __init__(self, request: Message, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer

    async def forward(self) -> Message:
        """Send the request to Consul, and return the response."""
        reader, writer = await asyncio.open_connection("127.0.0.1", CONSUL_PORT)
        try:
            headers = {**self.request.headers, "connection": "close"}
            writer.write(Message(self.request.start, headers, self.request.body).encode())
            response = await read_message(reader)
        finally:
            writer.close()
        if response is None:
            raise ConnectionError("Consul closed the connection")
        return response

    async def send(self, *parts: bytes) -> None:
        """Send bytes to the daemon."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        connection = self._writer.get_extra_info("socket")
        # Linger for 0 s: the kernel sends RST in place of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


#: Sends the response to one request.
Behaviour = Callable[[Exchange], Awaitable[None]]


async def pass_through(exchange: Exchange) -> None:
    """Send Consul's response."""
    await exchange.send((await exchange.forward()).encode())


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """Read a request or a response, or return ``None`` if the connection is closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    start, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.pop("transfer-encoding", "") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    headers.pop("connection", None)
    return Message(start, headers, body)


class Proxy:
    """
    Proxy on :data:`PROXY_PORT`.

    :param loop: Loop on the host of Consul.
    :ivar behaviour: Sends the response to each request. May be replaced at any time.
    :ivar requests: For each request the reading of the monotonic clock.
    """

    def __init__(self, loop: HostLoop) -> None:
        self.behaviour: Behaviour = pass_through
        self.requests: list[float] = []
        self._loop = loop
        loop.run(asyncio.start_server(self._serve, "127.0.0.1", PROXY_PORT, limit=1 << 26))

    def requests_since(self, start: float) -> int:
        """Return the number of requests since a time of the monotonic clock."""
        return sum(at >= start for at in self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that closes the connection is normal: behaviours provoke it. The end of the loop cancels this task.
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await read_message(reader)) is not None:
                self.requests.append(time.monotonic())
                answering = asyncio.ensure_future(self.behaviour(Exchange(request, writer)))
                await _until_closed(answering, reader)
                if writer.is_closing():
                    break
        writer.close()


async def _until_closed(answering: asyncio.Future[None], reader: asyncio.StreamReader) -> None:
    """Wait for the end of a behaviour. Cancel it if the client closes the connection before."""
    try:
        while not answering.done():
            await asyncio.wait([answering], timeout=0.2)
            if reader.at_eof():
                answering.cancel()
                raise ConnectionError("The client closed the connection")
        await answering
    finally:
        answering.cancel()
