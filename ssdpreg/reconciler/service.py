"""The service that makes the registrations of a backend equal to the live services."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ssdpreg.discovery.events import Reason
from ssdpreg.discovery.log_limit import LogBudget
from ssdpreg.errors import BackendError, BackendInUseError, NotHolderError
from ssdpreg.interfaces import ICredentials, ILockedBackend, IRegistrationListener, IRegistryBackend, IWriterLock
from ssdpreg.reconciler.application import Application
from ssdpreg.reconciler.availability import Availability
from ssdpreg.reconciler.comparison import COMPARE_INTERVAL, Comparison
from ssdpreg.reconciler.keep_alive import KeepAlive
from ssdpreg.registration import Registration
from ssdpreg.registration.differences import Differences, ServiceState
from ssdpreg.timers import EarliestCall

#: Seconds in which changes are collected for one plan.
_COLLECT_TIME = 0.1
#: Seconds that the deregistration of everything may delay the end of the daemon.
_STOP_TIMEOUT = 9.5


@implementer(IRegistrationListener)
class Reconciler(Service):
    """
    Service that makes a backend equal to the live services.

    There is no queue of operations. Each turn of the loop takes the most urgent differences between the live services
    and the known content of the backend, and applies them. They are few enough that the turn takes about a second, so
    that no change waits for thousands of less urgent ones. After an error, and every 30 s, the content is read again.

    A rejected change is either the fault of one service or of the backend, see
    :class:`~ssdpreg.reconciler.application.Application`. One of the registrations that were rejected for a common cause
    is tried again at each comparison, so that the end of a fault is found however long it lasted.

    :param reactor: Provides ``IReactorTime``.
    :param backend: Backend to write to.
    :param desired: Registrations of the live services by service ID: a view that changes with them. Its owner calls
        the methods of ``IRegistrationListener`` after each change.
    :param adopt: Called with the registrations of an earlier run, in parts, before the first comparison. After an
        exception, the registrations stay in the backend, and the next comparison adopts them again.
    :param deregister_on_stop: Whether all registrations are removed when the service stops.
    :param priority: Returns the priority of a new service by its ID: those of a higher priority are registered first.
    :param budget: Budget of the log lines that unsolicited datagrams cause. The registry has the same one.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend,
        desired: Mapping[str, Registration],
        adopt: Callable[[Iterable[Registration]], None],
        *,
        deregister_on_stop: bool = False,
        priority: Callable[[str], int] = lambda service_id: 0,
        random: Random | None = None,
        budget: LogBudget | None = None,
    ) -> None:
        self._reactor, self._backend = reactor, backend
        self._deregister_on_stop = deregister_on_stop
        locked = ILockedBackend(backend, None)
        self._lock: IWriterLock | None = None if locked is None else locked.lock
        self._differences = Differences(desired, priority)
        self._availability = Availability(reactor, self._lock, random, self.log)
        self._application = Application(
            reactor,
            backend,
            self._differences,
            self._check_removals,
            self._availability.recover,
            budget or LogBudget(),
            self.log,
        )
        self._comparison = Comparison(reactor, backend, self._differences, adopt, self._application.report, self.log)
        self._credentials_version = self._read_credentials_version()
        self._keep_alive = KeepAlive(
            reactor, backend, self._keep_alive_succeeded, self._restore, self._fail_keep_alive, self.log
        )
        self._turn: Deferred[None] | None = None
        self._failed_unexpectedly = False
        self._changed_in_turn = False
        self._lock_changed_in_turn = False
        self._next_turn = EarliestCall(reactor, self._take_turn)
        self._next_slice = EarliestCall(reactor, self._application.wake)
        self._compared = False
        self._compare_at = -math.inf
        if self._lock is not None:
            self._lock.subscribe(self._lock_changed)

    # State for readers.

    @property
    def available(self) -> bool:
        """Whether the backend answered the latest request, and this daemon writes its registrations."""
        return self._compared and self._availability.error is None

    @property
    def error(self) -> BackendError | None:
        """The error because of which the backend is not available; None if there was none."""
        return self._availability.error

    @property
    def in_use(self) -> bool:
        """Whether another daemon that is alive writes the registrations of this scope."""
        return self._availability.in_use

    @property
    def waiting(self) -> bool:
        """Whether this daemon may not write now, because another one does, or did a moment ago. That is no fault."""
        return self._availability.waiting

    @property
    def pending(self) -> int:
        """Number of changes that the backend has yet to apply, the rejected ones included."""
        return self._differences.pending

    @property
    def held_removals(self) -> int:
        """Number of removals that wait for a second comparison, because they are most of the registrations."""
        return self._differences.held

    @property
    def rejected(self) -> int:
        """Number of changes that the backend rejected and that wait for another attempt."""
        return len(self._differences.rejected)

    @property
    def summarized_changes(self) -> int:
        """Number of changes that were logged in a summary, without a line of their own."""
        return self._application.summarized_changes

    @property
    def keep_alive_failures(self) -> int:
        """Number of keep-alives that the backend did not accept."""
        return self._keep_alive.failures

    def state(self, service_id: str) -> ServiceState:
        """Return the state of a live service in the backend."""
        return self._differences.state(service_id)

    # Changes of the live services.

    def appeared(self, registration: Registration) -> None:
        self._differences.appeared(registration.service_id, self._reactor.seconds())
        self._wake_for_change()

    def changed(self, registration: Registration, before: Registration) -> None:
        self._differences.appeared(registration.service_id, self._reactor.seconds())
        self._wake_for_change()

    def left(self, registration: Registration, reason: Reason) -> None:
        self._differences.left(registration.service_id, reason, self._reactor.seconds())
        self._wake_for_change()

    def _wake_for_change(self) -> None:
        if self._turn is not None:
            self._changed_in_turn = True
            self._next_slice.request(self._reactor.seconds() + _COLLECT_TIME)
        elif self.running and self.available:
            self._wake(_COLLECT_TIME)

    # Start and stop.

    def startService(self) -> None:
        super().startService()
        self._wake(0.0)
        self._keep_alive.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._keep_alive.stop()
        self._next_turn.cancel()
        self._next_slice.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
        if self._deregister_on_stop:
            deregistering = Deferred.fromCoroutine(self._application.deregister_all())
            deregistering.addTimeout(_STOP_TIMEOUT, self._reactor)
            try:
                await deregistering
            except Exception as error:
                self.log.warn("Could not deregister all services: {error}", error=error)
        await self._backend.close()

    # The loop: one turn at a time.

    def _wake(self, delay: float) -> None:
        """Take a turn after so many seconds, or earlier if one is due earlier."""
        # A turn that is under way requests the next one at its end.
        if self._turn is None:
            self._next_turn.request(self._reactor.seconds() + delay)

    def _take_turn(self) -> None:
        # The coroutine runs up to its first request before it is a Deferred. It may request a turn meanwhile.
        self._turn = Deferred()
        self._turn = Deferred.fromCoroutine(self._reconcile())
        self._turn.addErrback(self._log_unexpected)
        self._turn.addCallback(self._end_turn)

    def _log_unexpected(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("Reconciliation failed, next attempt in {seconds} s", failure, seconds=COMPARE_INTERVAL)
            self._compare_at = self._reactor.seconds() + COMPARE_INTERVAL
            self._failed_unexpectedly = True

    def _end_turn(self, _: None) -> None:
        self._turn = None
        self._next_slice.cancel()
        unexpected, self._failed_unexpectedly = self._failed_unexpectedly, False
        changed, self._changed_in_turn = self._changed_in_turn, False
        lock_changed, self._lock_changed_in_turn = self._lock_changed_in_turn, False
        if not self.running:
            return
        if lock_changed:
            self._compare_soon(0.0)
            return
        if self._availability.error is not None:
            self._wake(self._availability.pause())
        elif self._compared and (self._differences.queued or changed) and not unexpected:
            self._wake(0.0)
        else:
            self._wake(max(0.0, self._compare_at - self._reactor.seconds()))

    async def _reconcile(self) -> None:
        try:
            self._check_credentials()
            if not self.available or self._compare_at <= self._reactor.seconds():
                await self._compare()
            self._check_removals()
            await self._application.run(self._may_continue)
        except BackendError as error:
            self._fail(error)
        else:
            self._availability.recover()

    def _may_continue(self) -> bool:
        """Return whether the turn may apply further changes before the next comparison."""
        return self._reactor.seconds() < self._compare_at and not self._lock_changed_in_turn

    async def _compare(self) -> None:
        """Find all differences."""
        if not self.available:
            await self._keep_alive.send()
            # The rejections may have had the same cause as the error.
            self._differences.rejected.clear()
        # A keep-alive or the lock may request another comparison meanwhile.
        self._compare_at = self._reactor.seconds() + COMPARE_INTERVAL
        await self._comparison.run()
        self._compared = True
        self._check_removals(full=True)

    def _check_removals(self, *, full: bool = False) -> None:
        before = self._differences.held
        self._differences.check_removals(self._reactor.seconds(), full=full)
        if self._differences.held and not before:
            self.log.warn(
                "Not deregistering {count} of {all} services before a second comparison",
                count=self._differences.held,
                all=len(self._differences.actual or ()),
            )

    # Credentials of the backend.

    def _read_credentials_version(self) -> int:
        credentials = ICredentials(self._backend, None)
        return 0 if credentials is None else credentials.credentials_version

    def _check_credentials(self) -> None:
        """Queue the changes that were rejected for a missing permission if the credentials changed."""
        version = self._read_credentials_version()
        if version != self._credentials_version:
            self._credentials_version = version
            self._differences.release_denied(self._reactor.seconds())
            if self._availability.error is not None and self.running:
                self._wake(0.0)
            else:
                self._wake_for_change()

    # The lock of the backend.

    def _lock_changed(self) -> None:
        """Compare at once. After an acquisition, the content of the backend may have changed or may be lost."""
        assert self._lock is not None
        if self._lock.held and self._lock.others_wrote:
            self._differences.adopted = self._compared = False
        self._lock_changed_in_turn = self._turn is not None
        self._compare_soon(0.0)

    # Errors of the backend.

    def _keep_alive_succeeded(self) -> None:
        self._check_credentials()
        if self.in_use:
            # The other daemon has ended.
            self._compare_soon(0.0)

    def _restore(self) -> None:
        if self._availability.error is None:
            self.log.warn("Backend lost its registrations, registering again")
            self._compare_soon(0.0)

    def _fail_keep_alive(self, error: BackendError) -> None:
        self._check_credentials()
        # While the backend is unavailable, the turns count the failures.
        if self._availability.error is None:
            self._fail(error)
            self._compare_soon(self._availability.pause())

    def _compare_soon(self, delay: float) -> None:
        self._compare_at = -math.inf
        if self.running:
            self._wake(delay)

    def _fail(self, error: BackendError) -> None:
        if isinstance(error, BackendInUseError) and not isinstance(error, NotHolderError):
            # The services that the other daemon registers are adopted when it has ended. A lock shows at its
            # acquisition whether another daemon has written.
            self._differences.adopted = self._compared = False
        self._availability.fail(error)
