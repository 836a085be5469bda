"""Tests for :mod:`ssdpreg.web.hints`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.hints import Hints
from ssdpreg.web.resources import Folder
from tests.support.memory_daemon import Reader


class HintsTests(SynchronousTestCase):
    """Tests for :class:`Hints`, through HTTP in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.state = 0
        self.looks = 0
        self.root = Folder()
        self.root.putChild(b"events", Hints(self.clock, self.look))

    def look(self) -> int:
        self.looks += 1
        return self.state

    def read(self) -> Reader:
        """Begin to listen."""
        reader = Reader(self.root, self.clock, "/events")
        self.addCleanup(reader.leave)
        return reader

    def test_hint(self) -> None:
        """A reader is told within a second that something has changed, and once for all that did."""
        reader = self.read()
        self.assertEqual((reader.status, reader.headers["Content-Type"]), (200, "text/event-stream"))
        self.clock.advance(0.9)
        self.state += 1
        self.state += 1
        self.clock.pump([0.1, 1, 1])
        self.assertEqual(reader.sent.count(b"data: changed\n\n"), 1)

    def test_silence(self) -> None:
        """While nothing changes no hint is given, but a sign of life that readers pass over."""
        reader = self.read()
        self.clock.pump([1] * 31)
        self.assertNotIn(b"data:", reader.sent)
        self.assertEqual(reader.sent.count(b":\n\n"), 2)

    def test_nobody_listens(self) -> None:
        """Without a reader nothing is done, and who comes back is told of what changes from then on."""
        first, second = self.read(), self.read()
        first.leave()
        self.clock.advance(1)
        second.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        looks = self.looks
        self.clock.advance(10)
        self.assertEqual(self.looks, looks)
        self.state += 1
        third = self.read()
        self.clock.advance(1)
        self.assertNotIn(b"data:", third.sent)
        self.state += 1
        self.clock.advance(1)
        self.assertIn(b"data:", third.sent)

    def test_error(self) -> None:
        """An error of ours is logged, and the next look is taken."""
        reader = self.read()
        healthy, self.look = self.look, None  # type: ignore[method-assign,assignment]
        self.root.children[b"events"]._state = lambda: 1 / 0
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.root.children[b"events"]._state = healthy
        self.state += 1
        self.clock.advance(1)
        self.assertIn(b"data:", reader.sent)

    def test_head(self) -> None:
        """HEAD is answered with the headers, and is over."""
        reader = Reader(self.root, self.clock, "/events", "HEAD")
        self.assertEqual((reader.status, reader.body), (200, b""))
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() < 10], [])
