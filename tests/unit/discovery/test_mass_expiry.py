"""Tests for the search before most services of a table expire at once, at its limits."""

from __future__ import annotations

from unittest.mock import patch

from ssdpreg.discovery.events import Left, SearchNeeded
from ssdpreg.discovery.holds import Holds
from tests.support.table_case import TableTestCase, advertisement


class MassExpiryTests(TableTestCase):
    """Tests for the limits of :meth:`AdvertisementTable.expire` with many services."""

    def receive_services(self, count: int) -> None:
        """Receive services that expire 2 s later."""
        for number in range(count):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number), max_age=1))

    def expire(self) -> tuple[int, int]:
        """Expire the services that are due, and return the numbers of searches without hosts and of departures."""
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

    def test_sample(self) -> None:
        """If more services are due than one call examines, the number of those that expire is estimated."""
        for expiring, expected in ((2700, 0), (3300, 1)):
            self.setUp()
            for number in range(6000):
                max_age = 1 if number % 20 < expiring // 300 else 1000
                self.receive(advertisement(f"10.0.1.{number % 250}", device_id=str(number), max_age=max_age))
            self.now += 2
            self.assertEqual(self.expire()[0], expected)

    def test_one_moment(self) -> None:
        """A search is sent before 2,500 services expire at the same moment, although one call does not examine all."""
        self.receive_services(2500)
        self.searching = False
        self.wait(1.9)
        self.now = self.start + 2
        self.assertEqual(self.expire(), (1, 0))

    def test_number_of_examined_services(self) -> None:
        """One call does not examine all services, however many there are and are due."""
        self.receive_services(6000)
        for number in range(8000):
            self.receive(advertisement(f"10.0.2.{number % 250}", device_id=f"s{number}"))
        self.now += 2
        with patch.object(Holds, "until", autospec=True, side_effect=Holds.until) as until:
            self.assertEqual(self.expire(), (0, 1000))
        self.assertLess(until.call_count, 4200)
