"""Tests for :mod:`tests.support.hosts`: the network of several hosts is one."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts

#: Answers every HTTP request with an empty list, and says so on its output once it can.
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

    def test_hears_group(self) -> None:
        """What one host sends to the SSDP group, the others hear, from that host's address."""
        one, two, three = (self.lan.host(f"10.77.0.{number}") for number in (2, 3, 4))
        for other in (two, three):
            listener = other.listen(1900)
            self.addCleanup(listener.close)
            one.send(b"NOTIFY", source_port=1900)
            self.assertEqual(listener.recvfrom(100), (b"NOTIFY", ("10.77.0.2", 1900)))

    def test_reply(self) -> None:
        """A datagram to a host alone reaches it alone."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        listener = one.listen()
        self.addCleanup(listener.close)
        two.send(b"reply", to=listener.getsockname())
        self.assertEqual(listener.recv(100), b"reply")

    def test_move(self) -> None:
        """A host that moves sends from its new address, and has the old one no more."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        one.move("10.77.0.20")
        listener = two.listen(1900)
        self.addCleanup(listener.close)
        one.send(b"NOTIFY")
        self.assertEqual(listener.recvfrom(100)[1][0], "10.77.0.20")
        self.assertNotIn("10.77.0.2/", one.call(["ip", "-4", "address"]))

    def test_unplug(self) -> None:
        """Nothing reaches a host whose cable is out, and everything does again once it is back in."""
        one, two = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        listener = two.listen(1900)
        self.addCleanup(listener.close)
        two.unplug()
        one.send(b"lost")
        two.plug()

        def heard() -> bool:
            # The bridge takes a moment to forward again, and sends no word when it does.
            one.send(b"heard")
            try:
                self.assertEqual(listener.recv(100), b"heard")
            except TimeoutError:
                return False
            return True

        listener.settimeout(0.1)
        hosts.wait_until(heard)

    def test_run(self) -> None:
        """A program runs on the host that it was started on, and there alone; HTTP reaches it from outside."""
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
        """A command that fails is an error."""
        host = self.lan.host("10.77.0.2")
        self.assertRaises(subprocess.CalledProcessError, host.call, ["false"])

    def test_wait_for_ended(self) -> None:
        """A program that ends without the words waited for is not waited for any longer, and the error shows them."""
        program = self.lan.host("10.77.0.2").run(["echo", "other words"])
        error = self.assertRaises(AssertionError, program.wait_for, "ready", seconds=600)
        self.assertIn("other words", str(error))

    def test_close(self) -> None:
        """A LAN that is closed leaves no namespace, process or file behind, children of its programs included."""
        host = self.lan.host("10.77.0.2")
        program = host.run(["sh", "-c", "sleep 600 & echo $!; wait"])
        child = int(program.wait_for(r"^\d+$")[0])
        self.lan.close()
        self.assertFalse(program.running)
        hosts.wait_until(lambda: not os.path.exists(f"/proc/{child}"))
        self.assertFalse(self.lan.folder.exists())
        self.assertNotIn(self.lan.name, hosts._ip("netns", "list"))

    def test_left_behind(self) -> None:
        """What a killed test run left goes when the next one begins; what another has in use stays."""
        ended = subprocess.Popen(["true"])
        ended.wait()
        for pid in (ended.pid, 1):
            hosts._ip("netns", "add", f"ssdpreg-{pid}-test")
        self.addCleanup(hosts._remove, "ssdpreg-1-test")
        hosts.Lan().close()
        self.assertNotIn(f"ssdpreg-{ended.pid}-test", hosts._namespaces())
        self.assertIn("ssdpreg-1-test", hosts._namespaces())
