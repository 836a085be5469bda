"""Tests for :mod:`ssdpreg.ssdp.interfaces`."""

from __future__ import annotations

import errno
import socket

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
