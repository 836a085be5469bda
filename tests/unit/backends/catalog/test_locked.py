"""Tests for :mod:`ssdpreg.backends.catalog.locked`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.locked import LockedCatalog
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.backends.scopes.lock import ScopeLock
from ssdpreg.backends.scopes.nodes import ScopeNodes
from ssdpreg.backends.scopes.reaper import Reaper
from ssdpreg.backends.scopes.session import LockRequests
from ssdpreg.errors import NotHolderError
from ssdpreg.interfaces import ILockedBackend
from ssdpreg.registration import Plan
from ssdpreg.testing import FakeConsulCatalog, make_registration

KEY = "ssdpreg/scopes/test"

_T = TypeVar("_T")


class LockedCatalogTests(SynchronousTestCase):
    """Tests for :class:`LockedCatalog`, with Consul in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.consul = FakeConsulCatalog()
        self.catalog = self.make_catalog()

    def make_http(self) -> ConsulHTTP:
        client = cast("Any", StubTreq(self.consul))
        return ConsulHTTP(self.clock, BoundedHTTPClient(self.clock, "http://consul.test", client))

    def make_catalog(self) -> LockedCatalog:
        """Return a backend with its lock and its reaper."""
        lock = ScopeLock(self.clock, LockRequests(self.make_http(), None), "test", boot_time=self.clock.seconds)
        reaper = Reaper(self.clock, ScopeNodes(self.make_http(), None), lock, 600.0, self.clock.seconds)
        return LockedCatalog(self.clock, self.make_http(), lock, reaper, CatalogFormat("test"))

    def run_now(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine that has to return without delay."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_interface(self) -> None:
        """The backend provides ``ILockedBackend``."""
        verifyObject(ILockedBackend, self.catalog)

    def test_life(self) -> None:
        """The first use acquires the lock, and the end releases it and ends the session."""
        self.assertEqual(self.consul.requests, [])
        self.run_now(self.catalog.keep_alive())
        self.assertTrue(self.catalog.lock.held)
        registration = make_registration()
        outcome = self.run_now(self.catalog.apply(Plan(register=(registration,))))
        self.assertEqual(outcome.applied, {registration.service_id})
        self.run_now(self.catalog.close())
        self.assertNotIn("Session", self.consul.state.keys[KEY])
        self.assertEqual(self.consul.state.sessions, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_first_plan(self) -> None:
        """A plan acquires the lock, too."""
        registration = make_registration()
        outcome = self.run_now(self.catalog.apply(Plan(register=(registration,))))
        self.assertEqual(outcome.applied, {registration.service_id})

    def test_waits(self) -> None:
        """A backend whose lock another daemon holds reads and writes nothing."""
        self.consul.state.keys[KEY] = {"Key": KEY, "Session": "s", "LockIndex": 1, "ModifyIndex": 5, "Value": None}
        self.failureResultOf(Deferred.fromCoroutine(self.catalog.keep_alive()), NotHolderError)
        self.failureResultOf(Deferred.fromCoroutine(self.catalog.read()), NotHolderError)
        outcome = self.run_now(self.catalog.apply(Plan(register=(make_registration(),))))
        self.assertIsInstance(outcome.unavailable, NotHolderError)
        self.assertEqual(self.consul.transactions, [])
        self.assertTrue(self.catalog.lock.waiting)

    def test_statistics(self) -> None:
        """The statistics contain the requests of the lock and of the reaper."""
        self.run_now(self.catalog.read())
        self.clock.advance(10)
        operations = {operation for operation, _ in self.catalog.requests}
        self.assertGreaterEqual(operations, {"session-create", "session-renew", "list-nodes", "list-marks"})
        self.assertEqual(set(self.catalog.seconds), operations)
