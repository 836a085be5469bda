"""Tests for ``ssdpreg services`` and ``ssdpreg watch`` as processes, with a daemon or Consul."""

from __future__ import annotations

import json
import re
import signal
import socket
import time

from tests.support.consul import skip_without_consul
from tests.support.hosts import Program
from tests.support.rack import API, REDFISH, Rack, byebye, notify
from tests.support.waiting import wait_until
from tests.system.test_search_command import HostCommandTestCase

TERMS = {"ssdp": {"tags": {"RackHD": [API], "BMC": [REDFISH]}}}
CONSUL = "http://127.0.0.1:8500"


class EmbeddedTests(HostCommandTestCase):
    """Tests with the catalogue of a daemon without Consul."""

    def setUp(self) -> None:
        super().setUp()
        self.rack = Rack(self.host, self.lan.folder)
        self.start_daemon()
        self.media_server.send(
            notify(API, "2a35af60-74f7-5e33-8f42-b99e5c1d15a6", "http://10.77.0.3:8080/"),
            notify(REDFISH, "[red]bmc[/red]", "https://10.77.0.3/"),
        )
        wait_until(lambda: len(self.host.http("/v1/catalog/services", port=8580).json()) == 2)

    def start_daemon(self) -> Program:
        """Start the daemon."""
        return self.rack.start_daemon({**TERMS, "backend": {"type": "embedded"}})

    def test_services(self) -> None:
        """All services are printed, each in one line of any length."""
        self.assertEqual(
            self.call("services"),
            (
                0,
                "Service                     Device                                Address         Health\n"
                "BMC-service:redfish-rest:1  [red]bmc[/red]                        10.77.0.3:443   passing\n"
                "RackHD-service:api:2.0      2a35af60-74f7-5e33-8f42-b99e5c1d15a6  10.77.0.3:8080  passing\n",
                "",
            ),
        )

    def test_json_by_name(self) -> None:
        """``--json`` prints one document, and ``--name`` selects the services."""
        status, stdout, _ = self.call("services", "--json", "--name", "RackHD-service:api:2.0")
        (service,) = json.loads(stdout)["services"]
        self.assertEqual((status, service["address"], service["port"]), (0, "10.77.0.3", 8080))

    def test_no_service(self) -> None:
        """The command succeeds if there is no service to print."""
        status, stdout, stderr = self.call("services", "--name", "x")
        self.assertEqual((status, stdout), (0, ""))
        self.assertEqual(stderr, "No service of ssdpreg at http://127.0.0.1:8580 with the name 'x'.\n")

    def test_watch(self) -> None:
        """Each change is one line, also after the daemon was killed and restarted, and Ctrl-C ends the command."""
        watch = self.host.run(self.command("watch"))
        watch.wait_for(r"^\+ .* RackHD-service:api:2\.0 10\.77\.0\.3:8080 passing$")
        self.media_server.send(notify(API, "new", "http://10.77.0.3:8081/"))
        watch.wait_for(r"^\+ .* 10\.77\.0\.3:8081 passing$", 3)
        self.media_server.send(notify(API, "new", "http://10.77.0.3:8082/"))
        watch.wait_for(r"^~ .* 10\.77\.0\.3:8081 -> 10\.77\.0\.3:8082 passing$", 3)
        self.media_server.send(byebye(API, "new"))
        watch.wait_for(r"^- .* 10\.77\.0\.3:8082 passing$", 5)
        assert self.rack.daemon is not None
        self.rack.daemon.kill()
        watch.wait_for("^http://127.0.0.1:8580 does not answer: .*; retrying$", 3)
        # Two attempts fail before the daemon returns.
        time.sleep(2.5)
        self.start_daemon()
        self.media_server.send(notify(API, "2a35af60-74f7-5e33-8f42-b99e5c1d15a6", "http://10.77.0.3:8080/"))
        watch.wait_for(r"^The server responds again\.$", 20)
        watch.wait_for(r"^- .* BMC-service:redfish-rest:1 .*$", 3)
        watch.signal(signal.SIGINT)
        self.assertEqual(watch.process.wait(5), 0)
        lines = watch.output.splitlines()
        self.assertEqual([line[0] for line in lines], list("+++~-hT-"))
        self.assertTrue(all(re.match(r". \d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines if line[0] in "+~-"))

    def test_watch_json(self) -> None:
        """``--json`` prints each change at once, as one object per line."""
        watch = self.host.run(self.command("watch", "--json"))
        watch.wait_for('"name": "RackHD')
        watch.stop()
        changes = [json.loads(line) for line in watch.output.splitlines()]
        self.assertEqual([change["change"] for change in changes], ["added", "added"])
        self.assertEqual(set(changes[0]), {"time", "change", "service"})


class ConsulTests(HostCommandTestCase):
    """Tests with a Consul that also has a service of another program."""

    skip = HostCommandTestCase.skip or skip_without_consul

    def setUp(self) -> None:
        super().setUp()
        self.rack = Rack(self.host, self.lan.folder)
        self.rack.start_consul()
        self.rack.put("/v1/agent/service/register", {"Name": "web", "Address": "192.0.2.1", "Port": 1})
        self.rack.start_daemon(TERMS)
        self.media_server.send(notify(API, "D", "http://10.77.0.3:8080/"))
        wait_until(lambda: "RackHD-service:api:2.0" in self.rack.names())

    def test_services(self) -> None:
        """Only services of the daemon are printed."""
        status, stdout, stderr = self.call("services", "--url", CONSUL)
        self.assertEqual((status, stderr), (0, ""))
        self.assertRegex(stdout, r"\AService +.*\nRackHD-service:api:2\.0 +D +10\.77\.0\.3:8080 +passing\n\Z")

    def test_watch(self) -> None:
        """A change of health is printed, although it does not end Consul's blocking query for service names."""
        watch = self.host.run(self.command("watch", "--url", f"{CONSUL}/"))
        watch.wait_for(r"^\+ .* passing$")
        (service_id,) = self.rack.services()
        self.rack.put(f"/v1/agent/service/maintenance/{service_id}?enable=true")
        watch.wait_for(r"^~ .* RackHD-service:api:2\.0 10\.77\.0\.3:8080 passing -> maintenance$", 15)
        self.assertNotIn("web", watch.output)


class UnavailableTests(HostCommandTestCase):
    """Tests without a server."""

    def test_no_response(self) -> None:
        """A server that does not respond is reported in one line."""
        for command in ("services", "watch"):
            status, stdout, stderr = self.call(command)
            self.assertEqual((status, stdout), (1, ""))
            self.assertRegex(stderr, r"\Ahttp://127\.0\.0\.1:8580 does not answer: .*refused.*\n\Z")

    def test_interrupted(self) -> None:
        """Ctrl-C ends the wait for a response, without a traceback."""

        def listen() -> socket.socket:
            return socket.create_server(("127.0.0.1", 8580))

        self.addCleanup(self.host.inside(listen).close)
        for url, port in (("http://127.0.0.1:8580", 8580), ("http://10.77.0.99", 80)):
            program = self.start("services", "--url", url)

            def is_connecting(port: int = port) -> bool:
                # Columns of proc(5), /proc/net/tcp: number, local address, remote address with a hexadecimal port.
                rows = self.host.call(["cat", "/proc/net/tcp"]).splitlines()[1:]
                return any(row.split()[2].endswith(f":{port:04X}") for row in rows)

            wait_until(is_connecting, 30, what=f"connection to {url}")
            program.signal(signal.SIGINT)
            self.assertEqual(self.wait_for_end(program), (1, "", ""))
