"""Tests for :mod:`ssdpreg.reconciler`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer

from ssdpreg.backends import garbage
from ssdpreg.backends.changes import ChangeRunner
from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.discovery.events import Reason
from ssdpreg.errors import BackendForgotError, BackendInUseError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import (
    ICredentials,
    IEarlierRegistrations,
    IKnownRegistrations,
    IOverlappingPlans,
    IWriteProbe,
)
from ssdpreg.reconciler import KeepAlive, Reconciler, ServiceState
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.testing import make_registration
from tests.support.memory_lock import LockedBackend

ONE, TWO, THREE = make_registration(1), make_registration(2), make_registration(3)


def by_id(*registrations: Registration) -> dict[str, Registration]:
    return {registration.service_id: registration for registration in registrations}


class FaultyBackend(EmbeddedBackend):
    """
    Backend in memory that can fail.

    :ivar calls: Names of the called methods.
    :ivar error: Error of every method, or None.
    :ivar working: Names of the methods without the error.
    :ivar refused: Error by ID of the services whose changes are rejected.
    :ivar hanging: Whether calls wait for a Deferred in ``waiting``.
    :ivar hanging_names: Names of methods of which each call waits.
    :ivar waiting: Deferreds of the waiting calls.
    :ivar most_changes: Number of registrations of a plan after which the backend is unavailable, or None.
    :ivar closed: Whether it was closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.working: set[str] = {"apply"}
        self.refused: dict[str, BackendRefusedError] = {}
        self.hanging = False
        self.hanging_names: set[str] = set()
        self.most_changes: int | None = None
        self.waiting: list[Deferred[None]] = []
        self.closed = False

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.hanging or name in self.hanging_names:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting
        if self.error is not None and name not in self.working:
            raise self.error

    async def read(self) -> Mapping[str, Registration]:
        await self._called("read")
        return await super().read()

    async def keep_alive(self) -> None:
        await self._called("keep_alive")

    async def apply(self, plan: Plan) -> Outcome:
        await self._called("apply")
        if isinstance(self.error, BackendUnavailableError):
            return Outcome(unavailable=self.error)
        if self.most_changes is not None:
            part = await super().apply(Plan(register=plan.register[: self.most_changes]))
            return replace(part, unavailable=BackendUnavailableError("limit of the test"))
        allowed = [
            tuple(each for each in part if each.service_id not in self.refused)
            for part in (plan.register, plan.deregister)
        ]
        outcome = await super().apply(Plan(*allowed))
        planned = {each.service_id for each in (*plan.register, *plan.deregister)}
        return replace(outcome, refused={key: error for key, error in self.refused.items() if key in planned})

    async def retire(self) -> None:
        await self._called("retire")

    async def close(self) -> None:
        self.closed = True


class ReconcilerTestCase(SynchronousTestCase):
    """Base class: a reconciler with a clock and a backend that can fail."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = self.make_backend()
        self.desired: dict[str, Registration] = {}
        self.adopted: list[list[Registration]] = []
        self.reconciler = self.make_reconciler()
        stack = ExitStack()
        self.addCleanup(stack.close)
        self._captured = stack.enter_context(capturedLogs())

    @property
    def logged(self) -> list[LogEvent]:
        """Log events of the reconciler above debug level."""
        return [
            event
            for event in self._captured
            if event["log_namespace"] == "ssdpreg.reconciler.service.Reconciler"
            and event["log_level"] is not LogLevel.debug
        ]

    @property
    def lines(self) -> list[str]:
        """First words of the log lines, up to the first field."""
        return [str(event["log_format"]).split(" {")[0].split(":")[0] for event in self.logged]

    @property
    def reasons(self) -> list[str]:
        """Reasons of the logged deregistrations."""
        return [str(event["reason"]) for event in self.logged if "reason" in event]

    def make_backend(self) -> FaultyBackend:
        """Return the backend."""
        return FaultyBackend()

    def make_reconciler(self, *, deregister_on_stop: bool = False) -> Reconciler:
        """Return a reconciler that adopts all services except those with the name ``unmatched``."""
        return Reconciler(
            self.clock,
            self.backend,
            self.desired,
            self.adopt,
            deregister_on_stop=deregister_on_stop,
            random=Random(1),
        )

    def adopt(self, found: Iterable[Registration]) -> None:
        """Record what is to be adopted, and make it live."""
        self.adopted.append(list(found))
        for registration in self.adopted[-1]:
            if registration.name != "unmatched":
                self.appear(registration)

    def appear(self, registration: Registration) -> None:
        """Make a service live, or change its registration."""
        before = self.desired.get(registration.service_id)
        self.desired[registration.service_id] = registration
        if before is None:
            self.reconciler.appeared(registration)
        else:
            self.reconciler.changed(registration, before)

    def leave(self, registration: Registration, reason: Reason) -> None:
        """End a live service."""
        self.desired.pop(registration.service_id, None)
        self.reconciler.left(registration, reason)

    def start(self) -> None:
        """Start the reconciler, and stop it at the end of the test."""
        self.reconciler.startService()
        self.addCleanup(self.stop)
        self.advance(0.1)

    def stop(self) -> None:
        """Stop the reconciler if it is running."""
        if self.reconciler.running:
            self.successResultOf(self.reconciler.stopService())

    def advance(self, seconds: float) -> None:
        """Advance the clock in small steps."""
        self.clock.pump([0.1] * round(seconds / 0.1))

    def registered(self) -> dict[str, Registration]:
        """Return the registrations of the backend."""
        return dict(self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.read(self.backend))))

    def put(self, *registrations: Registration) -> None:
        """Write registrations to the backend without the reconciler, as an earlier run did."""
        self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.apply(self.backend, Plan(register=registrations))))

    def remove(self, *registrations: Registration) -> None:
        """Remove registrations from the backend without the reconciler, as an operator can."""
        removal = Plan(deregister=registrations)
        self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.apply(self.backend, removal)))


class ChangeTests(ReconcilerTestCase):
    """Changes of the live services while the backend works."""

    def test_registers_within_a_second(self) -> None:
        """Live services are registered within a second. Simultaneous changes are one plan."""
        self.start()
        self.backend.calls.clear()
        self.appear(ONE)
        self.appear(TWO)
        self.advance(0.2)
        self.assertEqual((self.registered(), self.backend.calls), (by_id(ONE, TWO), ["apply"]))
        self.assertEqual(self.lines, ["Registered", "Registered"])
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("registered"))

    def test_updates_and_deregisters(self) -> None:
        """A changed service is updated in place, and one that left is removed. The log has the reason."""
        self.start()
        self.appear(ONE)
        self.advance(0.2)
        moved = replace(ONE, address="192.0.2.99")
        self.appear(moved)
        self.advance(0.2)
        self.assertEqual(self.registered(), by_id(moved))
        self.leave(moved, "byebye")
        self.advance(0.2)
        self.assertEqual(self.registered(), {})
        self.assertEqual(self.lines, ["Registered", "Updated", "Deregistered"])
        self.assertEqual(self.reasons, ["byebye"])

    def test_keep_alive_first(self) -> None:
        """A keep-alive is sent before anything is read from the backend or written to it."""
        self.appear(ONE)
        self.start()
        self.assertEqual(self.backend.calls, ["keep_alive", "read", "apply"])

    def test_short_absence(self) -> None:
        """A service that leaves and appears within one turn is not deregistered, and that departure has no effect."""
        self.start()
        self.appear(ONE)
        self.advance(0.2)
        self.leave(ONE, "byebye")
        self.appear(ONE)
        self.advance(0.2)
        self.assertEqual(self.lines, ["Registered"])
        self.leave(ONE, "expired")
        self.advance(0.2)
        self.assertEqual(self.reasons, ["expired"])

    def test_leaves_and_returns(self) -> None:
        """A deregistered service is registered again when it appears again."""
        self.start()
        for _ in range(3):
            self.appear(ONE)
            self.advance(0.2)
            self.assertEqual((self.registered(), self.reconciler.pending), (by_id(ONE), 0))
            self.leave(ONE, "byebye")
            self.advance(0.2)
            self.assertEqual((self.registered(), self.reconciler.pending), ({}, 0))

    def test_steady_state(self) -> None:
        """Without changes there is a keep-alive every 10 s, a comparison every 30 s, and no write."""
        self.put(*(make_registration(number) for number in range(200)))
        self.start()
        self.backend.calls.clear()
        self.advance(60)
        self.assertEqual(
            {name: self.backend.calls.count(name) for name in set(self.backend.calls)}, {"keep_alive": 6, "read": 2}
        )

    def test_known_registrations(self) -> None:
        """A backend that can return known registrations has those of the previous comparison."""
        directlyProvides(self.backend, IKnownRegistrations)
        self.start()
        self.assertEqual(self.backend.known, {})  # type: ignore[attr-defined]
        self.appear(ONE)
        self.advance(30)
        self.assertIs(self.backend.known[ONE.service_id], ONE)  # type: ignore[attr-defined]

    def test_repairs(self) -> None:
        """Registrations that were changed in the backend are restored by the next comparison."""
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.remove(ONE)
        self.put(TWO)
        self.advance(30)
        self.assertEqual(self.registered(), by_id(ONE))

    def test_changes_during_a_turn(self) -> None:
        """Changes that happen while a plan is applied are applied by the next turn."""
        self.start()
        self.backend.hanging = True
        self.appear(ONE)
        self.advance(0.2)
        self.leave(ONE, "byebye")
        self.appear(TWO)
        self.backend.hanging = False
        self.backend.waiting.pop().callback(None)
        self.assertEqual(self.registered(), by_id(ONE))
        self.advance(0.2)
        self.assertEqual(self.registered(), by_id(TWO))

    def test_expires_during_a_turn(self) -> None:
        """A service that expires while a plan is applied is deregistered by the next turn, not by a comparison."""
        self.start()
        self.appear(TWO)
        self.advance(0.2)
        self.backend.hanging = True
        self.appear(ONE)
        self.advance(0.2)
        self.leave(TWO, "expired")
        self.backend.hanging = False
        self.backend.waiting.pop().callback(None)
        self.advance(0.3)
        self.assertEqual(self.registered(), by_id(ONE))

    def test_adopts_once(self) -> None:
        """The registrations of an earlier run are adopted once, by the first comparison, and not written again."""
        self.put(ONE, TWO)
        self.start()
        self.assertEqual(self.adopted, [[ONE, TWO]])
        self.assertNotIn("apply", self.backend.calls)
        self.advance(60)
        self.assertEqual(len(self.adopted), 1)

    def test_lost_response(self) -> None:
        """A change whose response was lost is logged when the next comparison finds it."""
        apply = self.backend.apply

        async def lose_response(plan: Plan) -> Outcome:
            await apply(plan)
            self.backend.apply = apply  # type: ignore[method-assign]
            return Outcome(unavailable=BackendUnavailableError("the response was lost"))

        self.start()
        self.backend.apply = lose_response  # type: ignore[method-assign]
        self.appear(ONE)
        self.advance(5)
        self.assertEqual(self.lines, ["Backend unavailable", "Registered", "Backend recovered after"])

    def test_earlier_registrations(self) -> None:
        """Registrations of an earlier run that the backend finds in another place are adopted, and registered."""

        async def read_earlier() -> list[Registration]:
            return [ONE, TWO]

        self.put(ONE)
        self.backend.read_earlier = read_earlier  # type: ignore[attr-defined]
        directlyProvides(self.backend, IEarlierRegistrations)
        self.start()
        self.assertEqual(self.adopted, [[ONE, TWO]])
        self.advance(30)
        self.assertEqual((self.registered(), len(self.adopted)), (by_id(ONE, TWO), 1))

    def test_not_adopted(self) -> None:
        """A registration of an earlier run that is not adopted is deregistered."""
        self.put(ONE, replace(TWO, name="unmatched"))
        self.start()
        self.assertEqual(self.registered(), by_id(ONE))

    def test_failing_adoption(self) -> None:
        """After an exception in the adoption nothing is removed, and the next comparison adopts again."""
        self.put(ONE, TWO)
        adopt, self.adopt = self.adopt, mock.Mock(side_effect=RuntimeError("unexpected"))  # type: ignore[method-assign]
        self.reconciler = self.make_reconciler()
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.advance(29)
        self.assertEqual(self.registered(), by_id(ONE, TWO))
        self.assertNotIn("apply", self.backend.calls)
        self.adopt.side_effect = adopt
        self.advance(2)
        self.assertEqual((self.adopted, self.reconciler.available), ([[ONE, TWO]], True))
        self.advance(60)
        self.assertEqual(self.registered(), by_id(ONE, TWO))
        self.assertNotIn("apply", self.backend.calls)

    def test_failing_adoption_with_pending_changes(self) -> None:
        """Changes of live services do not shorten the pause after an exception in the adoption."""
        self.put(ONE)
        self.adopt = mock.Mock(side_effect=RuntimeError("unexpected"))  # type: ignore[method-assign]
        self.reconciler = self.make_reconciler()
        self.appear(TWO)
        self.start()
        self.appear(make_registration(3))
        self.advance(20)
        self.assertEqual(self.backend.calls.count("read"), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_failing_read_with_pending_changes(self) -> None:
        """Changes of live services do not shorten the pause after an unexpected exception of the first comparison."""
        self.backend.error = RuntimeError("unexpected")
        self.start()
        self.appear(ONE)
        self.advance(29)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2 + 1)
        self.assertEqual((self.backend.calls.count("read"), self.reconciler.available), (0, False))

    def test_changes_without_adoption(self) -> None:
        """While the adoption fails, new services are registered, and services that say byebye are removed."""
        self.put(ONE)
        self.adopt = mock.Mock(side_effect=RuntimeError("unexpected"))  # type: ignore[method-assign]
        self.reconciler = self.make_reconciler()
        self.start()
        self.appear(TWO)
        self.advance(1)
        self.assertEqual(self.registered(), by_id(ONE, TWO))
        self.leave(TWO, "byebye")
        self.advance(1)
        self.assertEqual(self.registered(), by_id(ONE))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_adoption_in_parts(self) -> None:
        """Many registrations are adopted and compared in parts, and none of them is removed meanwhile."""
        every = [make_registration(number) for number in range(1100)]
        self.put(*every)
        self.reconciler.startService()
        self.addCleanup(self.stop)
        while not self.reconciler.available:
            self.clock.advance(0)
        self.assertEqual([len(part) for part in self.adopted], [500, 500, 100])
        self.advance(1)
        self.assertEqual(self.registered(), by_id(*every))
        self.assertNotIn("apply", self.backend.calls)


class KeepAliveTests(SynchronousTestCase):
    """Tests for :class:`KeepAlive`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = FaultyBackend()
        self.succeeded, self.lost, self.failed = mock.Mock(), mock.Mock(), mock.Mock()
        self.keep_alive = KeepAlive(
            self.clock, self.backend, self.succeeded, self.lost, self.failed, Logger("ssdpreg.test")
        )

    def start(self) -> None:
        """Start the keep-alives, and stop them at the end of the test."""
        self.keep_alive.start()
        self.addCleanup(self.keep_alive.stop)

    def send(self) -> Deferred[None]:
        """Send one keep-alive out of turn."""
        return Deferred.fromCoroutine(self.keep_alive.send())

    def test_interval(self) -> None:
        """A keep-alive is sent every 10 s, for the first time after 10 s."""
        self.start()
        for number in range(3):
            self.clock.advance(9.9)
            self.assertEqual(len(self.backend.calls), number)
            self.clock.advance(0.1)
            self.assertEqual(self.backend.calls, ["keep_alive"] * (number + 1))
        self.assertEqual((self.lost.call_count, self.failed.call_count), (0, 0))

    def test_stop(self) -> None:
        """No keep-alive is sent after the stop, and it may be called twice."""
        self.keep_alive.start()
        self.keep_alive.stop()
        self.keep_alive.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_entries(self) -> None:
        """A backend that lost its entries causes a call of ``lost`` and not of ``failed``."""
        self.backend.error = BackendForgotError("lost")
        self.start()
        self.clock.advance(10)
        self.lost.assert_called_once_with()
        self.failed.assert_not_called()

    def test_errors(self) -> None:
        """An unavailable backend and a rejection cause a call of ``failed`` with the error, and not of ``lost``."""
        self.start()
        errors = [BackendUnavailableError("down"), BackendRefusedError(403, "Permission denied")]
        for error in errors:
            self.backend.error = error
            self.clock.advance(10)
        self.assertEqual(self.failed.mock_calls, [mock.call(error) for error in errors])
        self.lost.assert_not_called()

    def test_unexpected_exception(self) -> None:
        """An unexpected exception is logged, and the next keep-alive is sent as usual."""
        self.start()
        self.backend.error = RuntimeError("unexpected")
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual((self.lost.call_count, self.failed.call_count), (0, 0))
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_slow_backend(self) -> None:
        """The next keep-alive does not wait for the response to the one before. Two of them may wait."""
        self.start()
        self.backend.hanging = True
        self.clock.advance(10)
        self.clock.advance(10)
        self.assertEqual(len(self.backend.calls), 2)
        self.clock.advance(10)
        self.assertEqual(len(self.backend.calls), 2)
        self.backend.waiting.pop().callback(None)
        self.clock.advance(10)
        self.assertEqual(len(self.backend.calls), 3)
        self.succeeded.assert_called_once_with()

    def test_stop_cancels(self) -> None:
        """The stop cancels keep-alives that wait for a response."""
        self.start()
        self.backend.hanging = True
        self.clock.advance(10)
        self.keep_alive.stop()
        self.assertTrue(self.backend.waiting[0].called)
        self.failed.assert_not_called()

    def test_send(self) -> None:
        """A keep-alive can be sent at once."""
        self.successResultOf(self.send())
        self.assertEqual(self.backend.calls, ["keep_alive"])

    def test_send_errors(self) -> None:
        """A keep-alive that is sent at once raises all errors except that the backend lost its entries."""
        self.backend.error = BackendForgotError("lost")
        self.successResultOf(self.send())
        for error in (BackendUnavailableError("down"), BackendRefusedError(403, "Permission denied")):
            self.backend.error = error
            self.failureResultOf(self.send(), type(error))
        self.assertEqual((self.lost.call_count, self.failed.call_count), (0, 0))


class GuardTests(ReconcilerTestCase):
    """Mass removals without a reason that was received from the network."""

    def setUp(self) -> None:
        super().setUp()
        self.all = [make_registration(number) for number in range(10)]

    def test_waits_for_a_second_comparison(self) -> None:
        """More than half, and more than five, are removed only after a second comparison."""
        self.put(*(replace(each, name="unmatched") for each in self.all[:6]), *self.all[6:])
        self.start()
        self.assertEqual(len(self.registered()), 10)
        self.advance(29)
        self.assertEqual(len(self.registered()), 10)
        self.advance(2)
        self.assertEqual(self.registered(), by_id(*self.all[6:]))

    def test_few_are_removed_at_once(self) -> None:
        """Five services are removed at once, even if they are more than half."""
        some = self.all[:6]
        self.put(*(replace(each, name="unmatched") for each in some[:5]), *some[5:])
        self.start()
        self.assertEqual(self.registered(), by_id(*some[5:]))

    def test_half_is_not_more_than_half(self) -> None:
        """Six of twelve services are removed at once, and six of eleven are not."""
        for count, left in ((12, 6), (11, 11)):
            every = [make_registration(number) for number in range(count)]
            self.put(*(replace(each, name="unmatched") for each in every[:6]), *every[6:])
            self.start()
            self.assertEqual(len(self.registered()), left)
            self.stop()
            self.remove(*every)
            self.desired.clear()
            self.reconciler = self.make_reconciler()

    def test_different_second_comparison(self) -> None:
        """A second comparison confirms each removal by itself."""
        self.put(*(replace(each, name="unmatched") for each in self.all[:6]), *self.all[6:])
        self.start()
        self.put(*(replace(make_registration(number), name="unmatched") for number in range(20, 26)))
        self.advance(30.5)
        self.assertEqual(len(self.registered()), 10)
        self.advance(30)
        self.assertEqual(self.registered(), by_id(*self.all[6:]))

    def test_byebye(self) -> None:
        """Any number of services that left by byebye is removed at once."""
        self.put(*self.all)
        self.start()
        for each in self.all:
            self.leave(each, "byebye")
        self.advance(0.2)
        self.assertEqual(self.registered(), {})

    def test_expiry(self) -> None:
        """Most services, which expired within a minute, are removed after a second comparison."""
        self.put(*self.all)
        self.start()
        for each in self.all:
            self.leave(each, "expired")
            self.advance(1)
        self.assertEqual(len(self.registered()), 5)
        self.assertEqual(self.reconciler.held_removals, 5)
        self.advance(60)
        self.assertEqual((self.registered(), self.reconciler.held_removals), ({}, 0))
        self.assertEqual(self.reasons, ["expired"] * 10)

    def test_expired_and_received_again(self) -> None:
        """A service that is received again before the second comparison is not removed."""
        self.put(*self.all)
        self.start()
        for each in self.all:
            self.leave(each, "expired")
        self.advance(1)
        for each in self.all:
            self.appear(each)
        self.advance(100)
        self.assertEqual((self.registered(), self.reconciler.held_removals), (by_id(*self.all), 0))
        self.assertNotIn("apply", self.backend.calls)

    def test_other_reasons_wait(self) -> None:
        """Services that no search term matches any more are removed after a second comparison."""
        self.put(*self.all)
        self.start()
        for each in self.all:
            self.leave(each, "unconfigured")
        self.advance(1)
        self.assertEqual(len(self.registered()), 10)
        self.advance(30)
        self.assertEqual(self.registered(), {})


class ErrorTests(ReconcilerTestCase):
    """Unavailable backends, rejected changes and unexpected exceptions."""

    def test_unavailable_at_start(self) -> None:
        """New services are registered, and those of an earlier run adopted, when the backend becomes available."""
        self.put(TWO)
        self.backend.error = BackendUnavailableError("down")
        self.start()
        self.appear(ONE)
        self.advance(100)
        self.assertFalse(self.reconciler.available)
        self.assertEqual((self.adopted, self.reconciler.pending), ([], 1))
        self.backend.error = None
        self.advance(31)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), True))

    def test_one_line_for_an_outage(self) -> None:
        """An outage is logged at its beginning and at its end, however long it lasts."""
        self.start()
        self.backend.error = BackendUnavailableError("down")
        self.advance(500)
        self.backend.error = None
        self.advance(40)
        self.assertEqual(self.lines, ["Backend unavailable", "Backend recovered after"])

    def test_back_off(self) -> None:
        """The pauses between retries grow from 1 s to 30 s, with jitter."""
        self.backend.error = BackendUnavailableError("down")
        self.reconciler.startService()
        self.addCleanup(self.stop)
        self.backend.working.add("keep_alive")
        attempts = []
        for tenth in range(3000):
            before = self.backend.calls.count("read")
            self.clock.advance(0.1)
            if self.backend.calls.count("read") > before:
                attempts.append(tenth / 10)
        pauses = [round(later - earlier, 1) for earlier, later in itertools.pairwise(attempts)]
        for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=False):
            self.assertTrue(longest / 2 <= pause <= longest + 0.2, pauses)
        self.assertGreater(len(set(pauses[5:])), 1)

    def test_retry_after(self) -> None:
        """A pause of up to 15 s that the backend requested is honoured. Keep-alives are sent meanwhile."""
        for requested, pause in ((12, 12), (20, 15), (99999999999, 15)):
            self.reconciler = self.make_reconciler()
            self.backend.error = BackendUnavailableError("busy", retry_after=requested)
            self.start()
            self.backend.calls.clear()
            self.advance(pause - 0.5)
            self.assertEqual(self.backend.calls, ["keep_alive"])
            self.backend.error = None
            self.advance(1)
            self.assertEqual(self.backend.calls, ["keep_alive", "keep_alive", "read"])
            self.stop()

    def test_lost_registrations(self) -> None:
        """Everything is registered again after a keep-alive finds that the backend lost its registrations."""
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.remove(ONE)
        self.backend.error = BackendForgotError("lost")
        self.advance(8)
        self.assertEqual(self.registered(), {})
        for _ in range(30):
            if "Backend lost its registrations, registering again" not in self.lines:
                self.clock.advance(0.1)
        self.backend.error = None
        self.advance(2)
        self.assertEqual(self.registered(), by_id(ONE))

    def test_rejected_registration(self) -> None:
        """A rejected registration is logged once and retried after 30 s. Other services are registered."""
        self.start()
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.appear(ONE)
        self.appear(TWO)
        self.advance(1)
        self.assertEqual(self.registered(), by_id(TWO))
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("refused", "403 Permission denied"))
        self.backend.calls.clear()
        self.advance(28)
        self.assertNotIn("apply", self.backend.calls)
        self.backend.refused.clear()
        self.advance(32)
        self.assertEqual(self.registered(), by_id(ONE, TWO))
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("registered"))
        self.assertEqual(self.lines.count("Refused"), 1)

    def test_one_line_for_one_reason(self) -> None:
        """Rejections of several services for the same reason cause one line. Each further reason causes another."""
        self.start()
        for number in range(5):
            self.backend.refused[make_registration(number).service_id] = BackendRefusedError(403, "Permission denied")
        self.backend.refused[make_registration(5).service_id] = BackendRefusedError(400, "Invalid")
        for number in range(6):
            self.appear(make_registration(number))
        self.advance(1)
        self.assertEqual(self.lines, ["Refused", "Refused"])

    def test_rejected_removal(self) -> None:
        """A rejected removal is retried after 30 s, and logged with the reason of the departure."""
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.leave(ONE, "byebye")
        self.advance(1)
        self.backend.refused.clear()
        self.advance(27)
        self.assertEqual(self.registered(), by_id(ONE))
        self.advance(32)
        self.assertEqual((self.registered(), self.reasons), ({}, ["byebye"]))

    def test_unavailable_within_a_plan(self) -> None:
        """If the backend fails within a plan, the rest is applied later, and each change is logged once."""
        self.start()
        self.backend.most_changes = 1
        self.appear(ONE)
        self.appear(TWO)
        self.advance(0.5)
        self.assertEqual((len(self.registered()), self.reconciler.available), (1, False))
        self.backend.most_changes = None
        self.advance(2)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), True))
        self.assertEqual(self.lines, ["Registered", "Backend unavailable", "Registered", "Backend recovered after"])

    def test_failing_keep_alive(self) -> None:
        """A keep-alive detects an outage, and a comparison detects its end."""
        self.start()
        self.backend.error = BackendUnavailableError("down")
        self.advance(10)
        self.assertFalse(self.reconciler.available)
        self.backend.error = None
        self.backend.calls.clear()
        self.advance(1.5)
        self.assertEqual((self.backend.calls, self.reconciler.available), (["keep_alive", "read"], True))

    def test_unexpected_exception_in_a_keep_alive(self) -> None:
        """An unexpected exception in a keep-alive is logged, and the next one is sent."""
        self.start()
        self.backend.error = RuntimeError("unexpected")
        self.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.backend.error = None
        self.backend.calls.clear()
        self.advance(10)
        self.assertEqual(self.backend.calls, ["keep_alive"])

    def test_invalid_registration(self) -> None:
        """A registration that the backend cannot accept is retried at once when it has changed."""
        self.start()
        self.backend.refused[ONE.service_id] = BackendRefusedError(400, "Invalid service address")
        self.appear(ONE)
        self.advance(1)
        self.backend.refused.clear()
        self.advance(20)
        self.assertEqual(self.registered(), {})
        changed = replace(ONE, address="192.0.2.99")
        self.appear(changed)
        self.advance(1)
        self.assertEqual(self.registered(), by_id(changed))

    def test_unexpected_exception(self) -> None:
        """An unexpected exception in a turn is logged, and the loop continues."""
        self.start()
        self.backend.error = RuntimeError("unexpected")
        self.advance(31)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.backend.error = None
        self.appear(ONE)
        self.advance(31)
        self.assertEqual(self.registered(), by_id(ONE))


class SliceTests(ReconcilerTestCase):
    """Changes in slices, so that none waits for thousands of others."""

    def setUp(self) -> None:
        super().setUp()
        self.plans: list[Plan] = []
        apply = self.backend.apply

        async def slow_apply(plan: Plan) -> Outcome:
            # Eight changes take a second.
            self.plans.append(plan)
            await deferLater(self.clock, len(plan) / 8)
            return await apply(plan)

        self.backend.apply = slow_apply  # type: ignore[method-assign]

    def flood(self, count: int) -> None:
        """Make many services live, at ten addresses."""
        for number in range(1000, 1000 + count):
            self.appear(make_registration(number, address=f"198.51.100.{number % 10}"))

    def test_urgent_changes(self) -> None:
        """A byebye, a move and a new device are applied within 5 s while 20,000 new services wait."""
        self.start()
        self.appear(ONE)
        self.appear(TWO)
        self.advance(2)
        self.flood(20_000)
        self.advance(10)
        moved, new = replace(TWO, port=9090), make_registration(3)
        self.appear(moved)
        self.appear(new)
        self.leave(ONE, "byebye")
        self.advance(5)
        registered = self.registered()
        self.assertNotIn(ONE.service_id, registered)
        self.assertEqual((registered[TWO.service_id], registered[new.service_id]), (moved, new))
        self.assertGreater(self.reconciler.pending, 19_000)
        self.assertLessEqual(max(map(len, self.plans)), 16)

    def test_lines_of_each_slice(self) -> None:
        """The log lines of a slice are written when it has been applied, and not when all changes have been."""
        self.start()
        self.flood(100)
        self.advance(5)
        self.assertTrue(0 < self.lines.count("Registered") < 100)
        self.advance(35)
        # Changes beyond the budget for lines are summarized.
        summaries = 100 - len(self.registered()) + self.reconciler.summarized_changes
        self.assertGreater(summaries, 0)
        self.assertTrue(30 <= len(self.lines) < 100)
        self.assertEqual(set(self.lines), {"Registered"})

    def test_priority(self) -> None:
        """New services of a high priority are registered before others."""
        trusted = {make_registration(number).service_id for number in range(1025, 1029)}
        self.reconciler = Reconciler(
            self.clock, self.backend, self.desired, self.adopt, priority=lambda service_id: int(service_id in trusted)
        )
        self.start()
        self.flood(40)
        # One slice takes 1.6 s.
        self.advance(2.5)
        self.assertLessEqual(trusted, self.registered().keys())
        self.assertLess(len(self.registered()), 40)

    def test_growth(self) -> None:
        """The objects of the services are frozen while their number grows, and not when it becomes smaller."""
        gc = mock.Mock()
        self.patch(garbage, "gc", gc)
        self.start()
        self.flood(2000)
        self.advance(300)
        frozen = gc.freeze.call_count
        self.assertTrue(1 <= frozen <= 3)
        for registration in list(self.desired.values())[:100]:
            self.leave(registration, "byebye")
        self.advance(60)
        self.assertEqual(len(self.registered()), 1900)
        self.assertEqual(gc.freeze.call_count, frozen)

    def test_keep_alives_during_a_slice(self) -> None:
        """Keep-alives are sent while a slice is applied, and while a listing waits for its response."""
        self.start()
        for name in ("apply", "read"):
            self.backend.hanging_names = {name}
            if name == "apply":
                self.appear(ONE)
            self.advance(35)
            self.backend.calls.clear()
            self.advance(60)
            self.assertEqual(self.backend.calls, ["keep_alive"] * 6)
            self.backend.hanging_names = set()
            self.backend.waiting.pop().callback(None)

    def test_keep_alives_while_the_listing_fails(self) -> None:
        """Keep-alives are sent every 10 s while all listings fail, besides those of the retries."""
        self.start()
        self.backend.error = BackendUnavailableError("down")
        self.backend.working.add("keep_alive")
        self.advance(120)
        self.backend.calls.clear()
        sent = []
        for tenth in range(1200):
            before = self.backend.calls.count("keep_alive")
            self.clock.advance(0.1)
            if self.backend.calls.count("keep_alive") > before:
                sent.append(tenth / 10)
        self.assertLessEqual(max(later - earlier for earlier, later in itertools.pairwise([0.0, *sent])), 10.1)
        self.assertFalse(self.reconciler.available)
        self.assertEqual(self.lines, ["Backend unavailable"])


@implementer(IOverlappingPlans)
class OverlappingBackend(FaultyBackend):
    """
    Backend that applies two changes at a time, each of which the test ends.

    :ivar plans: Service IDs of all plans.
    :ivar began: Number of changes that have begun.
    :ivar in_progress: Deferred by ID of the services whose change is in progress, in the order in which they began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[list[str]] = []
        self.began = 0
        self.in_progress: dict[str, Deferred[None]] = {}
        self._runner = ChangeRunner(2)

    async def apply_overlapping(self, plan: Plan, room: Callable[[], None]) -> Outcome:
        self.plans.append(plan.service_ids)
        changes = [
            *((partial(self._apply_one, False), each) for each in plan.deregister),
            *((partial(self._apply_one, True), each) for each in plan.register),
        ]
        return await self._runner.run(changes, room)

    async def _apply_one(self, register: bool, registration: Registration) -> None:
        service_id = registration.service_id
        assert service_id not in self.in_progress, "two changes of one service are in progress"
        self.in_progress[service_id] = Deferred()
        self.began += 1
        try:
            await self.in_progress[service_id]
        finally:
            del self.in_progress[service_id]
        await EmbeddedBackend.apply(self, Plan((registration,)) if register else Plan((), (registration,)))


class OverlapTests(ReconcilerTestCase):
    """Slices of a backend that can begin with one before the slice before has ended."""

    backend: OverlappingBackend

    def make_backend(self) -> FaultyBackend:
        return OverlappingBackend()

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def fill_slices(self) -> None:
        """Let a slice of one change begin, and then one of six."""
        self.appear(ONE)
        self.advance(0.2)
        for number in range(4, 10):
            self.appear(make_registration(number))
        self.advance(0.2)

    def end(self, *registrations: Registration) -> None:
        """End the changes of services that are in progress, and let the reconciler react."""
        for each in registrations:
            self.backend.in_progress[each.service_id].callback(None)
        self.advance(0.2)

    def test_next_slice(self) -> None:
        """A new change begins as soon as there is room, while an earlier one is in progress."""
        self.appear(ONE)
        self.advance(0.2)
        self.appear(TWO)
        self.advance(0.2)
        self.appear(THREE)
        self.advance(0.2)
        self.assertEqual(list(self.backend.in_progress), [ONE.service_id, TWO.service_id])
        self.assertEqual(len(self.backend.plans), 2)
        self.end(TWO)
        self.assertEqual(list(self.backend.in_progress), [ONE.service_id, THREE.service_id])
        self.assertEqual(self.lines, ["Registered"])
        self.assertTrue(self.reconciler.available)
        self.end(ONE, THREE)
        self.assertEqual(self.registered(), by_id(ONE, TWO, THREE))
        self.assertEqual(self.reconciler.pending, 0)

    def test_collection(self) -> None:
        """Changes that come together while a slice is in progress are one slice."""
        self.fill_slices()
        self.assertEqual(list(map(len, self.backend.plans)), [1, 6])

    def test_stop_within_a_slice(self) -> None:
        """The stop begins no change that waits in a slice."""
        self.fill_slices()
        began = self.backend.began
        self.stop()
        self.assertEqual((self.backend.in_progress, self.backend.began), ({}, began))

    def test_urgent_change(self) -> None:
        """A byebye begins when one change ends, before those that are not part of a slice yet."""
        self.appear(ONE)
        self.advance(0.2)
        self.end(ONE)
        waiting = [make_registration(number) for number in range(10, 100)]
        for each in waiting:
            self.appear(each)
        self.advance(0.2)
        self.leave(ONE, "byebye")
        while ONE.service_id not in self.backend.in_progress:
            self.end(*(self.desired[each] for each in list(self.backend.in_progress)[:1]))
        self.assertEqual(self.backend.plans[2][-1], ONE.service_id)
        self.assertLess(len(self.registered()), 20)

    def test_size(self) -> None:
        """Single changes, which begin at once, do not enlarge the slices."""
        for number in range(10, 30):
            single = make_registration(number)
            self.appear(single)
            self.advance(0.5)
            self.end(single)
        for number in range(100, 1100):
            self.appear(make_registration(number))
        self.advance(0.2)
        self.assertLessEqual(len(self.backend.plans[-1]), 16)

    def test_one_change_of_a_service(self) -> None:
        """A service that changes while its change is in progress waits for the end, also if there is room."""
        moved = replace(ONE, port=9090)
        self.appear(ONE)
        self.advance(0.2)
        self.appear(moved)
        self.advance(1)
        self.assertEqual(len(self.backend.plans), 1)
        self.end(ONE)
        self.assertEqual(self.backend.plans, [[ONE.service_id]] * 2)
        self.end(moved)
        self.assertEqual(self.registered(), by_id(moved))

    def test_comparison(self) -> None:
        """A comparison waits until all changes have ended, and no slice begins before it."""
        self.appear(ONE)
        self.advance(0.2)
        self.backend.calls.clear()
        self.advance(31)
        self.appear(TWO)
        self.advance(1)
        self.assertEqual((len(self.backend.plans), self.backend.calls.count("read")), (1, 0))
        self.end(ONE)
        self.assertEqual((len(self.backend.plans), self.backend.calls.count("read")), (2, 1))
        self.end(TWO)
        self.assertEqual(self.registered(), by_id(ONE, TWO))

    def test_unavailable(self) -> None:
        """After an error no slice begins. The retry waits until all changes have ended."""
        for each in (ONE, TWO):
            self.appear(each)
            self.advance(0.2)
        self.backend.in_progress[TWO.service_id].errback(BackendUnavailableError("down"))
        self.appear(THREE)
        self.advance(5)
        self.assertEqual((len(self.backend.plans), self.lines), (2, []))
        self.end(ONE)
        self.assertEqual(self.lines, ["Registered", "Backend unavailable"])
        self.advance(3)
        self.assertEqual(set(self.backend.plans[2]), {TWO.service_id, THREE.service_id})
        self.end(TWO, THREE)
        self.assertEqual(self.registered(), by_id(ONE, TWO, THREE))
        self.assertIn("Backend recovered after", self.lines)

    def test_unexpected_exception(self) -> None:
        """An unexpected exception in one slice is logged, and does not affect the others."""
        for each in (ONE, TWO):
            self.appear(each)
            self.advance(0.2)
        self.backend.in_progress[TWO.service_id].errback(ZeroDivisionError())
        self.end(ONE)
        self.assertEqual(self.registered(), by_id(ONE))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.advance(31)
        self.end(TWO)
        self.assertEqual(self.registered(), by_id(ONE, TWO))

    def test_stop(self) -> None:
        """A stop cancels all changes in progress."""
        for each in (ONE, TWO):
            self.appear(each)
            self.advance(0.2)
        self.assertEqual(len(self.backend.in_progress), 2)
        self.stop()
        self.assertEqual((self.backend.in_progress, self.backend.closed), ({}, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])


@implementer(IWriteProbe)
class ProbingBackend(FaultyBackend):
    """
    Backend with a probe.

    :ivar probe_error: Error of the probe, or None.
    """

    probe_error: Exception | None = None

    async def probe(self) -> None:
        self.calls.append("probe")
        if self.probe_error is not None:
            raise self.probe_error


class RefusalTests(ReconcilerTestCase):
    """Refusals of single changes, and of everything."""

    backend: ProbingBackend

    def make_backend(self) -> ProbingBackend:
        return ProbingBackend()

    def refuse(self, *registrations: Registration, status: int = 400) -> None:
        """Let the backend reject the changes of some services."""
        for each in registrations:
            self.backend.refused[each.service_id] = BackendRefusedError(status, "No")

    def test_everything(self) -> None:
        """If all changes and the probe are rejected, the backend is unavailable, and recovers 30 s after the fault."""
        present = make_registration(3)
        self.put(present)
        self.start()
        for status in (301, 400, 403, 404, 405, 500):
            self.backend.probe_error = BackendRefusedError(status, "No")
            self.refuse(ONE, TWO, present, status=status)
            self.appear(ONE)
            self.appear(TWO)
            self.leave(present, "byebye")
            self.advance(120)
            self.assertFalse(self.reconciler.available)
            self.assertEqual(str(self.reconciler.error), f"{status} No")
            self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("waiting"))
            self.backend.probe_error = None
            self.backend.refused.clear()
            self.advance(30.5)
            self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), True))
            self.leave(ONE, "byebye")
            self.leave(TWO, "byebye")
            self.appear(present)
            self.advance(1)
            self.assertEqual(self.registered(), by_id(present))
        self.assertNotIn("Refused", self.lines)

    def test_one_change(self) -> None:
        """If the only change is rejected, and the probe is not, the fault lies with the service."""
        self.start()
        self.refuse(ONE)
        self.appear(ONE)
        self.advance(1)
        self.assertTrue(self.reconciler.available)
        self.assertEqual((self.lines, self.reconciler.rejected), (["Refused"], 1))
        self.assertEqual(self.backend.calls[-2:], ["apply", "probe"])

    def test_some_changes(self) -> None:
        """If some changes are accepted, there is no probe."""
        self.start()
        self.refuse(ONE)
        self.appear(ONE)
        self.appear(TWO)
        self.advance(1)
        self.assertTrue(self.reconciler.available)
        self.assertNotIn("probe", self.backend.calls)

    def test_pauses(self) -> None:
        """A service that is rejected by itself is retried after 30 s, and then ever less often, up to an hour."""
        self.start()
        self.appear(TWO)
        self.advance(1)
        self.refuse(ONE)
        self.appear(ONE)
        attempts = []
        for second in range(20_000):
            before = self.backend.calls.count("apply")
            self.clock.advance(1)
            if self.backend.calls.count("apply") > before:
                attempts.append(second)
        pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
        for pause, expected in zip(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600], strict=False):
            self.assertTrue(expected <= pause <= expected + 31, pauses)
        self.assertGreaterEqual(len(pauses), 8)

    def test_all_registrations(self) -> None:
        """If all registrations are rejected, though the probe is not, one is retried every 30 s while that lasts."""
        services = [make_registration(number) for number in range(40)]
        present = make_registration(41)
        self.put(present)
        self.start()
        for same in (True, False):
            for each in services:
                self.backend.refused[each.service_id] = BackendRefusedError(
                    400, "No" if same else f"No {each.service_id}"
                )
                self.appear(each)
            # The pauses of the services are an hour by then.
            self.advance(9000)
            self.assertTrue(self.reconciler.available)
            self.backend.calls.clear()
            self.advance(1200)
            self.assertTrue(35 <= self.backend.calls.count("apply") <= 41, self.backend.calls.count("apply"))
            self.backend.refused.clear()
            self.advance(45)
            self.assertEqual((self.registered(), self.reconciler.rejected), (by_id(present, *services), 0))
            for each in services:
                self.leave(each, "byebye")
            self.advance(5)

    def test_all_live_services(self) -> None:
        """The only service is retried every 30 s, as are services that are rejected one after the other."""
        self.start()
        self.refuse(ONE, TWO)
        self.appear(ONE)
        self.advance(7000)
        self.backend.refused.clear()
        self.advance(45)
        self.assertEqual(self.registered(), by_id(ONE))
        self.refuse(TWO, THREE)
        self.appear(TWO)
        self.advance(100)
        self.appear(THREE)
        self.advance(7000)
        self.backend.refused.clear()
        self.advance(45)
        self.assertEqual(self.registered(), by_id(ONE, TWO, THREE))

    def test_recovery_clears_refusals(self) -> None:
        """After an outage, everything that was rejected is tried again."""
        self.start()
        self.refuse(ONE)
        self.appear(ONE)
        self.advance(400)
        self.backend.error = BackendUnavailableError("down")
        self.advance(20)
        self.backend.error = None
        self.backend.refused.clear()
        self.advance(31)
        self.assertEqual((self.registered(), self.reconciler.rejected), (by_id(ONE), 0))

    def test_one_acceptance_releases_the_others(self) -> None:
        """When one of several services is accepted again, the others with the same error are tried at once."""
        self.start()
        self.refuse(ONE, TWO)
        self.appear(ONE)
        self.advance(40)
        self.appear(TWO)
        self.advance(100)
        self.backend.refused.clear()
        self.appear(replace(TWO, port=9090))
        self.advance(1)
        self.assertEqual(self.registered().keys(), {ONE.service_id, TWO.service_id})

    def test_changed_credentials(self) -> None:
        """When the credentials change, everything that was rejected for a missing permission is tried at once."""
        self.backend.credentials_version = 0  # type: ignore[attr-defined]
        directlyProvides(self.backend, ICredentials)
        self.start()
        self.refuse(ONE, status=403)
        self.refuse(TWO, status=400)
        self.appear(ONE)
        self.appear(TWO)
        # The next keep-alive follows at 200 s, and the next comparison at 210 s.
        self.advance(192)
        self.backend.refused.clear()
        self.backend.credentials_version = 1  # type: ignore[attr-defined]
        self.backend.calls.clear()
        self.advance(10)
        self.assertEqual(self.registered(), by_id(ONE))
        self.assertNotIn("read", self.backend.calls)

    def test_changed_credentials_at_the_beginning_of_a_turn(self) -> None:
        """When a turn begins with changed credentials, no second turn begins while its requests are under way."""
        self.backend.credentials_version = 0  # type: ignore[attr-defined]
        directlyProvides(self.backend, ICredentials)
        self.start()
        self.advance(1)
        self.backend.hanging_names = {"apply"}
        self.appear(ONE)
        self.backend.credentials_version = 1  # type: ignore[attr-defined]
        self.advance(1)
        self.appear(TWO)
        self.advance(1)
        self.assertEqual(len(self.backend.waiting), 1)

    def test_changed_credentials_in_an_outage(self) -> None:
        """When the credentials change while everything is rejected, everything is tried at the next keep-alive."""
        self.backend.credentials_version = 0  # type: ignore[attr-defined]
        directlyProvides(self.backend, ICredentials)
        self.backend.error = BackendRefusedError(403, "ACL not found")
        self.appear(ONE)
        self.start()
        self.advance(300)
        self.backend.error = None
        self.backend.credentials_version = 1  # type: ignore[attr-defined]
        self.advance(10.5)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE), True))


class InUseTests(ReconcilerTestCase):
    """Another daemon writes the registrations of the scope."""

    def setUp(self) -> None:
        super().setUp()
        self.backend.error = BackendInUseError("another daemon")

    def test_waits(self) -> None:
        """Nothing is read or written, which is logged once, until the other daemon has ended."""
        self.appear(ONE)
        self.start()
        self.advance(300)
        self.assertEqual((set(self.backend.calls), self.lines), ({"keep_alive"}, ["Waiting"]))
        self.assertEqual((self.reconciler.available, self.reconciler.in_use), (False, True))
        self.assertEqual(str(self.reconciler.error), "another daemon")
        self.backend.error = None
        self.advance(5)
        self.assertEqual((self.registered(), self.reconciler.in_use), (by_id(ONE), False))
        self.assertEqual(self.lines, ["Waiting", "Registered", "Registering services"])

    def test_adopts(self) -> None:
        """The services that the other daemon registered are adopted after its end, also for the second time."""
        for number in (1, 2):
            self.backend.error = BackendInUseError("another daemon")
            if number == 1:
                self.start()
            self.advance(20)
            self.put(make_registration(number))
            self.backend.error = None
            self.advance(10.5)
            self.assertIn(make_registration(number), self.adopted[-1])
        self.assertEqual(self.registered(), by_id(ONE, TWO))

    def test_during_an_outage(self) -> None:
        """The other daemon is logged also if the backend was unavailable before, which is over then."""
        self.backend.error = BackendUnavailableError("down")
        self.start()
        self.advance(20)
        self.backend.error = BackendInUseError("another daemon")
        self.advance(100)
        self.assertEqual(self.lines, ["Backend unavailable", "Backend recovered after", "Waiting"])

    def test_stop(self) -> None:
        """The services of the other daemon are not deregistered at the stop."""
        self.put(ONE)
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.stop()
        self.assertEqual(self.registered(), by_id(ONE))


class LockTests(ReconcilerTestCase):
    """A backend to which only the holder of a lock writes."""

    def setUp(self) -> None:
        self.locked = LockedBackend()
        super().setUp()

    def make_backend(self) -> Any:
        return self.locked

    def found(self) -> dict[str, Registration]:
        """Return the registrations in the backend."""
        return dict(self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.read(self.locked))))

    def test_take_over(self) -> None:
        """A daemon writes nothing before it acquires the lock, and at once afterwards."""
        self.appear(ONE)
        self.start()
        self.advance(60)
        self.assertEqual((self.found(), self.reconciler.in_use), ({}, True))
        self.locked.lock.acquire()
        self.advance(0.1)
        self.assertEqual((self.found(), self.reconciler.available), (by_id(ONE), True))

    def test_lost(self) -> None:
        """A daemon that lost the lock is not available, without a delay."""
        self.locked.lock.held = True
        self.start()
        self.advance(1)
        self.assertTrue(self.reconciler.available)
        self.locked.lock.lose()
        self.advance(0.1)
        self.assertEqual((self.reconciler.available, self.reconciler.in_use), (False, True))

    def test_adopts(self) -> None:
        """The registrations are adopted again if another daemon has written, and only then."""
        self.locked.lock.held = True
        self.start()
        self.advance(1)
        self.assertEqual(len(self.adopted), 0)
        for others_wrote in (False, True):
            self.locked.lock.lose()
            self.advance(0.1)
            plan = Plan(register=(TWO,))
            self.successResultOf(Deferred.fromCoroutine(self.locked.apply(plan)))
            self.locked.lock.acquire(others_wrote=others_wrote)
            self.advance(0.1)
            self.assertEqual(len(self.adopted), others_wrote)

    def test_kept_lock(self) -> None:
        """After an acquisition without a loss in between the content is compared at once: it may be lost."""
        self.locked.lock.held = True
        self.appear(ONE)
        self.start()
        self.advance(1)
        self.successResultOf(Deferred.fromCoroutine(self.locked.apply(Plan(deregister=(ONE,)))))
        self.locked.lock.lose()
        self.locked.lock.acquire(others_wrote=False)
        self.advance(0.1)
        self.assertEqual(self.found(), by_id(ONE))

    def test_change_in_a_turn(self) -> None:
        """A change of the lock while the backend is read causes another comparison without a delay."""
        reading: list[Deferred[None]] = []
        read = self.locked.read

        async def slow_read() -> dict[str, Registration]:
            reading.append(Deferred())
            await reading[-1]
            return await read()

        self.locked.read = slow_read  # type: ignore[method-assign]
        self.locked.lock.held = True
        self.appear(ONE)
        self.start()
        self.advance(1)
        self.locked.lock.lose()
        self.locked.lock.acquire()
        reading[0].callback(None)
        self.advance(0.1)
        self.assertEqual(len(reading), 2)

    def test_lines(self) -> None:
        """A daemon without the lock is not logged as an outage, also if the lock was lost, or lies with another."""
        self.start()
        self.advance(60)
        self.assertTrue(self.reconciler.waiting)
        self.locked.lock.acquire()
        self.advance(1)
        self.assertFalse(self.reconciler.waiting)
        self.locked.lock.lose()
        self.advance(60)
        self.assertEqual(self.lines, [])

    def test_unreachable(self) -> None:
        """It is an outage if the requests for the lock fail. It ends when another daemon is found to hold the lock."""
        self.locked.lock.unreachable = True
        self.start()
        self.advance(60)
        self.assertEqual((self.lines, self.reconciler.waiting), (["Backend unavailable"], False))
        self.locked.lock.unreachable = False
        self.advance(60)
        self.assertEqual(self.lines, ["Backend unavailable", "Backend recovered after"])
        self.assertTrue(self.reconciler.waiting)
        self.locked.lock.unreachable = True
        self.advance(10)
        self.assertEqual(self.lines[2:], ["Backend unavailable"])
        self.locked.lock.unreachable = False
        self.locked.lock.acquire()
        self.advance(10)
        self.assertEqual(self.lines[3:], ["Backend recovered after"])


class StopTests(ReconcilerTestCase):
    """Stop of the service."""

    def test_stop(self) -> None:
        """The registrations stay, the backend is closed, and no delayed call remains."""
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.stop()
        self.assertEqual((self.registered(), self.clock.getDelayedCalls()), (by_id(ONE), []))
        self.assertTrue(self.backend.closed)

    def test_deregister_on_stop(self) -> None:
        """With ``deregister_on_stop``, all services and the entry of the daemon itself are removed."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.stop()
        self.assertEqual((self.registered(), self.backend.calls[-1]), ({}, "retire"))
        self.assertEqual(self.lines[-1], "Deregistered")

    def test_registration_after_the_stop(self) -> None:
        """A registration that was cancelled and takes effect nevertheless is removed, too."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.backend.hanging_names = {"apply"}
        stopping = self.reconciler.stopService()
        self.successResultOf(Deferred.fromCoroutine(super(FaultyBackend, self.backend).apply(Plan(register=(TWO,)))))
        self.backend.hanging_names = set()
        self.backend.waiting.pop().callback(None)
        self.successResultOf(stopping)
        self.assertEqual((self.registered(), self.backend.calls[-1]), ({}, "retire"))
        self.assertEqual(self.lines[-2:], ["Deregistered", "Deregistered"])

    def test_refused_removal_at_the_stop(self) -> None:
        """A removal that the backend rejects does not keep the daemon from its end."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.backend.calls.clear()
        self.stop()
        self.assertEqual((self.backend.calls.count("apply"), self.backend.calls[-1]), (3, "retire"))

    def test_hanging_backend(self) -> None:
        """A backend that does not respond delays the stop by 10 s at most."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.backend.hanging = True
        stopping = self.reconciler.stopService()
        self.assertNoResult(stopping)
        self.clock.advance(10)
        self.successResultOf(stopping)

    def test_stop_within_a_turn(self) -> None:
        """A turn in progress is cancelled."""
        self.start()
        self.backend.hanging = True
        self.appear(ONE)
        self.advance(1)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
