"""Pauses of Python's garbage collector when the number of long-lived objects grows."""

from __future__ import annotations

import gc

#: Growth after which the objects are frozen, as a share and as a number of items.
_GROWTH = 0.2
_MOST_GROWTH = 5000
#: Number of items below which the pauses are too short to matter.
_SMALLEST = 1000


class LongLivedObjects:
    """
    A collection of objects that is kept, such as the registrations of 100,000 services.

    Python examines all objects for unreachable cycles each time their number has grown by a quarter, and lets no other
    code run meanwhile: 0.4 s for the objects of 100,000 services. Frozen objects are not examined. They are released by
    their reference counts as usual, and only cycles that are unreachable at that moment are kept. Since the
    collection grows between two calls of :func:`gc.freeze`, there are few of them.
    """

    def __init__(self) -> None:
        self._count = 0
        self._frozen_at = _SMALLEST

    def grow(self, count: int) -> None:
        """
        Freeze the objects if there are many more of them than the last time.

        :param count: Number of items in the collection. A smaller number than the last time means a new collection.
        """
        if count < self._count:
            self._frozen_at = _SMALLEST
        self._count = count
        if count - self._frozen_at >= min(self._frozen_at * _GROWTH, _MOST_GROWTH):
            self._frozen_at = count
            gc.freeze()
