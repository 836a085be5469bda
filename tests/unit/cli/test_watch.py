"""Tests for :mod:`ssdpreg.cli.watch`."""

from __future__ import annotations

import io
import sys
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.reader import Service
from ssdpreg.cli.watch import Change, Watcher, compare
from ssdpreg.errors import BackendError, BackendRefusedError, BackendUnavailableError


def service(key: str = "A", address: str = "10.0.0.5", health: str = "passing", location: str = "") -> Service:
    """Make a service."""
    return Service(("node", key), "api", "D", address, 8080, (), health, location)


class CompareTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.watch.compare`."""

    def test_compare(self) -> None:
        """What left, came or changed is told; what can only be seen in the details is not."""
        stays, goes, before = service("stays"), service("goes"), service("moves")
        after, comes = service("moves", "10.0.0.6"), service("comes")
        changes = compare(
            {each.key: each for each in (stays, goes, before)},
            {each.key: each for each in (service("stays", location="http://10.0.0.5/"), after, comes)},
        )
        self.assertEqual(
            list(changes),
            [Change("removed", goes, goes), Change("changed", before, after), Change("added", None, comes)],
        )


class FakeReader:
    """
    A daemon whose answers are set by hand.

    :ivar present: What is registered.
    :ivar error: What to raise instead of any answer.
    :ivar heard_all: What :meth:`ready` says.
    :ivar asked: The indexes that were asked with.
    """

    def __init__(self) -> None:
        self.present: list[Service] = []
        self.error: BackendError | None = None
        self.heard_all = True
        self.index = 5
        self.asked: list[int] = []

    async def names(self, index: int, wait: int) -> tuple[list[str], int]:
        self.asked.append(index)
        self._fail()
        return ["api"], self.index

    async def services(self) -> list[Service]:
        self._fail()
        return self.present

    async def ready(self) -> bool:
        self._fail()
        return self.heard_all

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class WatcherTests(SynchronousTestCase):
    """Tests for :class:`ssdpreg.cli.watch.Watcher`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader()
        self.watcher = Watcher(self.clock, cast("Any", self.reader))
        self.stderr = io.StringIO()
        self.patch(sys, "stderr", self.stderr)

    def changes(self) -> Deferred[list[Change]]:
        """Wait for changes."""
        return Deferred.fromCoroutine(self.watcher.changes())

    def kinds(self, waiting: Deferred[list[Change]]) -> list[str]:
        """Tell what became of the services."""
        return [change.kind for change in self.successResultOf(waiting)]

    def test_changes(self) -> None:
        """At first all is new; then it is asked for what is another state than the one that was seen."""
        self.reader.present = [service()]
        self.assertEqual(self.kinds(self.changes()), ["added"])
        self.reader.present, self.reader.index = [service(health="critical")], 9
        waiting = self.changes()
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.asked), (["changed"], [0, 5]))
        waiting = self.changes()
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.asked), ([], [0, 5, 9]))

    def test_index_falls(self) -> None:
        """An index that falls is begun with anew, and one that is missing is not taken for a first answer."""
        self.successResultOf(self.changes())
        for index in (3, 0, 4):
            self.reader.index = index
            waiting = self.changes()
            self.clock.advance(0.2)
            self.successResultOf(waiting)
        self.assertEqual(self.reader.asked, [0, 5, 1, 1])

    def test_absent_at_first(self) -> None:
        """Nobody is waited for who never answered."""
        self.reader.error = BackendUnavailableError("http://x does not answer")
        self.failureResultOf(self.changes(), BackendUnavailableError)
        self.assertEqual(self.stderr.getvalue(), "")

    def test_refused(self) -> None:
        """An answer of no ends it."""
        self.successResultOf(self.changes())
        self.reader.error = BackendRefusedError(403, "Permission denied")
        waiting = self.changes()
        self.clock.advance(0.2)
        self.failureResultOf(waiting, BackendRefusedError)

    def test_restart(self) -> None:
        """A daemon that comes back is believed once it has heard what there is; both is said, once."""
        self.reader.present = [service("stays"), service("goes")]
        self.successResultOf(self.changes())
        self.reader.error = BackendUnavailableError("http://x does not answer")
        waiting = self.changes()
        self.clock.pump([0.2, 1, 1, 1])
        self.reader.error, self.reader.present, self.reader.heard_all = None, [], False
        self.clock.pump([1, 1])
        self.assertNoResult(waiting)
        self.reader.heard_all, self.reader.present = True, [service("stays")]
        self.clock.advance(1)
        self.assertEqual(self.kinds(waiting), ["removed"])
        self.assertEqual(self.stderr.getvalue(), "http://x does not answer; waiting for it\nIt answers again.\n")
        waiting = self.changes()
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.asked[-1]), ([], 1))
