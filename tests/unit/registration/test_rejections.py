"""Tests for :mod:`ssdpreg.registration.rejections`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration import Plan
from ssdpreg.registration.rejections import RejectedChanges
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)
DENIED = BackendRefusedError(403, "Permission denied")
INVALID = BackendRefusedError(400, "Invalid service address")


class RejectedChangesTests(SynchronousTestCase):
    """Tests for :class:`RejectedChanges`."""

    def setUp(self) -> None:
        self.rejected = RejectedChanges()

    def test_first_rejection(self) -> None:
        """Only the first rejection with an error is reported as such, for whichever service."""
        self.assertTrue(self.rejected.add(ONE.service_id, ONE, DENIED, 0.0))
        self.assertFalse(self.rejected.add(ONE.service_id, ONE, DENIED, 60.0))
        self.assertFalse(self.rejected.add(TWO.service_id, TWO, BackendRefusedError(403, "Permission denied"), 60.0))
        self.assertTrue(self.rejected.add(TWO.service_id, TWO, INVALID, 120.0))

    def test_first_rejection_after_a_success(self) -> None:
        """A rejection is the first one again after all rejections with its error were removed."""
        self.rejected.add(ONE.service_id, ONE, DENIED, 0.0)
        self.rejected.remove(ONE.service_id)
        self.assertTrue(self.rejected.add(ONE.service_id, ONE, DENIED, 60.0))

    def test_error(self) -> None:
        """The reason of the latest rejection of a service is available until the rejection is removed."""
        self.assertIsNone(self.rejected.error(ONE.service_id))
        self.rejected.add(ONE.service_id, ONE, DENIED, 0.0)
        self.rejected.add(ONE.service_id, ONE, INVALID, 60.0)
        self.assertIs(self.rejected.error(ONE.service_id), INVALID)
        self.assertIsNone(self.rejected.error(TWO.service_id))
        self.rejected.remove(ONE.service_id)
        self.assertIsNone(self.rejected.error(ONE.service_id))

    def test_remove_without_a_rejection(self) -> None:
        """The removal of a rejection that does not exist has no effect."""
        self.rejected.add(ONE.service_id, ONE, DENIED, 0.0)
        self.rejected.remove(TWO.service_id)
        self.assertIs(self.rejected.error(ONE.service_id), DENIED)

    def test_retry_time(self) -> None:
        """A change is retried 60 s after a missing permission, and an hour after any other rejection."""
        for status, pause in {401: 60.0, 403: 60.0, 400: 3600.0, 500: 3600.0}.items():
            self.rejected.add(ONE.service_id, ONE, BackendRefusedError(status, "No"), 1000.0)
            self.assertFalse(self.rejected.due(Plan(register=(ONE,)), 1000.0 + pause - 0.1))
            self.assertEqual(self.rejected.due(Plan(register=(ONE,)), 1000.0 + pause), Plan(register=(ONE,)))

    def test_retry_of_a_removal(self) -> None:
        """A rejected removal is retried after the same pause, also if the registration was changed meanwhile."""
        self.rejected.add(ONE.service_id, None, DENIED, 0.0)
        for found in (ONE, replace(ONE, port=9090)):
            self.assertFalse(self.rejected.due(Plan(deregister=(found,)), 59.9))
            self.assertEqual(self.rejected.due(Plan(deregister=(found,)), 60.0), Plan(deregister=(found,)))

    def test_other_change_of_the_service(self) -> None:
        """A changed registration, a removal after a rejected registration, and the reverse are due at once."""
        changed = replace(ONE, address="192.0.2.99")
        self.rejected.add(ONE.service_id, ONE, INVALID, 0.0)
        self.assertEqual(self.rejected.due(Plan((changed,)), 0.0), Plan((changed,)))
        self.assertEqual(self.rejected.due(Plan((), (ONE,)), 0.0), Plan((), (ONE,)))
        self.rejected.add(ONE.service_id, None, DENIED, 0.0)
        self.assertEqual(self.rejected.due(Plan((ONE,)), 0.0), Plan((ONE,)))

    def test_other_services(self) -> None:
        """The changes of other services are due, in their order."""
        three = make_registration(3)
        self.rejected.add(TWO.service_id, TWO, INVALID, 0.0)
        self.assertEqual(self.rejected.due(Plan((three, TWO, ONE)), 0.0), Plan((three, ONE)))
        self.assertEqual(self.rejected.due(Plan((), (three, TWO, ONE)), 0.0), Plan((), (three, TWO, ONE)))
