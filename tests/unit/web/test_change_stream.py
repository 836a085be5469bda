"""Tests for :mod:`ssdpreg.web.change_stream`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.change_stream import ChangeStream
from ssdpreg.web.connections import Connections
from ssdpreg.web.resources import Folder
from tests.support.memory_daemon import Exchange


class ChangeStreamTests(SynchronousTestCase):
    """Tests for :class:`ChangeStream`, through HTTP in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.state = 0
        self.comparisons = 0
        self.error: Exception | None = None
        self.connections = Connections(16)
        self.root = Folder()
        self.root.putChild(b"events", ChangeStream(self.clock, self.get_state, self.connections))

    def get_state(self) -> int:
        self.comparisons += 1
        if self.error is not None:
            raise self.error
        return self.state

    def open(self) -> Exchange:
        """Connect a client."""
        client = Exchange(self.root, self.clock, "/events")
        self.addCleanup(client.disconnect)
        return client

    def test_change(self) -> None:
        """A client receives one event within a second for all changes in that second."""
        client = self.open()
        self.assertEqual((client.status, client.headers["Content-Type"]), (200, "text/event-stream"))
        self.clock.advance(0.9)
        self.state += 1
        self.state += 1
        self.clock.pump([0.1, 1, 1])
        self.assertEqual(client.received.count(b"data: changed\n\n"), 1)

    def test_no_change(self) -> None:
        """While nothing changes, a client receives a comment every 15 seconds and no event."""
        client = self.open()
        self.clock.pump([1] * 31)
        self.assertNotIn(b"data:", client.received)
        self.assertEqual(client.received.count(b":\n\n"), 2)

    def test_no_client(self) -> None:
        """The state is not computed without a client, and a new client receives only changes after it connected."""
        first, second = self.open(), self.open()
        first.disconnect()
        self.clock.advance(1)
        second.disconnect()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        comparisons = self.comparisons
        self.clock.advance(10)
        self.assertEqual(self.comparisons, comparisons)
        self.state += 1
        third = self.open()
        self.clock.advance(1)
        self.assertNotIn(b"data:", third.received)
        self.state += 1
        self.clock.advance(1)
        self.assertIn(b"data:", third.received)

    def test_error(self) -> None:
        """An exception is logged, and the state is compared again a second later."""
        client = self.open()
        self.error = ZeroDivisionError()
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.error = None
        self.state += 1
        self.clock.advance(1)
        self.assertIn(b"data:", client.received)

    def test_head(self) -> None:
        """The response to HEAD has headers only, and is complete."""
        client = Exchange(self.root, self.clock, "/events", "HEAD")
        self.assertEqual((client.status, client.body), (200, b""))
        self.clock.advance(0)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() < 10], [])

    def test_limit(self) -> None:
        """Beyond the limit of one client, the response is 503, until one of its streams ends."""
        first, *_ = [self.open() for _ in range(2)]
        refused = self.open()
        self.assertEqual((refused.status, refused.body), (503, b"Too many open requests of this kind, try again later"))
        self.assertEqual(self.connections.refused_requests, {"events": 1})
        first.disconnect()
        self.assertEqual(self.open().status, 200)
