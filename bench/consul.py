"""
From the first announcement to Consul's catalog, beside a loop that only sends the same requests.

A mode of the backend is one entry of :data:`_MODES`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Any

from bench.loop import TRANSACTIONS, bare_loop, catalog_bodies
from bench.namespace import NETWORK
from bench.processes import SSDPREG, Receiver, cpu_seconds
from bench.row import Row
from bench.traffic import URN, Batch, Devices, device_address, notify
from ssdpreg.backends.consul_format import format_registration
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.ssdp.codec import decode
from ssdpreg.ssdp.messages import GROUP, PORT
from tests.support.consul import ConsulProcess

_BARE_LOOP = "bare loop (Twisted's Agent)"
_NAME = "RackHD-service:api:2.0"
#: Seconds between two looks at the catalog. Each costs Consul time.
_POLL = 0.1
_PATIENCE = 120.0
#: Number of services when Consul loses its data.
_WIPED = 10_000


@dataclass(frozen=True)
class _Mode:
    """
    Mode of the backend.

    :ivar count: Number of services.
    :ivar path: Path of the requests that register them.
    :ivar bodies: Returns the bodies of these requests, after the body of one that is sent before the measurement.
    :ivar requests: Requests of the bare loop that are under way at a time. More bring nothing.
    """

    count: int
    path: str
    bodies: Callable[[int], list[str]]
    requests: int


def _consul() -> ConsulProcess:
    """Return an agent with Consul's usual log level. In development mode it logs a line for each check it compares."""
    return ConsulProcess({"log_level": "INFO"})


def _wait_for(consul: ConsulProcess, count: int, began: float) -> float:
    """Wait until the catalog has all services, and return the seconds since a time."""
    while time.monotonic() < began + _PATIENCE:
        if _count(consul) >= count:
            return time.monotonic() - began
        time.sleep(_POLL)
    raise RuntimeError("the services did not reach the catalog")


def _count(consul: ConsulProcess) -> int:
    """Return the number of devices that the catalog has as nodes, or else the number of services of the agent."""
    nodes = len(consul.get("/v1/catalog/nodes?node-meta=external-source:ssdpreg"))
    return nodes or len(consul.get(f"/v1/catalog/service/{_NAME}"))


def _measured(consul: ConsulProcess, pid: int, count: int, send: Callable[[], None]) -> dict[str, float]:
    before, began = cpu_seconds(pid), time.monotonic()
    send()
    seconds = _wait_for(consul, count, began)
    time.sleep(1.0)
    return {"seconds": seconds, "CPU ms a service": (cpu_seconds(pid) - before) / count * 1e3}


def _section(consul: ConsulProcess, mode: str) -> dict[str, str]:
    return {"type": "consul", "mode": mode, "address": consul.address}


def _announcements(count: int) -> list[tuple[str, bytes]]:
    """Return the announcements of devices with one address each: a sender may have 4,096 services only."""
    return [(device_address(number), notify(number)) for number in range(count)]


def _daemon(consul: ConsulProcess, mode: str) -> dict[str, float]:
    count = _MODES[mode].count
    # At once, as the bare loop has its bodies at once: with pauses, the sending alone would take longer than that loop.
    announcements = Batch(_announcements(count), (GROUP, PORT))
    with Receiver(SSDPREG, backend=_section(consul, mode)) as receiver, Devices() as devices:
        time.sleep(2.0)
        figures = _measured(consul, receiver.pid, count, lambda: devices.send(announcements))
        return {**figures, "dropped": receiver.dropped()}


def _wiped(contender: str) -> dict[str, float]:
    """Measure the time from the start of an empty Consul until all services are back."""
    consul = _consul()
    try:
        consul.start()
        with Receiver(contender, backend=_section(consul, "catalog")) as receiver, Devices() as devices:
            time.sleep(2.0)
            devices.send_in_bursts(_announcements(_WIPED), 96)
            _wait_for(consul, _WIPED, time.monotonic())
            receiver.wait_until_idle()
            before = receiver.cpu_seconds()
            consul.kill()
            consul.start()
            seconds = _wait_for(consul, _WIPED, time.monotonic())
            return {"seconds": seconds, "CPU ms a service": (receiver.cpu_seconds() - before) / _WIPED * 1e3}
    finally:
        consul.clean_up()


def _registrations(count: int) -> Iterator[Registration]:
    """Return the registrations that the daemon makes from the announcements."""
    rules, terms = RegistrationRules("bench"), SearchTerms({URN: "RackHD"})
    locations = LocationRules([ip_network(NETWORK)])
    for number in range(count):
        meaning = interpret(decode(notify(number)), device_address(number), terms, locations)
        assert isinstance(meaning, Advertisement)
        yield rules.registration(meaning)


def _agent_bodies(count: int) -> list[str]:
    """Return the bodies that the daemon sends to the agent: its own service, and the services of the devices."""
    own = "ssdpreg-bench"
    bodies: list[Any] = [{"ID": own, "Name": "ssdpreg", "Check": {"TTL": "30s", "Status": "passing"}}]
    for registration in _registrations(count):
        checks = {check.check_id: check for check in registration.checks}
        bodies.append(format_registration(registration, checks, own))
    return [json.dumps(body) for body in bodies]


_MODES = {
    "agent": _Mode(1000, "/v1/agent/service/register", _agent_bodies, 16),
    "catalog": _Mode(5000, "/v1/txn", lambda count: catalog_bodies(_registrations(count)), TRANSACTIONS),
}


def _bare_loop(consul: ConsulProcess, mode: str) -> dict[str, float]:
    settings = _MODES[mode]
    bodies = settings.bodies(settings.count)
    with bare_loop(f"http://{consul.address}{settings.path}", bodies, settings.requests) as loop:
        figures = _measured(consul, loop.pid, settings.count, loop.start)
        loop.wait()
        return figures


def _measure(mode: str, contender: str) -> dict[str, float]:
    consul = _consul()
    try:
        consul.start()
        return _daemon(consul, mode) if contender == SSDPREG else _bare_loop(consul, mode)
    finally:
        consul.clean_up()


ROWS = (
    *(
        Row(
            f"consul-{mode}",
            f"{settings.count:,} services to the catalog in {mode} mode",
            (_BARE_LOOP, SSDPREG),
            partial(_measure, mode),
        )
        for mode, settings in _MODES.items()
    ),
    Row("wiped", f"{_WIPED:,} services in catalog mode, after Consul lost its data", (SSDPREG,), _wiped),
)
