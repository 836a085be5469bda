"""Tests for :mod:`ssdpreg.ssdp.interfaces`."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace

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

    def test_removed_meanwhile(self) -> None:
        """An interface that is removed after it was listed is left out."""
        self.patch(socket, "if_nametoindex", lambda name: (_ for _ in ()).throw(OSError(errno.ENODEV, name)))
        self.assertEqual(find_interfaces(), [])
