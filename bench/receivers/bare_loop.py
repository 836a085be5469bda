"""
Loop that sends requests to Consul through Twisted's ``Agent``, and does nothing else.

    python -m bench.receivers.bare_loop URL FILE REQUESTS

FILE has one body on each line. The first request is sent at once, and the others when a line is read from standard
input. REQUESTS is the number of requests that are under way at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers


async def send(agent: Agent, url: bytes, bodies: Iterator[bytes]) -> None:
    """Send one request after the other."""
    for body in bodies:
        producer = FileBodyProducer(BytesIO(body))
        # Consul logs a warning for a request without Content-Type.
        response: Any = await agent.request(b"PUT", url, Headers({"Content-Type": ["application/json"]}), producer)
        answer = await readBody(response)
        if response.code != 200:
            raise RuntimeError(answer)


async def main(reactor: Any, url: str, file: str, requests: str) -> None:
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = int(requests)
    agent = Agent(reactor, pool=pool)
    with open(file, "rb") as lines:
        first, *others = lines.read().splitlines()
    await send(agent, url.encode(), iter([first]))
    print("ready", flush=True)
    await deferToThread(sys.stdin.readline)
    bodies = iter(others)
    await gatherResults([Deferred.fromCoroutine(send(agent, url.encode(), bodies)) for _ in range(int(requests))])
    print("done", flush=True)
    await deferToThread(sys.stdin.readline)
    await pool.closeCachedConnections()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
