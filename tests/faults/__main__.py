"""
Run the rows of the fault matrix and print the table. Each row runs in a separate process and network.

The exit status is 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.faults.row import Row, to_markdown
from tests.faults.rows import LONG, ROWS, SHORT, run_row
from tests.support import hosts
from tests.support.consul import skip_without_consul
from tests.support.paths import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :return: The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="run this row; may be repeated")
    parser.add_argument("--short", action="store_true", help=f"faults of {SHORT:.0f} s in place of {LONG:.0f} s")
    parser.add_argument("--jobs", type=int, default=4, help="rows that run at the same time (default: 4)")
    parser.add_argument("--folder", type=Path, default=ROOT / "faults", help="folder for the results")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--seconds", type=float, help="duration of the faults")
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.list:
        for name, row in ROWS.items():
            sys.stdout.write(f"{name}: {row.row.text}\n")
        return 0
    if unknown := [name for name in options.only or () if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    if reason := hosts.unavailable() or skip_without_consul:
        parser.error(reason)
    seconds = options.seconds or (SHORT if options.short else LONG)
    if options.result is not None:
        (name,) = options.only
        options.result.write_text(json.dumps(asdict(run_row(name, seconds))))
        return 0
    rows = run_all(options.only or list(ROWS), seconds, options.jobs, options.folder, _print)
    _print(to_markdown(rows))
    return int(any(row.broken() for row in rows))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_all(names: Sequence[str], seconds: float, jobs: int, folder: Path, report: Callable[[str], None]) -> list[Row]:
    """
    Run rows, and write the results to ``faults.json`` and ``faults.md``.

    :param names: Names of the rows.
    :param seconds: Duration of the faults.
    :param jobs: Number of rows that run at the same time. Rows that need the whole machine run afterwards, one by one.
    :param folder: Folder for the results and for the output of each row.
    :param report: Called with a line for each row when it ends.
    """
    # The processes of the rows run in another folder.
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    heavy = [name for name in names if ROWS[name].heavy]
    rows: dict[str, Row] = {}
    for group, workers in (([name for name in names if name not in heavy], jobs), (heavy, 1)):
        with ThreadPoolExecutor(max(workers, 1)) as executor:
            for row in executor.map(lambda name: _run_in_process(name, seconds, folder), group):
                rows[row.name] = row
                report(f"{time.strftime('%H:%M:%S')} {row.name}: {'; '.join(row.broken()) or 'holds'}")
    ordered = [rows[name] for name in names]
    (folder / "faults.json").write_text(json.dumps([asdict(row) for row in ordered], indent=1) + "\n")
    (folder / "faults.md").write_text(to_markdown(ordered))
    return ordered


def _run_in_process(name: str, seconds: float, folder: Path) -> Row:
    result, log = folder / f"{name}.json", folder / f"{name}.log"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.faults", "--only", name, "--seconds", str(seconds), "--result", str(result)]
    with log.open("wb") as output:
        status = subprocess.run(command, cwd=ROOT, env=os.environ, stdout=output, stderr=subprocess.STDOUT).returncode
    if status != 0 or not result.exists():
        reason = log.read_text(errors="replace").strip().rpartition("\n")[2]
        return Row(name, ROWS[name].row.text, faults=[f"not measured, see {log}: {reason}"])
    return Row(**json.loads(result.read_text()))


if __name__ == "__main__":
    sys.exit(main())
