"""Behaviours of the proxy: what faulty servers, networks and middleboxes do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

from tests.faults.proxy import Behaviour, Exchange, Message, pass_through

#: Bytes in one part of a large response.
_PART = 1 << 20
#: Seconds between two parts of an endless response: about 100 MB/s, so that the proxy does not take the whole machine.
_PART_PAUSE = 0.01


async def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    exchange.reset()


async def close(exchange: Exchange) -> None:
    """Close the connection without a response."""
    exchange.close()


async def half_a_body(exchange: Exchange) -> None:
    """Close the connection in the middle of the body."""
    await exchange.forward()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{" + b" " * 50)
    exchange.close()


async def hang(exchange: Exchange) -> None:
    """Never respond."""
    await asyncio.Event().wait()


async def drip(exchange: Exchange) -> None:
    """Send Consul's response with one byte a second."""
    for byte in (await exchange.forward()).encode():
        await exchange.send(bytes([byte]))
        await asyncio.sleep(1)


def delay(seconds: float) -> Behaviour:
    """Send Consul's response after some seconds."""

    async def respond(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await pass_through(exchange)

    return respond


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Send the same response to each request, without Consul."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def respond(exchange: Exchange) -> None:
        await exchange.send(Message(f"HTTP/1.1 {status} Fault", named, body).encode())

    return respond


def only_for(pattern: str, behaviour: Behaviour) -> Behaviour:
    """
    Apply a behaviour to some requests, and send Consul's responses to all others.

    :param pattern: Regular expression that the method, path and body of a request contain.
    """

    async def respond(exchange: Exchange) -> None:
        request = exchange.request
        found = re.search(pattern, f"{request.start}\n{request.body.decode()}")
        await (behaviour if found else pass_through)(exchange)

    return respond


def change_listing(change: Callable[[dict[str, object]], object]) -> Behaviour:
    """Send Consul's responses, but change the listing of the services."""

    async def respond(exchange: Exchange) -> None:
        response = await exchange.forward()
        if exchange.request.path.startswith("/v1/agent/services"):
            body = json.dumps(change(json.loads(response.body))).encode()
            response = Message(response.start, response.headers, body)
        await exchange.send(response.encode())

    return respond


def large(part: bytes, count: int, first: bytes = b"", last: bytes = b"") -> Behaviour:
    """Send a large body with its length in the header."""

    async def respond(exchange: Exchange) -> None:
        length = len(part) * count + len(first) + len(last)
        await exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + first)
        await exchange.send(*[part] * count)
        await exchange.send(last)

    return respond


async def large_json(exchange: Exchange) -> None:
    """Send an object of 100 MB with 1,000,000 small services."""
    entry = b'"%07d": {"ID": "x", "Service": "y", "Meta": {"a": "b"}, "Address": "10.0.0.1", "Port": 80},'
    parts = [b"".join(entry % (index + at) for at in range(10_000)) for index in range(0, 1_000_000, 10_000)]
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {sum(map(len, parts)) + 9}\r\n\r\n{{"
    await exchange.send(head.encode(), *parts, b'"end":0}')


async def endless_body(exchange: Exchange) -> None:
    """Send a body without end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(b"%x\r\n" % _PART, b" " * _PART, b"\r\n")
        await asyncio.sleep(_PART_PAUSE)


async def endless_header(exchange: Exchange) -> None:
    """Send header fields without end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Fault: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 10_000)
        await asyncio.sleep(_PART_PAUSE)
