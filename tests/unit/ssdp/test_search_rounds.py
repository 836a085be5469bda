"""Tests for :mod:`ssdpreg.ssdp.search_rounds` and :mod:`ssdpreg.ssdp.sockets`, as used by a network in memory."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import LogLevel, capturedLogs

from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.interfaces import InterfaceAddress, NetworkInterface
from ssdpreg.ssdp.messages import GROUP, PORT, Alive, Message, SearchRequest, Update
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.ssdp.sockets import UDPSockets
from tests.unit.ssdp.test_network import BYEBYE, ETH0, ETH1, NET2, RESPONSE, SEARCH, NetworkTestCase

ALIVE = Alive("a", "uuid:d::a", "http://10.0.0.9/", 1800, "s")
UPDATE = Update("a", "uuid:d::a")
HERE, THERE = "10.0.0.2", "10.1.0.2"


class SearchTests(NetworkTestCase):
    """Tests for searches that are sent to the group."""

    def test_none_before(self) -> None:
        """No socket for searches is open before the first search."""
        self.network()
        self.assertEqual(self.ports_of(HERE) + self.ports_of(THERE), [])

    def test_sent(self) -> None:
        """A search is sent to the group once on each interface."""
        self.network().search(SEARCH)
        for address in (HERE, THERE):
            self.assertEqual(self.port_of(address).written, [(encode(SEARCH), (GROUP, PORT))])

    def test_one_socket_for_a_round(self) -> None:
        """The searches of 2 s are sent from one socket, and the next one is sent from another."""
        network = self.network("eth0")
        for _ in range(4):
            network.search(SEARCH)
            self.reactor.advance(0.499)
        port = self.port_of(HERE)
        self.assertEqual(len(port.written), 4)
        self.reactor.advance(0.004)
        network.search(SEARCH)
        [same, other] = self.ports_of(HERE)
        self.assertIs(same, port)
        self.assertEqual((len(port.written), len(other.written)), (4, 1))
        self.assertNotEqual(port.number, other.number)

    def test_closed(self) -> None:
        """The socket is closed 0.5 s after MX has passed since the last search, and at the earliest after 1 s."""
        for requests, seconds in (
            ([SearchRequest("a", 3)], 3.5),
            ([SearchRequest("a", 5), SearchRequest("a", 1)], 5.5),
            ([SearchRequest("a", 1), SearchRequest("a", 2)], 2.5),
            ([SearchRequest("a", 120)], 5.5),
            ([SearchRequest("a", 0)], 1.0),
            ([SearchRequest("a", None)], 1.0),
        ):
            network = self.network("eth0")
            for request in requests:
                network.search(request)
            self.reactor.advance(seconds - 0.01)
            self.assertEqual(len(self.ports_of(HERE)), 1)
            self.reactor.advance(0.02)
            self.reactor.advance(0)
            self.assertEqual(self.ports_of(HERE), [])
            network.close()
            self.reactor.advance(0)

    def test_search_while_closing(self) -> None:
        """A search at the moment at which the socket is closed is sent from another one."""
        network = self.network("eth0")
        network.search(SearchRequest("a", None))
        closing = self.port_of(HERE)
        # It runs after the call that closes the socket, and before the reactor has closed it.
        self.reactor.callLater(1, network.search, SEARCH)
        self.reactor.advance(1)
        self.assertIsNot(self.port_of(HERE), closing)
        self.assertEqual(self.port_of(HERE).written, [(encode(SEARCH), (GROUP, PORT))])

    def test_kept_open_by_the_last_search(self) -> None:
        """The time of replies begins with the last search that was sent from the socket."""
        network = self.network("eth0")
        network.search(SearchRequest("a", 1))
        self.reactor.advance(1)
        network.search(SearchRequest("a", 1))
        self.reactor.advance(1.4)
        self.assertEqual(len(self.ports_of(HERE)), 1)
        self.reactor.advance(0.2)
        self.reactor.advance(0)
        self.assertEqual(self.ports_of(HERE), [])

    def test_replies(self) -> None:
        """Replies, and announcements in place of them, are delivered with their circumstances."""
        self.network().search(SEARCH)
        self.receive(self.port_of(HERE), RESPONSE)
        self.receive(self.port_of(THERE), ALIVE, "10.2.0.9")
        self.assertEqual(
            self.delivered,
            [
                (RESPONSE, Reception("10.0.0.9", "eth0", Channel.SEARCH)),
                (ALIVE, Reception("10.2.0.9", "eth1", Channel.SEARCH)),
            ],
        )
        self.assertEqual(self.dropped, [])

    def test_unsolicited(self) -> None:
        """Messages that are no replies are dropped."""
        self.network("eth0").search(SEARCH)
        for message in (BYEBYE, UPDATE, SEARCH):
            self.receive(self.port_of(HERE), message)
        self.assertEqual(self.delivered, [])
        self.assertEqual(self.dropped, [("unsolicited", Reception("10.0.0.9", "eth0", Channel.SEARCH))] * 3)

    def test_other_network(self) -> None:
        """A reply of a host on another network is dropped, also if another interface has that network."""
        self.network().search(SEARCH)
        for message in (RESPONSE, ALIVE):
            self.receive(self.port_of(HERE), message, "10.1.0.9")
        off_link = Reception("10.1.0.9", "eth0", Channel.SEARCH, on_link=False)
        self.assertEqual((self.delivered, self.dropped), ([], [("off-link reply", off_link)] * 2))

    def test_named_network(self) -> None:
        """A reply of a host on a network that the operator named is delivered."""
        self.network("eth0", allow=[NET2]).search(SEARCH)
        self.receive(self.port_of(HERE), RESPONSE, "10.2.0.9")
        expected = Reception("10.2.0.9", "eth0", Channel.SEARCH, on_link=False, named=True)
        self.assertEqual(self.delivered, [(RESPONSE, expected)])

    def test_new_networks(self) -> None:
        """The next round accepts replies of a network that was added to the interface."""
        network = self.network("eth0")
        self.host_interfaces = [replace(ETH0, networks=(*ETH0.networks, NET2))]
        network.refresh()
        network.search(SEARCH)
        self.receive(self.port_of(HERE), RESPONSE, "10.2.0.9")
        self.assertEqual(len(self.delivered), 1)

    def test_failed_socket(self) -> None:
        """When the socket of a round was closed by an error, the next search opens another, and no other is closed."""
        network = self.network("eth0")
        network.search(SEARCH)
        self.port_of(HERE).die()
        network.search(SEARCH)
        self.assertEqual(len(self.port_of(HERE).written), 1)
        self.assertEqual(network.interfaces, (("eth0", HERE),))
        self.reactor.advance(10)
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.ports), 1)

    def test_removed_interface(self) -> None:
        """The sockets of a removed interface are closed at once."""
        network = self.network()
        network.search(SEARCH)
        self.host_interfaces = [ETH1]
        network.refresh()
        self.reactor.advance(0)
        self.assertEqual(self.ports_of(HERE), [])
        self.assertEqual(len(self.ports_of(THERE)), 1)

    def test_cannot_open(self) -> None:
        """A failure to open a socket is logged once, and so is the recovery. Other interfaces are not affected."""
        network = self.network()
        self.reactor.refused_addresses.add(HERE)
        with capturedLogs() as events:
            network.search(SEARCH)
            network.search(SEARCH)
            self.assertEqual(len(self.port_of(THERE).written), 2)
            self.reactor.refused_addresses.clear()
            network.search(SEARCH)
            network.search(SEARCH)
        self.assertEqual(
            [(event["log_level"], event["interface"]) for event in events],
            [(LogLevel.warn, "eth0"), (LogLevel.info, "eth0")],
        )
        self.assertEqual(len(self.port_of(HERE).written), 2)

    def test_cannot_configure(self) -> None:
        """A socket whose options cannot be set is closed, and closing the network waits for it."""
        network = self.network("eth0")
        refused = OSError(errno.ENODEV, "refused by the test")
        self.reactor.refused_options[socket.IPPROTO_IP, socket.IP_MULTICAST_IF] = refused
        network.search(SEARCH)
        self.assertEqual(len(self.ports_of(HERE)), 1)
        closed = network.close()
        self.assertNoResult(closed)
        self.reactor.advance(0)
        self.successResultOf(closed)
        self.assertEqual(self.reactor.ports, [])

    def test_send_error_is_logged_once(self) -> None:
        """A failure to send is logged once for an interface, although each round has another socket."""
        network = self.network("eth0")
        with capturedLogs() as events:
            for _ in range(3):
                network.search(SearchRequest("a", 1))
                self.port_of(HERE).failure = OSError(errno.ENETUNREACH, "unreachable")
                network.search(SearchRequest("a", 1))
                self.reactor.advance(3)
                self.reactor.advance(0)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual([event["interface"] for event in warnings], ["eth0"] * 3)
        self.assertEqual(len([event for event in events if event["log_level"] is LogLevel.info]), 2)


class HostTests(NetworkTestCase):
    """Tests for searches that are sent to single hosts."""

    def test_sent(self) -> None:
        """Each host is searched once, with its address in HOST and without MX, from the interface on its network."""
        self.network().search_hosts("urn:a", ["10.0.0.9", "10.2.0.9", "10.0.0.8", "10.0.0.9"])
        request = SearchRequest("urn:a", None)
        self.assertEqual(
            [port.written for port in self.ports_of(HERE)],
            [[(encode(request, (host, PORT)), (host, PORT))] for host in ("10.0.0.9", "10.0.0.8")],
        )
        self.assertEqual(self.port_of(THERE).written, [(encode(request, ("10.2.0.9", PORT)), ("10.2.0.9", PORT))])

    def test_no_host_learns_the_port_of_another(self) -> None:
        """The port of a host accepts no reply of another one that was searched with it: its address may be forged."""
        self.network("eth0").search_hosts("a", ["10.0.0.8", "10.0.0.9"])
        first, second = self.ports_of(HERE)
        self.receive(first, RESPONSE, "10.0.0.9")
        self.receive(second, RESPONSE, "10.0.0.8")
        self.assertEqual((self.delivered, len(self.dropped)), ([], 2))

    def test_other_network(self) -> None:
        """Hosts on the network of no interface, names and IPv6 addresses are not searched."""
        self.network("eth0", allow=[NET2]).search_hosts("a", ["10.1.0.9", "10.2.0.9", "bmc-1", "fe80::1", ""])
        self.assertEqual((self.ports_of(HERE), self.reactor.written), ([], []))

    def test_two_interfaces(self) -> None:
        """A host that is on the networks of two interfaces is searched on both: they may be two hosts."""
        self.host_interfaces = [ETH0, replace(ETH1, networks=(NET2, *ETH0.networks))]
        self.network().search_hosts("a", ["10.0.0.9"])
        self.assertEqual((len(self.ports_of(HERE)), len(self.ports_of(THERE))), (1, 1))

    def test_cannot_open(self) -> None:
        """A failure to open a socket is logged once, together with those of searches to the group."""
        network = self.network("eth0")
        self.reactor.refused_addresses.add(HERE)
        with capturedLogs() as events:
            network.search_hosts("a", ["10.0.0.9"])
            network.search(SEARCH)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn])

    def test_replies(self) -> None:
        """Replies, and announcements in place of them, of a host that was searched are delivered."""
        self.network("eth0").search_hosts("a", ["10.0.0.9"])
        for message in (RESPONSE, ALIVE):
            self.receive(self.port_of(HERE), message)
        reception = Reception("10.0.0.9", "eth0", Channel.HOST)
        self.assertEqual((self.delivered, self.dropped), ([(RESPONSE, reception), (ALIVE, reception)], []))

    def test_search_port(self) -> None:
        """A host that names a port is searched at that port and at 1900, because the number may be forged."""
        self.network("eth0").search_hosts("a", ["10.0.0.9:50000"])
        self.assertEqual([peer for _, peer in self.port_of(HERE).written], [("10.0.0.9", 50000), ("10.0.0.9", 1900)])
        self.receive(self.port_of(HERE), RESPONSE)
        self.assertEqual(self.delivered, [(RESPONSE, Reception("10.0.0.9", "eth0", Channel.HOST))])

    def test_other_hosts(self) -> None:
        """Replies of a host that was not searched from this socket, and other messages, are dropped."""
        network = self.network("eth0")
        network.search_hosts("a", ["10.0.0.8"])
        self.reactor.advance(1.1)
        network.search_hosts("a", ["10.0.0.9"])
        first, second = self.ports_of(HERE)
        self.receive(first, RESPONSE, "10.0.0.9")
        self.receive(second, RESPONSE, "10.0.0.8")
        for message in (BYEBYE, UPDATE, SEARCH):
            self.receive(second, message, "10.0.0.9")
        self.assertEqual(self.delivered, [])
        self.assertEqual([kind for kind, _ in self.dropped], ["unsolicited"] * 5)

    def test_separate_from_group(self) -> None:
        """A search to the group and one to a host are sent from different sockets, whose replies are distinguished."""
        network = self.network("eth0")
        network.search(SEARCH)
        network.search_hosts("a", ["10.0.0.9"])
        for port in self.ports_of(HERE):
            self.receive(port, RESPONSE)
        self.assertEqual([reception.channel for _, reception in self.delivered], [Channel.SEARCH, Channel.HOST])

    def test_one_socket_for_three_seconds(self) -> None:
        """The searches of a host share a socket for 3 s, which is closed 3 s after the last."""
        network = self.network("eth0")
        network.search_hosts("a", ["10.0.0.9"])
        self.reactor.advance(2.9)
        network.search_hosts("b", ["10.0.0.9"])
        self.assertEqual(len(self.port_of(HERE).written), 2)
        self.reactor.advance(0.2)
        network.search_hosts("c", ["10.0.0.9"])
        self.assertEqual([len(port.written) for port in self.ports_of(HERE)], [2, 1])
        self.reactor.advance(2.9)
        self.reactor.advance(0)
        self.assertEqual(len(self.ports_of(HERE)), 1)
        self.reactor.advance(0.2)
        self.reactor.advance(0)
        self.assertEqual(self.ports_of(HERE), [])


class RepeatedReplyTests(NetworkTestCase):
    """Tests for replies that are received again unchanged."""

    def deliver(self, message: Message, reception: Reception, peer: PeerAddress) -> Any:
        """Deliver a message, and let its repetition be processed without parsing."""
        super().deliver(message, reception, peer)
        return lambda: True

    def test_group(self) -> None:
        """A repeated reply to a search of the group is not parsed again."""
        network = self.network("eth0")
        network.search(SEARCH)
        for _ in range(2):
            self.receive(self.port_of(HERE), RESPONSE)
        self.assertEqual(len(self.delivered), 1)
        self.assertGreater(network.memo_bytes, 0)

    def test_host(self) -> None:
        """Each reply to a search of a single host is parsed."""
        network = self.network("eth0")
        network.search_hosts("a", ["10.0.0.9"])
        for _ in range(2):
            self.receive(self.port_of(HERE), RESPONSE)
        self.assertEqual((len(self.delivered), network.memo_bytes), (2, 0))


class WaitingTests(NetworkTestCase):
    """Tests for searches of single hosts that wait for a socket."""

    def searched(self, address: str = HERE) -> list[str]:
        """Return the hosts that were searched from the open sockets of an address."""
        return [host for port in self.ports_of(address) for _, (host, _) in port.written]

    def close_ports(self) -> None:
        """Let the time of replies pass by."""
        self.reactor.advance(3)
        self.reactor.advance(0)

    def test_limit(self) -> None:
        """128 hosts of an interface are searched at once. The next ones wait until ports are closed."""
        network = self.network("eth0")
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(100)])
        self.reactor.advance(1.5)
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(100, 200)])
        self.assertEqual(len(self.ports_of(HERE)), 128)
        self.reactor.advance(1.5)
        self.reactor.advance(0)
        self.assertEqual(len(self.ports_of(HERE)), 100)
        self.assertEqual(set(self.searched()), {f"10.0.0.{n}" for n in range(100, 200)})
        self.assertEqual(network.rejected_searches, 0)

    def test_too_late(self) -> None:
        """A search that waited for more than 2 s is not sent, and is counted."""
        network = self.network("eth0")
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(130)])
        self.close_ports()
        self.assertEqual((self.searched(), network.rejected_searches), ([], 2))

    def test_longest_wait(self) -> None:
        """A search that waited for nearly 2 s is sent. One that waited for 2 s is not."""
        for seconds, rejected in ((1.1, 0), (1.0, 1)):
            network = self.network("eth0")
            network.search_hosts("a", [f"10.0.0.{n}" for n in range(128)])
            self.reactor.advance(seconds)
            network.search_hosts("a", ["10.0.0.200"])
            self.reactor.advance(3.0 - seconds)
            self.reactor.advance(0)
            self.assertEqual(network.rejected_searches, rejected)
            self.assertEqual(self.searched(), ["10.0.0.200"] * (1 - rejected))
            network.close()
            self.reactor.advance(0)

    def test_known_host(self) -> None:
        """A host whose socket is open is searched from it, however many others wait."""
        network = self.network("eth0")
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(140)])
        network.search_hosts("b", ["10.0.0.7"])
        self.assertEqual(self.searched().count("10.0.0.7"), 2)

    def test_limit_of_waiting_searches(self) -> None:
        """At most 256 searches wait. Those that are dropped are counted, and are not always the latest or the first."""
        network = self.network("eth0")
        network.search_hosts("a", [f"10.0.0.{n % 250}" for n in range(128)])
        self.reactor.advance(1.5)
        for target in "bcd":
            network.search_hosts(target, [f"10.0.0.{n}" for n in range(128, 250)])
        self.assertEqual(network.rejected_searches, 3 * 122 - 256)
        self.reactor.advance(1.5)
        self.reactor.advance(0)
        counts = [
            sum(b"ST: " + target in data for port in self.ports_of(HERE) for data, _ in port.written)
            for target in (b"b", b"c", b"d")
        ]
        self.assertEqual(sum(counts), 256)
        self.assertTrue(all(0 < count < 122 for count in counts), counts)

    def test_limit_of_all_interfaces(self) -> None:
        """256 sockets of all interfaces search single hosts at most: descriptors are left for searches of the group."""
        self.host_interfaces = [
            NetworkInterface(f"v{n}", n, (f"10.9.{n}.2",), networks=(IPv4Network(f"10.9.{n}.0/24"),))
            for n in range(1, 5)
        ]
        network = self.network()
        network.search_hosts("a", [f"10.9.{n}.{m}" for n in range(1, 5) for m in range(10, 110)])
        self.assertEqual(len(self.reactor.ports), 4 + 256)

    def test_port_range(self) -> None:
        """Of a range, 5 ports are left to searches of the group."""
        network = self.network("eth0", ports=(40000, 40007))
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(50)])
        self.assertEqual(len(self.ports_of(HERE)), 3)

    def test_close(self) -> None:
        """No socket is opened for a waiting search when the network is closed."""
        network = self.network("eth0")
        network.search_hosts("a", [f"10.0.0.{n}" for n in range(140)])
        network.close()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.ports, [])


class LimitTests(NetworkTestCase):
    """Tests for the number of sockets and their ports."""

    def test_most_sockets(self) -> None:
        """However searches are spaced, an interface has a limited number of sockets, and each is open for 7.5 s."""
        most = 0
        for spacing in (0.05, 0.3, 0.5, 0.999, 1.0, 1.001, 1.999, 2.0, 2.001, 2.5):
            network = self.network("eth0")
            opened: dict[int, float] = {}
            for _ in range(int(30 / spacing)):
                network.search(SearchRequest("a", 5))
                network.search_hosts("a", ["10.0.0.9"])
                self.reactor.advance(spacing)
                self.reactor.advance(0)
                ports = self.ports_of(HERE)
                most = max(most, len(ports))
                for port in ports:
                    began = opened.setdefault(port.number, self.reactor.seconds() - spacing)
                    self.assertLessEqual(self.reactor.seconds() - began, 7.5 + spacing)
            network.close()
            self.reactor.advance(0)
        self.assertLessEqual(most, 5 + 2)

    def test_most_sockets_of_all_interfaces(self) -> None:
        """With many interfaces, 512 sockets are open at most, and the log has one line for each other interface."""
        self.host_interfaces = [NetworkInterface(f"vlan{n}", n, (f"10.9.{n}.2",)) for n in range(1, 251)]
        network = self.network()
        with capturedLogs() as events:
            for expected in (500, 512, 512):
                for _ in range(3):
                    network.search(SearchRequest("a", 5))
                self.assertEqual(len(self.reactor.ports), expected)
                self.reactor.advance(2)
        self.assertEqual(len(events), len({event["interface"] for event in events}))
        self.assertIn("512 sockets are open", str(events[0]["error"]))
        self.reactor.advance(10)
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.ports), 250)
        network.search(SEARCH)
        self.assertEqual(len(self.reactor.ports), 500)

    def test_closing_sockets_count(self) -> None:
        """A socket counts until it is closed, because its descriptor is in use until then."""
        sockets = UDPSockets(self.reactor, 2, limit=3)
        interface = InterfaceAddress("eth0", 2, HERE)
        first, _ = (sockets.open_search(interface, DatagramProtocol()) for _ in range(2))
        sockets.close(first)
        sockets.open_search(interface, DatagramProtocol())
        error = self.assertRaises(OSError, sockets.open_search, interface, DatagramProtocol())
        self.assertEqual((error.errno, error.strerror), (errno.EMFILE, "3 sockets are open"))
        self.reactor.advance(0)
        sockets.open_search(interface, DatagramProtocol())

    def test_longest_datagram(self) -> None:
        """Each socket receives the longest datagram of UDP over IPv4."""
        sizes: list[int] = []
        listen = self.reactor.listenMulticast

        def record(port: int, protocol: DatagramProtocol, interface: str, size: int, **options: bool) -> object:
            sizes.append(size)
            return listen(port, protocol, interface, size, **options)

        self.patch(self.reactor, "listenMulticast", record)
        self.network("eth0", announcing=True).search(SEARCH)
        self.assertEqual(sizes, [65_507] * 3)

    def test_any_random_port(self) -> None:
        """The port that is tried first is random, also without a source of random numbers."""
        sockets = UDPSockets(self.reactor, 2, (40000, 65000))
        interface = InterfaceAddress("eth0", 2, HERE)
        ports = {sockets.open_search(interface, DatagramProtocol()).address[1] for _ in range(5)}
        self.assertNotEqual(ports, set(range(min(ports), min(ports) + 5)))

    def test_port_range(self) -> None:
        """Each socket is bound to a free port of the range, beginning with a random one."""
        network = self.network("eth0", ports=(40000, 40003))
        self.reactor.used_ports = {40001, 40002}
        firsts = set()
        for _ in range(20):
            network.search(SearchRequest("a", 1))
            network.search_hosts("a", ["10.0.0.9"])
            first, second = (port.number for port in self.ports_of(HERE))
            firsts.add(first)
            self.assertEqual({first, second}, {40000, 40003})
            self.reactor.advance(5)
            self.reactor.advance(0)
        self.assertEqual(firsts, {40000, 40003})

    def test_no_free_port(self) -> None:
        """If no port of the range is free, one warning has the range, and the search is not sent."""
        network = self.network("eth0", ports=(40000, 40001))
        self.reactor.used_ports = {40000, 40001}
        with capturedLogs() as events:
            network.search(SEARCH)
            network.search(SEARCH)
        [warning] = events
        self.assertEqual((warning["log_level"], warning["interface"]), (LogLevel.warn, "eth0"))
        self.assertIn("no port from 40000 to 40001 is free", str(warning["error"]))
        self.assertEqual(self.reactor.written, [])

    def test_other_errors_end_the_attempts(self) -> None:
        """The other ports of the range are not tried if the address cannot be bound to."""
        network = self.network("eth0", ports=(1, 65535))
        self.reactor.refused_addresses.add(HERE)
        with capturedLogs() as events:
            network.search(SEARCH)
        self.assertIn("refused by the test", str(events[0]["error"]))
