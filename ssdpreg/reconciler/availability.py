"""Availability of the backend: its latest error, and the pauses between the attempts."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.logger import Logger

from ssdpreg.errors import BackendError, BackendInUseError, BackendUnavailableError, NotHolderError
from ssdpreg.interfaces import IWriterLock
from ssdpreg.timers import Backoff

#: Seconds of the shortest and longest pause after an error.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
#: Seconds of the longest pause that a backend can request. It is shorter than the TTL of the daemon's check.
_LONGEST_RETRY_AFTER = 15.0
#: Seconds between two attempts while another daemon writes the registrations.
_IN_USE_PAUSE = 5.0


class Availability:
    """
    Availability of the backend to this daemon. An outage has one log line at its beginning, and one at its end.

    :param reactor: Provides ``IReactorTime``.
    :param lock: Lock of the backend, or None if it has none.
    :param random: Source of the jitter of the pauses.
    :param log: Logger of the owner.
    :ivar error: Error because of which the backend is not available; None if there is none.
    :ivar waiting: Whether this daemon may not write now, because another one does, or did a moment ago.
    """

    def __init__(self, reactor: Any, lock: IWriterLock | None, random: Random | None, log: Logger) -> None:
        self._reactor, self._lock, self._log = reactor, lock, log
        self._backoff = Backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE, random or Random())
        self._failed_at = 0.0
        self.error: BackendError | None = None
        self.waiting = False

    @property
    def in_use(self) -> bool:
        """Whether another daemon that is alive writes the registrations of this scope."""
        return isinstance(self.error, BackendInUseError)

    def fail(self, error: BackendError) -> None:
        """Record an error of the backend."""
        not_holder = isinstance(error, NotHolderError)
        waiting = isinstance(error, BackendInUseError) and not (
            not_holder and self._lock is not None and self._lock.unreachable
        )
        if waiting:
            self._log_recovery()
            # The lock itself logs which daemon holds it.
            if not self.waiting and not not_holder:
                self._log.info("Waiting: {error}", error=error)
        elif self.error is None or self.waiting:
            self._failed_at = self._reactor.seconds()
            self._log.warn("Backend unavailable: {error}", error=error)
        self.waiting = waiting
        # The tracebacks would keep what the failed call had read, such as a long listing.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self.error = error
        self._backoff.fail()

    def recover(self) -> None:
        """Record that the backend works."""
        if self.error is not None:
            self._log_recovery()
            if self.waiting and not isinstance(self.error, NotHolderError):
                self._log.info("Registering services: no other daemon registers those of this scope any more")
            self.error, self.waiting = None, False
            self._backoff.reset()

    def pause(self) -> float:
        """Return the seconds until the next attempt after an error."""
        if self.in_use:
            return _IN_USE_PAUSE
        requested = self.error.retry_after if isinstance(self.error, BackendUnavailableError) else None
        return max(self._backoff.pause(), min(requested or 0.0, _LONGEST_RETRY_AFTER))

    def _log_recovery(self) -> None:
        if self.error is not None and not self.waiting:
            seconds = round(self._reactor.seconds() - self._failed_at, 1)
            self._log.info("Backend recovered after {seconds} s", seconds=seconds)
