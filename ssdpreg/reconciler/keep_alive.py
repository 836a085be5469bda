"""Keep-alives of the daemon in its backend."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ssdpreg.errors import BackendError, BackendForgotError
from ssdpreg.interfaces import IRegistryBackend
from ssdpreg.timers import RepeatingCall

#: Seconds between two keep-alives. The daemon's TTL check in Consul has 30 s, so two of them may be lost.
_KEEP_ALIVE_INTERVAL = 10.0
#: Number of keep-alives that may wait for a response at a time.
_MOST_KEEP_ALIVES = 2


class KeepAlive:
    """
    Keep-alives of this daemon in the backend. They do not wait for other requests, and other errors do not stop them.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend that receives them.
    :param succeeded: Called if the backend accepts one.
    :param lost: Called if the backend lost its entries.
    :param failed: Called with the error if the backend does not accept one.
    :ivar failures: Number of keep-alives that the backend did not accept.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        succeeded: Callable[[], None],
        lost: Callable[[], None],
        failed: Callable[[BackendError], None],
        log: Logger,
    ) -> None:
        self._backend, self._succeeded, self._lost, self._failed = backend, succeeded, lost, failed
        self._log = log
        self._waiting: set[Deferred[None]] = set()
        self._starting = RepeatingCall(reactor, _KEEP_ALIVE_INTERVAL, self._start_one, log, "Keep-alive")
        self.failures = 0

    def start(self) -> None:
        """Send keep-alives from now on."""
        self._starting.start(now=False)

    def stop(self) -> None:
        """Send no more keep-alives, and cancel those that wait for a response."""
        self._starting.stop()
        for waiting in list(self._waiting):
            waiting.cancel()

    async def send(self) -> None:
        """
        Send one keep-alive.

        :raise BackendError: If the backend does not accept it.
        """
        # The comparison that follows registers what the backend lost.
        with suppress(BackendForgotError):
            await self._backend.keep_alive()

    def _start_one(self) -> None:
        """Send a keep-alive without waiting for the response: a slow one must not delay the next keep-alive."""
        if len(self._waiting) >= _MOST_KEEP_ALIVES:
            return
        sending = Deferred.fromCoroutine(self._send())
        self._waiting.add(sending)
        sending.addErrback(self._log_unexpected)
        sending.addCallback(lambda _: self._waiting.discard(sending))

    async def _send(self) -> None:
        try:
            await self._backend.keep_alive()
        except BackendForgotError:
            self._lost()
        except BackendError as error:
            self.failures += 1
            self._failed(error)
        else:
            self._succeeded()

    def _log_unexpected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Keep-alive failed, next attempt in {seconds} s", failure, seconds=_KEEP_ALIVE_INTERVAL)
