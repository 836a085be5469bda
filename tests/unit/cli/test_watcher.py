"""Tests for :mod:`ssdpreg.cli.watcher`."""

from __future__ import annotations

import io
import json
import re
import sys
from argparse import Namespace
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli import watcher
from ssdpreg.cli.reader import Service
from ssdpreg.cli.watcher import ServiceChange, Watcher, compare
from ssdpreg.errors import BackendError, BackendRefusedError, BackendUnavailableError


def make_service(key: str = "A", address: str = "10.0.0.5", health: str = "passing", location: str = "") -> Service:
    """Create a service."""
    return Service(("node", key), "api", "D", address, 8080, (), health, location)


class CompareTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.watcher.compare`."""

    def test_compare(self) -> None:
        """Services that were added, changed or removed are changes, and a different LOCATION is none."""
        stays, removed, before = make_service("stays"), make_service("removed"), make_service("moves")
        after, added = make_service("moves", "10.0.0.6"), make_service("added")
        changes = compare(
            {each.key: each for each in (stays, removed, before)},
            {each.key: each for each in (make_service("stays", location="http://10.0.0.5/"), after, added)},
        )
        self.assertEqual(
            list(changes),
            [
                ServiceChange("removed", removed, removed),
                ServiceChange("changed", before, after),
                ServiceChange("added", None, added),
            ],
        )


class FakeReader:
    """
    A server in memory.

    :ivar registered: Return value of :meth:`services`.
    :ivar error: Exception that every method raises, if there is one.
    :ivar is_ready: Return value of :meth:`ready`.
    :ivar index: Index that :meth:`names` returns.
    :ivar queried: Indexes that :meth:`names` was called with.
    """

    def __init__(self) -> None:
        self.registered: list[Service] = []
        self.error: BackendError | None = None
        self.is_ready = True
        self.index = 5
        self.queried: list[int] = []

    async def names(self, index: int, wait: int) -> tuple[list[str], int]:
        self.queried.append(index)
        self._raise_error()
        return ["api"], self.index

    async def services(self) -> list[Service]:
        self._raise_error()
        return self.registered

    async def ready(self) -> bool:
        self._raise_error()
        return self.is_ready

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error


class WatcherTests(SynchronousTestCase):
    """Tests for :class:`ssdpreg.cli.watcher.Watcher`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader()
        self.watcher = Watcher(self.clock, cast("Any", self.reader))
        self.stderr = io.StringIO()
        self.patch(sys, "stderr", self.stderr)

    def changes(self) -> Deferred[list[ServiceChange]]:
        """Call :meth:`Watcher.changes`."""
        return Deferred.fromCoroutine(self.watcher.changes())

    def kinds(self, waiting: Deferred[list[ServiceChange]]) -> list[str]:
        """Return the kinds of the changes."""
        return [change.kind for change in self.successResultOf(waiting)]

    def test_changes(self) -> None:
        """The first result has all services as added, and each query waits for another index than the last one."""
        self.reader.registered = [make_service()]
        self.assertEqual(self.kinds(self.changes()), ["added"])
        self.reader.registered, self.reader.index = [make_service(health="critical")], 9
        waiting = self.changes()
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.queried), (["changed"], [0, 5]))
        waiting = self.changes()
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.queried), ([], [0, 5, 9]))

    def test_index_falls(self) -> None:
        """After an index that falls, or is missing, the next query has the index 1."""
        self.successResultOf(self.changes())
        for index in (3, 0, 4):
            self.reader.index = index
            waiting = self.changes()
            self.clock.advance(0.2)
            self.successResultOf(waiting)
        self.assertEqual(self.reader.queried, [0, 5, 1, 1])

    def test_unavailable_at_first(self) -> None:
        """The first request is not retried if the server does not respond."""
        self.reader.error = BackendUnavailableError("http://x does not answer")
        self.failureResultOf(self.changes(), BackendUnavailableError)
        self.assertEqual(self.stderr.getvalue(), "")

    def test_rejected_request(self) -> None:
        """A rejected request is not retried."""
        self.successResultOf(self.changes())
        self.reader.error = BackendRefusedError(403, "Permission denied")
        waiting = self.changes()
        self.clock.advance(0.2)
        self.failureResultOf(waiting, BackendRefusedError)

    def test_restart(self) -> None:
        """After an outage, changes are reported when the daemon is ready, and a message marks its start and end."""
        self.reader.registered = [make_service("stays"), make_service("goes")]
        self.successResultOf(self.changes())
        self.reader.error = BackendUnavailableError("http://x does not answer")
        waiting = self.changes()
        self.clock.pump([0.2, 1, 1, 1])
        self.reader.error, self.reader.registered, self.reader.is_ready = None, [], False
        self.clock.pump([1, 1])
        self.assertNoResult(waiting)
        self.reader.is_ready, self.reader.registered = True, [make_service("stays")]
        self.clock.advance(1)
        self.assertEqual(self.kinds(waiting), ["removed"])
        self.assertEqual(self.stderr.getvalue(), "http://x does not answer; retrying\nThe server responds again.\n")
        waiting = self.changes()
        self.clock.advance(0.2)
        self.assertEqual((self.kinds(waiting), self.reader.queried[-1]), ([], 1))


class WatchServicesTests(SynchronousTestCase):
    """Tests for :func:`ssdpreg.cli.watcher.watch_services`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader()
        self.stdout = io.StringIO()
        self.patch(sys, "stdout", self.stdout)
        self.patch(watcher, "make_reader", lambda *_: self.reader)

    def watch(self, *states: list[Service], as_json: bool = False) -> list[str]:
        """Let a server have one state after the other, interrupt the command, and return the printed lines."""
        self.reader.registered = states[0]
        arguments = Namespace(url="http://x", json=as_json)
        watching = Deferred.fromCoroutine(watcher.watch_services(arguments, self.clock))
        for state in states[1:]:
            self.reader.registered = state
            self.clock.advance(0.2)
        watching.cancel()
        self.assertEqual(self.successResultOf(watching), 0)
        return self.stdout.getvalue().splitlines()

    def test_lines(self) -> None:
        """Each change is a line with a sign and a time, and with both values of an attribute that changed."""
        moved = make_service(address="10.0.0.6", health="critical")
        lines = self.watch([make_service()], [moved], [replace(moved, tags=("lab",))], [])
        self.assertEqual(
            [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line) for line in lines],
            [
                "+ TIME api 10.0.0.5:8080 passing",
                "~ TIME api 10.0.0.5:8080 -> 10.0.0.6:8080 passing -> critical",
                "~ TIME api 10.0.0.6:8080 critical  -> lab",
                "- TIME api 10.0.0.6:8080 critical",
            ],
        )

    def test_json(self) -> None:
        """Each change is a JSON object with a time, the kind of the change and the service."""
        lines = self.watch([make_service()], [], as_json=True)
        documents = [json.loads(line) for line in lines]
        self.assertEqual([document["change"] for document in documents], ["added", "removed"])
        self.assertEqual([document["service"] for document in documents], [make_service().document()] * 2)
        self.assertIsNotNone(datetime.fromisoformat(documents[0]["time"]).tzinfo)
