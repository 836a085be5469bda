"""Tests for the simulation of catalog mode: short runs, and defects that it has to notice."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.plan_run import PlanRun
from ssdpreg.backends.catalog.requests import ConsulTransactions
from ssdpreg.backends.catalog.transactions import Transaction
from ssdpreg.backends.scopes.lock import ScopeLock
from ssdpreg.registration import rejections
from tests.simulation.catalog_world import CatalogWorld
from tests.simulation.daemon import SCOPE
from tests.simulation.settings import Settings
from tests.simulation.trace import ViolationError


class CatalogWorldTests(SynchronousTestCase):
    """Tests for :class:`CatalogWorld`."""

    def make(self, hours: float = 0.25, devices: int = 40) -> CatalogWorld:
        """Return a world in which only the test causes faults."""
        return CatalogWorld(Settings(1, hours, devices, faults=False, attacks=False, mode="catalog"))

    def assert_violated(self, world: CatalogWorld, invariant: str) -> None:
        """Check that a run violates an invariant."""
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, invariant)
        self.flushLoggedErrors()

    def at(self, world: CatalogWorld, seconds: float, function: Callable[[], object]) -> None:
        """Call a function at a time of the simulation."""
        world.clock.callLater(seconds, function)

    def test_seeds(self) -> None:
        """No invariant is violated in twenty minutes with a few devices."""
        for seed in range(1, 4):
            world = CatalogWorld(Settings(seed, 1 / 3, 40, mode="catalog"))
            try:
                world.run()
            except ViolationError as violation:
                self.fail(f"seed {seed}: {violation}")
            self.assertGreater(world.checker.writes, 20)
        self.flushLoggedErrors()

    def cut_off_writer(self, world: CatalogWorld) -> None:
        """Cut off the writer while it writes. Its requests arrive when another daemon holds the lock."""
        holder = world.holder_of(SCOPE)
        assert holder is not None
        world.checker.fault_began("", "partition")
        world.catalog.cut_off[holder.process] = True
        world.burst(30, 5.0)
        world.clock.callLater(30.0, world.catalog.reconnect, holder.process)

    def test_delayed_transaction(self) -> None:
        """A transaction that arrives after the loss of the lock is not applied."""
        world = self.make()
        self.at(world, 300.0, lambda: self.cut_off_writer(world))
        world.run()
        self.assertEqual(world._take_overs, 2)

    def test_notices_a_missing_fence(self) -> None:
        """Without the fence, a transaction of the former holder is applied: a violation."""
        world = self.make()
        self.at(world, 300.0, lambda: self.cut_off_writer(world))
        body = Transaction.body

        def without_fence(transaction: Transaction, first: str | None = None) -> bytes:
            return body(transaction, None if first is None else '{"KV":{"Verb":"check-not-exists","Key":"x"}}')

        with patch.object(Transaction, "body", without_fence):
            self.assert_violated(world, "each transaction carries the fence")

    def test_notices_a_second_writer(self) -> None:
        """A daemon that writes without the lock is noticed."""
        world = self.make()

        def operation(lock: ScopeLock) -> dict[str, object]:
            # The session is that of the present holder of the key.
            key = world.catalog.state.keys[lock.key]
            return {"KV": {"Verb": "check-session", "Key": lock.key, "Session": key["Session"]}}

        with patch.object(ScopeLock, "operation", operation):
            self.assert_violated(world, "only the holder of the lock writes")

    def test_lock_deleted(self) -> None:
        """After the removal of the key, another daemon writes, and the former holder notices it."""
        world = self.make()
        self.at(world, 420.0, lambda: world.catalog.delete_lock(SCOPE))
        world.run()
        self.assertEqual(world._take_overs, 2)

    def test_notices_two_holders(self) -> None:
        """A daemon that does not notice the loss of the lock while it has nothing to write is noticed."""
        world = self.make()
        self.at(world, 420.0, lambda: world.catalog.delete_lock(SCOPE))

        async def nothing(transactions: ConsulTransactions) -> None:
            pass

        # The devices whose names other programs use would cause writes.
        self.patch(rejections, "_LONGEST_PAUSE_OF_CONFLICT", 3600.0)
        with patch.object(ConsulTransactions, "check_fence", nothing):
            self.assert_violated(world, "one daemon says that it holds the lock")

    def test_notices_a_deleted_foreign_service(self) -> None:
        """The removal of a node with a service of another program is noticed."""
        world = self.make()

        def add() -> None:
            device = next(each for each in world.devices if each.on and world.checker.service_ids(each))
            service = {"ID": "exporter", "Service": "exporter", "Port": 9100, "Meta": {"operator": "x"}}
            world.catalog.transact([{"Service": {"Verb": "set", "Node": device.device_id, "Service": service}}])
            world.clock.callLater(60.0, world.leave_for_long, device)

        self.at(world, 300.0, add)

        async def always(run: PlanRun, change: object) -> bool:
            return True

        with patch.object(PlanRun, "_may_delete", always):
            self.assert_violated(world, "foreign nodes and services are not touched")

    def test_notices_a_lock_that_no_daemon_takes(self) -> None:
        """A waiting daemon that does not acquire the lock is noticed."""
        world = self.make()

        def stop_waiting() -> None:
            holder = world.holder_of(SCOPE)
            assert holder is not None
            for daemon in world.running.values():
                if daemon.scope == SCOPE and daemon is not holder:
                    world.catalog.cut_off[daemon.process] = False
                    world.is_able = lambda host: host in world.running  # type: ignore[method-assign]
            world.kill_host(holder.host)

        self.at(world, 300.0, stop_waiting)
        self.assert_violated(world, "another daemon takes over")
