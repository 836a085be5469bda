"""
Time and CPU time to write services to the catalog of a real Consul, beside a bare loop that sends the same operations.

    python bench/catalog.py [SERVICES]

The daemon's side is its reconciler with the backend of catalog mode, from the moment when the services are known. The
bare loop sends the same transactions. Consul runs without a disk, so both are compared with the same server. Then 1,000
devices leave, Consul loses its data, and the daemon starts again. Needs a ``consul`` binary, see CONTRIBUTING.md.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater, react

from bench.loop import TRANSACTIONS, bare_loop, catalog_bodies
from bench.processes import cpu_seconds
from ssdpreg.backends.catalog.locked import make_backend
from ssdpreg.config import ConsulConfig
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration
from tests.support.consul import ConsulProcess

reactor: Any = installed_reactor

#: Seconds between two looks at the progress.
_STEP = 0.01
#: Number of devices that leave.
_DEPARTURES = 1000


def measure_loop(address: str, registrations: Iterable[Registration]) -> tuple[float, float]:
    """Return the seconds, and the seconds of CPU time, of a bare loop."""
    with bare_loop(f"http://{address}/v1/txn", catalog_bodies(registrations), TRANSACTIONS) as loop:
        started, cpu = time.monotonic(), cpu_seconds(loop.pid)
        loop.start()
        loop.wait()
        return time.monotonic() - started, cpu_seconds(loop.pid) - cpu


async def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> float:
    """
    Wait until a condition is true.

    :return: The most seconds of CPU time between two events of the reactor.
    """
    started, longest = time.monotonic(), 0.0
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError
        for pause in (_STEP, 0.0, 0.0, 0.0):
            before = time.process_time()
            await deferLater(reactor, pause)
            longest = max(longest, time.process_time() - before)
    return longest


async def measure(count: int) -> None:
    """Measure, and print the results."""
    consul = ConsulProcess()
    consul.start()
    registrations = {each.service_id: each for each in (make_registration(number, "bench") for number in range(count))}
    loop_seconds, loop_cpu = measure_loop(consul.address, registrations.values())
    report("bare loop", count, loop_seconds, loop_cpu)
    # Consul becomes slower with the number of nodes.
    consul.kill()
    consul.start()

    desired: dict[str, Registration] = {}
    backend = make_backend(reactor, ConsulConfig(address=consul.address, mode="catalog"), "bench")
    reconciler = Reconciler(reactor, backend, desired, lambda found: None)
    reconciler.startService()
    await wait_for(lambda: reconciler.available)
    cpu, started = time.process_time(), time.monotonic()
    for service_id, registration in registrations.items():
        desired[service_id] = registration
        reconciler.appeared(registration)
    blocked = await wait_for(lambda: reconciler.pending == 0)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    report("new services", count, seconds, cpu)
    print(
        f"  ratio to the bare loop: {seconds / loop_seconds:.2f}, CPU {cpu / loop_cpu:.2f},"
        f" longest step {blocked * 1000:.0f} ms"
    )

    cpu, started = time.process_time(), time.monotonic()
    await backend.read()
    report("comparison", count, time.monotonic() - started, time.process_time() - cpu)

    left = list(registrations)[:_DEPARTURES]
    cpu, started = time.process_time(), time.monotonic()
    for service_id in left:
        reconciler.left(desired.pop(service_id), "byebye")
    await wait_for(lambda: reconciler.pending == 0)
    report("departures", len(left), time.monotonic() - started, time.process_time() - cpu)
    cpu, started = time.process_time(), time.monotonic()
    await backend.read()
    report("nodes of the departed", len(left), time.monotonic() - started, time.process_time() - cpu)

    consul.kill()
    consul.start()
    started = time.monotonic()
    found = len(desired)
    await wait_for(lambda: reconciler.pending == 0 and _count(consul) == found)
    print(f"wiped, after the start of Consul: all back within {time.monotonic() - started:.2f} s")

    cpu, started = time.process_time(), time.monotonic()
    again = make_backend(reactor, ConsulConfig(address=consul.address, mode="catalog"), "bench")
    stopped: Any = reconciler.stopService()
    await stopped
    while True:
        try:
            await again.read()
            break
        except Exception as error:
            print(error)
            await deferLater(reactor, 0.1)
    report("adoption after a restart", count, time.monotonic() - started, time.process_time() - cpu)
    await again.close()
    print(f"resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    consul.clean_up()


def _count(consul: ConsulProcess) -> int:
    return len(consul.get("/v1/catalog/nodes?node-meta=ssdpreg-scope:bench"))


def report(name: str, count: int, seconds: float, cpu: float) -> None:
    """Print a line."""
    print(
        f"{name}: {count} services in {seconds:.2f} s, {count / seconds:.0f} a second,"
        f" CPU {cpu * 1000 / count:.3f} ms a service"
    )


def main() -> None:
    """Run the measurement."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    react(lambda _: ensureDeferred(measure(count)))


if __name__ == "__main__":
    main()
