"""State of a lock in Consul as this daemon knows it, for the fence, for readers and for listeners. No requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ssdpreg.backends.scopes.holder import Holder, scope_key
from ssdpreg.backends.scopes.session import SESSION_TTL, LockKey
from ssdpreg.errors import NotHolderError


def read_boot_time() -> float:
    """Return the seconds since the boot of this host. Unlike those of the reactor, they include a suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LockState:
    """
    State of the lock of a scope.

    :param scope: Scope of the daemon.
    :param boot_time: Returns the time since the boot in seconds, time in suspension included.
    :ivar key: The key that is the lock.
    :ivar others_wrote: See :class:`ssdpreg.interfaces.IWriterLock`.
    :ivar unreachable: Whether the latest request for the lock failed.
    :ivar acquisitions: Number of times that this daemon acquired the lock.
    :ivar losses: Number of times that it lost the lock.
    :ivar refusals: Number of transactions that were rejected because it did not hold the lock.
    """

    log = Logger()

    def __init__(self, scope: str, boot_time: Callable[[], float]) -> None:
        self.scope, self.key = scope, scope_key(scope)
        self._boot_time = boot_time
        self._listeners: list[Callable[[], None]] = []
        self._deciding: list[Deferred[None]] | None = []
        self._session: str | None = None
        self._acquired = False
        self._renewed_at = 0.0
        # State of the key while another daemon holds the lock.
        self._other: LockKey | None = None
        self._reason = "it is not acquired yet"
        # Description of this daemon as the holder.
        self._holder = Holder()
        # Further keys that the session holds.
        self._more_keys: list[str] = []
        self.others_wrote = self.unreachable = False
        self.acquisitions = self.losses = self.refusals = 0

    # State for readers.

    @property
    def held(self) -> bool:
        return self._acquired and self._boot_time() - self._renewed_at < SESSION_TTL

    @property
    def waiting(self) -> bool:
        return self._other is not None

    @property
    def description(self) -> str:
        if self.held:
            return f"this daemon holds the lock {self.key} since {self._holder.since}"
        if self._other is not None:
            return f"the lock {self.key} is held by {self._other.holder}"
        return f"the lock {self.key} is not held by this daemon: {self._reason}"

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._listeners.append(changed)

    async def decided(self) -> None:
        """Return when it is known for the first time whether this daemon holds the lock, or why that is unknown."""
        if self._deciding is not None:
            waiter: Deferred[None] = Deferred()
            self._deciding.append(waiter)
            await waiter

    # Fence.

    def operation(self) -> dict[str, Any]:
        """See :meth:`ssdpreg.backends.scopes.fence.Fence.operation`."""
        return self.operation_for(self.key)

    def operation_for(self, key: str) -> dict[str, Any]:
        """
        Return the operation that checks whether the session of this daemon holds a lock.

        :param key: The lock of the scope, or one that was acquired by :meth:`acquire_key`.
        :raise NotHolderError: If this daemon does not hold the lock of its scope.
        """
        if not self.held:
            raise NotHolderError(self.description)
        return {"KV": {"Verb": "check-session", "Key": key, "Session": self._session}}

    # Changes of the state.

    def _lose(self, reason: str) -> None:
        if self._acquired:
            self._acquired, self._reason = False, reason
            self._more_keys.clear()
            self.losses += 1
            self.log.warn("Lost the lock {key}: {reason}", key=self.key, reason=reason)
            self._notify()

    def _decide(self) -> None:
        waiting, self._deciding = self._deciding or [], None
        for waiter in waiting:
            waiter.callback(None)

    def _notify(self) -> None:
        self._decide()
        for changed in self._listeners:
            self._call(changed)

    def _call(self, changed: Callable[[], None]) -> None:
        try:
            changed()
        except Exception:
            self.log.failure("A listener of the lock failed")
