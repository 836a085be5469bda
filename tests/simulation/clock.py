"""Simulated time: one clock of the world, and a clock for each process that can be suspended or killed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled

#: Cancelled calls that may be in the heap before it is rebuilt, besides as many as there are others.
_SLACK = 4096


class SimulatedCall:
    """
    A delayed call, with the methods of ``IDelayedCall`` that Twisted uses.

    :ivar process: Process whose call it is, or None for the world itself.
    """

    __slots__ = ("_clock", "active_", "arguments", "function", "keywords", "process", "time")

    def __init__(
        self,
        clock: WorldClock,
        time: float,
        process: ProcessClock | None,
        function: Callable[..., object],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        self._clock, self.time, self.process = clock, time, process
        self.function, self.arguments, self.keywords = function, arguments, keywords
        self.active_: bool | None = True

    def active(self) -> bool:
        return self.active_ is True

    def getTime(self) -> float:  # noqa: N802
        return self.time

    def reset(self, delay: float) -> None:
        """Make the call so many seconds from now."""
        self._clock.move(self, delay)

    def cancel(self) -> None:
        if self.active_ is None:
            raise AlreadyCancelled
        if not self.active_:
            raise AlreadyCalled
        self.active_ = None
        self._clock.count_cancelled()


class WorldClock:
    """
    Clock of the simulated world. Simultaneous calls are made in a random order.

    :param random: Source of the order.
    :ivar steps: Number of calls that were made.
    """

    def __init__(self, random: Random) -> None:
        self._random = random.random
        self._now = 0.0
        self._heap: list[tuple[float, float, int, SimulatedCall]] = []
        self._serial = count()
        self._cancelled = 0
        self.steps = 0

    def seconds(self) -> float:
        return self._now

    def callLater(  # noqa: N802
        self, delay: float, function: Callable[..., object], *arguments: Any, **keywords: Any
    ) -> SimulatedCall:
        return self.add(delay, None, function, arguments, keywords)

    def add(
        self,
        delay: float,
        process: ProcessClock | None,
        function: Callable[..., object],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> SimulatedCall:
        """Make a call later, in a process or in the world itself."""
        time = self._now + delay
        call = SimulatedCall(self, time, process, function, arguments, keywords)
        heapq.heappush(self._heap, (time, self._random(), next(self._serial), call))
        return call

    def move(self, call: SimulatedCall, delay: float) -> None:
        """Change the time of a call. Its old entry in the heap is skipped."""
        call.time = self._now + delay
        heapq.heappush(self._heap, (call.time, self._random(), next(self._serial), call))
        self.count_cancelled()

    def make_overdue(self, calls: list[SimulatedCall]) -> None:
        """Make calls now, in their order: their process was suspended when they were due."""
        for number, call in enumerate(calls):
            call.time = self._now
            heapq.heappush(self._heap, (self._now, number / len(calls) - 1.0, next(self._serial), call))

    def count_cancelled(self) -> None:
        """Remove the cancelled calls from the heap when there are many."""
        self._cancelled += 1
        if self._cancelled > _SLACK and 2 * self._cancelled > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[3].active_ and entry[3].time == entry[0]]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def run_until(self, end: float) -> None:
        """Make all calls up to a time."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end:
            time, _, _, call = pop(heap)
            if not call.active_ or call.time != time:
                continue
            self._now = time
            process = call.process
            if process is not None and (process.killed or process.suspended) and not process.admit(call):
                continue
            call.active_ = False
            self.steps += 1
            call.function(*call.arguments, **call.keywords)
        self._now = end


class ProcessClock:
    """
    Clock of one process of the daemon, which stands for its reactor.

    While the process is suspended, its calls wait. After it was killed, they are never made.

    :param world: Clock of the world.
    :ivar at_resume: Functions that are called after the overdue calls at the end of the suspension.
    :ivar suspended: Whether the process is suspended.
    :ivar killed: Whether the process was killed.
    :ivar resumed_at: Time of the end of its latest suspension.
    """

    def __init__(self, world: WorldClock) -> None:
        self._world = world
        self._waiting: list[SimulatedCall] = []
        self.at_resume: list[Callable[[], None]] = []
        self.suspended = False
        self.killed = False
        self.resumed_at = -1.0

    def seconds(self) -> float:
        return self._world.seconds()

    def callLater(  # noqa: N802
        self, delay: float, function: Callable[..., object], *arguments: Any, **keywords: Any
    ) -> SimulatedCall:
        return self._world.add(delay, self, function, arguments, keywords)

    def admit(self, call: SimulatedCall) -> bool:
        """Return whether a call that is due can be made now. Otherwise it waits, or is dropped."""
        if self.killed:
            return False
        if self.suspended:
            self._waiting.append(call)
            return False
        return True

    def resume(self) -> None:
        """Continue the process: it makes the overdue calls."""
        self.suspended = False
        self.resumed_at = self.seconds()
        waiting, self._waiting = self._waiting, []
        self._world.make_overdue([call for call in waiting if call.active_])
        functions, self.at_resume = self.at_resume, []
        for function in functions:
            self.callLater(0.0, function)

    def kill(self) -> None:
        """End the process without any clean-up."""
        self.killed = True
        self._waiting.clear()
