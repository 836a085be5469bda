"""Tests for :mod:`ssdpreg.backends.sqlite_database`."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from typing import Any

from ssdpreg.registration import Check, Plan, Registration
from ssdpreg.testing import make_registration
from tests.support.sqlite_case import DatabaseTestCase, registrations


def registration_for(max_age: int) -> Registration:
    """Make a registration of a service that was announced with a max-age in seconds."""
    registration = make_registration()
    return replace(registration, meta={**registration.meta, "ssdp-max-age": str(max_age)})


class DatabaseTests(DatabaseTestCase):
    """Tests for :class:`Database`."""

    def test_comes_back(self) -> None:
        """After the file was closed and opened, every attribute of a registration and its checks is read."""
        registration = make_registration(tags=("zebra", "ünï", "ant"))
        service_id = registration.service_id
        checks = {
            Check(f"{service_id}-http-0a", "http", "http://[2001:db8::5]/x?a=b", 15.0, 2.5, True, 300.0),
            Check(f"{service_id}-tcp-0b", "tcp", "[2001:db8::5]:80", 0.5),
        }
        registration = replace(registration, checks=registration.checks | checks)
        database = self.open()
        database.apply(Plan((registration,)))
        database.close()
        found = self.open().read()[0][service_id]
        self.assertEqual(found, registration)
        self.assertEqual({astuple(check) for check in found.checks}, {astuple(check) for check in registration.checks})

    def test_scopes(self) -> None:
        """Rows of another scope are neither read nor changed, even with the same service IDs."""
        theirs = self.open("theirs")
        theirs.apply(Plan(registrations(1, 2, scope="theirs")))
        before = theirs.read()
        theirs.close()
        ours = self.open("ours")
        self.assertEqual(ours.read(), ({}, {}))
        ours.apply(Plan(registrations(1, scope="ours"), registrations(2, scope="ours")))
        ours.set_expiries({make_registration(2).service_id: 0.0})
        self.assertEqual(list(ours.read()[0].values()), [make_registration(1, "ours")])
        ours.close()
        self.assertEqual(self.open("theirs").read(), before)

    def test_full_time(self) -> None:
        """A new service expires after max-age and grace, and after 1860 s if there is no max-age."""
        for max_age, lifetime in ((4, 5.0), (1800, 1860.0), (100, 110.0), (86400, 86460.0)):
            database = self.open()
            registration = registration_for(max_age)
            database.apply(Plan((registration,), (registration,)))
            self.assertEqual(database.read()[1], {registration.service_id: self.clock.now + lifetime})
            database.close()
        self.assertEqual(database.latest_expiry(make_registration()), self.clock.now + 1860.0)

    def test_set_expiries(self) -> None:
        """A stored expiry time is kept when its service is registered again. Unknown services are ignored."""
        database = self.open()
        [registration, unknown] = registrations(1, 2)
        database.apply(Plan((registration,)))
        database.set_expiries({registration.service_id: self.clock.now + 7, unknown.service_id: self.clock.now + 7})
        database.apply(Plan((replace(registration, port=1),)))
        self.assertEqual(database.read()[1], {registration.service_id: self.clock.now + 7})

    def test_clock_set_back(self) -> None:
        """After the clock was set back, a service expires at the latest after its full lifetime."""
        database = self.open()
        registration = make_registration()
        database.apply(Plan((registration,)))
        self.clock.now = 0.0
        self.assertEqual(database.read()[1], {registration.service_id: 1860.0})

    def test_rollback(self) -> None:
        """A plan that fails in the middle changes nothing."""
        database = self.open()
        database.apply(Plan(registrations(1)))
        # JSON has no representation for the name.
        bad: Any = make_registration(3, name=object())
        self.assertRaises(TypeError, database.apply, Plan((*registrations(2), bad), registrations(1)))
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))

    def test_programming_error(self) -> None:
        """A programming error, such as a call from another thread, does not set the file aside."""
        database = self.open()
        database.apply(Plan(registrations(1)))
        with ThreadPoolExecutor(1) as executor:
            self.assertRaises(sqlite3.ProgrammingError, executor.submit(database.read).result)
        self.assertEqual(tuple(database.read()[0].values()), registrations(1))
