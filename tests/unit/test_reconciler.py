"""Tests for :mod:`ssdpreg.reconciler`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.errors import BackendError, BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.reconciler import Reconciler, ServiceState
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.testing import make_registration

ONE, TWO = make_registration(1), make_registration(2)


def by_id(*registrations: Registration) -> dict[str, Registration]:
    return {registration.service_id: registration for registration in registrations}


class TroubledBackend(EmbeddedBackend):
    """
    A backend in memory that can be in trouble.

    :ivar trouble: What every method raises, or ``None``.
    :ivar refused: What is answered for single services.
    :ivar hanging: Whether answers have to wait, and who waits.
    :ivar patience: How many changes of a plan are made before nobody answers any more, or ``None``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.trouble: BackendError | None = None
        self.refused: dict[str, BackendRefusedError] = {}
        self.hanging = False
        self.patience: int | None = None
        self.waiting: list[Deferred[None]] = []
        self.closed = False

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.hanging:
            waiter: Deferred[None] = Deferred()
            self.waiting.append(waiter)
            await waiter
        if self.trouble is not None and (name != "apply"):
            raise self.trouble

    async def read(self) -> Mapping[str, Registration]:
        await self._called("read")
        return await super().read()

    async def keep_alive(self) -> None:
        await self._called("keep_alive")

    async def apply(self, plan: Plan) -> Outcome:
        await self._called("apply")
        if isinstance(self.trouble, BackendUnavailableError):
            return Outcome(unavailable=self.trouble)
        if self.patience is not None:
            part = await super().apply(Plan(register=plan.register[: self.patience]))
            return replace(part, unavailable=BackendUnavailableError("tired"))
        allowed = [
            tuple(each for each in part if each.service_id not in self.refused)
            for part in (plan.register, plan.deregister)
        ]
        outcome = await super().apply(Plan(*allowed))
        asked = {each.service_id for each in (*plan.register, *plan.deregister)}
        return replace(outcome, refused={key: error for key, error in self.refused.items() if key in asked})

    async def retire(self) -> None:
        await self._called("retire")

    async def close(self) -> None:
        self.closed = True


class ReconcilerTestCase(SynchronousTestCase):
    """A reconciler, a clock, and a backend that can be in trouble."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = TroubledBackend()
        self.desired: dict[str, Registration] = {}
        self.adopted: list[list[Registration]] = []
        self.lines: list[str] = []
        self.reasons: list[str] = []
        self.reconciler = self.make_reconciler()
        observer = cast(ILogObserver, self._note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _note(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "ssdpreg.reconciler.Reconciler" and event["log_level"] is not LogLevel.debug:
            self.lines.append(str(event["log_format"]).split(" {")[0].split(":")[0])
            self.reasons += [str(event["reason"])] if "reason" in event else []

    def make_reconciler(self, *, deregister_on_stop: bool = False) -> Reconciler:
        def adopt(found: Iterable[Registration]) -> None:
            self.adopted.append(list(found))
            for registration in self.adopted[-1]:
                if registration.name != "strange":
                    self.appear(registration)

        return Reconciler(
            self.clock,
            self.backend,
            self.desired,
            adopt,
            deregister_on_stop=deregister_on_stop,
            random=Random(1),
        )

    def appear(self, registration: Registration) -> None:
        """Make a service live, or change its registration."""
        before = self.desired.get(registration.service_id)
        self.desired[registration.service_id] = registration
        if before is None:
            self.reconciler.appeared(registration)
        else:
            self.reconciler.changed(registration, before)

    def leave(self, registration: Registration, reason: str) -> None:
        """End a service."""
        self.desired.pop(registration.service_id, None)
        self.reconciler.left(registration, reason)

    def start(self) -> None:
        self.reconciler.startService()
        self.addCleanup(self.stop)
        self.pass_time(0.1)

    def stop(self) -> None:
        if self.reconciler.running:
            self.successResultOf(self.reconciler.stopService())

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds / 0.1))

    def registered(self) -> dict[str, Registration]:
        """What the backend holds."""
        return dict(self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.read(self.backend))))

    def put(self, *registrations: Registration) -> None:
        """Write something down as an earlier run, or somebody else, would."""
        self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.apply(self.backend, Plan(register=registrations))))

    def remove(self, *registrations: Registration) -> None:
        """Remove something as somebody else would."""
        removal = Plan(deregister=registrations)
        self.successResultOf(Deferred.fromCoroutine(EmbeddedBackend.apply(self.backend, removal)))


class FollowingTests(ReconcilerTestCase):
    """While all is well."""

    def test_registers_within_a_second(self) -> None:
        """What is live is registered soon; changes that come together are one plan."""
        self.start()
        self.backend.calls.clear()
        self.appear(ONE)
        self.appear(TWO)
        self.pass_time(0.2)
        self.assertEqual((self.registered(), self.backend.calls), (by_id(ONE, TWO), ["apply"]))
        self.assertEqual(self.lines, ["Registered", "Registered"])
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("registered"))

    def test_updates_and_deregisters(self) -> None:
        """What changed is updated in place, what is gone is removed, and each is told with its reason."""
        self.start()
        self.appear(ONE)
        self.pass_time(0.2)
        moved = replace(ONE, address="192.0.2.99")
        self.appear(moved)
        self.pass_time(0.2)
        self.assertEqual(self.registered(), by_id(moved))
        self.leave(moved, "byebye")
        self.pass_time(0.2)
        self.assertEqual(self.registered(), {})
        self.assertEqual(self.lines, ["Registered", "Updated", "Deregistered"])
        self.assertEqual(self.reasons, ["byebye"])

    def test_shows_life_first(self) -> None:
        """Before anything is read or written, the backend knows that this daemon lives."""
        self.appear(ONE)
        self.start()
        self.assertEqual(self.backend.calls, ["keep_alive", "read", "apply"])

    def test_comes_back(self) -> None:
        """What is gone and live again leaves for no reason but the last."""
        self.start()
        self.appear(ONE)
        self.pass_time(0.2)
        self.leave(ONE, "byebye")
        self.appear(ONE)
        self.pass_time(0.2)
        self.assertEqual(self.lines, ["Registered"])
        self.leave(ONE, "expired")
        self.pass_time(0.2)
        self.assertEqual(self.reasons, ["expired"])

    def test_leaves_and_returns(self) -> None:
        """What was deregistered is registered again as soon as it is live again."""
        self.start()
        for _ in range(3):
            self.appear(ONE)
            self.pass_time(0.2)
            self.assertEqual((self.registered(), self.reconciler.pending), (by_id(ONE), 0))
            self.leave(ONE, "byebye")
            self.pass_time(0.2)
            self.assertEqual((self.registered(), self.reconciler.pending), ({}, 0))

    def test_steady_state(self) -> None:
        """While nothing changes there is one sign of life every 10 s one look every 30 s, and no write."""
        self.put(*(make_registration(number) for number in range(200)))
        self.start()
        self.backend.calls.clear()
        self.pass_time(60)
        self.assertEqual(
            {name: self.backend.calls.count(name) for name in set(self.backend.calls)}, {"keep_alive": 6, "read": 2}
        )

    def test_repairs(self) -> None:
        """What others broke is repaired at the next look."""
        self.start()
        self.appear(ONE)
        self.pass_time(1)
        self.remove(ONE)
        self.put(TWO)
        self.pass_time(30)
        self.assertEqual(self.registered(), by_id(ONE))

    def test_changes_meanwhile(self) -> None:
        """What changes while the backend is busy is not lost."""
        self.start()
        self.backend.hanging = True
        self.appear(ONE)
        self.pass_time(0.2)
        self.leave(ONE, "byebye")
        self.appear(TWO)
        self.backend.hanging = False
        self.backend.waiting.pop().callback(None)
        self.assertEqual(self.registered(), by_id(ONE))
        self.pass_time(0.2)
        self.assertEqual(self.registered(), by_id(TWO))

    def test_adopts_once(self) -> None:
        """What an earlier run left is adopted at the first look, and not written again."""
        self.put(ONE, TWO)
        self.start()
        self.assertEqual(self.adopted, [[ONE, TWO]])
        self.assertNotIn("apply", self.backend.calls)
        self.pass_time(60)
        self.assertEqual(len(self.adopted), 1)

    def test_what_is_not_adopted_is_removed(self) -> None:
        """What an earlier run left, and nobody asks for, is deregistered."""
        self.put(ONE, replace(TWO, name="strange"))
        self.start()
        self.assertEqual(self.registered(), by_id(ONE))


class GuardTests(ReconcilerTestCase):
    """A mass removal that nobody announced."""

    def setUp(self) -> None:
        super().setUp()
        self.all = [make_registration(number) for number in range(10)]

    def test_waits_for_a_second_look(self) -> None:
        """More than half, and more than five, are removed only when a second look agrees."""
        self.put(*(replace(each, name="strange") for each in self.all[:6]), *self.all[6:])
        self.start()
        self.assertEqual(len(self.registered()), 10)
        self.pass_time(29)
        self.assertEqual(len(self.registered()), 10)
        self.pass_time(2)
        self.assertEqual(self.registered(), by_id(*self.all[6:]))

    def test_few_are_removed_at_once(self) -> None:
        """Five are nothing unusual, even where they are more than half."""
        some = self.all[:6]
        self.put(*(replace(each, name="strange") for each in some[:5]), *some[5:])
        self.start()
        self.assertEqual(self.registered(), by_id(*some[5:]))

    def test_half_is_not_more_than_half(self) -> None:
        """Six of twelve are removed at once, six of eleven are not."""
        for count, left in ((12, 6), (11, 11)):
            every = [make_registration(number) for number in range(count)]
            self.put(*(replace(each, name="strange") for each in every[:6]), *every[6:])
            self.start()
            self.assertEqual(len(self.registered()), left)
            self.stop()
            self.remove(*every)
            self.desired.clear()
            self.reconciler = self.make_reconciler()

    def test_the_second_look_has_to_agree(self) -> None:
        """When the second look would remove others than the first, that is a first look again."""
        self.put(*(replace(each, name="strange") for each in self.all[:6]), *self.all[6:])
        self.start()
        self.put(replace(make_registration(99), name="strange"))
        self.pass_time(30.5)
        self.assertEqual(len(self.registered()), 11)
        self.pass_time(30)
        self.assertEqual(self.registered(), by_id(*self.all[6:]))

    def test_byebye_and_expiry_are_announced(self) -> None:
        """What left by its own word, or in silence, is removed at once, however many it is."""
        self.put(*self.all)
        self.start()
        for number, each in enumerate(self.all):
            self.leave(each, "byebye" if number % 2 else "expired")
        self.pass_time(0.2)
        self.assertEqual(self.registered(), {})

    def test_other_reasons_wait(self) -> None:
        """When the operator asks for nothing any more, that too waits for a second look."""
        self.put(*self.all)
        self.start()
        for each in self.all:
            self.leave(each, "unconfigured")
        self.pass_time(1)
        self.assertEqual(len(self.registered()), 10)
        self.pass_time(30)
        self.assertEqual(self.registered(), {})


class TroubleTests(ReconcilerTestCase):
    """A backend that is away, or says no."""

    def test_is_not_there_at_the_start(self) -> None:
        """What was heard meanwhile is registered when it comes; what an earlier run left is adopted then."""
        self.put(TWO)
        self.backend.trouble = BackendUnavailableError("down")
        self.start()
        self.appear(ONE)
        self.pass_time(100)
        self.assertFalse(self.reconciler.available)
        self.assertEqual((self.adopted, self.reconciler.pending), ([], 1))
        self.backend.trouble = None
        self.pass_time(31)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), True))

    def test_says_so_once(self) -> None:
        """Trouble is told when it begins and when it is over, however long it lasts."""
        self.start()
        self.backend.trouble = BackendUnavailableError("down")
        self.pass_time(500)
        self.backend.trouble = None
        self.pass_time(40)
        self.assertEqual(self.lines, ["Backend unavailable", "Backend recovered after"])

    def test_backs_off(self) -> None:
        """Tries come ever more rarely, from 1 s to 30 s apart, with jitter."""
        self.backend.trouble = BackendUnavailableError("down")
        self.reconciler.startService()
        self.addCleanup(self.stop)
        tries = []
        for tenth in range(3000):
            before = len(self.backend.calls)
            self.clock.advance(0.1)
            if len(self.backend.calls) > before:
                tries.append(tenth / 10)
        pauses = [round(later - earlier, 1) for earlier, later in itertools.pairwise(tries)]
        for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=False):
            self.assertTrue(longest / 2 <= pause <= longest + 0.2, pauses)
        self.assertGreater(len(set(pauses[5:])), 1)

    def test_waits_as_long_as_it_is_asked_to(self) -> None:
        """A backend that names a time is left alone for it."""
        self.backend.trouble = BackendUnavailableError("busy", retry_after=20)
        self.start()
        self.backend.calls.clear()
        self.pass_time(19)
        self.assertEqual(self.backend.calls, [])

    def test_is_wiped(self) -> None:
        """A backend that forgot everything is told everything, at the next sign of life."""
        self.start()
        self.appear(ONE)
        self.pass_time(1)
        self.remove(ONE)
        self.backend.trouble = BackendForgotError("wiped")
        self.pass_time(8)
        self.assertEqual(self.registered(), {})
        for _ in range(30):
            if "Backend lost its registrations, registering again" not in self.lines:
                self.clock.advance(0.1)
        self.backend.trouble = None
        self.pass_time(2)
        self.assertEqual(self.registered(), by_id(ONE))

    def test_a_refusal_holds_up_nobody(self) -> None:
        """One service that is refused is told once, and is tried again only after a while; others are registered."""
        self.start()
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.appear(ONE)
        self.appear(TWO)
        self.pass_time(1)
        self.assertEqual(self.registered(), by_id(TWO))
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("refused", "403 Permission denied"))
        self.backend.calls.clear()
        self.pass_time(50)
        self.assertNotIn("apply", self.backend.calls)
        self.backend.refused.clear()
        self.pass_time(50)
        self.assertEqual(self.registered(), by_id(ONE, TWO))
        self.assertEqual(self.reconciler.state(ONE.service_id), ServiceState("registered"))
        self.assertEqual(self.lines.count("Refused"), 1)

    def test_one_line_for_one_reason(self) -> None:
        """Many services that are refused for the same reason are one line; another reason is another."""
        self.start()
        for number in range(5):
            self.backend.refused[make_registration(number).service_id] = BackendRefusedError(403, "Permission denied")
        self.backend.refused[make_registration(5).service_id] = BackendRefusedError(400, "Invalid")
        for number in range(6):
            self.appear(make_registration(number))
        self.pass_time(1)
        self.assertEqual(self.lines, ["Refused", "Refused"])

    def test_a_refused_removal(self) -> None:
        """A service that may not be removed is tried again after a while."""
        self.start()
        self.appear(ONE)
        self.pass_time(1)
        self.backend.refused[ONE.service_id] = BackendRefusedError(403, "Permission denied")
        self.leave(ONE, "byebye")
        self.pass_time(1)
        self.backend.refused.clear()
        self.pass_time(50)
        self.assertEqual(self.registered(), by_id(ONE))
        self.pass_time(45)
        self.assertEqual((self.registered(), self.reasons), ({}, ["byebye"]))

    def test_gives_up_in_the_middle(self) -> None:
        """When nobody answers in the middle of a plan, the rest is done later, and each change is told once."""
        self.start()
        self.backend.patience = 1
        self.appear(ONE)
        self.appear(TWO)
        self.pass_time(0.5)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE), False))
        self.backend.patience = None
        self.pass_time(2)
        self.assertEqual((self.registered(), self.reconciler.available), (by_id(ONE, TWO), True))
        self.assertEqual(self.lines, ["Registered", "Backend unavailable", "Registered", "Backend recovered after"])

    def test_a_failing_sign_of_life(self) -> None:
        """Trouble is found out by the next sign of life, and its end by looking."""
        self.start()
        self.backend.trouble = BackendUnavailableError("down")
        self.pass_time(10)
        self.assertFalse(self.reconciler.available)
        self.backend.trouble = None
        self.backend.calls.clear()
        self.pass_time(1.5)
        self.assertEqual((self.backend.calls, self.reconciler.available), (["keep_alive", "read"], True))

    def test_the_unforeseen_in_a_sign_of_life(self) -> None:
        """An error of our own in a sign of life is logged, and the next one comes."""
        self.start()
        self.backend.trouble = RuntimeError("of our own")  # type: ignore[assignment]
        self.pass_time(10)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.backend.trouble = None
        self.backend.calls.clear()
        self.pass_time(10)
        self.assertEqual(self.backend.calls, ["keep_alive"])

    def test_bad_data_is_not_tried_again_until_it_changes(self) -> None:
        """What the backend cannot take is left alone until it is other."""
        self.start()
        self.backend.refused[ONE.service_id] = BackendRefusedError(400, "Invalid service address")
        self.appear(ONE)
        self.pass_time(1)
        self.backend.refused.clear()
        self.pass_time(300)
        self.assertEqual(self.registered(), {})
        changed = replace(ONE, address="192.0.2.99")
        self.appear(changed)
        self.pass_time(1)
        self.assertEqual(self.registered(), by_id(changed))

    def test_the_unforeseen(self) -> None:
        """An error of our own is logged, and the loop goes on."""
        self.start()
        failing = RuntimeError("of our own")
        self.backend.trouble = failing  # type: ignore[assignment]
        self.pass_time(31)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.backend.trouble = None
        self.appear(ONE)
        self.pass_time(31)
        self.assertEqual(self.registered(), by_id(ONE))


class StopTests(ReconcilerTestCase):
    """The daemon's end."""

    def test_leaves(self) -> None:
        """What is registered stays, and nothing is left running."""
        self.start()
        self.appear(ONE)
        self.pass_time(1)
        self.stop()
        self.assertEqual((self.registered(), self.clock.getDelayedCalls()), (by_id(ONE), []))
        self.assertTrue(self.backend.closed)

    def test_takes_back(self) -> None:
        """If it is asked to, it takes back everything, its own mark included."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.appear(ONE)
        self.pass_time(1)
        self.stop()
        self.assertEqual((self.registered(), self.backend.calls[-1]), ({}, "retire"))
        self.assertEqual(self.lines[-1], "Deregistered")

    def test_does_not_wait_for_ever(self) -> None:
        """A backend that hangs holds up the end for 10 s at most."""
        self.reconciler = self.make_reconciler(deregister_on_stop=True)
        self.start()
        self.backend.hanging = True
        stopping = self.reconciler.stopService()
        self.assertNoResult(stopping)
        self.clock.advance(10)
        self.successResultOf(stopping)

    def test_in_the_middle_of_a_turn(self) -> None:
        """A turn that is under way is given up."""
        self.start()
        self.backend.hanging = True
        self.appear(ONE)
        self.pass_time(1)
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
