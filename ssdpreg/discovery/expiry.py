"""Schedule of items by the time at which each is due. Pure: time is an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import count, islice
from typing import Generic, Protocol, TypeVar

#: Number of outdated entries, in excess of the current ones, at which the heap is rebuilt.
_SLACK = 1024
#: Seconds of a list of the schedule.
_MINUTE = 60.0


class Scheduled(Protocol):
    """
    An item of a schedule.

    :ivar scheduled_at: Time of its current entry, managed by the schedule; infinite while it has none.
    """

    scheduled_at: float


T = TypeVar("T", bound=Scheduled)


class Schedule(Generic[T]):
    """
    Items by the time at which each has to be examined.

    An item that is scheduled for an earlier time than its entry gets a second entry; the older one is outdated and is
    skipped. A later time needs no new entry: when the old entry is due, the owner schedules the item again. That is
    cheaper than an update at each renewal. Outdated entries are removed when they outnumber the current ones, so
    removed items are not kept.

    The entries of the present minute are in a priority queue. Those of each later minute are in a list without order,
    in which an entry has 8 bytes. It has 100 in the queue.
    """

    def __init__(self) -> None:
        # (time, serial number, item): the serial number decides between equal times.
        self._near: list[tuple[float, int, T]] = []
        self._near_until = -math.inf
        self._serial = count()
        # Lists by minute, and a priority queue of the minutes.
        self._far: dict[int, list[T]] = {}
        self._minutes: list[int] = []
        self._entries = self._current = 0

    def __len__(self) -> int:
        return self._entries

    @property
    def next_due(self) -> float:
        """
        Time at which :meth:`take_due` has to be called, infinite for an empty schedule.

        It is the earliest time at which an item is due, or the beginning of that minute.
        """
        if self._near:
            return self._near[0][0]
        return self._minutes[0] * _MINUTE if self._minutes else math.inf

    def schedule(self, item: T, when: float) -> None:
        """Schedule an item for a time, unless it is scheduled for an earlier time."""
        if when >= item.scheduled_at:
            return
        is_scheduled = item.scheduled_at < math.inf
        item.scheduled_at = when
        self._add(item)
        if is_scheduled:
            self._drop_outdated()
        else:
            self._current += 1

    def discard(self, item: T) -> None:
        """Remove an item."""
        if item.scheduled_at < math.inf:
            item.scheduled_at = math.inf
            self._current -= 1
            self._drop_outdated()

    def take_due(self, now: float) -> Iterator[T]:
        """Yield the items that are due, and remove each from the schedule."""
        while self.next_due <= now:
            if not self._near:
                self._load_minute()
                continue
            when, _, item = heapq.heappop(self._near)
            self._entries -= 1
            if item.scheduled_at == when:
                item.scheduled_at = math.inf
                self._current -= 1
                yield item

    def sample(self, size: int) -> list[T]:
        """Return items from all parts of the schedule: twice the given number at most, and all items of a short one."""
        step = max(1, self._entries // size)
        return [item for item in dict.fromkeys(islice(self._items(), 0, None, step)) if item.scheduled_at < math.inf]

    def _items(self) -> Iterator[T]:
        """Iterate over the items of all entries."""
        yield from (item for _, _, item in self._near)
        for items in self._far.values():
            yield from items

    def _add(self, item: T) -> None:
        """Add an entry for the time of an item."""
        when = item.scheduled_at
        self._entries += 1
        if when < self._near_until:
            heapq.heappush(self._near, (when, next(self._serial), item))
            return
        minute = int(when // _MINUTE)
        items = self._far.get(minute)
        if items is None:
            items = self._far[minute] = []
            heapq.heappush(self._minutes, minute)
        items.append(item)

    def _load_minute(self) -> None:
        """Put the items of the earliest minute into the empty queue."""
        minute = heapq.heappop(self._minutes)
        items = self._far.pop(minute)
        self._near_until = (minute + 1) * _MINUTE
        # The others were taken or discarded, and may have been scheduled again. One may have two entries.
        current = [item for item in dict.fromkeys(items) if item.scheduled_at < self._near_until]
        self._near = [(item.scheduled_at, next(self._serial), item) for item in current]
        heapq.heapify(self._near)
        self._entries += len(current) - len(items)

    def _drop_outdated(self) -> None:
        if self._entries <= 2 * self._current + _SLACK:
            return
        items = [item for item in dict.fromkeys(self._items()) if item.scheduled_at < math.inf]
        self._near, self._far, self._minutes, self._entries = [], {}, [], 0
        for item in items:
            self._add(item)
