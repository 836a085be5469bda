"""Tests for :mod:`ssdpreg.registration.plan`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import Plan, Registration
from ssdpreg.registration.plan import plan
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)


def by_id(*registrations: Registration) -> dict[str, Registration]:
    """Return registrations by service ID."""
    return {registration.service_id: registration for registration in registrations}


class PlanTests(SynchronousTestCase):
    """Tests for :func:`plan`."""

    def test_equal(self) -> None:
        """The plan is empty when desired and actual registrations are equal."""
        self.assertFalse(plan(by_id(ONE, TWO), by_id(TWO, ONE)))

    def test_difference(self) -> None:
        """Missing and different registrations are registered, and surplus ones are deregistered."""
        moved = replace(TWO, address="192.0.2.99")
        three = make_registration(3)
        self.assertEqual(plan(by_id(ONE, moved), by_id(TWO, three)), Plan(register=(ONE, moved), deregister=(three,)))
