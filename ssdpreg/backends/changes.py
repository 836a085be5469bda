"""Requests of a backend that are under way at the same time, and the changes of a plan with one request each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred, FirstError, gatherResults

from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Registration

#: Function that registers or deregisters one service, and the registration to call it with.
Change = tuple[Callable[[Registration], Awaitable[None]], Registration]


async def run_changes(changes: Iterable[Change], limit: int) -> Outcome:
    """
    Run changes, several at a time. A rejected change does not stop the others.

    :param changes: The changes in the order in which to start them. After a :class:`BackendUnavailableError` no further
        change is started.
    :param limit: Largest number of changes in progress.
    :return: The services that were changed, those that were rejected, and why the rest was not tried.
    """
    applied: set[str] = set()
    refused: dict[str, BackendRefusedError] = {}
    unavailable: BackendUnavailableError | None = None
    started = tuple(changes)
    limit = min(limit, len(started))
    waiting = iter(started)

    async def work() -> None:
        nonlocal unavailable
        for change, registration in waiting:
            try:
                await change(registration)
            except BackendRefusedError as error:
                refused[registration.service_id] = error
            except BackendUnavailableError as error:
                unavailable = error
            else:
                applied.add(registration.service_id)
            if unavailable is not None:
                return

    await run_parallel([work] * limit, limit)
    return Outcome(frozenset(applied), refused, unavailable)


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
