"""Processes that are measured: their start, CPU time, memory and receive queues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

from bench.namespace import ADDRESS, INTERFACE, NETWORK
from bench.traffic import URN
from tests.support.paths import ROOT

NOTHING, SSDPREG, ASYNC_UPNP = "Twisted, does nothing", "ssdpreg", "async_upnp_client"
METERED = "ssdpreg, with a meter of turns"

#: Port of the daemon's HTTP server.
WEB_PORT = 8580
#: Backend that keeps the registrations in memory.
_EMBEDDED: Mapping[str, Any] = {"type": "embedded", "path": None}
#: Seconds that a process may take to become idle.
_PATIENCE = 600.0


def daemon_config(search_interval: float, backend: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of the daemon."""
    return {
        "ssdp": {
            "tags": {"RackHD": [URN]},
            "interfaces": [INTERFACE],
            "search": {"interval": search_interval, "mx": 5},
            "allow": [NETWORK],
        },
        "backend": dict(backend),
        "web": {"endpoint": f"tcp:{WEB_PORT}:interface=127.0.0.1"},
    }


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process, in seconds: schedstat of proc(5)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


class Receiver:
    """
    A receiver in a process, which listens on the SSDP group.

    :param kind: :data:`NOTHING`, :data:`SSDPREG`, :data:`ASYNC_UPNP` or :data:`METERED`.
    :param search_interval: Seconds between two searches; 0 for none or for one at start.
    :param backend: Section of the daemon's configuration.
    """

    def __init__(self, kind: str, search_interval: float = 0.0, backend: Mapping[str, Any] = _EMBEDDED) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        config = folder / "registry.json"
        config.write_text(json.dumps(daemon_config(search_interval, backend)))
        command = {
            NOTHING: ["-m", "bench.receivers.nothing", ADDRESS, str(search_interval)],
            ASYNC_UPNP: ["-m", "bench.receivers.async_upnp", ADDRESS, str(search_interval)],
            METERED: ["-m", "bench.receivers.metered", str(config)],
            SSDPREG: [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "ssdpreg", "-c", str(config)],
        }[kind]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                # twistd logs to its standard output.
                stdout=subprocess.PIPE if kind == METERED else log,
                stderr=log,
                cwd=ROOT,
                text=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Receiver:
        deadline = time.monotonic() + 30.0
        while not self._queues():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a receiver did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.wait_until_idle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def cpu_seconds(self) -> float:
        """Return the CPU time of all threads, in seconds."""
        return cpu_seconds(self.pid)

    def resident(self) -> int:
        """Return the resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def dropped(self) -> int:
        """Return the number of datagrams that the kernel dropped because a receive buffer was full."""
        return sum(dropped for _, dropped in self._queues())

    def wait_until_idle(self, *, queues: bool = True) -> None:
        """
        Wait until the receive queues are empty and the process uses less than 4 % of a core.

        :param queues: Whether the queues count. They include those of other processes in the namespace.
        """
        deadline = time.monotonic() + _PATIENCE
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = self.cpu_seconds()
            if now - before < 0.01 and not (queues and any(queued for queued, _ in self._queues())):
                return
            before = now
        raise RuntimeError("a receiver did not become idle")

    def wait_until_read(self) -> None:
        """Wait until the receive queues are empty."""
        while any(queued for queued, _ in self._queues()):
            time.sleep(0.01)

    def longest_turn(self) -> float:
        """Return the longest turn of the reactor since the last call, in seconds. Only of :data:`METERED`."""
        assert self._process.stdout is not None
        os.kill(self.pid, 10)
        return float(self._process.stdout.readline())

    def metric(self, name: str) -> float:
        """Return a metric of the daemon."""
        with urlopen(f"http://127.0.0.1:{WEB_PORT}/metrics", timeout=60) as response:
            for line in response.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[-1])
        raise RuntimeError(f"the daemon has no metric {name}")

    @staticmethod
    def _queues() -> list[tuple[int, int]]:
        """
        Return the bytes in the receive queue, and the number of dropped datagrams, of each UDP socket of the group or
        of the interface's address.
        """
        found = []
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            host, _, port = fields[1].partition(":")
            if host in ("FAFFFFEF", "0100000A") or (host == "00000000" and port == "076C"):
                found.append((int(fields[4].partition(":")[2], 16), int(fields[12])))
        return found
