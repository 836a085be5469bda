"""Tests for :mod:`ssdpreg.description.queue`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.description.queue import FetchBudget, FetchQueue
from ssdpreg.description.source import Target


def target(host: str, device_id: str = "d") -> Target:
    """Return a target at a host."""
    return Target(device_id, host, is_redfish=False)


class FetchBudgetTests(SynchronousTestCase):
    """Tests for :class:`FetchBudget`."""

    def test_first_round(self) -> None:
        """The first 1,000 first fetches are free, then there is a burst of four, and one a second."""
        budget = FetchBudget(100.0)
        self.assertEqual([budget.take(100.0, first=True) for _ in range(1005)], [True] * 1004 + [False])
        self.assertAlmostEqual(budget.wait(100.0), 1.0)
        self.assertTrue(budget.take(101.0, first=True))
        self.assertFalse(budget.take(101.0, first=True))

    def test_end_of_first_round(self) -> None:
        """The first round ends ten minutes after the start, however few fetches were made."""
        budget = FetchBudget(100.0)
        self.assertTrue(budget.take(699.0, first=True))
        self.assertEqual(sum(budget.take(700.0, first=True) for _ in range(100)), 4)

    def test_repeated_fetches(self) -> None:
        """Fetches of targets whose facts are known are never part of the first round."""
        budget = FetchBudget(100.0)
        self.assertEqual(sum(budget.take(100.0, first=False) for _ in range(100)), 4)
        self.assertTrue(budget.take(100.0, first=True))


class FetchQueueTests(SynchronousTestCase):
    """Tests for :class:`FetchQueue`."""

    def take_all(self, queue: FetchQueue) -> list[Target]:
        """Take all targets, one after the other."""
        taken = []
        while (following := queue.next(())) is not None:
            queue.take(following)
            taken.append(following)
        return taken

    def test_turns(self) -> None:
        """Hosts take turns. The targets of a host keep their order."""
        queue = FetchQueue()
        for device_id in "123":
            queue.add(target("a", device_id))
        queue.add(target("b"))
        queue.add(target("a", "1"))
        self.assertEqual(len(queue), 4)
        self.assertEqual(self.take_all(queue), [target("a", "1"), target("b"), target("a", "2"), target("a", "3")])
        self.assertEqual(len(queue), 0)

    def test_busy_hosts(self) -> None:
        """A host to which a fetch is under way is passed over."""
        queue = FetchQueue()
        queue.add(target("a"))
        queue.add(target("b"))
        self.assertEqual(queue.next({"a"}), target("b"))
        self.assertIsNone(queue.next({"a", "b"}))

    def test_discard(self) -> None:
        """A removed target does not come, and nothing of its host is kept."""
        queue = FetchQueue()
        queue.add(target("a"))
        queue.discard(target("a", "other"))
        queue.discard(target("c"))
        queue.discard(target("a"))
        self.assertEqual((len(queue), queue.next(()), len(queue._by_host)), (0, None, 0))
