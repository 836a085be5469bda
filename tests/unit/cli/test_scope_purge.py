"""Tests for :mod:`ssdpreg.cli.scope_purge`, with nodes in memory."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred

from ssdpreg.backends.scopes.session import LockKey
from ssdpreg.cli.scope_purge import purge_nodes
from tests.support.command import CommandTestCase
from tests.support.memory_scopes import MemoryScopes


class MemoryLocks:
    """
    Requests for locks in memory.

    :param scopes: Nodes and locks of the scopes.
    """

    def __init__(self, scopes: MemoryScopes) -> None:
        self._scopes = scopes

    async def read(self, key: str) -> LockKey | None:
        return self._scopes.keys.get(key.removeprefix("ssdpreg/scopes/"))


class PurgeNodesTests(CommandTestCase):
    """Tests for :func:`purge_nodes`."""

    def setUp(self) -> None:
        self.scopes = MemoryScopes()
        self.scopes.nodes = {"dead": ["d1", "d2", "d\x1b3"], "other": ["x1"]}
        self.scopes.used = {"d2"}

    def purge(self, scope: str = "dead", *, dry_run: bool = False) -> tuple[int, list[str], str]:
        """Return exit status, lines of the output, and messages."""
        stdout, stderr = self.capture("stdout"), self.capture("stderr")
        locks = cast("Any", MemoryLocks(self.scopes))
        purging = Deferred.fromCoroutine(purge_nodes(scope, locks, self.scopes, dry_run=dry_run))
        return self.successResultOf(purging), stdout.getvalue().splitlines(), stderr.getvalue()

    def test_purge(self) -> None:
        """The nodes are removed, except one that other programs use. The lock stays with it."""
        self.scopes.hold("dead", "")
        kept = "Kept d2, which other programs use, without its services of the scope"
        self.assertEqual(self.purge(), (0, ["Removed d1", "Removed d\\x1b3", kept], ""))
        self.assertEqual(self.scopes.nodes, {"dead": ["d2"], "other": ["x1"]})
        self.assertIn("dead", self.scopes.keys)

    def test_lock(self) -> None:
        """The lock is removed with the last node, and alone if no node is visible, which is reported."""
        self.scopes.hold("dead", "")
        self.scopes.used = set()
        self.purge()
        self.assertNotIn("dead", self.scopes.keys)
        self.scopes.hold("empty", "")
        for dry_run in (True, False):
            status, lines, message = self.purge("empty", dry_run=dry_run)
            self.assertEqual((status, lines), (0, []))
            self.assertIn("no nodes of scope 'empty', or the token may not read them", message)
        self.assertNotIn("empty", self.scopes.keys)

    def test_no_lock(self) -> None:
        """Nodes of a scope without a lock are removed, too."""
        self.assertEqual(self.purge()[0], 0)
        self.assertEqual(self.scopes.nodes["dead"], ["d2"])

    def test_dry_run(self) -> None:
        """With ``--dry-run`` nothing is removed."""
        status, lines, _ = self.purge(dry_run=True)
        self.assertEqual((status, lines[:2]), (0, ["Would remove d1", "Would remove d\\x1b3"]))
        self.assertEqual(len(lines), 3)
        self.assertEqual(self.scopes.nodes["dead"], ["d1", "d2", "d\x1b3"])

    def test_running(self) -> None:
        """While a session holds the lock, nothing is removed."""
        self.scopes.hold("dead", "s")
        status, lines, message = self.purge()
        self.assertEqual((status, lines), (1, []))
        self.assertIn("A daemon of scope 'dead' is running", message)
        self.assertEqual(len(self.scopes.nodes["dead"]), 3)

    def test_started(self) -> None:
        """If a daemon acquires the lock meanwhile, no further nodes are removed."""
        self.scopes.hold("dead", "")
        real = self.scopes.list_nodes

        async def list_nodes(scope: str) -> Any:
            self.scopes.hold("dead", "s")
            return await real(scope)

        self.scopes.list_nodes = list_nodes  # type: ignore[method-assign]
        status, lines, message = self.purge()
        self.assertEqual((status, lines), (1, []))
        self.assertIn("was started", message)
        self.assertEqual(len(self.scopes.nodes["dead"]), 3)

    def test_unknown(self) -> None:
        """A scope without nodes and without a lock is reported."""
        status, _, message = self.purge("unknown")
        self.assertEqual(status, 1)
        self.assertIn("no nodes and no lock", message)
