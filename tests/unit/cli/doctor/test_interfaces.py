"""Tests for :mod:`ssdpreg.cli.doctor.interfaces`, :mod:`~.routing` and :mod:`~.bridges`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from typing import ClassVar

from ssdpreg.cli.doctor.bridges import Bridge, check_bridges, check_container
from ssdpreg.cli.doctor.findings import Finding
from ssdpreg.cli.doctor.interfaces import check_interfaces
from ssdpreg.cli.doctor.routing import check_reverse_path, effective_filter
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.links import LinkState
from tests.unit.cli.doctor.case import CheckTestCase

LO = NetworkInterface("lo", 1, ("127.0.0.1",), loopback=True, multicast=False)
ETH0 = NetworkInterface("eth0", 2, ("10.0.0.2",))
DOWN = NetworkInterface("eth1", 3, ("10.1.0.2",), up=False)
BARE = NetworkInterface("eth2", 4, ())
QUIET = NetworkInterface("eth3", 5, ("10.3.0.2",), multicast=False)


def check(
    *interfaces: NetworkInterface,
    selectors: Sequence[str] = (),
    links: Mapping[int, LinkState] | None = None,
    broadcast: Collection[str] = ("eth0", "eth1", "eth2", "eth3"),
) -> list[Finding]:
    """Check some interfaces."""
    return check_interfaces([LO, *interfaces], links or {}, selectors, broadcast)


class InterfaceTests(CheckTestCase):
    """Tests for :func:`check_interfaces`."""

    def test_loopback_down(self) -> None:
        """Without loopback, neither Consul's agent nor the daemon is reached."""
        findings = check_interfaces([replace(LO, up=False), ETH0], {}, (), ())
        self.assert_results(findings, ("lo", "fault"), ("eth0", "ok"))

    def test_usable(self) -> None:
        """An interface that can be used is right, and loopback is not mentioned."""
        self.assert_results(check(ETH0), ("eth0", "ok"))

    def test_selected(self) -> None:
        """A configured interface must be present, up, and have multicast, a carrier and an IPv4 address."""
        names = ["eth0", "eth1", "eth2", "eth3", "eth4", "10.0.0.0/8", "192.168.0.0/16"]
        findings = check(ETH0, DOWN, BARE, QUIET, selectors=names)
        self.assert_results(
            findings,
            ("eth0", "ok"),
            ("eth3", "fault"),
            ("eth1", "fault"),
            ("eth2", "fault"),
            ("eth4", "fault"),
            ("192.168.0.0/16", "fault"),
        )
        advice = [each.advice for each in findings[1:]]
        self.assertEqual(advice[0], "Run: ip link set dev eth3 multicast on")
        self.assertEqual(advice[1], "Run: ip link set dev eth1 up")
        self.assertIn("ip address add", advice[2])
        self.assertIn("eth0, eth1, eth2, eth3, lo", advice[3])

    def test_carrier(self) -> None:
        """An interface that is up without a carrier is a fault. One whose state is unknown is not."""
        self.assert_one(check(ETH0, links={2: LinkState(2, running=False)}), "fault", "carrier", "cable")
        self.assert_results(check(ETH0, links={2: LinkState(2)}), ("eth0", "ok"))

    def test_loopback(self) -> None:
        """A configured loopback interface is right, although its flags have no multicast."""
        self.assert_results(check(ETH0, selectors=["lo"], links={1: LinkState(1, running=False)}), ("lo", "ok"))

    def test_unused(self) -> None:
        """Without configuration, an interface that is down is mentioned, and one without multicast is a warning."""
        self.assert_results(check(ETH0, DOWN, BARE, QUIET), ("eth0", "ok"), ("eth1", "skipped"), ("eth3", "warning"))

    def test_tunnel(self) -> None:
        """A tunnel has no multicast on purpose."""
        self.assert_results(check(ETH0, QUIET, broadcast=["eth0"]), ("eth0", "ok"))

    def test_ipv6(self) -> None:
        """One finding has the addresses of both IP versions. An interface without IPv4 is reported if it is needed."""
        both = NetworkInterface("eth0", 2, ("10.0.0.2",), ipv6_addresses=("fe80::2",))
        only = NetworkInterface("eth1", 3, (), ipv6_addresses=("fe80::3",))
        self.assert_one(check(both), "ok", "the addresses 10.0.0.2 and fe80::2")
        self.assert_results(check(both, only), ("eth0", "ok"), ("eth1", "ok"))
        self.assert_one(check(only), "warning", "without an IPv4 address")
        self.assert_results(check(both, only, selectors=["eth0", "eth1"]), ("eth0", "ok"), ("eth1", "warning"))

    def test_port_of_bridge(self) -> None:
        """A port of a bridge has a link-local address, and is not mentioned."""
        port = NetworkInterface("eth1", 3, (), ipv6_addresses=("fe80::3",), is_port=True)
        self.assert_results(check(ETH0, port), ("eth0", "ok"))

    def test_no_network(self) -> None:
        """If only loopback can be used, the fault has the reason for each other interface."""
        *_, last = check(DOWN, BARE, QUIET)
        self.assertEqual(last.result, "fault")
        self.assertIn("eth1 is down; eth2 is without an IPv4 address; eth3 is without multicast", last.finding)
        *_, last = check()
        self.assertIn("there is no other", last.finding)


class ReversePathTests(CheckTestCase):
    """Tests for :func:`check_reverse_path`."""

    NETWORKS: ClassVar = {"eth0": [IPv4Network("10.0.0.0/24")], "eth1": [IPv4Network("10.1.0.0/24")]}

    def test_effective(self) -> None:
        """The larger setting counts, and a missing one is 0."""
        self.assertEqual([effective_filter(0, 1), effective_filter(2, 1), effective_filter(None, None)], [1, 2, 0])

    def test_right(self) -> None:
        """Strict filtering is right if each network has one interface."""
        findings = check_reverse_path(self.NETWORKS, {"eth0": 1, "eth1": 0}, [IPv4Network("10.0.0.0/25")])
        self.assert_results(findings, ("eth0", "ok"), ("eth1", "ok"))

    def test_shared_network(self) -> None:
        """Strict filtering drops datagrams if two interfaces are on one network."""
        networks = {**self.NETWORKS, "eth1": [IPv4Network("10.0.0.128/25")]}
        findings = check_reverse_path(networks, {"eth0": 1, "eth1": 2}, [])
        self.assert_results(findings, ("eth0", "warning"), ("eth1", "ok"))
        self.assertIn("net.ipv4.conf.eth0.rp_filter=2", findings[0].advice)

    def test_named_network(self) -> None:
        """Strict filtering may drop datagrams from a network behind a router."""
        findings = check_reverse_path({"eth0": self.NETWORKS["eth0"]}, {"eth0": 1}, [IPv4Network("10.9.0.0/16")])
        self.assert_one(findings, "warning", "10.9.0.0/16")


class BridgeTests(CheckTestCase):
    """Tests for :func:`check_bridges`."""

    def check(self, snooping: bool, querier: bool, queriers: Mapping[str, str] | None = None) -> list[Finding]:
        """Check a bridge besides an interface that is none."""
        return check_bridges(["eth0", "br0"], False, {"br0": Bridge(snooping, querier)}, queriers or {})

    def test_snooping(self) -> None:
        """A bridge with IGMP snooping needs a querier: its own, or one that was seen."""
        self.assert_one(self.check(True, False), "warning", "ip link set dev br0 type bridge mcast_querier 1")
        self.assert_one(self.check(True, True), "ok")
        self.assert_one(self.check(False, False), "ok")
        self.assert_one(self.check(True, False, {"br0": "10.0.0.1"}), "ok")

    def test_internal(self) -> None:
        """A bridge for containers or virtual machines is reported unless it is configured."""
        for name in ("docker0", "br-0123456789ab", "virbr0", "cni0", "podman1"):
            bridges = {name: Bridge(False, False)}
            self.assert_one(check_bridges(["eth0", name], False, bridges, {}), "warning", '"interfaces": ["eth0"]')
            self.assert_one(check_bridges([name], False, bridges, {}), "warning", '"interfaces": [NAME]')
            self.assert_one(check_bridges([name], True, bridges, {}), "ok")
        self.assert_one(check_bridges(["br-rack"], False, {"br-rack": Bridge(False, False)}, {}), "ok")


class ContainerTests(CheckTestCase):
    """Tests for :func:`check_container`."""

    def test_container(self) -> None:
        """A container without the network of its host is reported, unless it receives replies."""
        self.assertEqual(check_container("", ["eth0"], ["eth0"], []), [])
        self.assert_one(check_container("docker", ["eth0"], ["eth0"], []), "warning", "--network host")
        self.assert_one(check_container("docker", ["eth0"], ["eth0"], ["10.0.0.5"]), "ok")
        self.assert_one(check_container("docker", ["eth0", "veth1"], ["veth1"], []), "ok")
