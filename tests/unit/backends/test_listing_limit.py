"""Tests for :mod:`ssdpreg.backends.listing_limit`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.listing_limit import MOST_BYTES, ListingLimit


class ListingLimitTests(SynchronousTestCase):
    """Tests for :class:`ListingLimit`."""

    def setUp(self) -> None:
        self.limit = ListingLimit()

    def test_first_listing(self) -> None:
        """The first listing after the start may have any number of entries."""
        self.assertEqual(self.limit.bytes, MOST_BYTES)

    def test_entries(self) -> None:
        """The limit follows from the number of entries, up to 128 MiB."""
        self.assertEqual(MOST_BYTES, 134_217_728)
        self.limit.set_entries(40)
        self.assertEqual(self.limit.bytes, 64 * 1024 + 40 * 8 * 1024)
        self.limit.add_entry()
        self.assertEqual(self.limit.bytes, 64 * 1024 + 41 * 8 * 1024)
        self.limit.set_entries(1_000_000)
        self.limit.add_entry()
        self.assertEqual(self.limit.bytes, MOST_BYTES)

    def test_exceeded(self) -> None:
        """The limit doubles with each listing that was too long, up to 128 MiB, until the next complete listing."""
        self.limit.set_entries(0)
        limits = []
        for _ in range(13):
            self.limit.exceed()
            limits.append(self.limit.bytes)
        self.assertEqual(limits[:2], [128 * 1024, 256 * 1024])
        self.assertEqual(limits[-3:], [MOST_BYTES] * 3)
        self.limit.set_entries(0)
        self.assertEqual(self.limit.bytes, 64 * 1024)

    def test_raised(self) -> None:
        """The limit permits at least the listing of the known entries, and never becomes lower by that."""
        self.limit.set_entries(10)
        self.limit.raise_to(5)
        self.assertEqual(self.limit.bytes, 64 * 1024 + 10 * 8 * 1024)
        self.limit.raise_to(20)
        self.assertEqual(self.limit.bytes, 64 * 1024 + 20 * 8 * 1024)
        self.limit.raise_to(1_000_000)
        self.assertEqual(self.limit.bytes, MOST_BYTES)
