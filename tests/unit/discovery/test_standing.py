"""Tests for :mod:`ssdpreg.discovery.standing`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.standing import Standing


class StandingTests(SynchronousTestCase):
    """Tests for :class:`Standing`."""

    def test_parse(self) -> None:
        """The configuration names each standing in lower case."""
        for text, standing in (
            ("indirect", Standing.INDIRECT),
            ("direct", Standing.DIRECT),
            ("confirmed", Standing.CONFIRMED),
        ):
            self.assertIs(Standing.parse(text), standing)
        self.assertRaises(KeyError, Standing.parse, "other")
