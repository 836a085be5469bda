"""Tests for :mod:`ssdpreg.ssdp.interfaces`."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import ifaddr
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.interfaces import InterfaceAddress, InterfaceSelection, NetworkInterface, find_interfaces

ETH0 = NetworkInterface("eth0", 2, ("10.0.0.2",))
ETH1 = NetworkInterface("eth1", 3, ("10.1.0.2", "10.2.0.2"))
LO = NetworkInterface("lo", 1, ("127.0.0.1",), loopback=True, multicast=False)
DOWN = NetworkInterface("down", 4, ("10.3.0.2",), up=False)
NO_ADDRESS = NetworkInterface("bare", 5, ())
NO_MULTICAST = NetworkInterface("tunnel", 6, ("10.4.0.2",), multicast=False)


class InterfaceSelectionTests(SynchronousTestCase):
    """Tests for :class:`InterfaceSelection`."""

    def assert_selected(
        self, interfaces: list[NetworkInterface], selectors: list[str], *expected: InterfaceAddress
    ) -> None:
        """Check the interfaces and addresses that are selected."""
        self.assertEqual(InterfaceSelection(selectors).select(interfaces), list(expected))

    def test_all(self) -> None:
        """Without selectors, each interface that supports multicast is selected, with its first address."""
        self.assert_selected(
            [LO, ETH0, ETH1], [], InterfaceAddress("eth0", 2, "10.0.0.2"), InterfaceAddress("eth1", 3, "10.1.0.2")
        )

    def test_unusable(self) -> None:
        """Interfaces that are down, have no address or do not support multicast are not selected."""
        self.assert_selected([DOWN, NO_ADDRESS, NO_MULTICAST], [])
        self.assert_selected([DOWN, NO_ADDRESS], ["down", "bare"])

    def test_loopback_alone(self) -> None:
        """Without selectors, loopback is selected if no other interface can be used."""
        self.assert_selected([LO, DOWN, NO_MULTICAST], [], InterfaceAddress("lo", 1, "127.0.0.1"))

    def test_name(self) -> None:
        """A name selects its interface, even one without multicast."""
        self.assert_selected([ETH0, NO_MULTICAST], ["tunnel"], InterfaceAddress("tunnel", 6, "10.4.0.2"))

    def test_network(self) -> None:
        """A network selects the interfaces with an address in it, with that address."""
        self.assert_selected([ETH0, ETH1], ["10.2.0.0/16"], InterfaceAddress("eth1", 3, "10.2.0.2"))
        # A host address, and a network with host bits.
        self.assert_selected([ETH0, ETH1], ["10.0.0.2"], InterfaceAddress("eth0", 2, "10.0.0.2"))
        self.assert_selected([ETH0, ETH1], ["10.0.0.77/24"], InterfaceAddress("eth0", 2, "10.0.0.2"))

    def test_ipv6_network(self) -> None:
        """An IPv6 network selects no interface: only IPv4 addresses are used."""
        self.assert_selected([ETH0], ["::/0"])

    def test_unmatched(self) -> None:
        """Selectors that match no usable interface are reported."""
        selection = InterfaceSelection(["eth0", "wlan0", "down", "192.168.0.0/16", "10.2.0.0/16"])
        self.assertEqual(selection.unmatched([ETH0, ETH1, DOWN]), ["wlan0", "down", "192.168.0.0/16"])
        self.assertEqual(InterfaceSelection([]).unmatched([]), [])


class IPv6SelectionTests(SynchronousTestCase):
    """Tests for :class:`InterfaceSelection` with IPv6 addresses."""

    def selected(self, interface: NetworkInterface, *selectors: str) -> list[str]:
        """Return the addresses that are selected on an interface, with their zones."""
        return [each.zoned_address for each in InterfaceSelection(selectors).select([interface])]

    def test_both_versions(self) -> None:
        """An interface is used once over each IP version, over IPv6 with its link-local address if it has one."""
        both = replace(ETH0, ipv6_addresses=("2001:db8::2", "fe80::2"))
        self.assertEqual(self.selected(both), ["10.0.0.2", "fe80::2%eth0"])
        self.assertEqual(self.selected(replace(both, addresses=())), ["fe80::2%eth0"])
        self.assertEqual(self.selected(replace(both, ipv6_addresses=("2001:db8::2",))), ["10.0.0.2", "2001:db8::2"])

    def test_network(self) -> None:
        """An IPv6 network selects an interface over both IP versions, and so does an IPv4 network."""
        both = replace(ETH1, ipv6_addresses=("2001:db8::2", "fe80::2"))
        for selector, addresses in (
            ("2001:db8::/32", ["10.1.0.2", "fe80::2%eth1"]),
            ("10.2.0.0/16", ["10.2.0.2", "fe80::2%eth1"]),
            ("eth1", ["10.1.0.2", "fe80::2%eth1"]),
            ("2001:db9::/32", []),
        ):
            self.assertEqual(self.selected(both, selector), addresses)
            unmatched = InterfaceSelection([selector]).unmatched([both])
            self.assertEqual(unmatched, [] if addresses else [selector])

    def test_without_multicast(self) -> None:
        """IPv6 is not used on loopback and on interfaces without multicast."""
        for interface in (replace(LO, ipv6_addresses=("::1",)), replace(NO_MULTICAST, ipv6_addresses=("fe80::2",))):
            self.assertEqual(self.selected(interface, interface.name), list(interface.addresses))

    def test_port_of_a_bridge(self) -> None:
        """A part of another interface that has a link-local address only is not used, unless the operator names it."""
        port = NetworkInterface("veth0", 7, (), ipv6_addresses=("fe80::2",), is_port=True)
        self.assertEqual(self.selected(port), [])
        self.assertEqual(self.selected(port, "veth0"), ["fe80::2%veth0"])
        self.assertEqual(self.selected(replace(port, ipv6_addresses=("fe80::2", "2001:db8::2"))), ["fe80::2%veth0"])
        self.assertEqual(self.selected(replace(port, addresses=("10.0.0.2",))), ["10.0.0.2", "fe80::2%veth0"])


class FindInterfacesTests(SynchronousTestCase):
    """Tests for :func:`find_interfaces`, with the interfaces of this machine."""

    def test_loopback(self) -> None:
        """The loopback interface is found and marked as loopback."""
        [loopback] = [interface for interface in find_interfaces() if "127.0.0.1" in interface.addresses]
        self.assertEqual(loopback.index, socket.if_nametoindex(loopback.name))
        self.assertTrue(loopback.up)
        self.assertTrue(loopback.loopback)

    def fake_kernel(self, flags: dict[str, int], peer: str = "0.0.0.0") -> None:
        """
        Replace the kernel.

        :param flags: Flags by the name of an interface.
        :param peer: Peer of each point-to-point address.
        """

        def ioctl(handle: object, number: int, request: bytes) -> bytes:
            self.assertEqual(len(request), 40)
            name = request[:16].rstrip(b"\0").decode()
            if number == 0x8913:
                return request[:16] + struct.pack("@H22x", flags[name])
            self.assertEqual((number, request[16:18]), (0x8917, struct.pack("@H", socket.AF_INET)))
            self.asked.append(f"{name} {socket.inet_ntoa(request[20:24])}")
            return request[:20] + socket.inet_aton(peer) + bytes(16)

        self.asked: list[str] = []
        self.patch(fcntl, "ioctl", ioctl)
        self.patch(socket, "if_nametoindex", lambda name: list(flags).index(name) + 10)

    def fake_adapters(self, *adapters: tuple[str, str | tuple[str, int, int], int]) -> None:
        """Replace the list of interfaces: the name, an address and the length of its prefix, for each."""
        found = [ifaddr.Adapter(name, name, [ifaddr.IP(ip, length, name)]) for name, ip, length in adapters]
        self.patch(ifaddr, "get_adapters", lambda include_unconfigured: found)

    def test_flags(self) -> None:
        """An interface is up, loopback or multicast if the kernel has set that flag, and no other one counts."""
        all_but = {"none": 0, "all": 0xFFFF, "up": 0xFFFE, "loop": 0xFFF7, "multi": 0xEFFF}
        self.fake_kernel(all_but)
        self.fake_adapters(*((name, f"10.0.{number}.2", 24) for number, name in enumerate(all_but)))
        self.assertEqual(
            [(found.name, found.index, found.up, found.loopback, found.multicast) for found in find_interfaces()],
            [
                ("none", 10, False, False, False),
                ("all", 11, True, True, True),
                ("up", 12, False, True, True),
                ("loop", 13, True, False, True),
                ("multi", 14, True, True, False),
            ],
        )

    def test_addresses(self) -> None:
        """The addresses of a label belong to its interface. IPv6 addresses are listed separately."""
        self.fake_kernel({"eth0": 0x1043})
        self.fake_adapters(("eth0", "10.0.0.2", 24), ("eth0", ("fe80::1", 0, 2), 64), ("eth0:1", "10.1.0.2", 16))
        [eth0] = find_interfaces()
        self.assertEqual(eth0.addresses, ("10.0.0.2", "10.1.0.2"))
        self.assertEqual(eth0.ipv6_addresses, ("fe80::1",))
        networks = IPv4Network("10.0.0.0/24"), IPv4Network("10.1.0.0/16"), IPv6Network("fe80::/64")
        self.assertEqual(eth0.networks, networks)

    def test_point_to_point(self) -> None:
        """The network of a point-to-point address is the address and its peer."""
        self.fake_kernel({"ppp0": 0x10D1, "eth0": 0x1043}, "10.8.0.1")
        self.fake_adapters(("ppp0", "10.8.0.2", 32), ("eth0", "10.0.0.2", 31))
        ppp0, eth0 = find_interfaces()
        self.assertEqual(ppp0.networks, (IPv4Network("10.8.0.2/32"), IPv4Network("10.8.0.1/32")))
        self.assertEqual(eth0.networks, (IPv4Network("10.0.0.2/31"),))
        self.assertEqual(self.asked, ["ppp0 10.8.0.2"])

    def test_removed_meanwhile(self) -> None:
        """An interface that is removed after it was listed is left out."""
        self.patch(socket, "if_nametoindex", lambda name: (_ for _ in ()).throw(OSError(errno.ENODEV, name)))
        self.assertEqual(find_interfaces(), [])
