"""Tests for plans of catalog mode that are in progress when something interrupts them."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed

from ssdpreg.backends.catalog.format import NodeContent
from ssdpreg.backends.catalog.listings import Inspection
from ssdpreg.backends.catalog.nodes import CatalogNode
from ssdpreg.errors import BackendUnavailableError, NotHolderError
from ssdpreg.registration import Outcome
from ssdpreg.testing import make_registration
from tests.support.overlapping_plans import OverlapTestCase, ids, second_service


class InterruptedPlansTests(OverlapTestCase):
    """Tests for plans in progress when Consul does not respond, when the lock is lost, or when the daemon stops."""

    def setUp(self) -> None:
        super().setUp()
        self.server.holding = True

    def test_no_response(self) -> None:
        """After an unknown outcome, no plan writes anything until the catalog has been read."""
        one = self.apply(make_registration(1))
        two = self.apply(second_service(1), *(make_registration(number) for number in range(10, 90)))
        three, four = self.apply(make_registration(2)), self.apply(second_service(1, "c"))
        self.assertEqual(len(self.server.held), 4)
        self.server.lose_responses = 1
        self.respond(0)
        self.assertIsInstance(self.successResultOf(one).unavailable, BackendUnavailableError)
        self.assertEqual(len(self.server.held), 3)
        self.respond()
        second = self.successResultOf(two)
        self.assertIsInstance(second.unavailable, BackendUnavailableError)
        self.assertEqual(second.applied, ids(*(make_registration(number) for number in range(10, 73))))
        for each in (three, four):
            self.assertIsInstance(self.successResultOf(each).unavailable, BackendUnavailableError)
        self.assertEqual(self.rooms, [1])
        self.assertEqual(self.read().keys(), second.applied | ids(make_registration(1)))
        self.register(make_registration(1, port=1), second_service(1), make_registration(2))

    def test_no_response_while_a_node_is_read(self) -> None:
        """A transaction that is not complete yet when another one has no response is not sent."""
        self.register(make_registration(1))
        reading: Deferred[Inspection] = Deferred()
        self.patch(self.backend._reader, "inspect", lambda name: reading)
        one = self.apply(*(make_registration(number) for number in range(10, 40)), remove=(make_registration(1),))
        self.assertEqual([len(each) for each in self.nodes()], [21, 9])
        self.server.lose_responses = 1
        self.respond(0)
        reading.callback(Inspection(CatalogNode(NodeContent("192.0.2.2"), 1), True))
        self.assertEqual([len(each) for each in self.nodes()], [9])
        self.respond()
        self.assertIsInstance(self.successResultOf(one).unavailable, BackendUnavailableError)

    def test_move_without_a_response(self) -> None:
        """A service that moves to another node counts as moved only when both nodes are written."""
        registrations = [make_registration(number) for number in range(120)]
        self.register(*registrations)
        self.backend = self.make_backend("ssdp-")
        self.read()
        # The other device shifts them, so that the fourth transaction ends with the first node of a service.
        moving = self.apply(make_registration(500), *registrations)
        self.server.lose_responses = 1
        self.respond(0)
        self.respond()
        done = {each.service_id for each in registrations if f"ssdp-{each.device_id}" in self.state.nodes}
        with_services = {node for node, _ in self.state.services}
        done -= {each.service_id for each in registrations if each.device_id in with_services}
        outcome = self.successResultOf(moving)
        self.assertLessEqual(outcome.applied, done | ids(make_registration(500)))
        self.assertGreater(len(outcome.applied), 30)

    def test_cancelled_plan(self) -> None:
        """A node of a cancelled plan is read before another plan changes it."""
        self.register(make_registration(1))
        one, two = self.apply(second_service(1)), self.apply(second_service(1, "c"), make_registration(2))
        self.server.held[0].apply()
        self.server.requests.clear()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertIn("/v1/catalog/node/device-1", [path for _, path, _ in self.server.requests])
        self.respond()
        self.assertEqual(self.successResultOf(two), Outcome(ids(second_service(1, "c"), make_registration(2))))
        expected = ids(make_registration(1), second_service(1), second_service(1, "c"), make_registration(2))
        self.assertEqual(self.backend._nodes.uncertain, {})
        self.assertEqual(self.read().keys(), expected)

    def test_cancelled_plan_that_waits(self) -> None:
        """A plan that is cancelled before its changes begin leaves them out, and others can change its nodes."""
        one = self.apply(make_registration(1), make_registration(2))
        two = self.apply(second_service(1))
        three = self.apply(second_service(1, "c"))
        two.cancel()
        self.failureResultOf(two, CancelledError)
        self.respond()
        for each in (one, three):
            self.assertIsNone(self.successResultOf(each).unavailable)
        self.assertEqual(self.read().keys(), ids(make_registration(1), make_registration(2), second_service(1, "c")))

    def test_cancelled_attempt(self) -> None:
        """A plan that is cancelled before its second attempt makes none."""
        registrations = [make_registration(number) for number in range(2)]
        self.register(*registrations)
        for each in registrations:
            self.state.transact(
                [{"Node": {"Verb": "set", "Node": {**self.state.nodes[each.device_id], "Address": "x"}}}]
            )
        readings: list[Deferred[Inspection]] = [succeed(Inspection()), Deferred()]
        self.patch(self.backend._reader, "refresh", lambda name: readings.pop(0))
        one = self.apply(*(make_registration(number, port=1) for number in range(2)))
        self.respond(0)
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertEqual((self.nodes(), readings), ([], []))

    def test_lock_lost(self) -> None:
        """When the lock is lost, no plan writes any more, and no transaction in progress is applied."""
        one = self.apply(*(make_registration(number) for number in range(90)))
        self.respond(0)
        two = self.apply(make_registration(100), second_service(50))
        self.fence.release()
        index, sent = self.state.index, len(self.server.transactions)
        self.respond()
        for each in (one, two):
            self.assertIsInstance(self.successResultOf(each).unavailable, NotHolderError)
        self.assertEqual((self.state.index, len(self.server.transactions)), (index, sent + 4))
        self.assertEqual(self.fence.losses, 1)

    def test_new_session(self) -> None:
        """Plans of an earlier session write nothing in the next one. Later plans wait until they have ended."""
        one = self.apply(*(make_registration(number) for number in range(90)))
        self.fence.release()
        self.fence.acquire()
        two = self.apply(make_registration(100))
        reads = len(self.server.requests)
        self.respond(0)
        # The first plan has not ended, so that the catalog is not read yet.
        self.assertEqual(len(self.server.requests), reads + 1)
        self.respond(0, 1, 2)
        self.assertIsInstance(self.successResultOf(one).unavailable, NotHolderError)
        self.assertEqual(self.nodes(), [["device-100"]])
        self.respond()
        self.assertEqual(self.successResultOf(two), Outcome(ids(make_registration(100))))
        self.assertEqual(self.read().keys(), ids(make_registration(100)))

    def test_session_changes_again(self) -> None:
        """A plan that waited for those of an earlier session is written in the session of the reading."""
        one = self.apply(make_registration(1))
        self.fence.release()
        self.fence.acquire()
        two = self.apply(make_registration(2))
        self.fence.release()
        self.fence.acquire()
        self.respond()
        self.assertIsInstance(self.successResultOf(one).unavailable, NotHolderError)
        self.assertEqual(self.successResultOf(two), Outcome(ids(make_registration(2))))

    def test_new_session_while_consul_is_slow(self) -> None:
        """Changes that wait when another session acquires the lock are not written in it."""
        one = self.apply(*(make_registration(number) for number in range(90)))
        self.respond(0, 1, 2)
        waiting = self.apply(*(make_registration(number) for number in range(100, 190)))
        self.fence.session = "another session"
        before = len(self.server.transactions)
        self.respond(0)
        self.respond(0)
        self.fence.session = ""
        self.respond()
        self.assertIsInstance(self.successResultOf(waiting).unavailable, NotHolderError)
        self.successResultOf(one)
        self.assertEqual(len(self.server.transactions), before + 4)

    def test_comparison(self) -> None:
        """A comparison waits for the plans in progress, and plans wait for the comparison."""
        one = self.apply(make_registration(1))
        before = len(self.server.requests)
        reading = Deferred.fromCoroutine(self.backend.read())
        two = self.apply(make_registration(2))
        self.assertEqual((len(self.server.requests), self.nodes()), (before, [["device-1"]]))
        self.respond(0)
        self.successResultOf(one)
        # The comparison checks the lock.
        self.assertEqual((self.nodes(), self.server.held[0].operations[0]), ([[]], self.fence.operation()))
        self.respond(0)
        self.assertEqual(self.successResultOf(reading).keys(), ids(make_registration(1)))
        self.assertEqual(self.nodes(), [["device-2"]])
        self.respond()
        self.successResultOf(two)

    def test_comparison_after_a_plan_that_waits(self) -> None:
        """A plan that waited for a comparison begins before the next comparison, which waits for it."""
        comparisons = [Deferred.fromCoroutine(self.backend.read())]
        one = self.apply(make_registration(1))
        comparisons.append(Deferred.fromCoroutine(self.backend.read()))
        self.respond(0)
        self.assertEqual(self.nodes(), [["device-1"]])
        self.respond()
        self.successResultOf(one)
        self.assertEqual([len(self.successResultOf(each)) for each in comparisons], [0, 1])

    def test_retirement(self) -> None:
        """The nodes of devices that left are deleted when the transactions in progress have ended."""
        registrations = [make_registration(number) for number in range(10)]
        self.register(*registrations)
        one = self.apply(remove=tuple(registrations))
        retiring = Deferred.fromCoroutine(self.backend.retire())
        self.respond()
        self.successResultOf(one)
        self.successResultOf(retiring)
        self.assertEqual([name for name in self.state.nodes if name.startswith("device-")], [])

    def test_unreadable(self) -> None:
        """There is room after a plan that is rejected because the catalog cannot be read."""
        self.fence.release()
        self.fence.acquire()
        self.server.faults["/v1/catalog/nodes"] = (403, "Permission denied")
        self.assertEqual(
            self.successResultOf(self.apply(make_registration(1))).refused.keys(), ids(make_registration(1))
        )
        self.assertEqual(self.rooms, [0])

    def test_cancelled_comparison(self) -> None:
        """A comparison that is cancelled while it waits lets plans begin."""
        one = self.apply(make_registration(1))
        reading = Deferred.fromCoroutine(self.backend.read())
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        two = self.apply(make_registration(2))
        self.assertEqual(self.nodes(), [["device-1"], ["device-2"]])
        self.respond()
        for each in (one, two):
            self.successResultOf(each)
