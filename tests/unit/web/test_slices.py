"""Tests for :mod:`ssdpreg.web.slices`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.slices import RequestCooperator, run_in_slices


class Turns:
    """Reactor that runs in each turn the calls that were requested before it. A Clock also runs the later ones."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], Any]] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[[], Any]) -> object:  # noqa: N802
        self.calls.append(call)
        return mock.Mock()

    def take(self) -> None:
        """Take one turn."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class RequestCooperatorTests(SynchronousTestCase):
    """Tests for :class:`RequestCooperator` and :func:`run_in_slices`."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.cooperator = RequestCooperator(self.turns)
        self.done: list[str] = []

    def request(self, name: str, seconds: float) -> Deferred[None]:
        """Answer a request whose response takes some time."""

        async def respond() -> None:
            await self.cooperator.turn()
            self.turns.now += seconds
            self.done.append(name)

        responding = Deferred.fromCoroutine(respond())
        responding.addErrback(lambda failure: None)
        return responding

    def test_short(self) -> None:
        """Requests whose responses take little time are answered in the same turn."""
        for name in "abc":
            self.request(name, 0.003)
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_long(self) -> None:
        """Requests whose responses take long are answered in one turn each, in their order."""
        for name in "abc":
            self.request(name, 0.04)
        self.assertEqual(self.done, ["a"])
        self.turns.take()
        self.request("d", 0.04)
        self.assertEqual(self.done, ["a", "b"])
        for _ in range(2):
            self.turns.take()
        self.assertEqual(self.done, ["a", "b", "c", "d"])
        for _ in range(2):
            self.turns.take()
        self.assertEqual(self.turns.calls, [])

    def test_disconnected(self) -> None:
        """A request that is cancelled while it waits delays no other one."""
        self.request("a", 0.04)
        self.request("b", 0.04).cancel()
        self.request("c", 0.04)
        self.turns.take()
        self.assertEqual(self.done, ["a", "c"])

    def test_first_steps(self) -> None:
        """The first steps of computations that begin in one turn take no more than the time of one."""

        def steps(name: str) -> Iterator[None]:
            for number in range(4):
                self.turns.now += 0.004
                self.done.append(f"{name}{number}")
                yield

        running = [Deferred.fromCoroutine(run_in_slices(self.cooperator, steps(name))) for name in "ab"]
        self.assertEqual(self.done, ["a0", "a1", "a2"])
        for _ in range(20):
            self.turns.take()
        for each in running:
            self.successResultOf(each)
        self.assertEqual(sorted(self.done), ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"])
