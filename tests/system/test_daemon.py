"""Tests for ``twistd ssdpreg`` with a real Consul agent, and with devices on other hosts."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.consul import skip_without_consul
from tests.support.hosts import Host, Lan
from tests.support.paths import ROOT
from tests.support.rack import API, REDFISH, Rack, byebye, notify
from tests.support.waiting import wait_until

URNS = [urn for urns in json.loads((ROOT / "registry.json").read_text())["ssdp"]["tags"].values() for urn in urns]
NAMES = {
    "Inservice-service:agent:0.1",
    "Inservice-service:catalog-compute:0.1",
    "Inservice-service:lldp:0.1",
    "RackHD-device:on-http:1",
    "RackHD-service:api:1.1",
    "RackHD-service:api:2.0",
    "RackHD-service:redfish-rest:1.0",
}


class DaemonTestCase(SynchronousTestCase):
    """Test case with a host for Consul and the daemon, and two hosts for devices."""

    skip = hosts.unavailable() or skip_without_consul
    timeout = 300

    def setUp(self) -> None:
        lan = Lan()
        self.addCleanup(lan.close)
        self.rack = Rack(lan.host("10.77.0.2"), lan.folder)
        self.first, self.second = lan.host("10.77.0.3"), lan.host("10.77.0.4")

    def assert_soon(self, function: Callable[[], object], expected: object, seconds: float = 10.0) -> None:
        """Assert that a function returns the expected value within some seconds."""
        try:
            wait_until(lambda: function() == expected, seconds)
        except AssertionError:
            log = self.rack.daemon.output if self.rack.daemon is not None else ""
            self.assertEqual(function(), expected, log[-5000:])

    def assert_stays(self, function: Callable[[], object], expected: object, seconds: float) -> None:
        """Assert that a function returns the expected value for some seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.assertEqual(function(), expected)
            time.sleep(0.1)

    def announce(self, host: Host, device_id: str, *urns: str, port: int = 8080, max_age: int = 1800) -> None:
        """Announce services of a device at the address of a host."""
        location = f"http://{host.address}:{port}/fakepath"
        host.send(*(notify(urn, device_id, location, max_age=max_age) for urn in urns or (API,)))


class ConsulTests(DaemonTestCase):
    """Tests with a Consul agent that runs during the whole test."""

    def setUp(self) -> None:
        super().setUp()
        self.rack.start_consul()

    def test_original_example(self) -> None:
        """The services of the original's example get the original's names. Invalid announcements are not registered."""
        self.rack.start_daemon()
        self.announce(self.first, "228617159241066160", *(urn for urn in URNS if "skunkworxs" not in urn))
        location = "http://10.77.0.3:8080/fakepath"
        self.first.send(
            notify("upnp:rootdevice", "other", location),
            notify("urn:BAD:URN", "other", location),
            notify(API, "", location),
            notify(API, "bad-port", "http://192.168.1.1:INVALIDPORT/fakepath"),
            notify(API, "bad-address", "http://192.168.1165535/fakepath"),
            notify(API, "no-scheme", "://192.168.1.1:65535/fakepath"),
            notify(API, "no-location"),
            b"M-SEARCH * HTTP/1.1\r\nST: '\r\n\r\n",
            b"\x00" * 100,
        )
        self.assert_soon(self.rack.names, NAMES, 2)
        self.assert_stays(self.rack.names, NAMES, 1)
        (entry,) = self.rack.request("/v1/catalog/service/RackHD-service:api:2.0").json()
        self.assertEqual(
            {key: entry[key] for key in ("ServiceName", "ServiceAddress", "ServicePort", "ServiceTags")},
            {
                "ServiceName": "RackHD-service:api:2.0",
                "ServiceAddress": "10.77.0.3",
                "ServicePort": 8080,
                "ServiceTags": [],
            },
        )
        checks = self.rack.request("/v1/agent/checks").json().values()
        self.assertEqual(len([check for check in checks if check["Type"] == "http"]), 1)
        self.assertEqual(len([check for check in checks if check["Type"] == "alias"]), 7)

    def test_same_service_on_two_devices(self) -> None:
        """Two devices with the same service are two instances of one service name."""
        self.rack.start_daemon()
        for host in (self.first, self.second):
            self.announce(host, f"device-{host.address}")
        expected = [f"RackHD-service:api:2.0 {host.address}:8080" for host in (self.first, self.second)]
        self.assert_soon(self.rack.endpoints, expected, 2)

    def test_move(self) -> None:
        """A new LOCATION from the same sender updates the registration and keeps its ID."""
        self.rack.start_daemon()
        self.announce(self.first, "D")
        self.assert_soon(self.rack.endpoints, ["RackHD-service:api:2.0 10.77.0.3:8080"], 2)
        (before,) = self.rack.services()
        self.announce(self.first, "D", port=9090)
        self.assert_soon(self.rack.endpoints, ["RackHD-service:api:2.0 10.77.0.3:9090"], 2)
        self.assertEqual(list(self.rack.services()), [before])

    def test_byebye(self) -> None:
        """A byebye takes effect after 2 s, unless an alive follows or another host sent it."""
        self.rack.start_daemon()
        self.announce(self.first, "D")
        self.assert_soon(lambda: len(self.rack.services()), 1, 2)
        catalog = self.rack.catalog()
        self.first.send(byebye(API, "D"))
        self.announce(self.first, "D")
        self.second.send(byebye(API, "D"))
        self.assert_stays(self.rack.catalog, catalog, 4)
        self.first.send(byebye("upnp:rootdevice", "D"))
        self.assert_soon(self.rack.catalog, {}, 3.5)

    def test_expiry(self) -> None:
        """A service that is not announced again expires after its max-age. A service that is announced again stays."""
        self.rack.start_daemon()
        self.announce(self.first, "D", max_age=4)
        self.announce(self.second, "E", max_age=4)
        self.assert_soon(lambda: len(self.rack.services()), 2, 2)
        for _ in range(4):
            time.sleep(1.5)
            self.announce(self.second, "E", max_age=4)
        self.assert_soon(self.rack.endpoints, ["RackHD-service:api:2.0 10.77.0.4:8080"], 1)

    def test_device_that_only_replies(self) -> None:
        """A search finds a Redfish service that sends no announcements, and replies with AL instead of LOCATION."""
        listener = self.first.listen(1900)
        self.addCleanup(listener.close)
        searches: list[str] = []

        def reply() -> None:
            while True:
                try:
                    datagram, searcher = listener.recvfrom(65507)
                except OSError:
                    return
                searches.append(datagram.decode())
                if f"ST: {REDFISH}\r\n" in searches[-1]:
                    usn = f"uuid:92384634::{REDFISH}:9"
                    lines = ("HTTP/1.1 200 OK", "CACHE-CONTROL:max-age=1800", f"ST:{REDFISH}:9", f"USN:{usn}")
                    al = "AL:https://10.77.0.3/redfish/v1"
                    listener.sendto("\r\n".join([*lines, al, "", ""]).encode(), searcher)

        threading.Thread(target=reply, daemon=True).start()
        daemon = self.rack.start_daemon({"ssdp": {"tags": {"BMC": [REDFISH]}}})
        self.assert_soon(self.rack.endpoints, ["BMC-service:redfish-rest:1 10.77.0.3:443"], 3)
        wait_until(lambda: len(searches) == 2, 5)
        self.assertRegex(
            searches[0], r'\AM-SEARCH \* HTTP/1\.1\r\n(?s:.*)MAN: "ssdp:discover"\r\nMX: 3\r\n(?s:.*)\r\n\r\n\Z'
        )
        time.sleep(4)
        # Each search opens and closes a socket.
        self.assertNotIn("SSDPProtocol starting", daemon.output)
        self.assertNotIn("UDP Port", daemon.output)

    def test_killed_and_restarted(self) -> None:
        """A restart after SIGKILL neither removes nor writes an entry of the catalog."""
        daemon = self.rack.start_daemon()
        self.announce(self.first, "D", *URNS)
        self.assert_soon(lambda: len(self.rack.catalog()), 8, 3)
        # The agent writes the results of its checks once.
        time.sleep(3)
        before = self.rack.catalog()
        daemon.kill()
        self.assert_stays(self.rack.catalog, before, 2)
        self.rack.start_daemon().wait_for("Adopted 8 services")
        self.assert_stays(self.rack.catalog, before, 3)
        self.announce(self.first, "D", *URNS)
        self.assert_stays(self.rack.catalog, before, 2)
        self.first.send(byebye("upnp:rootdevice", "D"))
        self.assert_soon(self.rack.catalog, {}, 5)

    def test_foreign_entries(self) -> None:
        """The daemon changes neither services of other programs nor an operator's maintenance mode."""
        foreign = {"ID": "ssdpreg-mine", "Name": "RackHD-service:api:2.0", "Address": "192.0.2.1", "Port": 1}
        self.rack.put("/v1/agent/service/register", foreign)
        self.rack.start_daemon()
        self.announce(self.first, "D")
        self.assert_soon(lambda: len(self.rack.services()), 2, 2)
        service_id = next(key for key in self.rack.services() if key != "ssdpreg-mine")
        self.rack.put(f"/v1/agent/service/maintenance/{service_id}?enable=true&reason=disk")
        self.announce(self.first, "D", port=9090)
        endpoints = ["RackHD-service:api:2.0 10.77.0.3:9090", "RackHD-service:api:2.0 192.0.2.1:1"]
        self.assert_soon(self.rack.endpoints, endpoints, 2)
        self.assertIn(f"_service_maintenance:{service_id}", self.rack.request("/v1/agent/checks").json())
        checks = [check["CheckID"] for check in self.rack.request("/v1/agent/checks").json().values()]
        self.assertEqual(len([check for check in checks if check.startswith(f"{service_id}-http")]), 1)
        self.first.send(byebye(API, "D"))
        self.assert_soon(self.rack.endpoints, endpoints[1:], 4)

    def test_steady_state(self) -> None:
        """25 announcements of each of 200 devices cause at most 8 requests, and no write."""
        self.rack.start_daemon({"ssdp": {"tags": {"RackHD": [API]}}})
        datagrams = [notify(API, f"device-{number}", f"http://10.77.0.3:{number + 1}/") for number in range(200)]
        self.first.send(*datagrams)
        self.assert_soon(lambda: len(self.rack.services()), 200, 20)
        # Until the agent has synchronized all services to the catalog.
        time.sleep(5)
        assert self.rack.consul is not None
        index, requests = self.rack.raft_index(), self.count_requests()
        for _ in range(25):
            self.first.send(*datagrams)
            time.sleep(0.5)
        # The count includes the requests of this test.
        self.assertLessEqual(self.count_requests() - requests, 8)
        self.assertEqual(self.rack.raft_index(), index)
        self.assertEqual(len(self.rack.services()), 200)

    def count_requests(self, path: str = "") -> int:
        """
        Return the number of requests that Consul has processed.

        :param path: Part of the path; by default all requests are counted.
        """
        assert self.rack.consul is not None
        return len(re.findall(f"Request finished: .*{path}", self.rack.consul.output))

    def test_time_of_day_changes(self) -> None:
        """When the time of day is set forward and back, no service expires and the keep-alives continue."""
        setting = """if True:
            import time
            real, began = time.time, time.monotonic()
            def set_twice():
                passed = time.monotonic() - began
                return real() + (0 if passed < 4 else 86400 if passed < 8 else -86400)
            time.time = set_twice
        """
        daemon = self.rack.start_daemon(before=setting)
        self.announce(self.first, "D")
        self.assert_soon(lambda: len(self.rack.services()), 1, 2)
        passes = self.count_requests("check/pass/")
        self.assert_soon(lambda: self.count_requests("check/pass/") >= passes + 2, True, 25)
        self.assertEqual(len(self.rack.services()), 1)
        self.assertNotIn("Backend unavailable", daemon.output)

    def test_deregisters_on_stop(self) -> None:
        """With ``"on_stop": "deregister"`` the daemon deregisters all services, and itself, when it stops."""
        config = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "consul", "on_stop": "deregister"}}
        daemon = self.rack.start_daemon(config)
        self.announce(self.first, "D")
        self.assert_soon(lambda: len(self.rack.services()), 1, 2)
        daemon.stop()
        self.assertEqual(list(self.rack.request("/v1/agent/services").json()), [])
        self.assertRegex(daemon.output, "Deregistered .*: stopped")

    def test_leaves_on_stop(self) -> None:
        """By default the services stay registered when the daemon stops."""
        daemon = self.rack.start_daemon()
        self.announce(self.first, "D")
        self.assert_soon(lambda: len(self.rack.services()), 1, 2)
        daemon.stop()
        self.assertEqual(len(self.rack.services()), 1)


class AbsentConsulTests(DaemonTestCase):
    """Tests with a Consul agent that is started late and killed."""

    def test_absent_then_killed_and_wiped(self) -> None:
        """Services are registered when Consul starts, and again after it restarts without its data."""
        daemon = self.rack.start_daemon()
        daemon.wait_for("Backend unavailable")
        self.announce(self.first, "D", *URNS)
        self.announce(self.second, "leaves", API)
        time.sleep(1)
        self.second.send(byebye(API, "leaves"))
        self.rack.start_consul()
        self.assert_soon(lambda: len(self.rack.services()), 8, 35)
        daemon.wait_for("Backend recovered")
        assert self.rack.consul is not None
        self.rack.consul.kill()
        daemon.wait_for(r"recovered(?s:.*)Backend unavailable", 15)
        self.rack.start_consul()
        self.assert_soon(lambda: len(self.rack.services()), 8, 35)
        self.assertEqual(len(re.findall("Backend unavailable", daemon.output)), 2)
        self.assertNotIn("Traceback", daemon.output)
