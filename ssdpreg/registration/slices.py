"""Size of the slices in which changes are applied. Pure: durations are arguments, in seconds."""

from __future__ import annotations

#: Changes in the first slice, and in the smallest one: as many as the backend for a Consul agent sends at a time. Fewer
#: would not be applied earlier.
_SMALLEST = 16
#: Changes in the largest slice.
_LARGEST = 1000
#: Seconds that a slice should take. A change that is more urgent than all others waits for at most one slice.
_DURATION = 1.0


class SliceSize:
    """
    Number of changes that the backend probably applies within a second.

    A Consul agent becomes slower with the number of its services, so the number follows from the previous slice.

    :ivar count: The number.
    """

    def __init__(self) -> None:
        self.count = _SMALLEST

    def adapt(self, applied: int, seconds: float) -> None:
        """
        Adapt the number after a slice. It at most doubles.

        :param applied: Number of changes in the slice.
        :param seconds: Duration of the slice.
        """
        if not applied:
            return
        fitting = int(applied * _DURATION / seconds) if seconds > 0 else _LARGEST
        self.count = max(_SMALLEST, min(fitting, 2 * self.count, _LARGEST))
