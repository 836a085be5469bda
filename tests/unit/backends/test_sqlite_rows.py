"""Tests for :mod:`ssdpreg.backends.sqlite_rows`."""

from __future__ import annotations

from dataclasses import astuple
from zlib import crc32

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.sqlite_file import DamagedFileError
from ssdpreg.backends.sqlite_rows import decode, encode
from ssdpreg.registration import Check
from ssdpreg.testing import make_registration


class RowTests(SynchronousTestCase):
    """Tests for :func:`encode` and :func:`decode`."""

    def test_round_trip(self) -> None:
        """A decoded registration is equal, and so is every attribute of its checks."""
        checks = frozenset({Check("b", "http", "http://192.0.2.1/", 15.0, 2.5, True, 300.0), Check("a", "alive")})
        registration = make_registration(tags=("zebra", "ünï"), checks=checks)
        found = decode(*encode(registration))
        self.assertEqual(found, registration)
        self.assertEqual({astuple(check) for check in found.checks}, {astuple(check) for check in checks})

    def test_stable(self) -> None:
        """Equal registrations have equal rows, for any order of their checks."""
        checks = [Check(each) for each in "abcdefgh"]
        rows = {encode(make_registration(checks=frozenset(each))) for each in (checks, checks[::-1])}
        self.assertEqual(len(rows), 1)

    def test_damage(self) -> None:
        """A wrong checksum, text that is not JSON, and missing or unknown attributes are damage."""
        text, digest = encode(make_registration())
        for damaged in (text[:-1], "[]", "{}", text.replace('"port"', '"prot"')):
            self.assertRaises(DamagedFileError, decode, damaged, digest)
            self.assertRaises(DamagedFileError, decode, damaged, crc32(damaged.encode()))
