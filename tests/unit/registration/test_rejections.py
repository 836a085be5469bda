"""Tests for :mod:`ssdpreg.registration.rejections`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.errors import BackendRefusedError
from ssdpreg.registration.rejections import RejectedChanges
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)
DENIED = BackendRefusedError(403, "Permission denied")
CONFLICT = BackendRefusedError(409, "the node d1 of the catalog belongs to scope 'b'")
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
        """A registration is retried after 30 s. The pause doubles with each further rejection, up to an hour."""
        now, pauses = 1000.0, []
        for _ in range(10):
            self.rejected.add(ONE.service_id, ONE, INVALID, now)
            pause = 1.0
            while not self.rejected.may_try(ONE.service_id, ONE, now + pause):
                pause += 1.0
            now += pause
            pauses.append(pause)
        self.assertEqual(pauses, [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0])

    def test_retry_time_of_a_conflict(self) -> None:
        """While an entry of another program is in the way, the registration is retried every two minutes."""
        now, pauses = 1000.0, []
        for _ in range(5):
            self.rejected.add(ONE.service_id, ONE, CONFLICT, now)
            pause = next(each for each in range(10_000) if self.rejected.may_try(ONE.service_id, ONE, now + each))
            now += pause
            pauses.append(pause)
        self.assertEqual(pauses, [30, 60, 120, 120, 120])

    def test_rate_of_conflicts(self) -> None:
        """Many conflicts cause at most ten attempts in a second on average, and each is retried within an hour."""
        for count, longest in ((1200, 120), (5000, 500), (40_000, 3600)):
            self.rejected.clear()
            for number in range(count):
                self.rejected.add(str(number), ONE, INVALID, 0.0)
            for _ in range(10):
                self.rejected.add("0", ONE, CONFLICT, 0.0)
            self.assertFalse(self.rejected.may_try("0", ONE, longest - 1))
            self.assertTrue(self.rejected.may_try("0", ONE, longest))

    def test_retry_of_a_removal(self) -> None:
        """A rejected removal is retried every 30 s."""
        for now in (0.0, 30.0, 60.0):
            self.rejected.add(ONE.service_id, None, DENIED, now)
            self.assertFalse(self.rejected.may_try(ONE.service_id, None, now + 29.9))
            self.assertTrue(self.rejected.may_try(ONE.service_id, None, now + 30.0))

    def test_other_change_of_the_service(self) -> None:
        """A changed registration, a removal after a rejected registration, and the reverse may be tried at once."""
        self.rejected.add(ONE.service_id, ONE, INVALID, 0.0)
        self.assertFalse(self.rejected.may_try(ONE.service_id, replace(ONE), 0.0))
        self.assertTrue(self.rejected.may_try(ONE.service_id, replace(ONE, address="192.0.2.99"), 0.0))
        self.assertTrue(self.rejected.may_try(ONE.service_id, None, 0.0))
        self.rejected.add(ONE.service_id, None, DENIED, 0.0)
        self.assertTrue(self.rejected.may_try(ONE.service_id, ONE, 0.0))

    def test_other_services(self) -> None:
        """The changes of other services may be tried."""
        self.rejected.add(TWO.service_id, TWO, INVALID, 0.0)
        self.assertTrue(self.rejected.may_try(ONE.service_id, ONE, 0.0))

    def test_accept(self) -> None:
        """After an accepted change, the changes that were rejected with the same error may be tried."""
        three = make_registration(3)
        for each, error in ((ONE, INVALID), (TWO, INVALID), (three, DENIED)):
            self.rejected.add(each.service_id, each, error, 0.0)
        self.assertEqual(self.rejected.accept(ONE.service_id), [TWO.service_id])
        self.assertEqual(self.rejected.accept(ONE.service_id), [])
        self.assertTrue(self.rejected.may_try(TWO.service_id, TWO, 0.0))
        self.assertEqual(len(self.rejected), 1)

    def test_accept_common(self) -> None:
        """After an accepted change whose rejection had a common cause, all of these may be tried."""
        three = make_registration(3)
        for each, error, common in ((ONE, INVALID, True), (TWO, DENIED, True), (three, DENIED, False)):
            self.rejected.add(each.service_id, each, error, 0.0, common=common)
        self.assertEqual(self.rejected.accept(ONE.service_id), [TWO.service_id])

    def test_common_cause_remains(self) -> None:
        """A registration that was rejected for a common cause keeps it when it is rejected again alone."""
        for each, error in ((ONE, INVALID), (TWO, DENIED)):
            self.rejected.add(each.service_id, each, error, 0.0, common=True)
        self.rejected.add(ONE.service_id, ONE, INVALID, 30.0)
        self.assertEqual(self.rejected.accept(ONE.service_id), [TWO.service_id])
        self.rejected.add(TWO.service_id, TWO, DENIED, 30.0, common=True)
        self.rejected.add(ONE.service_id, ONE, INVALID, 60.0)
        self.assertEqual(self.rejected.accept(ONE.service_id), [])

    def test_try_one(self) -> None:
        """The earliest rejection with a common cause may be tried again: that of another service each time."""
        three, four = make_registration(3), make_registration(4)
        other = BackendRefusedError(400, "Invalid port")
        self.rejected.add(four.service_id, four, BackendRefusedError(400, "Invalid tag"), 0.0)
        for each, error, common in ((ONE, INVALID, False), (TWO, INVALID, False), (three, other, True)):
            self.rejected.add(each.service_id, each, error, 0.0, common=common)
        for now, each, error in ((1.0, ONE, INVALID), (2.0, TWO, INVALID), (3.0, three, other), (4.0, ONE, INVALID)):
            self.rejected.try_one(now)
            tried = [one for one in (ONE, TWO, three, four) if self.rejected.may_try(one.service_id, one, now)]
            self.assertEqual(tried, [each])
            self.rejected.add(each.service_id, each, error, now)

    def test_try_one_of_single_rejections(self) -> None:
        """A rejection that only one service has, and a rejected removal, do not have a common cause."""
        self.rejected.add(ONE.service_id, ONE, INVALID, 0.0)
        self.rejected.add(TWO.service_id, None, DENIED, 0.0, common=True)
        self.rejected.try_one(1.0)
        self.assertFalse(self.rejected.may_try(ONE.service_id, ONE, 1.0))
        self.assertFalse(self.rejected.may_try(TWO.service_id, None, 1.0))

    def test_release_denied(self) -> None:
        """The changes that were rejected for a missing permission can be released, and all can be removed."""
        self.rejected.add(ONE.service_id, ONE, DENIED, 0.0)
        self.rejected.add(TWO.service_id, TWO, INVALID, 0.0)
        self.assertEqual(self.rejected.release_denied(), [ONE.service_id])
        self.assertEqual(len(self.rejected), 1)
        self.rejected.clear()
        self.assertEqual((len(self.rejected), self.rejected.error(TWO.service_id)), (0, None))
        self.assertTrue(self.rejected.add(TWO.service_id, TWO, INVALID, 0.0))
