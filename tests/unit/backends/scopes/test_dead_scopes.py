"""Tests for :mod:`ssdpreg.backends.scopes.dead_scopes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.scopes.dead_scopes import DeadScopes
from ssdpreg.backends.scopes.holder import Holder
from ssdpreg.backends.scopes.session import LockKey


def key(session: str = "", index: int = 1, reap_after: float | None = None) -> LockKey:
    """Return the key of a lock."""
    return LockKey(session, index, 1, Holder(reap_after=reap_after))


class DeadScopesTests(SynchronousTestCase):
    """Tests for :class:`DeadScopes`."""

    def setUp(self) -> None:
        self.dead = DeadScopes(reap_after=600)

    def test_mark(self) -> None:
        """A scope is to be marked 60 s after its lock was first seen without a holder."""
        keys = {"alive": key("s"), "dead": key()}
        self.dead.observe(keys, 1000)
        self.assertEqual((self.dead.scopes, self.dead.count(1059), list(self.dead.to_mark(1059))), (2, 0, []))
        self.dead.observe(keys, 1060)
        self.assertEqual((self.dead.count(1060), list(self.dead.to_mark(1060))), (1, ["dead"]))

    def test_remove(self) -> None:
        """A marked scope is to be removed after ``reap_after``, and only once."""
        keys = {"alive": key("s"), "dead": key()}
        self.dead.observe(keys, 0)
        self.dead.observe(keys, 600)
        self.assertEqual(list(self.dead.to_remove(600)), [])
        self.dead.to_mark(600)["dead"].marked = True
        self.assertEqual((list(self.dead.to_mark(600)), list(self.dead.to_remove(599))), ([], []))
        self.dead.to_remove(600)["dead"].removed = True
        self.assertEqual((list(self.dead.to_mark(700)), list(self.dead.to_remove(700))), ([], []))

    def test_own_reap_after(self) -> None:
        """The value in the key of a scope counts. Without one, it is that of the reaper."""
        self.dead.observe(
            {"alive": key("s"), "long": key(reap_after=86400), "short": key(reap_after=60), "a": key()}, 0
        )
        for each in self.dead.to_mark(60).values():
            each.marked = True
        for now, expected in ((59, []), (60, ["short"]), (600, ["short", "a"]), (86400, ["long", "short", "a"])):
            self.assertEqual(list(self.dead.to_remove(now)), expected, now)

    def test_changed_reap_after(self) -> None:
        """The value is that of the latest daemon of the scope."""
        self.dead.observe({"a": key(reap_after=60)}, 0)
        self.dead.observe({"a": key("s", index=2, reap_after=900)}, 10)
        self.dead.observe({"a": key(index=3, reap_after=900)}, 20)
        self.dead.to_mark(80)["a"].marked = True
        self.assertEqual((list(self.dead.to_remove(919)), list(self.dead.to_remove(920))), ([], ["a"]))

    def test_returns(self) -> None:
        """A scope whose lock was held between two observations begins anew."""
        self.dead.observe({"a": key(index=1)}, 0)
        self.dead.observe({"a": key(index=3)}, 50)
        self.assertEqual(list(self.dead.to_mark(109)), [])
        self.assertEqual(list(self.dead.to_mark(110)), ["a"])
        self.dead.observe({"a": key("s", index=4)}, 111)
        self.assertEqual(list(self.dead.to_mark(999)), [])

    def test_missing_key(self) -> None:
        """A scope that is missing in the listing is not dead: the token may have lost the right to read."""
        self.dead.observe({"a": key()}, 0)
        self.dead.observe({}, 50)
        self.assertEqual(list(self.dead.to_mark(999)), [])

    def test_restart(self) -> None:
        """After a fault of Consul, the time begins anew for all scopes."""
        self.dead.observe({"a": key()}, 0)
        self.dead.to_mark(60)["a"].marked = True
        self.dead.restart(500)
        self.assertEqual(list(self.dead.to_remove(1099)), [])
        self.assertEqual(list(self.dead.to_remove(1100)), ["a"])

    def test_most_are_dead(self) -> None:
        """If more than five and more than half of the scopes are dead, they are marked and not removed."""
        for alive, dead, expected in ((0, 5, 5), (0, 6, 0), (5, 6, 0), (6, 6, 6)):
            self.dead = DeadScopes(reap_after=600)
            keys = {f"alive-{number}": key("s") for number in range(alive)}
            keys.update({f"dead-{number}": key() for number in range(dead)})
            self.dead.observe(keys, 0)
            for each in self.dead.to_mark(60).values():
                each.marked = True
            self.assertEqual(len(self.dead.to_remove(600)), expected, (alive, dead))

    def test_empty_scopes(self) -> None:
        """Dead scopes without nodes do not count: they would prevent the removal of others for ever."""
        keys = {"alive": key("s"), **{f"dead-{number}": key() for number in range(10)}}
        self.dead.observe(keys, 0)
        for scope, each in self.dead.to_mark(60).items():
            each.marked, each.removed = True, scope != "dead-0"
        self.assertEqual((self.dead.count(600), list(self.dead.to_remove(600))), (1, ["dead-0"]))

    def test_forget(self) -> None:
        """A scope that is forgotten is dead again only after another observation."""
        self.dead.observe({"a": key()}, 0)
        self.dead.forget("a")
        self.dead.forget("unknown")
        self.assertEqual(list(self.dead.to_mark(60)), [])
        self.dead.observe({"a": key()}, 60)
        self.assertEqual(list(self.dead.to_mark(119)), [])

    def test_clear(self) -> None:
        """After ``clear`` there is no scope."""
        self.dead.observe({"a": key()}, 0)
        self.dead.clear()
        self.assertEqual((self.dead.scopes, self.dead.count(999)), (0, 0))
