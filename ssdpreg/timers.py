"""Timers of services: delayed calls, repeated calls, and the pauses between retries."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure


class DelayedCalls:
    """
    Delayed calls that can be cancelled together.

    :param reactor: Provides ``IReactorTime``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: set[IDelayedCall] = set()

    def call(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """
        Call a function later.

        :param delay: Seconds from now.
        """

        def run() -> None:
            self._calls.discard(call)
            function(*arguments)

        call = self._reactor.callLater(delay, run)
        self._calls.add(call)

    def cancel_all(self) -> None:
        """Cancel all calls that have not been made yet."""
        for call in self._calls:
            call.cancel()
        self._calls.clear()


class EarliestCall:
    """
    One delayed call of a function, which is made at the earliest of the times that were requested.

    :param reactor: Provides ``IReactorTime``.
    :param function: Called without arguments. It may request the next call.
    :ivar when: Time of the call in seconds of the reactor's clock, infinite if there is none.
    """

    def __init__(self, reactor: Any, function: Callable[[], object]) -> None:
        self._reactor = reactor
        self._function = function
        self._call: IDelayedCall | None = None
        self.when = math.inf

    def request(self, when: float) -> None:
        """
        Make the call at a time, unless it is made earlier anyway.

        :param when: Seconds of the reactor's clock. A time in the past means at once.
        """
        if when >= self.when:
            return
        if self._call is not None:
            self._call.cancel()
        self.when = when
        self._call = self._reactor.callLater(max(0.0, when - self._reactor.seconds()), self._run)

    def cancel(self) -> None:
        """Cancel the call, if there is one."""
        if self._call is not None:
            self._call.cancel()
        self._call, self.when = None, math.inf

    def _run(self) -> None:
        self._call, self.when = None, math.inf
        self._function()


class Pause:
    """
    Pause of a coroutine, which can be ended early.

    :param reactor: Provides ``IReactorTime``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: Deferred[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or when :meth:`end` is called. Only one coroutine may wait at a time."""
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        call = self._reactor.callLater(seconds, self.end)
        try:
            await waiting
        finally:
            self._waiting = None
            if call.active():
                call.cancel()

    def end(self) -> None:
        """End the pause, if there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


class RepeatingCall:
    """
    Call of a function at regular intervals, which goes on after an exception.

    :class:`~twisted.internet.task.LoopingCall` ends at the first exception of its function. Here the exception is
    logged, and the next call is made as usual.

    :param reactor: Provides ``IReactorTime``.
    :param interval: Seconds between two calls.
    :param function: Called without arguments. May return a Deferred or a coroutine: the next call waits for it.
    :param log: Logger of the function's owner.
    :param description: Noun phrase for the log, such as "Refresh of the interfaces".
    """

    def __init__(
        self, reactor: Any, interval: float, function: Callable[[], object], log: Logger, description: str
    ) -> None:
        self._interval = interval
        self._function = function
        self._log, self._description = log, description
        self._loop = LoopingCall(self._run)
        self._loop.clock = reactor

    @property
    def running(self) -> bool:
        """Whether calls are made."""
        return self._loop.running

    def start(self, *, now: bool = True) -> None:
        """
        Begin to make calls.

        :param now: Whether the first call is made at once, or after the first interval.
        """
        self._loop.start(self._interval, now=now)

    def stop(self) -> None:
        """Make no more calls."""
        if self._loop.running:
            self._loop.stop()

    def _run(self) -> Deferred[object]:
        called: Deferred[object] = maybeDeferred(self._function)
        return called.addErrback(self._log_failure)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure(
            "{description} failed, next attempt in {seconds} s",
            failure,
            description=self._description,
            seconds=self._interval,
        )


class Backoff:
    """
    Pauses between retries, each twice as long as the one before.

    :param shortest: Seconds of the first pause, before jitter.
    :param longest: Seconds of the longest pause.
    :param random: Source of the jitter: a pause is shortened by up to a half, so that the daemons of a site do not
        retry at the same moment. None means no jitter.
    :ivar failures: Number of failures since the last success.
    """

    def __init__(self, shortest: float, longest: float, random: Random | None = None) -> None:
        self._shortest, self._longest, self._random = shortest, longest, random
        self.failures = 0

    def fail(self) -> None:
        """Count a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Begin anew after a success."""
        self.failures = 0

    def pause(self) -> float:
        """Return the seconds until the next attempt."""
        pause = min(self._shortest * 2.0 ** min(max(self.failures - 1, 0), 32), self._longest)
        return pause if self._random is None else pause * self._random.uniform(0.5, 1.0)
