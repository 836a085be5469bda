"""Tests for :mod:`ssdpreg.discovery.events`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from tests.support.table_case import URN, TableTestCase, advertisement


class SearchNeededTests(TableTestCase):
    """Tests for :class:`SearchNeeded`, as the table returns it."""

    def test_caused_by_a_datagram(self) -> None:
        """A search that a datagram caused is not scheduled, so that its rate is limited."""
        self.receive(advertisement())
        self.now += 1
        byebye = self.table.bye("D", URN, "10.0.0.66", self.now)
        one = advertisement()
        self.assertEqual(
            byebye, [SearchNeeded(one, 3, ("10.0.0.5",), scheduled=False, urgency=SearchUrgency.UNFOUNDED)]
        )
        self.now += 20
        byebye = self.table.bye("D", URN, "10.0.0.5", self.now)
        self.assertEqual(byebye, [SearchNeeded(one, 2, ("10.0.0.5",), scheduled=False, urgency=SearchUrgency.BYEBYE)])

    def test_caused_by_the_schedule(self) -> None:
        """A search before the expiry of a service is scheduled."""
        one = advertisement(max_age=100)
        self.receive(one)
        self.now += 80
        self.assertEqual(self.table.expire(self.now), [SearchNeeded(one, 30, ("10.0.0.5",), scheduled=True)])


class SearchUrgencyTests(SynchronousTestCase):
    """Tests for :class:`SearchUrgency`."""

    def test_order(self) -> None:
        """The search after a byebye of the holder is the most urgent one, and that after an unfounded one the least."""
        self.assertEqual([each.name for each in sorted(SearchUrgency)], ["BYEBYE", "CLAIM", "NEW", "UNFOUNDED"])
