"""Limits of the HTTP server of a real daemon with 1,024 descriptors."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.consul import free_ports
from tests.support.rack import API, twistd
from tests.support.waiting import wait_until

_DESCRIPTORS = 1024
_CLIENTS = 1100
_LIMIT = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({_DESCRIPTORS}, {_DESCRIPTORS}))"
_GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class StandIn(BaseHTTPRequestHandler):
    """A server in the place of Consul that accepts every request."""

    requests: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_PUT = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


class LimitTests(SynchronousTestCase):
    """Tests with more clients than the daemon has descriptors."""

    timeout = 180

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 2 * _CLIENTS:
            if hard != resource.RLIM_INFINITY and hard < 2 * _CLIENTS:
                self.skipTest(f"Needs {2 * _CLIENTS} descriptors.")
            resource.setrlimit(resource.RLIMIT_NOFILE, (2 * _CLIENTS, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.port, self.consul_port = free_ports(2)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        config = {
            "ssdp": {"tags": {"RackHD": [API]}, "interfaces": ["127.0.0.0/8"]},
            "backend": {"type": "consul", "address": f"127.0.0.1:{self.consul_port}"},
            "web": {"endpoint": f"tcp:{self.port}:interface=127.0.0.1"},
        }
        (self.folder / "registry.json").write_text(json.dumps(config))
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.daemon = subprocess.Popen(
                twistd("ssdpreg", "--config", str(self.folder / "registry.json"), before=_LIMIT),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(self.folder)},
            )
        self.addCleanup(self.daemon.wait)
        self.addCleanup(self.daemon.kill)
        wait_until(self.is_healthy, 30, what="The daemon answers")

    def connect(self, client: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of this host."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(client, 0))
        self.addCleanup(connection.close)
        return connection

    def connect_all(self, data: bytes) -> list[socket.socket]:
        """Connect more clients than there are descriptors, from 40 addresses, each of which sends some bytes."""
        clients = []
        for number in range(_CLIENTS):
            client = self.connect(f"127.0.1.{number % 40 + 1}")
            # The server may have closed the connection already.
            with contextlib.suppress(OSError):
                client.sendall(data)
            clients.append(client)
        return clients

    def get(self, path: str) -> bytes:
        """Return the response to a request."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(_GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % path.encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def is_healthy(self) -> bool:
        """Return whether the server answers."""
        try:
            return self.get("/healthz").endswith(b"ok\n")
        except OSError:
            return False

    def descriptors(self) -> Path:
        """Return the folder with the descriptors of the daemon."""
        return Path(f"/proc/{self.daemon.pid}/fd")

    def assert_descriptors_are_left(self) -> None:
        """Check that the daemon has descriptors for Consul and for sockets."""
        self.assertLess(len(list(self.descriptors().iterdir())), _DESCRIPTORS // 2)

    def assert_consul_is_reached(self) -> None:
        """Start the stand-in for Consul, and check that the daemon connects to it."""
        StandIn.requests.clear()
        server = ThreadingHTTPServer(("127.0.0.1", self.consul_port), StandIn)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait_until(lambda: len(StandIn.requests) >= 3, 60, what="Requests to Consul")
        self.assertNotIn("Too many open files", self.log.read_text())

    def count_open(self, clients: Iterable[socket.socket]) -> int:
        """Return the number of clients whose connection the server has not closed."""
        count = 0
        for client in clients:
            client.setblocking(False)
            try:
                while client.recv(65536):
                    pass
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count

    def test_idle(self) -> None:
        """Idle connections leave room for other clients and for Consul, and are closed after 10 s."""
        clients = self.connect_all(b"")
        self.assertTrue(self.is_healthy())
        self.assertLessEqual(self.count_open(clients), 256)
        self.assert_descriptors_are_left()
        wait_until(lambda: self.count_open(clients) == 0, 30, 1.0)
        self.assertNotIn("Timing out", self.log.read_text())

    def test_trickle(self) -> None:
        """Headers of which a byte arrives from time to time are ended after 10 s."""
        clients = [self.connect(f"127.0.1.{number % 40 + 1}") for number in range(200)]
        began = time.monotonic()
        while self.count_open(clients):
            self.assertLess(time.monotonic() - began, 30)
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"G")
            time.sleep(1)
        self.assertGreater(time.monotonic() - began, 8)

    def test_events(self) -> None:
        """Streams have a limit of their own: beyond it they are refused, and other requests are answered."""
        clients = self.connect_all(_GET % b"/events")
        self.assertTrue(self.is_healthy())
        self.assert_descriptors_are_left()
        self.assert_consul_is_reached()
        self.assertIn(b'ssdpreg_web_open_requests{kind="events"} 64.0', self.get("/metrics"))
        for client in clients:
            client.close()
        wait_until(lambda: b'ssdpreg_web_open_requests{kind="events"} 0.0' in self.get("/metrics"), 10)

    def test_blocking_queries(self) -> None:
        """Blocking queries have a limit of their own, and end when their clients are gone."""
        clients = self.connect_all(_GET % b"/v1/catalog/services?index=99999999999999&wait=600s")
        self.assertTrue(self.is_healthy())
        self.assert_descriptors_are_left()
        self.assertIn(b'ssdpreg_web_open_requests{kind="blocking"} 128.0', self.get("/metrics"))
        for client in clients:
            client.close()
        wait_until(lambda: b'ssdpreg_web_open_requests{kind="blocking"} 0.0' in self.get("/metrics"), 10)

    def test_one_client(self) -> None:
        """One client has at most a quarter of the connections."""
        clients = [self.connect("127.0.1.1") for _ in range(300)]
        wait_until(lambda: self.count_open(clients) <= 64, 10)
        self.assertTrue(self.is_healthy())

    def test_body(self) -> None:
        """A body of 300 MB is refused at the header, and nothing of it is stored."""
        client = self.connect()
        client.sendall(b"PUT /v1/catalog/services HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n")
        response = client.recv(65536)
        self.assertIn(b"405 Method Not Allowed", response)
        sent = 0
        began = time.monotonic()
        with self.assertRaises(OSError):
            while sent < 300_000_000 and time.monotonic() - began < 10:
                sent += client.send(b"x" * 65536)
                time.sleep(0.01)
        files = [
            os.readlink(f"/proc/{self.daemon.pid}/fd/{name}") for name in os.listdir(f"/proc/{self.daemon.pid}/fd")
        ]
        self.assertEqual([name for name in files if "deleted" in name], [])
        self.assertTrue(self.is_healthy())

    def test_reader(self) -> None:
        """A client that reads nothing keeps no connection for longer than 30 s."""
        client = self.connect()
        client.setblocking(False)
        # Responses to requests one after the other fill the buffers of the connection.
        requests = (_GET % b"/static/page.css") * 50_000
        began = time.monotonic()
        while time.monotonic() - began < 5 and requests:
            with contextlib.suppress(BlockingIOError):
                requests = requests[client.send(requests[:65536]) :]
            time.sleep(0.001)
        self.assertTrue(self.is_healthy())
        closed = b'ssdpreg_web_connections_closed_total{reason="reader"} 1.0'
        wait_until(lambda: closed in self.get("/metrics"), 60, 1.0)
