"""The loop that makes a backend equal to what is live: look, compare, change, and try again later if it fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.errors import BackendError, BackendForgotError, BackendRefusedError, BackendUnavailableError
from ssdpreg.interfaces import IRegistrationListener, IRegistryBackend
from ssdpreg.registration import Plan, Registration

#: Seconds: between two looks at everything; between two signs of life, of which two may be lost before the 30 s of the
#: daemon's own check are over; to wait for changes that come together.
_LOOK_INTERVAL = 30.0
_BEAT_INTERVAL = 10.0
_GATHERING = 0.1
#: Seconds to wait after a failure: at first, at most.
_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 30.0
#: Seconds until a refused change is tried again: where rights are missing somebody may grant them.
_DENIED_PAUSE = 60.0
_REFUSED_PAUSE = 3600.0
#: So many removals without a reason that was heard are never unusual.
_HARMLESS = 5
#: Seconds that taking everything back may hold up the daemon's end.
_FAREWELL = 10.0


def plan(desired: Mapping[str, Registration], actual: Mapping[str, Registration]) -> Plan:
    """
    Tell what to change.

    :param desired: What should be registered, by service ID.
    :param actual: What of ours is.
    """
    return Plan(
        register=tuple(wanted for service_id, wanted in desired.items() if actual.get(service_id) != wanted),
        deregister=tuple(found for service_id, found in actual.items() if service_id not in desired),
    )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """
    State of a live service in the backend.

    :ivar name: ``registered``, ``waiting`` or ``refused``.
    :ivar reason: The backend's reason for a refusal, otherwise empty.
    """

    name: Literal["registered", "waiting", "refused"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The answer no. ``wanted`` is what was to be registered, ``None`` for a removal."""

    wanted: Registration | None
    error: BackendRefusedError
    retry_at: float


@implementer(IRegistrationListener)
class Reconciler(Service):
    """
    Keeps a backend equal to what is live.

    There is no queue of operations. What is live is known here at any time; after any trouble the backend is read, and
    the difference is computed anew.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Where to write down what is live.
    :param adopt: Told once, at the first look, what an earlier run left there.
    :param deregister_on_stop: Whether everything is taken back at the end.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        adopt: Callable[[Iterable[Registration]], None],
        *,
        deregister_on_stop: bool = False,
        random: Random | None = None,
    ) -> None:
        self._reactor, self._backend, self._adopt = reactor, backend, adopt
        self._deregister_on_stop = deregister_on_stop
        self._random = random or Random()
        self._desired: dict[str, Registration] = {}
        # What the backend is known to hold; None before the first look.
        self._actual: dict[str, Registration] | None = None
        # Why services left that may still be registered.
        self._departed: dict[str, str] = {}
        # IDs of services that changed since the last turn, in their order: who was heard first is told first.
        self._changed: dict[str, None] = {}
        self._refused: dict[str, _Refusal] = {}
        self._suspects: frozenset[str] = frozenset()
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        self._turn: Deferred[None] | None = None
        self._next_turn: IDelayedCall | None = None
        self._look_at = -math.inf
        self._failures = 0
        self._failed_at = 0.0
        self._retry_after: float | None = None

    # What others ask.

    @property
    def available(self) -> bool:
        """Whether the backend answered when it was last asked."""
        return self._actual is not None and not self._failures

    @property
    def pending(self) -> int:
        """How many changes the backend has yet to take."""
        return len(plan(self._desired, self._actual or {}))

    def state(self, service_id: str) -> ServiceState:
        """Return the state of a live service in the backend."""
        if service_id in self._refused:
            return ServiceState("refused", str(self._refused[service_id].error))
        registered = self._actual is not None and self._actual.get(service_id) == self._desired.get(service_id)
        return ServiceState("registered" if registered else "waiting")

    # What is live.

    def appeared(self, registration: Registration) -> None:
        self._want(registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._want(registration)

    def _want(self, registration: Registration) -> None:
        self._desired[registration.service_id] = registration
        self._departed.pop(registration.service_id, None)
        self._change(registration.service_id)

    def left(self, registration: Registration, reason: str) -> None:
        self._desired.pop(registration.service_id, None)
        self._departed[registration.service_id] = reason
        self._refused.pop(registration.service_id, None)
        self._change(registration.service_id)

    def _change(self, service_id: str) -> None:
        self._changed[service_id] = None
        if self.running and not self._failures:
            self._wake(_GATHERING)

    # The life of the service.

    def startService(self) -> None:
        super().startService()
        self._wake(0.0)
        self._beating.start(_BEAT_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._beating.stop()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
        if self._deregister_on_stop:
            leaving = Deferred.fromCoroutine(self._take_back())
            leaving.addTimeout(_FAREWELL, self._reactor)
            try:
                await leaving
            except Exception as error:
                self.log.warn("Could not take back all registrations: {error}", error=error)
        await self._backend.close()

    async def _take_back(self) -> None:
        found = await self._backend.read()
        outcome = await self._backend.apply(Plan(deregister=tuple(found.values())))
        for service_id in outcome.applied:
            self._log_deregistered(found[service_id], "stopped")
        if outcome.unavailable is not None:
            raise outcome.unavailable
        await self._backend.retire()

    # The loop.

    def _wake(self, delay: float) -> None:
        """Take a turn so many seconds from now, or earlier if that is settled already."""
        if self._turn is not None:
            # It will see to the next turn itself.
            return
        when = self._reactor.seconds() + delay
        if self._next_turn is not None:
            if self._next_turn.getTime() <= when:
                return
            self._next_turn.cancel()
        self._next_turn = self._reactor.callLater(delay, self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn = None
        self._turn = Deferred.fromCoroutine(self._reconcile())
        self._turn.addErrback(self._log_unforeseen)
        self._turn.addCallback(self._end_turn)

    def _log_unforeseen(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("Reconciliation failed, and will be tried again", failure=failure)
            self._look_at = self._reactor.seconds() + _LOOK_INTERVAL

    def _end_turn(self, _: None) -> None:
        self._turn = None
        if not self.running:
            return
        if self._failures:
            self._wake(self._back_off)
        elif self._changed:
            self._wake(_GATHERING)
        else:
            self._wake(max(0.0, self._look_at - self._reactor.seconds()))

    async def _reconcile(self) -> None:
        try:
            if self._actual is None or self._failures or self._look_at <= self._reactor.seconds():
                await self._look()
            else:
                await self._follow(self._actual)
        except BackendError as error:
            self._fail(error)

    async def _look(self) -> None:
        """Compare everything with what the backend holds."""
        if self._actual is None or self._failures:
            await self._show_life()
        found = dict(await self._backend.read())
        adopting, self._actual = self._actual is None, found
        if adopting:
            self._adopt(found.values())
        self._changed.clear()
        self._departed = {gone: reason for gone, reason in self._departed.items() if gone in found}
        self._look_at = self._reactor.seconds() + _LOOK_INTERVAL
        await self._apply(self._guard(plan(self._desired, found), found, looked=True), found)
        self._recover()

    async def _show_life(self) -> None:
        # What it forgot it is about to be told again.
        with suppress(BackendForgotError):
            await self._backend.keep_alive()

    async def _follow(self, actual: dict[str, Registration]) -> None:
        """Bring over what changed since the last turn."""
        changed, self._changed = self._changed, {}
        desired = {key: self._desired[key] for key in changed if key in self._desired}
        known = {key: actual[key] for key in changed if key in actual}
        await self._apply(self._guard(plan(desired, known), actual, looked=False), actual)

    def _guard(self, changes: Plan, actual: Mapping[str, Registration], *, looked: bool) -> Plan:
        """
        Leave out what was refused lately, and a mass removal that nobody announced, until a second look agrees.

        An empty table, or a backend that shows what it should not, must not cost a rack its services.
        """
        now = self._reactor.seconds()
        register = tuple(wanted for wanted in changes.register if not self._is_refused(wanted.service_id, wanted, now))
        deregister = tuple(found for found in changes.deregister if not self._is_refused(found.service_id, None, now))
        unannounced = frozenset(
            found.service_id
            for found in deregister
            if self._departed.get(found.service_id) not in ("byebye", "expired")
        )
        suspicious = len(unannounced) > _HARMLESS and len(unannounced) > len(actual) / 2
        if suspicious and not (looked and unannounced <= self._suspects):
            self.log.warn(
                "Would deregister {count} of {all} services, looking again first",
                count=len(unannounced),
                all=len(actual),
            )
            self._suspects = unannounced
            deregister = tuple(found for found in deregister if found.service_id not in unannounced)
        elif looked:
            self._suspects = frozenset()
        return Plan(register, deregister)

    def _is_refused(self, service_id: str, wanted: Registration | None, now: float) -> bool:
        refusal = self._refused.get(service_id)
        return refusal is not None and refusal.wanted == wanted and now < refusal.retry_at

    async def _apply(self, changes: Plan, actual: dict[str, Registration]) -> None:
        if not changes:
            return
        outcome = await self._backend.apply(changes)
        for wanted in changes.register:
            if wanted.service_id in outcome.applied:
                verb = "Updated" if wanted.service_id in actual else "Registered"
                self._log_registered(verb, wanted)
                actual[wanted.service_id] = wanted
                self._refused.pop(wanted.service_id, None)
        for found in changes.deregister:
            if found.service_id in outcome.applied:
                actual.pop(found.service_id, None)
                self._refused.pop(found.service_id, None)
                self._log_deregistered(found, self._departed.pop(found.service_id, "unconfigured"))
        wanted_by_id = {wanted.service_id: wanted for wanted in changes.register}
        for service_id, error in outcome.refused.items():
            self._refuse(service_id, wanted_by_id.get(service_id), error)
        if outcome.unavailable is not None:
            raise outcome.unavailable

    def _refuse(self, service_id: str, wanted: Registration | None, error: BackendRefusedError) -> None:
        if not any(str(refusal.error) == str(error) for refusal in self._refused.values()):
            self.log.warn("Refused {service_id}: {error}", service_id=service_id, error=error)
        pause = _DENIED_PAUSE if error.denied else _REFUSED_PAUSE
        self._refused[service_id] = _Refusal(wanted, error, self._reactor.seconds() + pause)

    # Signs of life, and trouble.

    async def _beat(self) -> None:
        if self._actual is None or self._failures:
            # The next turn will show it.
            return
        try:
            await self._backend.keep_alive()
        except BackendForgotError:
            self.log.warn("Backend forgot what it was told, telling it again")
            self._look_soon()
        except BackendError as error:
            self._fail(error)
            self._look_soon()
        except Exception:
            # LoopingCall would end here for good.
            self.log.failure("Sign of life failed, next in {seconds} s", seconds=_BEAT_INTERVAL)

    def _look_soon(self) -> None:
        self._look_at = -math.inf
        if self.running:
            self._wake(self._back_off if self._failures else 0.0)

    def _fail(self, error: BackendError) -> None:
        if not self._failures:
            self._failed_at = self._reactor.seconds()
            self.log.warn("Backend unavailable: {error}", error=error)
        self._failures += 1
        self._retry_after = error.retry_after if isinstance(error, BackendUnavailableError) else None

    def _recover(self) -> None:
        if self._failures:
            seconds = round(self._reactor.seconds() - self._failed_at, 1)
            self.log.info("Backend recovered after {seconds} s", seconds=seconds)
        self._failures = 0

    @property
    def _back_off(self) -> float:
        """Seconds until the next try: ever more, and never the same for all daemons of a rack."""
        longest = min(_BACK_OFF * 2 ** min(self._failures - 1, 10), _LONGEST_BACK_OFF)
        return float(max(longest * self._random.uniform(0.5, 1.0), self._retry_after or 0.0))

    def _log_registered(self, verb: str, registration: Registration) -> None:
        self.log.info(
            verb + " {service_id} as {name} at {address}:{port}",
            service_id=registration.service_id,
            name=registration.name,
            address=registration.address,
            port=registration.port,
        )

    def _log_deregistered(self, registration: Registration, reason: str) -> None:
        self.log.info(
            "Deregistered {service_id} of {name} at {address}:{port}: {reason}",
            service_id=registration.service_id,
            name=registration.name,
            address=registration.address,
            port=registration.port,
            reason=reason,
        )
