"""A thread for blocking calls that must not run in the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class SerialThread:
    """
    One thread that runs blocking calls one after the other, in the order in which they were requested.

    The thread is started by the first call, because a daemon forks after it has made its parts, and a thread does not
    survive a fork.

    :param reactor: Provides ``IReactorFromThreads``.
    :param name: Name of the thread.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, 1, name)

    @property
    def started(self) -> bool:
        """Whether a call was requested since the start of the process, or since :meth:`stop`."""
        return bool(self._pool.started)

    def call(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call a function in the thread, and return a Deferred that fires with its result."""
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    def stop(self) -> None:
        """End the thread after the requested calls. A process does not end while it has such a thread."""
        if self._pool.started:
            self._pool.stop()
