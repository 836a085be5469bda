"""A catalogue of our own in a file, which outlives the daemon."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from itertools import count
from operator import attrgetter
from typing import Any, TypeVar
from zlib import crc32

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ssdpreg.discovery.advertisement import DEFAULT_MAX_AGE, lifetime
from ssdpreg.errors import BackendForgotError, BackendUnavailableError, ConfigError, Fault
from ssdpreg.interfaces import ILifetimeStore, IRegistryBackend
from ssdpreg.registration import Check, Outcome, Plan, Registration

T = TypeVar("T")

#: What marks a file as ours ("ssdp"), and how its tables look.
_APPLICATION_ID = 0x73736470
_VERSION = 1

_SCHEMA = """
    CREATE TABLE services (
        scope TEXT NOT NULL,
        service_id TEXT NOT NULL,
        registration TEXT NOT NULL,
        digest INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (scope, service_id)
    )
"""
#: What is registered again keeps the time that it had: to be registered is not to be heard.
_REGISTER = """
    INSERT INTO services VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET registration = excluded.registration, digest = excluded.digest
"""
_DEREGISTER = "DELETE FROM services WHERE scope = ? AND service_id = ?"
_REMEMBER = "UPDATE services SET expires_at = ? WHERE scope = ? AND service_id = ?"
_READ = "SELECT registration, digest, expires_at FROM services WHERE scope = ?"

#: What SQLite says of trouble that is not the file's own. Python 3.10 does not tell its error codes.
_LOCKED = "database is locked"
_TROUBLES = (_LOCKED, "database or disk is full", "disk I/O error", "unable to open database file")
_READ_ONLY = "attempt to write a readonly database"

_CHECK_FIELDS = tuple(field.name for field in fields(Check))


class _DamagedError(Exception):
    """The file holds what we did not write."""


#: What says that a file cannot be used. Messages of SQLite quote the file, where it may be no text any more.
_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError, _DamagedError)


class Database:
    """
    The file. Every method blocks, and each call is one transaction.

    Nobody else can use the file meanwhile: of two daemons, each would remove what the other writes. A file that is
    damaged, or no database of ours, is set aside as ``<path>.damaged-<n>``, and a new one begun.

    :param path: Of the file, which need not exist; its folder must.
    :param scope: Marks rows as this daemon's own. All others are neither shown nor touched.
    :param wall_clock: Tells the seconds since 1970: no other clock goes on from one run to the next.
    """

    log = Logger()

    def __init__(self, path: str, scope: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._path, self._scope, self._wall_clock = path, scope, wall_clock
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """
        Look whether the file is there, and still the one that was written to.

        :raise BackendUnavailableError: As every other method: if the file cannot be used now.
        :raise BackendForgotError: If somebody removed or replaced it.
        """
        if self._connection is not None and self._identity != _identify(self._path):
            self.close()
            raise BackendForgotError(f"{self._path} was removed or replaced")
        self._run(lambda connection: None)

    def read(self) -> tuple[dict[str, Registration], dict[str, float]]:
        """Tell what of ours is written down, and when its time is over, by service ID."""

        def work(connection: sqlite3.Connection) -> tuple[dict[str, Registration], dict[str, float]]:
            registrations, expiries = {}, {}
            for text, digest, expires_at in connection.execute(_READ, (self._scope,)):
                registration = _decode(text, digest)
                registrations[registration.service_id] = registration
                # The clock may have been set back since.
                expiries[registration.service_id] = min(expires_at, self.latest_expiry(registration))
            return registrations, expiries

        return self._run(work)

    def apply(self, plan: Plan) -> None:
        """Make a plan true, as a whole or not at all. What is new has its full time."""
        scope = self._scope

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_DEREGISTER, ((scope, each.service_id) for each in plan.deregister))
            connection.executemany(
                _REGISTER,
                ((scope, each.service_id, *_encode(each), self.latest_expiry(each)) for each in plan.register),
            )

        self._run(work)

    def remember(self, expiries: Mapping[str, float]) -> None:
        """Write down when the time of some services is over, by service ID. Unknown ones are passed over."""
        rows = [(expires_at, self._scope, service_id) for service_id, expires_at in expiries.items()]
        self._run(lambda connection: connection.executemany(_REMEMBER, rows))

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def latest_expiry(self, registration: Registration) -> float:
        """Tell when the time of a service is over that is heard just now: after its max-age, and the grace after it."""
        try:
            max_age = int(registration.meta.get("ssdp-max-age", ""))
        except ValueError:
            max_age = DEFAULT_MAX_AGE
        return self._wall_clock() + lifetime(max_age)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction."""
        try:
            if self._connection is None:
                self._connection = self._open_sound()
            with self._connection:
                return work(self._connection)
        except sqlite3.ProgrammingError:
            # A mistake of ours, which says nothing about the file.
            raise
        except _ERRORS as error:
            self.close()
            if self._is_damage(error):
                # The caller is to look at what there is now: nothing.
                self._set_aside(error)
            raise BackendUnavailableError(f"{self._path}: {self._problem(error)}") from error

    def _open_sound(self) -> sqlite3.Connection:
        """Open the file, or a new one in its place if it is damaged."""
        try:
            return self._open()
        except _ERRORS as error:
            if not self._is_damage(error):
                raise
            self._set_aside(error)
        return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=0.0, isolation_level="IMMEDIATE")
        try:
            self._prepare(connection)
            self._identity = _identify(self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Goes first: the file is locked from the first look at it until the connection is closed or the process ends.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # What is committed outlives the process. A power failure may cost the last commits, but not the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        [(verdict,)] = connection.execute("PRAGMA integrity_check(1)")
        if verdict != "ok":
            raise _DamagedError(verdict)
        [(application_id,)] = connection.execute("PRAGMA application_id")
        [(version,)] = connection.execute("PRAGMA user_version")
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
        if not (application_id or version or tables):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif application_id != _APPLICATION_ID:
            raise _DamagedError("it is a database of another program")
        elif version != _VERSION:
            raise _DamagedError(f"it is of version {version}, and only {_VERSION} is known here")

    def _is_damage(self, error: Exception) -> bool:
        if str(error) == _READ_ONLY:
            # Where it could be written, a byte of its header says that it must not.
            return os.access(self._path, os.W_OK)
        return not (isinstance(error, sqlite3.OperationalError) and str(error) in _TROUBLES)

    def _problem(self, error: Exception) -> str:
        if str(error) == _LOCKED:
            return "another process uses it"
        for place in (os.path.dirname(self._path), self._path):
            if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
                return f"{place} cannot be written"
        return str(error)

    def _set_aside(self, reason: Exception) -> None:
        aside = next(name for n in count(1) if not os.path.lexists(name := f"{self._path}.damaged-{n}"))
        try:
            # The file itself first: what it leaves beside itself is nothing to an empty one.
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    os.rename(self._path + suffix, aside + suffix)
        except OSError as error:
            problem = f"is damaged ({reason}), and cannot be set aside: {error.strerror}"
            raise BackendUnavailableError(f"{self._path}: {problem}") from error
        self.log.warn(
            "Set aside {path} as {aside}, and begin a new one: {reason}", path=self._path, aside=aside, reason=reason
        )


@implementer(IRegistryBackend, ILifetimeStore)
class SQLiteBackend:
    """
    Writes down registrations, and how long services have left, in a file.

    A plan of 5,000 registrations takes a tenth of a second or two, far too long for the reactor to hear nothing. So a
    thread of its own has the file, and does one thing after the other, in the order in which they were asked for.

    :param reactor: Provides ``IReactorFromThreads``.
    :param database: The file.
    :param wall_clock: Tells the same time as the database's.
    """

    log = Logger()

    def __init__(self, reactor: Any, database: Database, wall_clock: Callable[[], float] = time.time) -> None:
        self._reactor, self._database, self._wall_clock = reactor, database, wall_clock
        self._thread = ThreadPool(0, 1, "sqlite")
        self._expiries: dict[str, float] = {}
        self._unwritten: dict[str, float] = {}
        self._writing = False
        self._failing = False

    async def read(self) -> Mapping[str, Registration]:
        registrations, self._expiries = await self._call(self._database.read)
        return registrations

    async def apply(self, plan: Plan) -> Outcome:
        try:
            await self._call(self._database.apply, plan)
        except BackendUnavailableError as error:
            return Outcome(unavailable=error)
        for registration in plan.deregister:
            self._expiries.pop(registration.service_id, None)
        for registration in plan.register:
            self._expiries.setdefault(registration.service_id, self._database.latest_expiry(registration))
        return Outcome(applied=frozenset(each.service_id for each in (*plan.register, *plan.deregister)))

    async def keep_alive(self) -> None:
        await self._call(self._database.check)

    async def retire(self) -> None:
        """Do nothing, as there is no mark of this daemon's own."""

    async def close(self) -> None:
        if self._thread.started:
            try:
                await self._call(self._database.close)
            finally:
                # A thread that goes on would keep the process from ending.
                self._thread.stop()

    def remember(self, lifetimes: Mapping[str, float]) -> None:
        now = self._wall_clock()
        expiries = {each: now + seconds for each, seconds in lifetimes.items() if each in self._expiries}
        self._expiries.update(expiries)
        self._unwritten.update(expiries)
        if self._unwritten and not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write_expiries()).addErrback(self._log_unforeseen)

    def remaining(self) -> Mapping[str, float]:
        now = self._wall_clock()
        return {service_id: expires_at - now for service_id, expires_at in self._expiries.items()}

    async def _write_expiries(self) -> None:
        try:
            while self._unwritten:
                expiries, self._unwritten = self._unwritten, {}
                await self._call(self._database.remember, expiries)
            self._failing = False
        except BackendUnavailableError as error:
            # Not again every time: the reconciler tells of trouble that lasts.
            if not self._failing:
                self.log.warn("Could not write down how long services have left: {error}", error=error)
            self._failing = True
        finally:
            self._writing = False

    def _log_unforeseen(self, failure: Any) -> None:
        self.log.failure("Could not write down how long services have left", failure=failure)

    def _call(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        if not self._thread.started:
            # No sooner: a daemon forks between the making of its parts and their first use.
            self._thread.start()
        return deferToThreadPool(self._reactor, self._thread, work, *arguments)


def make_backend(reactor: Any, path: str, scope: str) -> SQLiteBackend:
    """
    Make the backend for a file, after a look whether it can be used.

    :raise ConfigError: If it cannot.
    """
    database = Database(path, scope)
    try:
        database.check()
    except BackendUnavailableError as error:
        raise ConfigError(Fault("backend.path", str(error))) from error
    finally:
        # What is open does not survive a fork.
        database.close()
    return SQLiteBackend(reactor, database)


def _identify(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _encode(registration: Registration) -> tuple[str, int]:
    """Return all of a registration as JSON, and a digest by which a disk that forgets a bit is found out."""
    checks = sorted(registration.checks, key=attrgetter("check_id"))
    text = json.dumps(
        {
            "service_id": registration.service_id,
            "name": registration.name,
            "address": registration.address,
            "port": registration.port,
            "tags": registration.tags,
            "meta": dict(registration.meta),
            "checks": [{name: getattr(check, name) for name in _CHECK_FIELDS} for check in checks],
        }
    )
    return text, crc32(text.encode())


def _decode(text: str, digest: int) -> Registration:
    try:
        if crc32(text.encode()) != digest:
            raise ValueError("its digest is another")
        raw = json.loads(text)
        checks = frozenset(Check(**check) for check in raw["checks"])
        return Registration(**{**raw, "tags": tuple(raw["tags"]), "checks": checks})
    except (ValueError, LookupError, TypeError) as error:
        raise _DamagedError(f"it has a row that cannot be read: {error}") from error
