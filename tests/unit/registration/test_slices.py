"""Tests for :mod:`ssdpreg.registration.slices`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration.slices import SliceSize


class SliceSizeTests(SynchronousTestCase):
    """Tests for :class:`SliceSize`."""

    def setUp(self) -> None:
        self.size = SliceSize()

    def adapt(self, applied: int, seconds: float) -> int:
        """Adapt the size, and return it."""
        self.size.adapt(applied, seconds)
        return self.size.count

    def test_growth(self) -> None:
        """With a fast backend the size doubles with each slice, from 16 to 1000."""
        self.assertEqual(self.size.count, 16)
        self.assertEqual([self.adapt(self.size.count, 0.0) for _ in range(7)], [32, 64, 128, 256, 512, 1000, 1000])

    def test_rate(self) -> None:
        """The size is the number of changes that took a second, and at least 16."""
        self.size.count = 200
        self.assertEqual([self.adapt(200, 2.0), self.adapt(100, 4.0), self.adapt(25, 60.0)], [100, 25, 16])

    def test_short_duration(self) -> None:
        """A slice that took less than a second counts by its duration, too."""
        self.size.count = 200
        self.assertEqual(self.adapt(50, 0.5), 100)

    def test_empty_slice(self) -> None:
        """A slice without changes has no effect."""
        self.assertEqual(self.adapt(0, 5.0), 16)
