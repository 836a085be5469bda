"""Tests for :mod:`ssdpreg.backends.garbage`."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends import garbage
from ssdpreg.backends.garbage import LongLivedObjects


class LongLivedObjectsTests(SynchronousTestCase):
    """Tests for :class:`LongLivedObjects`."""

    def test_growth(self) -> None:
        """The objects are frozen each time their number has grown by a fifth, beginning with 1200."""
        gc = mock.Mock()
        self.patch(garbage, "gc", gc)
        objects = LongLivedObjects()
        frozen_at: list[int] = []
        for count in range(2001):
            objects.grow(count)
            if gc.freeze.call_count > len(frozen_at):
                frozen_at.append(count)
        self.assertEqual(frozen_at, [1200, 1440, 1728])

    def test_large_collection(self) -> None:
        """The objects of a large collection are frozen each time 5000 items were added."""
        gc = mock.Mock()
        self.patch(garbage, "gc", gc)
        objects = LongLivedObjects()
        objects.grow(50_000)
        objects.grow(54_999)
        self.assertEqual(gc.freeze.call_count, 1)
        objects.grow(55_000)
        self.assertEqual(gc.freeze.call_count, 2)

    def test_new_collection(self) -> None:
        """A collection that is smaller than before is a new one."""
        gc = mock.Mock()
        self.patch(garbage, "gc", gc)
        objects = LongLivedObjects()
        for count in (1500, 1500, 0, 1500):
            objects.grow(count)
        self.assertEqual(gc.freeze.call_count, 2)
