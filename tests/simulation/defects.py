"""``python -m tests.simulation.defects``: put defects into the daemon's code, and show which seed notices each."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.simulation.defect_list import DEFECTS as EARLIER_DEFECTS
from tests.simulation.defect_list import Defect
from tests.simulation.further_defects import FURTHER_DEFECTS
from tests.support.paths import ROOT

#: Seconds after which a run with a defect counts as a violation: an honest one takes a tenth.
_TIMEOUT = 600.0
#: All defects.
DEFECTS = (*EARLIER_DEFECTS, *FURTHER_DEFECTS)


class EditError(Exception):
    """A defect does not fit the code."""


@dataclass(frozen=True)
class Catch:
    """
    Result of the runs with one defect.

    :ivar defect: The defect.
    :ivar seed: First seed that noticed it, or None.
    :ivar violation: Violation that it reported, empty without one.
    :ivar seconds: Duration of all runs.
    """

    defect: Defect
    seed: int | None
    violation: str
    seconds: float

    def __str__(self) -> str:
        seed = "not noticed" if self.seed is None else f"seed {self.seed}"
        return f"{self.defect.name:<32} {seed:<11} {self.seconds:4.0f} s  {self.violation}".rstrip()


def main(arguments: Sequence[str]) -> int:
    """Run the command. Return its exit status: 1 if a defect was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.defects", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="simulated hours of each run (2)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (1)")
    parser.add_argument("--runs", type=int, default=20, help="number of seeds that are tried for each defect (20)")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes (1)")
    parser.add_argument("--options", default="", help="further options of the simulation, such as '--devices 60'")
    parser.add_argument("--list", action="store_true", help="only list the defects")
    parser.add_argument("names", nargs="*", metavar="DEFECT", help="defects to put into the code (all)")
    options = parser.parse_args(arguments)
    names = {defect.name: defect for defect in DEFECTS}
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    chosen = [names[name] for name in options.names] or list(DEFECTS)
    if options.list:
        for defect in chosen:
            sys.stdout.write(f"{defect.name:<32} {defect.what}\n")
        return 0
    seeds = range(options.seed, options.seed + options.runs)
    missed = 0
    with ThreadPoolExecutor(options.jobs) as threads:
        for catch in threads.map(
            partial(try_seeds, seeds=seeds, hours=options.hours, options=options.options.split()), chosen
        ):
            sys.stdout.write(f"{catch}\n")
            sys.stdout.flush()
            missed += catch.seed is None
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} defects were noticed\n")
    return int(missed > 0)


def edit(defect: Defect) -> dict[str, str]:
    """
    Return the changed files of a defect: the text of each by its path in the package ``ssdpreg``.

    :raise EditError: If a text is not found exactly once, or the result is no Python.
    """
    texts: dict[str, str] = {}
    for each in defect.edits:
        text = texts.get(each.file) or (ROOT / "ssdpreg" / each.file).read_text()
        if text.count(each.old) != 1:
            raise EditError(f"{defect.name}: {each.file} has {text.count(each.old)} times: {each.old}")
        texts[each.file] = text.replace(each.old, each.new)
    try:
        for file, text in texts.items():
            compile(text, file, "exec")
    except SyntaxError as error:
        raise EditError(f"{defect.name}: {error}") from error
    return texts


def apply(defect: Defect, root: Path) -> None:
    """
    Put a defect into a copy of the code.

    :param root: Directory with a copy of the package ``ssdpreg``.
    :raise EditError: See :func:`edit`.
    """
    for file, text in edit(defect).items():
        (root / "ssdpreg" / file).write_text(text)


def copy_code(root: Path) -> None:
    """Copy the package ``ssdpreg``, and provide the tests beside it."""
    shutil.copytree(ROOT / "ssdpreg", root / "ssdpreg", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").symlink_to(ROOT / "tests")


def try_seeds(defect: Defect, seeds: Iterable[int], hours: float, options: Sequence[str] = ()) -> Catch:
    """
    Run the simulation with a defect until a seed notices it.

    :param options: Further options of the simulation.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy_code(root)
        apply(defect, root)
        for seed in seeds:
            violation = _run(root, seed, hours, ["--mode", defect.mode, *options])
            if violation:
                return Catch(defect, seed, violation, time.monotonic() - started)
    return Catch(defect, None, "", time.monotonic() - started)


def _run(root: Path, seed: int, hours: float, options: Sequence[str]) -> str:
    """Run one simulation of the code in a directory. Return the violation, or an empty text."""
    command = [sys.executable, "-m", "tests.simulation", "--hours", f"{hours:g}", "--seed", str(seed), *options]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    try:
        finished = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the run does not end within {_TIMEOUT:.0f} s"
    if finished.returncode == 0:
        return ""
    found = next((line for line in finished.stdout.splitlines() if line.startswith("VIOLATION")), "")
    if not found:
        raise RuntimeError(f"the simulation failed without a violation: {finished.stdout}{finished.stderr}")
    return found.partition(": ")[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
