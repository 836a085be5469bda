"""The last hour as a picture. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ssdpreg.web.history import Minute

#: Units of the drawing: its width is an hour, whatever the screen makes of it.
WIDTH = 600
HEIGHT = 100
_STEP = WIDTH / 60

#: Events of a minute that are few: a bar of full height is for more.
_LEAST_PEAK = 9


def outline(minutes: Sequence[Minute]) -> str:
    """
    Draw how many services there were, as the points of a polyline in steps.

    :param minutes: Up to 60, the present one at the end.
    """
    top = peak(minutes)
    points = []
    for left, minute in _placed(minutes):
        y = HEIGHT - HEIGHT * minute.services / top
        points += [f"{left:g},{y:.1f}", f"{left + _STEP:g},{y:.1f}"]
    return " ".join(points)


def area(minutes: Sequence[Minute]) -> str:
    """Draw what is below the outline, as the points of a polygon."""
    left = WIDTH - _STEP * len(minutes)
    return f"{left:g},{HEIGHT} {outline(minutes)} {WIDTH},{HEIGHT}"


def peak(minutes: Sequence[Minute]) -> int:
    """Tell the most services that there were, at least 1."""
    return max(1, *(minute.services for minute in minutes))


def bars(minutes: Sequence[Minute]) -> list[tuple[str, float, float, float]]:
    """
    Draw what happened, as bars around the middle: up for what came, down for what went.

    :return: Kind, left edge, top and height of each. The width is a sixtieth of all.
    """
    most = max(_LEAST_PEAK, *(max(minute.alive, minute.byebye + minute.expired) for minute in minutes))
    middle = HEIGHT / 2
    drawn = []
    for left, minute in _placed(minutes):
        # By its root, a single event is still to be seen beside a thousand.
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


def _placed(minutes: Sequence[Minute]) -> list[tuple[float, Minute]]:
    first = 60 - len(minutes)
    return [((first + position) * _STEP, minute) for position, minute in enumerate(minutes)]
