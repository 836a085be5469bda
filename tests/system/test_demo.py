"""Tests for ``demo/demo.py`` on a separate host, where all ports are free."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.consul import find_consul, skip_without_consul
from tests.support.paths import ROOT

_DEMO = ROOT / "demo" / "demo.py"
_API = r"RackHD-service:api:2\.0 "
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


class DemoTests(SynchronousTestCase):
    """Tests for the demo, with its output in a file."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.host = self.lan.host("10.77.0.2")

    def start(self, path: str = "") -> hosts.Program:
        """
        Start the demo.

        :param path: Folder to put at the start of the PATH.
        """
        env = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(_DEMO.parent.parent)}
        return self.host.run([sys.executable, str(_DEMO)], env=env)

    def demo(self, path: str = "") -> hosts.Program:
        """Start the demo, and wait until it prints a registered service."""
        started = time.monotonic()
        demo = self.start(path)
        demo.wait_for(_API, seconds=30)
        self.assertLess(time.monotonic() - started, 10)
        return demo

    def interrupt(self, demo: hosts.Program, signal_number: int = signal.SIGINT) -> None:
        """Send a signal, and check that the demo ends with status 0."""
        demo.signal(signal_number)
        self.assertEqual(demo.process.wait(30), 0, demo.output)
        self.assertNotIn("Traceback", demo.output)

    def assert_no_process(self) -> None:
        """Assert that no process is running on the host."""
        self.assertEqual(self.host.pids(), [])

    def test_without_consul(self) -> None:
        """Without Consul, the demo uses the daemon's own catalogue, and a device comes and leaves."""
        demo = self.demo()
        self.assertIn("catalogue (no Consul at http://127.0.0.1:8500, and none on the PATH)", demo.output)
        demo.wait_for(r"curl -s http://127\.0\.0\.1:8580/v1/catalog/service/RackHD-service:api:2\.0$")
        demo.wait_for(r"^Status page: http://127\.0\.0\.1:8580/$")
        self.assertEqual(self.host.http("/", port=8580).status, 200)
        names = self.host.http("/v1/catalog/services", port=8580).json()
        self.assertIn("RackHD-service:api:2.0", names)
        demo.wait_for(rf"^\+ {_TIME} {_API}127\.0\.0\.1:8090 passing$")
        demo.wait_for(rf"^\+ {_TIME} {_API}127\.0\.0\.2:8090 passing$", seconds=30)
        demo.wait_for(rf"^- {_TIME} {_API}127\.0\.0\.2:8090 passing$", seconds=30)
        demo.wait_for(rf"^- .*\n\+ {_TIME} {_API}127\.0\.0\.2:8090 passing$", seconds=30)
        self.interrupt(demo)
        self.assert_no_process()

    def test_consul_on_path(self) -> None:
        """A Consul on the PATH is started, and stopped with the demo."""
        demo = self.demo(path=str(Path(self.find_consul()).parent))
        demo.wait_for(r"curl -s http://127\.0\.0\.1:8500/v1/catalog/services$")
        demo.wait_for("passing", seconds=30)
        self.interrupt(demo)
        self.assert_no_process()

    def test_running_consul(self) -> None:
        """A running Consul is used, and the demo removes its services from it at the end, also after SIGTERM."""
        consul = self.start_consul()
        demo = self.demo()
        self.assertIn("registered in the Consul at http://127.0.0.1:8500.", demo.output)
        self.interrupt(demo, signal.SIGTERM)
        self.assertTrue(consul.running)
        self.assertEqual(self.host.http("/v1/agent/services").json(), {})
        consul.stop()
        self.assert_no_process()

    def test_consul_in_use(self) -> None:
        """A Consul that another daemon uses stays unchanged."""
        self.start_consul()
        self.host.http("/v1/agent/service/register", method="PUT", body={"Name": "ssdpreg"})
        demo = self.demo()
        self.assertIn("catalogue (another ssdpreg uses the Consul at http://127.0.0.1:8500)", demo.output)
        self.assertEqual(list(self.host.http("/v1/agent/services").json()), ["ssdpreg"])

    def test_port_in_use(self) -> None:
        """If another program uses port 1900 exclusively, the demo explains how to find it and ends with status 1."""
        program = self.host.run([sys.executable, "-c", _BIND])
        program.wait_for("bound")
        demo = self.start()
        self.assertEqual(demo.process.wait(30), 1)
        self.assertIn("ss -ulpn sport = 1900", demo.output)

    def test_daemon_ends(self) -> None:
        """If the daemon ends, the demo prints the end of its log, stops all programs and ends with status 1."""
        demo = self.demo()
        (daemon,) = (
            pid for pid in self.host.pids() if b"\0ssdpreg\0--config" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(daemon, signal.SIGTERM)
        self.assertEqual(demo.process.wait(30), 1)
        self.assertIn("The daemon ended unexpectedly. End of its log:\n", demo.output)
        self.assertIn("Server Shut Down.", demo.output)
        self.assert_no_process()

    def start_consul(self) -> hosts.Program:
        """Start Consul on its default ports, and wait until it has a leader."""
        consul = self.host.run([self.find_consul(), "agent", "-dev", "-bind=127.0.0.1"])
        consul.wait_for("cluster leadership acquired", seconds=30)
        return consul

    def find_consul(self) -> str:
        """Return the path of Consul, or skip the test."""
        consul = find_consul()
        if consul is None:
            self.skipTest(str(skip_without_consul))
        return consul


_BIND = """
import socket, time
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("", 1900))
print("bound", flush=True)
time.sleep(60)
"""
