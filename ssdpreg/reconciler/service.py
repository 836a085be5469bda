"""The service that makes the registrations of a backend equal to the live services."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.discovery.events import Reason
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.errors import (
    BackendError,
    BackendInUseError,
    BackendUnavailableError,
    NotHolderError,
)
from ssdpreg.interfaces import (
    ICredentials,
    IKnownRegistrations,
    ILockedBackend,
    IRegistrationListener,
    IRegistryBackend,
    IWriteProbe,
    IWriterLock,
)
from ssdpreg.reconciler.keep_alive import KeepAlive
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.change_lines import ChangeLines, Line
from ssdpreg.registration.differences import AppliedChange, Differences, ServiceState
from ssdpreg.registration.slices import SliceSize
from ssdpreg.timers import Backoff, EarliestCall

#: Seconds between two full comparisons with the backend.
_COMPARE_INTERVAL = 30.0
#: Seconds in which changes are collected for one plan.
_COLLECT_TIME = 0.1
#: Seconds of the shortest and longest pause after an error.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
#: Seconds of the longest pause that a backend can request. It is shorter than the TTL of the daemon's check.
_LONGEST_RETRY_AFTER = 15.0
#: Seconds between two attempts while another daemon writes the registrations.
_IN_USE_PAUSE = 5.0
#: Seconds that the deregistration of everything may delay the end of the daemon.
_STOP_TIMEOUT = 9.5
#: Services that are compared or adopted before other events are processed: they take a few milliseconds.
_PART = 500


@implementer(IRegistrationListener)
class Reconciler(Service):
    """
    Service that makes a backend equal to the live services.

    There is no queue of operations. Each turn of the loop takes the most urgent differences between the live services
    and the known content of the backend, and applies them. They are few enough that the turn takes about a second, so
    that no change waits for thousands of less urgent ones. After an error, and every 30 s, the content is read again.

    A rejected change is the fault of one service only if the backend accepts other writes. If it rejects all
    registrations or all removals of a turn, the backend is asked to write the entry of the daemon itself. If that fails
    too, the backend is unavailable. Otherwise one of the registrations is tried again at each comparison, so that the
    end of a fault is found however long it lasted.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to write to.
    :param desired: Registrations of the live services by service ID: a view that changes with them. Its owner calls
        the methods of ``IRegistrationListener`` after each change.
    :param adopt: Called with the registrations of an earlier run, in parts, before the first comparison. After an
        exception, the registrations stay in the backend, and the next comparison adopts them again.
    :param deregister_on_stop: Whether all registrations are removed when the service stops.
    :param priority: Returns the priority of a new service by its ID: those of a higher priority are registered first.
    :param budget: Budget of the log lines that unsolicited datagrams cause. The registry has the same one.
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
        priority: Callable[[str], int] = lambda service_id: 0,
        random: Random | None = None,
        budget: LogBudget | None = None,
    ) -> None:
        self._reactor, self._backend, self._adopt = reactor, backend, adopt
        self._deregister_on_stop = deregister_on_stop
        self._differences = Differences(desired, priority)
        self._slice = SliceSize()
        self._lines = ChangeLines(budget or LogBudget())
        self._objects = LongLivedObjects()
        # The objects of the services that the backend holds, and their largest number so far.
        self._services, self._most_services = LongLivedObjects(), 0
        self._backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE, random or Random())
        self._error: BackendError | None = None
        self._waiting = False
        self._failed_at = 0.0
        self._credentials_version = self._read_credentials_version()
        self._keep_alive = KeepAlive(
            reactor, backend, self._keep_alive_succeeded, self._restore, self._fail_keep_alive, self.log
        )
        self._turn: Deferred[None] | None = None
        self._failed_unexpectedly = False
        self._changed_in_turn = False
        self._next_turn = EarliestCall(reactor, self._take_turn)
        self._compared = False
        self._compare_at = -math.inf
        locked = ILockedBackend(backend, None)
        self._lock: IWriterLock | None = None if locked is None else locked.lock
        self._lock_changed_in_turn = False
        if self._lock is not None:
            self._lock.subscribe(self._lock_changed)

    # State for readers.

    @property
    def available(self) -> bool:
        """Whether the backend answered the latest request, and this daemon writes its registrations."""
        return self._compared and self._error is None

    @property
    def error(self) -> BackendError | None:
        """The error because of which the backend is not available; None if there was none."""
        return self._error

    @property
    def in_use(self) -> bool:
        """Whether another daemon that is alive writes the registrations of this scope."""
        return isinstance(self._error, BackendInUseError)

    @property
    def waiting(self) -> bool:
        """Whether this daemon may not write now, because another one does, or did a moment ago. That is no fault."""
        return self._waiting

    @property
    def pending(self) -> int:
        """Number of changes that the backend has yet to apply, the rejected ones included."""
        return self._differences.pending

    @property
    def held_removals(self) -> int:
        """Number of removals that wait for a second comparison, because they are most of the registrations."""
        return self._differences.held

    @property
    def rejected(self) -> int:
        """Number of changes that the backend rejected and that wait for another attempt."""
        return len(self._differences.rejected)

    @property
    def summarized_changes(self) -> int:
        """Number of changes that were logged in a summary, without a line of their own."""
        return self._lines.summarized

    @property
    def keep_alive_failures(self) -> int:
        """Number of keep-alives that the backend did not accept."""
        return self._keep_alive.failures

    def state(self, service_id: str) -> ServiceState:
        """Return the state of a live service in the backend."""
        return self._differences.state(service_id)

    # Changes of the live services.

    def appeared(self, registration: Registration) -> None:
        self._differences.appeared(registration.service_id, self._reactor.seconds())
        self._wake_for_change()

    def changed(self, registration: Registration, before: Registration) -> None:
        self._differences.appeared(registration.service_id, self._reactor.seconds())
        self._wake_for_change()

    def left(self, registration: Registration, reason: Reason) -> None:
        self._differences.left(registration.service_id, reason, self._reactor.seconds())
        self._wake_for_change()

    def _wake_for_change(self) -> None:
        self._changed_in_turn = self._turn is not None
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
            change = AppliedChange("Deregistered", found[service_id], "stopped")
            self._log_lines(self._lines.add(change, self._reactor.seconds()))
        self._log_lines(self._lines.summarize(self._reactor.seconds()))
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
        # The coroutine runs up to its first request before it is a Deferred. It may request a turn meanwhile.
        self._turn = Deferred()
        self._turn = Deferred.fromCoroutine(self._reconcile())
        self._turn.addErrback(self._log_unexpected)
        self._turn.addCallback(self._end_turn)

    def _log_unexpected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("Reconciliation failed, next attempt in {seconds} s", failure, seconds=_COMPARE_INTERVAL)
            self._compare_at = self._reactor.seconds() + _COMPARE_INTERVAL
            self._failed_unexpectedly = True

    def _end_turn(self, _: None) -> None:
        self._turn = None
        unexpected, self._failed_unexpectedly = self._failed_unexpectedly, False
        changed, self._changed_in_turn = self._changed_in_turn, False
        lock_changed, self._lock_changed_in_turn = self._lock_changed_in_turn, False
        if not self.running:
            return
        if lock_changed:
            self._compare_soon(0.0)
            return
        if self._error is not None:
            self._wake(self._pause())
        elif self._compared and (self._differences.queued or changed) and not unexpected:
            self._wake(0.0)
        else:
            self._wake(max(0.0, self._compare_at - self._reactor.seconds()))

    async def _reconcile(self) -> None:
        try:
            self._check_credentials()
            if not self.available or self._compare_at <= self._reactor.seconds():
                await self._compare()
            self._check_removals(full=False)
            await self._apply_slice()
        except BackendError as error:
            self._fail(error)
        else:
            self._recover()

    async def _compare(self) -> None:
        """Read the content of the backend, adopt it if that is still to be done, and find all differences."""
        if not self.available:
            await self._keep_alive.send()
            # The rejections may have had the same cause as the error.
            self._differences.rejected.clear()
        if IKnownRegistrations.providedBy(self._backend):
            self._backend.known = self._differences.actual or {}
        found = dict(await self._backend.read())
        await self._process_events(len(found) - _PART)
        self._compare_at = self._reactor.seconds() + _COMPARE_INTERVAL
        self._differences.load(found, self._reactor.seconds())
        if not self._differences.adopted:
            await self._adopt_all(list(found.values()))
        await self._process_events(len(found) - _PART)
        ids = self._differences.ids()
        for start in range(0, len(ids), _PART):
            await self._process_events(start)
            now = self._reactor.seconds()
            for service_id in ids[start : start + _PART]:
                self._differences.compare(service_id, now)
        self._compared = True
        self._check_removals(full=True)

    async def _adopt_all(self, found: list[Registration]) -> None:
        for start in range(0, len(found), _PART):
            await self._process_events(start)
            self._objects.grow(start)
            try:
                self._adopt(found[start : start + _PART])
            except Exception:
                # Services that are not adopted stay in the backend until the next attempt. New ones are registered.
                self.log.failure("Adoption failed, next attempt in {seconds} s", seconds=_COMPARE_INTERVAL)
                return
        self._differences.adopted = True

    async def _process_events(self, start: int) -> None:
        """
        Let the reactor process other events before the next part of a long computation.

        :param start: Number of items that are processed already. Nothing happens if there are none.
        """
        if start > 0:
            await deferLater(self._reactor, 0.0)

    def _check_removals(self, *, full: bool) -> None:
        before = self._differences.held
        self._differences.check_removals(self._reactor.seconds(), full=full)
        if self._differences.held and not before:
            self.log.warn(
                "Not deregistering {count} of {all} services before a second comparison",
                count=self._differences.held,
                all=len(self._differences.actual or ()),
            )

    async def _apply_slice(self) -> None:
        """Apply the most urgent changes."""
        changes = self._differences.take(self._slice.count)
        started_at = self._reactor.seconds()
        try:
            if changes:
                outcome = await self._backend.apply(changes)
                self._slice.adapt(len(changes), self._reactor.seconds() - started_at)
                now = self._reactor.seconds()
                for change in self._differences.record(changes, outcome, now):
                    self._log_lines(self._lines.add(change, now))
                self._freeze_services()
                await self._record_refusals(changes, outcome)
                if outcome.unavailable is not None:
                    raise outcome.unavailable
        finally:
            self._differences.end_progress(self._reactor.seconds())
            self._log_lines(self._lines.summarize(self._reactor.seconds()))

    def _freeze_services(self) -> None:
        """Keep the garbage collector from examining all services again and again while their number grows."""
        self._most_services = max(self._most_services, len(self._differences.actual or ()))
        self._services.grow(self._most_services)

    async def _record_refusals(self, changes: Plan, outcome: Outcome) -> None:
        """
        Record the rejected changes.

        :raise BackendError: If the backend rejects all writes.
        """
        if not outcome.refused:
            return
        if any(_all_refused(kind, outcome) for kind in (changes.register, changes.deregister)):
            if outcome.unavailable is not None:
                return
            await self._probe()
        now = self._reactor.seconds()
        for service_id, error in self._differences.reject(changes, outcome.refused, now):
            # The error may contain a text of the device, and so be another one for each service.
            if self._lines.take_for_refusal(now):
                self.log.warn("Refused {service_id}: {error}", service_id=service_id, error=error)

    async def _probe(self) -> None:
        """Find out whether the backend accepts any write."""
        probe = IWriteProbe(self._backend, None)
        await (self._backend.keep_alive() if probe is None else probe.probe())

    # Credentials of the backend.

    def _read_credentials_version(self) -> int:
        credentials = ICredentials(self._backend, None)
        return 0 if credentials is None else credentials.credentials_version

    def _check_credentials(self) -> None:
        """Queue the changes that were rejected for a missing permission if the credentials changed."""
        version = self._read_credentials_version()
        if version != self._credentials_version:
            self._credentials_version = version
            self._differences.release_denied(self._reactor.seconds())
            if self._error is not None and self.running:
                self._wake(0.0)
            else:
                self._wake_for_change()

    # The lock of the backend.

    def _lock_changed(self) -> None:
        """Compare at once. After an acquisition, the content of the backend may have changed or may be lost."""
        assert self._lock is not None
        if self._lock.held and self._lock.others_wrote:
            self._differences.adopted = self._compared = False
        self._lock_changed_in_turn = self._turn is not None
        self._compare_soon(0.0)

    # Errors of the backend.

    def _keep_alive_succeeded(self) -> None:
        self._check_credentials()
        if self.in_use:
            # The other daemon has ended.
            self._compare_soon(0.0)

    def _restore(self) -> None:
        if self._error is None:
            self.log.warn("Backend lost its registrations, registering again")
            self._compare_soon(0.0)

    def _fail_keep_alive(self, error: BackendError) -> None:
        self._check_credentials()
        # While the backend is unavailable, the turns count the failures.
        if self._error is None:
            self._fail(error)
            self._compare_soon(self._pause())

    def _compare_soon(self, delay: float) -> None:
        self._compare_at = -math.inf
        if self.running:
            self._wake(delay)

    def _fail(self, error: BackendError) -> None:
        in_use = isinstance(error, BackendInUseError)
        not_holder = isinstance(error, NotHolderError)
        waiting = in_use and not (not_holder and self._lock is not None and self._lock.unreachable)
        if waiting:
            self._log_recovery()
            # The lock itself logs which daemon holds it.
            if not self._waiting and not not_holder:
                self.log.info("Waiting: {error}", error=error)
        elif self._error is None or self._waiting:
            self._failed_at = self._reactor.seconds()
            self.log.warn("Backend unavailable: {error}", error=error)
        self._waiting = waiting
        if in_use and not not_holder:
            # The services that the other daemon registers are adopted when it has ended. A lock shows at its
            # acquisition whether another daemon has written.
            self._differences.adopted = self._compared = False
        # The tracebacks would keep what the failed call had read, such as a long listing.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self._error = error
        self._backoff.fail()

    def _recover(self) -> None:
        if self._error is not None:
            self._log_recovery()
            if self._waiting and not isinstance(self._error, NotHolderError):
                self.log.info("Registering services: no other daemon registers those of this scope any more")
            self._error, self._waiting = None, False
            self._backoff.reset()

    def _log_recovery(self) -> None:
        if self._error is not None and not self._waiting:
            seconds = round(self._reactor.seconds() - self._failed_at, 1)
            self.log.info("Backend recovered after {seconds} s", seconds=seconds)

    def _pause(self) -> float:
        """Return the seconds until the next attempt after an error."""
        if self.in_use:
            return _IN_USE_PAUSE
        requested = self._error.retry_after if isinstance(self._error, BackendUnavailableError) else None
        return max(self._backoff.pause(), min(requested or 0.0, _LONGEST_RETRY_AFTER))

    # Log lines.

    def _log_lines(self, lines: Iterable[Line]) -> None:
        for line, fields in lines:
            self.log.info(line, **fields)


def _all_refused(registrations: Iterable[Registration], outcome: Outcome) -> bool:
    """Return whether the backend rejected some of the registrations, and accepted none of them."""
    ids = {registration.service_id for registration in registrations}
    return not ids.isdisjoint(outcome.refused) and ids.isdisjoint(outcome.applied)
