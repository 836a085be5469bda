"""Tests for :mod:`ssdpreg.registry.scheduled`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registry.scheduled import ScheduledSearches

HOST = ("10.0.0.5",)


class ScheduledSearchesTests(SynchronousTestCase):
    """Tests for :class:`ScheduledSearches`."""

    def setUp(self) -> None:
        self.searches = ScheduledSearches()

    def take_all(self) -> list[tuple[str, float, tuple[str, ...]]]:
        """Take all searches."""
        taken = []
        while self.searches:
            taken.append(self.searches.take())
        return taken

    def test_merged(self) -> None:
        """Searches for one or two types are taken one by one, with the hosts and the shortest time of all."""
        self.searches.add("a", 9.0, HOST)
        self.searches.add("b", 4.0, ("10.0.0.6",))
        self.searches.add("b", 5.0, ())
        hosts = ("10.0.0.5", "10.0.0.6")
        self.assertEqual(self.take_all(), [("a", 4.0, hosts), ("b", 4.0, hosts)])
        self.searches.add("c", 9.0, HOST)
        self.assertEqual(self.take_all(), [("c", 9.0, HOST)])

    def test_many_types(self) -> None:
        """Searches for three or more types are one search for all types."""
        for number in range(500):
            self.searches.add(f"{number}", 9.0, (f"10.0.0.{number}",))
        ((target, within, hosts),) = self.take_all()
        self.assertEqual((target, within, len(hosts)), ("ssdp:all", 9.0, 64))

    def test_clear(self) -> None:
        """All searches can be removed."""
        self.searches.add("a", 9.0, HOST)
        self.searches.clear()
        self.assertEqual(len(self.searches), 0)
        self.searches.add("b", 10.0, ())
        self.assertEqual(self.take_all(), [("b", 10.0, ())])
