"""Tests for :mod:`ssdpreg.ssdp.protocol`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import MessageLengthError
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import HeaderError, MessageError, StartLineError
from ssdpreg.ssdp.messages import GROUP, PORT, ByeBye, Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol
from tests.support.memory_reactor import MemoryMulticastReactor, MemoryPort

PEER = ("10.0.0.1", 1901)
BYEBYE = b"NOTIFY * HTTP/1.1\r\nNT: a\r\nNTS: ssdp:byebye\r\nUSN: uuid:d::a\r\n\r\n"


class SSDPProtocolTests(SynchronousTestCase):
    """Tests for :class:`SSDPProtocol`."""

    def setUp(self) -> None:
        self.delivered: list[tuple[Message, PeerAddress]] = []
        self.dropped: list[tuple[MessageError, PeerAddress]] = []
        self.protocol = SSDPProtocol(self.deliver, lambda error, peer: self.dropped.append((error, peer)))
        self.reactor = MemoryMulticastReactor()
        self.reactor.listenMulticast(0, self.protocol)

    @property
    def port(self) -> MemoryPort:
        return self.reactor.ports[0]

    def deliver(self, message: Message, peer: PeerAddress) -> None:
        self.delivered.append((message, peer))

    def test_delivers(self) -> None:
        """A valid datagram is delivered as a message, with the address of its sender."""
        self.protocol.datagramReceived(BYEBYE, PEER)
        self.assertEqual(self.delivered, [(ByeBye("a", "uuid:d::a"), PEER)])
        self.assertEqual(self.dropped, [])

    def test_drops(self) -> None:
        """An invalid datagram is dropped, with the reason."""
        self.protocol.datagramReceived(b"GET / HTTP/1.1\r\n\r\n", PEER)
        [(error, peer)] = self.dropped
        self.assertIsInstance(error, StartLineError)
        self.assertEqual((self.delivered, peer), ([], PEER))

    def test_drops_without_callback(self) -> None:
        """The callback for dropped datagrams is optional."""
        SSDPProtocol(self.deliver).datagramReceived(b"", PEER)
        self.assertEqual(self.delivered, [])

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"NOTIFY * HTTP/1.1\r\n" + rest))
    def test_anything(self, datagram: bytes) -> None:
        """Any datagram is either delivered or dropped."""
        self.delivered.clear()
        self.dropped.clear()
        self.protocol.datagramReceived(datagram, PEER)
        self.assertEqual(len(self.delivered) + len(self.dropped), 1)

    def test_receiver_fails(self) -> None:
        """An exception of either callback is logged, and the next datagram is processed."""

        def fail(*_: object) -> None:
            raise RuntimeError("a bug")

        protocol = SSDPProtocol(fail, fail)
        for datagram in (BYEBYE, b"no SSDP"):
            protocol.datagramReceived(datagram, PEER)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_send(self) -> None:
        """A message is sent as a datagram to its address."""
        self.protocol.send(ByeBye("a", "uuid:d::a"), PEER)
        [(datagram, address)] = self.port.written
        self.assertEqual(address, PEER)
        self.protocol.datagramReceived(datagram, PEER)
        self.assertEqual(self.delivered, [(ByeBye("a", "uuid:d::a"), PEER)])

    def test_send_unsendable(self) -> None:
        """A message with a line end in a value raises an error and is not sent."""
        self.assertRaises(HeaderError, self.protocol.send, SearchRequest("a\r\nX: b"), PEER)
        self.assertEqual(self.port.written, [])

    def test_send_closed(self) -> None:
        """Sending raises nothing when the socket is closed."""
        self.port.die()
        self.protocol.send(SearchRequest("a"), PEER)

    def test_send_fails(self) -> None:
        """The first failure to send to the group is logged, and so are the recovery and the next failure."""
        search = SearchRequest("a")
        with capturedLogs() as events:
            for failure in (OSError(101, "unreachable"), MessageLengthError(), None, None, OSError(1, "not permitted")):
                self.port.failure = failure
                self.protocol.send(search, (GROUP, PORT))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn, LogLevel.info, LogLevel.warn])
        self.assertEqual(len(self.port.written), 2)

    def test_send_to_peer_fails(self) -> None:
        """A failure to send to a peer is logged at debug level, and does not hide a failure to send to the group."""
        with capturedLogs() as events:
            self.port.failure = OSError(101, "unreachable")
            self.protocol.send(SearchRequest("a"), PEER)
            self.protocol.send(SearchRequest("a"), (GROUP, PORT))
            self.port.failure = None
            self.protocol.send(SearchRequest("a"), PEER)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.debug, LogLevel.warn])
