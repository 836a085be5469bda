"""
Soak test: devices come, move, restart and leave, while Consul is stopped, killed and wiped.

All of it is drawn from a seed. At the end, the daemon's own table, Consul and the live devices must be equal, and the
memory and the descriptors of the daemon must not have grown.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.devices import Device
from tests.faults.world import WEB_PORT, World
from tests.support import hosts
from tests.support.consul import skip_without_consul

#: Devices at the beginning, the bounds of their number, and all devices that may come.
_DEVICES, _FEWEST, _MOST, _KNOWN = 200, 150, 250, 300
#: Devices at one address.
_PER_ADDRESS = 4
#: Seconds between two changes of devices, and between the end of a fault and the next one, at most.
_CHANGE_INTERVAL, _FAULT_INTERVAL = 0.5, 25.0
#: Seconds of a fault of Consul, at most. A longer one lets the daemon's check become critical for long enough that
#: Consul deregisters everything.
_FAULT_SECONDS = 25.0
#: Seconds in which Consul must be equal to the devices at the end: devices that left without a byebye expire before.
_EQUAL_WITHIN = 90.0
#: Part of the run before the measurements of growth: caches fill during that time.
_WARM_UP = 0.4
#: Highest growth of the resident memory in kB a minute, and in all in kB for runs of a few minutes.
_MEMORY_SLOPE, _MEMORY_GROWTH = 100.0, 3000.0
#: Highest growth of the number of open descriptors in all, by the slope of the regression line.
_DESCRIPTOR_GROWTH = 6.0


@dataclass
class Samples:
    """
    Measurements of a process in the course of time.

    :ivar seconds: Seconds since the start, for each measurement.
    :ivar memory: Resident memory in kB.
    :ivar descriptors: Open descriptors.
    """

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    def add(self, at: float, pid: int) -> None:
        """Measure a process."""
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            resident = re.search(r"VmRSS:\s+(\d+)", status)
            if resident is not None:
                self.seconds.append(at)
                self.memory.append(float(resident[1]))
                self.descriptors.append(float(descriptors))

    def growth(self, values: Sequence[float]) -> tuple[float, float]:
        """Return the slope of the regression line a minute, and the growth along it, after the warm-up."""
        first = next((index for index, at in enumerate(self.seconds) if at >= self.seconds[-1] * _WARM_UP), 0)
        minutes, late = [at / 60 for at in self.seconds[first:]], values[first:]
        return (slope := regression_slope(minutes, late)), slope * (minutes[-1] - minutes[0])


def regression_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of the line with the least squared errors."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    squares = sum((each - mean_x) ** 2 for each in x)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return products / squares if squares else 0.0


class Soak:
    """
    One run.

    :param seed: Determines all changes and faults. Their effects depend on the timing of the processes too.
    :param seconds: Duration.
    """

    def __init__(self, world: World, seed: int, seconds: float) -> None:
        self._world, self._seconds = world, seconds
        self._random = random.Random(seed)
        self._live: list[Device] = []
        self.samples = Samples()
        self.unequal: list[str] = []
        self.changes: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        #: For each device ID what happened to it, with the seconds since the start.
        self.history: dict[str, list[str]] = {}
        self._start = 0.0

    def run(self) -> list[str]:
        """Run, and return the bounds that do not hold, in words."""
        world = self._world
        self._start = time.monotonic()
        self._addresses = [world.devices.new_address() for _ in range(_MOST // _PER_ADDRESS + 10)]
        world.rack.start_consul()
        for _ in range(_DEVICES):
            self._come()
        self.changes.clear()
        world.start_daemon()
        world.wait_until_equal(60)
        start = time.monotonic()
        faults = self._faults()
        next_fault, sampled = start + 10.0, start
        while (now := time.monotonic()) < start + self._seconds:
            if now >= next_fault:
                next_fault = now + next(faults)
            if now >= sampled:
                sampled = now + 5.0
                self.samples.add(now - start, world.daemon.process.pid)
            self._change()
            time.sleep(self._random.uniform(0, 2 * _CHANGE_INTERVAL))
        # A fault that is under way ends.
        for _ in faults:
            if world.consul.running:
                break
        world.consul.signal(signal.SIGCONT)
        return self._check()

    def _check(self) -> list[str]:
        world, broken = self._world, []
        start = time.monotonic()
        with suppress(AssertionError):
            world.wait_until_equal(_EQUAL_WITHIN)
        self.equal_after = time.monotonic() - start
        time.sleep(5)
        truth, found = set(world.devices.truth.items()), set(world.found().items())
        if truth != found:
            broken.append(
                f"Consul lacks {len(truth - found)} of {len(truth)} devices, and has {len(found - truth)} more"
            )
            self.unequal = sorted({device_id for device_id, _ in truth ^ found})
        if (table := self._table()) != truth:
            broken.append(f"the table lacks {len(truth - table)} devices, and has {len(table - truth)} more")
        if not world.daemon.running:
            broken.append("the daemon exited")
        if tracebacks := world.output.count("Traceback (most recent call last)"):
            broken.append(f"{tracebacks} tracebacks")
        slope, growth = self.samples.growth(self.samples.memory)
        if slope > _MEMORY_SLOPE and growth > _MEMORY_GROWTH:
            broken.append(f"memory grows by {slope:.0f} kB a minute")
        slope, growth = self.samples.growth(self.samples.descriptors)
        if growth > _DESCRIPTOR_GROWTH:
            broken.append(f"{growth:.0f} descriptors more")
        return broken

    def _table(self) -> set[tuple[str, str]]:
        """Return the services in the daemon's own catalogue: device ID, address and port."""
        entries = self._world.rack.host.http("/v1/catalog/service/Rack-service:redfish-rest:1", port=WEB_PORT).json()
        return {
            (entry["ServiceMeta"]["ssdp-device"], f"{entry['ServiceAddress']}:{entry['ServicePort']}")
            for entry in entries
        }

    def _change(self) -> None:
        changes = [self._move, self._restart]
        if len(self._live) < _MOST:
            changes.append(self._come)
        if len(self._live) > _FEWEST:
            changes.append(self._leave)
        self._random.choice(changes)()

    def _come(self) -> None:
        live = {device.device_id for device in self._live}
        number = self._random.choice([each for each in range(_KNOWN) if f"soak-{each}" not in live])
        address, port = self._endpoint(number)
        device = Device(address, port, max_age=(60, 300, 1800)[number % 3], device_id=f"soak-{number}")
        self._live.append(device)
        self._world.devices.start(device)
        self._count("come", device)

    def _endpoint(self, number: int) -> tuple[str, int]:
        """
        Return one of the four endpoints of a device.

        Their number is limited, so that the daemon's caches of datagrams are full early in the run.
        """
        address = self._addresses[(number + self._random.randrange(2)) % len(self._addresses)]
        return address, self._random.choice([8000, 9000]) + number

    def _leave(self) -> None:
        device = self._live.pop(self._random.randrange(len(self._live)))
        # A device without a byebye expires after its max-age.
        silent = device.max_age == 60 and self._random.random() < 0.5
        self._world.devices.stop(device, says_byebye=not silent)
        self._count("leave without byebye" if silent else "leave", device)

    def _move(self) -> None:
        index = self._random.randrange(len(self._live))
        device = self._live[index]
        address, port = self._endpoint(int(device.device_id.partition("-")[2]))
        self._live[index] = self._world.devices.move(device, address, port)
        self._count("move", self._live[index])

    def _restart(self) -> None:
        device = self._random.choice(self._live)
        self._world.devices.restart(device)
        self._count("restart", device)

    def _count(self, name: str, device: Device) -> None:
        self.changes[name] = self.changes.get(name, 0) + 1
        text = f"{time.monotonic() - self._start:.1f} s {name} {device.endpoint} max-age {device.max_age}"
        self.history.setdefault(device.device_id, []).append(text)

    def _faults(self) -> Iterator[float]:
        """Begin and end faults in turn. Each value is the number of seconds until the next call."""
        world = self._world
        while True:
            name = self._random.choice(["stop", "kill and wipe", "restart"])
            self.faults[name] = self.faults.get(name, 0) + 1
            seconds = self._random.uniform(1, _FAULT_SECONDS)
            if name == "stop":
                world.consul.signal(signal.SIGSTOP)
                yield seconds
                world.consul.signal(signal.SIGCONT)
            else:
                world.consul.kill() if name == "kill and wipe" else world.consul.stop(20)
                yield seconds if name == "kill and wipe" else 0.5
                world.rack.start_consul()
            yield self._random.uniform(0.5, 1) * _FAULT_INTERVAL


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :return: The exit status: 1 if a bound does not hold.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="duration (default: 30)")
    parser.add_argument("--seed", type=int, default=None, help="seed of all changes and faults (default: any)")
    options = parser.parse_args(arguments)
    if reason := hosts.unavailable() or skip_without_consul:
        parser.error(reason)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    sys.stdout.write(f"Seed {seed}, {options.minutes} minutes\n")
    sys.stdout.flush()
    with World() as world:
        soak = Soak(world, seed, options.minutes * 60)
        broken = soak.run()
        samples = soak.samples
        memory, descriptors = samples.growth(samples.memory)[0], samples.growth(samples.descriptors)[0]
        sys.stdout.write(
            f"Changes: {soak.changes}\nFaults: {soak.faults}\n"
            f"Equal after {soak.equal_after:.1f} s with {len(world.devices.truth)} devices\n"
            f"Memory {samples.memory[0] / 1000:.0f} to {samples.memory[-1] / 1000:.0f} MB, {memory:+.0f} kB a minute\n"
            f"Descriptors {samples.descriptors[0]:.0f} to {samples.descriptors[-1]:.0f}, {descriptors:+.2f} a minute\n"
        )
        if broken:
            log = Path(f"soak-{seed}.log")
            log.write_text(world.output)
            for device_id in soak.unequal:
                sys.stdout.write(f"{device_id}: {', '.join(soak.history[device_id])}\n")
            sys.stdout.write(f"The daemon's log is in {log}\n")
    sys.stdout.write(f"{'; '.join(broken) or 'All bounds hold'}\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
