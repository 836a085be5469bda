"""Tests for :mod:`ssdpreg.ssdp.repeats`, and for its use by the protocol."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_network
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import decode
from ssdpreg.ssdp.messages import Message
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo, identity
from tests.unit.registry.registry_case import API

DATE = "Fri, 15 Jan 2027 08:00:00 GMT"


def reply(*lines: str) -> bytes:
    """Return a reply with some more header fields."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"ST: {API}", *lines, f"USN: uuid:D::{API}", "", ""]).encode()


def decoded(datagram: bytes) -> Message | str:
    """Return the message of a datagram, or the kind of its error."""
    try:
        return decode(datagram)
    except MessageError as error:
        return error.kind


class IdentityTests(SynchronousTestCase):
    """Tests for :func:`identity`."""

    def test_date(self) -> None:
        """Two replies that differ in the value of DATE only have one identity."""
        for name in ("DATE", "Date"):
            first, second = (identity(reply(f"{name}: {date}", "EXT:")) for date in (DATE, "another day"))
            self.assertEqual(first, second)
            self.assertNotEqual(first, identity(reply(f"{name}: {DATE}", "EXT: x")))

    def test_without_date(self) -> None:
        """A datagram without a DATE is its own identity, also if its last line is not complete."""
        for datagram in (b"", b"NOTIFY * HTTP/1.1\r\n\r\n", reply(), reply("X-DATE: a"), b"HTTP/1.1 200 OK\r\nDATE: a"):
            self.assertEqual(identity(datagram), datagram)

    def test_encoding(self) -> None:
        """A DATE outside ASCII, which decides how the datagram is decoded, is part of the identity."""
        latin = reply("DATE: a").replace(b"DATE: a", b"DATE: \xfc")
        self.assertEqual(identity(latin), latin)

    @given(
        st.lists(
            st.sampled_from(
                [
                    "DATE: a",
                    "DATE: b",
                    "Date:",
                    "DATE:",
                    " c",
                    "\tSERVER: x",
                    "",
                    "LOCATION: http://a/",
                    "SERVER: s\xfc",
                ]
            ),
            max_size=7,
        ),
        st.sampled_from(["\r\n", "\n"]),
        st.lists(st.sampled_from(["a", "b", "", "\x85", "\xff", "\r", "c: d"]), min_size=2, max_size=2),
        st.sampled_from(["utf-8", "latin-1"]),
    )
    def test_same_message(self, lines: list[str], end: str, dates: list[str], encoding: str) -> None:
        """Datagrams with the same identity are decoded to equal messages."""
        variants = []
        for date in dates:
            text = end.join(["HTTP/1.1 200 OK", f"ST: {API}", *lines, "USN: uuid:D", "", ""])
            variants.append(text.replace("DATE: a", f"DATE: {date}").encode(encoding))
        if identity(variants[0]) == identity(variants[1]):
            self.assertEqual(decoded(variants[0]), decoded(variants[1]))


class RepeatMemoTests(SynchronousTestCase):
    """Tests for :class:`RepeatMemo`."""

    def setUp(self) -> None:
        self.memo = RepeatMemo(100_000)

    def test_limit(self) -> None:
        """The oldest entries are removed so that the size never exceeds the limit."""
        for number in range(1000):
            self.memo.add((b"%0100d" % number, "10.0.0.5", 1), bool)
            self.assertLessEqual(self.memo.size, 100_000)
            self.assertEqual(self.memo.size, len(self.memo) * self.memo.cost(b"x" * 100))
        self.assertGreater(len(self.memo), 30)

    def test_used_again(self) -> None:
        """A datagram that is received again in time survives the removal of older ones."""
        used = b"used again", "10.0.0.5", 1
        self.memo.add(used, bool)
        for number in range(1000):
            self.memo.add((b"%0100d" % number, "10.0.0.5", 1), bool)
            self.assertIs(self.memo.newer.get(used) or self.memo.find_older(used), bool)
            self.assertLessEqual(self.memo.size, 100_000)

    def test_replaced(self) -> None:
        """A replaced entry counts once."""
        for function in (bool, int):
            self.memo.add((b"x", "10.0.0.5", 1), function)  # type: ignore[arg-type]
        self.assertEqual((len(self.memo), self.memo.size), (1, self.memo.cost(b"x")))
        self.assertIs(self.memo.newer[b"x", "10.0.0.5", 1], int)

    def test_long(self) -> None:
        """A datagram of more than 2 KiB is not kept."""
        self.memo.add((b"x" * 2049, "10.0.0.5", 1), bool)
        self.assertEqual(len(self.memo), 0)
        self.memo.add((b"x" * 2048, "10.0.0.5", 1), bool)
        self.assertEqual(len(self.memo), 1)

    def test_clear(self) -> None:
        """A cleared memo is empty."""
        self.memo.add((b"x", "10.0.0.5", 1), bool)
        self.memo.clear()
        self.assertEqual((len(self.memo), self.memo.size), (0, 0))

    def test_cost(self) -> None:
        """The estimated cost of an entry is at least the memory of its key, its function and its meaning."""
        locations = LocationRules([ip_network("0.0.0.0/0")])
        for character in ("x", "\xfc", "\U0001f600"):
            text = character * 60
            datagram = reply(f"LOCATION: http://10.0.0.5/{text}", f"SERVER: {text}").replace(
                b"uuid:D", f"uuid:{text}".encode()
            )
            meaning = interpret(decode(datagram), "10.0.0.5", SearchTerms({API: "RackHD"}), locations)
            assert isinstance(meaning, Advertisement)
            repeat = partial(print, object(), ("response", "eth0"), object(), meaning, object())
            key = datagram, "10.0.0.5", 1
            texts = (meaning.device_id, meaning.nt, meaning.usn, meaning.location, meaning.server)
            parts = (key, *key, repeat, repeat.args, repeat.args[1], meaning, meaning.endpoint, *texts)
            self.assertGreaterEqual(self.memo.cost(datagram), sum(map(getsizeof, parts)) + 150, character)


class ProtocolTests(SynchronousTestCase):
    """Tests for the use of the memo by :class:`SSDPProtocol`."""

    def setUp(self) -> None:
        self.memo = RepeatMemo()
        self.delivered = self.repeated = 0
        self.valid = True
        self.protocol = SSDPProtocol(self.deliver, memo=(self.memo, 1))

    def deliver(self, message: Message, peer: PeerAddress) -> Repeat | None:
        self.delivered += 1
        return self.repeat

    def repeat(self) -> bool:
        self.repeated += self.valid
        return self.valid

    def receive(self, datagram: bytes, sender: str = "10.0.0.5", protocol: SSDPProtocol | None = None) -> None:
        (protocol or self.protocol).datagramReceived(datagram, (sender, 1900))

    def counts(self) -> tuple[int, int]:
        """Return the number of delivered and of repeated messages."""
        return self.delivered, self.repeated

    def test_repeated(self) -> None:
        """A repeated datagram is not delivered, also if its DATE differs or its sender uses another port."""
        for date in ("a", "b", "b"):
            self.receive(reply(f"DATE: {date}"))
        self.protocol.datagramReceived(reply("DATE: c"), ("10.0.0.5", 1901))
        self.assertEqual(self.counts(), (1, 3))

    def test_other_circumstances(self) -> None:
        """The same datagram from another sender, or on another socket, is delivered."""
        self.receive(reply())
        self.receive(reply(), "10.0.0.6")
        self.receive(reply(), protocol=SSDPProtocol(self.deliver, memo=(self.memo, 2)))
        self.assertEqual(self.counts(), (3, 0))

    def test_not_valid(self) -> None:
        """A repeated datagram whose meaning may have changed is delivered again, and replaces the entry."""
        self.receive(reply())
        self.valid = False
        self.receive(reply())
        self.valid = True
        self.receive(reply())
        self.assertEqual(self.counts(), (2, 1))

    def test_invalid(self) -> None:
        """A datagram that is no message is not kept."""
        self.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.receive(b"")
        self.assertEqual((self.counts(), len(self.memo)), ((0, 0), 0))
