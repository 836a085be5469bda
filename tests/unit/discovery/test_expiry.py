"""Tests for :mod:`ssdpreg.discovery.expiry`."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.expiry import Schedule


class Item:
    """Item of a schedule, with a name for assertions."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.scheduled_at = math.inf

    def __repr__(self) -> str:
        return self.name


class ScheduleTests(SynchronousTestCase):
    """Tests for :class:`Schedule`."""

    def setUp(self) -> None:
        self.schedule: Schedule[Item] = Schedule()
        self.first, self.second, self.third = Item("first"), Item("second"), Item("third")

    def take(self, now: float) -> list[Item]:
        """Return the items that are due."""
        return list(self.schedule.take_due(now))

    def test_empty(self) -> None:
        """An empty schedule has no next time and no due item."""
        self.assertEqual((self.schedule.next_due, len(self.schedule), self.take(1e9)), (math.inf, 0, []))

    def test_order(self) -> None:
        """Due items are taken in the order of their times, and items with the same time in the order of scheduling."""
        self.schedule.schedule(self.third, 20.0)
        self.schedule.schedule(self.first, 10.0)
        self.schedule.schedule(self.second, 10.0)
        self.assertEqual((self.take(0.0), self.schedule.next_due), ([], 10.0))
        self.assertEqual(self.take(20.0), [self.first, self.second, self.third])

    def test_only_due_items(self) -> None:
        """An item is due at its time and not before, and is taken once."""
        self.schedule.schedule(self.first, 10.0)
        self.schedule.schedule(self.second, 10.5)
        self.assertEqual(self.take(9.9), [])
        self.assertEqual(self.take(10.0), [self.first])
        self.assertEqual(self.take(10.0), [])
        self.assertEqual(self.schedule.next_due, 10.5)

    def test_later_minute(self) -> None:
        """The items of a later minute are sorted when it begins. Those of one time are taken in their order."""
        for item, when in ((self.third, 130.0), (self.first, 125.0), (self.second, 125.0)):
            self.schedule.schedule(item, when)
        self.assertEqual((self.schedule.next_due, self.take(119.0)), (120.0, []))
        self.assertEqual((self.take(120.0), self.schedule.next_due, len(self.schedule)), ([], 125.0, 3))
        self.assertEqual((self.take(130.0), len(self.schedule)), ([self.first, self.second, self.third], 0))

    def test_two_entries_in_a_later_minute(self) -> None:
        """An item that was taken and is scheduled for the minute of an outdated entry is taken once."""
        self.schedule.schedule(self.first, 130.0)
        self.schedule.schedule(self.first, 10.0)
        self.assertEqual(self.take(10.0), [self.first])
        self.schedule.schedule(self.first, 140.0)
        self.assertEqual((len(self.schedule), self.take(130.0), len(self.schedule)), (2, [], 1))
        self.assertEqual((self.take(140.0), self.take(200.0)), ([self.first], []))

    def test_earlier_time(self) -> None:
        """An item that is rescheduled for an earlier time is taken at that time, and not again at the old one."""
        self.schedule.schedule(self.first, 10.0)
        self.schedule.schedule(self.first, 5.0)
        self.assertEqual((self.take(0.0), self.schedule.next_due), ([], 5.0))
        self.assertEqual(self.take(5.0), [self.first])
        self.assertEqual(self.take(10.0), [])

    def test_later_time(self) -> None:
        """An item that is rescheduled for a later time keeps its time, without a second entry."""
        self.schedule.schedule(self.first, 5.0)
        self.schedule.schedule(self.first, 10.0)
        self.assertEqual((self.take(0.0), self.schedule.next_due, len(self.schedule)), ([], 5.0, 1))
        self.assertEqual(self.take(5.0), [self.first])
        self.assertEqual(self.take(10.0), [])

    def test_scheduled_again(self) -> None:
        """An item that was taken can be scheduled again while the iteration goes on."""
        self.schedule.schedule(self.first, 5.0)
        taken = []
        for item in self.schedule.take_due(7.0):
            taken.append(item)
            self.schedule.schedule(item, 6.0 if len(taken) == 1 else 8.0)
        self.assertEqual((taken, self.schedule.next_due), ([self.first, self.first], 8.0))

    def test_discard(self) -> None:
        """A discarded item is not taken, and can be scheduled again."""
        self.schedule.schedule(self.first, 5.0)
        self.schedule.schedule(self.second, 6.0)
        self.schedule.discard(self.first)
        self.assertEqual(self.take(10.0), [self.second])
        self.schedule.schedule(self.first, 11.0)
        self.assertEqual(self.take(11.0), [self.first])

    def test_discard_of_an_item_without_an_entry(self) -> None:
        """An item that is not scheduled can be discarded without effect on the other items."""
        self.schedule.schedule(self.first, 5.0)
        self.schedule.discard(self.second)
        self.assertEqual(self.take(5.0), [self.first])

    def test_sample(self) -> None:
        """A sample has items at equal distances, and all items if they are few. It has no removed ones."""
        items = [Item(str(number)) for number in range(10)]
        for number, item in enumerate(items):
            self.schedule.schedule(item, 30.0 * number)
        for size, step in ((20, 1), (10, 1), (6, 1), (5, 2), (4, 2), (3, 3), (1, 10)):
            self.assertEqual(self.schedule.sample(size), items[::step])
        self.schedule.discard(items[4])
        self.assertEqual(self.schedule.sample(5), [items[number] for number in (0, 2, 6, 8)])
        self.assertEqual(self.take(0.0), items[:1])
        self.assertEqual(self.schedule.sample(9), [*items[1:4], *items[5:]])

    def test_length_is_bounded_after_removals(self) -> None:
        """Removed items do not stay in the schedule: 100,000 items that come and go leave few entries."""
        self.schedule.schedule(self.first, 1e6)
        longest = 0
        for number in range(100_000):
            item = Item()
            self.schedule.schedule(item, float(number))
            self.schedule.discard(item)
            longest = max(longest, len(self.schedule))
        self.assertLessEqual(longest, 2 * 2 + 1024)
        self.assertEqual(self.take(1e6), [self.first])

    def test_length_is_bounded_after_a_mass_removal(self) -> None:
        """After 100,000 items were added and then discarded, the schedule is shorter than 2 * current + 1024."""
        kept, removed = [Item() for _ in range(100)], [Item() for _ in range(100_000)]
        for number, item in enumerate([*removed, *kept]):
            self.schedule.schedule(item, float(number))
        for item in removed:
            self.schedule.discard(item)
        self.assertLessEqual(len(self.schedule), 2 * len(kept) + 1024)
        self.assertEqual(self.take(1e9), kept)

    def test_length_is_bounded_after_rescheduling(self) -> None:
        """An item that is rescheduled for ever earlier times does not fill the schedule with outdated entries."""
        for number in range(100_000, 0, -1):
            self.schedule.schedule(self.first, float(number))
        self.assertLessEqual(len(self.schedule), 2 * 1 + 1024)
        self.assertEqual(self.take(1.0), [self.first])

    def test_length_is_bounded_after_items_were_taken(self) -> None:
        """Items that were taken do not count as current, so they do not raise the limit of the length."""
        for number in range(10_000):
            self.schedule.schedule(Item(), float(number))
        self.assertEqual(len(self.take(1e6)), 10_000)
        for number in range(10_000, 0, -1):
            self.schedule.schedule(self.first, float(number))
        self.assertLessEqual(len(self.schedule), 2 * 1 + 1024)

    def test_length_at_which_outdated_entries_are_removed(self) -> None:
        """Outdated entries are removed when there are 1024 more entries than twice the scheduled items."""
        items = [Item() for _ in range(1010)]
        for number, item in enumerate(items):
            self.schedule.schedule(item, 1e6 + number)
        for item in items[-5:]:
            self.schedule.discard(item)
        # One that is not scheduled has no effect, nor has one that is scheduled for the same time again.
        self.schedule.discard(items[-1])
        self.schedule.schedule(items[500], 1e6 + 500)
        self.assertEqual((self.take(1e6 + 4), len(self.schedule)), (items[:5], 1005))
        lengths = []
        for number in range(5000):
            self.schedule.schedule(items[500], 1e6 - number)
            lengths.append(len(self.schedule))
        self.assertEqual((max(lengths), min(lengths[2500:])), (2 * 1000 + 1024, 1000))

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.sampled_from(["schedule", "discard", "take"]), st.integers(0, 3), st.integers(0, 20))))
    def test_agrees_with_a_mapping(self, steps: list[tuple[str, int, int]]) -> None:
        """A schedule returns the items that a mapping of items to their earliest times returns."""
        schedule: Schedule[Item] = Schedule()
        items = [Item(str(number)) for number in range(4)]
        expected: dict[Item, float] = {}
        for step, number, quarter in steps:
            # Some are due in the same minute, and others are not.
            item, time = items[number], quarter * 15.0
            if step == "schedule":
                schedule.schedule(item, time)
                expected[item] = min(expected.get(item, math.inf), time)
            elif step == "discard":
                schedule.discard(item)
                expected.pop(item, None)
            else:
                due = {each for each, when in expected.items() if when <= time}
                self.assertEqual(set(schedule.take_due(time)), due)
                expected = {each: when for each, when in expected.items() if each not in due}
            self.assertLessEqual(schedule.next_due, min(expected.values(), default=math.inf))
