"""Tests for :mod:`ssdpreg.registration.differences`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.events import Reason
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.differences import AppliedChange, Differences, ServiceState
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)
INVALID = BackendRefusedError(400, "Invalid service address")
DENIED = BackendRefusedError(403, "Permission denied")


class DifferencesTests(SynchronousTestCase):
    """Tests for :class:`Differences`."""

    def setUp(self) -> None:
        self.desired: dict[str, Registration] = {}
        self.priorities: dict[str, int] = {}
        self.differences = Differences(self.desired, lambda service_id: self.priorities.get(service_id, 0))
        self.differences.adopted = True

    def load(self, *registrations: Registration) -> None:
        """Load the content of the backend, and compare everything."""
        self.differences.load({each.service_id: each for each in registrations}, 0.0)
        for service_id in self.differences.ids():
            self.differences.compare(service_id, 0.0)
        self.differences.check_removals(0.0, full=True)

    def appear(self, registration: Registration) -> None:
        """Make a service live, or change its registration."""
        self.desired[registration.service_id] = registration
        self.differences.appeared(registration.service_id, 0.0)

    def leave(self, registration: Registration, reason: Reason = "byebye") -> None:
        """End a live service."""
        del self.desired[registration.service_id]
        self.differences.left(registration.service_id, reason, 0.0)

    def apply(self, changes: Plan) -> list[AppliedChange]:
        """Record that the backend applied a whole plan, and return its changes."""
        applied = frozenset(each.service_id for each in (*changes.register, *changes.deregister))
        recorded = list(self.differences.record(changes, Outcome(applied), 0.0))
        self.differences.end_progress(changes, 0.0)
        return recorded

    def test_order(self) -> None:
        """A byebye comes first, then a move, then new services, the ones of a high priority first."""
        moved, three, four = replace(TWO, address="192.0.2.99"), make_registration(3), make_registration(4)
        self.appear(ONE)
        self.appear(TWO)
        self.load(ONE, TWO)
        self.priorities[three.service_id] = 1
        for each in (three, four, moved):
            self.appear(each)
        self.leave(ONE)
        taken = [self.differences.take(1) for _ in range(4)]
        self.assertEqual(taken, [Plan((), (ONE,)), Plan((moved,)), Plan((three,)), Plan((four,))])

    def test_counts(self) -> None:
        """Changes that can be applied and removals that are held back count together."""
        self.load(*(make_registration(number) for number in range(10, 18)))
        for number in range(3):
            self.appear(make_registration(number))
        self.assertEqual((self.differences.queued, self.differences.held), (3, 8))
        self.assertEqual((self.differences.pending, self.differences.remembered), (11, 11))

    def test_before_the_adoption(self) -> None:
        """Before the services of an earlier run are adopted, unknown ones are not removed."""
        self.differences = Differences(self.desired, lambda _: 0)
        self.load(ONE)
        self.assertEqual((self.differences.adopted, self.differences.pending), (False, 0))
        self.differences.adopted = True
        self.load(ONE)
        self.assertEqual(self.differences.take(5), Plan((), (ONE,)))

    def test_states(self) -> None:
        """A service that the backend holds is registered, any other one waits."""
        self.appear(ONE)
        self.assertEqual(self.differences.state(ONE.service_id), ServiceState("waiting"))
        self.appear(TWO)
        self.load(ONE)
        self.assertEqual(self.differences.state(ONE.service_id), ServiceState("registered"))
        self.assertEqual(self.differences.state(TWO.service_id), ServiceState("waiting"))
        self.appear(replace(ONE, port=1))
        self.assertEqual(self.differences.state(ONE.service_id), ServiceState("waiting"))

    def test_before_the_first_comparison(self) -> None:
        """Before the content of the backend is known, nothing is removed."""
        self.differences.check_removals(0.0, full=True)
        self.assertEqual((self.differences.queued, self.differences.held), (0, 0))

    def test_rejected_changes_are_counted(self) -> None:
        """A rejected change is pending and remembered, besides those that wait."""
        self.load()
        self.appear(ONE)
        changes = self.differences.take(1)
        list(self.differences.record(changes, Outcome(), 0.0))
        list(self.differences.reject(changes, {ONE.service_id: INVALID}, 0.0))
        self.differences.end_progress(changes, 0.0)
        self.appear(TWO)
        self.assertEqual((self.differences.pending, self.differences.remembered), (2, 2))

    def test_nothing_is_kept(self) -> None:
        """Nothing is kept for services that come and go while the backend does not hold them."""
        for loaded in (False, True):
            if loaded:
                self.appear(TWO)
                self.load(TWO)
            for number in range(10, 1000):
                registration = make_registration(number)
                self.appear(registration)
                self.leave(registration, "byebye" if number % 2 else "expired")
            self.assertEqual((self.differences.remembered, self.differences.pending), (0, 0))

    def test_bound_during_an_outage(self) -> None:
        """The number of remembered departures is bounded by the content of the backend."""
        every = [make_registration(number) for number in range(100)]
        for each in every:
            self.appear(each)
        self.load(*every)
        for _ in range(3):
            for each in every:
                self.leave(each)
                self.appear(each)
        self.assertEqual(self.differences.remembered, 0)
        for each in every:
            self.leave(each)
        self.assertLessEqual(self.differences.remembered, 200)
        self.load()
        self.assertEqual(self.differences.remembered, 0)

    def test_unknown_outcome(self) -> None:
        """The next content of the backend shows which changes with an unknown outcome were applied."""
        moved, three, four = replace(TWO, address="192.0.2.99"), make_registration(3), make_registration(4)
        before = (ONE, TWO, four)
        moves, news, departure = (
            AppliedChange("Updated", moved),
            AppliedChange("Registered", three),
            AppliedChange("Deregistered", ONE, "byebye"),
        )
        for is_adopted, found, expected in (
            (True, (moved, three, four), [moves, news, departure]),
            (True, (ONE, TWO, four), []),
            (True, (ONE, moved), [moves]),
            (True, (), [departure]),
            (False, (moved, three, four), []),
        ):
            self.setUp()
            for each in before:
                self.appear(each)
            self.load(*before)
            self.leave(ONE)
            self.appear(moved)
            self.appear(three)
            changes = self.differences.take(10)
            list(self.differences.record(changes, Outcome(unavailable=BackendUnavailableError("lost")), 0.0))
            self.differences.end_progress(changes, 0.0)
            self.differences.adopted = is_adopted
            content = {each.service_id: each for each in found}
            self.assertCountEqual(self.differences.load(dict(content), 0.0), expected)
            self.assertEqual(self.differences.load(content, 0.0), [])

    def test_departure_in_progress(self) -> None:
        """A service that leaves while it is registered is removed afterwards, with its reason."""
        self.load()
        self.appear(ONE)
        changes = self.differences.take(10)
        self.leave(ONE)
        self.assertEqual(self.apply(changes), [AppliedChange("Registered", ONE)])
        removal = self.differences.take(10)
        self.assertEqual(self.apply(removal), [AppliedChange("Deregistered", ONE, "byebye")])
        self.assertEqual(self.differences.remembered, 0)

    def test_failed_departure_in_progress(self) -> None:
        """Nothing is kept for a service that leaves while its registration fails."""
        self.load()
        self.appear(ONE)
        changes = self.differences.take(10)
        self.leave(ONE)
        self.differences.end_progress(changes, 0.0)
        self.assertEqual((self.differences.remembered, self.differences.pending), (0, 0))

    def test_failed_plan(self) -> None:
        """Changes that were not applied are pending again."""
        self.load()
        self.appear(ONE)
        changes = self.differences.take(10)
        self.assertEqual(changes, Plan((ONE,)))
        self.assertEqual((self.differences.queued, self.differences.pending), (0, 1))
        self.differences.end_progress(changes, 0.0)
        self.assertEqual(self.differences.take(10), Plan((ONE,)))

    def test_one_object(self) -> None:
        """An equal registration of the backend is replaced by the one of the live service."""
        self.appear(ONE)
        self.load(replace(ONE))
        assert self.differences.actual is not None
        self.assertIs(self.differences.actual[ONE.service_id], ONE)

    def test_rejected(self) -> None:
        """A rejected change is pending, is not taken before its time, and is removed when the service leaves."""
        self.load()
        self.appear(ONE)
        changes = self.differences.take(10)
        rejected = list(self.differences.reject(changes, {ONE.service_id: INVALID}, 0.0))
        self.differences.end_progress(changes, 0.0)
        self.assertEqual(rejected, [(ONE.service_id, INVALID)])
        self.assertEqual((self.differences.queued, self.differences.pending), (0, 1))
        self.assertEqual(self.differences.state(ONE.service_id), ServiceState("refused", str(INVALID)))
        self.differences.compare(ONE.service_id, 30.0)
        self.assertEqual(self.differences.queued, 1)
        self.leave(ONE)
        self.assertEqual((self.differences.queued, self.differences.pending), (0, 0))

    def test_accepted_again(self) -> None:
        """When a rejected change is accepted, the others with the same error are pending at once."""
        self.load()
        for each in (ONE, TWO):
            self.appear(each)
        changes = self.differences.take(10)
        list(self.differences.reject(changes, {ONE.service_id: INVALID, TWO.service_id: INVALID}, 0.0))
        self.differences.end_progress(changes, 0.0)
        self.differences.compare(ONE.service_id, 30.0)
        self.apply(self.differences.take(10))
        self.assertEqual(self.differences.take(10), Plan((TWO,)))

    def reject(self, *registered: Registration, **refused: BackendRefusedError) -> None:
        """Record that the backend rejected some registrations of a plan: the error by ``one`` or ``two``."""
        by_name = {"one": ONE.service_id, "two": TWO.service_id}
        errors = {by_name[name]: error for name, error in refused.items()}
        list(self.differences.reject(Plan(registered), errors, 0.0))

    def test_rejection_of_a_whole_plan(self) -> None:
        """The rejections of all registrations of a plan have a common cause, if the plan has several."""
        self.load()
        for each in (ONE, TWO, make_registration(3)):
            self.appear(each)
        self.reject(ONE, TWO, one=INVALID, two=DENIED)
        self.assertEqual(self.differences.rejected.accept(ONE.service_id), [TWO.service_id])
        self.reject(ONE, TWO, make_registration(3), one=INVALID, two=DENIED)
        self.assertEqual(self.differences.rejected.accept(ONE.service_id), [])
        self.differences.rejected.clear()
        self.reject(ONE, one=INVALID)
        self.reject(TWO, two=DENIED)
        self.assertEqual(self.differences.rejected.accept(ONE.service_id), [])

    def test_rejection_of_all_live_services(self) -> None:
        """A rejection has a common cause if all live services are rejected then, also in several plans."""
        self.load()
        for each in (ONE, TWO):
            self.appear(each)
        self.reject(ONE, one=INVALID)
        self.load()
        self.assertFalse(self.differences.rejected.may_try(ONE.service_id, ONE, 0.0))
        self.reject(TWO, two=DENIED)
        self.load()
        self.assertFalse(self.differences.rejected.may_try(ONE.service_id, ONE, 0.0))
        self.assertTrue(self.differences.rejected.may_try(TWO.service_id, TWO, 0.0))

    def test_removal_after_a_rejection(self) -> None:
        """The removal of a service whose change was rejected does not release other rejected changes."""
        changed = [replace(each, port=9090) for each in (ONE, TWO)]
        for each in (ONE, TWO):
            self.appear(each)
        self.load(ONE, TWO)
        for each in changed:
            self.appear(each)
        changes = self.differences.take(10)
        list(self.differences.reject(changes, {ONE.service_id: INVALID, TWO.service_id: INVALID}, 0.0))
        self.differences.end_progress(changes, 0.0)
        self.leave(changed[0])
        self.apply(self.differences.take(10))
        self.assertEqual((self.differences.queued, self.differences.pending), (0, 1))

    def test_not_adopted(self) -> None:
        """Before the adoption, only a service that left is removed."""
        self.differences.adopted = False
        self.appear(ONE)
        self.load(ONE, TWO)
        self.leave(ONE, "expired")
        self.differences.check_removals(0.0, full=False)
        self.assertEqual(self.differences.take(10), Plan((), (ONE,)))
        self.assertEqual(self.differences.pending, 1)
