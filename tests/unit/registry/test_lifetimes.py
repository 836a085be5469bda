"""Tests for :mod:`ssdpreg.registry.lifetimes`."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from ssdpreg.interfaces import ILifetimeStore
from ssdpreg.registry import LifetimeRecorder
from tests.unit.registry.registry_case import RegistryTestCase, alive


@implementer(ILifetimeStore)
class MemoryLifetimeStore:
    """Store of lifetimes, whose second recording fails."""

    def __init__(self) -> None:
        self.recorded: list[dict[str, int]] = []

    def remember(self, lifetimes: Mapping[str, float]) -> None:
        self.recorded.append({key: round(seconds) for key, seconds in lifetimes.items()})
        if len(self.recorded) == 2:
            raise RuntimeError("second recording")

    def remaining(self) -> Mapping[str, float]:
        return {}


class LifetimeRecorderTests(RegistryTestCase):
    """Tests for :class:`LifetimeRecorder`."""

    def test_records_lifetimes(self) -> None:
        """Every 2 s the lifetimes of the services received meanwhile are recorded, also after an error."""
        self.start()
        store = MemoryLifetimeStore()
        recorder = LifetimeRecorder(self.reactor, self.registry, store)
        recorder.startService()
        self.addCleanup(recorder.stopService)
        self.receive(alive(max_age=100))
        self.receive(alive(device_id="E", max_age=1000))
        first, second = self.registry.registrations
        for _ in range(2):
            self.advance(5.2)
            self.receive(alive(max_age=100))
        self.advance(2)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.assertEqual(store.recorded, [{first: 108, second: 1058}, {first: 109}, {first: 108}])
