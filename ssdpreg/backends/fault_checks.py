"""Distinction between an agent that fails to process one change, and an agent that processes none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import DeferredLock

from ssdpreg.backends.changes import ChangeFunction
from ssdpreg.errors import BackendError, BackendFaultError, BackendRefusedError
from ssdpreg.registration import Registration


class FaultCheck:
    """
    Check of the backend after the first fault in a plan. All changes of the plan use its result.

    It is made while the plan is applied, and not after it: in an outage, no more changes fail than are in progress.

    :param probe: Makes a write that a backend which works accepts, and raises a :class:`BackendError` otherwise.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._lock = DeferredLock()
        self._checked = False
        self._error: BackendError | None = None

    def guard(self, change: ChangeFunction) -> ChangeFunction:
        """
        Return a change that is rejected if the backend fails to process it, but processes the probe.

        :return: Function that raises the error of the probe if that fails, too.
        """

        async def run(registration: Registration) -> None:
            try:
                await change(registration)
            except BackendFaultError as error:
                await self._check()
                raise BackendRefusedError(error.status, error.reason) from error

        return run

    async def _check(self) -> None:
        await self._lock.acquire()
        try:
            if not self._checked:
                try:
                    await self._probe()
                except BackendError as error:
                    self._error = error
                self._checked = True
        finally:
            self._lock.release()
        if self._error is not None:
            raise self._error
