"""Tests for :mod:`ssdpreg.backends.sqlite`, with real files, processes that are killed, and a daemon that is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.sqlite import Database, SQLiteBackend, make_backend
from ssdpreg.errors import BackendForgotError, BackendUnavailableError, ConfigError
from ssdpreg.interfaces import ILifetimeStore
from ssdpreg.registration import Check, Outcome, Plan, Registration
from ssdpreg.testing import make_registration
from tests.support import hosts
from tests.support.hosts import Lan, wait_until
from tests.support.paths import ROOT
from tests.support.rack import API, Rack, notify

#: Writes plan after plan, and says of each that it is done: some services move, and one takes the place of another.
WRITER = """
import sys
from itertools import count
from ssdpreg.backends.sqlite import Database
from ssdpreg.registration import Plan
from ssdpreg.testing import make_registration

database = Database(sys.argv[1], "test")
for turn in count(int(sys.argv[2])):
    moving = [make_registration(number, port=turn) for number in range(20)]
    database.apply(Plan((*moving, make_registration(1000 + turn)), (make_registration(999 + turn),)))
    print(turn, flush=True)
"""

#: Opens a file, says so, and keeps it open.
HOLDER = """
import sys
from ssdpreg.backends.sqlite import Database

database = Database(sys.argv[1], "test")
database.check()
print("open", flush=True)
sys.stdin.read()
"""


class Clock:
    """
    A clock on a wall, which people set.

    :ivar now: Seconds since 1970.
    """

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def registration_for(max_age: int) -> Registration:
    """Make up a service whose advertisement says how long it is valid."""
    registration = make_registration()
    return replace(registration, meta={**registration.meta, "ssdp-max-age": str(max_age)})


def registrations(*numbers: int, scope: str = "test") -> tuple[Registration, ...]:
    """Make up services."""
    return tuple(make_registration(number, scope) for number in numbers)


class DatabaseTestCase(SynchronousTestCase):
    """What these tests have in common."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.clock = Clock()

    def open(self, scope: str = "test") -> Database:
        """Make a database that is closed when the test is over."""
        database = Database(self.path, scope, self.clock)
        self.addCleanup(database.close)
        return database

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start another process that uses the file, and wait for its first line."""
        command = [sys.executable, "-c", program, self.path, *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.first_line = process.stdout.readline()
        return process


class DatabaseTests(DatabaseTestCase):
    """Tests for :class:`Database`."""

    def test_comes_back(self) -> None:
        """Another connection reads what was written, every attribute of every check included."""
        registration = make_registration(tags=("zebra", "ünï", "ant"))
        service_id = registration.service_id
        checks = {
            Check(f"{service_id}-http-0a", "http", "http://[2001:db8::5]/x?a=b", 15.0, 2.5, True, 300.0),
            Check(f"{service_id}-tcp-0b", "tcp", "[2001:db8::5]:80", 0.5),
        }
        registration = replace(registration, checks=registration.checks | checks)
        database = self.open()
        database.apply(Plan((registration,)))
        database.close()
        found = self.open().read()[0][service_id]
        self.assertEqual(found, registration)
        self.assertEqual({astuple(check) for check in found.checks}, {astuple(check) for check in registration.checks})

    def test_scopes(self) -> None:
        """Rows of another scope are neither shown nor touched, whatever their IDs."""
        theirs = self.open("theirs")
        theirs.apply(Plan(registrations(1, 2, scope="theirs")))
        before = theirs.read()
        theirs.close()
        ours = self.open("ours")
        self.assertEqual(ours.read(), ({}, {}))
        ours.apply(Plan(registrations(1, scope="ours"), registrations(2, scope="ours")))
        ours.remember({make_registration(2).service_id: 0.0})
        self.assertEqual(list(ours.read()[0].values()), [make_registration(1, "ours")])
        ours.close()
        self.assertEqual(self.open("theirs").read(), before)

    def test_full_time(self) -> None:
        """What is new has its max-age and the grace after it, and half an hour of that where nothing is said."""
        for max_age, lifetime in ((4, 5.0), (1800, 1860.0), (100, 110.0), (86400, 86460.0)):
            database = self.open()
            registration = registration_for(max_age)
            database.apply(Plan((registration,), (registration,)))
            self.assertEqual(database.read()[1], {registration.service_id: self.clock.now + lifetime})
            database.close()
        self.assertEqual(database.latest_expiry(make_registration()), self.clock.now + 1860.0)

    def test_remember(self) -> None:
        """The time that is remembered stays, also where a service is registered anew; unknown ones are passed over."""
        database = self.open()
        [registration, unknown] = registrations(1, 2)
        database.apply(Plan((registration,)))
        database.remember({registration.service_id: self.clock.now + 7, unknown.service_id: self.clock.now + 7})
        database.apply(Plan((replace(registration, port=1),)))
        self.assertEqual(database.read()[1], {registration.service_id: self.clock.now + 7})

    def test_clock_set_back(self) -> None:
        """A clock that was set back leaves nothing more time than it can have."""
        database = self.open()
        registration = make_registration()
        database.apply(Plan((registration,)))
        self.clock.now = 0.0
        self.assertEqual(database.read()[1], {registration.service_id: 1860.0})

    def test_nothing_half(self) -> None:
        """Of a plan that fails in the middle nothing is done."""
        database = self.open()
        database.apply(Plan(registrations(1)))
        # No text, so it cannot be written as JSON.
        bad: Any = make_registration(3, name=object())
        self.assertRaises(TypeError, database.apply, Plan((*registrations(2), bad), registrations(1)))
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))

    def test_mistake(self) -> None:
        """A mistake of ours, as a call from another thread, costs nobody a file."""
        database = self.open()
        database.apply(Plan(registrations(1)))
        with ThreadPoolExecutor(1) as executor:
            self.assertRaises(sqlite3.ProgrammingError, executor.submit(database.read).result)
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))

    def test_killed(self) -> None:
        """A process killed at any moment has written all that it said, and the plan after that whole or not at all."""
        random = Random(3)
        turn = 0
        for _ in range(20):
            writer = self.start(WRITER, str(turn + 1))
            time.sleep(random.uniform(0, 0.03))
            writer.kill()
            assert writer.stdout is not None
            said = int([self.first_line, *writer.stdout.read().splitlines()][-1])
            writer.wait()
            database = self.open()
            found = list(database.read()[0].values())
            database.close()
            self.assertEqual(len(found), 21)
            turn = found[0].port
            self.assertIn(turn, (said, said + 1))
            moving = [make_registration(number, port=turn) for number in range(20)]
            self.assertCountEqual(found, [*moving, make_registration(1000 + turn)])


class TroubleTests(DatabaseTestCase):
    """Tests for :class:`Database` with files that cannot be used."""

    def setUp(self) -> None:
        super().setUp()
        database = self.open()
        database.apply(Plan(registrations(*range(200))))
        database.close()
        self.sound = Path(self.path).read_bytes()

    def assert_set_aside(self, content: bytes, reason: str = "") -> None:
        """Check that a file is set aside, and that a new one can be used."""
        Path(self.path).write_bytes(content)
        with capturedLogs() as events:
            database = self.open()
            try:
                found = database.read()
            except BackendUnavailableError:
                # It was found out late. The next look is at a new one.
                found = database.read()
        [event] = [event for event in events if event["log_level"] == LogLevel.warn]
        self.assertIn(reason, str(event["reason"]))
        self.assertEqual(found, ({}, {}))
        self.assertEqual(Path(event["aside"]).read_bytes(), content)
        database.apply(Plan(registrations(1)))
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))
        database.close()

    def test_no_database(self) -> None:
        """What is no SQLite file is set aside, each under a name of its own."""
        self.assert_set_aside(b"# Notes\n" * 1000, "file is not a database")
        self.assert_set_aside(b"x" * 100, "file is not a database")
        self.assertTrue(Path(f"{self.path}.damaged-2").exists())

    def test_what_lies_beside_it(self) -> None:
        """What SQLite left beside a damaged file, as after a kill, is no part of the new one."""
        database = self.open()
        database.apply(Plan(registrations(*range(200, 300))))
        log = Path(f"{self.path}-wal").read_bytes()
        self.assertGreater(len(log), 4096)
        database.close()
        Path(f"{self.path}-wal").write_bytes(log)
        Path(f"{self.path}-shm").write_bytes(b"memory")
        Path(self.path).write_bytes(b"x" * len(self.sound))
        self.assertEqual(self.open().read(), ({}, {}))
        self.assertEqual(Path(f"{self.path}.damaged-1-shm").read_bytes(), b"memory")
        self.assertFalse(Path(f"{self.path}-shm").exists())

    def test_truncated(self) -> None:
        """A file that was cut is set aside."""
        for length in (50, 4096, len(self.sound) // 2, len(self.sound) - 1000):
            self.assert_set_aside(self.sound[:length])

    def test_empty(self) -> None:
        """An empty file is as good as none."""
        Path(self.path).write_bytes(b"")
        self.assertEqual(self.open().read(), ({}, {}))

    def test_random_bytes(self) -> None:
        """Wherever a file is overwritten, it is read as it was or set aside, and a new one can be used."""
        random = Random(4)
        places = [*range(0, 100, 4), *random.sample(range(100, len(self.sound)), 40)]
        for place in places:
            noise = random.randbytes(100)
            content = (self.sound[:place] + noise + self.sound[place + 100 :])[: len(self.sound)]
            Path(self.path).write_bytes(content)
            database = self.open()
            try:
                found = database.read()[0]
            except BackendUnavailableError:
                found = database.read()[0]
            if found:
                self.assertEqual(found, {each.service_id: each for each in registrations(*range(200))}, place)
            database.apply(Plan(registrations(1)))
            self.assertIn(registrations(1)[0], database.read()[0].values())
            database.close()

    def test_read_only_header(self) -> None:
        """A header that forbids to write, in a file that can be written, is damage, found out by the first write."""
        Path(self.path).write_bytes(self.sound[:18] + b"\x03" + self.sound[19:])
        database = self.open()
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(1000)))
        self.assertEqual(str(error), f"{self.path}: attempt to write a readonly database")
        self.assertEqual(database.read(), ({}, {}))

    def test_read_only(self) -> None:
        """A file that cannot be written, as on a disk that was mounted anew after a fault, stays where it is."""
        connect = sqlite3.connect

        def connect_read_only(path: str, **keywords: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(path, **keywords)
            connection.execute("PRAGMA query_only = true")
            return connection

        self.patch(sqlite3, "connect", connect_read_only)
        self.patch(os, "access", lambda path, mode: False)
        database = self.open()
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(1000)))
        self.assertEqual(str(error), f"{self.path}: {os.path.dirname(self.path)} cannot be written")
        self.assertEqual(len(database.read()[0]), 200)
        self.assertFalse(os.path.exists(f"{self.path}.damaged-1"))

    def test_row(self) -> None:
        """A row that is none of ours is damage."""
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(f"UPDATE services SET registration = '{{}}', digest = {crc32(b'{}')}")
        connection.close()
        self.assert_set_aside(Path(self.path).read_bytes(), "a row that cannot be read: 'checks'")

    def test_one_byte(self) -> None:
        """A registration of which one letter is another is damage."""
        self.assert_set_aside(self.sound.replace(b'"port": 8080', b'"port": 8081', 1), "its digest is another")

    def test_no_text(self) -> None:
        """A description of the table that is no text any more is damage."""
        self.assert_set_aside(self.sound.replace(b"scope TEXT NOT NULL", b"scope TEXT NOT \xc1\xcdLL", 1))

    def test_versions(self) -> None:
        """A file of a later version, or of another program, is set aside."""
        for statement, reason in (
            ("PRAGMA user_version = 2", "it is of version 2, and only 1 is known here"),
            ("PRAGMA application_id = 0", "another program"),
        ):
            Path(self.path).write_bytes(self.sound)
            connection = sqlite3.connect(self.path)
            connection.execute(statement)
            connection.close()
            self.assert_set_aside(Path(self.path).read_bytes(), reason)

    def test_damaged_while_open(self) -> None:
        """Damage done to a file in use is told as trouble that passes: the next look is at a new file."""
        database = self.open()
        self.assertEqual(len(database.read()[0]), 200)
        os.truncate(self.path, 8192)
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(*range(1000, 1400))))
        self.assertEqual(str(error), f"{self.path}: database disk image is malformed")
        self.assertTrue(os.path.exists(f"{self.path}.damaged-1"))
        self.assertEqual(database.read(), ({}, {}))

    def test_removed(self) -> None:
        """A file that somebody removed is begun anew, and the caller is told."""
        database = self.open()
        database.check()
        database.check()
        os.remove(self.path)
        self.assertRaises(BackendForgotError, database.check)
        database.check()
        self.assertEqual(database.read(), ({}, {}))
        database.apply(Plan(registrations(1)))
        database.close()
        self.assertEqual(tuple(self.open().read()[0].values()), registrations(1))

    def test_two_processes(self) -> None:
        """A file that another process has open cannot be used until that ends, and is not harmed."""
        holder = self.start(HOLDER)
        database = self.open()
        error = self.assertRaises(BackendUnavailableError, database.read)
        self.assertEqual(str(error), f"{self.path}: another process uses it")
        error = self.assertRaises(ConfigError, make_backend, reactor, self.path, "test")
        self.assertEqual(str(error), f"backend.path: {self.path}: another process uses it")
        holder.kill()
        holder.wait()
        self.assertEqual(len(database.read()[0]), 200)

    def test_full_disk(self) -> None:
        """Where there is no room, nothing of a plan is done, and all of it when there is room again."""
        connect = sqlite3.connect

        def connect_small(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **keywords)
            connection.execute(f"PRAGMA max_page_count = {len(self.sound) // 4096}")
            return connection

        patch = self.patch(sqlite3, "connect", connect_small)
        database = self.open()
        plan = Plan(registrations(*range(200, 400)), registrations(1))
        error = self.assertRaises(BackendUnavailableError, database.apply, plan)
        self.assertEqual(str(error), f"{self.path}: database or disk is full")
        self.assertEqual(len(database.read()[0]), 200)
        database.close()
        patch.restore()
        database.apply(plan)
        self.assertEqual(len(database.read()[0]), 399)

    def test_cannot_be_opened(self) -> None:
        """A file that can neither be opened nor made is a fault of the configuration, and nothing is set aside."""
        folder = self.mktemp()
        os.mkdir(folder)
        for path in (folder, os.path.join(folder, "missing", "file")):
            error = self.assertRaises(ConfigError, make_backend, reactor, path, "test")
            self.assertEqual(str(error), f"backend.path: {path}: unable to open database file")
        self.assertEqual(os.listdir(folder), [])
        self.assertTrue(os.path.isdir(folder))


class SQLiteBackendTests(TestCase):
    """Tests for :class:`SQLiteBackend`, but for what it shares with all backends."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.clock = Clock()

    def make_backend(self) -> SQLiteBackend:
        """Make a backend that is closed when the test is over."""
        backend = SQLiteBackend(reactor, Database(self.path, "test", self.clock), self.clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend

    def test_interface(self) -> None:
        """It remembers lifetimes."""
        verifyObject(ILifetimeStore, self.make_backend())

    async def test_restart(self) -> None:
        """After a restart services have what was left, less the time that passed meanwhile."""
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
        """What was deregistered has no time any more, and its full time when it comes again."""
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
        """What is asked for at once is done in the order in which it was asked for."""
        backend = self.make_backend()
        plans = [Plan(registrations(number), registrations(number - 1)) for number in range(1, 30)]
        applied = [Deferred.fromCoroutine(backend.apply(plan)) for plan in plans]
        read = Deferred.fromCoroutine(backend.read())
        self.assertEqual(list((await read).values()), list(registrations(29)))
        self.assertTrue(all([(await outcome).applied for outcome in applied]))

    async def test_unavailable(self) -> None:
        """Trouble is told in the outcome, and once where nobody waits for one."""
        backend = self.make_backend()
        [registration] = registrations(1)
        await backend.apply(Plan((registration,)))
        error = BackendUnavailableError("full")

        def fail(*arguments: Any) -> None:
            raise error

        for name in ("apply", "remember"):
            self.patch(Database, name, fail)
        self.assertEqual(await backend.apply(Plan((registration,))), Outcome(unavailable=error))
        with capturedLogs() as events:
            for _ in range(2):
                backend.remember({registration.service_id: 5.0})
                await backend.keep_alive()
        [event] = [event for event in events if event["log_level"] == LogLevel.warn]
        self.assertEqual(event["error"], error)

    async def test_cancelled(self) -> None:
        """One who no longer waits for an outcome does no harm to what comes next."""
        backend = self.make_backend()
        waiting = Deferred.fromCoroutine(backend.apply(Plan(registrations(*range(1000)))))
        waiting.cancel()
        self.assertEqual(len(await backend.read()), 1000)
        await self.assertFailure(waiting, Exception)


class DaemonTests(SynchronousTestCase):
    """The daemon with a file, and a device on another host."""

    skip = hosts.unavailable()
    timeout = 120

    def setUp(self) -> None:
        lan = Lan()
        self.addCleanup(lan.close)
        self.rack, self.device = Rack(lan.host("10.77.0.2"), lan.folder), lan.host("10.77.0.3")
        self.config = {
            "ssdp": {"tags": {"RackHD": [API]}},
            "backend": {"type": "embedded", "path": str(lan.folder / "ssdpreg.sqlite")},
        }

    def announce(self, *device_ids: str, max_age: int) -> None:
        """Announce services."""
        location = f"http://{self.device.address}:8080/"
        self.device.send(*(notify(API, each, location, max_age=max_age) for each in device_ids))

    def devices(self) -> set[str]:
        """Tell which devices the daemon shows."""
        answer = self.rack.host.http("/v1/catalog/service/RackHD-service:api:2.0", port=8580)
        return {entry["ServiceMeta"]["ssdp-device"] for entry in answer.json()}

    def test_killed_in_a_loop(self) -> None:
        """However often the daemon is killed, nothing is lost, and nothing lives longer for it."""
        daemon = self.rack.start_daemon(self.config)
        staying = {f"staying-{number}" for number in range(20)}
        self.announce(*staying, max_age=1800)
        # So many seconds after they were heard, grace included, they are to go.
        lifetimes = {"first": 6.0, "second": 11.0}
        announced_at = time.monotonic()
        self.announce("first", max_age=5)
        self.announce("second", max_age=10)
        wait_until(lambda: daemon.output.count("Registered ") == 22)
        for pause in (0.0, 0.0, 0.5, 5.0, 0.0):
            daemon.process.kill()
            daemon.process.wait()
            time.sleep(pause)
            daemon = self.rack.start_daemon(self.config)
            wait_until(lambda: self.devices() >= staying)
            asked_at = time.monotonic() - announced_at
            shown = self.devices()
            answered_at = time.monotonic() - announced_at
            for device_id, lifetime in lifetimes.items():
                if device_id in shown:
                    self.assertLess(asked_at, lifetime + 0.5, device_id)
                else:
                    self.assertGreater(answered_at, lifetime - 0.5, device_id)
        wait_until(lambda: self.devices() == staying, 15)
        self.assertLess(time.monotonic() - announced_at, 15)
