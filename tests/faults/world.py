"""A daemon, a Consul with a proxy before it, and simulated devices, on a network of their own."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from tests.faults.devices import URN, Device, Devices
from tests.faults.host_loop import HostLoop
from tests.faults.proxy import CONSUL_PORT, PROXY_PORT, Proxy
from tests.faults.row import EQUAL_TIMEOUT, Row
from tests.support.hosts import Lan, Program
from tests.support.paths import ROOT
from tests.support.rack import Rack, twistd
from tests.support.waiting import wait_until

#: Lines about changes of registrations.
_CHANGE = re.compile(r" (Registered|Updated|Deregistered) ")
#: Port of the daemon's web server.
WEB_PORT = 8580
#: Seconds between two looks at Consul and at the daemon.
_LOOK_INTERVAL = 0.5
#: Seconds in which the daemon must start. Several rows run at the same time.
_START_TIMEOUT = 60.0
#: Bytes of address space of the daemon: a fault must not take the whole machine.
_ADDRESS_SPACE = 4 << 30
_LIMIT = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({_ADDRESS_SPACE}, {_ADDRESS_SPACE}))"


class World:
    """
    Network with a rack server and a host of simulated devices.

    :param keep_log: Whether the log of the daemon is written to standard output at the end.
    :ivar devices: The simulated devices, on a host of their own.
    :ivar proxy: The proxy between the daemon and Consul.
    :ivar rack: The host of Consul and the daemon.
    """

    def __init__(self, keep_log: bool = True) -> None:
        self._keep_log = keep_log
        self.lan = Lan()
        self.rack = Rack(self.lan.host("10.77.0.2"), self.lan.folder)
        self.device_host = self.lan.host("10.77.0.3")
        self._loops = [HostLoop(self.rack.host), HostLoop(self.device_host)]
        self.proxy = Proxy(self._loops[0])
        self.devices = Devices(self.device_host, self._loops[1])
        self.token = ""
        self._daemons: list[Program] = []

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loop in self._loops:
            loop.close()
        # The process of a row writes to a file beside its result.
        if self._keep_log:
            sys.stdout.write(self.output)
        self.lan.close()

    @property
    def folder(self) -> Path:
        """Folder for files of this world."""
        return self.lan.folder

    def configuration(self, backend: Mapping[str, Any] | None = None, **ssdp: Any) -> dict[str, Any]:
        """Return a configuration of the daemon, whose requests pass the proxy."""
        return {
            "ssdp": {"tags": {"Rack": [URN]}, **ssdp},
            "backend": {"type": "consul", "address": f"127.0.0.1:{PROXY_PORT}", **(backend or {})},
        }

    def start(
        self, count: int = 0, backend: Mapping[str, Any] | None = None, per_address: int = 1, **device: Any
    ) -> list[Device]:
        """
        Start Consul, the daemon and devices, and wait until all are registered.

        :param count: Number of devices.
        :param backend: Further keys of the section ``backend``.
        :param per_address: Devices with the same address and different ports.
        :param device: Further arguments of the devices.
        """
        if self.rack.consul is None:
            self.rack.start_consul()
        devices = self.new_devices(count, per_address, **device)
        self.devices.start(*devices)
        self.start_daemon(backend)
        self.wait_until_equal(60)
        # Until Consul has written the first results of the checks, and the daemon has compared once.
        time.sleep(2)
        return devices

    def new_devices(self, count: int, per_address: int = 1, **device: Any) -> list[Device]:
        """Make devices at new addresses. They are not connected to the network yet."""
        addresses = [self.devices.new_address() for _ in range(-(-count // per_address))]
        return [
            Device(addresses[number // per_address], port=8080 + number % per_address, **device)
            for number in range(count)
        ]

    def start_daemon(self, backend: Mapping[str, Any] | None = None) -> None:
        """Start the daemon, for the first time or again."""
        daemon = self._run(self.configuration(backend), "registry.json", _LIMIT)
        self.rack.daemon = daemon
        self._daemons.append(daemon)

    @property
    def output(self) -> str:
        """Log of the daemon, in all its runs."""
        return "".join(daemon.output for daemon in self._daemons)

    def start_second_daemon(self, configuration: Mapping[str, Any]) -> Program:
        """Start another daemon on the same host."""
        return self._run(configuration, "second.json")

    def _run(self, configuration: Mapping[str, Any], name: str, before: str = "") -> Program:
        path = self.folder / name
        path.write_text(json.dumps(configuration))
        daemon = self.rack.host.run(twistd("ssdpreg", "--config", str(path), before=before), cwd=str(ROOT))
        daemon.wait_for("Listening on eth0", _START_TIMEOUT)
        return daemon

    @property
    def daemon(self) -> Program:
        """The process of the daemon."""
        assert self.rack.daemon is not None
        return self.rack.daemon

    @property
    def consul(self) -> Program:
        """The process of Consul."""
        assert self.rack.consul is not None
        return self.rack.consul

    def found(self, *devices: Device) -> dict[str, str]:
        """
        Return address and port of devices in Consul by ID: what the agent holds.

        :param devices: Devices to look for; by default all.
        """
        wanted = " or ".join(f'Meta["ssdp-device"] == "{device.device_id}"' for device in devices)
        services = self._list("services", wanted or 'Meta["external-source"] == "ssdpreg"')
        return {
            each["Meta"]["ssdp-device"]: f"{each['Address']}:{each['Port']}"
            for each in services.values()
            if "ssdp-device" in each["Meta"]
        }

    def own_check(self) -> str | None:
        """Return the status of the daemon's own check, or ``None`` if Consul has no such check."""
        for check in self._list("checks", 'ServiceName == "ssdpreg"').values():
            return str(check["Status"])
        return None

    def _list(self, kind: str, expression: str) -> dict[str, Any]:
        token = f"&token={self.token}" if self.token else ""
        path = f"/v1/agent/{kind}?filter={quote(expression)}{token}"
        listing: dict[str, Any] = self.rack.host.http(path, port=CONSUL_PORT, seconds=5).json()
        return listing

    def equal(self) -> bool:
        """Return whether Consul is equal to the live devices."""
        with suppress(OSError, ValueError):
            return self.found() == self.devices.truth
        return False

    def wait_until_equal(self, seconds: float = EQUAL_TIMEOUT) -> None:
        """Wait until Consul is equal to the live devices."""
        try:
            wait_until(self.equal, seconds, 0.2)
        except AssertionError:
            found, truth = set(self.found().items()), set(self.devices.truth.items())
            text = f"Consul lacks {len(truth - found)} of {len(truth)}, and has {len(found - truth)} more"
            raise AssertionError(text) from None


class Measurement:
    """
    Measurement of one fault, from its beginning until Consul is equal again.

    :param world: The devices, the daemon and Consul.
    :param row: Row to complete.
    :param untouched: Devices that must be in Consul all the time. With None, that is not measured.
    :param watched: Devices whose services are read; by default all. Reading all services slows a large Consul down.
    """

    def __init__(
        self, world: World, row: Row, untouched: list[Device] | None, watched: list[Device] | None = None
    ) -> None:
        self._world, self._row = world, row
        self._untouched = untouched
        self._watched = watched or []
        row.untouched = len(untouched or ())
        row.lowest = None if untouched is None else len(untouched)
        row.critical = 0.0
        self._began = time.monotonic()
        self._output_at_start = len(world.output)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=repeat, daemon=True) for repeat in (self._look_repeatedly, self._probe_repeatedly)
        ]
        for thread in self._threads:
            thread.start()

    def wait_until_equal(self, hold: float = 5.0) -> None:
        """End the fault, wait until Consul is equal to the live devices, and complete the row."""
        start = time.monotonic()
        self._count_lines()
        try:
            self._world.wait_until_equal()
            self._row.equal_after = round(time.monotonic() - start, 1)
            time.sleep(hold)
            if not self._world.equal():
                self._row.faults.append(f"not equal any more {hold:.0f} s later")
        except AssertionError as error:
            self._row.faults.append(str(error))
        self.end()

    def end(self) -> None:
        """End the measurement, and complete the row."""
        self._ended.set()
        for thread in self._threads:
            thread.join(15)
        self._count_lines()
        self._row.tracebacks += self._output.count("Traceback (most recent call last)")
        if not self._world.daemon.running:
            self._row.exits += 1
        self._measure_memory()

    @property
    def _output(self) -> str:
        """Log of the daemon since the beginning."""
        return self._world.output[self._output_at_start :]

    def _count_lines(self) -> None:
        # A budget of one minute: a few lines in a few seconds are within it.
        minutes = max(1.0, (time.monotonic() - self._began) / 60)
        lines = self._output.splitlines()
        self._row.changes = sum(bool(_CHANGE.search(line)) for line in lines)
        # The higher one of the rate in the fault and the rate until the end of the measurement.
        self._row.lines = max(self._row.lines, (len(lines) - self._row.changes) / minutes)

    def _look_repeatedly(self) -> None:
        while not self._ended.wait(_LOOK_INTERVAL):
            self._measure_memory()
            # Consul may be stopped.
            with suppress(OSError, ValueError):
                self._look()

    def _probe_repeatedly(self) -> None:
        while not self._ended.wait(_LOOK_INTERVAL):
            start = time.monotonic()
            # A daemon that was killed refuses the connection.
            with suppress(ConnectionError, HTTPException):
                with suppress(TimeoutError):
                    self._world.rack.host.http("/healthz", port=WEB_PORT, seconds=30)
                self._row.slowest = max(self._row.slowest or 0.0, time.monotonic() - start)

    def _look(self) -> None:
        row = self._row
        if self._untouched is not None:
            found = self._world.found(*self._watched)
            present = sum(found.get(device.device_id) == device.endpoint for device in self._untouched)
            row.lowest = min(present, row.lowest if row.lowest is not None else present)
        if self._world.own_check() != "passing":
            row.critical = round((row.critical or 0.0) + _LOOK_INTERVAL, 1)

    def _measure_memory(self) -> None:
        with suppress(OSError):
            status = Path(f"/proc/{self._world.daemon.process.pid}/status").read_text()
            if peak := re.search(r"VmHWM:\s+(\d+)", status):
                self._row.memory = max(self._row.memory, int(peak[1]) / 1000)
