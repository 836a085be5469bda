"""Tests for :mod:`ssdpreg.ssdp.reception_check`, as used by a network in memory."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from unittest import mock

from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.links import LinkState
from ssdpreg.ssdp.messages import SearchRequest
from ssdpreg.ssdp.reception_check import ReceptionCheck
from tests.unit.ssdp.test_network import ETH0, ETH1, LO, NetworkTestCase

UP0, UP1, UP_LO = LinkState(ETH0.index), LinkState(ETH1.index), LinkState(LO.index)


class ReceptionCheckTests(NetworkTestCase):
    """Tests for :meth:`Network.check_reception` and :attr:`Network.receiving`."""

    def setUp(self) -> None:
        super().setUp()
        self.links.present = [UP0, UP1, UP_LO]

    def set_interfaces(self, *interfaces: NetworkInterface) -> None:
        """Replace the interfaces of the host, and of the kernel's list."""
        self.host_interfaces = list(interfaces)
        self.links.present = [LinkState(interface.index, interface.up) for interface in interfaces]

    def test_nothing_lost(self) -> None:
        """On interfaces that are up nothing is lost."""
        network = self.network()
        self.assertEqual((network.check_reception(), network.receiving), ({}, {"eth0", "eth1"}))

    def test_unknown(self) -> None:
        """Interfaces with unknown states are regarded as receiving."""
        self.links.present = []
        network = self.network()
        self.assertEqual((network.check_reception(), network.receiving), ({}, {"eth0", "eth1"}))

    def test_carrier(self) -> None:
        """An interface without a carrier is reported in each result, and does not receive."""
        network = self.network()
        self.links.present = [LinkState(ETH0.index, running=False), UP1]
        for _ in range(2):
            self.assertEqual(network.check_reception(), {"eth0": "carrier lost"})
            self.assertEqual(network.receiving, {"eth1"})
        self.links.present = [replace(UP0, carrier_changes=2), UP1]
        self.assertEqual(network.check_reception(), {"eth0": "carrier lost"})
        self.assertEqual(network.check_reception(), {})

    def test_receiving_is_cached(self) -> None:
        """The names of receiving interfaces are read again after 1 s, after a check and after a refresh."""
        network = self.network()
        self.assertEqual(network.receiving, {"eth0", "eth1"})
        self.links.present = [UP0]
        self.reactor.advance(0.75)
        self.assertEqual(network.receiving, {"eth0", "eth1"})
        self.reactor.advance(0.25)
        self.assertEqual(network.receiving, {"eth0"})
        self.links.present = [UP1]
        network.check_reception()
        self.assertEqual(network.receiving, {"eth1"})
        self.links.present = [UP0]
        network.refresh()
        self.assertEqual(network.receiving, {"eth0"})

    def test_one_reading(self) -> None:
        """A check reads the states once, also for the names of the receiving interfaces afterwards."""
        network = self.network()
        read = mock.Mock(wraps=self.links.read)
        self.patch(self.links, "read", read)
        network.check_reception()
        self.assertEqual(network.receiving, {"eth0", "eth1"})
        read.assert_called_once_with()

    def test_receiving_at_once(self) -> None:
        """The names of receiving interfaces are read for the first time when they are requested."""
        check = ReceptionCheck(self.reactor, {}, lambda: self.links)
        self.patch(self.links, "read", mock.Mock(return_value=((), [])))
        self.assertEqual(check.receiving, frozenset())
        self.links.read.assert_called_once_with()  # type: ignore[attr-defined]

    def test_reading_receiving_keeps_losses(self) -> None:
        """A loss that was found while :attr:`receiving` was read is reported by the next check."""
        network = self.network()
        network.check_reception()
        self.links.earlier = [LinkState(ETH0.index, up=False), UP0]
        self.assertEqual(network.receiving, {"eth0", "eth1"})
        self.assertEqual(network.check_reception(), {"eth0": "interface down"})

    def test_overflow(self) -> None:
        """Datagrams that the kernel dropped are reported once, and counted."""
        network = self.network()
        self.group_port(ETH1.index).overflows = 7
        self.assertEqual(network.check_reception(), {"eth1": "receive buffer overflow"})
        self.assertEqual((network.check_reception(), network.overflows), ({}, 7))
        self.group_port(ETH1.index).overflows = 10
        self.assertEqual(network.check_reception(), {"eth1": "receive buffer overflow"})
        self.assertEqual(network.overflows, 10)

    def test_overflow_of_counter(self) -> None:
        """The counter of the kernel has 32 bits."""
        network = self.network("eth0")
        self.group_port(ETH0.index).overflows = 2**32 - 1
        network.check_reception()
        self.group_port(ETH0.index).overflows = 2
        network.check_reception()
        self.assertEqual(network.overflows, 2**32 + 2)

    def test_overflow_in_search(self) -> None:
        """Replies that the kernel dropped are reported, also if their socket was closed before the check."""
        network = self.network("eth0")
        network.search(SearchRequest("a", 1))
        self.port_of("10.0.0.2").overflows = 3
        self.assertEqual(network.check_reception(), {"eth0": "receive buffer overflow"})
        self.port_of("10.0.0.2").overflows = 5
        self.reactor.advance(2)
        self.reactor.advance(0)
        self.assertEqual(self.ports_of("10.0.0.2"), [])
        self.assertEqual(network.check_reception(), {"eth0": "receive buffer overflow"})
        self.assertEqual((network.check_reception(), network.overflows), ({}, 5))

    def test_no_counter(self) -> None:
        """A kernel without the counter reports no overflow."""
        self.reactor.refused_options[socket.SOL_SOCKET, 55] = OSError(errno.ENOPROTOOPT, "refused by the test")
        network = self.network()
        self.assertEqual((network.check_reception(), network.overflows), ({}, 0))

    def test_failed_socket(self) -> None:
        """A socket that was closed by an error is reported until it was reopened."""
        network = self.network()
        self.group_port(ETH0.index).die()
        self.assertEqual((network.check_reception(), network.receiving), ({"eth0": "socket closed"}, {"eth1"}))
        network.refresh()
        self.assertEqual((network.check_reception(), network.receiving), ({"eth0": "socket closed"}, {"eth0", "eth1"}))
        self.assertEqual(network.overflows, 0)
        self.assertEqual(network.check_reception(), {})

    def test_down(self) -> None:
        """An interface that is down is reported until it is used again, and once afterwards."""
        network = self.network()
        self.set_interfaces(replace(ETH0, up=False), ETH1)
        network.refresh()
        for _ in range(2):
            self.reactor.advance(7200)
            self.assertEqual(network.check_reception(), {"eth0": "interface down"})
        self.set_interfaces(ETH0, ETH1)
        network.refresh()
        self.assertEqual(network.check_reception(), {"eth0": "interface down"})
        self.assertEqual((network.check_reception(), network.receiving), ({}, {"eth0", "eth1"}))

    def test_short_down_with_refresh(self) -> None:
        """An interface that was closed and opened again between two checks is reported once."""
        network = self.network()
        self.set_interfaces(replace(ETH0, up=False), ETH1)
        network.refresh()
        self.set_interfaces(ETH0, ETH1)
        network.refresh()
        self.assertEqual(list(network.check_reception()), ["eth0"])
        self.assertEqual(network.check_reception(), {})

    def test_no_address(self) -> None:
        """An interface that lost its address is reported."""
        network = self.network()
        self.set_interfaces(replace(ETH0, addresses=()), ETH1)
        network.refresh()
        self.assertEqual(network.check_reception(), {"eth0": "no address"})

    def test_removed(self) -> None:
        """An interface that was removed is reported for an hour."""
        network = self.network()
        self.set_interfaces(ETH1)
        network.refresh()
        self.assertEqual(network.check_reception(), {"eth0": "interface removed"})
        self.reactor.advance(3599)
        network.refresh()
        self.assertEqual(network.check_reception(), {"eth0": "interface removed"})
        self.reactor.advance(1)
        self.assertEqual(network.check_reception(), {})

    def test_down_and_removed(self) -> None:
        """The hour begins with the removal of the interface, and not when it was disabled."""
        network = self.network()
        self.set_interfaces(replace(ETH0, up=False), ETH1)
        network.refresh()
        self.reactor.advance(3600)
        self.set_interfaces(ETH1)
        network.refresh()
        self.assertEqual(network.check_reception(), {"eth0": "interface removed"})

    def test_cannot_reopen(self) -> None:
        """An interface that cannot be opened again is reported."""
        network = self.network()
        self.group_port(ETH0.index).die()
        self.reactor.used_ports = {1900}
        network.refresh()
        for _ in range(2):
            self.assertEqual(network.check_reception(), {"eth0": "socket closed"})

    def test_loopback_in_place(self) -> None:
        """Loopback is used in place of an interface that is down, and is not regarded as receiving."""
        self.host_interfaces = [ETH0, LO]
        network = self.network()
        self.set_interfaces(replace(ETH0, up=False), LO)
        network.refresh()
        self.assertEqual(network.interfaces, (("lo", "127.0.0.1"),))
        self.assertEqual((network.receiving, network.check_reception()), (frozenset(), {"eth0": "interface down"}))
        self.set_interfaces(ETH0, LO)
        network.refresh()
        network.check_reception()
        self.assertEqual((network.receiving, network.check_reception()), ({"eth0"}, {}))

    def test_loopback_alone(self) -> None:
        """Loopback receives if no other interface was used."""
        self.set_interfaces(LO)
        self.assertEqual(self.network().receiving, {"lo"})

    def test_many_removed(self) -> None:
        """The number of removed interfaces that are reported is limited."""
        network = self.network()
        for number in range(400):
            self.set_interfaces(NetworkInterface(f"veth{number}", 10 + number, ("10.9.0.1",)))
            network.refresh()
        network.check_reception()
        self.assertEqual(len(network.check_reception()), 256)

    def test_close(self) -> None:
        """The source of the states is closed with the network."""
        network = self.network()
        network.check_reception()
        network.close()
        self.assertTrue(self.links.closed)
