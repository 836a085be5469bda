"""Tests for :mod:`ssdpreg.web.chart`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.web.chart import area, bars, outline, peak
from ssdpreg.web.history import Minute


class ChartTests(SynchronousTestCase):
    """Tests for the coordinates of the charts."""

    def test_outline(self) -> None:
        """Each minute is a step whose height is its part of the peak, and the present minute is at the right."""
        minutes = [Minute(1, services=4), Minute(2, services=1)]
        self.assertEqual(outline(minutes), "580,0.0 590,0.0 590,75.0 600,75.0")
        self.assertEqual(area(minutes), "580,100 580,0.0 590,0.0 590,75.0 600,75.0 600,100")

    def test_no_services(self) -> None:
        """Without services the line is at the bottom, and there are no bars."""
        minutes = [Minute(number) for number in range(60)]
        self.assertEqual({point.partition(",")[2] for point in outline(minutes).split()}, {"100.0"})
        self.assertEqual(peak(minutes), 1)
        self.assertEqual(bars(minutes), [])

    def test_bars(self) -> None:
        """Bars go up for services that appeared and down for those that left, by the square root of their number."""
        drawn = bars([Minute(1, alive=100), Minute(2, alive=1, byebye=3, expired=1)])
        self.assertEqual(
            drawn,
            [
                ("alive", 580.0, 0.0, 50.0),
                ("alive", 590.0, 45.0, 5.0),
                ("byebye", 590.0, 50.0, 7.5),
                ("expired", 590.0, 57.5, 2.5),
            ],
        )
