"""
Loop that sends register requests to Consul's agent through Twisted's ``Agent``, and does nothing else.

    python -m bench.receivers.bare_loop ADDRESS FILE

FILE has one body on each line. The first request is sent at once, and the others when a line is read from standard
input.
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

#: Requests under way. More bring nothing.
_REQUESTS = 16


async def register(agent: Agent, address: str, bodies: Iterator[bytes]) -> None:
    """Send one request after the other."""
    for body in bodies:
        producer = FileBodyProducer(BytesIO(body))
        url = f"http://{address}/v1/agent/service/register".encode()
        response: Any = await agent.request(b"PUT", url, bodyProducer=producer)
        answer = await readBody(response)
        if response.code != 200:
            raise RuntimeError(answer)


async def main(reactor: Any, address: str, file: str) -> None:
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = _REQUESTS
    agent = Agent(reactor, pool=pool)
    with open(file, "rb") as lines:
        first, *others = lines.read().splitlines()
    await register(agent, address, iter([first]))
    print("ready", flush=True)
    await deferToThread(sys.stdin.readline)
    bodies = iter(others)
    await gatherResults([Deferred.fromCoroutine(register(agent, address, bodies)) for _ in range(_REQUESTS)])
    print("done", flush=True)
    await deferToThread(sys.stdin.readline)
    await pool.closeCachedConnections()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
