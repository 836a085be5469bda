"""Long computations in slices, between which the reactor serves everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator, TaskDone, TaskStopped

#: Number of steps that are made at once.
_FIRST_STEPS = 5


def make_cooperator(reactor: Any) -> Cooperator:
    """
    Create the cooperator that all requests share: together they use at most some 10 ms in one turn of the reactor.

    :param reactor: Provides ``IReactorTime``.
    """

    def schedule(step: Callable[[], None]) -> IDelayedCall:
        call: IDelayedCall = reactor.callLater(0.0, step)
        return call

    return Cooperator(scheduler=schedule)


async def run_in_slices(cooperator: Cooperator, steps: Iterator[object]) -> None:
    """
    Run an iterator to its end. Its first steps are made at once, so that a short computation needs no turn.

    :param steps: Each step takes some milliseconds, at most. It may return a Deferred to wait for.
    """
    for _ in range(_FIRST_STEPS):
        try:
            step = next(steps)
        except StopIteration:
            return
        if isinstance(step, Deferred):
            await step
    task = cooperator.cooperate(steps)
    try:
        await task.whenDone()
    finally:
        with suppress(TaskDone, TaskStopped):
            task.stop()
