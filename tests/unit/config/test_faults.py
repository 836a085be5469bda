"""Tests for :mod:`ssdpreg.config.faults`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config.faults import FaultCollector, Path, RelativeFault, format_path, quote
from ssdpreg.errors import ConfigError


class FaultCollectorTests(SynchronousTestCase):
    """Tests for :class:`FaultCollector`."""

    def raised(self, raw: object, *paths: Path) -> list[str]:
        """Return the paths of the raised faults, after faults with these paths were added."""
        faults = FaultCollector()
        for path in paths:
            faults.add(path, "is wrong")
        error = self.assertRaises(ConfigError, faults.raise_if_any, raw)
        return [fault.path for fault in error.faults]

    def test_no_faults(self) -> None:
        """Without faults there is no exception."""
        FaultCollector().raise_if_any({})

    def test_order(self) -> None:
        """Faults are raised in the order of the file: an object before its keys, and missing keys last."""
        raw = {"b": [1, 2], "a": {"d": 1, "c": 2}}
        self.assertEqual(
            self.raised(raw, ("a", "x"), ("a", "c"), ("a", "d"), ("x", "y"), ("b", 1), ("b", 0), ("b",), ()),
            ["", "b", "b[0]", "b[1]", "a.d", "a.c", "a.x", "x.y"],
        )

    def test_first_of_path(self) -> None:
        """Only the first fault of a path is raised."""
        faults = FaultCollector()
        faults.add(("a", "b"), "is one fault")
        faults.add_relative(("a",), [RelativeFault(("b",), "is another fault")])
        self.assertEqual(str(self.assertRaises(ConfigError, faults.raise_if_any, {})), "a.b: is one fault")


class FormatTests(SynchronousTestCase):
    """Tests for :func:`format_path` and :func:`quote`."""

    def test_path(self) -> None:
        """Keys follow a dot, or stand in brackets if they have special characters. Indices stand in brackets."""
        self.assertEqual(format_path(("a", "b-1", 0, "urn:x", "c")), 'a.b-1[0]["urn:x"].c')
        self.assertEqual((format_path(()), format_path((0,)), format_path(("", "é"))), ("", "[0]", '[""]["\\u00e9"]'))

    def test_quote(self) -> None:
        """Values are formatted as JSON, objects and lists are only named, and long values are shortened."""
        values: list[object] = [True, None, "a", {}, []]
        self.assertEqual(list(map(quote, values)), ["true", "null", '"a"', "an object", "a list"])
        self.assertEqual((len(quote("x" * 58)), len(quote("x" * 59))), (60, 60))
        self.assertTrue(quote("x" * 59).endswith("xxx..."))
