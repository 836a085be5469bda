"""
Response times of the HTTP server, and how long its requests block the reactor.

    python bench/web.py [SERVICES]

The registry, the reconciler with a store in memory, and the HTTP server run in this process on 127.0.0.1. The client
runs in another process. A call in each turn of the reactor measures the duration of the turns. The longest turn during
a request contains everything that happened in it, the garbage collection included.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.messages import Alive
from ssdpreg.ssdp.reception import Reception
from ssdpreg.web.root import make_root
from ssdpreg.web.service import WebService
from ssdpreg.web.view import View

URN = "urn:schemas-upnp-org:service:api:2.0"
NAME = "RackHD-service:api:2.0"
PATHS = (
    "/",
    "/?q=dev-0777",
    "/?q=nothing-has-this",
    "/metrics",
    "/readyz",
    "/v1/catalog/services",
    "/v1/catalog/nodes",
    f"/v1/catalog/service/{NAME}",
    f"/v1/health/service/{NAME}",
    "/sd/prometheus",
)
GZIP_PATHS = (f"/v1/health/service/{NAME}",)
#: Requests of each path; the median is printed.
REQUESTS = 5


class NoNetwork:
    """The sockets of a host without a network."""

    interfaces = ()

    def __init__(self, deliver: object, drop: object) -> None:
        pass

    def refresh(self) -> bool:
        return False

    def search(self, request: object) -> None:
        pass

    def search_hosts(self, st: str, hosts: object) -> None:
        pass

    def check_reception(self) -> dict[str, str]:
        return {}

    receiving: frozenset[str] = frozenset()
    broadcasts: frozenset[str] = frozenset()
    overflows = 0

    def close(self) -> Deferred[None]:
        return succeed(None)


class Turns:
    """
    Meter of the reactor's turns.

    :ivar longest: Seconds of the longest turn since the last reset.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = time.perf_counter()
        self.longest = 0.0

    def run(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._reactor.callLater(0, self.run)


def request(port: int, path: str, gzip: bool) -> tuple[float, float, int]:
    """Send one request, and return the seconds until the first and last byte, and the number of bytes."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        accept = "Accept-Encoding: gzip\r\n" if gzip else ""
        began = time.perf_counter()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}\r\n".encode())
        count = len(client.recv(1))
        first = time.perf_counter() - began
        while data := client.recv(1 << 20):
            count += len(data)
        return first, time.perf_counter() - began, count


def serve_requests() -> None:
    """Client process: read ``[port, path, gzip]`` from standard input, and print the result of each request."""
    for line in sys.stdin:
        print(json.dumps(request(*json.loads(line))), flush=True)


async def main(reactor: Any, count: int) -> None:
    registry = Registry(
        reactor,
        NoNetwork,
        AdvertisementTable(limit=count + 1, limit_per_sender=count + 1),
        RegistrationRules("bench", tags=("lab",)),
        LocationRules([ip_network("0.0.0.0/0")]),
        search_interval=0,
    )
    registry.set_search_terms({URN: "RackHD"})
    reconciler = Reconciler(reactor, EmbeddedBackend(), registry.registrations, registry.adopt)
    registry.subscribe(reconciler)
    root = make_root(reactor, View(registry, reconciler, "memory", "dc1", "bench"))
    web = WebService(reactor, "tcp:0:interface=127.0.0.1", root)
    began = time.process_time()
    for number in range(count):
        # In an order that is not sorted.
        device = f"dev-{number * 7919 % count:06}"
        sender = f"10.{number >> 14}.{number >> 7 & 127}.{(number & 127) + 1}"
        message = Alive(URN, f"uuid:{device}::{URN}", f"http://{sender}:8080/", 1800, "Linux/6 UPnP/2.0 bench/1")
        registry.deliver(message, Reception(sender, "eth0"), (sender, 1900))
    print(f"{count:,} services announced: {(time.process_time() - began) / count * 1e6:.0f} µs each")
    reconciler.startService()
    registry.startService()
    registry._settles_at = 0.0
    web.startService()
    assert web.port is not None
    while reconciler.pending:
        await deferToThread(time.sleep, 0.5)
    turns = Turns(reactor)
    turns.run()
    client = subprocess.Popen(
        [sys.executable, __file__, "--client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    requests, answers = client.stdin, client.stdout
    assert requests is not None
    assert answers is not None
    address: Any = web.port.getHost()

    def ask(path: str, gzip: bool) -> Any:
        requests.write(json.dumps([address.port, path, gzip]) + "\n")
        requests.flush()
        return json.loads(answers.readline())

    began = time.perf_counter()
    assert not reconciler.pending
    print(f"reconciler.pending, which / and /metrics read: {(time.perf_counter() - began) * 1e3:.0f} ms")
    print(f"{'path':44} {'first byte':>11} {'last byte':>11} {'longest turn':>13} {'size':>11}")
    for path, gzip in [*((path, False) for path in PATHS), *((path, True) for path in GZIP_PATHS)]:
        results = []
        for _ in range(REQUESTS):
            await deferToThread(time.sleep, 0.1)
            turns.longest = 0.0
            results.append((*await deferToThread(ask, path, gzip), turns.longest))
        first, last, size, longest = (sorted(column)[len(column) // 2] for column in zip(*results, strict=True))
        name = path + (" (gzip)" if gzip else "")
        print(f"{name:44} {first * 1e3:8.0f} ms {last * 1e3:8.0f} ms {longest * 1e3:10.0f} ms {size / 1e6:8.1f} MB")
    requests.close()
    client.wait()
    await web.stopService()
    await reconciler.stopService()
    await registry.stopService()


if __name__ == "__main__":
    if sys.argv[1:] == ["--client"]:
        serve_requests()
    else:
        services = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
        react(lambda reactor: Deferred.fromCoroutine(main(reactor, services)))
