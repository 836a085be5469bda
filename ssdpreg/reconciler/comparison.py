"""Comparison of the live services with everything that the backend holds, in parts that do not block the reactor."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from ssdpreg.backends.garbage import LongLivedObjects
from ssdpreg.interfaces import IEarlierRegistrations, IKnownRegistrations, IRegistryBackend, ISharedRegistrations
from ssdpreg.registration import Registration
from ssdpreg.registration.differences import AppliedChange, Differences

#: Seconds between two comparisons.
COMPARE_INTERVAL = 30.0
#: Services that are compared or adopted before other events are processed: they take a few milliseconds.
_PART = 500


class Comparison:
    """
    Comparison with the content of the backend, which is adopted the first time.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to read.
    :param differences: Receive the content.
    :param adopt: Called with the registrations of an earlier run, in parts.
    :param report: Called with the changes with an unknown outcome that turn out to be applied.
    :param log: Logger of the owner.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        differences: Differences,
        adopt: Callable[[Iterable[Registration]], None],
        report: Callable[[Iterable[AppliedChange]], None],
        log: Logger,
    ) -> None:
        self._reactor, self._backend, self._differences = reactor, backend, differences
        self._adopt, self._report, self._log = adopt, report, log
        self._objects = LongLivedObjects()

    async def run(self) -> None:
        """
        Read the content of the backend, adopt it if that is still to be done, and find all differences.

        :raise BackendError: If the content cannot be read.
        """
        if IKnownRegistrations.providedBy(self._backend):
            self._backend.known = self._differences.actual or {}
        shared = ISharedRegistrations(self._backend, None)
        found = dict(await self._backend.read()) if shared is None else shared.registrations
        earlier = [] if self._differences.adopted else await self._read_earlier(found)
        await self._process_events(len(found) - _PART)
        self._report(self._differences.load(found, self._reactor.seconds()))
        if not self._differences.adopted:
            await self._adopt_all([*found.values(), *earlier])
        await self._process_events(len(found) - _PART)
        ids = self._differences.ids()
        for start in range(0, len(ids), _PART):
            await self._process_events(start)
            now = self._reactor.seconds()
            for service_id in ids[start : start + _PART]:
                self._differences.compare(service_id, now)

    async def _read_earlier(self, found: Container[str]) -> list[Registration]:
        backend = IEarlierRegistrations(self._backend, None)
        read = () if backend is None else await backend.read_earlier()
        return [each for each in read if each.service_id not in found]

    async def _adopt_all(self, found: list[Registration]) -> None:
        for start in range(0, len(found), _PART):
            await self._process_events(start)
            self._objects.grow(start)
            try:
                self._adopt(found[start : start + _PART])
            except Exception:
                # Services that are not adopted stay in the backend until the next attempt. New ones are registered.
                self._log.failure("Adoption failed, next attempt in {seconds} s", seconds=COMPARE_INTERVAL)
                return
        self._differences.adopted = True

    async def _process_events(self, start: int) -> None:
        """
        Let the reactor process other events before the next part of a long computation.

        :param start: Number of items that are processed already. Nothing happens if there are none.
        """
        if start > 0:
            await deferLater(self._reactor, 0.0)
