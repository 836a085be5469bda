"""Rows of the fault matrix: what was measured during a fault, and the bounds that must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Seconds after the end of a fault in which Consul must be equal to the live devices.
EQUAL_WITHIN = 45.0
#: Seconds that are waited for it at most.
EQUAL_TIMEOUT = 90.0
#: Highest resident memory of the daemon, in MB.
MAX_MEMORY = 200
#: Lines of the log in one minute of a fault, without one line for each change of a registration.
MAX_LINES = 60
#: Seconds in which the daemon responds to a request for ``/healthz``. A busy machine may need some of them.
MAX_RESPONSE = 5.0
#: Requests of the daemon to Consul in a minute, at the end of a fault.
MAX_REQUESTS = 120


@dataclass
class Row:
    """
    Measurements of one fault, and whether the bounds hold.

    :ivar name: Name of the fault.
    :ivar text: Description of the fault.
    :ivar equal_within: Bound of ``equal_after``.
    :ivar lowest: Lowest number of the devices in Consul that were not touched during the fault, of ``untouched``. None
        if Consul itself lost them.
    :ivar equal_after: Seconds from the end of the fault until Consul was equal to the live devices. None if it was not.
    :ivar requests: Requests to Consul a minute at the end of the fault, or None if they were not counted.
    :ivar memory: Peak of the resident memory in MB.
    :ivar slowest: Longest duration of a request to ``/healthz`` of the daemon in seconds. None if it was not measured.
    :ivar lines: Lines of the log in a minute, without those of changes.
    :ivar max_lines: Bound of ``lines``, or None where there is none.
    :ivar changes: Lines of the log about changes of registrations.
    :ivar tracebacks: Tracebacks in the log.
    :ivar exits: Number of unexpected ends of the daemon.
    :ivar critical: Seconds in which the daemon's own check was not passing. None if it was not measured.
    :ivar keeps_alive: Whether the fault lets keep-alives pass, so that ``critical`` must be 0.
    :ivar details: Further measurements, in words.
    :ivar faults: Further bounds that do not hold, in words.
    """

    name: str
    text: str
    equal_within: float = EQUAL_WITHIN
    lowest: int | None = None
    untouched: int = 20
    equal_after: float | None = None
    requests: float | None = None
    memory: float = 0.0
    slowest: float | None = None
    lines: float = 0.0
    max_lines: float | None = MAX_LINES
    changes: int = 0
    tracebacks: int = 0
    exits: int = 0
    critical: float | None = None
    keeps_alive: bool = False
    details: str = ""
    faults: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """Return the bounds that do not hold, in words."""
        bounds = [
            (self.exits == 0, f"the daemon exited {self.exits} times"),
            (self.tracebacks == 0, f"{self.tracebacks} tracebacks"),
            (self.lowest in (None, self.untouched), f"{self.untouched - (self.lowest or 0)} false removals"),
            (self.equal_after is not None, "Consul did not become equal"),
            ((self.equal_after or 0) <= self.equal_within, f"equal after {self.equal_after} s"),
            (self.memory < MAX_MEMORY, f"{self.memory:.0f} MB"),
            ((self.slowest or 0) < MAX_RESPONSE, f"/healthz took {self.slowest or 0:.1f} s"),
            (self.max_lines is None or self.lines < self.max_lines, f"{self.lines:.0f} lines a minute"),
            ((self.requests or 0) < MAX_REQUESTS, f"{self.requests or 0:.0f} requests a minute"),
            (not (self.keeps_alive and self.critical), f"own check critical for {self.critical} s"),
        ]
        return [text for holds, text in bounds if not holds] + self.faults


_HEADINGS = (
    "fault",
    "equal after, s",
    "bound, s",
    "lowest of untouched",
    "own check critical, s",
    "requests/min",
    "peak MB",
    "slowest `/healthz`, s",
    "log lines/min",
    "tracebacks",
    "exits",
    "further measurements",
    "verdict",
)


def to_markdown(rows: Sequence[Row]) -> str:
    """Return a table with one line for each row."""
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"`{row.name}`: {row.text}",
        "never" if row.equal_after is None else f"{row.equal_after:.1f}",
        f"{row.equal_within:.0f}",
        "-" if row.lowest is None else f"{row.lowest} of {row.untouched}",
        "-" if row.critical is None else f"{row.critical:.0f}",
        "-" if row.requests is None else f"{row.requests:.0f}",
        f"{row.memory:.0f}",
        "-" if row.slowest is None else f"{row.slowest:.1f}",
        f"{row.lines:.0f}",
        str(row.tracebacks),
        str(row.exits),
        row.details,
        "; ".join(row.broken()) or "holds",
    )
