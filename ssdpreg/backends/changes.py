"""Requests of a backend that are in progress at the same time, and the changes of plans with one request each."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Registration

#: Function that registers or deregisters one service.
ChangeFunction: TypeAlias = Callable[[Registration], Coroutine[Any, Any, None]]
#: Such a function, and the registration to call it with.
Change: TypeAlias = tuple[ChangeFunction, Registration]


class ChangeRunner:
    """
    Runner of the changes of several plans at a time, with one limit for all of them.

    :param limit: Largest number of changes in progress.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._runs: deque[_Run] = deque()
        self._beginning = False

    async def run(self, changes: Iterable[Change], room: Callable[[], None]) -> Outcome:
        """
        Run the changes of a plan. A rejected change does not stop the others.

        :param changes: The changes in the order in which to start them. After a :class:`BackendUnavailableError` no
            further change of this plan is started.
        :param room: Called when none of them waits any more, and fewer changes than the limit are in progress; not
            after an error that stops the plan.
        :return: The services that were changed, those that were rejected, and why the rest was not tried.
        """
        run = _Run(changes, room)
        self._runs.append(run)
        self._begin_changes()
        if run.in_progress or run.waiting:
            await run.wait()
        if run.failure is not None:
            run.failure.raiseException()
        return Outcome(frozenset(run.applied), run.refused, run.unavailable)

    def _begin_changes(self) -> None:
        if self._beginning:
            # A change has ended at once, without a request.
            return
        self._beginning = True
        while self._free and self._runs:
            run = self._runs[0]
            if run.waiting:
                self._begin(run, *run.waiting.popleft())
            else:
                self._runs.popleft()
                if not run.stopped:
                    run.room()
        self._beginning = False

    def _begin(self, run: _Run, change: ChangeFunction, item: Registration) -> None:
        self._free -= 1
        changing = Deferred.fromCoroutine(change(item))
        run.in_progress.add(changing)
        changing.addBoth(self._end, run, changing, item.service_id)

    def _end(self, result: Failure | None, run: _Run, changing: Deferred[None], service_id: str) -> None:
        self._free += 1
        run.in_progress.discard(changing)
        run.record(service_id, result)
        self._begin_changes()
        if not run.in_progress and not run.waiting:
            run.end()


class _Run:
    """
    Changes of one plan.

    :ivar waiting: The changes that have not been started.
    :ivar in_progress: The changes that have been started, and have not ended.
    :ivar failure: The first unexpected exception.
    """

    def __init__(self, changes: Iterable[Change], room: Callable[[], None]) -> None:
        self.waiting, self.room = deque(changes), room
        self.in_progress: set[Deferred[None]] = set()
        self.applied: set[str] = set()
        self.refused: dict[str, BackendRefusedError] = {}
        self.unavailable: BackendUnavailableError | None = None
        self.failure: Failure | None = None
        self._ended: Deferred[None] | None = None
        self._cancelled = False

    @property
    def stopped(self) -> bool:
        """Whether an error or a cancellation keeps further changes from being started."""
        return self.unavailable is not None or self.failure is not None or self._cancelled

    def record(self, service_id: str, result: Failure | None) -> None:
        """Record the result of a change."""
        error = None if result is None else result.value
        if error is None:
            self.applied.add(service_id)
        elif isinstance(error, BackendRefusedError):
            self.refused[service_id] = error
        elif isinstance(error, BackendUnavailableError):
            self.unavailable = error
        else:
            self.failure = self.failure or result
        if self.stopped:
            self.waiting.clear()

    async def wait(self) -> None:
        """Wait until all changes have ended. A cancellation cancels them."""
        self._ended = Deferred()
        try:
            await self._ended
        except CancelledError:
            self._ended, self._cancelled = None, True
            self.waiting.clear()
            for changing in list(self.in_progress):
                changing.cancel()
            raise

    def end(self) -> None:
        """End :meth:`wait`."""
        if self._ended is not None:
            self._ended.callback(None)


async def run_parallel(jobs: Iterable[Callable[[], Awaitable[None]]], limit: int) -> None:
    """
    Run jobs, several at a time. The first exception is raised at once, and no further job is started.

    :param jobs: Functions in the order in which to call them.
    :param limit: Largest number of jobs in progress.
    """
    waiting = iter(jobs)
    failed = False

    async def work() -> None:
        nonlocal failed
        for job in waiting:
            if failed:
                return
            try:
                await job()
            except BaseException:
                failed = True
                raise

    workers = [Deferred.fromCoroutine(work()) for _ in range(limit)]
    try:
        await gatherResults(workers, consumeErrors=True)
    except FirstError as error:
        # A CancelledError, for example: the caller expects it, and not the wrapper.
        error.subFailure.raiseException()
