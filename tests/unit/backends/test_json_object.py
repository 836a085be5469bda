"""Tests for :mod:`ssdpreg.backends.json_object`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends import json_object
from ssdpreg.backends.json_object import JSONArrayParser, JSONObjectParser

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def parse(*parts: bytes) -> dict[str, Any]:
    """Parse an object that is received in parts."""
    members: dict[str, Any] = {}
    parser = JSONObjectParser(members.__setitem__)
    for part in parts:
        parser.feed(part)
    parser.close()
    return members


class JSONObjectParserTests(SynchronousTestCase):
    """Tests for :class:`JSONObjectParser`."""

    @settings(deadline=None, max_examples=100)
    @given(
        st.dictionaries(st.text(max_size=5), VALUES, max_size=5),
        st.integers(1, 50),
        st.sampled_from([{}, {"indent": 4}, {"separators": (",", ":")}]),
        st.booleans(),
    )
    def test_any_object(self, document: dict[str, Any], size: int, style: dict[str, Any], ascii: bool) -> None:
        """The members of any object, in parts of any size, are those that the standard library returns."""
        content = json.dumps(document, ensure_ascii=ascii, **style).encode()
        self.patch(json_object, "_STEP", 1)
        parts = [content[start : start + size] for start in range(0, len(content), size)]
        self.assertEqual(parse(*parts), document)

    def test_members_are_processed_at_once(self) -> None:
        """A member is processed when it has been received, and the memory in use does not grow with the object."""
        names: list[str] = []
        parser = JSONObjectParser(lambda name, value: names.append(name))
        parser.feed(b"{")
        for number in range(1000):
            parser.feed(b'"%d": {"text": "%s"},\n' % (number, b"x" * 1000))
            self.assertGreaterEqual(len(names), number - 17)
            self.assertLess(len(parser._text), 20_000)

    def test_blank(self) -> None:
        """Any number of blanks between members is accepted without being kept."""
        parser = JSONObjectParser(lambda name, value: None)
        for _ in range(100):
            parser.feed(b" \n" * 10_000)
        self.assertLess(len(parser._text), 20_000)
        parser.feed(b"{}")
        parser.close()

    def test_malformed(self) -> None:
        """Anything but one JSON object is rejected."""
        for content in (
            b"",
            b"{",
            b"null",
            b"[]",
            b'"a"',
            b"<html>",
            b"{}{}",
            b"{}x",
            b"{}\xc3",
            b'{"a":1}x',
            b'{"a":1,}',
            b'{"a" 1}',
            b'{"a":1 "b":2}',
            b"{,}",
            b"{1:2}",
            b'{"a":\xff}',
            b'{"a":"\xc3',
            b"[" * 100_000,
            b'{"a":' + b"[" * 60_000,
            b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
            b'{"a":"' + b"x" * 70_000,
        ):
            for parts in ((content,), (content[:1], content[1:])):
                with self.assertRaises(ValueError):
                    parse(*parts)

    def test_long_member(self) -> None:
        """A member without end is rejected after 64 kB and one more part."""
        parser = JSONObjectParser(lambda name, value: None)
        with self.assertRaises(ValueError):
            for _ in range(6):
                parser.feed(b'{"a":"' + b"x" * 16_384)

    def test_longest_member(self) -> None:
        """A part of a member that has 64 KiB is kept, and one that is longer is rejected."""
        for length, accepted in ((65_536, True), (65_537, False)):
            part = b'"a":"' + b"x" * (length - 5)
            parser = JSONObjectParser(lambda name, value: None)
            parser.feed(b"{")
            parser._parse()
            if accepted:
                parser.feed(part)
            else:
                with self.assertRaises(ValueError):
                    parser.feed(part)

    def test_attempts(self) -> None:
        """The members are parsed each time 16 KiB have been received, since an attempt may be in vain."""
        names: list[str] = []
        parser = JSONObjectParser(lambda name, value: names.append(name))
        start = b'{"a":1,"b":"'
        parser.feed(start + b"x" * (16_383 - len(start)))
        self.assertEqual(names, [])
        parser.feed(b"x")
        self.assertEqual(names, ["a"])
        # The text that was kept counts as received.
        parser.feed(b'",')
        parser.feed(b" " * 16_381)
        self.assertEqual(names, ["a"])
        parser.feed(b" ")
        self.assertEqual(names, ["a", "b"])

    def test_error_of_the_receiver(self) -> None:
        """An exception of the receiver ends the parsing."""

        def reject(name: str, value: object) -> None:
            raise ValueError(name)

        parser = JSONObjectParser(reject)
        parser.feed(b'{"a": 1}')
        with self.assertRaises(ValueError):
            parser.close()


class JSONArrayParserTests(SynchronousTestCase):
    """Tests for :class:`JSONArrayParser`."""

    def parse(self, *parts: bytes) -> list[Any]:
        """Parse an array that is received in parts."""
        items: list[Any] = []
        parser = JSONArrayParser(items.append)
        for part in parts:
            parser.feed(part)
        parser.close()
        return items

    @settings(deadline=None, max_examples=100)
    @given(st.lists(VALUES, max_size=5), st.integers(1, 50), st.sampled_from([{}, {"indent": 4}]))
    def test_any_array(self, document: list[Any], size: int, style: dict[str, Any]) -> None:
        """The items of any array, in parts of any size, are those that the standard library returns."""
        content = json.dumps(document, **style).encode()
        self.patch(json_object, "_STEP", 1)
        self.assertEqual(
            self.parse(*(content[start : start + size] for start in range(0, len(content), size))), document
        )

    def test_malformed(self) -> None:
        """Anything but one JSON array is rejected."""
        for content in (b"", b"[", b"{}", b"null", b"[]]", b"[1,]", b"[,]", b"[1 2]", b"[1}", b"[" * 100_000):
            with self.assertRaises(ValueError):
                self.parse(content)

    def test_items_are_processed_at_once(self) -> None:
        """The memory in use does not grow with the array."""
        items: list[Any] = []
        parser = JSONArrayParser(items.append)
        parser.feed(b"[")
        for number in range(1000):
            parser.feed(b'{"text": "%s"},\n' % (b"x" * 1000))
            self.assertGreaterEqual(len(items), number - 17)
            self.assertLess(len(parser._text), 20_000)
