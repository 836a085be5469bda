"""Tests for :mod:`tests.support.hosts`."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.waiting import wait_until

#: HTTP server that responds to each request with an empty list, and prints "ready" when it is listening.
_SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.end_headers()
        self.wfile.write(b"[]")
server = http.server.HTTPServer(("127.0.0.1", 8500), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class LanTests(SynchronousTestCase):
    """Tests for :class:`tests.support.hosts.Lan` and :class:`tests.support.hosts.Host`."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)

    def test_group(self) -> None:
        """A datagram to the SSDP group is received by the other hosts, with the address of its sender."""
        one, two, three = (self.lan.host(f"10.77.0.{number}") for number in (2, 3, 4))
        for other in (two, three):
            listener = other.listen(1900)
            self.addCleanup(listener.close)
            one.send(b"NOTIFY", source_port=1900)
            self.assertEqual(listener.recvfrom(100), (b"NOTIFY", ("10.77.0.2", 1900)))

    def test_reply(self) -> None:
        """A unicast datagram is received by its destination."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        listener = one.listen()
        self.addCleanup(listener.close)
        two.send(b"reply", to=listener.getsockname())
        self.assertEqual(listener.recv(100), b"reply")

    def test_move(self) -> None:
        """A host with a new address sends from it, and no longer has the old one."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        one.move("10.77.0.20")
        listener = two.listen(1900)
        self.addCleanup(listener.close)
        one.send(b"NOTIFY")
        self.assertEqual(listener.recvfrom(100)[1][0], "10.77.0.20")
        self.assertNotIn("10.77.0.2/", one.call(["ip", "-4", "address"]))

    def test_unplug(self) -> None:
        """A disconnected host receives no datagrams until it is connected again."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        listener = two.listen(1900)
        self.addCleanup(listener.close)
        two.unplug()
        one.send(b"lost")
        two.plug()

        def received() -> bool:
            # The bridge does not report when it forwards again, so send until a datagram arrives.
            one.send(b"received")
            try:
                self.assertEqual(listener.recv(100), b"received")
            except TimeoutError:
                return False
            return True

        listener.settimeout(0.1)
        wait_until(received)

    def test_run(self) -> None:
        """A program runs in the namespace of its host, and HTTP requests reach it from the test."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        server = one.run([sys.executable, "-c", _SERVER])
        server.wait_for("^ready$")
        answer = one.http("/v1/x?passing")
        self.assertEqual((answer.status, answer.headers["x-path"], answer.json()), (200, "/v1/x?passing", []))
        self.assertRaises(ConnectionRefusedError, two.http, "/")
        self.assertTrue(server.running)
        self.assertEqual(server.stop(), -15)
        self.assertRaises(ConnectionRefusedError, one.http, "/")

    def test_call_failed(self) -> None:
        """A command with an exit status other than 0 raises an error."""
        host = self.lan.host("10.77.0.2")
        self.assertRaises(subprocess.CalledProcessError, host.call, ["false"])

    def test_wait_for_ended(self) -> None:
        """The wait for output ends when the program exits, and the error contains its output."""
        program = self.lan.host("10.77.0.2").run(["echo", "other words"])
        error = self.assertRaises(AssertionError, program.wait_for, "ready", seconds=600)
        self.assertIn("other words", str(error))

    def test_close(self) -> None:
        """Closing a LAN removes its namespaces, processes (also children of its programs) and files."""
        host = self.lan.host("10.77.0.2")
        program = host.run(["sh", "-c", "sleep 600 & echo $!; wait"])
        child = int(program.wait_for(r"^\d+$")[0])
        self.lan.close()
        self.assertFalse(program.running)
        wait_until(lambda: not os.path.exists(f"/proc/{child}"))
        self.assertFalse(self.lan.folder.exists())
        self.assertNotIn(self.lan.name, hosts._ip("netns", "list"))

    def test_left_behind(self) -> None:
        """Namespaces of a killed test run are removed, and those of a running one are kept."""
        ended = subprocess.Popen(["true"])
        ended.wait()
        for pid in (ended.pid, 1):
            hosts._ip("netns", "add", f"ssdpreg-{pid}-test")
        self.addCleanup(hosts._remove, "ssdpreg-1-test")
        hosts.Lan().close()
        self.assertNotIn(f"ssdpreg-{ended.pid}-test", hosts._namespaces())
        self.assertIn("ssdpreg-1-test", hosts._namespaces())
