"""Long computations in slices, between which the reactor serves everything else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator, TaskDone, TaskStopped

#: Number of steps that are made at once.
_FIRST_STEPS = 5
#: Seconds that all requests together may use in one turn of the reactor before the next one has to wait.
_TURN = 0.01


class RequestCooperator(Cooperator):
    """
    Cooperator that all requests share: together they use some 10 ms in one turn of the reactor.

    One step of a request may still take longer. No further one is made in the same turn then.

    :param reactor: Provides ``IReactorTime``.
    """

    def __init__(self, reactor: Any) -> None:
        def schedule(step: Callable[[], None]) -> IDelayedCall:
            call: IDelayedCall = reactor.callLater(0.0, step)
            return call

        super().__init__(scheduler=schedule)
        self._reactor = reactor
        # Time of the first computation in this turn.
        self._began_at: float | None = None
        self._waiting: deque[Deferred[None]] = deque()

    def has_time(self) -> bool:
        """Return whether the requests have used less than their time since the first computation of this turn."""
        if self._began_at is None:
            self._began_at = self._reactor.seconds()
            self._reactor.callLater(0.0, self._begin_turn)
            return True
        return bool(self._reactor.seconds() - self._began_at < _TURN)

    async def turn(self) -> None:
        """Wait for a turn in which the requests have time. Requests that wait proceed in their order."""
        if self.has_time():
            return
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        await waiter

    def _begin_turn(self) -> None:
        self._began_at = None
        while self._waiting and self.has_time():
            self._waiting.popleft().callback(None)


async def run_in_slices(cooperator: RequestCooperator, steps: Iterator[object]) -> None:
    """
    Run an iterator to its end. Its first steps are made at once, so that a short computation needs no turn.

    :param steps: Each step takes some milliseconds, at most. It may return a Deferred to wait for.
    """
    for _ in range(_FIRST_STEPS):
        if not cooperator.has_time():
            break
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
