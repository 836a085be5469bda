"""
Lock of a scope in Consul: of the daemons that share it, one writes, and another one takes over when that one ends.

The lock is a key that a session holds. The daemon renews the session every 3.3 s. Consul ends a session 10 to 20 s
after the last renewal, and the waiting daemons acquire the lock then. A clock alone cannot prevent two writers: Consul
may end a session just after it accepted a renewal, and a request may be delayed on its way. Therefore the first
operation of every transaction checks in Consul that the session holds the lock:
see :mod:`ssdpreg.backends.scopes.fence`. The clock only keeps a daemon from trying in vain.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import ssdpreg
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.instance import Instance, current_instance
from ssdpreg.backends.scopes.holder import Holder, lock_node, lock_node_meta
from ssdpreg.backends.scopes.lock_state import LockState, read_boot_time
from ssdpreg.backends.scopes.session import SESSION_TTL, InvalidSessionError, LockKey, LockRequests
from ssdpreg.errors import BackendError, NotHolderError
from ssdpreg.interfaces import IRequestStatistics, IWriterLock
from ssdpreg.timers import Pause

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

#: Seconds between two renewals.
_RENEW_INTERVAL = SESSION_TTL / 3
#: Seconds until the next attempt to acquire the lock, while its lock-delay is not over or Consul does not answer.
_RETRY_PAUSE = 1.0
#: Seconds between two blocking queries for the key.
_WAIT_PAUSE = 0.2
#: Seconds that the release of the lock may delay the end of the daemon.
_STOP_TIMEOUT = 2.0


@implementer(IWriterLock)
class ScopeLock(LockState):
    """
    Lock of a scope. Implements :class:`ssdpreg.backends.scopes.fence.Fence`.

    :param reactor: Provides ``IReactorTime``.
    :param requests: Requests for locks.
    :param scope: Scope of the daemon.
    :param instance: Identity of the daemon. None stands for that of the process.
    :param boot_time: Returns the time since the boot in seconds, time in suspension included.
    :param time_of_day: Returns the seconds since 1970, which other daemons show.
    :param reap_after: Seconds after the end of all daemons of the scope until a reaper removes its nodes. The key has
        the value for the reaper. None: the value of the reaper counts.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        requests: LockRequests,
        scope: str,
        instance: Instance | None = None,
        boot_time: Callable[[], float] = read_boot_time,
        time_of_day: Callable[[], float] = time.time,
        reap_after: float | None = None,
    ) -> None:
        super().__init__(scope, boot_time)
        self._reactor, self._requests = reactor, requests
        self._given_instance, self._time_of_day = instance, time_of_day
        self._reap_after = reap_after
        self._running: Deferred[None] | None = None
        self._stopped = False
        self._pause = Pause(reactor)
        self._refused = False
        self._lock_index: int | None = None

    @property
    def statistics(self) -> IRequestStatistics:
        """Statistics of the requests."""
        return self._requests.statistics

    def lost(self) -> None:
        """See :meth:`ssdpreg.backends.scopes.fence.Fence.lost`."""
        self.refusals += 1
        self._refused = True
        self._lose("Consul rejected a transaction of this daemon")
        self._pause.end()

    # A further lock of the same session.

    async def acquire_key(self, key: str) -> bool:
        """
        Acquire a further lock with the session of this one, if it is free. It ends with the session.

        :return: Whether the session holds it.
        :raise NotHolderError: If this daemon does not hold the lock of its scope.
        :raise BackendError: If Consul does not answer, or rejects the request.
        """
        session = self._session
        if not self.held or session is None:
            raise NotHolderError(self.description)
        # Each attempt to acquire a lock is a write to Consul's log, also if another session holds it.
        found = await self._requests.read(key)
        holder = "" if found is None else found.session
        if holder not in ("", session):
            return False
        acquired = holder == session or await self._requests.acquire(key, session, self._describe())
        if acquired and session == self._session and key not in self._more_keys:
            self._more_keys.append(key)
        return acquired

    # Start and stop.

    def start(self) -> None:
        """Begin to acquire the lock, unless that was done before."""
        if self._running is None and not self._stopped:
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._log_unexpected)

    async def stop(self) -> None:
        """Release the lock, so that another daemon can acquire it at once, and end the session."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()
        self._decide()
        acquired, self._acquired = self._acquired, False
        if self._session is not None:
            releasing = Deferred.fromCoroutine(self._release(self._session, self.key, *self._more_keys))
            releasing.addTimeout(_STOP_TIMEOUT, self._reactor)
            try:
                await releasing
            except (BackendError, DeferredTimeoutError, CancelledError) as error:
                self.log.warn(
                    "Could not release the lock {key}, which ends with its session: {error}", key=self.key, error=error
                )
            else:
                if acquired:
                    self.log.info("Released the lock {key}", key=self.key)
        await self._requests.close()

    async def _release(self, session: str, *keys: str) -> None:
        try:
            # Destruction of the session alone would incur the lock-delay.
            for key in keys:
                await self._requests.release(key, session, self._describe())
        except BackendError:
            await self._requests.destroy(session)
            raise
        await self._requests.destroy(session)

    # The loop.

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._compete()
            except InvalidSessionError:
                self._end_session("Consul ended its session")
                pause = 0.0
            except BackendError as error:
                self._lose(str(error))
                self._other, self._reason, self.unreachable = None, str(error), True
                pause = _RETRY_PAUSE
            except CancelledError:
                raise
            except Exception:
                self.log.failure("Acquisition of the lock failed, next attempt in {seconds} s", seconds=_RETRY_PAUSE)
                self._end_session("its acquisition failed")
                pause = _RETRY_PAUSE
            self._decide()
            await self._wait(pause)

    async def _compete(self) -> float:
        """
        Acquire the lock if it is free, and hold it as long as possible. Otherwise wait until it changes.

        :return: Seconds until the next attempt.
        """
        found = await self._requests.read(self.key, None if self._other is None else self._other.index)
        self.unreachable = False
        if found is not None and found.session and found.session != self._session:
            return await self._wait_for(found)
        if self._other is not None:
            self._other, self._reason = None, "it was released a moment ago"
        if self._session is None:
            await self._requests.ensure_node(lock_node(self.scope), lock_node_meta(self.scope))
            self._session = await self._requests.create_session(lock_node(self.scope))
        self._holder = replace(self._describe(), since=self._format_time())
        sent_at = self._boot_time()
        if not await self._requests.acquire(self.key, self._session, self._holder):
            self._reason = "its lock-delay is not over, or another daemon acquired it"
            return _RETRY_PAUSE / 2
        await self._gain(sent_at)
        return await self._hold()

    async def _wait_for(self, found: LockKey) -> float:
        """
        Let another daemon hold the lock.

        :param found: State of the key.
        """
        instance = found.holder.instance
        if instance and (instance == self._instance.instance_id or self._instance.has_ended(instance)):
            # A session of this daemon, or of an earlier run on this host that was killed.
            self.log.info("Releasing the lock {key} of an earlier run: {holder}", key=self.key, holder=found.holder)
            await self._release(found.session, self.key)
            return _WAIT_PAUSE
        if self._other is None or found.session != self._other.session:
            self.log.info("Waiting: the lock {key} is held by {holder}", key=self.key, holder=found.holder)
        self._lose(f"it is held by {found.holder}")
        if self._session is not None:
            session, self._session = self._session, None
            await self._requests.destroy(session)
        # The index grows, unless the data of Consul was lost or restored from a backup.
        self._other = found
        # The count of acquisitions begins again if the key is deleted, so it may not show that the other daemon wrote.
        self._lock_index = None
        return _WAIT_PAUSE

    async def _gain(self, sent_at: float) -> None:
        try:
            found = await self._requests.read(self.key)
        except BackendError:
            found = None
        before, self._lock_index = self._lock_index, None if found is None else found.lock_index
        # A session that acquires a free lock increases its index by one.
        self.others_wrote = before is None or self._lock_index not in (before, before + 1)
        self._renewed_at, self._acquired, self._refused = sent_at, True, False
        self.acquisitions += 1
        self.log.info("Acquired the lock {key}: this daemon writes", key=self.key)
        self._notify()

    async def _hold(self) -> float:
        """
        Renew the session until the lock is lost.

        :return: Seconds until the next attempt to acquire it.
        """
        next_at = self._reactor.seconds()
        while True:
            next_at = max(next_at + _RENEW_INTERVAL, self._reactor.seconds())
            await self._wait(next_at - self._reactor.seconds())
            if self._refused:
                return _RETRY_PAUSE
            assert self._session is not None
            sent_at = self._boot_time()
            try:
                await self._requests.renew(self._session)
            except InvalidSessionError:
                raise
            except BackendError as error:
                self._reason = str(error)
                if not self.held:
                    # The session may exist for some time yet, and is used again if it does.
                    raise
            else:
                self._renewed_at = sent_at

    async def _wait(self, seconds: float) -> None:
        # A function that was called by the loop may have stopped it.
        if self._stopped:
            raise CancelledError
        await self._pause.wait(seconds)

    def _end_session(self, reason: str) -> None:
        self._session = None
        self._reason = reason
        self._lose(reason)

    @property
    def _instance(self) -> Instance:
        return self._given_instance or current_instance()

    def _describe(self) -> Holder:
        return Holder(
            host=socket.gethostname(),
            pid=os.getpid(),
            instance=self._instance.instance_id,
            version=ssdpreg.__version__,
            since=self._holder.since,
            reap_after=self._reap_after,
        )

    def _format_time(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._time_of_day()))

    def _log_unexpected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("The lock {key} is not renewed any more", failure, key=self.key)


def make_lock(reactor: Any, config: ConsulConfig, scope: str) -> ScopeLock:
    """
    Make the lock of a scope, with connections that no other part uses. :meth:`ScopeLock.start` sends the first request.

    :raise ConfigError: If a file that the configuration names cannot be used.
    """
    requests = LockRequests(connect(reactor, config), config.datacenter)
    return ScopeLock(reactor, requests, scope, reap_after=config.reap_after)
