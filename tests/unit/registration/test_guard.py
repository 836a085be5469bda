"""Tests for :mod:`ssdpreg.registration.guard`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration.guard import MassRemovalGuard

#: Seconds between two comparisons.
INTERVAL = 30.0


def ids(count: int, first: int = 0) -> frozenset[str]:
    """Return service IDs."""
    return frozenset(map(str, range(first, first + count)))


class MassRemovalGuardTests(SynchronousTestCase):
    """Tests for :class:`MassRemovalGuard`."""

    def setUp(self) -> None:
        self.guard = MassRemovalGuard()
        self.now = 1000.0

    def check(self, removals: frozenset[str], total: int = 10, *, full: bool = True) -> frozenset[str]:
        """Return which removals may be made, one interval after the previous check if it is a full comparison."""
        self.now += INTERVAL if full else 0.0
        return self.guard.check(removals, total, self.now, full=full)

    def test_harmless_number(self) -> None:
        """Five removals are never held back, even if nothing else is registered."""
        self.assertEqual((self.check(ids(5), 5), self.guard.held), (ids(5), 0))

    def test_more_than_half(self) -> None:
        """Six of twelve removals are allowed, and six of eleven are held back."""
        self.assertEqual((self.check(ids(6), 11), self.guard.held), (frozenset(), 6))
        self.assertEqual((MassRemovalGuard().check(ids(6), 12, 0.0, full=True)), ids(6))

    def test_one_after_the_other(self) -> None:
        """Removals within a minute count together, and those of the minute before do not."""
        for number in range(5):
            self.assertEqual(self.check(ids(1, number), 10 - number, full=False), ids(1, number))
        self.assertEqual((self.check(ids(1, 5), 5, full=False), self.guard.held), (frozenset(), 1))
        self.now += 60.0
        self.assertEqual(self.check(ids(2, 5), 5, full=False), ids(1, 6))
        self.assertEqual((self.check(ids(1, 5), 4), self.guard.held), (ids(1, 5), 0))

    def test_second_comparison_confirms(self) -> None:
        """A second full comparison with the same removals, or some of them, confirms them."""
        for confirmed in (8, 7):
            self.guard = MassRemovalGuard()
            self.assertEqual(self.check(ids(8)), frozenset())
            self.assertEqual((self.check(ids(confirmed)), self.guard.held), (ids(confirmed), 0))

    def test_further_removals(self) -> None:
        """Removals that the first comparison did not contain are confirmed by the next one."""
        self.check(ids(8), 30)
        self.check(ids(20), 30)
        self.assertEqual((self.check(ids(20), 30), self.guard.held), (ids(20), 0))
        self.check(ids(20, 20), 30)
        self.assertEqual((self.check(ids(28, 12), 30), self.guard.held), (ids(20, 20), 8))

    def test_only_the_preceding_comparison_counts(self) -> None:
        """Removals are not confirmed if the comparison in between would have removed other services."""
        for removals in (ids(8), ids(8, 10), ids(8)):
            self.assertEqual((self.check(removals), self.guard.held), (frozenset(), 8))

    def test_too_early(self) -> None:
        """A comparison within 20 s after the first one does not confirm a removal."""
        self.check(ids(8))
        self.now -= INTERVAL - 19.9
        self.assertEqual(self.check(ids(8)), frozenset())
        self.now -= INTERVAL - 0.1
        self.assertEqual(self.check(ids(8)), ids(8))

    def test_partial_plan_does_not_confirm(self) -> None:
        """Single changes do not confirm a removal, however late."""
        self.check(ids(8))
        for _ in range(3):
            self.now += INTERVAL
            self.assertEqual((self.check(ids(8), full=False), self.guard.held), (frozenset(), 8))

    def test_confirmation_of_a_partial_plan(self) -> None:
        """A full comparison confirms the removals of single changes that were held back."""
        self.check(ids(8), full=False)
        self.assertEqual(self.check(ids(8)), ids(8))

    def test_normal_comparison_ends_the_suspicion(self) -> None:
        """A full comparison without suspicious removals between two others means that the second confirms nothing."""
        self.check(ids(8))
        self.check(frozenset())
        self.assertEqual((self.check(ids(8)), self.guard.held), (frozenset(), 8))

    def test_partial_plan_does_not_end_the_suspicion(self) -> None:
        """Single changes without suspicious removals do not delay the confirmation."""
        self.check(ids(8))
        self.assertEqual((self.check(frozenset(), full=False), self.guard.held), (frozenset(), 0))
        self.assertEqual(self.check(ids(8)), ids(8))

    def test_window(self) -> None:
        """Removals count together for a minute, and not longer."""
        self.assertEqual(self.guard.held, 0)
        self.assertEqual(self.check(ids(5), 5, full=False), ids(5))
        self.now += 59.5
        self.assertEqual(self.check(ids(1, 5), 5, full=False), frozenset())
        self.guard = MassRemovalGuard()
        self.check(ids(5), 5, full=False)
        self.now += 60.0
        self.assertEqual(self.check(ids(1, 5), 5, full=False), ids(1, 5))

    def test_part_of_the_window(self) -> None:
        """Earlier removals of the last minute count among the removals and among all registrations."""
        self.assertEqual(self.check(ids(3), 16, full=False), ids(3))
        self.now += 50.0
        self.assertEqual(self.check(ids(3, 3), 13, full=False), ids(3, 3))
        self.now += 20.0
        self.assertEqual(self.check(ids(3, 6), 10, full=False), ids(3, 6))
