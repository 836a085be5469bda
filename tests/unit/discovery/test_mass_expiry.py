"""Tests for the search before most services of a table expire at once, at its limits."""

from __future__ import annotations

from ssdpreg.discovery.events import Left, SearchNeeded
from tests.unit.discovery.table_case import TableTestCase, advertisement


class MassExpiryTests(TableTestCase):
    """Tests for the limits of :meth:`AdvertisementTable.expire` with many services."""

    def receive_services(self, count: int) -> None:
        """Receive services that expire 2 s later."""
        for number in range(count):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number), max_age=1))

    def expire(self) -> tuple[int, int]:
        """Expire what is due, and return the numbers of searches without hosts and of departures."""
        events = self.table.expire(self.now)
        searches = [event for event in events if isinstance(event, SearchNeeded) and not event.hosts]
        return len(searches), sum(isinstance(event, Left) for event in events)

    def test_smallest_number(self) -> None:
        """A search is sent before six of six services expire, and not before five of five do."""
        for count, expected in ((5, (0, 5)), (6, (1, 0))):
            self.setUp()
            self.receive_services(count)
            self.now += 2
            self.assertEqual(self.expire(), expected)

    def test_pause(self) -> None:
        """The next such search is sent 60 s after the one before, and not earlier."""
        for passed, expected in ((59.9, (0, 6)), (60, (1, 0))):
            self.setUp()
            self.receive_services(6)
            self.now += 2
            began = self.now
            self.assertEqual(self.expire(), (1, 0))
            self.now = began + passed - 2
            self.receive_services(6)
            self.now = began + passed
            self.assertEqual(self.expire(), expected)

    def test_end_of_a_hold(self) -> None:
        """A search is sent before services expire whose expiry was held until this moment."""
        self.receive_services(6)
        self.table.hold(self.now + 10)
        self.now += 2
        self.assertEqual(self.expire(), (0, 0))
        self.now += 8
        self.assertEqual(self.expire(), (1, 0))
