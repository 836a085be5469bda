"""Tests for :mod:`ssdpreg.backends.consul`: the mode selects the backend, and no backend acts before its first call."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends import find_backend
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.locked import LockedCatalog
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.config import ConsulConfig
from ssdpreg.errors import NotHolderError
from ssdpreg.registration import Outcome, Plan
from ssdpreg.testing import make_registration


class RecordingLock:
    """Lock that records the calls of its methods, and is decided when a test says so."""

    def __init__(self, calls: list[str], name: str) -> None:
        self._calls, self._name = calls, name
        self.decision: Deferred[None] = Deferred()

    def start(self) -> None:
        self._calls.append(f"start {self._name}")

    async def decided(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.decision.addCallback(lambda _: waiting.callback(None))
        await waiting

    async def stop(self) -> None:
        self._calls.append(f"stop {self._name}")

    def operation(self) -> dict[str, Any]:
        raise NotHolderError("another daemon holds the lock")

    def lost(self) -> None:
        raise AssertionError


class FirstCallTests(SynchronousTestCase):
    """Tests for the first and last call of :class:`LockedCatalog`."""

    def setUp(self) -> None:
        self.calls: list[str] = []
        clock = Clock()
        self.lock = RecordingLock(self.calls, "lock")
        lock, reaper = cast("Any", self.lock), cast("Any", RecordingLock(self.calls, "reaper"))
        http = ConsulHTTP(clock, BoundedHTTPClient(clock, "http://consul.test:8500", None))  # type: ignore[arg-type]
        self.backend = LockedCatalog(clock, http, lock, reaper, CatalogFormat("test"))

    def test_first_call_waits(self) -> None:
        """The first call starts the lock, and waits until it is known whether this daemon holds it."""
        for coroutine in (
            self.backend.keep_alive(),
            self.backend.read(),
            self.backend.apply(Plan(register=(make_registration(),))),
        ):
            self.calls.clear()
            waiting = Deferred.fromCoroutine(coroutine)
            self.assertNoResult(waiting)
            self.assertEqual(self.calls, ["start lock", "start reaper"])
            self.lock.decision.callback(None)
            self.lock.decision = Deferred()
            waiting.addErrback(lambda failure: failure.trap(NotHolderError))
            result = self.successResultOf(waiting)
            if isinstance(result, Outcome):
                self.assertIsInstance(result.unavailable, NotHolderError)

    def test_empty_plan(self) -> None:
        """An empty plan needs no lock."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.backend.apply(Plan()))), Outcome())
        self.assertEqual(self.calls, [])

    def test_close(self) -> None:
        """The lock is released when the backend is closed, after the reaper has ended."""
        self.successResultOf(Deferred.fromCoroutine(self.backend.close()))
        self.assertEqual(self.calls, ["stop reaper", "stop lock"])


class MakeBackendTests(SynchronousTestCase):
    """Tests for the backends that ``backend.mode`` selects."""

    def test_modes(self) -> None:
        """The mode selects the backend. Neither opens a connection before its first call."""
        make = find_backend("consul").make_backend
        self.assertIsInstance(make(Clock(), ConsulConfig(), "rack"), ConsulAgent)
        catalog = make(Clock(), ConsulConfig(mode="catalog", datacenter="dc2"), "rack")
        self.assertIsInstance(catalog, LockedCatalog)
