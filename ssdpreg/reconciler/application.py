"""Application of the differences to the backend, in slices that overlap if the backend permits it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.interfaces import IOverlappingPlans, IRegistryBackend, IWriteProbe
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.change_lines import ChangeLines
from ssdpreg.registration.differences import AppliedChange, Differences
from ssdpreg.registration.slices import SliceSize

#: Number of times that everything is deregistered at the stop, as long as there is anything: registrations that were
#: cancelled a moment ago may take effect after the backend has been read.
_DEREGISTRATIONS = 3


class Application:
    """
    Application of the differences to the backend, the most urgent ones first.

    A slice contains as many changes as the backend applies within about a second. The next slice begins when the
    backend has begun all of them, although some have not ended: the backend always has changes to apply, and an urgent
    change waits only until one of those in progress ends. Each service is part of one slice at a time, so that its
    changes take effect in their order. A backend without ``IOverlappingPlans`` receives one slice after the other.

    A rejected change is the fault of one service only if the backend accepts other writes. If it rejects all
    registrations or all removals of a slice, the backend is asked to write the entry of the daemon itself. If that
    fails too, the backend is unavailable.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to write to.
    :param differences: The differences, which record what was applied.
    :param prepare: Called before each slice. It may add to the differences.
    :param succeeded: Called after each slice that the backend applied.
    :param budget: Budget of the log lines that unsolicited datagrams cause.
    :param log: Logger of the owner.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        differences: Differences,
        prepare: Callable[[], None],
        succeeded: Callable[[], None],
        budget: LogBudget,
        log: Logger,
    ) -> None:
        self._reactor, self._backend, self._differences, self._log = reactor, backend, differences, log
        self._prepare, self._succeeded = prepare, succeeded
        overlapping = IOverlappingPlans(backend, None)
        self._apply = self._apply_alone if overlapping is None else overlapping.apply_overlapping
        self._slice = SliceSize()
        self._lines = ChangeLines(budget)
        # The objects of the services that the backend holds, and their largest number so far.
        self._services, self._most_services = LongLivedObjects(), 0
        # Those in progress, in the order in which they began.
        self._slices: dict[Deferred[None], None] = {}
        self._has_room = True
        self._failure: Failure | None = None
        # Fires when the next slice may be due.
        self._waiting: Deferred[None] | None = None

    @property
    def summarized_changes(self) -> int:
        """Number of changes that were logged in a summary, without a line of their own."""
        return self._lines.summarized

    async def run(self, may_continue: Callable[[], bool]) -> None:
        """
        Apply slices until no difference is left, at least one.

        :param may_continue: Returns whether another slice may begin.
        :raise BackendError: If the backend is unavailable. Slices that have begun end first.
        """
        self._has_room, self._failure = True, None
        try:
            self._begin_slice()
            while True:
                # A slice may end at once, without a request: others have to be processed between two slices.
                await deferLater(self._reactor, 0.0)
                self._prepare()
                if self._may_begin() and may_continue():
                    self._begin_slice()
                elif self._slices:
                    await self._wait()
                else:
                    break
        except CancelledError:
            # The end of a slice makes room for changes of later ones, so those are cancelled first.
            for each in reversed(list(self._slices)):
                each.cancel()
            raise
        if self._failure is not None:
            self._failure.raiseException()

    def wake(self) -> None:
        """Begin a slice for new differences, if :meth:`run` is in progress and the backend has room."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def deregister_all(self) -> None:
        """
        Deregister everything that the backend holds, and the entry of the daemon itself.

        :raise BackendError: If that is not possible.
        """
        for _ in range(_DEREGISTRATIONS):
            found = await self._backend.read()
            if not found:
                break
            outcome = await self._backend.apply(Plan(deregister=tuple(found.values())))
            self.report(AppliedChange("Deregistered", found[each], "stopped") for each in outcome.applied)
            if outcome.unavailable is not None:
                raise outcome.unavailable
        await self._backend.retire()

    def report(self, changes: Iterable[AppliedChange]) -> None:
        """Log changes that the backend has applied."""
        self._log_changes(changes)
        self._log_summary()

    async def _wait(self) -> None:
        """Wait until a slice has ended, or until another one may be due."""
        self._waiting = Deferred()
        try:
            await self._waiting
        finally:
            self._waiting = None

    # Slices.

    def _may_begin(self) -> bool:
        return self._has_room and self._failure is None and self._differences.queued > 0

    def _begin_slice(self) -> None:
        changes = self._differences.take(self._slice.count)
        if changes:
            self._has_room = False
            # It may end at once.
            slice: Deferred[None] = Deferred.fromCoroutine(self._apply_slice(changes))
            self._slices[slice] = None
            slice.addBoth(self._end_slice, slice)

    def _end_slice(self, result: Failure | None, slice: Deferred[None]) -> None:
        del self._slices[slice]
        if isinstance(result, Failure):
            self._failure = self._failure or result
        elif self._failure is None:
            self._succeeded()
        self.wake()

    async def _apply_slice(self, changes: Plan) -> None:
        began_at = self._reactor.seconds()

        def note_room() -> None:
            self._has_room = True
            self.wake()

        try:
            outcome = await self._apply(changes, note_room)
            self._slice.adapt(len(changes), self._reactor.seconds() - began_at)
            self._log_changes(self._differences.record(changes, outcome, self._reactor.seconds()))
            self._freeze_services()
            await self._record_refusals(changes, outcome)
            if outcome.unavailable is not None:
                raise outcome.unavailable
        finally:
            self._differences.end_progress(changes, self._reactor.seconds())
            self._log_summary()

    async def _apply_alone(self, plan: Plan, room: Callable[[], None]) -> Outcome:
        outcome = await self._backend.apply(plan)
        room()
        return outcome

    def _freeze_services(self) -> None:
        """Keep the garbage collector from examining all services again and again while their number grows."""
        self._most_services = max(self._most_services, len(self._differences.actual or ()))
        self._services.grow(self._most_services)

    # Refusals.

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
                self._log.warn("Refused {service_id}: {error}", service_id=service_id, error=error)

    async def _probe(self) -> None:
        """Find out whether the backend accepts any write."""
        probe = IWriteProbe(self._backend, None)
        await (self._backend.keep_alive() if probe is None else probe.probe())

    # Log lines.

    def _log_changes(self, changes: Iterable[AppliedChange]) -> None:
        now = self._reactor.seconds()
        for change in changes:
            for line, fields in self._lines.add(change, now):
                self._log.info(line, **fields)

    def _log_summary(self) -> None:
        for line, fields in self._lines.summarize(self._reactor.seconds()):
            self._log.info(line, **fields)


def _all_refused(registrations: Iterable[Registration], outcome: Outcome) -> bool:
    """Return whether the backend rejected some of the registrations, and accepted none of them."""
    ids = {registration.service_id for registration in registrations}
    return not ids.isdisjoint(outcome.refused) and ids.isdisjoint(outcome.applied)
