"""Tests for ``demo/demo.py``, on a host of its own, on which nobody uses the ports that it prefers."""

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


class DemoTests(SynchronousTestCase):
    """Tests for the demo, whose output is no terminal here."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.host = self.lan.host("10.77.0.2")

    def start(self, path: str = "") -> hosts.Program:
        """
        Start the demo.

        :param path: What is to be on the PATH before all else.
        """
        env = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(_DEMO.parent.parent)}
        return self.host.run([sys.executable, str(_DEMO)], env=env)

    def demo(self, path: str = "") -> hosts.Program:
        """Start the demo, and wait until it shows what it found."""
        started = time.monotonic()
        demo = self.start(path)
        demo.wait_for(_API, seconds=30)
        self.assertLess(time.monotonic() - started, 10)
        return demo

    def interrupt(self, demo: hosts.Program) -> None:
        """Press Ctrl-C, and see that it ends all, and well."""
        demo.signal(signal.SIGINT)
        self.assertEqual(demo.process.wait(30), 0, demo.output)
        self.assertNotIn("Traceback", demo.output)

    def assert_alone(self) -> None:
        """Assert that no process is left on the host."""
        self.assertEqual(self.host.pids(), [])

    def test_without_consul(self) -> None:
        """Without any Consul, the daemon itself answers; devices come and go."""
        demo = self.demo()
        self.assertIn("catalogue: no Consul answers at 127.0.0.1:8500, and none is on the PATH", demo.output)
        demo.wait_for(r"curl -s http://127\.0\.0\.1:8580/v1/catalog/service/RackHD-service:api:2\.0$")
        demo.wait_for(r"^Look at it: http://127\.0\.0\.1:8580/$")
        self.assertEqual(self.host.http("/", port=8580).status, 200)
        names = self.host.http("/v1/catalog/services", port=8580).json()
        self.assertIn("RackHD-service:api:2.0", names)
        demo.wait_for(r"^\d\d:\d\d:\d\d \+ ", seconds=30)
        demo.wait_for(r"^\d\d:\d\d:\d\d - ", seconds=30)
        self.interrupt(demo)
        self.assert_alone()

    def test_consul_on_path(self) -> None:
        """A Consul that is on the PATH is started, and ended with the demo."""
        demo = self.demo(path=str(Path(self.find_consul()).parent))
        demo.wait_for(r"curl -s http://127\.0\.0\.1:8500/v1/catalog/services$")
        demo.wait_for("passing", seconds=30)
        self.interrupt(demo)
        self.assert_alone()

    def test_consul_answers(self) -> None:
        """A Consul that answers is used, and is left as it was."""
        consul = self.start_consul()
        demo = self.demo()
        self.assertIn("Consul, which answers at http://127.0.0.1:8500", demo.output)
        self.interrupt(demo)
        self.assertTrue(consul.running)
        self.assertEqual(self.host.http("/v1/agent/services").json(), {})
        consul.stop()
        self.assert_alone()

    def test_consul_in_use(self) -> None:
        """A Consul that another daemon of this machine works with is left to that."""
        self.start_consul()
        self.host.http("/v1/agent/service/register", method="PUT", body={"Name": "ssdpreg"})
        demo = self.demo()
        self.assertIn("catalogue: another ssdpreg works with the Consul at http://127.0.0.1:8500", demo.output)
        self.assertEqual(list(self.host.http("/v1/agent/services").json()), ["ssdpreg"])

    def test_port_taken(self) -> None:
        """Where port 1900 is not to be had, the demo says so, what to do about it, and ends with status 1."""
        taker = self.host.run([sys.executable, "-c", _TAKE])
        taker.wait_for("taken")
        demo = self.start()
        self.assertEqual(demo.process.wait(30), 1)
        self.assertIn("ss -ulpn sport = 1900", demo.output)

    def start_consul(self) -> hosts.Program:
        """Start a Consul on its own ports, and wait until it answers."""
        consul = self.host.run([self.find_consul(), "agent", "-dev", "-bind=127.0.0.1"])
        consul.wait_for("cluster leadership acquired", seconds=30)
        return consul

    def find_consul(self) -> str:
        """Find Consul, or skip the test."""
        consul = find_consul()
        if consul is None:
            self.skipTest(str(skip_without_consul))
        return consul


_TAKE = """
import socket, time
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.bind(("", 1900))
print("taken", flush=True)
time.sleep(60)
"""
