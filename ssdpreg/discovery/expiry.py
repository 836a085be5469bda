"""Schedule of items by the time at which each is due. Pure: time is an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Generic, TypeVar

#: Number of outdated entries, in excess of the current ones, at which the heap is rebuilt.
_SLACK = 1024


class Scheduled:
    """
    An item of a schedule.

    :ivar scheduled_at: Time of its current entry, managed by the schedule; infinite while it has none.
    """

    __slots__ = ("scheduled_at",)

    def __init__(self) -> None:
        self.scheduled_at = math.inf

    def __lt__(self, other: object) -> bool:
        # Items that are due at the same time have no order. A serial number in each entry would take 40 bytes.
        return False


T = TypeVar("T", bound=Scheduled)


class Schedule(Generic[T]):
    """
    Priority queue of items by the time at which each has to be examined.

    An item that is scheduled for an earlier time than its entry gets a second entry; the older one is outdated and is
    skipped. A later time needs no new entry: when the old entry is due, the owner schedules the item again. That is
    cheaper than an update of the heap at each renewal. The heap is rebuilt when outdated entries outnumber the current
    ones, so removed items are not kept.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, T]] = []
        self._current = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_due(self) -> float:
        """Earliest time at which an item is due, infinite for an empty schedule."""
        return self._heap[0][0] if self._heap else math.inf

    def schedule(self, item: T, when: float) -> None:
        """Schedule an item for a time, unless it is scheduled for an earlier time."""
        if when >= item.scheduled_at:
            return
        if item.scheduled_at == math.inf:
            self._current += 1
        item.scheduled_at = when
        heapq.heappush(self._heap, (when, item))
        self._drop_outdated()

    def discard(self, item: T) -> None:
        """Remove an item."""
        if item.scheduled_at < math.inf:
            item.scheduled_at = math.inf
            self._current -= 1
            self._drop_outdated()

    def take_due(self, now: float) -> Iterator[T]:
        """Yield the items that are due, and remove each from the schedule."""
        while self._heap and self._heap[0][0] <= now:
            when, item = heapq.heappop(self._heap)
            if item.scheduled_at == when:
                item.scheduled_at = math.inf
                self._current -= 1
                yield item

    def sample(self, size: int) -> list[T]:
        """Return items from all parts of the schedule: twice the given number at most, and all items of a short one."""
        step = max(1, len(self._heap) // size)
        return [item for when, item in self._heap[::step] if item.scheduled_at == when]

    def _drop_outdated(self) -> None:
        if len(self._heap) > 2 * self._current + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1].scheduled_at == entry[0]]
            heapq.heapify(self._heap)
