"""Tests for :mod:`ssdpreg.registry.scheduled`."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registry.scheduled import ScheduledSearches

HOST = ("10.0.0.5",)


class ScheduledSearchesTests(SynchronousTestCase):
    """Tests for :class:`ScheduledSearches`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 12345.5
        self.sent: list[tuple[str, float, Sequence[str]]] = []
        self.searches = ScheduledSearches(self.clock, lambda *search: self.sent.append(search))

    def use_up(self) -> None:
        """Use up the burst of the budget."""
        for number in range(16):
            self.searches.request(f"burst-{number}", 9.0, HOST)
        self.sent.clear()

    def test_at_once(self) -> None:
        """Searches for up to 16 types are sent at once."""
        for number in range(16):
            self.searches.request(f"{number}", 9.0, HOST)
        self.assertEqual(self.sent, [(f"{number}", 9.0, HOST) for number in range(16)])

    def test_one_host(self) -> None:
        """However many services of one host have a short max-age, it is searched once a second on average."""
        for number in range(4096):
            self.searches.request(f"{number % 300}", 1.2, HOST)
            self.clock.advance(0.05)
        self.assertLessEqual(len(self.sent), 16 + 206)
        self.assertGreaterEqual(len(self.sent), 16 + 203)

    def test_merged(self) -> None:
        """Searches for one or two types that wait are sent one by one, with the hosts and the shortest time of all."""
        self.use_up()
        self.searches.request("a", 9.0, HOST)
        self.searches.request("b", 4.0, ("10.0.0.6",))
        self.searches.request("b", 5.0, ())
        self.clock.pump([0.5, 0.5, 0.5, 0.5, 5])
        hosts = ("10.0.0.5", "10.0.0.6")
        self.assertEqual(self.sent, [("a", 4.0, hosts), ("b", 4.0, hosts)])
        self.searches.request("c", 9.0, HOST)
        self.assertEqual(self.sent[2:], [("c", 9.0, HOST)])

    def test_many_types(self) -> None:
        """Searches for three or more types that wait are one search for all types a second later."""
        self.use_up()
        for number in range(500):
            self.searches.request(f"{number}", 9.0, (f"10.0.0.{number}",))
        self.clock.pump([0.5, 0.5, 1, 1])
        ((target, within, hosts),) = self.sent
        self.assertEqual((target, within, len(hosts)), ("ssdp:all", 9.0, 64))

    def test_short_max_age(self) -> None:
        """A device with a max-age of 4 s is searched within a second, while other hosts announce many services."""
        self.use_up()
        for _ in range(100):
            for number in range(100):
                self.searches.request(f"{number}", 1.2, (f"10.1.0.{number}",))
            self.sent.clear()
            self.searches.request("honest", 1.8, HOST)
            self.clock.advance(1)
            self.assertEqual([target for target, _, _ in self.sent], ["ssdp:all"])

    def test_stop(self) -> None:
        """After a stop nothing is sent, and no delayed call is left."""
        self.use_up()
        self.searches.request("a", 9.0, HOST)
        self.searches.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10)
        self.assertEqual(self.sent, [])
