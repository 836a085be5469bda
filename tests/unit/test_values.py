"""Tests for frozen values of which many are made."""

from __future__ import annotations

from dataclasses import field, replace
from enum import IntEnum

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.values import plain_members, value


@value(frozen=True, slots=True)
class Point:
    """A value with a field that is not compared."""

    x: int
    y: int = 0
    name: str = field(default="", compare=False)


class ValueTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.values.value`."""

    def test_comparison(self) -> None:
        """Values are compared by their fields, as far as these are compared, and have an equal hash then."""
        self.assertEqual(Point(1, 2, "a"), Point(1, 2, "b"))
        self.assertEqual(hash(Point(1, 2, "a")), hash(Point(1, 2, "b")))
        self.assertNotEqual(Point(1, 2), Point(1, 3))

    def test_no_dictionary(self) -> None:
        """A value has slots, and no dictionary."""
        self.assertFalse(hasattr(Point(1), "__dict__"))

    def test_replacement(self) -> None:
        """A changed copy is made as of any other dataclass."""
        self.assertEqual(replace(Point(1, 2), y=3), Point(1, 3))


@plain_members
class Level(IntEnum):
    """An enumeration."""

    LOW = 0
    HIGH = 1


class PlainMembersTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.values.plain_members`."""

    def test_attributes(self) -> None:
        """The members are attributes of the class itself."""
        self.assertEqual(vars(Level)["HIGH"], Level.HIGH)
        self.assertIsInstance(vars(Level)["HIGH"], Level)

    def test_enumeration(self) -> None:
        """The class remains an enumeration of the same members, with the same names."""
        self.assertEqual(list(Level), [Level.LOW, Level.HIGH])
        self.assertIs(Level["HIGH"], Level(1))
        self.assertEqual(Level.HIGH.name, "HIGH")
