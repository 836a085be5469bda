"""A SQLite file that one process uses exclusively. A damaged file is renamed and replaced."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from twisted.logger import Logger

from ssdpreg.errors import BackendForgotError, BackendUnavailableError

T = TypeVar("T")

#: Texts of SQLite errors that do not mean damage. Python 3.10 does not provide the error codes.
_LOCKED = "database is locked"
_NO_DAMAGE = (_LOCKED, "database or disk is full", "disk I/O error", "unable to open database file")
_READ_ONLY = "attempt to write a readonly database"

#: Suffixes of a SQLite database's files. The file itself comes first: the others must not be used with a new one.
_SUFFIXES = ("", "-wal", "-shm", "-journal")


class DamagedFileError(Exception):
    """The file has content that this program did not write."""


#: Errors that mean that the file cannot be used. SQLite's messages quote the file, which may not be valid UTF-8.
_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError, DamagedFileError)


@dataclass(frozen=True, slots=True)
class Schema:
    """
    Format of a SQLite file.

    :ivar application_id: Number in the header that identifies the program: ``PRAGMA application_id``.
    :ivar version: Version of the tables: ``PRAGMA user_version``.
    :ivar statement: SQL statement that creates the tables.
    """

    application_id: int
    version: int
    statement: str


class SQLiteFile:
    """
    SQLite file that this process uses exclusively. Every method blocks.

    While the file is open, no other process can use it. A file that is damaged, or that another program made, is
    renamed to ``<path>.damaged-<n>``, and a new one is created.

    :param path: Path of the file, which need not exist. Its directory must exist.
    :param schema: Format of the file.
    """

    log = Logger()

    def __init__(self, path: str, schema: Schema) -> None:
        self._path, self._schema = path, schema
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """
        Check that the file can be used, and that it is still the file that was opened.

        :raise BackendUnavailableError: If the file cannot be used now.
        :raise BackendForgotError: If the file was removed or replaced.
        """
        if self._connection is not None and self._identity != _identify(self._path):
            self.close()
            raise BackendForgotError(f"{self._path} was removed or replaced")
        self.run(lambda connection: None)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """
        Call a function in one transaction.

        :param work: Called with the connection. If it raises an exception, the transaction is rolled back.
        :raise BackendUnavailableError: If the file cannot be used now. After damage a new file is used from then on,
            and the caller has to read its content first.
        """
        try:
            if self._connection is None:
                self._connection = self._open_or_replace()
            with self._connection:
                return work(self._connection)
        except sqlite3.ProgrammingError:
            # A programming error does not mean that the file is damaged.
            raise
        except _ERRORS as error:
            self.close()
            if self._is_damage(error):
                self._set_aside(error)
            raise BackendUnavailableError(f"{self._path}: {self._describe(error)}") from error

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open_or_replace(self) -> sqlite3.Connection:
        """Open the file. If it is damaged, open a new one in its place."""
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
        """Lock the file, check its integrity and format, and create the tables in an empty file."""
        # Has to come first: the lock then lasts from the first access until the connection is closed.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # Commits survive the end of the process. A power failure may lose the last commits, but does no damage.
        connection.execute("PRAGMA synchronous = NORMAL")
        [(verdict,)] = connection.execute("PRAGMA integrity_check(1)")
        if verdict != "ok":
            raise DamagedFileError(verdict)
        [(application_id,)] = connection.execute("PRAGMA application_id")
        [(version,)] = connection.execute("PRAGMA user_version")
        [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_master")
        schema = self._schema
        if not (application_id or version or tables):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(schema.statement)
                connection.execute(f"PRAGMA application_id = {schema.application_id}")
                connection.execute(f"PRAGMA user_version = {schema.version}")
        elif application_id != schema.application_id:
            raise DamagedFileError("it is a database of another program")
        elif version != schema.version:
            raise DamagedFileError(f"it has format version {version}, and only {schema.version} is supported")

    def _is_damage(self, error: Exception) -> bool:
        if str(error) == _READ_ONLY:
            # If the file system allows writing, a wrong byte in the file's header forbids it.
            return os.access(self._path, os.W_OK)
        return not (isinstance(error, sqlite3.OperationalError) and str(error) in _NO_DAMAGE)

    def _describe(self, error: Exception) -> str:
        if str(error) == _LOCKED:
            return "another process uses it"
        for place in (os.path.dirname(self._path), self._path):
            if os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK):
                return f"{place} cannot be written"
        return str(error)

    def _set_aside(self, reason: Exception) -> None:
        """Rename a damaged file."""
        aside = next(name for n in count(1) if not os.path.lexists(name := f"{self._path}.damaged-{n}"))
        try:
            for suffix in _SUFFIXES:
                with suppress(FileNotFoundError):
                    os.rename(self._path + suffix, aside + suffix)
        except OSError as error:
            problem = f"is damaged ({reason}), and cannot be set aside: {error.strerror}"
            raise BackendUnavailableError(f"{self._path}: {problem}") from error
        self.log.warn(
            "Set aside {path} as {aside}, to be replaced by a new file: {reason}",
            path=self._path,
            aside=aside,
            reason=reason,
        )


def _identify(path: str) -> tuple[int, int] | None:
    """Return the device and inode number of a file, or None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
