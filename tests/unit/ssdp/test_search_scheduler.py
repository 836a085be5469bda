"""Tests for :mod:`ssdpreg.ssdp.search_scheduler`."""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.messages import SearchRequest
from ssdpreg.ssdp.search_scheduler import SearchScheduler

A, B, C = (f"urn:example-com:service:{name}:1" for name in "abc")


class SearchSchedulerTests(SynchronousTestCase):
    """Tests for :class:`SearchScheduler`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(12345.6)
        self.sent: list[SearchRequest] = []
        self.times: list[float] = []
        self.started = self.clock.seconds()
        self.scheduler = SearchScheduler(self.clock, self.send, 3, Random(1))

    def send(self, search: SearchRequest) -> None:
        self.sent.append(search)
        self.times.append(self.clock.seconds() - self.started)

    def advance(self, seconds: float) -> None:
        """Advance the clock in steps of 10 ms."""
        self.clock.pump([0.01] * round(seconds * 100))

    def test_search(self) -> None:
        """Each target is searched once, with the configured MX."""
        self.scheduler.search([A, B])
        self.advance(1)
        self.assertEqual(self.sent, [SearchRequest(A, 3), SearchRequest(B, 3)])

    def test_search_spacing(self) -> None:
        """Datagrams are sent at irregular intervals of 50 to 150 ms."""
        intervals: list[float] = []
        for _ in range(50):
            self.times.clear()
            self.scheduler.search([f"urn:{number}" for number in range(10)])
            self.advance(3)
            intervals += [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        self.assertEqual(len(intervals), 50 * 9)
        # The clock of the test has steps of 10 ms.
        self.assertGreater(min(intervals), 0.04 - 1e-6)
        self.assertLess(min(intervals), 0.06 + 1e-6)
        self.assertGreater(max(intervals), 0.14 - 1e-6)
        self.assertLess(max(intervals), 0.16 + 1e-6)

    def test_search_delay(self) -> None:
        """The first datagram is sent after the delay."""
        self.scheduler.search([A], delay=0.5)
        self.advance(0.48)
        self.assertEqual(self.sent, [])
        self.advance(0.04)
        self.assertEqual(self.sent, [SearchRequest(A, 3)])

    def test_search_many_targets(self) -> None:
        """More than ten targets are one search for everything."""
        self.scheduler.search([f"urn:{number}" for number in range(11)])
        self.advance(3)
        self.assertEqual(self.sent, [SearchRequest("ssdp:all", 3)])

    def test_search_soon(self) -> None:
        """Requests within 0.2 s are sent together, one search per target, and later ones separately."""
        self.scheduler.search_soon(A, 10)
        self.advance(0.1)
        self.scheduler.search_soon(B, 10)
        self.scheduler.search_soon(A, 10)
        self.assertEqual(self.sent, [])
        self.advance(1)
        self.assertEqual(self.sent, [SearchRequest(A, 3), SearchRequest(B, 3)])
        self.assertAlmostEqual(self.times[0], 0.2, delta=0.011)
        self.assertGreater(self.times[1], 0.24)
        self.scheduler.search_soon(C, 10)
        self.advance(1)
        self.assertEqual(self.sent[2:], [SearchRequest(C, 3)])

    def test_search_soon_mx(self) -> None:
        """MX is half of the time for the reply, at least 1 and at most the configured value."""
        for within, mx in ((0.5, 1), (1, 1), (2, 1), (4, 2), (5.9, 2), (6, 3), (1000, 3)):
            self.sent.clear()
            self.scheduler.search_soon(A, within)
            self.advance(0.3)
            self.assertEqual(self.sent, [SearchRequest(A, mx)], within)

    def test_search_soon_shortest_mx(self) -> None:
        """Requests that are sent together have the MX of the most urgent one."""
        self.scheduler.search_soon(A, 2)
        self.scheduler.search_soon(A, 10)
        self.scheduler.search_soon(B, 10)
        self.advance(1)
        self.assertEqual(self.sent, [SearchRequest(A, 1), SearchRequest(B, 1)])

    def test_stop(self) -> None:
        """Searches that have not been sent are cancelled. New ones may be requested later."""
        self.scheduler.search([A], delay=0.1)
        self.scheduler.search_soon(B, 10)
        self.scheduler.stop()
        self.advance(1)
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))
        self.scheduler.search_soon(C, 10)
        self.advance(1)
        self.assertEqual(self.sent, [SearchRequest(C, 3)])
