"""Tests for :mod:`ssdpreg.backends.sqlite`, with real files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.sqlite import ExpiryWriter, SQLiteBackend
from ssdpreg.backends.sqlite_database import Database
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.interfaces import ILifetimeStore
from ssdpreg.registration import Outcome, Plan
from tests.support.sqlite_case import WallClock, registrations


class SQLiteBackendTests(TestCase):
    """Tests for :class:`SQLiteBackend` beyond those that every backend has to pass."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.clock = WallClock()

    def make_backend(self) -> SQLiteBackend:
        """Make a backend for the file, and close it when the test ends."""
        backend = SQLiteBackend(reactor, Database(self.path, "test", self.clock), self.clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend

    def test_interface(self) -> None:
        """The backend provides ``ILifetimeStore``."""
        verifyObject(ILifetimeStore, self.make_backend())

    async def test_restart(self) -> None:
        """After a restart, remaining lifetimes are the stored ones minus the time since then."""
        first, second, unknown = registrations(1, 2, 3)
        backend = self.make_backend()
        await backend.read()
        await backend.apply(Plan((first, second)))
        backend.remember({first.service_id: 50.0})
        await backend.keep_alive()
        backend.remember({first.service_id: 100.0, unknown.service_id: 100.0})
        self.clock.now += 10
        self.assertEqual(backend.remaining(), {first.service_id: 90.0, second.service_id: 1850.0})
        await backend.close()
        self.clock.now += 200
        backend = self.make_backend()
        await backend.read()
        self.assertEqual(backend.remaining(), {first.service_id: -110.0, second.service_id: 1650.0})

    async def test_deregistered(self) -> None:
        """A deregistered service has no remaining lifetime, and the full one after its next registration."""
        [registration] = registrations(1)
        backend = self.make_backend()
        await backend.apply(Plan((registration,)))
        backend.remember({registration.service_id: 5.0})
        await backend.apply(Plan((), (registration,)))
        self.assertEqual(backend.remaining(), {})
        await backend.apply(Plan((registration,)))
        self.assertEqual(backend.remaining(), {registration.service_id: 1860.0})
        await backend.read()
        self.assertEqual(backend.remaining(), {registration.service_id: 1860.0})

    async def test_order(self) -> None:
        """Concurrent calls are executed in the order in which they were made."""
        backend = self.make_backend()
        plans = [Plan(registrations(number), registrations(number - 1)) for number in range(1, 30)]
        applied = [Deferred.fromCoroutine(backend.apply(plan)) for plan in plans]
        read = Deferred.fromCoroutine(backend.read())
        self.assertEqual(list((await read).values()), list(registrations(29)))
        self.assertTrue(all([(await outcome).applied for outcome in applied]))

    async def test_unavailable(self) -> None:
        """Failures of ``apply`` are in its outcome. Repeated failures of ``remember`` are logged once."""
        backend = self.make_backend()
        [registration] = registrations(1)
        await backend.apply(Plan((registration,)))
        error = BackendUnavailableError("full")

        def fail(*arguments: Any) -> None:
            raise error

        for name in ("apply", "set_expiries"):
            self.patch(Database, name, fail)
        self.assertEqual(await backend.apply(Plan((registration,))), Outcome(unavailable=error))
        with capturedLogs() as events:
            for _ in range(2):
                backend.remember({registration.service_id: 5.0})
                await backend.keep_alive()
        [event] = [event for event in events if event["log_level"] == LogLevel.warn]
        self.assertEqual(event["error"], error)

    async def test_cancelled(self) -> None:
        """A cancelled ``apply`` does not disturb later calls."""
        backend = self.make_backend()
        waiting = Deferred.fromCoroutine(backend.apply(Plan(registrations(*range(1000)))))
        waiting.cancel()
        self.assertEqual(len(await backend.read()), 1000)
        await self.assertFailure(waiting, Exception)


class ExpiryWriterTests(SynchronousTestCase):
    """Tests for :class:`ExpiryWriter`."""

    def setUp(self) -> None:
        self.written: list[dict[str, float]] = []
        self.writes: list[Deferred[None]] = []
        self.writer = ExpiryWriter(self.store)

    def store(self, expiries: Mapping[str, float]) -> Deferred[None]:
        self.written.append(dict(expiries))
        self.writes.append(Deferred())
        return self.writes[-1]

    def test_merge(self) -> None:
        """Changes during a write are merged into the next one, the latest value of each service."""
        self.writer.write({"a": 1.0})
        self.writer.write({"a": 2.0, "b": 2.0})
        self.writer.write({"b": 3.0})
        self.assertEqual(self.written, [{"a": 1.0}])
        self.writes[0].callback(None)
        self.assertEqual(self.written[1:], [{"a": 2.0, "b": 3.0}])
        self.writes[1].callback(None)
        self.assertEqual(len(self.written), 2)

    def test_nothing(self) -> None:
        """Without changes nothing is written."""
        self.writer.write({})
        self.assertEqual(self.written, [])

    def test_failures(self) -> None:
        """The first failure of a series is logged, and later changes are written as usual."""
        with capturedLogs() as events:
            for _ in range(2):
                self.writer.write({"a": 1.0})
                self.writes[-1].errback(BackendUnavailableError("full"))
            self.writer.write({"a": 2.0})
            self.writes[-1].callback(None)
            self.writer.write({"a": 3.0})
            self.writes[-1].errback(BackendUnavailableError("full again"))
        self.assertEqual([str(event["error"]) for event in events], ["full", "full again"])
        self.assertEqual(len(self.written), 4)

    def test_unexpected_failure(self) -> None:
        """An unexpected exception is logged, and later changes are written as usual."""
        self.writer.write({"a": 1.0})
        self.writes[-1].errback(ValueError("unexpected"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.writer.write({"a": 2.0})
        self.assertEqual(len(self.written), 2)
