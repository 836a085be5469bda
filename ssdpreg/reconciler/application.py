"""Application of the differences to the backend, in slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.logger import Logger

from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.interfaces import IRegistryBackend, IWriteProbe
from ssdpreg.registration import Outcome, Plan, Registration
from ssdpreg.registration.change_lines import ChangeLines
from ssdpreg.registration.differences import AppliedChange, Differences
from ssdpreg.registration.slices import SliceSize


class Application:
    """
    Application of the most urgent differences to the backend.

    A rejected change is the fault of one service only if the backend accepts other writes. If it rejects all
    registrations or all removals of a slice, the backend is asked to write the entry of the daemon itself. If that
    fails too, the backend is unavailable.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to write to.
    :param differences: The differences, which record what was applied.
    :param budget: Budget of the log lines that unsolicited datagrams cause.
    :param log: Logger of the owner.
    """

    def __init__(
        self, reactor: Any, backend: IRegistryBackend, differences: Differences, budget: LogBudget, log: Logger
    ) -> None:
        self._reactor, self._backend, self._differences, self._log = reactor, backend, differences, log
        self._slice = SliceSize()
        self._lines = ChangeLines(budget)
        # The objects of the services that the backend holds, and their largest number so far.
        self._services, self._most_services = LongLivedObjects(), 0

    @property
    def summarized_changes(self) -> int:
        """Number of changes that were logged in a summary, without a line of their own."""
        return self._lines.summarized

    async def apply_slice(self) -> None:
        """
        Apply the most urgent changes.

        :raise BackendError: If the backend is unavailable.
        """
        changes = self._differences.take(self._slice.count)
        started_at = self._reactor.seconds()
        try:
            if changes:
                outcome = await self._backend.apply(changes)
                self._slice.adapt(len(changes), self._reactor.seconds() - started_at)
                self._log_changes(self._differences.record(changes, outcome, self._reactor.seconds()))
                self._freeze_services()
                await self._record_refusals(changes, outcome)
                if outcome.unavailable is not None:
                    raise outcome.unavailable
        finally:
            self._differences.end_progress(self._reactor.seconds())
            self._log_summary()

    async def deregister_all(self) -> None:
        """
        Deregister everything that the backend holds, and the entry of the daemon itself.

        :raise BackendError: If that is not possible.
        """
        found = await self._backend.read()
        outcome = await self._backend.apply(Plan(deregister=tuple(found.values())))
        self._log_changes(AppliedChange("Deregistered", found[each], "stopped") for each in outcome.applied)
        self._log_summary()
        if outcome.unavailable is not None:
            raise outcome.unavailable
        await self._backend.retire()

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
                self._log.warn("Refused {service_id}: {error}", service_id=service_id, error=error)

    async def _probe(self) -> None:
        """Find out whether the backend accepts any write."""
        probe = IWriteProbe(self._backend, None)
        await (self._backend.keep_alive() if probe is None else probe.probe())

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
