"""Tests for :mod:`ssdpreg.discovery.doubts`."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.doubts import Doubt


class DoubtTests(SynchronousTestCase):
    """Tests for :class:`Doubt`. The host of the current claim was received last at second 900."""

    def setUp(self) -> None:
        self.doubt = Doubt()

    def test_no_doubt(self) -> None:
        """Without the message of another host there is nothing to do."""
        self.assertEqual((self.doubt.since, self.doubt.due), (math.inf, math.inf))

    def test_check(self) -> None:
        """The host is searched for 3 s after the message of another host, and the check ends 3 s later."""
        self.doubt.begin(1000, 1000)
        self.assertEqual(self.doubt.due, 1003)
        self.assertTrue(self.doubt.examine(900, 1003))
        self.assertEqual(self.doubt.due, 1006)
        self.assertFalse(self.doubt.examine(900, 1006))
        self.doubt.end(1006)
        self.assertEqual((self.doubt.since, self.doubt.due), (math.inf, math.inf))

    def test_host_that_is_there(self) -> None:
        """A host that was received since then is not searched for. A message at the same moment is no proof."""
        for received_at, expected in ((1001, False), (1000, True)):
            doubt = Doubt()
            doubt.begin(1000, 1000)
            self.assertIs(doubt.examine(received_at, 1003), expected)

    def test_second_message(self) -> None:
        """Another message of the other host changes nothing."""
        self.doubt.begin(1000, 1000)
        self.doubt.begin(1002, 1002)
        self.assertEqual((self.doubt.since, self.doubt.due), (1000, 1003))

    def test_pause(self) -> None:
        """Two checks of a host are 20 s apart, and each of them is a search."""
        self.doubt.begin(1000, 1000)
        self.doubt.examine(900, 1003)
        self.doubt.end(1006)
        self.doubt.begin(1007, 1007)
        self.assertEqual(self.doubt.due, 1026)
        self.assertTrue(self.doubt.examine(900, 1026))

    def test_message_after_the_pause(self) -> None:
        """After the pause, a check begins 3 s after the message again."""
        self.doubt.begin(1000, 1000)
        self.doubt.end(1006)
        self.doubt.begin(1024, 1024)
        self.assertEqual(self.doubt.due, 1027)

    def test_end_without_a_doubt(self) -> None:
        """A move and a contest without a doubt before it do not delay the next check."""
        self.doubt.end(1000)
        self.doubt.begin(1001, 1001)
        self.assertEqual(self.doubt.due, 1004)
