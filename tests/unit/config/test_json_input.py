"""Tests for :mod:`ssdpreg.config.json_input`."""

from __future__ import annotations

from pathlib import Path

from ssdpreg.config.json_input import read_file
from ssdpreg.errors import ConfigError
from tests.unit.config.support import ConfigTestCase


class DecodeJSONTests(ConfigTestCase):
    """Tests for :func:`decode_json`, by way of :func:`ssdpreg.config.parse`."""

    def test_not_json(self) -> None:
        """A syntax error is reported with its line and column."""
        self.assert_faults('{\n  "ssdp": {]\n}', "line 2, column 12: Expecting property name enclosed in double quotes")
        self.assert_faults("", "line 1, column 1: Expecting value")
        self.assert_faults('{"ssdp', "line 1, column 2: Unterminated string starting here")

    def test_duplicate_keys(self) -> None:
        """A duplicate key is a fault: Python's json module would ignore its first value."""
        self.assert_faults(
            '{"ssdp": {"tags": {"A": ["a"], "A": ["b"]}}, "web": {}, "web": {}}',
            "ssdp.tags.A: is a duplicate key",
            "web: is a duplicate key",
        )

    def test_numbers(self) -> None:
        """Numbers that Python's json module accepts and JSON does not have are faults."""
        self.assert_faults(
            '{"a": [NaN], "b": -1e999}', "a[0]: NaN is not a number in JSON", "b: -Infinity is not a number in JSON"
        )
        self.assert_faults("1" * 5000, "contains a number with too many digits")

    def test_nested_too_deeply(self) -> None:
        """Deep nesting is a fault, and does not exhaust the stack."""
        self.assert_faults("[" * 100_000, "is nested too deeply")
        self.assert_faults("[" * 60 + "]" * 60, "[0][0][0]: is nested too deeply")


class ReadFileTests(ConfigTestCase):
    """Tests for :func:`read_file`."""

    def test_unreadable(self) -> None:
        """A file that cannot be read is a fault with the reason of the operating system."""
        error = self.assertRaises(ConfigError, read_file, "nowhere.json")
        self.assertEqual(str(error), "nowhere.json cannot be read: No such file or directory")

    def test_encoding(self) -> None:
        """A file that is not UTF-8 is a fault with the position of the first invalid byte."""
        path = self.mktemp()
        Path(path).write_bytes(b'{"\xe4": 1}')
        error = self.assertRaises(ConfigError, read_file, path)
        self.assertEqual(str(error), f"{path} is not UTF-8: byte 3 is invalid")

    def test_byte_order_mark(self) -> None:
        """A byte order mark is removed."""
        path = self.mktemp()
        Path(path).write_bytes(b"\xef\xbb\xbf{}")
        self.assertEqual(read_file(path), "{}")
