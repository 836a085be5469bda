"""
Load on Consul of a whole site, for ``docs/scale.md``.

    python -m bench.site                  # everything: about half an hour on two cores
    python -m bench.site --only real

One segment of 1,000 devices runs for 24 simulated hours with the real table, registry, reconciler and backend on a
simulated clock, network and Consul. A sample of 20 other segments, each with its own seeds, shows the spread, and four
segments on one Consul show whether the figures can be added. Then one segment, and in catalog mode 5 and 10, register
with a real Consul, which gives the entries of its log and its memory. The results are written to
``bench/results/site.json``, and from there to the page. Needs a ``consul`` binary, see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner

from bench import site_report
from ssdpreg.backends.catalog.locked import make_backend
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_connection import connect
from ssdpreg.config import ConsulConfig
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from tests.simulation.catalog_consul import SimulatedCatalog
from tests.simulation.clock import WorldClock
from tests.simulation.consul import SimulatedConsul
from tests.simulation.daemon import Daemon, SimulatedInstance
from tests.simulation.devices import API, Device, Kind
from tests.simulation.network import Network, Segment
from tests.simulation.writers import CatalogDaemon, HostInstance
from tests.support.consul import ConsulProcess

MODES = ("agent", "catalog")
DEVICES = 1000
_KIND = Kind("appliance", 1, (API,), (1800,), (0.25, 0.5), byebye=1.0)
#: Seconds of the phases after a start and after a wipe.
_PHASE = 300.0
#: Mean seconds between two restarts of a device: a week.
_RESTART = 7 * 86400.0
_LIMITS = (100_000, 4096)
#: Segments that register with one real agent in agent mode, at most. With more services, most of its memory are the
#: copies that its alias checks make: docs/scale.md, "The limit of agent mode".
_MOST_OF_AGENT = 2

reactor: Any = installed_reactor


class _Quiet:
    """Observer of devices and changes that records nothing."""

    def device_changed(self, *_: object) -> None: ...
    def device_heard(self, *_: object) -> None: ...
    def device_lost(self, *_: object) -> None: ...
    def appeared(self, *_: object) -> None: ...
    def changed(self, *_: object) -> None: ...
    def left(self, *_: object) -> None: ...


class _AgentDaemon(Daemon):
    """Daemon in agent mode with the limits of a real one."""

    limits = _LIMITS


class _CatalogDaemon(CatalogDaemon):
    """Daemon in catalog mode with the limits of a real one."""

    limits = _LIMITS


class Simulation:
    """
    Some segments with a daemon each.

    :param mode: ``agent``: each daemon has its own agent. ``catalog``: all share the servers.
    :param segments: Number of segments.
    :param first: Number of the first segment, from which its seeds follow.
    """

    def __init__(self, mode: str, segments: int, first: int = 0) -> None:
        self.random, self.mode = Random(1000 * first + 1), mode
        self.clock = WorldClock(Random(1000 * first + 2))
        self.consuls: list[Any] = []
        self.devices: list[Device] = []
        self.bytes = self.restarts = 0
        self._quiet: Any = _Quiet()
        running: dict[str, None] = {}
        catalog = SimulatedCatalog(self.clock, Random(1000 * first + 3)) if mode == "catalog" else None
        if catalog is not None:
            self.consuls.append(self._counted(catalog, "serve"))
        for number in range(first, first + segments):
            network_random = Random(1000 * number + 100)
            segment = Segment(number, network_random, 0.01)
            network = Network(self.clock, network_random, [segment])
            for each in range(DEVICES):
                device_random = Random(number * DEVICES + each)
                self.devices.append(Device(each, _KIND, self.clock, network, segment, device_random, self._quiet))
            self._add_daemon(number, network, running, catalog)
        for device in self.devices:
            self.clock.callLater(self.random.uniform(0.0, 600.0), device.boot)

    def _add_daemon(
        self, number: int, network: Network, running: dict[str, None], catalog: SimulatedCatalog | None
    ) -> None:
        terms, random = {API: "RackHD"}, Random(1000 * number + 200)
        daemon: Daemon
        if catalog is not None:
            scope, host = f"segment-{number}", f"host-{number}"
            instance = HostInstance(host, number, running)
            daemon = _CatalogDaemon(
                scope, host, self.clock, network, catalog, terms, instance, random, self._quiet, lambda found: None
            )
        else:
            consul = SimulatedConsul(self.clock, Random(1000 * number + 300))
            self.consuls.append(self._counted(consul, "request"))
            simulated = SimulatedInstance(number, running)
            daemon = _AgentDaemon(
                self.clock, network, consul, terms, simulated, random, self._quiet, lambda found: None
            )
        self.clock.callLater(700.0, daemon.start)

    def _counted(self, consul: Any, name: str) -> Any:
        """Count the bytes of the bodies of requests and responses."""
        original = getattr(consul, name)

        def serve(process: Any, method: str, url: str, body: bytes, respond: Any) -> None:
            def count(status: int, answer: bytes, retry_after: str | None) -> None:
                self.bytes += len(url) + len(body) + len(answer)
                respond(status, answer, retry_after)

            original(process, method, url, body, count)

        def request(method: str, url: str, body: bytes | None, *rest: Any) -> Any:
            answer = original(method, url, body, *rest)
            self.bytes += len(url) + len(body or b"") + len(answer[1])
            return answer

        setattr(consul, name, serve if name == "serve" else request)
        return consul

    def run(self, hours: float) -> dict[str, dict[str, float]]:
        """Run all phases, and return the figures of each: requests, writes, bytes and seconds."""
        self.clock.run_until(700.0)
        phases = {"start": self._phase(_PHASE)}
        self._check()
        self._restart_some()
        phases["steady"] = self._phase(hours * 3600.0)
        phases["steady"]["restarts"] = self.restarts
        self._check()
        for consul in self.consuls:
            consul.wipe() if self.mode == "catalog" else consul.clear()
        phases["wipe"] = self._phase(_PHASE)
        self._check()
        return phases

    def _check(self) -> None:
        registered = sum(self._services(consul) for consul in self.consuls)
        live = sum(device.on for device in self.devices)
        if abs(registered - live) > live // 100:
            raise RuntimeError(f"{registered} of {live} devices are registered")

    def _services(self, consul: Any) -> int:
        if self.mode == "catalog":
            return len(consul.state.services)
        return len(consul.services) - 1

    def _phase(self, seconds: float) -> dict[str, float]:
        before = self._counters()
        busiest, end = 0, self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            writes = self._counters()[1]
            self.clock.run_until(min(end, self.clock.seconds() + 1.0))
            busiest = max(busiest, self._counters()[1] - writes)
        requests, writes, size = (now - then for now, then in zip(self._counters(), before, strict=True))
        return {
            "seconds": seconds,
            "requests": requests,
            "writes": writes,
            "bytes": size,
            "writes in a second": busiest,
        }

    def _counters(self) -> tuple[int, int, int]:
        return (
            sum(consul.requests for consul in self.consuls),
            sum(consul.writes for consul in self.consuls),
            self.bytes,
        )

    def _restart_some(self) -> None:
        def restart() -> None:
            device = self.random.choice(self.devices)
            if device.on and self.clock.seconds() < self._stop_restarts:
                self.restarts += 1
                device.leave(True)
                self.clock.callLater(60.0, device.boot)
            self.clock.callLater(self.random.expovariate(len(self.devices) / _RESTART), restart)

        self._stop_restarts = float("inf")
        restart()


# The real Consul.


def _backend(mode: str, address: str, scope: str) -> Any:
    config = ConsulConfig(address=address, mode="catalog" if mode == "catalog" else "agent")
    if mode == "catalog":
        return make_backend(reactor, config, scope)
    return ConsulAgent(connect(reactor, config), scope)


def _resident(consul: ConsulProcess) -> int:
    for line in Path(f"/proc/{consul.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("Consul has no resident memory")


async def _until(done: Any, seconds: float = 1800.0) -> float:
    began = reactor.seconds()
    while not done():
        if reactor.seconds() - began > seconds:
            raise TimeoutError
        await deferLater(reactor, 0.05)
    return float(reactor.seconds() - began)


async def measure(mode: str, segments: int) -> dict[str, float]:
    """Register some segments with a real Consul, and return the figures."""
    # In development mode an agent logs a line for each check that it compares.
    consul = ConsulProcess({"log_level": "INFO"})
    consul.start()
    try:
        reconcilers = []
        desired: list[dict[str, Registration]] = []
        # An agent serves one daemon in agent mode.
        daemons = segments if mode == "catalog" else 1
        for number in range(daemons):
            desired.append({})
            backend = _backend(mode, consul.address, f"segment-{number}")
            reconcilers.append(Reconciler(reactor, backend, desired[-1], lambda found: None))
            reconcilers[-1].startService()
        await _until(lambda: all(each.available for each in reconcilers))
        await deferLater(reactor, 2.0)
        before = consul.raft_index(), _resident(consul)
        for number, reconciler in enumerate(reconcilers):
            for device in range(number, segments * DEVICES, daemons):
                registration = make_registration(device, f"segment-{number}")
                desired[number][registration.service_id] = registration
                reconciler.appeared(registration)
        seconds = await _until(lambda: not any(each.pending for each in reconcilers))
        # The agent writes to the servers later than it answers.
        index = -1
        while index != consul.raft_index():
            index = consul.raft_index()
            await deferLater(reactor, 3.0)
        figures = {
            "services": segments * DEVICES,
            "seconds": seconds,
            "log entries": index - before[0],
            "resident bytes": _resident(consul) - before[1],
        }
        await deferLater(reactor, 60.0)
        figures["log entries in 60 s"] = consul.raft_index() - index
        for each in reconcilers:
            stopped: Any = each.stopService()
            await stopped
        return figures
    finally:
        consul.clean_up()


def _simulate(mode: str, segments: int, first: int, hours: float) -> dict[str, dict[str, float]]:
    return Simulation(mode, segments, first).run(hours)


def _simulate_all(hours: float, jobs: int) -> dict[str, Any]:
    """Return the figures of one segment in a day, and of four segments on one Consul in an hour, in each mode."""
    runs = [(mode, segments, 0, hours if segments == 1 else min(hours, 1.0)) for mode in MODES for segments in (1, 4)]
    results = {}
    with ProcessPoolExecutor(jobs) as processes:
        for (mode, segments, *_), figures in zip(runs, processes.map(_simulate, *zip(*runs, strict=True)), strict=True):
            name = f"{mode}, {segments} segment{'s' if segments > 1 else ''}"
            results[name] = figures
            print(name, json.dumps(figures), flush=True)
    return results


def _simulate_sample(size: int, jobs: int) -> dict[str, Any]:
    """Return the figures of some segments with other seeds in an hour each, in each mode."""
    runs = [(mode, 1, number, 1.0) for number in range(1, size + 1) for mode in MODES]
    results: dict[str, Any] = {mode: [] for mode in MODES}
    with ProcessPoolExecutor(jobs) as processes:
        for (mode, _, number, _), figures in zip(runs, processes.map(_simulate, *zip(*runs, strict=True)), strict=True):
            results[mode].append(figures)
            print(f"{mode}, segment {number}", json.dumps(figures), flush=True)
    return results


async def _measure_all(sizes: Sequence[int], store: Callable[[Any], None]) -> None:
    """Measure all sizes with the real Consul, and store the figures after each size: an agent needs minutes."""
    results: dict[str, Any] = {mode: [] for mode in MODES}
    for segments in sizes:
        for mode in reversed(MODES):
            if mode == "agent" and segments > _MOST_OF_AGENT:
                continue
            results[mode].append(await measure(mode, segments))
            print(mode, json.dumps(results[mode][-1]), flush=True)
            if all(results.values()):
                store(results)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.site", description="Compute the load of a site on Consul.")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours of one segment (24)")
    parser.add_argument("--sample", type=int, default=20, help="number of other segments (20)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 5, 10], help="segments with the real Consul")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes that simulate (2)")
    parser.add_argument("--only", choices=("simulated", "sample", "real"), help="keep the other figures")
    options = parser.parse_args(arguments)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)

    def store(part: str, figures: Any) -> None:
        # Parts may be computed at the same time.
        results = json.loads(site_report.RESULTS.read_text()) if site_report.RESULTS.exists() else {}
        results |= {"devices": DEVICES, part: figures} | ({"hours": options.hours} if part == "simulated" else {})
        site_report.RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        if {"simulated", "sample", "real"} <= results.keys():
            site_report.write(results)

    if options.only in (None, "simulated"):
        store("simulated", _simulate_all(options.hours, options.jobs))
    if options.only in (None, "sample"):
        store("sample", _simulate_sample(options.sample, options.jobs))
    if options.only in (None, "real"):
        react(lambda _: ensureDeferred(_measure_all(options.sizes, partial(store, "real"))))


if __name__ == "__main__":
    main(sys.argv[1:])
