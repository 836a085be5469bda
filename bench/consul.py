"""
From the first announcement to Consul's catalog, beside a loop that only sends the same requests.

A mode of the backend is one entry of :data:`_MODES`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.namespace import NETWORK
from bench.processes import SSDPREG, Receiver, cpu_seconds
from bench.row import Row
from bench.traffic import URN, Devices, device_address, notify
from ssdpreg.backends.catalog.changes import NodeChange, make_step
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.transactions import Transaction, TransactionLimits, room
from ssdpreg.backends.consul_format import format_registration
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.ssdp.codec import decode
from tests.support.consul import ConsulProcess
from tests.support.paths import ROOT

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
    announcements = _announcements(count)
    with Receiver(SSDPREG, backend=_section(consul, mode)) as receiver, Devices() as devices:
        time.sleep(2.0)
        figures = _measured(consul, receiver.pid, count, lambda: devices.send_in_bursts(announcements, 96))
        return {**figures, "dropped": receiver.dropped()}


def _wiped(contender: str) -> dict[str, float]:
    """Measure the time from the start of an empty Consul until all services are back."""
    consul = ConsulProcess()
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


def _catalog_bodies(count: int) -> list[str]:
    """Return the transactions that the daemon sends, with a fence that needs no session."""
    format, limits = CatalogFormat("bench"), TransactionLimits()
    fence = '{"KV":{"Verb":"check-not-exists","Key":"ssdpreg/bench"}}'
    transactions = [Transaction(limits)]
    for each in _registrations(count):
        change = NodeChange(format.node_name(each), {each.service_id: each})
        unit = make_step(format, None, change, room(limits)).unit
        assert unit is not None
        if not transactions[-1].add(unit):
            transactions.append(Transaction(limits))
            transactions[-1].add(unit)
    return [f"[{fence}]", *(each.body(fence).decode() for each in transactions)]


_MODES = {
    "agent": _Mode(1000, "/v1/agent/service/register", _agent_bodies, 16),
    "catalog": _Mode(5000, "/v1/txn", _catalog_bodies, 4),
}


def _bare_loop(consul: ConsulProcess, mode: str) -> dict[str, float]:
    settings = _MODES[mode]
    count = settings.count
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_text("\n".join(settings.bodies(count)))
        url = f"http://{consul.address}{settings.path}"
        command = [sys.executable, "-m", "bench.receivers.bare_loop", url, str(file), str(settings.requests)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, bufsize=1
        ) as loop:
            requests, answers = loop.stdin, loop.stdout
            assert requests is not None
            assert answers is not None
            answers.readline()
            figures = _measured(consul, loop.pid, count, lambda: print(file=requests))
            answers.readline()
            print(file=requests)
        return figures


def _measure(mode: str, contender: str) -> dict[str, float]:
    consul = ConsulProcess()
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
