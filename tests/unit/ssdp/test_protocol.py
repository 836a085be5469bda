"""Tests for :mod:`ssdpreg.ssdp.protocol`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import MessageLengthError
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import HeaderError, MessageError, StartLineError
from ssdpreg.ssdp.messages import GROUP, PORT, ByeBye, Message, SearchRequest
from ssdpreg.ssdp.protocol import Address, SSDPProtocol
from tests.support.memory_reactor import MemoryMulticastReactor, MemoryPort

PEER = ("10.0.0.1", 1901)
BYEBYE = b"NOTIFY * HTTP/1.1\r\nNT: a\r\nNTS: ssdp:byebye\r\nUSN: uuid:d::a\r\n\r\n"


class SSDPProtocolTests(SynchronousTestCase):
    """Tests for :class:`SSDPProtocol`."""

    def setUp(self) -> None:
        self.delivered: list[tuple[Message, Address]] = []
        self.dropped: list[tuple[MessageError, Address]] = []
        self.protocol = SSDPProtocol(self.deliver, lambda error, peer: self.dropped.append((error, peer)))
        self.reactor = MemoryMulticastReactor()
        self.reactor.listenMulticast(0, self.protocol)

    @property
    def port(self) -> MemoryPort:
        return self.reactor.ports[0]

    def deliver(self, message: Message, peer: Address) -> None:
        self.delivered.append((message, peer))

    def test_delivers(self) -> None:
        """A datagram becomes a message, with who sent it."""
        self.protocol.datagramReceived(BYEBYE, PEER)
        self.assertEqual(self.delivered, [(ByeBye("a", "uuid:d::a"), PEER)])
        self.assertEqual(self.dropped, [])

    def test_drops(self) -> None:
        """What is no SSDP is dropped, with the reason."""
        self.protocol.datagramReceived(b"GET / HTTP/1.1\r\n\r\n", PEER)
        [(error, peer)] = self.dropped
        self.assertIsInstance(error, StartLineError)
        self.assertEqual((self.delivered, peer), ([], PEER))

    def test_drops_unheard(self) -> None:
        """Nobody has to be told what is dropped."""
        SSDPProtocol(self.deliver).datagramReceived(b"", PEER)
        self.assertEqual(self.delivered, [])

    @given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"NOTIFY * HTTP/1.1\r\n" + rest))
    def test_anything(self, datagram: bytes) -> None:
        """Whatever arrives is delivered or dropped."""
        self.delivered.clear()
        self.dropped.clear()
        self.protocol.datagramReceived(datagram, PEER)
        self.assertEqual(len(self.delivered) + len(self.dropped), 1)

    def test_receiver_fails(self) -> None:
        """An error of whoever is told, of messages or of drops, is logged, and the next datagram is read."""

        def fail(*_: object) -> None:
            raise RuntimeError("a bug")

        protocol = SSDPProtocol(fail, fail)
        for datagram in (BYEBYE, b"no SSDP"):
            protocol.datagramReceived(datagram, PEER)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_send(self) -> None:
        """A message goes out as a datagram, to whom it is meant for."""
        self.protocol.send(ByeBye("a", "uuid:d::a"), PEER)
        [(datagram, address)] = self.port.written
        self.assertEqual(address, PEER)
        self.protocol.datagramReceived(datagram, PEER)
        self.assertEqual(self.delivered, [(ByeBye("a", "uuid:d::a"), PEER)])

    def test_send_unsendable(self) -> None:
        """A message of ours that would break out of its line is an error, not a datagram."""
        self.assertRaises(HeaderError, self.protocol.send, SearchRequest("a\r\nX: b"), PEER)
        self.assertEqual(self.port.written, [])

    def test_send_closed(self) -> None:
        """Sending is harmless when the socket is closed."""
        self.port.die()
        self.protocol.send(SearchRequest("a"), PEER)

    def test_send_fails(self) -> None:
        """A network that is away is logged once, and again when it is back and goes once more."""
        searched = SearchRequest("a")
        with capturedLogs() as events:
            for failure in (OSError(101, "unreachable"), MessageLengthError(), None, None, OSError(1, "not permitted")):
                self.port.failure = failure
                self.protocol.send(searched, (GROUP, PORT))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.warn, LogLevel.info, LogLevel.warn])
        self.assertEqual(len(self.port.written), 2)

    def test_send_to_peer_fails(self) -> None:
        """A peer out of reach is worth no more than a line for debugging, and hides no trouble with the group."""
        with capturedLogs() as events:
            self.port.failure = OSError(101, "unreachable")
            self.protocol.send(SearchRequest("a"), PEER)
            self.protocol.send(SearchRequest("a"), (GROUP, PORT))
            self.port.failure = None
            self.protocol.send(SearchRequest("a"), PEER)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.debug, LogLevel.warn])
