"""Tests for :mod:`ssdpreg.discovery.homes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.homes import Home, Homes

KEY = ("d", "urn:a")


class HomesTests(SynchronousTestCase):
    """Tests for :class:`Homes`."""

    def setUp(self) -> None:
        self.homes = Homes()

    def test_recall(self) -> None:
        """The home of a service is returned once."""
        self.homes.remember(KEY, "10.0.0.5", 600.0, 1000.0)
        self.assertIsNone(self.homes.recall(("d", "urn:b"), 1001.0))
        self.assertEqual(self.homes.recall(KEY, 1001.0), Home("10.0.0.5", 600.0, 1000.0))
        self.assertIsNone(self.homes.recall(KEY, 1001.0))

    def test_short_holding(self) -> None:
        """A host that held the service for less than ten minutes is not kept."""
        self.homes.remember(KEY, "10.0.0.5", 599.9, 1000.0)
        self.assertEqual(len(self.homes), 0)

    def test_age(self) -> None:
        """A home is known for a day."""
        self.homes.remember(KEY, "10.0.0.5", 600.0, 1000.0)
        self.homes.remember(("e", ""), "10.0.0.5", 600.0, 1000.0)
        self.assertIsNotNone(self.homes.recall(KEY, 87400.0))
        self.assertIsNone(self.homes.recall(("e", ""), 87400.1))

    def test_limit(self) -> None:
        """The number of homes is limited. Those that held their services longest stay."""
        self.homes.remember(KEY, "10.0.0.5", 90000.0, 1000.0)
        for number in range(50_000):
            self.homes.remember((str(number), ""), "10.0.0.6", 600.0 + number % 7, 1000.0)
            self.assertLess(len(self.homes), 8192)
        self.assertIsNotNone(self.homes.recall(KEY, 2000.0))

    def test_old_homes_are_dropped_first(self) -> None:
        """Homes that are older than a day are dropped when there are too many."""
        for number in range(8191):
            self.homes.remember((str(number), ""), "10.0.0.6", 1000.0, 1000.0)
        self.homes.remember(KEY, "10.0.0.5", 600.0, 90000.0)
        self.assertEqual(len(self.homes), 1)
