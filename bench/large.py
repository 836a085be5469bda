"""Memory, idle CPU time and HTTP with 100,000 services, and memory after datagrams that are not kept."""

from __future__ import annotations

import socket
import time
from statistics import median

from bench.processes import ASYNC_UPNP, METERED, SSDPREG, WEB_PORT, Receiver
from bench.row import Row
from bench.traffic import Batch, Devices, device_address, notify
from ssdpreg.ssdp.messages import GROUP, PORT

#: Number of services.
_COUNT = 100_000
#: Longest max-age: no service is searched for while the daemon is idle.
_MAX_AGE = 86_400
#: Seconds for which an idle daemon is measured.
_IDLE = 30.0

_NAME = "RackHD-service:api:2.0"
_PATHS = (
    "/",
    "/?q=0777",
    "/metrics",
    "/v1/catalog/services",
    f"/v1/catalog/service/{_NAME}",
    f"/v1/health/service/{_NAME}",
    f"/v1/health/service/{_NAME}?filter=lab+in+Service.Tags+and+Service.Meta.nothing+!=+x",
    "/sd/prometheus",
)
#: Requests of each path in one round. The median counts.
_REQUESTS = 5

#: Number of datagrams that are not kept. Each is different.
_STRANGERS = 9000


def _announce_all(receiver: Receiver) -> None:
    """Announce all services, and wait until they are registered."""
    with Devices() as devices:
        for start in range(0, _COUNT, 96):
            numbers = range(start, min(start + 96, _COUNT))
            each = [(device_address(number), notify(number, max_age=_MAX_AGE)) for number in numbers]
            devices.send(Batch(each, (GROUP, PORT)))
            receiver.wait_until_read()
    receiver.wait_until_idle()
    if receiver.dropped():
        raise RuntimeError("the kernel dropped announcements")


def _memory(contender: str) -> dict[str, float]:
    with Receiver(contender) as receiver:
        before = receiver.resident()
        _announce_all(receiver)
        if contender == SSDPREG:
            _check_registered(receiver)
            receiver.wait_until_idle()
        used = receiver.resident() - before
        began = receiver.cpu_seconds()
        time.sleep(_IDLE)
        return {
            "bytes a service": used / _COUNT,
            "idle CPU %": (receiver.cpu_seconds() - began) / _IDLE * 100,
            "MB without services": before / 1e6,
        }


def _check_registered(receiver: Receiver) -> None:
    tracked, pending = receiver.metric("ssdpreg_services_tracked"), receiver.metric("ssdpreg_backend_pending")
    if tracked != _COUNT or pending:
        raise RuntimeError(f"{tracked:.0f} services, {pending:.0f} changes are pending")


def _web(contender: str) -> dict[str, float]:
    figures = {}
    with Receiver(contender) as receiver:
        _announce_all(receiver)
        _check_registered(receiver)
        receiver.longest_turn()
        for path, gzip in [*((path, False) for path in _PATHS), (f"/v1/health/service/{_NAME}", True)]:
            results = []
            for _ in range(_REQUESTS):
                time.sleep(0.2)
                receiver.longest_turn()
                first, last, size = _request(path, gzip)
                results.append((first * 1e3, last * 1e3, receiver.longest_turn() * 1e3, size / 1e6))
            name = path + (" (gzip)" if gzip else "")
            for figure, values in zip(
                ("first byte ms", "last byte ms", "longest turn ms", "MB"), zip(*results, strict=True), strict=True
            ):
                figures[f"{name}: {figure}"] = median(values)
    return figures


def _request(path: str, gzip: bool) -> tuple[float, float, int]:
    """Send one request, and return the seconds until the first and last byte, and the number of bytes."""
    with socket.create_connection(("127.0.0.1", WEB_PORT)) as client:
        accept = "Accept-Encoding: gzip\r\n" if gzip else ""
        began = time.perf_counter()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}\r\n".encode())
        count = len(client.recv(1))
        first = time.perf_counter() - began
        while data := client.recv(1 << 20):
            count += len(data)
        return first, time.perf_counter() - began, count


def _strangers(contender: str) -> dict[str, float]:
    figures = {}
    for name, location in (
        ("60 kB", "x" * 60_000),
        ("2 kB", "x" * 2000),
        ("1 kB", "x" * 700),
        ("1 kB of Unicode", "\U0001f600" * 175),
    ):
        with Receiver(contender) as receiver, Devices() as devices:
            before = receiver.resident()
            for start in range(0, _STRANGERS, 24):
                each = []
                for number in range(start, start + 24):
                    datagram = notify(number, f"urn:schemas-upnp-org:service:other:{number}")
                    each.append((device_address(0), datagram.replace(b"description.xml", location.encode())))
                devices.send_in_bursts(each, 24)
            receiver.wait_until_idle()
            figures[f"{name}: MB"] = (receiver.resident() - before) / 1e6
    return figures


ROWS = (
    Row("memory", "memory and idle CPU time with 100,000 services", (SSDPREG, ASYNC_UPNP), _memory),
    Row("web", "HTTP with 100,000 services", (METERED,), _web),
    Row("strangers", "memory after 9,000 different datagrams of one sender", (SSDPREG,), _strangers),
)
