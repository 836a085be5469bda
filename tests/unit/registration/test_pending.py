"""Tests for :mod:`ssdpreg.registration.pending`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration.pending import PendingChanges, Urgency


class PendingChangesTests(SynchronousTestCase):
    """Tests for :class:`PendingChanges`."""

    def setUp(self) -> None:
        self.pending = PendingChanges()

    def add_new(self, *service_ids: str, host: str = "h", priority: int = 0) -> None:
        """Add new services of one host."""
        for service_id in service_ids:
            self.pending.add(service_id, host, Urgency.NEW, priority)

    def test_urgency(self) -> None:
        """Departures come before changes, and changes before new services, the ones of a high priority first."""
        self.add_new("new")
        self.add_new("confirmed", priority=2)
        self.add_new("direct", priority=1)
        self.pending.add("changed", "h", Urgency.CHANGE)
        self.pending.add("departed", "h", Urgency.DEPARTURE)
        self.assertEqual(len(self.pending), 5)
        self.assertEqual(self.pending.take(10), ["departed", "changed", "confirmed", "direct", "new"])
        self.assertEqual((len(self.pending), self.pending.take(10)), (0, []))

    def test_shares(self) -> None:
        """Of 8 services, 4 are departures, 2 changes and 2 new ones, however many of each kind wait."""
        for urgency in Urgency:
            for number in range(100):
                self.pending.add(f"{urgency.name}-{number}", "h", urgency)
        for _ in range(3):
            kinds = [service_id.partition("-")[0] for service_id in self.pending.take(8)]
            self.assertEqual(kinds, ["DEPARTURE"] * 4 + ["CHANGE"] * 2 + ["NEW"] * 2)

    def test_quarters(self) -> None:
        """The shares of changes and of new services are a quarter each, rounded down."""
        for count, shares in ((3, (3, 0, 0)), (4, (2, 1, 1)), (7, (5, 1, 1)), (12, (6, 3, 3)), (1000, (500, 250, 250))):
            self.pending.clear()
            for urgency in Urgency:
                for number in range(count):
                    self.pending.add(f"{urgency.name}-{number}", "h", urgency)
            taken = [service_id.partition("-")[0] for service_id in self.pending.take(count)]
            self.assertEqual(tuple(taken.count(urgency.name) for urgency in Urgency), shares)

    def test_unused_shares(self) -> None:
        """The unused part of the share of one kind is for the most urgent other ones."""
        for waiting, expected in (
            ((100, 100, 0), (6, 2, 0)),
            ((100, 0, 100), (6, 0, 2)),
            ((0, 100, 100), (0, 6, 2)),
            ((1, 1, 100), (1, 1, 6)),
            ((0, 3, 1), (0, 3, 1)),
            ((5, 3, 1), (5, 2, 1)),
        ):
            self.pending.clear()
            for urgency, count in zip(Urgency, waiting, strict=True):
                for number in range(count):
                    self.pending.add(f"{urgency.name}-{number}", "h", urgency)
            taken = [service_id.partition("-")[0] for service_id in self.pending.take(8)]
            self.assertEqual(tuple(taken.count(urgency.name) for urgency in Urgency), expected, waiting)
            self.assertEqual(len(self.pending), sum(waiting) - len(taken))

    def test_default_priority(self) -> None:
        """A service without a priority has the priority 0."""
        self.pending.add("first", "a", Urgency.NEW, 0)
        self.pending.add("latest", "b", Urgency.NEW)
        self.assertEqual(self.pending.take(2), ["latest", "first"])
        self.pending.add("first", "a", Urgency.NEW)
        self.pending.add("latest", "b", Urgency.NEW, 0)
        self.assertEqual(self.pending.take(2), ["latest", "first"])

    def test_count(self) -> None:
        """At most the given number of services is taken, and the others remain."""
        self.pending.add("departed", "h", Urgency.DEPARTURE)
        self.add_new("a", "b")
        self.assertEqual(self.pending.take(0), [])
        self.assertEqual(self.pending.take(2), ["departed", "b"])
        self.assertIn("a", self.pending)
        self.assertEqual(self.pending.take(2), ["a"])

    def test_count_of_several_priorities(self) -> None:
        """The services of a lower priority only fill up the number, however many hosts have one."""
        self.add_new("confirmed", priority=1)
        for number in range(10):
            self.add_new(f"{number}", host=f"h{number}")
        self.assertEqual(self.pending.take(4), ["confirmed", "9", "8", "7"])
        self.assertEqual(len(self.pending), 7)

    def test_new_host(self) -> None:
        """A service of a new host does not wait for many services of other hosts."""
        for number in range(1000):
            self.add_new(f"{number}", host=f"flood-{number % 10}")
        self.pending.take(8)
        self.add_new("honest", host="honest")
        self.assertEqual(self.pending.take(8)[0], "honest")

    def test_turns(self) -> None:
        """The hosts take turns, also over several calls: a host with many services does not delay another one."""
        for host in "abc":
            self.add_new(*(f"{host}{number}" for number in range(3)), host=host)
        taken = [service_id for _ in range(9) for service_id in self.pending.take(1)]
        self.assertEqual([service_id[0] for service_id in taken], list("cba" * 3))
        self.assertEqual(taken[0], "c2")

    def test_place_changes(self) -> None:
        """A service that is added again has only its latest place."""
        self.add_new("a", host="h")
        self.pending.add("a", "other", Urgency.DEPARTURE)
        self.assertEqual((len(self.pending), self.pending.take(10)), (1, ["a"]))

    def test_discard(self) -> None:
        """A discarded service is not taken. Nothing is kept for it."""
        self.add_new("a", "b")
        for service_id in ("a", "a", "unknown"):
            self.pending.discard(service_id)
        self.assertEqual(self.pending.take(10), ["b"])
        self.add_new("a")
        self.pending.discard("a")
        self.assertEqual(vars(self.pending), vars(PendingChanges()))
        self.add_new("a")
        self.pending.clear()
        self.assertEqual(vars(self.pending), vars(PendingChanges()))
