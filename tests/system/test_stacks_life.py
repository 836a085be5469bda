"""Devices made of SSDP stacks of other projects, with the real daemon and a real Consul, over IPv4 and IPv6."""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts, stacks
from tests.support.consul import find_consul
from tests.support.rack import Rack
from tests.support.stacks import STACKS, Stack
from tests.support.waiting import wait_until

#: Longest max-age whose end the tests wait for, in seconds.
_SHORT = 15
#: Stacks that announce an IPv6 address that is not link-local, and one that announces a link-local address.
_GLOBAL_IPV6 = (stacks.MINIUPNPD, stacks.GSSDP, stacks.ASYNC_UPNP_CLIENT_IPV6)
_LINK_LOCAL_IPV6 = stacks.GSSDP_LINK_LOCAL


def name_of(stack: Stack) -> str:
    """Return the name of the service of a stack."""
    return f"UPnP-{stack.nt.split(':', 2)[2]}"


class StacksTests(SynchronousTestCase):
    """
    A LAN with one host for each stack, and two hosts with a daemon.

    The first daemon has both IP versions and writes to Consul. The second has only IPv6 and its own catalogue, which
    can store link-local addresses.
    """

    skip = (
        hosts.unavailable()
        or stacks.unavailable(STACKS)
        or (None if find_consul() else "Needs consul on the PATH, or in SSDPREG_CONSUL.")
    )

    def setUp(self) -> None:
        self.lan = hosts.Lan()
        self.addCleanup(self.lan.close)
        self.rack = Rack(self.lan.host("10.77.0.2", "fd00:77::2"), self.lan.folder)
        self.rack.start_consul()
        config = {
            "ssdp": {
                "tags": {"UPnP": sorted({stack.nt for stack in STACKS})},
                "search": {"mx": 1},
            },
            "web": {"endpoint": "tcp:8580"},
        }
        self.rack.start_daemon(config)
        folder = self.lan.folder / "ipv6"
        folder.mkdir()
        self.ipv6_rack = Rack(self.lan.host("", "fd00:77::3"), folder)
        self.ipv6_rack.start_daemon({**config, "backend": {"type": "embedded", "path": None}})
        self.hosts: dict[Stack, hosts.Host] = {}
        self.programs: dict[Stack, hosts.Program] = {}
        self.ports: dict[Stack, int] = {}
        for number, stack in enumerate(STACKS, 10):
            address = "" if stack in (stacks.ASYNC_UPNP_CLIENT_IPV6, _LINK_LOCAL_IPV6) else f"10.77.0.{number}"
            ipv6 = "" if stack is stacks.ASYNC_UPNP_CLIENT else f"fd00:77::{number}"
            self.hosts[stack] = self.lan.host(address, ipv6)
            (self.lan.folder / str(number)).mkdir()

    def start(self, first_port: int) -> None:
        """Start all devices, the first one with a port, and the others with the following ports."""
        for number, stack in enumerate(STACKS):
            self.ports[stack] = first_port + number
            folder = self.lan.folder / str(number + 10)
            self.programs[stack] = stack.start(self.hosts[stack], self.ports[stack], folder)

    def expected(self, *registered: Stack) -> list[str]:
        """Return the services in Consul if these devices are registered. IPv4 is preferred to IPv6."""
        return sorted(
            f"{name_of(stack)} {self.hosts[stack].address or self.hosts[stack].ipv6}:{self.ports[stack]}"
            for stack in registered
            # Consul cannot store a link-local address.
            if stack is not _LINK_LOCAL_IPV6
        )

    def expected_over_ipv6(self, *registered: Stack) -> list[str]:
        """Return the services in the catalogue of the daemon without IPv4 if these devices are registered."""
        found = []
        for stack in registered:
            host = self.hosts[stack]
            address = f"{host.link_local}%eth0" if stack is _LINK_LOCAL_IPV6 else host.ipv6
            found.append(f"{name_of(stack)} {address}:{self.ports[stack]}")
        return sorted(found)

    def over_ipv6(self) -> list[str]:
        """Return the services in the catalogue of the daemon without IPv4."""
        host = self.ipv6_rack.host
        return sorted(
            f"{name} {entry['ServiceAddress']}:{entry['ServicePort']}"
            for name in host.http("/v1/catalog/services", port=8580).json()
            for entry in host.http(f"/v1/catalog/service/{name}", port=8580).json()
        )

    def wait_for(self, *registered: Stack, seconds: float) -> None:
        """Wait until both daemons have registered exactly these devices."""
        over_ipv6 = [stack for stack in registered if stack in (*_GLOBAL_IPV6, _LINK_LOCAL_IPV6)]
        self.wait_until_equal(self.rack.endpoints, self.expected(*registered), seconds)
        self.wait_until_equal(self.over_ipv6, self.expected_over_ipv6(*over_ipv6), seconds)

    def wait_until_equal(self, found: Callable[[], list[str]], expected: list[str], seconds: float) -> None:
        """Wait until a function returns a list."""
        try:
            wait_until(lambda: found() == expected, seconds, 0.2)
        except AssertionError:
            self.assertEqual(found(), expected)

    def remaining(self, stack: Stack) -> float:
        """Return the seconds until the service of a device expires, from the status page of the first daemon."""
        host = self.hosts[stack]
        page = self.rack.host.http("/", port=8580).body.decode()
        address = re.escape(f"{host.address or f'[{host.ipv6}]'}:{self.ports[stack]}")
        match = re.search(rf"{address}</a>.*?data-remaining=\"([\d.]+)\"", page, re.DOTALL)
        assert match is not None, stack.name
        return float(match[1])

    def test_life(self) -> None:
        """
        Each device is registered once at its address, is followed to another port, and is removed when it leaves.

        The steps are one test, because each of them is a wait of some seconds for all devices.
        """
        self.start(50000)
        self.wait_for(*STACKS, seconds=30)
        before = self.rack.services().keys()

        for program in self.programs.values():
            program.process.terminate()
        # The longest is a host that sends its byebyes slowly. The byebye of each device counts after 2 s.
        self.wait_for(*(stack for stack in STACKS if not stack.byebye), seconds=10)

        self.start(50100)
        self.wait_for(*STACKS, seconds=30)
        self.assertEqual(self.rack.services().keys(), before)

        for program in self.programs.values():
            program.kill()
        self.start(50200)
        self.wait_for(*STACKS, seconds=30)
        self.assertEqual(self.rack.services().keys(), before)

        for program in self.programs.values():
            program.kill()
        long = [stack for stack in STACKS if stack.max_age > _SHORT]
        for stack in long:
            # Nothing has prolonged the service since the device was killed a moment ago.
            self.assertLessEqual(self.remaining(stack), stack.max_age + min(60.0, stack.max_age / 10), stack.name)
            self.assertGreater(self.remaining(stack), stack.max_age * 0.8, stack.name)
        self.wait_for(*long, seconds=_SHORT * 1.1 + 5)
        for rack in (self.rack, self.ipv6_rack):
            assert rack.daemon is not None
            self.assertNotRegex(rack.daemon.output, r"#(warn|error|critical)")
