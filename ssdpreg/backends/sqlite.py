"""Backend that stores registrations and remaining lifetimes in a SQLite file, for the next start of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ssdpreg.backends.serial_thread import SerialThread
from ssdpreg.backends.sqlite_database import Database
from ssdpreg.errors import BackendUnavailableError, ConfigError, Fault
from ssdpreg.interfaces import ILifetimeStore, IRegistryBackend
from ssdpreg.registration import Outcome, Plan, Registration


@implementer(IRegistryBackend, ILifetimeStore)
class SQLiteBackend:
    """
    Backend that stores registrations and expiry times in a SQLite file.

    The database is used in a thread: a plan of 5,000 registrations takes 0.1 to 0.2 s, during which the reactor has to
    receive datagrams.

    :param reactor: Provides ``IReactorFromThreads``.
    :param database: The database.
    :param wall_clock: Returns the seconds since 1970, as for the database.
    """

    def __init__(self, reactor: Any, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        self._database, self._wall_clock = database, wall_clock
        self._thread = SerialThread(reactor, "sqlite")
        self._expiries: dict[str, float] = {}
        self._writer = ExpiryWriter(lambda expiries: self._thread.call(database.set_expiries, expiries))

    async def read(self) -> Mapping[str, Registration]:
        registrations, self._expiries = await self._thread.call(self._database.read)
        return registrations

    async def apply(self, plan: Plan) -> Outcome:
        try:
            await self._thread.call(self._database.apply, plan)
        except BackendUnavailableError as error:
            return Outcome(unavailable=error)
        for registration in plan.deregister:
            self._expiries.pop(registration.service_id, None)
        for registration in plan.register:
            self._expiries.setdefault(registration.service_id, self._database.latest_expiry(registration))
        return Outcome(applied=frozenset(each.service_id for each in (*plan.register, *plan.deregister)))

    async def keep_alive(self) -> None:
        await self._thread.call(self._database.check)

    async def retire(self) -> None:
        """Do nothing: the daemon has no registration for itself."""

    async def close(self) -> None:
        if self._thread.started:
            try:
                await self._thread.call(self._database.close)
            finally:
                self._thread.stop()

    def remember(self, lifetimes: Mapping[str, float]) -> None:
        now = self._wall_clock()
        expiries = {each: now + seconds for each, seconds in lifetimes.items() if each in self._expiries}
        self._expiries.update(expiries)
        self._writer.write(expiries)

    def remaining(self) -> Mapping[str, float]:
        now = self._wall_clock()
        return {service_id: expires_at - now for service_id, expires_at in self._expiries.items()}


class ExpiryWriter:
    """
    Writer of expiry times in the background. One write is in progress at a time; the next has all later changes.

    :param store: Stores expiry times by service ID. Its Deferred may fail with :class:`BackendUnavailableError`: these
        times are lost, and later ones are written as usual.
    """

    log = Logger()

    def __init__(self, store: Callable[[Mapping[str, float]], Deferred[None]]) -> None:
        self._store = store
        self._waiting: dict[str, float] = {}
        self._writing = False
        self._failing = False

    def write(self, expiries: Mapping[str, float]) -> None:
        """
        Write expiry times, now or after the write in progress.

        :param expiries: Seconds since 1970 by service ID.
        """
        self._waiting.update(expiries)
        if self._waiting and not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write_all()).addErrback(
                lambda failure: self.log.failure("Could not store the expiry times of services", failure)
            )

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                expiries, self._waiting = self._waiting, {}
                await self._store(expiries)
            self._failing = False
        except BackendUnavailableError as error:
            # Only the first failure is logged: the reconciler reports a backend that stays unavailable.
            if not self._failing:
                self.log.warn("Could not store the expiry times of services: {error}", error=error)
            self._failing = True
        finally:
            self._writing = False


def make_backend(reactor: Any, path: str, scope: str) -> SQLiteBackend:
    """
    Make the backend for a file, after checking that the file can be used.

    :raise ConfigError: If the file cannot be used.
    """
    database = Database(path, scope)
    try:
        database.check()
    except BackendUnavailableError as error:
        raise ConfigError(Fault("backend.path", str(error))) from error
    finally:
        # SQLite does not allow the use of a connection after a fork.
        database.close()
    return SQLiteBackend(reactor, database)
