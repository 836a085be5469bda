"""Sorted set of keys that changes often and is read in parts. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

#: Number of keys in a block above which it is divided.
_LARGEST_BLOCK = 1000

K = TypeVar("K", bound="str | tuple[Any, ...]")


class SortedKeys(Generic[K]):
    """
    Sorted set. The keys are in blocks, so that adding one of 100,000 keys moves at most 1,000.

    An iteration may be suspended while keys are added and removed: it goes on after the last key that it returned.

    :param keys: Keys at the beginning.
    """

    def __init__(self, keys: Iterable[K] = ()) -> None:
        self._blocks: list[list[K]] = []
        # The last key of each block.
        self._last: list[K] = []
        self._count = 0
        for key in keys:
            self.add(key)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: K) -> bool:
        number = bisect_left(self._last, key)
        if number == len(self._blocks):
            return False
        block = self._blocks[number]
        return block[bisect_left(block, key)] == key

    def add(self, key: K) -> None:
        """Add a key, unless it is contained."""
        if not self._blocks:
            self._blocks, self._last, self._count = [[key]], [key], 1
            return
        number = min(bisect_left(self._last, key), len(self._blocks) - 1)
        block = self._blocks[number]
        place = bisect_left(block, key)
        if place < len(block) and block[place] == key:
            return
        block.insert(place, key)
        self._count += 1
        if len(block) > _LARGEST_BLOCK:
            half = len(block) // 2
            self._blocks[number : number + 1] = [block[:half], block[half:]]
            self._last[number : number + 1] = [block[half - 1], block[-1]]
        else:
            self._last[number] = block[-1]

    def discard(self, key: K) -> None:
        """Remove a key, if it is contained."""
        number = bisect_left(self._last, key)
        if number == len(self._blocks):
            return
        block = self._blocks[number]
        place = bisect_left(block, key)
        if block[place] != key:
            return
        del block[place]
        self._count -= 1
        if block:
            self._last[number] = block[-1]
        else:
            del self._blocks[number], self._last[number]

    def after(self, key: K | None, count: int) -> list[K]:
        """
        Return the first keys that are greater than a key.

        :param key: Need not be contained; None for the first keys of all.
        :param count: Number of keys, at most.
        """
        if key is None:
            number, place = 0, 0
        else:
            number = bisect_right(self._last, key)
            place = bisect_right(self._blocks[number], key) if number < len(self._blocks) else 0
        found: list[K] = []
        while number < len(self._blocks) and len(found) < count:
            found += self._blocks[number][place : place + count - len(found)]
            number, place = number + 1, 0
        return found

    def at(self, position: int, count: int) -> list[K]:
        """
        Return the keys at some positions.

        :param position: Position of the first key, from 0.
        :param count: Number of keys, at most.
        """
        for block in self._blocks:
            if position < len(block):
                # The key before the position is the end of the previous block, or part of this one.
                return [block[position], *self.after(block[position], count - 1)] if count else []
            position -= len(block)
        return []

    def first(self, prefix: tuple[Any, ...]) -> K | None:
        """Return the first key that begins with a prefix, or None."""
        # A key that begins with the prefix is the prefix itself, or greater.
        number = bisect_left(self._last, prefix)
        if number == len(self._blocks):
            return None
        block = self._blocks[number]
        key = block[bisect_left(block, prefix)]
        return key if key[: len(prefix)] == prefix else None

    def starting_with(self, prefix: tuple[Any, ...], size: int) -> Iterator[list[K]]:
        """
        Iterate over the keys that begin with a prefix, in parts.

        :param prefix: Beginning of a tuple; an empty tuple for all keys.
        :param size: Number of keys in a part.
        """
        width = len(prefix)
        last: Any = prefix if width else None
        while part := self.after(last, size):
            last = part[-1]
            if last[:width] != prefix:
                end = next(place for place, key in enumerate(part) if key[:width] != prefix)
                if end:
                    yield part[:end]
                return
            yield part


class GroupedKeys(Generic[K]):
    """
    Sorted sets of keys by group. The groups are sorted too.

    An iteration may be suspended while keys are added and removed.
    """

    def __init__(self) -> None:
        self._groups: dict[str, SortedKeys[K]] = {}
        self._names: SortedKeys[str] = SortedKeys()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, group: str) -> bool:
        return group in self._groups

    def add(self, group: str, key: K) -> None:
        """Add a key to a group that does not contain it."""
        keys = self._groups.get(group)
        if keys is None:
            keys = self._groups[group] = SortedKeys()
            self._names.add(group)
        keys.add(key)
        self._count += 1

    def discard(self, group: str, key: K) -> None:
        """Remove a key from a group that contains it."""
        keys = self._groups[group]
        keys.discard(key)
        self._count -= 1
        if not keys:
            del self._groups[group]
            self._names.discard(group)

    def of(self, group: str, size: int) -> Iterator[list[K]]:
        """
        Iterate over the keys of a group, in parts.

        :param size: Number of keys in a part.
        """
        keys = self._groups.get(group)
        return iter(()) if keys is None else keys.starting_with((), size)

    def parts(self, size: int) -> Iterator[list[K]]:
        """
        Iterate over the keys of all groups, in parts.

        :param size: Smallest number of keys in a part, except the last one. No part has twice as many.
        """
        part: list[K] = []
        last: str | None = None
        while names := self._names.after(last, size):
            last = names[-1]
            for name in names:
                for keys in self.of(name, size):
                    part += keys
                    if len(part) >= size:
                        yield part
                        part = []
        if part:
            yield part

    def at(self, position: int, count: int) -> list[K]:
        """
        Return the keys at some positions of all groups.

        :param position: Position of the first key, from 0.
        :param count: Number of keys, at most.
        """
        found: list[K] = []
        for name in self._names.after(None, len(self._names)):
            keys = self._groups[name]
            if position < len(keys) and len(found) < count:
                found += keys.at(position, count - len(found))
            elif found:
                break
            position = max(0, position - len(keys))
        return found
