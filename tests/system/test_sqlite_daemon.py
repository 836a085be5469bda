"""Tests for the SQLite backend with several processes, and in a daemon that is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.sqlite import make_backend
from ssdpreg.errors import BackendUnavailableError, ConfigError
from ssdpreg.registration import Plan
from ssdpreg.testing import make_registration
from tests.support import hosts
from tests.support.hosts import Lan
from tests.support.paths import ROOT
from tests.support.rack import API, Rack, notify
from tests.support.sqlite_case import DatabaseTestCase, registrations
from tests.support.waiting import wait_until

#: Program that applies plans and prints the number of each. A plan moves 20 services, and replaces one by another.
WRITER = """
import sys
from itertools import count
from ssdpreg.backends.sqlite_database import Database
from ssdpreg.registration import Plan
from ssdpreg.testing import make_registration

database = Database(sys.argv[1], "test")
for turn in count(int(sys.argv[2])):
    moving = [make_registration(number, port=turn) for number in range(20)]
    database.apply(Plan((*moving, make_registration(1000 + turn)), (make_registration(999 + turn),)))
    print(turn, flush=True)
"""

#: Program that opens a file, prints a line, and keeps the file open.
HOLDER = """
import sys
from ssdpreg.backends.sqlite_database import Database

database = Database(sys.argv[1], "test")
database.check()
print("open", flush=True)
sys.stdin.read()
"""


class ProcessTests(DatabaseTestCase):
    """Tests for a database file that several processes use, one after the other or at the same time."""

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a process that uses the file, and wait for the first line of its output."""
        command = [sys.executable, "-c", program, self.path, *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.first_line = process.stdout.readline()
        return process

    def test_killed(self) -> None:
        """A process that is killed has stored every reported plan, and the next one completely or not at all."""
        random = Random(3)
        turn = 0
        for _ in range(20):
            writer = self.start(WRITER, str(turn + 1))
            time.sleep(random.uniform(0, 0.03))
            writer.kill()
            assert writer.stdout is not None
            reported = int([self.first_line, *writer.stdout.read().splitlines()][-1])
            writer.wait()
            database = self.open()
            found = list(database.read()[0].values())
            database.close()
            self.assertEqual(len(found), 21)
            turn = found[0].port
            self.assertIn(turn, (reported, reported + 1))
            moving = [make_registration(number, port=turn) for number in range(20)]
            self.assertCountEqual(found, [*moving, make_registration(1000 + turn)])

    def test_two_processes(self) -> None:
        """A file that another process has open is unavailable until that process ends, and is not changed."""
        database = self.open()
        database.apply(Plan(registrations(*range(200))))
        database.close()
        holder = self.start(HOLDER)
        error = self.assertRaises(BackendUnavailableError, database.read)
        self.assertEqual(str(error), f"{self.path}: another process uses it")
        error = self.assertRaises(ConfigError, make_backend, reactor, self.path, "test")
        self.assertEqual(str(error), f"backend.path: {self.path}: another process uses it")
        holder.kill()
        holder.wait()
        self.assertEqual(len(database.read()[0]), 200)


class DaemonTests(SynchronousTestCase):
    """Tests for the daemon with a SQLite file, and a device on another host."""

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
        """Announce one service for each device ID."""
        location = f"http://{self.device.address}:8080/"
        self.device.send(*(notify(API, each, location, max_age=max_age) for each in device_ids))

    def devices(self) -> set[str]:
        """Return the IDs of the devices in the daemon's catalogue."""
        answer = self.rack.host.http("/v1/catalog/service/RackHD-service:api:2.0", port=8580)
        return {entry["ServiceMeta"]["ssdp-device"] for entry in answer.json()}

    def test_killed_repeatedly(self) -> None:
        """A daemon that is killed several times keeps its services, and each expires at its original time."""
        daemon = self.rack.start_daemon(self.config)
        staying = {f"staying-{number}" for number in range(20)}
        self.announce(*staying, max_age=1800)
        # Seconds from the announcement to the expiry, grace included.
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
        # On a busy machine the last restart may end after the lifetime.
        self.assertLess(time.monotonic() - announced_at, max(lifetimes["second"], answered_at) + 4)
