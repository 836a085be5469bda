"""Tests for the simulator itself, and short simulations."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Reception
from tests.simulation import bounds
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.consul import SimulatedClient, SimulatedConsul
from tests.simulation.daemon import count_entries
from tests.simulation.trace import Trace, ViolationError
from tests.simulation.world import Settings, World
from tests.support.paths import ROOT
from tests.unit.discovery.table_case import advertisement


class ClockTests(SynchronousTestCase):
    """Tests for :class:`WorldClock` and :class:`ProcessClock`."""

    def setUp(self) -> None:
        self.clock = WorldClock(Random(1))
        self.process = ProcessClock(self.clock)
        self.calls: list[tuple[float, str]] = []

    def call(self, name: str) -> None:
        """Record a call."""
        self.calls.append((self.clock.seconds(), name))

    def test_order(self) -> None:
        """Calls are made in the order of their times, and not after they were cancelled."""
        self.clock.callLater(2.0, self.call, "two")
        self.clock.callLater(1.0, self.call, "one")
        cancelled = self.clock.callLater(1.5, self.call, "cancelled")
        cancelled.cancel()
        self.clock.run_until(3.0)
        self.assertEqual(self.calls, [(1.0, "one"), (2.0, "two")])
        self.assertEqual(self.clock.seconds(), 3.0)
        self.assertRaises(AlreadyCancelled, cancelled.cancel)

    def test_simultaneous(self) -> None:
        """The order of simultaneous calls depends on the seed only."""
        orders = set()
        for seed in range(20):
            self.calls.clear()
            for _ in range(2):
                clock = WorldClock(Random(seed))
                for name in "abc":
                    clock.callLater(1.0, self.call, name)
                clock.run_until(2.0)
            names = [name for _, name in self.calls]
            self.assertEqual(names[:3], names[3:])
            orders.add("".join(names[:3]))
        self.assertEqual(len(orders), 6)

    def test_many_cancelled_calls(self) -> None:
        """Cancelled calls do not stay in the heap."""
        for _ in range(20_000):
            self.clock.callLater(1000.0, self.call, "").cancel()
        self.assertLess(len(self.clock._heap), 10_000)

    def test_suspended_process(self) -> None:
        """The calls of a suspended process are made at its end, in their order, before it reads from its sockets."""
        self.process.callLater(2.0, self.call, "two")
        first = self.process.callLater(1.0, self.call, "one")
        self.process.suspended = True
        self.process.at_resume.append(lambda: self.call("socket"))
        self.clock.run_until(5.0)
        self.assertEqual(self.calls, [])
        self.process.resume()
        self.clock.run_until(6.0)
        self.assertEqual(self.calls, [(5.0, "one"), (5.0, "two"), (5.0, "socket")])
        self.assertRaises(AlreadyCalled, first.cancel)

    def test_killed_process(self) -> None:
        """The calls of a killed process are never made."""
        self.process.callLater(1.0, self.call, "one")
        self.process.kill()
        self.clock.run_until(5.0)
        self.assertEqual(self.calls, [])


class ConsulTests(SynchronousTestCase):
    """Tests for :class:`SimulatedConsul`."""

    def setUp(self) -> None:
        self.clock = WorldClock(Random(1))
        self.consul = SimulatedConsul(self.clock, Random(1))
        self.process = ProcessClock(self.clock)
        self.client = SimulatedClient(self.process, self.consul)
        alive = b'{"CheckID": "own:alive", "TTL": "30s", "Status": "passing", "DeregisterCriticalServiceAfter": "60s"}'
        alias = b'{"CheckID": "x-alive", "AliasService": "own", "DeregisterCriticalServiceAfter": "60s"}'
        self.put("service/register", b'{"ID": "own", "Name": "own", "Checks": [' + alive + b"]}")
        self.put("service/register", b'{"ID": "x", "Name": "x", "Checks": [' + alias + b"]}")

    def put(self, path: str, body: bytes | None = None) -> None:
        """Send a request and wait for its response."""
        response = self.client.request("PUT", f"http://127.0.0.1:8500/v1/agent/{path}", data=body)
        self.clock.run_until(self.clock.seconds() + 0.1)
        self.assertEqual(self.successResultOf(response).code, 200)

    def test_dead_daemon(self) -> None:
        """The TTL check expires, alias checks follow it, and the services are removed a minute later."""
        self.assertEqual(self.consul.status("x-alive"), "passing")
        self.clock.run_until(31.0)
        self.assertEqual(self.consul.status("x-alive"), "critical")
        self.clock.run_until(89.0)
        self.assertEqual(sorted(self.consul.services), ["own", "x"])
        self.clock.run_until(125.0)
        self.assertEqual(self.consul.services, {})

    def test_living_daemon(self) -> None:
        """Services stay while the TTL check is passed, which is no write."""
        writes = self.consul.writes
        for _ in range(20):
            self.put("check/pass/own:alive")
            self.clock.run_until(self.clock.seconds() + 10.0)
        self.assertEqual(sorted(self.consul.services), ["own", "x"])
        self.assertEqual(self.consul.writes, writes)

    def test_killed_client(self) -> None:
        """A killed process gets no response, but its request is carried out."""
        response = self.client.request("PUT", "http://127.0.0.1:8500/v1/agent/service/deregister/x")
        self.process.kill()
        self.clock.run_until(1.0)
        self.assertNoResult(response)
        self.assertEqual(list(self.consul.services), ["own"])


class TraceTests(SynchronousTestCase):
    """Tests for :class:`Trace`."""

    def test_last_events(self) -> None:
        """The latest events of a subject are returned with those of the world."""
        trace = Trace(lambda: 3661.5)
        trace.add("", "fault", "Consul: down")
        trace.add("device-1", "boots")
        trace.add("device-2", "boots")
        self.assertEqual(
            trace.last_events("device-1"), ["01:01:01.500 world: fault Consul: down", "01:01:01.500 device-1: boots"]
        )


class EntryTests(SynchronousTestCase):
    """Tests for :func:`count_entries`."""

    def test_grows_with_the_table(self) -> None:
        """The number of entries grows with each service, and falls when the services are removed."""
        table = AdvertisementTable(10_000, 10_000, Standing.INDIRECT)
        empty = count_entries(table)
        for number in range(100):
            table.observe(advertisement(device_id=str(number)), Reception("10.0.0.5"), 0.0)
        full = count_entries(table)
        self.assertGreater(full, empty + 500)
        self.assertLess(full, empty + 100 * bounds.ENTRIES_PER_SERVICE)


class WorldTests(SynchronousTestCase):
    """Short simulations."""

    def test_seeds(self) -> None:
        """No invariant is violated in ten minutes with a few devices."""
        for seed in range(1, 5):
            world = World(Settings(seed=seed, hours=1 / 6, devices=60))
            try:
                world.run()
            except ViolationError as violation:
                self.fail(f"seed {seed}: {violation}")
            self.assertGreater(world.checker.live, 20)
        self.flushLoggedErrors()

    def test_same_run(self) -> None:
        """The same seed gives the same run with other hashes of strings, and another seed gives another run."""
        arguments = ["--hours", "0.17", "--devices", "60", "--seed"]
        digests = []
        for seed, hash_seed in (("3", "1"), ("3", "2"), ("4", "1")):
            finished = subprocess.run(
                [sys.executable, "-m", "tests.simulation", *arguments, seed],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(finished.returncode, 0, finished.stdout + finished.stderr)
            digests.append(finished.stdout.partition("digest ")[2].split()[0])
        self.assertEqual(digests[0], digests[1])
        self.assertNotEqual(digests[0], digests[2])

    def test_notices_a_lost_service(self) -> None:
        """A service that the daemon does not register again is a violation, reported with the events of its device."""
        world = World(Settings(seed=1, hours=1 / 6, devices=20, faults=False, attacks=False))

        def remove() -> None:
            device = next(device for device in world.devices if device.on and world.checker.service_ids(device))
            world.consul.remove_service(world.checker.service_ids(device)[0], "operator")
            assert world.daemon is not None
            world.daemon.reconciler._compare_at = float("inf")

        world.clock.callLater(200.0, remove)
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, "Consul is the registry")
        self.assertIn("removed by operator", "\n".join(world.trace.last_events(caught.exception.subject)))

    def test_notices_an_expiry_without_a_search(self) -> None:
        """The expiry of services at once after a suspension of the daemon is a violation."""
        world = World(Settings(seed=1, hours=0.5, devices=60, faults=False, attacks=False))

        def suspend() -> None:
            assert world.daemon is not None
            world.daemon.table._holds.hold = lambda until, interface="": None  # type: ignore[method-assign]
            world.daemon.process.suspended = True
            world.checker.fault_began("", "daemon: suspended")
            world.clock.callLater(800.0, world.daemon.process.resume)

        world.clock.callLater(300.0, suspend)
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, "a device that answers does not expire before it is searched for")
        self.flushLoggedErrors()
