"""Tests for :mod:`ssdpreg.reconciler`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.reconciler import KeepAlive, Reconciler, ServiceState
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)


def by_id(*registrations: Registration) -> dict[str, Registration]:
    return {registration.service_id: registration for registration in registrations}


class FaultyBackend(EmbeddedBackend):
    """
    Backend in memory that can fail.

    :ivar calls: Names of the called methods.
    :ivar error: Error of every method, or None.
    :ivar refused: Error by ID of the services whose changes are rejected.
    :ivar hanging: Whether calls wait for a Deferred in ``waiting``.
    :ivar waiting: Deferreds of the waiting calls.
    :ivar most_changes: Number of registrations of a plan after which the backend is unavailable, or None.
    :ivar closed: Whether it was closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.refused: dict[str, BackendRefusedError] = {}
        self.hanging = False
        self.most_changes: int | None = None
        self.waiting: list[Deferred[None]] = []
        self.closed = False

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.hanging:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting
        if self.error is not None and name != "apply":
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
        self.backend = FaultyBackend()
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
            if event["log_namespace"] == "ssdpreg.reconciler.Reconciler" and event["log_level"] is not LogLevel.debug
        ]

    @property
    def lines(self) -> list[str]:
        """First words of the log lines, up to the first field."""
        return [str(event["log_format"]).split(" {")[0].split(":")[0] for event in self.logged]

    @property
    def reasons(self) -> list[str]:
        """Reasons of the logged deregistrations."""
        return [str(event["reason"]) for event in self.logged if "reason" in event]

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

    def leave(self, registration: Registration, reason: str) -> None:
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

    def test_adopts_once(self) -> None:
        """The registrations of an earlier run are adopted once, by the first comparison, and not written again."""
        self.put(ONE, TWO)
        self.start()
        self.assertEqual(self.adopted, [[ONE, TWO]])
        self.assertNotIn("apply", self.backend.calls)
        self.advance(60)
        self.assertEqual(len(self.adopted), 1)

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
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), False))
        self.assertEqual(self.backend.calls, ["keep_alive", "read"])
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
        self.assertEqual(self.backend.calls, ["keep_alive", "read"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class KeepAliveTests(SynchronousTestCase):
    """Tests for :class:`KeepAlive`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = FaultyBackend()
        self.needed = mock.Mock(return_value=True)
        self.lost, self.failed = mock.Mock(), mock.Mock()
        self.keep_alive = KeepAlive(
            self.clock, self.backend, self.needed, self.lost, self.failed, Logger("ssdpreg.test")
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

    def test_not_needed(self) -> None:
        """No keep-alive is sent while none is needed."""
        self.start()
        self.needed.return_value = False
        self.clock.advance(10)
        self.assertEqual(self.backend.calls, [])
        self.needed.return_value = True
        self.clock.advance(10)
        self.assertEqual(self.backend.calls, ["keep_alive"])

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
        """The next keep-alive is not sent before the backend responded to the one before."""
        self.start()
        self.backend.hanging = True
        self.clock.pump([10] * 3)
        self.assertEqual(len(self.backend.calls), 1)
        self.backend.waiting.pop().callback(None)
        self.clock.advance(10)
        self.assertEqual(len(self.backend.calls), 2)

    def test_send(self) -> None:
        """A keep-alive can be sent at once, whether it is needed or not."""
        self.needed.return_value = False
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
        """A second comparison that would remove further services counts as a first one."""
        self.put(*(replace(each, name="unmatched") for each in self.all[:6]), *self.all[6:])
        self.start()
        self.put(replace(make_registration(99), name="unmatched"))
        self.advance(30.5)
        self.assertEqual(len(self.registered()), 11)
        self.advance(30)
        self.assertEqual(self.registered(), by_id(*self.all[6:]))

    def test_byebye_and_expiry(self) -> None:
        """Any number of services that left by byebye or expiry is removed at once."""
        self.put(*self.all)
        self.start()
        for number, each in enumerate(self.all):
            self.leave(each, "byebye" if number % 2 else "expired")
        self.advance(0.2)
        self.assertEqual(self.registered(), {})

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
        attempts = []
        for tenth in range(3000):
            before = len(self.backend.calls)
            self.clock.advance(0.1)
            if len(self.backend.calls) > before:
                attempts.append(tenth / 10)
        pauses = [round(later - earlier, 1) for earlier, later in itertools.pairwise(attempts)]
        for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=False):
            self.assertTrue(longest / 2 <= pause <= longest + 0.2, pauses)
        self.assertGreater(len(set(pauses[5:])), 1)

    def test_retry_after(self) -> None:
        """No request is sent before the pause that the backend requested has passed."""
        self.backend.error = BackendUnavailableError("busy", retry_after=20)
        self.start()
        self.backend.calls.clear()
        self.advance(19)
        self.assertEqual(self.backend.calls, [])

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
        """A rejected registration is logged once and retried after a minute. Other services are registered."""
        self.start()
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.appear(ONE)
        self.appear(TWO)
        self.advance(1)
        self.assertEqual(self.registered(), by_id(TWO))
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("refused", "403 Permission denied"))
        self.backend.calls.clear()
        self.advance(50)
        self.assertNotIn("apply", self.backend.calls)
        self.backend.refused.clear()
        self.advance(50)
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
        """A rejected removal is retried after a minute, and logged with the reason of the departure."""
        self.start()
        self.appear(ONE)
        self.advance(1)
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.leave(ONE, "byebye")
        self.advance(1)
        self.backend.refused.clear()
        self.advance(50)
        self.assertEqual(self.registered(), by_id(ONE))
        self.advance(45)
        self.assertEqual((self.registered(), self.reasons), ({}, ["byebye"]))

    def test_unavailable_within_a_plan(self) -> None:
        """If the backend fails within a plan, the rest is applied later, and each change is logged once."""
        self.start()
        self.backend.most_changes = 1
        self.appear(ONE)
        self.appear(TWO)
        self.advance(0.5)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE), False))
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
        self.advance(300)
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
