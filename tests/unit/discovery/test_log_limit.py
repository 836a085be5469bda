"""Tests for :mod:`ssdpreg.discovery.log_limit`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.log_limit import LogBudget, LogLimit


class LogLimitTests(SynchronousTestCase):
    """Tests for :class:`LogLimit`."""

    def setUp(self) -> None:
        self.budget = LogBudget()
        self.limit = LogLimit(self.budget)

    def test_first_line(self) -> None:
        """The first line about a sender is allowed, also at the time 0 of the clock."""
        self.assertTrue(self.limit.allows("10.0.0.5", "no LOCATION", 0.0))

    def test_same_reason(self) -> None:
        """A second line for the same sender and reason is never allowed."""
        self.limit.allows("10.0.0.5", "no LOCATION", 0.0)
        for now in (1.0, 61.0, 1e6):
            self.assertFalse(self.limit.allows("10.0.0.5", "no LOCATION", now))

    def test_other_reason(self) -> None:
        """A line for another reason is allowed 60 s after the last line about the sender, and not before."""
        self.limit.allows("10.0.0.5", "no LOCATION", 100.0)
        self.assertFalse(self.limit.allows("10.0.0.5", "no device ID", 159.9))
        self.assertTrue(self.limit.allows("10.0.0.5", "no device ID", 160.0))
        self.assertFalse(self.limit.allows("10.0.0.5", "too many services", 219.9))
        self.assertTrue(self.limit.allows("10.0.0.5", "too many services", 220.0))

    def test_other_sender(self) -> None:
        """The lines about one sender do not limit the lines about another sender."""
        self.limit.allows("10.0.0.5", "no LOCATION", 100.0)
        self.assertTrue(self.limit.allows("10.0.0.6", "no LOCATION", 100.0))

    def test_all_senders(self) -> None:
        """No more than 60 lines are allowed in any minute, however many senders there are."""
        allowed: list[float] = []
        for step in range(60_000):
            now = step / 100
            if self.limit.allows(str(step), "no LOCATION", now):
                allowed.append(now)
        self.assertEqual(self.limit.suppressed, 60_000 - len(allowed))
        self.assertGreaterEqual(len(allowed), 300)
        for first in allowed:
            self.assertLessEqual(sum(first <= now < first + 60 for now in allowed), 60)

    def test_suppressed_line(self) -> None:
        """A line that the budget suppressed is allowed later, and is not counted for its sender."""
        for number in range(15):
            self.assertTrue(self.limit.allows(str(number), "no LOCATION", 100.0))
        self.assertFalse(self.limit.allows("last", "no LOCATION", 100.0))
        self.assertEqual(self.limit.suppressed, 1)
        self.assertTrue(self.limit.allows("last", "no LOCATION", 102.0))

    def test_repetitions_are_free(self) -> None:
        """A line that is not allowed for its sender does not count against the budget."""
        self.assertTrue(self.limit.allows("first", "no LOCATION", 100.0))
        for _ in range(1000):
            self.limit.allows("first", "no LOCATION", 100.0)
        self.assertEqual(self.limit.suppressed, 0)
        self.assertEqual(sum(self.limit.allows(str(number), "no LOCATION", 100.0) for number in range(100)), 14)

    def test_memory_is_bounded(self) -> None:
        """Of more than 1024 senders, the entry of the least recently logged one is removed."""
        self.limit.allows("first", "no LOCATION", 0.0)
        self.limit.allows("second", "no LOCATION", 60.0)
        self.limit.allows("first", "no device ID", 120.0)
        for number in range(1023):
            self.assertTrue(self.limit.allows(str(number), "no LOCATION", 200.0 + 2 * number))
        self.assertFalse(self.limit.allows("first", "no LOCATION", 1e5))
        self.assertTrue(self.limit.allows("second", "no LOCATION", 1e5))
        self.assertEqual(len(self.limit._senders), 1024)
