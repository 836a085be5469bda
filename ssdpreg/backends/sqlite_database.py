"""Table of registrations and their expiry times in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping

from ssdpreg.backends.sqlite_file import Schema, SQLiteFile
from ssdpreg.backends.sqlite_rows import decode, encode
from ssdpreg.discovery.advertisement import DEFAULT_MAX_AGE, lifetime
from ssdpreg.registration import Plan, Registration
from ssdpreg.registration.meta import max_age_of

_SCHEMA = Schema(
    application_id=0x73736470,  # "ssdp" in ASCII.
    version=1,
    statement="""
        CREATE TABLE services (
            scope TEXT NOT NULL,
            service_id TEXT NOT NULL,
            registration TEXT NOT NULL,
            digest INTEGER NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (scope, service_id)
        )
    """,
)

#: A service that is registered again keeps its expiry time: only an announcement prolongs it.
_REGISTER = """
    INSERT INTO services VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET registration = excluded.registration, digest = excluded.digest
"""
_DEREGISTER = "DELETE FROM services WHERE scope = ? AND service_id = ?"
_SET_EXPIRY = "UPDATE services SET expires_at = ? WHERE scope = ? AND service_id = ?"
_READ = "SELECT registration, digest, expires_at FROM services WHERE scope = ?"


class Database:
    """
    Registrations of one scope and their expiry times in a SQLite file. Every method blocks, and is one transaction.

    :param path: Path of the file, which need not exist. Its directory must exist.
    :param scope: Scope of the daemon. Rows of other scopes are neither returned nor changed.
    :param wall_clock: Returns the seconds since 1970. The monotonic clock has another origin after a restart of the
        host.
    """

    def __init__(self, path: str, scope: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._file = SQLiteFile(path, _SCHEMA)
        self._scope, self._wall_clock = scope, wall_clock

    def check(self) -> None:
        """
        Check that the file can be used, and that it is still the file that was opened.

        :raise BackendUnavailableError: If the file cannot be used now. All other methods raise this error, too.
        :raise BackendForgotError: If the file was removed or replaced.
        """
        self._file.check()

    def read(self) -> tuple[dict[str, Registration], dict[str, float]]:
        """Return the registrations, and their expiry times in seconds since 1970, by service ID."""

        def work(connection: sqlite3.Connection) -> tuple[dict[str, Registration], dict[str, float]]:
            registrations, expiries = {}, {}
            for text, digest, expires_at in connection.execute(_READ, (self._scope,)):
                registration = decode(text, digest)
                registrations[registration.service_id] = registration
                # If the clock was set back, the stored time may be too far in the future.
                expiries[registration.service_id] = min(expires_at, self.latest_expiry(registration))
            return registrations, expiries

        return self._file.run(work)

    def apply(self, plan: Plan) -> None:
        """Apply a plan completely or not at all. A new service expires after its full lifetime."""
        scope = self._scope

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_DEREGISTER, ((scope, each.service_id) for each in plan.deregister))
            connection.executemany(
                _REGISTER,
                ((scope, each.service_id, *encode(each), self.latest_expiry(each)) for each in plan.register),
            )

        self._file.run(work)

    def set_expiries(self, expiries: Mapping[str, float]) -> None:
        """
        Store expiry times.

        :param expiries: Seconds since 1970 by service ID. Services that are not registered are ignored.
        """
        rows = [(expires_at, self._scope, service_id) for service_id, expires_at in expiries.items()]
        self._file.run(lambda connection: connection.executemany(_SET_EXPIRY, rows))

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        self._file.close()

    def latest_expiry(self, registration: Registration) -> float:
        """Return when a service expires that is announced now, in seconds since 1970: max-age and grace from now."""
        return self._wall_clock() + lifetime(max_age_of(registration.meta, DEFAULT_MAX_AGE))
