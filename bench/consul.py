"""
From the first announcement to Consul's catalog, beside a loop that only sends the same requests.

A mode of the backend is one entry of :data:`_MODES` and one bare loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.namespace import NETWORK
from bench.processes import SSDPREG, Receiver, cpu_seconds
from bench.row import Row
from bench.traffic import URN, Devices, device_address, notify
from ssdpreg.backends.consul_format import format_registration
from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import RegistrationRules
from ssdpreg.ssdp.codec import decode
from tests.support.consul import ConsulProcess
from tests.support.paths import ROOT

_BARE_LOOP = "bare loop (Twisted's Agent)"
_NAME = "RackHD-service:api:2.0"
#: Seconds between two looks at the catalog. Each costs Consul time.
_POLL = 0.1
_PATIENCE = 120.0

#: Section of the daemon's configuration by mode, and the number of services.
_MODES = {"agent": ({"type": "consul", "mode": "agent"}, 1000)}


def _wait_for(consul: ConsulProcess, count: int, began: float) -> float:
    """Wait until the catalog has all services, and return the seconds since a time."""
    while time.monotonic() < began + _PATIENCE:
        if len(consul.get(f"/v1/catalog/service/{_NAME}")) >= count:
            return time.monotonic() - began
        time.sleep(_POLL)
    raise RuntimeError("the services did not reach the catalog")


def _measured(consul: ConsulProcess, pid: int, count: int, send: Callable[[], None]) -> dict[str, float]:
    before, began = cpu_seconds(pid), time.monotonic()
    send()
    seconds = _wait_for(consul, count, began)
    time.sleep(1.0)
    return {"seconds": seconds, "CPU ms a service": (cpu_seconds(pid) - before) / count * 1e3}


def _daemon(consul: ConsulProcess, mode: str) -> dict[str, float]:
    section, count = _MODES[mode]
    announcements = [(device_address(number), notify(number)) for number in range(count)]
    with Receiver(SSDPREG, backend={**section, "address": consul.address}) as receiver, Devices() as devices:
        time.sleep(2.0)
        figures = _measured(consul, receiver.pid, count, lambda: devices.send_in_bursts(announcements, 96))
        return {**figures, "dropped": receiver.dropped()}


def _agent_bodies(count: int) -> list[str]:
    """Return the bodies that the daemon sends to the agent: its own service, and the services of the devices."""
    rules, terms = RegistrationRules("bench"), SearchTerms({URN: "RackHD"})
    locations = LocationRules([ip_network(NETWORK)])
    own = "ssdpreg-bench"
    bodies = [{"ID": own, "Name": "ssdpreg", "Check": {"TTL": "30s", "Status": "passing"}}]
    for number in range(count):
        meaning = interpret(decode(notify(number)), device_address(number), terms, locations)
        assert isinstance(meaning, Advertisement)
        registration = rules.registration(meaning)
        checks = {check.check_id: check for check in registration.checks}
        bodies.append(format_registration(registration, checks, own))
    return [json.dumps(body) for body in bodies]


def _bare_loop(consul: ConsulProcess, mode: str) -> dict[str, float]:
    count = _MODES[mode][1]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_text("\n".join(_agent_bodies(count)))
        command = [sys.executable, "-m", "bench.receivers.bare_loop", consul.address, str(file)]
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


ROWS = tuple(
    Row(
        f"consul-{mode}",
        f"{_MODES[mode][1]:,} services to the catalog in {mode} mode",
        (_BARE_LOOP, SSDPREG),
        partial(_measure, mode),
    )
    for mode in _MODES
)
