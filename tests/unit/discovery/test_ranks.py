"""Tests for :mod:`ssdpreg.discovery.ranks`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.ranks import Ranks
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Reception
from tests.support.table_case import advertisement

CLAIM = Claim(advertisement(), Reception("10.0.0.5"), 0.0)


class RanksTests(SynchronousTestCase):
    """Tests for :class:`Ranks`."""

    def setUp(self) -> None:
        self.ranks = Ranks(2)
        self.services = [TrackedService(CLAIM, 0.0) for _ in range(4)]
        for service in self.services:
            self.ranks.put(service, 0)

    def of(self, rank: int) -> list[int]:
        """Return the numbers of the services of a rank, the latest one first, each once."""
        return [self.services.index(service) for service in dict.fromkeys(self.ranks.latest_first(rank))]

    def test_order(self) -> None:
        """The services of a rank are in the order in which they got it. The same rank again changes nothing."""
        self.ranks.put(self.services[1], 0)
        self.assertEqual(self.of(0), [3, 2, 1, 0])
        self.assertIs(self.ranks.latest(0), self.services[3])
        self.assertIsNone(self.ranks.latest(1))
        self.assertEqual(len(self.ranks), 4)

    def test_another_rank(self) -> None:
        """A service that gets another rank is the latest one of it."""
        for number in (3, 0):
            self.ranks.put(self.services[number], 1)
        self.assertEqual((self.of(0), self.of(1), len(self.ranks)), ([2, 1], [0, 3], 4))
        self.assertIs(self.ranks.latest(0), self.services[2])
        self.assertIs(self.ranks.latest(1), self.services[0])

    def test_first_rank_again(self) -> None:
        """A service that returns to a rank is the latest one of it."""
        self.ranks.put(self.services[1], 1)
        self.ranks.put(self.services[1], 0)
        self.assertEqual((self.of(0), self.of(1)), ([1, 3, 2, 0], []))

    def test_discard(self) -> None:
        """A removed service has no rank, and may be removed again."""
        for number in (3, 1, 1):
            self.ranks.discard(self.services[number])
        self.assertEqual((self.of(0), len(self.ranks)), ([2, 0], 2))
        self.assertIs(self.ranks.latest(0), self.services[2])
        for number in (2, 0):
            self.ranks.discard(self.services[number])
        self.assertIsNone(self.ranks.latest(0))

    def test_outdated_entries(self) -> None:
        """The number of outdated entries is limited, and their removal does not change the order."""
        first = self.services[0]
        for _ in range(3000):
            self.ranks.put(first, 1)
            self.ranks.put(first, 0)
            self.ranks.put(self.services[3], 1)
            self.ranks.put(self.services[3], 0)
        self.assertLess(sum(map(len, self.ranks._entries)), 150)
        self.assertEqual((self.of(0), len(self.ranks)), ([3, 0, 2, 1], 4))
