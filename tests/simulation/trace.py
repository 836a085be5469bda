"""Record of what happened in a simulation, and the violations of its invariants."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from itertools import count

#: Events that are kept for the report of a violation: of the world, and of each subject.
_KEPT = 50
#: Lines that are added to the digest at a time. Adding each by itself takes longer.
_LINES = 1000


class ViolationError(AssertionError):
    """
    An invariant does not hold.

    :ivar invariant: Name of the invariant.
    :ivar subject: Device that it concerns, or empty.
    """

    def __init__(self, invariant: str, text: str, subject: str = "") -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant, self.subject = invariant, subject


class Trace:
    """
    Record of events: the latest ones of each subject, their number by kind, and a digest of all.

    Two runs with the same seed have the same digest.

    :param seconds: Returns the simulated time.
    :ivar counts: Number of events by kind.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._digest = hashlib.blake2b(digest_size=16)
        # Lines that are not yet in the digest.
        self._lines: list[str] = []
        self._serial = count()
        # Events are formatted when they are reported: nearly all never are.
        self._events: dict[str, deque[tuple[float, int, str, str]]] = {}
        self.counts: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """Digest of all events so far."""
        self._update_digest()
        return self._digest.hexdigest()

    def _update_digest(self) -> None:
        self._digest.update("".join(self._lines).encode())
        self._lines.clear()

    def add(self, subject: str, kind: str, text: str = "") -> None:
        """
        Record an event.

        :param subject: Device or attack that it concerns; empty for the world.
        :param kind: One of a few constant phrases.
        """
        now = self._seconds()
        self.counts[kind] += 1
        self._lines.append(f"{now!r} {subject} {kind} {text}\n")
        if len(self._lines) >= _LINES:
            self._update_digest()
        events = self._events.get(subject)
        if events is None:
            events = self._events[subject] = deque(maxlen=_KEPT)
        events.append((now, next(self._serial), kind, text))

    def last_events(self, subject: str = "") -> list[str]:
        """Return the latest events of the world and of a subject, oldest first."""
        chosen = [(*event, name) for name in {"": None, subject: None} for event in self._events.get(name, ())]
        return [
            f"{format_time(time)} {name or 'world'}: {kind} {text}".rstrip()
            for time, _, kind, text, name in sorted(chosen)[-_KEPT:]
        ]


def format_time(seconds: float) -> str:
    """Format simulated seconds, as in ``03:25:07.250``."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:06.3f}"
