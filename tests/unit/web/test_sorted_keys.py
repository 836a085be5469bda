"""Tests for :mod:`ssdpreg.web.sorted_keys`."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.sorted_keys import GroupedKeys, SortedKeys

Key = tuple[str, ...]


def all_of(keys: SortedKeys[Key]) -> list[Key]:
    """Return all keys."""
    return [key for part in keys.starting_with((), 7) for key in part]


class SortedKeysTests(SynchronousTestCase):
    """Tests for :class:`SortedKeys`, in comparison with a set that is sorted at each step."""

    def test_random_changes(self) -> None:
        """After any changes, the keys are those of a set, sorted."""
        random = Random(1)
        keys: SortedKeys[Key] = SortedKeys()
        expected: set[Key] = set()
        key: Key
        for step in range(20_000):
            key = (random.choice("abc"), f"{random.randrange(4000):04}")
            # First it grows, then it shrinks.
            if random.random() < (0.8 if step < 10_000 else 0.3):
                keys.add(key)
                expected.add(key)
            else:
                keys.discard(key)
                expected.discard(key)
            self.assertEqual(key in keys, key in expected)
            if step % 1000 == 0:
                ordered = sorted(expected)
                self.assertEqual(len(keys), len(ordered))
                self.assertEqual(all_of(keys), ordered)
                for position in (0, 1, len(ordered) // 2, len(ordered) - 1, len(ordered)):
                    self.assertEqual(keys.at(position, 5), ordered[position : position + 5])
                self.assertEqual(keys.after(("b",), 10), [other for other in ordered if other > ("b",)][:10])
        for key in list(expected):
            keys.discard(key)
        self.assertEqual((len(keys), all_of(keys), keys.at(0, 1), keys.after(None, 1)), (0, [], [], []))

    def test_prefix(self) -> None:
        """The keys with a prefix are found in parts, and no others."""
        keys: SortedKeys[Key] = SortedKeys([("a", "1"), ("b", "1"), ("b", "2"), ("b", "3"), ("bb", "1"), ("c", "1")])
        self.assertEqual(list(keys.starting_with(("b",), 2)), [[("b", "1"), ("b", "2")], [("b", "3")]])
        self.assertEqual(list(keys.starting_with(("aa",), 2)), [])
        self.assertEqual(list(keys.starting_with(("d",), 2)), [])

    def test_changes_during_an_iteration(self) -> None:
        """An iteration goes on after its last key when keys are added and removed meanwhile."""
        keys: SortedKeys[Key] = SortedKeys([(letter,) for letter in "abcdef"])
        parts = keys.starting_with((), 2)
        self.assertEqual(next(parts), [("a",), ("b",)])
        for letter in "abc":
            keys.discard((letter,))
        keys.add(("aa",))
        keys.add(("dd",))
        self.assertEqual([key for part in parts for (key,) in part], ["d", "dd", "e", "f"])

    def test_first(self) -> None:
        """The first key with a prefix is found, or None."""
        keys: SortedKeys[Key] = SortedKeys((f"{number:04}", letter) for number in range(0, 3000, 2) for letter in "ab")
        for number in (0, 2, 1000, 2998):
            self.assertEqual(keys.first((f"{number:04}",)), (f"{number:04}", "a"))
            self.assertEqual(keys.first((f"{number:04}", "b")), (f"{number:04}", "b"))
        for prefix in (("0001",), ("0002", "c"), ("2999",), ("3000",), ("",)):
            self.assertIsNone(keys.first(prefix))
        self.assertIsNone(SortedKeys[Key]().first(("a",)))


class GroupedKeysTests(SynchronousTestCase):
    """Tests for :class:`GroupedKeys`."""

    def setUp(self) -> None:
        self.keys: GroupedKeys[Key] = GroupedKeys()
        for group, number in (("b", 1), ("a", 2), ("c", 1), ("a", 1), ("b", 3), ("b", 2)):
            self.keys.add(group, (group, str(number)))
        self.all = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("b", "3"), ("c", "1")]

    def test_group(self) -> None:
        """The keys of one group are returned in parts."""
        self.assertEqual(list(self.keys.of("b", 2)), [self.all[2:4], self.all[4:5]])
        self.assertEqual(list(self.keys.of("x", 2)), [])

    def test_parts(self) -> None:
        """All keys are returned in their order, in parts that may contain several groups."""
        for size in range(1, 8):
            parts = list(self.keys.parts(size))
            self.assertEqual([key for part in parts for key in part], self.all)
            self.assertTrue(all(size <= len(part) < 2 * size for part in parts[:-1]))
        self.assertEqual(len(list(self.keys.parts(6))), 1)

    def test_positions(self) -> None:
        """The keys at all positions are found, across the ends of groups."""
        for position in range(8):
            for count in range(8):
                self.assertEqual(self.keys.at(position, count), self.all[position : position + count])

    def test_removal(self) -> None:
        """A group without keys is removed."""
        for key in self.all[2:5]:
            self.keys.discard("b", key)
        self.assertEqual((len(self.keys), "b" in self.keys, "a" in self.keys), (3, False, True))
        self.assertEqual(list(self.keys.parts(10)), [[*self.all[:2], *self.all[5:]]])

    def test_suspended_iteration(self) -> None:
        """An iteration goes on after its last key when groups are added and removed meanwhile."""
        parts = self.keys.parts(2)
        self.assertEqual(next(parts), self.all[:2])
        for key in self.all[2:5]:
            self.keys.discard("b", key)
        self.keys.add("bb", ("bb", "1"))
        self.assertIn(("c", "1"), [key for part in parts for key in part])
