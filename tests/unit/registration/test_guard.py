"""Tests for :mod:`ssdpreg.registration.guard`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import Plan
from ssdpreg.registration.guard import MassRemovalGuard
from ssdpreg.testing import make_registration

ALL = tuple(make_registration(number) for number in range(20))


def removal(count: int, first: int = 0) -> Plan:
    """Return a plan that removes some of the registrations."""
    return Plan(deregister=ALL[first : first + count])


class MassRemovalGuardTests(SynchronousTestCase):
    """Tests for :class:`MassRemovalGuard`."""

    def setUp(self) -> None:
        self.guard = MassRemovalGuard()
        self.reasons: dict[str, str] = {}

    def check(self, plan: Plan, total: int = 10, *, full: bool = True) -> Plan:
        """Return the part of a plan that may be applied."""
        return self.guard.check(plan, total, self.reasons.get, full=full)

    def test_harmless_number(self) -> None:
        """Five removals are never held back, even if nothing else is registered."""
        self.assertEqual((self.check(removal(5), 5), self.guard.held), (removal(5), 0))

    def test_more_than_half(self) -> None:
        """Six of twelve removals are applied, and six of eleven are held back."""
        self.assertEqual((self.check(removal(6), 12), self.guard.held), (removal(6), 0))
        self.assertEqual((self.check(removal(6), 11), self.guard.held), (Plan(), 6))

    def test_received_reasons(self) -> None:
        """Removals after a byebye, or after an expiry, are never held back."""
        for reason in ("byebye", "expired"):
            self.reasons.update({registration.service_id: reason for registration in ALL[:10]})
            self.assertEqual((self.check(removal(10)), self.guard.held), (removal(10), 0))

    def test_other_reasons(self) -> None:
        """Removals of services that no search term matches any more are held back."""
        self.reasons.update({registration.service_id: "unconfigured" for registration in ALL})
        self.assertEqual((self.check(removal(10)), self.guard.held), (Plan(), 10))

    def test_rest_of_the_plan(self) -> None:
        """Registrations, and removals with a received reason, are applied while the other removals are held back."""
        self.reasons[ALL[9].service_id] = "byebye"
        register = (make_registration(99),)
        self.assertEqual(self.check(Plan(register, ALL[:10])), Plan(register, (ALL[9],)))
        self.assertEqual(self.guard.held, 9)

    def test_second_comparison_confirms(self) -> None:
        """A second full comparison with the same removals confirms them."""
        self.check(removal(8))
        self.assertEqual((self.check(removal(8)), self.guard.held), (removal(8), 0))

    def test_fewer_removals_confirm(self) -> None:
        """A second full comparison with some of the removals confirms those."""
        self.check(removal(8))
        self.assertEqual(self.check(removal(7)), removal(7))

    def test_further_removals_do_not_confirm(self) -> None:
        """A second full comparison with another removal is a first one again."""
        self.check(removal(8))
        self.assertEqual((self.check(removal(9)), self.guard.held), (Plan(), 9))
        self.assertEqual(self.check(removal(9)), removal(9))

    def test_only_the_preceding_comparison_counts(self) -> None:
        """Removals are not confirmed if the comparison in between would have removed other services."""
        for plan in (removal(8), removal(8, first=10), removal(8)):
            self.assertEqual((self.check(plan), self.guard.held), (Plan(), 8))

    def test_partial_plan_does_not_confirm(self) -> None:
        """A plan that comes from single changes does not confirm a removal."""
        self.check(removal(8))
        for _ in range(3):
            self.assertEqual((self.check(removal(8), full=False), self.guard.held), (Plan(), 8))

    def test_confirmation_of_a_partial_plan(self) -> None:
        """A full comparison confirms the removals that were held back from a plan of single changes."""
        self.check(removal(8), full=False)
        self.assertEqual(self.check(removal(8)), removal(8))

    def test_normal_comparison_ends_the_suspicion(self) -> None:
        """A full comparison without suspicious removals between two others means that the second confirms nothing."""
        self.check(removal(8))
        self.check(Plan())
        self.assertEqual((self.check(removal(8)), self.guard.held), (Plan(), 8))

    def test_partial_plan_does_not_end_the_suspicion(self) -> None:
        """A plan of single changes without suspicious removals does not delay the confirmation."""
        self.check(removal(8))
        self.assertEqual((self.check(Plan(), full=False), self.guard.held), (Plan(), 0))
        self.assertEqual(self.check(removal(8)), removal(8))
