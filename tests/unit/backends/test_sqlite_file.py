"""Tests for :mod:`ssdpreg.backends.sqlite_file`."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from twisted.internet import reactor
from twisted.logger import LogLevel, capturedLogs

from ssdpreg.backends.sqlite import make_backend
from ssdpreg.errors import BackendForgotError, BackendUnavailableError, ConfigError
from ssdpreg.registration import Plan
from tests.support.sqlite_case import DatabaseTestCase, registrations


class SQLiteFileTests(DatabaseTestCase):
    """Tests for :class:`SQLiteFile` with files that cannot be used, in a database."""

    def setUp(self) -> None:
        super().setUp()
        database = self.open()
        database.apply(Plan(registrations(*range(200))))
        database.close()
        self.sound = Path(self.path).read_bytes()

    def assert_set_aside(self, content: bytes, reason: str = "") -> None:
        """Check that a file with this content is set aside, and that a new file can be used."""
        Path(self.path).write_bytes(content)
        with capturedLogs() as events:
            database = self.open()
            try:
                found = database.read()
            except BackendUnavailableError:
                # The damage was detected after the start of the transaction. The next call uses a new file.
                found = database.read()
        [event] = [event for event in events if event["log_level"] == LogLevel.warn]
        self.assertIn(reason, str(event["reason"]))
        self.assertEqual(found, ({}, {}))
        self.assertEqual(Path(event["aside"]).read_bytes(), content)
        database.apply(Plan(registrations(1)))
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))
        database.close()

    def test_no_database(self) -> None:
        """Files of another format are set aside, each with another name."""
        self.assert_set_aside(b"# Notes\n" * 1000, "file is not a database")
        self.assert_set_aside(b"x" * 100, "file is not a database")
        self.assertTrue(Path(f"{self.path}.damaged-2").exists())

    def test_companion_files(self) -> None:
        """The -wal and -shm files of a damaged file are set aside with it."""
        database = self.open()
        database.apply(Plan(registrations(*range(200, 300))))
        log = Path(f"{self.path}-wal").read_bytes()
        self.assertGreater(len(log), 4096)
        database.close()
        Path(f"{self.path}-wal").write_bytes(log)
        Path(f"{self.path}-shm").write_bytes(b"memory")
        Path(self.path).write_bytes(b"x" * len(self.sound))
        self.assertEqual(self.open().read(), ({}, {}))
        self.assertEqual(Path(f"{self.path}.damaged-1-shm").read_bytes(), b"memory")
        self.assertFalse(Path(f"{self.path}-shm").exists())

    def test_truncated(self) -> None:
        """A truncated file is set aside."""
        for length in (50, 4096, len(self.sound) // 2, len(self.sound) - 1000):
            self.assert_set_aside(self.sound[:length])

    def test_empty(self) -> None:
        """An empty file is used as a new one."""
        Path(self.path).write_bytes(b"")
        self.assertEqual(self.open().read(), ({}, {}))

    def test_random_bytes(self) -> None:
        """A file with overwritten bytes is read correctly or set aside, and can be used afterwards."""
        random = Random(4)
        places = [*range(0, 100, 4), *random.sample(range(100, len(self.sound)), 40)]
        for place in places:
            noise = random.randbytes(100)
            content = (self.sound[:place] + noise + self.sound[place + 100 :])[: len(self.sound)]
            Path(self.path).write_bytes(content)
            database = self.open()
            try:
                found = database.read()[0]
            except BackendUnavailableError:
                found = database.read()[0]
            if found:
                self.assertEqual(found, {each.service_id: each for each in registrations(*range(200))}, place)
            database.apply(Plan(registrations(1)))
            self.assertIn(registrations(1)[0], database.read()[0].values())
            database.close()

    def test_read_only_header(self) -> None:
        """A header that forbids writing, in a file with write permission, is damage. The first write detects it."""
        Path(self.path).write_bytes(self.sound[:18] + b"\x03" + self.sound[19:])
        database = self.open()
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(1000)))
        self.assertEqual(str(error), f"{self.path}: attempt to write a readonly database")
        self.assertEqual(database.read(), ({}, {}))

    def test_read_only(self) -> None:
        """A file without write permission, as on a disk that was remounted read-only, is not set aside."""
        connect = sqlite3.connect

        def connect_read_only(path: str, **keywords: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(path, **keywords)
            connection.execute("PRAGMA query_only = true")
            return connection

        self.patch(sqlite3, "connect", connect_read_only)
        self.patch(os, "access", lambda path, mode: False)
        database = self.open()
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(1000)))
        self.assertEqual(str(error), f"{self.path}: {os.path.dirname(self.path)} cannot be written")
        self.assertEqual(len(database.read()[0]), 200)
        self.assertFalse(os.path.exists(f"{self.path}.damaged-1"))

    def test_invalid_row(self) -> None:
        """A row without the attributes of a registration is damage."""
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(f"UPDATE services SET registration = '{{}}', digest = {crc32(b'{}')}")
        connection.close()
        self.assert_set_aside(Path(self.path).read_bytes(), "a row that cannot be read: 'checks'")

    def test_one_byte(self) -> None:
        """A registration with one changed byte is damage."""
        self.assert_set_aside(self.sound.replace(b'"port": 8080', b'"port": 8081', 1), "the checksum does not match")

    def test_invalid_utf8(self) -> None:
        """A table definition that is not valid UTF-8 is damage."""
        self.assert_set_aside(self.sound.replace(b"scope TEXT NOT NULL", b"scope TEXT NOT \xc1\xcdLL", 1))

    def test_versions(self) -> None:
        """A file with a later format version, or of another program, is set aside."""
        for statement, reason in (
            ("PRAGMA user_version = 2", "it has format version 2, and only 1 is supported"),
            ("PRAGMA application_id = 0", "another program"),
        ):
            Path(self.path).write_bytes(self.sound)
            connection = sqlite3.connect(self.path)
            connection.execute(statement)
            connection.close()
            self.assert_set_aside(Path(self.path).read_bytes(), reason)

    def test_damaged_while_open(self) -> None:
        """Damage to an open file makes the backend unavailable once. The next call uses a new file."""
        database = self.open()
        self.assertEqual(len(database.read()[0]), 200)
        os.truncate(self.path, 8192)
        error = self.assertRaises(BackendUnavailableError, database.apply, Plan(registrations(*range(1000, 1400))))
        self.assertEqual(str(error), f"{self.path}: database disk image is malformed")
        self.assertTrue(os.path.exists(f"{self.path}.damaged-1"))
        self.assertEqual(database.read(), ({}, {}))

    def test_removed(self) -> None:
        """``check`` reports a removed file once, and the next call creates a new one."""
        database = self.open()
        database.check()
        database.check()
        os.remove(self.path)
        self.assertRaises(BackendForgotError, database.check)
        database.check()
        self.assertEqual(database.read(), ({}, {}))
        database.apply(Plan(registrations(1)))
        database.close()
        self.assertEqual(tuple(self.open().read()[0].values()), registrations(1))

    def test_full_disk(self) -> None:
        """On a full disk a plan changes nothing. It is applied completely when there is space again."""
        connect = sqlite3.connect

        def connect_small(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **keywords)
            connection.execute(f"PRAGMA max_page_count = {len(self.sound) // 4096}")
            return connection

        patch = self.patch(sqlite3, "connect", connect_small)
        database = self.open()
        plan = Plan(registrations(*range(200, 400)), registrations(1))
        error = self.assertRaises(BackendUnavailableError, database.apply, plan)
        self.assertEqual(str(error), f"{self.path}: database or disk is full")
        self.assertEqual(len(database.read()[0]), 200)
        database.close()
        patch.restore()
        database.apply(plan)
        self.assertEqual(len(database.read()[0]), 399)

    def test_cannot_be_opened(self) -> None:
        """A path that cannot be opened or created is a configuration error, and nothing is set aside."""
        folder = self.mktemp()
        os.mkdir(folder)
        for path in (folder, os.path.join(folder, "missing", "file")):
            error = self.assertRaises(ConfigError, make_backend, reactor, path, "test")
            self.assertEqual(str(error), f"backend.path: {path}: unable to open database file")
        self.assertEqual(os.listdir(folder), [])
        self.assertTrue(os.path.isdir(folder))
