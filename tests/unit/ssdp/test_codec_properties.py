"""Properties of :mod:`ssdpreg.ssdp.codec` for generated messages and datagrams."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import HeaderError, MessageError
from ssdpreg.ssdp.codec import USER_AGENT, decode, encode
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update

#: Values of header fields, without the blanks around them that a receiver removes.
VALUES = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=60).map(str.strip)
REQUIRED = VALUES.filter(bool)
MAX_AGES = st.none() | st.integers(0, 10**10)
DESCRIBED = (REQUIRED, REQUIRED, VALUES, MAX_AGES, VALUES)
MESSAGES = st.one_of(
    st.builds(Alive, *DESCRIBED),
    st.builds(SearchResponse, *DESCRIBED),
    st.builds(ByeBye, REQUIRED, REQUIRED),
    st.builds(Update, REQUIRED, REQUIRED),
    st.builds(SearchRequest, REQUIRED, st.none() | st.integers(0, 5)),
)
#: Parts of datagrams in any order, some of them broken.
PARTS = st.sampled_from(
    [
        b"NOTIFY * HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"M-SEARCH * HTTP/1.0\n",
        b"NT: urn:a\r\n",
        b"ST: urn:a\r\n",
        b"USN: uuid:1::urn:a\r\n",
        b"NTS: ssdp:alive\r\n",
        b"NTS:ssdp:byebye\n",
        b'MAN: "ssdp:discover"\r\n',
        b"MX: 99999999999999999999\r\n",
        b"CACHE-CONTROL: max-age=\xff" + b"9" * 5000 + b"\r\n",
        b"LOCATION",
        b" folded\r\n",
        b"\r\n",
        b"\xff\xfe: \xfc\r\n",
    ]
)


class CodecPropertyTests(SynchronousTestCase):
    """Properties that hold for all messages and datagrams."""

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(MESSAGES)
    def test_inverse(self, message: Message) -> None:
        """An encoded message is decoded to an equal one. An empty SERVER is replaced by that of this host."""
        datagram = encode(message)
        if isinstance(message, (Alive, SearchResponse)) and not message.server:
            message = replace(message, server=USER_AGENT)
        self.assertEqual(decode(datagram), message)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.lists(PARTS | st.binary(max_size=20), max_size=12).map(b"".join) | st.binary(max_size=300))
    def test_any_datagram(self, datagram: bytes) -> None:
        """Any datagram is a message or raises a MessageError. A decoded message can be encoded and decoded again."""
        try:
            message = decode(datagram)
        except MessageError as error:
            self.assertIn(error.kind, ("start line", "header", "malformed"))
            return
        try:
            again = decode(encode(message))
        except HeaderError:
            # A control character of a value cannot be sent.
            return
        self.assertEqual(type(again), type(message))
        self.assertEqual(encode(again), encode(message))
