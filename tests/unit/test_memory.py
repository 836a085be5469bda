"""Tests for the memory of a live service."""

from __future__ import annotations

from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.registration import RegistrationRules
from ssdpreg.ssdp.reception import Reception
from tests.support.table_case import advertisement


class ObjectTests(SynchronousTestCase):
    """Tests for the objects of which the daemon keeps one for each live service."""

    def test_sizes(self) -> None:
        """The objects have the sizes in docs/performance.md, and no dictionaries of attributes."""
        announced = advertisement()
        claim = Claim(announced, Reception("10.0.0.5"), 0.0)
        service = TrackedService(claim, 0.0)
        registration = RegistrationRules("rack-7").registration(announced)
        for each, size in ((announced, 144), (claim, 160), (service, 112), (registration, 64)):
            self.assertLessEqual(getsizeof(each), size, each)
            self.assertFalse(hasattr(each, "__dict__"), each)
        self.assertEqual((claim.rare, service.rare), (None, None))
