"""Tests for two daemons with one scope and one real Consul agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.testing import make_registration
from tests.support.consul import ConsulProcess, skip_without_consul
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

#: Seconds during which a second daemon must not change anything. The comparison every 30 s is part of them.
_WATCH = float(os.environ.get("SSDPREG_WATCH_SECONDS", "35"))


class Writer:
    """
    Process of :mod:`tests.support.writer`.

    :param folder: Folder for its log.
    :param numbers: Numbers of its services.
    """

    def __init__(self, address: str, folder: Path, numbers: range, scope: str = "rack") -> None:
        self._log = folder / f"log-{time.monotonic_ns()}"
        command = [sys.executable, "-m", "tests.support.writer", address, scope, str(numbers[0]), str(numbers[-1] + 1)]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def log(self) -> str:
        """Log of the process."""
        return self._log.read_text()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.wait()


class TwoDaemonsTests(SynchronousTestCase):
    """Two daemons that would register different services."""

    skip = skip_without_consul
    timeout = 400

    def setUp(self) -> None:
        self.consul = ConsulProcess()
        self.addCleanup(self.consul.clean_up)
        self.consul.start()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def start(self, numbers: range, scope: str = "rack") -> Writer:
        """Start a daemon, and kill it at the end of the test."""
        writer = Writer(self.consul.address, self.folder, numbers, scope)
        self.addCleanup(writer.kill)
        return writer

    def numbers(self) -> set[int]:
        """Return the numbers of the registered services."""
        return {int(service_id[-16:], 16) for service_id in self.consul.services() if service_id.startswith("ssdpreg-")}

    def test_later_daemon_waits(self) -> None:
        """The later daemon changes nothing and logs one line, and takes over after the first one was killed."""
        first = self.start(range(24))
        wait_until(lambda: self.numbers() == set(range(24)), 20, what="services")
        later = self.start(range(12, 30))
        wait_until(
            lambda: "another daemon registers the services of scope 'rack'" in later.log, 20, what="line in the log"
        )
        deadline = time.monotonic() + _WATCH
        before = self.consul.raft_index()
        while time.monotonic() < deadline:
            self.assertEqual(self.numbers(), set(range(24)))
            time.sleep(0.2)
        self.assertLessEqual(self.consul.raft_index() - before, 2)
        self.assertEqual(later.log.count("Waiting: another daemon"), 1)
        self.assertNotIn("Backend", later.log)
        self.assertNotIn("egistered ssdpreg-", later.log)
        self.assertNotIn("Deregistered", first.log)
        first.kill()
        wait_until(lambda: self.numbers() >= set(range(24, 30)), 30, what="services of the later daemon")
        self.assertIn("Registering services: no other daemon", later.log)

    def test_restart(self) -> None:
        """A daemon that was killed registers a new service within seconds after its start, and changes no other one."""
        first = self.start(range(10))
        wait_until(lambda: self.numbers() == set(range(10)), 20, what="services")
        before = {key: value for key, value in self.consul.services().items() if key != "ssdpreg"}
        first.kill()
        again = self.start(range(11))
        wait_until(lambda: 10 in self.numbers(), 10, what="new service")
        self.assertNotIn("Backend unavailable", again.log)
        after = self.consul.services()
        self.assertEqual({key: after[key] for key in before}, before)
        statuses = {check["Status"] for check in self.consul.checks().values()}
        self.assertEqual(statuses, {"passing"})

    def test_two_scopes(self) -> None:
        """Two daemons with different scopes do not disturb each other."""
        first, second = self.start(range(5), "one"), self.start(range(5, 10), "two")
        wait_until(lambda: self.numbers() == set(range(10)), 20, what="services")
        time.sleep(2)
        for writer in (first, second):
            self.assertNotIn("Deregistered", writer.log)
            self.assertNotIn("Backend unavailable", writer.log)

    def test_unknown_instance(self) -> None:
        """A daemon on another host counts as alive until its TTL check is not passing any more."""
        self.consul.put(
            "/v1/agent/service/register",
            {
                "ID": "ssdpreg",
                "Name": "ssdpreg",
                "Meta": {"external-source": "ssdpreg", "ssdpreg-scope": "rack", "ssdpreg-instance": "elsewhere-1"},
                "Checks": [{"CheckID": "ssdpreg:alive", "TTL": "10s", "Status": "passing"}],
            },
        )
        registration = make_registration()
        later = self.start(range(1))
        wait_until(lambda: "another daemon" in later.log, 8, what="line in the log")
        self.assertNotIn(registration.service_id, self.consul.services())
        wait_until(lambda: registration.service_id in self.consul.services(), 20, what="take-over")
