"""Reconciliation: makes the registrations of a backend equal to the live services, and retries after errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ssdpreg.errors import BackendError, BackendForgotError, BackendUnavailableError
from ssdpreg.interfaces import IRegistrationListener, IRegistryBackend
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.guard import MassRemovalGuard
from ssdpreg.registration.plan import plan
from ssdpreg.registration.rejections import RejectedChanges
from ssdpreg.timers import Backoff, EarliestCall, RepeatingCall

#: Seconds between two full comparisons with the backend.
_COMPARE_INTERVAL = 30.0
#: Seconds between two keep-alives. The daemon's TTL check in Consul has 30 s, so two of them may be lost.
_KEEP_ALIVE_INTERVAL = 10.0
#: Seconds in which changes are collected for one plan.
_COLLECT_TIME = 0.1
#: Seconds of the shortest and longest pause after an error.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
#: Seconds that the deregistration of everything may delay the end of the daemon.
_STOP_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """
    State of a live service in the backend.

    :ivar name: ``registered``, ``waiting`` or ``refused``.
    :ivar reason: The backend's reason for a refusal, otherwise empty.
    """

    name: Literal["registered", "waiting", "refused"]
    reason: str = ""


class KeepAlive:
    """
    Keep-alives of this daemon in the backend.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend that receives them.
    :param needed: Returns whether they are sent now.
    :param lost: Called if the backend lost its entries.
    :param failed: Called with the error if the backend does not accept one.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        needed: Callable[[], bool],
        lost: Callable[[], None],
        failed: Callable[[BackendError], None],
        log: Logger,
    ) -> None:
        self._backend, self._needed, self._lost, self._failed = backend, needed, lost, failed
        self._sending = RepeatingCall(reactor, _KEEP_ALIVE_INTERVAL, self._send_if_needed, log)

    def start(self) -> None:
        """Send keep-alives from now on."""
        self._sending.start(now=False)

    def stop(self) -> None:
        """Send no more keep-alives."""
        self._sending.stop()

    async def send(self) -> None:
        """
        Send one keep-alive.

        :raise BackendError: If the backend does not accept it.
        """
        # The comparison that follows registers what the backend lost.
        with suppress(BackendForgotError):
            await self._backend.keep_alive()

    async def _send_if_needed(self) -> None:
        if not self._needed():
            return
        try:
            await self._backend.keep_alive()
        except BackendForgotError:
            self._lost()
        except BackendError as error:
            self._failed(error)


@implementer(IRegistrationListener)
class Reconciler(Service):
    """
    Service that makes a backend equal to the live services.

    There is no queue of operations. Each turn of the loop computes the difference between the live services and the
    known content of the backend, and applies it. After an error, and every 30 s, the content is read again.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to write to.
    :param desired: Registrations of the live services by service ID: a view that changes with them. Its owner calls
        the methods of ``IRegistrationListener`` after each change.
    :param adopt: Called once with the registrations of an earlier run, before the first comparison.
    :param deregister_on_stop: Whether all registrations are removed when the service stops.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        desired: Mapping[str, Registration],
        adopt: Callable[[Iterable[Registration]], None],
        *,
        deregister_on_stop: bool = False,
        random: Random | None = None,
    ) -> None:
        self._reactor, self._backend, self._desired, self._adopt = reactor, backend, desired, adopt
        self._deregister_on_stop = deregister_on_stop
        # Registrations that the backend is known to hold; None before the first comparison.
        self._actual: dict[str, Registration] | None = None
        # Reasons of the departures that the backend has yet to apply.
        self._departed: dict[str, str] = {}
        # IDs of the services that changed since the last turn, in this order.
        self._changed: dict[str, None] = {}
        self._rejected = RejectedChanges()
        self._guard = MassRemovalGuard()
        self._backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE, random or Random())
        self._retry_after = 0.0
        self._failed_at = 0.0
        self._keep_alive = KeepAlive(
            reactor, backend, lambda: self.available, self._restore, self._fail_keep_alive, self.log
        )
        self._turn: Deferred[None] | None = None
        self._next_turn = EarliestCall(reactor, self._take_turn)
        self._compare_at = -math.inf

    # State for readers.

    @property
    def available(self) -> bool:
        """Whether the backend answered the latest request."""
        return self._actual is not None and not self._backoff.failures

    @property
    def pending(self) -> int:
        """Number of changes that the backend has yet to apply."""
        return len(plan(self._desired, self._actual or {}))

    def state(self, service_id: str) -> ServiceState:
        """Return the state of a live service in the backend."""
        error = self._rejected.error(service_id)
        if error is not None:
            return ServiceState("refused", str(error))
        registered = self._actual is not None and self._actual.get(service_id) == self._desired.get(service_id)
        return ServiceState("registered" if registered else "waiting")

    # Changes of the live services.

    def appeared(self, registration: Registration) -> None:
        self._departed.pop(registration.service_id, None)
        self._note_change(registration.service_id)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._note_change(registration.service_id)

    def left(self, registration: Registration, reason: str) -> None:
        self._departed[registration.service_id] = reason
        self._rejected.remove(registration.service_id)
        self._note_change(registration.service_id)

    def _note_change(self, service_id: str) -> None:
        self._changed[service_id] = None
        if self.running and self.available:
            self._wake(_COLLECT_TIME)

    # Start and stop.

    def startService(self) -> None:
        super().startService()
        self._wake(0.0)
        self._keep_alive.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._keep_alive.stop()
        self._next_turn.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
        if self._deregister_on_stop:
            deregistering = Deferred.fromCoroutine(self._deregister_all())
            deregistering.addTimeout(_STOP_TIMEOUT, self._reactor)
            try:
                await deregistering
            except Exception as error:
                self.log.warn("Could not deregister all services: {error}", error=error)
        await self._backend.close()

    async def _deregister_all(self) -> None:
        found = await self._backend.read()
        outcome = await self._backend.apply(Plan(deregister=tuple(found.values())))
        for service_id in outcome.applied:
            self._log_deregistered(found[service_id], "stopped")
        if outcome.unavailable is not None:
            raise outcome.unavailable
        await self._backend.retire()

    # The loop: one turn at a time.

    def _wake(self, delay: float) -> None:
        """Take a turn after so many seconds, or earlier if one is due earlier."""
        # A turn that is under way requests the next one at its end.
        if self._turn is None:
            self._next_turn.request(self._reactor.seconds() + delay)

    def _take_turn(self) -> None:
        self._turn = Deferred.fromCoroutine(self._reconcile())
        self._turn.addErrback(self._log_unexpected)
        self._turn.addCallback(self._end_turn)

    def _log_unexpected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("Reconciliation failed, next attempt in {seconds} s", failure, seconds=_COMPARE_INTERVAL)
            self._compare_at = self._reactor.seconds() + _COMPARE_INTERVAL

    def _end_turn(self, _: None) -> None:
        self._turn = None
        if not self.running:
            return
        if self._backoff.failures:
            self._wake(self._pause())
        elif self._changed and self.available:
            self._wake(_COLLECT_TIME)
        else:
            self._wake(max(0.0, self._compare_at - self._reactor.seconds()))

    async def _reconcile(self) -> None:
        try:
            if self._actual is None or self._backoff.failures or self._compare_at <= self._reactor.seconds():
                await self._compare()
            else:
                await self._apply_changes(self._actual)
        except BackendError as error:
            self._fail(error)

    async def _compare(self) -> None:
        """Read the content of the backend and apply all differences."""
        if not self.available:
            await self._keep_alive.send()
        found = dict(await self._backend.read())
        if self._actual is None:
            self._adopt(found.values())
        self._actual = found
        self._changed.clear()
        self._departed = {gone: reason for gone, reason in self._departed.items() if gone in found}
        self._compare_at = self._reactor.seconds() + _COMPARE_INTERVAL
        await self._apply(plan(self._desired, found), found, full=True)
        self._recover()

    async def _apply_changes(self, actual: dict[str, Registration]) -> None:
        """Apply the changes since the last turn."""
        changed, self._changed = self._changed, {}
        desired = {key: self._desired[key] for key in changed if key in self._desired}
        known = {key: actual[key] for key in changed if key in actual}
        await self._apply(plan(desired, known), actual, full=False)

    async def _apply(self, changes: Plan, actual: dict[str, Registration], *, full: bool) -> None:
        changes = self._rejected.due(changes, self._reactor.seconds())
        changes = self._guard.check(changes, len(actual), self._departed.get, full=full)
        if self._guard.held:
            self.log.warn(
                "Not deregistering {count} of {all} services before a second comparison",
                count=self._guard.held,
                all=len(actual),
            )
        if changes:
            outcome = await self._backend.apply(changes)
            self._record(changes, outcome, actual)
            if outcome.unavailable is not None:
                raise outcome.unavailable

    def _record(self, changes: Plan, outcome: Outcome, actual: dict[str, Registration]) -> None:
        """Update the known content of the backend after a plan."""
        for wanted in changes.register:
            if wanted.service_id in outcome.applied:
                verb = "Updated" if wanted.service_id in actual else "Registered"
                self._log_registered(verb, wanted)
                actual[wanted.service_id] = wanted
                self._rejected.remove(wanted.service_id)
        for found in changes.deregister:
            if found.service_id in outcome.applied:
                actual.pop(found.service_id, None)
                self._rejected.remove(found.service_id)
                self._log_deregistered(found, self._departed.pop(found.service_id, "unconfigured"))
        wanted_by_id = {wanted.service_id: wanted for wanted in changes.register}
        for service_id, error in outcome.refused.items():
            if self._rejected.add(service_id, wanted_by_id.get(service_id), error, self._reactor.seconds()):
                self.log.warn("Refused {service_id}: {error}", service_id=service_id, error=error)

    # Errors of the backend.

    def _restore(self) -> None:
        self.log.warn("Backend lost its registrations, registering again")
        self._compare_soon(0.0)

    def _fail_keep_alive(self, error: BackendError) -> None:
        self._fail(error)
        self._compare_soon(self._pause())

    def _compare_soon(self, delay: float) -> None:
        self._compare_at = -math.inf
        if self.running:
            self._wake(delay)

    def _fail(self, error: BackendError) -> None:
        if not self._backoff.failures:
            self._failed_at = self._reactor.seconds()
            self.log.warn("Backend unavailable: {error}", error=error)
        self._backoff.fail()
        self._retry_after = (error.retry_after or 0.0) if isinstance(error, BackendUnavailableError) else 0.0

    def _recover(self) -> None:
        if self._backoff.failures:
            seconds = round(self._reactor.seconds() - self._failed_at, 1)
            self.log.info("Backend recovered after {seconds} s", seconds=seconds)
            self._backoff.reset()

    def _pause(self) -> float:
        """Return the seconds until the next attempt after an error."""
        return max(self._backoff.pause(), self._retry_after)

    # Log lines.

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
