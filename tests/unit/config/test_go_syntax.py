"""Tests for :mod:`ssdpreg.config.go_syntax`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config.go_syntax import FALSE, TRUE, parse_bool, parse_duration


class ParseBoolTests(SynchronousTestCase):
    """Tests for :func:`parse_bool`."""

    def test_valid(self) -> None:
        """The twelve spellings of ``strconv.ParseBool`` are parsed."""
        self.assertEqual([parse_bool(text) for text in sorted(TRUE)], [True] * 6)
        self.assertEqual([parse_bool(text) for text in sorted(FALSE)], [False] * 6)

    def test_invalid(self) -> None:
        """Other spellings raise ValueError, the empty string among them."""
        for text in ("", "yes", "no", "on", "tRUE", " 1", "1\n", "2"):
            self.assertRaises(ValueError, parse_bool, text)


class ParseDurationTests(SynchronousTestCase):
    """Tests for :func:`parse_duration`."""

    def test_valid(self) -> None:
        """A duration is an optional sign, then numbers with units, or 0 without a unit."""
        durations = {
            "0": 0,
            "-0": 0,
            "+0": 0,
            "15s": 15,
            "+5s": 5,
            "-1.5h": -5400,
            "1h30m": 5400,
            "1m1s1ms": 61.001,
            "5.s": 5,
            ".5m": 30,
            "1us": 1e-6,
            "1\u00b5s": 1e-6,
            "1\u03bcs": 1e-6,
            "1ns": 1e-9,
        }
        for text, seconds in durations.items():
            self.assertAlmostEqual(parse_duration(text), seconds, 12, text)

    def test_too_long(self) -> None:
        """A number that is too large for a float is infinite."""
        self.assertEqual(parse_duration("9" * 400 + "h"), float("inf"))
        self.assertEqual(parse_duration("-" + "9" * 400 + "h"), float("-inf"))

    def test_invalid(self) -> None:
        """Other texts raise ValueError: a missing unit, spaces, unknown units, exponents, digits outside ASCII."""
        for text in ("", "5", "s", ".s", "-", "5 s", " 5s", "5s\n", "5S", "5d", "1e3s", "--5s", "5s-1s", "\u0665s"):
            self.assertRaises(ValueError, parse_duration, text)
