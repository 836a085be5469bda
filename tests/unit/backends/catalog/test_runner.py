"""Tests for :mod:`ssdpreg.backends.catalog.runner`: several plans at a time, with a server in memory."""

from __future__ import annotations

from unittest.mock import patch

from zope.interface.verify import verifyObject

from ssdpreg.backends.catalog import plan_run
from ssdpreg.interfaces import IOverlappingPlans
from ssdpreg.registration import Outcome
from ssdpreg.testing import make_registration
from tests.support.overlapping_plans import OverlapTestCase, ids, second_service


class TransactionRunnerTests(OverlapTestCase):
    """Tests for :class:`ssdpreg.backends.catalog.runner.TransactionRunner`."""

    def setUp(self) -> None:
        super().setUp()
        self.server.holding = True

    def test_interface(self) -> None:
        """The backend provides ``IOverlappingPlans``."""
        verifyObject(IOverlappingPlans, self.backend)

    def test_next_plan(self) -> None:
        """Four transactions of all plans are in progress, as long as changes wait."""
        first = [make_registration(number) for number in range(100)]
        second = [make_registration(number) for number in range(100, 142)]
        one = self.apply(*first)
        self.assertEqual((len(self.server.held), self.rooms), (4, []))
        self.respond(0)
        self.assertEqual((len(self.server.held), self.rooms), (4, []))
        self.respond(0)
        self.assertEqual(self.rooms, [3])
        two = self.apply(*second)
        self.assertEqual((len(self.server.held), self.rooms), (4, [3]))
        self.respond(0)
        self.assertEqual((len(self.server.held), self.rooms), (4, [3]))
        self.assertNoResult(one)
        self.respond()
        self.assertEqual(self.successResultOf(one), Outcome(ids(*first)))
        self.assertEqual(self.successResultOf(two), Outcome(ids(*second)))
        self.assertEqual(self.rooms, [3, 3])
        self.assertEqual(self.read().keys(), ids(*first, *second))

    def test_plan_without_an_operation(self) -> None:
        """A plan that changes nothing ends at once, and there is room after it."""
        outcome = self.successResultOf(self.apply(remove=(make_registration(),)))
        self.assertEqual((outcome, self.rooms), (Outcome(ids(make_registration())), [0]))
        self.assertEqual((self.successResultOf(self.apply()), self.rooms), (Outcome(), [0, 0]))

    def test_one_change_of_a_node(self) -> None:
        """The change of a node waits for the one of an earlier plan. Others of its plan begin."""
        one = self.apply(make_registration(1))
        two = self.apply(second_service(1), make_registration(2))
        self.assertEqual(self.nodes(), [["device-1"], ["device-2"]])
        self.respond(1)
        self.assertEqual((self.nodes(), self.rooms), ([["device-1"]], [1, 2]))
        self.respond(0)
        self.successResultOf(one)
        self.assertNoResult(two)
        (operations,) = [each.operations for each in self.server.held]
        # The node has the index of the first change.
        self.assertEqual(operations[1]["Node"]["Node"]["ModifyIndex"], self.state.nodes["device-1"]["ModifyIndex"])
        writes = len(self.server.transactions)
        self.respond()
        self.assertEqual(self.successResultOf(two), Outcome(ids(second_service(1), make_registration(2))))
        self.assertEqual(len(self.server.transactions), writes + 1)
        self.assertEqual(self.read().keys(), ids(make_registration(1), second_service(1), make_registration(2)))

    def test_three_changes_of_a_node(self) -> None:
        """Changes of one node are applied in the order of their plans, also if one of them has to be tried again."""
        self.register(make_registration(1))
        self.state.transact(
            [{"Node": {"Verb": "set", "Node": {**self.state.nodes["device-1"], "Address": "10.0.0.1"}}}]
        )
        # All three have the same name, so that a wrong order is a collision.
        letters = [second_service(1, letter, name="RackHD-x") for letter in "bcd"]
        one = self.apply(letters[0])
        two = self.apply(letters[1], remove=(letters[0],))
        three = self.apply(letters[2], remove=(letters[1],))
        self.respond(0)
        self.assertNoResult(one)
        self.assertEqual(self.nodes(), [["device-1"]])
        self.respond()
        for number, each in enumerate((one, two, three)):
            self.assertEqual(self.successResultOf(each), Outcome(ids(*letters[max(0, number - 1) : number + 1])))
        self.assertEqual(self.read().keys(), ids(make_registration(1), letters[2]))

    def test_second_attempt(self) -> None:
        """The second attempt of a change begins before the changes of later plans."""
        self.register(make_registration(1))
        self.state.transact(
            [{"Node": {"Verb": "set", "Node": {**self.state.nodes["device-1"], "Address": "10.0.0.1"}}}]
        )
        one = self.apply(second_service(1))
        two = self.apply(*(make_registration(number) for number in range(10, 110)))
        self.respond(0)
        self.assertNoResult(one)
        self.assertEqual(self.nodes()[-1], ["device-1"])
        self.respond()
        self.assertEqual(self.successResultOf(one), Outcome(ids(second_service(1))))
        self.assertIsNone(self.successResultOf(two).unavailable)

    def test_departure_and_return(self) -> None:
        """A node that one plan removes is created again by the next one."""
        self.register(make_registration(1))
        one, two = self.apply(remove=(make_registration(1),)), self.apply(second_service(1))
        self.assertEqual(len(self.server.held), 1)
        self.respond()
        self.assertEqual(self.successResultOf(one), Outcome(ids(make_registration(1))))
        self.assertEqual(self.successResultOf(two), Outcome(ids(second_service(1))))
        self.assertEqual(self.read(), {second_service(1).service_id: second_service(1)})

    def test_bad_device(self) -> None:
        """A rejected device does not concern other plans."""
        self.state.denied = lambda kind, body: kind == "Service" and body["Node"] == "device-1"
        one, two = self.apply(make_registration(1), make_registration(2)), self.apply(make_registration(3))
        three = self.apply(second_service(1))
        self.respond()
        first = self.successResultOf(one)
        self.assertEqual((first.applied, first.refused.keys()), (ids(make_registration(2)), ids(make_registration(1))))
        self.assertEqual(self.successResultOf(two), Outcome(ids(make_registration(3))))
        self.assertEqual(self.successResultOf(three).refused.keys(), ids(second_service(1)))

    def test_lower_limit(self) -> None:
        """Transactions of two plans that meet a lower limit of the server are all divided."""
        first = [make_registration(number) for number in range(42)]
        second = [make_registration(number) for number in range(42, 100)]
        one, two = self.apply(*first), self.apply(*second)
        self.server.most_operations = 10
        self.respond()
        self.assertEqual(self.successResultOf(one), Outcome(ids(*first)))
        self.assertEqual(self.successResultOf(two), Outcome(ids(*second)))
        self.assertEqual(len(self.read()), 100)

    def test_unexpected_error(self) -> None:
        """A fault in one plan ends that plan, and its nodes can be changed by others."""
        self.register(make_registration(1))
        with patch.object(plan_run, "make_step", side_effect=RuntimeError("a fault of the test")):
            one = self.apply(make_registration(1, port=1), *(make_registration(number) for number in range(2, 90)))
        self.failureResultOf(one, RuntimeError)
        self.assertEqual(self.rooms, [])
        two = self.apply(make_registration(1, port=2))
        self.respond()
        self.assertEqual(self.successResultOf(two), Outcome(ids(make_registration(1))))
