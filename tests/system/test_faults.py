"""Short form of the fault matrix: some faults for a few seconds, on the real daemon and a real Consul."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.__main__ import run_all
from tests.faults.row import Row, to_markdown
from tests.faults.soak import regression_slope
from tests.support import hosts
from tests.support.consul import skip_without_consul

#: One row for each kind of fault. All of them are in `make faults`.
_ROWS = (
    "deep-listing",
    "reset",
    "retry-after-huge",
    "404",
    "500-unknown-check",
    "endless-header",
    "token-extended",
    "daemon-killed",
)
#: Seconds of each fault.
_SECONDS = 6.0


class FaultTests(SynchronousTestCase):
    """Tests with the real daemon."""

    skip = hosts.unavailable() or skip_without_consul
    timeout = 300

    def test_bounds_hold(self) -> None:
        """During and after each fault, the bounds of the documentation hold."""
        rows = run_all(_ROWS, _SECONDS, jobs=4, folder=Path(self.mktemp()), report=lambda line: None)
        self.assertEqual({row.name: row.broken() for row in rows if row.broken()}, {}, to_markdown(rows))


class RowTests(SynchronousTestCase):
    """Tests for the verdict about a row."""

    def good(self) -> Row:
        return Row("reset", "each connection is reset", lowest=20, equal_after=44.9, requests=119, memory=199, lines=59)

    def test_bounds(self) -> None:
        """A row within all bounds holds. Each value beyond its bound is named."""
        self.assertEqual(self.good().broken(), [])
        for name, value, text in (
            ("lowest", 19, "1 false removals"),
            ("equal_after", None, "Consul did not become equal"),
            ("equal_after", 45.1, "equal after 45.1 s"),
            ("requests", 120.0, "120 requests a minute"),
            ("memory", 200.0, "200 MB"),
            ("slowest", 5.0, "/healthz took 5.0 s"),
            ("lines", 60.0, "60 lines a minute"),
            ("tracebacks", 1, "1 tracebacks"),
            ("exits", 1, "the daemon exited 1 times"),
            ("faults", ["another"], "another"),
        ):
            row = self.good()
            setattr(row, name, value)
            self.assertEqual(row.broken(), [text])

    def test_keep_alives(self) -> None:
        """The daemon's own check may be critical only while the fault stops the keep-alives."""
        row = self.good()
        row.critical = 3.0
        self.assertEqual(row.broken(), [])
        row.keeps_alive = True
        self.assertEqual(row.broken(), ["own check critical for 3.0 s"])

    def test_table(self) -> None:
        """The table has a line for each row, with its verdict."""
        row = self.good()
        row.tracebacks = 2
        heading, _, line = to_markdown([row]).splitlines()
        self.assertEqual(heading.count("|"), line.count("|"))
        self.assertIn("| `reset`: each connection is reset | 44.9 |", line)
        self.assertTrue(line.endswith("| 2 tracebacks |"), line)

    def test_slope(self) -> None:
        """The slope of a soak's measurements is that of the regression line."""
        self.assertEqual(regression_slope([0, 1, 2, 3], [1, 3, 5, 7]), 2)
        self.assertEqual(regression_slope([0, 1, 2], [5, 5, 5]), 0)
        self.assertEqual(regression_slope([1], [5]), 0)
