"""Base class of tests for the SQLite database, with the helpers that they share."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.sqlite_database import Database
from ssdpreg.registration import Registration
from ssdpreg.testing import make_registration


class WallClock:
    """
    Wall clock that a test sets.

    :ivar now: Seconds since 1970.
    """

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def registrations(*numbers: int, scope: str = "test") -> tuple[Registration, ...]:
    """Make registrations from numbers."""
    return tuple(make_registration(number, scope) for number in numbers)


class DatabaseTestCase(SynchronousTestCase):
    """
    Base of tests that use one database file.

    :ivar path: Path of the file, which does not exist yet.
    :ivar clock: Wall clock of the databases.
    """

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.clock = WallClock()

    def open(self, scope: str = "test") -> Database:
        """Make a database for the file, and close it when the test ends."""
        database = Database(self.path, scope, self.clock)
        self.addCleanup(database.close)
        return database
