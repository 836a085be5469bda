"""Tests for :mod:`ssdpreg.registry.search_budgets`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registry.search_budgets import GroupBudget, HostBudget


class GroupBudgetTests(SynchronousTestCase):
    """Tests for :class:`GroupBudget`."""

    def setUp(self) -> None:
        self.budget = GroupBudget()

    def count(self, *takes: Callable[[float], bool], seconds: int = 0, begin: float = 1000.0) -> list[int]:
        """Try to take a search of each kind ten times a second, first the first kind. Return the number of each."""
        counts = [0] * len(takes)
        for step in range(max(1, 10 * seconds)):
            for kind, take in enumerate(takes):
                while take(begin + step / 10):
                    counts[kind] += 1
        return counts

    def test_average(self) -> None:
        """Searches of all kinds together are one a second on average, after a burst of 32."""
        budget = self.budget
        for takes in (
            (budget.take,),
            (budget.take_scheduled, budget.take),
            (budget.take_unfounded, budget.take_scheduled, budget.take),
        ):
            budget.__init__()  # type: ignore[misc]
            self.assertIn(sum(self.count(*takes, seconds=600)), range(630, 633), takes)

    def test_share_of_scheduled_searches(self) -> None:
        """Scheduled searches leave the rest of the rate to others, also if they come first."""
        scheduled, urgent = self.count(self.budget.take_scheduled, self.budget.take, seconds=600)
        self.assertIn(scheduled, range(300, 320))
        self.assertGreater(urgent, 300)

    def test_unused_rate(self) -> None:
        """Scheduled searches use the whole rate while no others are needed."""
        (scheduled,) = self.count(self.budget.take_scheduled, seconds=600)
        self.assertGreater(scheduled, 580)

    def test_unfounded(self) -> None:
        """Unfounded searches are 16 at once. They come before scheduled ones that have used up their share."""
        self.assertEqual(self.count(self.budget.take_unfounded), [16])
        self.budget = GroupBudget()
        _, unfounded = self.count(self.budget.take_scheduled, self.budget.take_unfounded, seconds=600)
        self.assertGreater(unfounded, 250)

    def test_waits(self) -> None:
        """After the wait for a search of each kind, it may be sent."""
        for take, wait in (
            (self.budget.take, self.budget.wait),
            (self.budget.take_scheduled, self.budget.wait_for_scheduled),
            (self.budget.take_unfounded, self.budget.wait_for_unfounded),
        ):
            self.count(self.budget.take_scheduled, self.budget.take)
            self.assertFalse(take(1000.0))
            seconds = wait(1000.0)
            self.assertGreater(seconds, 0.9)
            self.assertFalse(take(1000.0 + seconds - 0.1))
            self.assertTrue(take(1000.0 + seconds), take)
            self.budget.__init__()  # type: ignore[misc]


class HostBudgetTests(SynchronousTestCase):
    """Tests for :class:`HostBudget`."""

    def test_limits(self) -> None:
        """There is a limit for all hosts, and one for each host."""
        budget = HostBudget(20.0, 40.0)
        self.assertEqual(sum(budget.take(1000.0) for _ in range(100)), 40)
        self.assertEqual(budget.wait(1000.0), 0.05)
        self.assertEqual(sum(budget.take_of_host("10.0.0.5", 1000.0) for _ in range(100)), 16)
        self.assertTrue(budget.take_of_host("10.0.0.6", 1000.0))
        self.assertEqual(sum(budget.take_of_host("10.0.0.5", 1002.0) for _ in range(100)), 2)
