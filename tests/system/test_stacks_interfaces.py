"""The running daemon while interfaces and addresses of its host change, and beside other programs on port 1900."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.paths import ROOT
from tests.support.rack import API, Rack, byebye, notify, twistd
from tests.support.waiting import wait_until

NAME = "RackHD-service:api:2.0"
#: Longest time until the daemon has noticed a change of an interface, in seconds.
_NOTICED = 15.0

#: Names of the scopes by group.
_GROUPS = {"ff02::c": "link", "ff05::c": "site", "ff0e::c": "global"}
#: Program that binds port 1900 without sharing it.
_EXCLUSIVE = """
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 1900))
print("bound", flush=True)
time.sleep(600)
"""


class InterfacesTestCase(SynchronousTestCase):
    """A host with the daemon and its own catalogue, and a device on another host. No host has a route for multicast."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.near, self.far = self.lan.host("10.77.0.2", "fd00:77::2"), self.lan.host("10.77.0.3", "fd00:77::3")

    def start(self, **more: Any) -> hosts.Program:
        """Start the daemon."""
        self.rack = Rack(self.near, self.lan.folder)
        config = {
            "ssdp": {"tags": {"RackHD": [API]}, "search": {"mx": 1}, **more},
            "backend": {"type": "embedded", "path": None},
            "web": {"endpoint": "tcp:8580"},
        }
        return self.rack.start_daemon(config)

    def services(self) -> list[str]:
        """Return device ID, address and port of the registered services."""
        found = self.near.http(f"/v1/catalog/service/{NAME}", port=8580).json()
        return sorted(
            f"{each['ServiceMeta']['ssdp-device']} {each['ServiceAddress']}:{each['ServicePort']}" for each in found
        )

    def wait_for(self, *services: str, seconds: float = 5.0) -> None:
        """Wait until exactly these services are registered."""
        try:
            wait_until(lambda: self.services() == sorted(services), seconds)
        except AssertionError:
            self.assertEqual(self.services(), sorted(services))

    def wait_until_received(self, device: str, seconds: float = _NOTICED) -> None:
        """Announce a device every 0.2 s until it is registered."""

        def announced() -> bool:
            self.far.send(notify(API, device, f"http://{self.far.address}:80/"))
            return any(service.startswith(f"{device} ") for service in self.services())

        wait_until(announced, seconds, 0.2, what=device)


class InterfacesTests(InterfacesTestCase):
    """Tests for the daemon with interfaces that change."""

    def test_no_multicast_route(self) -> None:
        """Without a route for multicast, announcements are received, and a device that only replies is found."""
        route = self.near.inside(lambda: _route_error("239.255.255.250"))
        self.assertEqual(route, "Network is unreachable")
        path = self.lan.folder / "spoof.json"
        device = {"urnList": [API], "broadcastIP": ["10.77.0.3:81"], "searchOnly": True}
        path.write_text(json.dumps({"ssdp": {"quiet": device}}))
        self.far.run(twistd("ssdpspoof", "--config", str(path)), cwd=str(ROOT)).wait_for("Listening on eth0")
        self.start()
        self.far.send(notify(API, "loud", "http://10.77.0.3:80/"))
        wait_until(lambda: len(self.services()) == 2)
        self.assertEqual([service.split()[1] for service in self.services()].count("10.77.0.3:81"), 1)

    def test_changes(self) -> None:
        """The interface is renamed, loses its carrier, gets another address, disappears, and is put back."""
        daemon = self.start()
        self.wait_until_received("first")
        for command in (["eth0", "down"], ["eth0", "name", "lan1"], ["lan1", "up"]):
            self.near.call(["ip", "link", "set", *command])
        self.wait_until_received("renamed")
        daemon.wait_for("Listening on lan1 at 10.77.0.2")
        self.near.unplug()
        self.near.plug()
        self.wait_until_received("carrier")
        self.near.call(["ip", "address", "flush", "dev", "lan1", "scope", "global"])
        self.near.call(["ip", "address", "add", "10.77.0.7/24", "dev", "lan1"])
        daemon.wait_for("Listening on lan1 at 10.77.0.7", _NOTICED)
        self.wait_until_received("address")
        self.near.call(["ip", "link", "delete", "lan1"])
        self.lan.add_card(self.near, "lan2", "10.77.0.8")
        daemon.wait_for("Listening on lan2 at 10.77.0.8", _NOTICED)
        self.wait_until_received("back")
        # Nothing was lost meanwhile.
        self.assertEqual(len(self.services()), 5)
        self.assertTrue(daemon.running)
        self.assertNotIn("Traceback", daemon.output)

    def test_two_interfaces_on_one_network(self) -> None:
        """A device that is received on two interfaces of one network is one service, which does not move."""
        self.lan.add_card(self.near, "eth1", "10.77.0.4")
        daemon = self.start()
        daemon.wait_for("Listening on eth1")
        for _ in range(5):
            self.far.send(notify(API, "one", "http://10.77.0.3:80/"))
        self.wait_for("one 10.77.0.3:80")
        self.far.send(byebye(API, "one"))
        daemon.wait_for("Deregistered ")
        self.assertEqual((daemon.output.count("Registered "), daemon.output.count("Deregistered ")), (1, 1))

    def test_same_address_on_two_networks(self) -> None:
        """Devices with the same private address on two networks are two services, and each ends its own only."""
        other = self.lan.host("10.77.0.3")
        self.near.call(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", other.name])
        other.unplug()
        for host, address in ((self.near, "10.77.0.4"), (other, "10.77.0.3")):
            host.call(["ip", "address", "flush", "dev", "eth1"])
            host.call(["ip", "address", "add", f"{address}/24", "dev", "eth1"])
            host.call(["ip", "link", "set", "eth1", "up"])
        self.start().wait_for("Listening on eth1")
        self.far.send(notify(API, "left", "http://10.77.0.3:80/"))
        other.inside(lambda: _send(notify(API, "right", "http://10.77.0.3:80/"), "eth1"))
        self.wait_for("left 10.77.0.3:80", "right 10.77.0.3:80")
        self.far.send(byebye(API, "left"))
        self.wait_for("right 10.77.0.3:80")

    def test_exclusive_port(self) -> None:
        """A program that does not share port 1900 is reported, and the daemon listens soon after its end."""
        program = self.near.run([sys.executable, "-c", _EXCLUSIVE])
        program.wait_for("bound")
        self.rack = Rack(self.near, self.lan.folder)
        config = {
            "ssdp": {"tags": {"RackHD": [API]}},
            "backend": {"type": "embedded", "path": None},
            "web": {"endpoint": "tcp:8580"},
        }
        (self.lan.folder / "registry.json").write_text(json.dumps(config))
        daemon = self.near.run(twistd("ssdpreg", "--config", str(self.lan.folder / "registry.json")), cwd=str(ROOT))
        daemon.wait_for("Serving at")
        daemon.wait_for("Another program uses the port without sharing it")
        program.kill()
        daemon.wait_for("Listening on eth0 at 10.77.0.2", _NOTICED)
        self.wait_until_received("late")
        self.assertEqual(daemon.output.count("without sharing it"), 1)


class IPv6InterfacesTests(InterfacesTestCase):
    """Tests for the daemon with interfaces that have IPv6."""

    def test_disabled_on_one_interface(self) -> None:
        """With IPv6 switched off on one interface, both versions go on elsewhere, and it can be switched on again."""
        self.lan.add_card(self.near, "eth1", "10.77.0.4")
        self.near.set_ipv6("eth1", "disable_ipv6=1")
        daemon = self.start()
        daemon.wait_for("Listening on eth1 at 10.77.0.4")
        self.assertNotIn("Listening on eth1 at fe80", daemon.output)
        for group, name in _GROUPS.items():
            datagram = notify(API, name, "http://[fd00:77::3]:80/")
            self.far.inside(lambda datagram=datagram, group=group: _send(datagram, "eth0", group))  # type: ignore[misc]
        self.far.send(notify(API, "four", "http://10.77.0.3:80/"))
        self.wait_for("four 10.77.0.3:80", *(f"{name} fd00:77::3:80" for name in _GROUPS.values()))
        self.near.set_ipv6("eth1", "disable_ipv6=0")
        daemon.wait_for("Listening on eth1 at fe80", _NOTICED)
        self.assertNotRegex(daemon.output, "#(warn|error|critical)")

    def test_byebye_of_another_address(self) -> None:
        """A byebye from the link-local address of a device ends its service at the global address."""
        path = self.lan.folder / "spoof.json"
        device = {"urnList": [API], "broadcastIP": ["[fd00:77::3]:80"]}
        path.write_text(json.dumps({"ssdp": {"two": device}}))
        announcer = self.far.run(twistd("ssdpspoof", "--config", str(path)), cwd=str(ROOT))
        announcer.wait_for("Listening on eth0")
        self.start()
        (service,) = wait_until(self.services)
        wait_until(lambda: self.near.http("/readyz", port=8580).status == 200, 20, what="end of the first search")
        announcer.kill()
        datagram = byebye(API, service.split()[0])

        def has_left() -> bool:
            # On a slow machine the last reply of the device may be read after the byebye, which it voids.
            self.assertEqual(self.far.inside(lambda: _send(datagram, "eth0", "ff02::c")), self.far.link_local)
            return not self.services()

        wait_until(has_left, 15, 5, what="end of the service")


def _route_error(address: str) -> str:
    """Return the error of the kernel for a datagram to an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.sendto(b"", (address, 1900))
        except OSError as error:
            return error.strerror or ""
    return ""


def _send(datagram: bytes, card: str, group: str = "239.255.255.250") -> str:
    """Send a datagram to a group from a card of this host, and return the source address over IPv6."""
    if ":" not in group:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.encode())
            sender.sendto(datagram, (group, 1900))
        return ""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(card))
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 2)
        sender.sendto(datagram, (group, 1900))
    # The kernel selects the source for a route to the group.
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(card))
        probe.connect((group, 1900, 0, socket.if_nametoindex(card)))
        return str(probe.getsockname()[0]).partition("%")[0]
