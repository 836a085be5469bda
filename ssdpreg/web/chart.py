"""Coordinates of the two charts of the last hour. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ssdpreg.web.history import Minute

#: Size of the drawing in its own units. The width stands for an hour; the browser scales it to the screen.
WIDTH = 600
HEIGHT = 100
_STEP = WIDTH / 60

#: Number of events in a minute for which a bar has its full height, unless a minute has more.
_LEAST_PEAK = 9


def outline(minutes: Sequence[Minute]) -> str:
    """
    Return the number of live services over time, as the points of a polyline with steps.

    :param minutes: Up to 60, the present minute at the end.
    """
    top = peak(minutes)
    points = []
    for left, minute in _positions(minutes):
        y = HEIGHT - HEIGHT * minute.services / top
        points += [f"{left:g},{y:.1f}", f"{left + _STEP:g},{y:.1f}"]
    return " ".join(points)


def area(minutes: Sequence[Minute]) -> str:
    """Return the area below :func:`outline`, as the points of a polygon."""
    left = WIDTH - _STEP * len(minutes)
    return f"{left:g},{HEIGHT} {outline(minutes)} {WIDTH},{HEIGHT}"


def peak(minutes: Sequence[Minute]) -> int:
    """Return the largest number of live services, at least 1."""
    return max(1, *(minute.services for minute in minutes))


def bars(minutes: Sequence[Minute]) -> list[tuple[str, float, float, float]]:
    """
    Return a bar for each kind of event in each minute: services that appeared above the middle, those that left below.

    :return: Kind, left edge, top and height of each bar. The width of a bar is a sixtieth of the drawing.
    """
    most = max(_LEAST_PEAK, *(max(minute.alive, minute.byebye + minute.expired) for minute in minutes))
    middle = HEIGHT / 2
    drawn = []
    for left, minute in _positions(minutes):
        # The height grows with the square root: one event stays visible beside a thousand.
        alive = middle * math.sqrt(minute.alive / most)
        gone = middle * math.sqrt((minute.byebye + minute.expired) / most)
        byebye = gone * minute.byebye / max(1, minute.byebye + minute.expired)
        expired = gone - byebye
        drawn += [
            ("alive", left, middle - alive, alive),
            ("byebye", left, middle, byebye),
            ("expired", left, middle + byebye, expired),
        ]
    return [bar for bar in drawn if bar[3]]


def _positions(minutes: Sequence[Minute]) -> list[tuple[float, Minute]]:
    first = 60 - len(minutes)
    return [((first + position) * _STEP, minute) for position, minute in enumerate(minutes)]
