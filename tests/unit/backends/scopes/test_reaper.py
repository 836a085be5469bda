"""Tests for :mod:`ssdpreg.backends.scopes.reaper` on a simulated clock."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.backends.scopes.reaper import REAPER_KEY, Reaper
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError, NotHolderError
from ssdpreg.interfaces import IScopeReaper
from tests.support.memory_lock import MemoryLock
from tests.support.memory_scopes import MemoryScopes


class SessionLock(MemoryLock):
    """
    Lock whose session can hold further keys.

    :ivar scope: Scope of the daemon.
    :ivar free: Whether the key of the reaper is free.
    :ivar attempts: Number of attempts to acquire it.
    """

    scope = "own"

    def __init__(self) -> None:
        super().__init__()
        self.free = True
        self.attempts = 0

    async def acquire_key(self, key: str) -> bool:
        assert key == REAPER_KEY
        self.attempts += 1
        return self.free

    def operation(self) -> dict[str, Any]:
        return self.operation_for("ssdpreg/scopes/own")

    def operation_for(self, key: str) -> dict[str, Any]:
        if not self.held:
            raise NotHolderError("not held")
        return {"KV": {"Verb": "check-session", "Key": key, "Session": "mine"}}


class ReaperTests(SynchronousTestCase):
    """Tests for :class:`Reaper`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.scopes = MemoryScopes()
        self.lock = SessionLock()
        self.suspended = 0.0
        self.reaper = Reaper(
            self.clock,
            self.scopes,
            cast("Any", self.lock),
            600.0,
            lambda: self.clock.seconds() + self.suspended,
            Random(1),
        )
        self.scopes.hold("own", "mine")
        self.scopes.hold("dead", "")
        self.scopes.hold("other", "theirs")
        self.scopes.nodes = {"own": ["o1"], "dead": ["d1", "d2"], "other": ["x1"]}

    def start(self) -> None:
        """Start the reaper, and give the lock of its scope to the daemon."""
        self.reaper.start()
        self.lock.acquire()
        self.advance(1)

    def advance(self, seconds: float) -> None:
        self.clock.pump([1.0] * round(seconds))

    def test_interface(self) -> None:
        """The reaper provides ``IScopeReaper``."""
        verifyObject(IScopeReaper, self.reaper)

    def test_mark_and_remove(self) -> None:
        """The nodes of a dead scope are marked after 60 s and removed after ``reap_after``, and then its lock."""
        self.start()
        with capturedLogs() as logs:
            self.advance(58)
            self.assertEqual((self.reaper.elected, self.reaper.scopes, self.reaper.dead_scopes), (True, 3, 0))
            self.assertEqual(self.scopes.marked, set())
            self.advance(12)
            self.assertEqual((self.scopes.marked, self.reaper.dead_scopes), ({"d1", "d2"}, 1))
            self.advance(520)
            self.assertEqual(self.scopes.nodes["dead"], ["d1", "d2"])
            self.advance(40)
        self.assertEqual(self.scopes.nodes, {"own": ["o1"], "dead": [], "other": ["x1"]})
        self.assertEqual(sorted(self.scopes.keys), ["other", "own"])
        self.assertEqual((self.reaper.marked, self.reaper.removed, self.reaper.kept), (2, 2, 0))
        lines = [formatEvent(event) or "" for event in logs]
        self.assertRegex(lines[0], r"^Marked 2 nodes of scope dead: no daemon has held its lock for 6\d s$")
        self.assertEqual(
            lines[1:],
            [
                "Removed 2 nodes of scope dead, and kept 0 that other programs use: no daemon has held its lock"
                " for 600 s, and its reap_after is 600 s",
                "Removed the lock of scope dead",
            ],
        )

    def test_reap_after_of_the_scope(self) -> None:
        """The value of the scope's own daemon counts, whether it is longer or shorter than that of the reaper."""
        self.scopes.hold("patient", "", reap_after=86400.0)
        self.scopes.hold("hasty", "", reap_after=120.0)
        self.scopes.nodes |= {"patient": ["p1"], "hasty": ["h1"]}
        self.start()
        self.advance(70)
        self.assertEqual(self.scopes.marked, {"d1", "d2", "p1", "h1"})
        self.assertEqual(
            self.scopes.outputs["p1"],
            "No daemon of scope 'patient' is running. The node is removed 86400 s after its end.",
        )
        self.advance(40)
        self.assertEqual(self.scopes.nodes["hasty"], ["h1"])
        self.advance(20)
        self.assertEqual(self.scopes.nodes["hasty"], [])
        self.advance(3000)
        self.assertEqual((self.scopes.nodes["dead"], self.scopes.nodes["patient"]), ([], ["p1"]))
        with capturedLogs() as logs:
            self.advance(86400 - 3131 + 20)
        self.assertEqual(self.scopes.nodes["patient"], [])
        self.assertRegex(
            formatEvent(logs[0]) or "",
            r"^Removed 1 nodes of scope patient, .* has held its lock for 864\d\d s, and its reap_after is 86400 s$",
        )

    def test_few_requests(self) -> None:
        """While no scope is dead, one listing is read in each round. A scope without nodes is examined once."""
        self.scopes.nodes["dead"] = []
        self.start()
        self.advance(1000)
        before = len(self.scopes.calls)
        self.advance(100)
        self.assertEqual(self.scopes.calls[before:], ["list_scopes"] * 10)
        self.assertEqual(self.scopes.calls.count("list_nodes"), 1)
        self.assertEqual((self.reaper.scopes, self.reaper.dead_scopes), (3, 0))
        self.assertIn("dead", self.scopes.keys)

    def test_not_elected(self) -> None:
        """A daemon that is not elected only tries to be, every 36 s to 54 s."""
        self.lock.free = False
        self.start()
        self.advance(450)
        self.assertIn(self.lock.attempts, range(8, 14))
        self.assertEqual((set(self.scopes.calls), self.reaper.scopes), ({"list_marks"}, 0))
        self.lock.free = True
        self.advance(60)
        self.assertTrue(self.reaper.elected)

    def test_not_holder(self) -> None:
        """A daemon that does not hold the lock of its scope does nothing."""
        self.reaper.start()
        self.advance(100)
        self.assertEqual((self.scopes.calls, self.lock.attempts), ([], 0))

    def test_lock_lost(self) -> None:
        """A daemon that loses the lock of its scope is not elected any more, and begins anew afterwards."""
        self.start()
        self.advance(58)
        self.lock.lose()
        self.assertFalse(self.reaper.elected)
        self.advance(20)
        self.lock.acquire()
        self.assertTrue(self.reaper.elected)
        self.advance(50)
        self.assertEqual(self.scopes.marked, set())
        self.advance(20)
        self.assertEqual(self.scopes.marked, {"d1", "d2"})

    def test_own_marks(self) -> None:
        """A daemon that returns removes the marks of its scope at once, and looks for them once."""
        self.scopes.marked = {"o1", "x1"}
        self.reaper.start()
        self.lock.acquire()
        self.assertEqual(self.scopes.marked, {"x1"})
        self.advance(60)
        self.assertEqual(self.scopes.calls.count("list_marks"), 1)

    def test_own_marks_after_an_error(self) -> None:
        """The removal of the marks is repeated until it succeeds."""
        self.scopes.marked = {"o1"}
        self.scopes.error = BackendUnavailableError("down")
        self.start()
        self.advance(30)
        self.assertEqual(self.scopes.marked, {"o1"})
        self.scopes.error = None
        self.advance(10)
        self.assertEqual(self.scopes.marked, set())
        self.assertEqual(self.reaper.failures, 4)

    def test_returns(self) -> None:
        """The nodes of a scope whose daemon returned stay, also if it returned after the listing."""
        self.start()
        self.advance(70)
        real = self.scopes.list_nodes
        self.advance(510)

        async def list_nodes(scope: str) -> Any:
            self.scopes.hold("dead", "theirs")
            return await real(scope)

        self.scopes.list_nodes = list_nodes  # type: ignore[method-assign]
        self.advance(300)
        self.assertEqual(self.scopes.nodes["dead"], ["d1", "d2"])
        self.assertTrue(self.reaper.elected)

    def test_outage(self) -> None:
        """After an outage of Consul of more than 30 s, the 60 s begin anew."""
        self.start()
        self.advance(50)
        self.scopes.error = BackendUnavailableError("down")
        self.advance(40)
        self.scopes.error = None
        self.advance(60)
        self.assertEqual(self.scopes.marked, set())
        self.advance(20)
        self.assertEqual(self.scopes.marked, {"d1", "d2"})

    def test_suspended(self) -> None:
        """A suspension of the host counts as an outage."""
        self.start()
        self.advance(50)
        self.suspended = 1000.0
        self.advance(55)
        self.assertEqual(self.scopes.marked, set())

    def test_other_reaper(self) -> None:
        """A reaper whose lock another session holds writes nothing, and is not elected any more."""
        self.start()
        self.advance(50)
        self.scopes.reaper = "theirs"
        self.lock.free = False
        self.advance(30)
        self.assertEqual((self.scopes.marked, self.reaper.elected), (set(), False))

    def test_key_deleted(self) -> None:
        """A reaper whose lock another daemon acquired notices it also if no scope is dead."""
        self.scopes.hold("dead", "theirs")
        self.start()
        self.assertTrue(self.reaper.elected)
        self.lock.free = False
        self.advance(60)
        self.assertFalse(self.reaper.elected)
        calls = len(self.scopes.calls)
        self.advance(30)
        self.assertEqual(self.scopes.calls[calls:], [])

    def test_refused(self) -> None:
        """A scope whose nodes the token may not write does not affect other scopes. It is logged once."""
        self.scopes.hold("denied", "")
        self.scopes.nodes["denied"] = ["n1"]
        real = self.scopes.mark

        async def mark(nodes: Any, *arguments: Any) -> Any:
            if nodes[0].name == "n1":
                raise BackendRefusedError(403, "Permission denied")
            return await real(nodes, *arguments)

        self.scopes.mark = mark  # type: ignore[assignment, method-assign]
        self.scopes.keys = dict(sorted(self.scopes.keys.items(), reverse=True))
        self.start()
        with capturedLogs() as logs:
            self.advance(100)
        self.assertEqual(self.scopes.marked, {"d1", "d2"})
        lines = [formatEvent(event) for event in logs]
        self.assertEqual(
            lines.count("Cannot mark or remove the nodes of scope denied: 403 Permission denied"), 1, lines
        )
        self.assertGreaterEqual(self.reaper.failures, 3)

    def test_used_nodes(self) -> None:
        """A node that other programs use stays, and is examined once. The lock stays with it."""
        self.scopes.used = {"d1"}
        self.start()
        self.advance(700)
        before = len(self.scopes.calls)
        self.advance(100)
        self.assertEqual(self.scopes.nodes["dead"], ["d1"])
        self.assertEqual(self.scopes.calls[before:], ["list_scopes"] * 10)
        self.assertEqual((self.reaper.removed, self.reaper.kept), (1, 1))
        self.assertIn("dead", self.scopes.keys)

    def test_many_nodes(self) -> None:
        """At most 300 nodes are marked or removed in a round."""
        self.scopes.nodes["dead"] = [f"d{number}" for number in range(700)]
        self.start()
        self.advance(71)
        self.assertLessEqual(len(self.scopes.marked), 600)
        self.assertGreaterEqual(len(self.scopes.marked), 300)
        self.advance(30)
        self.assertEqual(len(self.scopes.marked), 700)
        self.advance(580)
        self.assertEqual(self.scopes.nodes["dead"], [])

    def test_many_dead_scopes(self) -> None:
        """While most scopes are dead, they are marked, and not removed."""
        for number in range(10):
            self.scopes.hold(f"s{number}", "")
            self.scopes.nodes[f"s{number}"] = [f"n{number}"]
        self.start()
        self.advance(2000)
        self.assertEqual((len(self.scopes.marked), self.reaper.removed), (12, 0))

    def test_unexpected(self) -> None:
        """An unexpected exception does not end the rounds."""
        self.start()
        self.scopes.error = cast("Any", ZeroDivisionError())
        self.advance(20)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.scopes.error = None
        self.advance(100)
        self.assertEqual(self.scopes.marked, {"d1", "d2"})

    def test_stop(self) -> None:
        """A reaper that stopped leaves no delayed call, and closes its connections."""
        self.start()
        self.successResultOf(Deferred.fromCoroutine(self.reaper.stop()))
        self.assertEqual((self.clock.getDelayedCalls(), self.scopes.calls[-1]), ([], "close"))
