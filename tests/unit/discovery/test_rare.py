"""Tests for :mod:`ssdpreg.discovery.rare`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.rare import Rare


class Item:
    """An object with rare attributes."""

    first: Rare[int] = Rare(1)
    second: Rare[str | None] = Rare(None)

    def __init__(self) -> None:
        self.rare: dict[str, Any] | None = None


class RareTests(SynchronousTestCase):
    """Tests for :class:`Rare`."""

    def test_default(self) -> None:
        """An object has the defaults, and nothing is kept for them."""
        item = Item()
        item.first, item.second = 1, None
        self.assertEqual((item.first, item.second, item.rare), (1, None, None))

    def test_other_value(self) -> None:
        """A value is kept for the object that it was set for only."""
        one, other = Item(), Item()
        one.first = 2
        one.second = "a"
        one.first = 3
        self.assertEqual((one.first, one.second, other.first, other.second), (3, "a", 1, None))

    def test_default_again(self) -> None:
        """Nothing is kept any more for an object whose attributes have their defaults again."""
        item = Item()
        item.first, item.second = 2, "a"
        item.first = 1
        self.assertEqual((item.first, item.rare), (1, {"second": "a"}))
        item.second = None
        self.assertEqual((item.second, item.rare), (None, None))

    def test_of_the_class(self) -> None:
        """The attribute of the class is the descriptor."""
        self.assertIsInstance(Item.first, Rare)
