"""Tests for the simulator itself, and short simulations."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from io import StringIO
from random import Random

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.http_connection import PreparedURL
from ssdpreg.discovery.events import Event, SearchUrgency
from ssdpreg.discovery.moves import Moves
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Reception
from tests.simulation import __main__ as command
from tests.simulation import bounds
from tests.simulation.__main__ import Result
from tests.simulation.attacks import ATTACKS, Attack
from tests.simulation.clock import ProcessClock, WorldClock
from tests.simulation.consul import SimulatedClient, SimulatedConsul
from tests.simulation.daemon import count_entries
from tests.simulation.settings import Settings
from tests.simulation.trace import Trace, ViolationError
from tests.simulation.world import World
from tests.support.paths import ROOT
from tests.support.table_case import advertisement


def agent_url(path: str) -> PreparedURL:
    """Return the URL of a path of the agent's API."""
    return PreparedURL(f"http://127.0.0.1:8500/v1/agent/{path}")


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
        response = self.client.request("PUT", agent_url(path), data=body)
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
        response = self.client.request("PUT", agent_url("service/deregister/x"))
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
        """The number of entries grows with each service, by at least two and at most the bound."""
        table = AdvertisementTable(10_000, 10_000, Standing.INDIRECT)
        empty = count_entries(table)
        for number in range(100):
            table.observe(advertisement(device_id=str(number)), Reception("10.0.0.5"), 0.0)
        full = count_entries(table)
        self.assertGreater(full, empty + 200)
        self.assertLess(full, empty + 100 * bounds.ENTRIES_PER_SERVICE)


def violate(settings: Settings, *, brief: bool) -> Result:
    """Stand for a simulation: the second seed violates an invariant, the first one takes longer than that."""
    time.sleep(0.3 if settings.seed == 1 else 0.0)
    return settings.seed == 2, [f"seed {settings.seed}"]


class CommandTests(SynchronousTestCase):
    """Tests for the command."""

    def test_first_violation(self) -> None:
        """The command ends at the first violation in the order of the seeds, unless it has to go on."""
        self.patch(command, "run", violate)
        self.patch(command, "_discard_log", lambda: None)
        for jobs in ("1", "2"):
            for options, expected in (([], ["1", "2"]), (["--keep-going"], ["1", "2", "3", "4"])):
                output = StringIO()
                self.patch(sys, "stdout", output)
                status = command.main(["--runs", "4", "--jobs", jobs, *options])
                self.assertEqual(output.getvalue().split("seed")[1:], [f" {seed}\n" for seed in expected])
                self.assertEqual(status, 1)


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
        arguments = ["--hours", "0.6", "--devices", "150", "--seed"]
        outputs = [
            self.run_command(*arguments, seed, hash_seed=hash_seed)
            for seed, hash_seed in (("3", "1"), ("3", "2"), ("4", "1"))
        ]
        digests = [output.partition("digest ")[2].split()[0] for output in outputs]
        self.assertEqual(digests[0], digests[1])
        self.assertNotEqual(digests[0], digests[2])

    def test_parallel_runs(self) -> None:
        """Two processes give the same output as one."""
        arguments = ["--hours", "0.17", "--devices", "20", "--runs", "3"]
        one, two = (self.run_command(*arguments, "--jobs", jobs) for jobs in ("1", "2"))
        self.assertEqual([line.partition(":")[0] for line in one.splitlines()], ["seed 1", "seed 2", "seed 3"])
        self.assertEqual(one, two)

    def run_command(self, *arguments: str, hash_seed: str = "1") -> str:
        """Run the command. Return its output."""
        finished = subprocess.run(
            [sys.executable, "-m", "tests.simulation", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(finished.returncode, 0, finished.stdout + finished.stderr)
        return finished.stdout

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

    def test_notices_a_forged_move(self) -> None:
        """The move of a device that answers searches to an attacker that does not is a violation."""

        def move(moves: Moves, service: TrackedService, now: float, *urgency: SearchUrgency) -> list[Event]:
            return moves.move(service, service.others[-1], now)

        self.patch(Moves, "begin_contest", move)
        world = World(Settings(seed=1, hours=0.5, devices=30, faults=False, attacks=False))
        world.clock.callLater(400.0, self.attack, world, "mover")
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(
            caught.exception.invariant, "a claim that its host does not confirm moves no device that answers"
        )

    def test_attack_without_effect(self) -> None:
        """The same attack moves no device."""
        world = World(Settings(seed=1, hours=0.5, devices=30, faults=False, attacks=False))
        world.clock.callLater(400.0, self.attack, world, "mover")
        world.run()
        self.assertEqual(world.trace.counts["attack began"], 1)

    def attack(self, world: World, name: str) -> None:
        """Begin an attack on a device that announces itself and answers searches."""
        kind = next(kind for kind in ATTACKS if kind.name == name)
        target = next(each for each in world.devices if each.on and each.kind.name == "announcing")
        Attack(1, kind, world.clock, world.network, target.segment, target, Random(1), world.checker)

    def test_notices_a_late_byebye(self) -> None:
        """A service that stays in Consul after the byebye of its device is a violation."""
        world = World(Settings(seed=1, hours=0.5, devices=30, faults=False, attacks=False, churn=1e9))

        def leave() -> None:
            assert world.daemon is not None
            world.daemon.table.bye = lambda *arguments: []  # type: ignore[method-assign]
            next(each for each in world.devices if each.on and each.kind.name == "announcing").leave(True)

        world.clock.callLater(400.0, leave)
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, "a device that left is removed")
        self.assertLess(world.clock.seconds(), 430.0)

    def test_notices_what_the_reconciler_keeps(self) -> None:
        """Reasons that the reconciler keeps for services that are gone are a violation."""
        world = World(Settings(seed=1, hours=0.5, devices=30, faults=False, attacks=False))

        def keep() -> None:
            assert world.daemon is not None
            reasons = world.daemon.reconciler._differences._reasons
            world.daemon.reconciler._differences.load = lambda found, now: []  # type: ignore[method-assign]
            reasons.update({f"gone-{number}": "byebye" for number in range(1000)})

        world.clock.callLater(899.0, keep)
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, "services that the reconciler keeps")
