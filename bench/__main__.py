"""
Run the benchmarks, and write the results to ``bench/results/results.json``.

    make bench
    make bench ARGS="--only notify-96 --rounds 1"
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench import consul, datagrams, large, namespace, report
from bench.row import Row
from tests.support.paths import ROOT

RESULTS = ROOT / "bench" / "results" / "results.json"
ROWS: Sequence[Row] = (*datagrams.ROWS, *large.ROWS, *consul.ROWS)


def machine() -> dict[str, Any]:
    """Return the facts on which absolute figures depend."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": cpu.partition(": ")[2],
        "cores": len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1,
        "kernel": platform.release(),
        "Python": platform.python_version(),
        **{package: version(package) for package in ("Twisted", "treq", "async_upnp_client")},
    }


def run(row: Row, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure the contenders of a row in turns, and return the values of all rounds by contender and figure."""
    figures: dict[str, dict[str, list[float]]] = {contender: {} for contender in row.contenders}
    for number in range(rounds):
        for contender in row.contenders:
            measured = row.measure(contender)
            for name, value in measured.items():
                figures[contender].setdefault(name, []).append(value)
            values = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
            print(f"{row.name}, round {number + 1} of {rounds}, {contender}: {values}", flush=True)
    return figures


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the daemon beside other receivers.")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="row to measure")
    parser.add_argument("--rounds", type=int, default=5, help="number of measurements of each figure (5)")
    parser.add_argument("--dry-run", action="store_true", help="print the figures, and write no results")
    options = parser.parse_args(arguments)
    namespace.enter()
    namespace.prepare()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for row in ROWS:
        if options.only and row.name not in options.only:
            continue
        figures = run(row, options.rounds)
        results[row.name] = {"machine": machine(), "rounds": options.rounds, "figures": figures}
        for contender, each in figures.items():
            medians = ", ".join(f"{name} {median(values):.4g}" for name, values in each.items())
            print(f"{row.name}, median, {contender}: {medians}", flush=True)
        if not options.dry_run:
            # After each row, so that an interrupted run keeps what it has measured.
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            report.write(results)


if __name__ == "__main__":
    main(sys.argv[1:])
