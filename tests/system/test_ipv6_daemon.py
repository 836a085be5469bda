"""Tests of the daemon and the announcer over IPv6, on hosts with real interfaces."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, Rack, notify, twistd
from tests.support.waiting import wait_until

NAME = "RackHD-service:api:2.0"


class SharedPortTests(SynchronousTestCase):
    """Tests for the daemon beside other programs that use port 1900, over both IP versions."""

    skip = hosts.unavailable() or skip_without("minissdpd", "minissdpd")

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near = self.lan.host("10.77.0.2", "fd00:77::2")
        self.far = self.lan.host("10.77.0.3", "fd00:77::3")

    def start_minissdpd(self) -> hosts.Program:
        """Start minissdpd in the foreground."""
        path = self.lan.folder
        return self.near.run(["minissdpd", "-d", "-6", "-i", "eth0", "-s", f"{path}/socket", "-p", f"{path}/pid"])

    def start_daemon(self) -> Rack:
        """Start a daemon with its own catalogue, which is served on a UNIX socket."""
        rack = Rack(self.near, self.lan.folder)
        endpoint = f"unix:{self.lan.folder}/web-{len(self.near.pids())}"
        tags = {"RackHD": [API]}
        backend = {"type": "embedded", "path": None}
        rack.start_daemon({"ssdp": {"tags": tags}, "backend": backend, "web": {"endpoint": endpoint}})
        return rack

    def test_minissdpd(self) -> None:
        """minissdpd, started before or after the daemon, and a second daemon receive the same announcements."""
        for first in (True, False):
            minissdpd = self.start_minissdpd() if first else None
            racks = [self.start_daemon(), self.start_daemon()]
            minissdpd = minissdpd or self.start_minissdpd()
            wait_until(lambda: "minissdpd" in self.near.call(["ss", "-ulnp", "sport = 1900"]))
            device = f"device-{first}"
            self.far.send(notify(API, device, "http://10.77.0.3:80/"))
            for rack in racks:
                assert rack.daemon is not None
                rack.daemon.wait_for("Registered .* at 10.77.0.3:80")
                self.assertNotIn("#warn", rack.daemon.output)
            minissdpd.wait_for(device)
            for program in (minissdpd, *(rack.daemon for rack in racks)):
                assert program is not None
                program.kill()


class DaemonOverIPv6Tests(SynchronousTestCase):
    """Tests for the daemon with its own catalogue, and simulated devices with both families on another host."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)

    def start(self, address: str, ipv6: str, backend: Mapping[str, Any] | None = None, **ssdp: Any) -> None:
        """Start the daemon on a host with some addresses, and create the host of the devices."""
        self.near = self.lan.host(address, ipv6)
        self.far = self.lan.host("10.77.0.3", "fd00:77::3")
        self.rack = Rack(self.near, self.lan.folder)
        self.daemon = self.rack.start_daemon(
            {
                "ssdp": {"tags": {"RackHD": [API]}, **ssdp},
                "backend": backend or {"type": "embedded", "path": None},
                "web": {"endpoint": "tcp:8580"},
            }
        )

    def announce(self, max_age: int = 6, **devices: Mapping[str, Any]) -> hosts.Program:
        """Start the announcer."""
        path = self.lan.folder / "spoof.json"
        path.write_text(json.dumps({"ssdp": {name: {"urnList": [API], **each} for name, each in devices.items()}}))
        return self.far.run(twistd("ssdpspoof", "--config", str(path), "--max-age", str(max_age)), cwd=str(ROOT))

    def addresses(self) -> list[str]:
        """Return the addresses of the registered services."""
        services = self.near.http(f"/v1/catalog/service/{NAME}", port=8580).json()
        return sorted(f"{each['ServiceAddress']} {each['ServicePort']}" for each in services)

    def metric(self, name: str) -> float:
        """Return the sum of the values of a metric."""
        lines = self.near.http("/metrics", port=8580).body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def warnings(self) -> list[str]:
        """Return the lines of the daemon's log that are warnings or errors."""
        return [line for line in self.daemon.output.splitlines() if "#warn" in line or "#error" in line]

    def test_both_families(self) -> None:
        """A device with addresses of both families is one service, which stays where it is until its byebye."""
        self.start("10.77.0.2", "fd00:77::2")
        devices = self.announce(12, a={"broadcastIP": ["10.77.0.3:80", "[fd00:77::3]:80"]})
        wait_until(self.addresses)
        [before] = self.addresses()
        wait_until(lambda: self.metric("ssdpreg_packets_total") > 90, 60)
        self.assertEqual((self.addresses(), self.metric("ssdpreg_service_moves")), ([before], 0))
        contests = self.metric("ssdpreg_service_contests")
        # An announcement can end the first contest before its host has replied. Then the higher standing of the other
        # address is a reason for a second contest. After that there is none.
        self.assertLessEqual(contests, 2)
        devices.stop()
        wait_until(lambda: not self.addresses(), 8)
        self.assertEqual(self.warnings(), [])

    def test_host_without_ipv4(self) -> None:
        """On a host without IPv4, devices are registered that announce themselves or only reply; a byebye ends them."""
        self.start("", "fd00:77::2", trust="confirmed", search={"interval": "2s", "mx": 1})
        devices = self.announce(
            a={"broadcastIP": ["[fd00:77::3]:80"]}, b={"broadcastIP": ["[fd00:77::3]:81"], "searchOnly": True}
        )
        wait_until(lambda: self.addresses() == ["fd00:77::3 80", "fd00:77::3 81"], 15)
        output = self.near.call([str(ROOT / ".venv/bin/ssdpreg"), "services"])
        self.assertIn(" [fd00:77::3]:80 ", output)
        self.assertIn(" at [fd00:77::3]:80", self.daemon.output)
        devices.stop()
        wait_until(lambda: self.addresses() == ["fd00:77::3 81"], 8)
        wait_until(lambda: not self.addresses(), 15)
        self.assertEqual(self.warnings(), [])

    def test_host_without_ipv6(self) -> None:
        """On a host without IPv6, a device of both families is registered at its IPv4 address, without warnings."""
        self.start("10.77.0.2", "")
        self.announce(a={"broadcastIP": ["10.77.0.3:80", "[fd00:77::3]:80"]})
        wait_until(lambda: self.addresses() == ["10.77.0.3 80"])
        self.assertEqual(self.warnings(), [])
        self.assertEqual(self.near.call(["cat", "/proc/net/if_inet6"]).split()[-1:], ["lo"])

    def test_link_local(self) -> None:
        """A link-local address is registered with the zone of the receiving interface in the own catalogue."""
        self.start("10.77.0.2", "fd00:77::2")
        location = f"http://[{self.far.link_local}%25eth9]:82/"
        self.announce(a={"location": location})
        wait_until(lambda: self.addresses() == [f"{self.far.link_local}%eth0 82"])

    def test_link_local_in_consul(self) -> None:
        """A link-local address is not registered in Consul, and the reason is counted."""
        self.start("10.77.0.2", "fd00:77::2", {"type": "consul"})
        self.announce(a={"location": f"http://[{self.far.link_local}]:82/"})
        reason = 'reason="LOCATION is link-local, and the backend stores no zones"'
        wait_until(lambda: self.metric(f"ssdpreg_packets_dropped_total{{{reason}}}") > 0)
        self.assertEqual(self.addresses(), [])

    def test_search_command(self) -> None:
        """``ssdpreg search`` finds a device that replies over IPv6 only."""
        self.near = self.lan.host("", "fd00:77::2")
        self.far = self.lan.host("10.77.0.3", "fd00:77::3")
        self.announce(a={"broadcastIP": ["[fd00:77::3]:80"], "searchOnly": True}).wait_for("Listening on eth0 at fe80")
        output = self.near.call([sys.executable, "-m", "ssdpreg", "search"])
        self.assertIn("http://[fd00:77::3]:80/", output)
