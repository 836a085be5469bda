"""Pauses between the attempts of the daemon while Consul rejects every request."""

from __future__ import annotations

from itertools import pairwise

#: Seconds between two keep-alives, which are no attempts, and seconds in which the requests of one attempt are sent.
_KEEP_ALIVE = 10.0
_ATTEMPT = 0.5
#: Pauses without jitter, in seconds, that are long enough to be told from others by chance, and their tolerance.
_NOMINAL = (4.0, 8.0, 16.0, 30.0)
_TOLERANCE = 0.1
#: Number of pauses from which more than half must not be nominal.
_ENOUGH = 8


class Pauses:
    """
    Pauses between attempts. They have jitter, so that the daemons of a site do not repeat requests at the same moment.

    :ivar recording: Whether attempts are recorded now.
    """

    def __init__(self) -> None:
        self.recording = False
        self._times: list[float] = []
        self._origin = 0.0
        self._nominal = self._all = 0

    def begin(self, origin: float) -> None:
        """
        Begin to record.

        :param origin: Time of the daemon's start, to which the times of keep-alives are relative.
        """
        self.recording, self._origin = True, origin
        self._times.clear()

    def add(self, now: float) -> None:
        """Process a request."""
        if (now - self._origin + 1e-6) % _KEEP_ALIVE > _ATTEMPT:
            self._times.append(now)

    def end(self) -> str:
        """End the record. Return a text if the pauses have no jitter, otherwise an empty one."""
        self.recording = False
        pauses = [later - earlier for earlier, later in pairwise(self._times) if later - earlier > _NOMINAL[0] / 2]
        self._all += len(pauses)
        self._nominal += sum(any(abs(pause - each) < _TOLERANCE for each in _NOMINAL) for pause in pauses)
        if self._all >= _ENOUGH and self._nominal > self._all / 2:
            return f"{self._nominal} of {self._all} are {', '.join(f'{each:g}' for each in _NOMINAL)} s long"
        return ""
