"""``python -m tests.simulation``: run simulations, and report the first violation of an invariant."""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

from twisted.logger import globalLogBeginner

from tests.simulation.catalog_world import CatalogWorld
from tests.simulation.further_attacks import ATTACKS
from tests.simulation.settings import Settings
from tests.simulation.trace import ViolationError
from tests.simulation.world import World

WORLDS: dict[str, type[World]] = {"agent": World, "catalog": CatalogWorld}
#: Objects that are added before the next garbage collection: at most some megabytes.
_GARBAGE = 20_000
#: Whether an invariant was violated, and the lines of the report.
Result = tuple[bool, list[str]]


def main(arguments: Sequence[str]) -> int:
    """Run the command. Return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours of each run")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run")
    parser.add_argument("--runs", type=int, default=1, help="number of runs, with successive seeds")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes that make the runs")
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--loss", type=float, default=0.01, help="probability that a datagram is lost")
    parser.add_argument("--no-faults", action="store_true", help="no faults of Consul, the network and the daemon")
    parser.add_argument("--no-attacks", action="store_true")
    parser.add_argument(
        "--attack", choices=[kind.name for kind in ATTACKS], default="", help="the only kind of attack (all)"
    )
    parser.add_argument("--measure", action="store_true", help="only count devices that are removed because of losses")
    parser.add_argument("--churn", type=float, default=14400.0, help="mean seconds between two changes of a device")
    parser.add_argument("--mode", choices=("agent", "catalog"), default="agent", help="mode of the backend (agent)")
    parser.add_argument("--keep-going", action="store_true", help="run the other seeds after a violation, too")
    options = parser.parse_args(arguments)
    settings = [
        Settings(
            seed=seed,
            hours=options.hours,
            devices=options.devices,
            loss=options.loss,
            churn=options.churn,
            faults=not options.no_faults,
            attacks=not options.no_attacks,
            attack=options.attack,
            measure=options.measure,
            mode=options.mode,
        )
        for seed in range(options.seed, options.seed + options.runs)
    ]
    status = 0
    with _mapped(partial(run, brief=options.runs > 1), settings, jobs=options.jobs) as results:
        for violated, lines in results:
            _write(*lines)
            status = max(status, int(violated))
            if status and not options.keep_going:
                break
    return status


@contextmanager
def _mapped(
    function: Callable[[Settings], Result], settings: Sequence[Settings], *, jobs: int
) -> Iterator[Iterator[Result]]:
    """
    Provide the results of a function in the order of its arguments. At the end, cancel the calls that have not begun.

    :param jobs: Number of processes that call the function. One means this process.
    """
    if jobs == 1:
        _discard_log()
        yield map(function, settings)
        return
    with ProcessPoolExecutor(jobs, initializer=_discard_log) as processes:
        try:
            yield processes.map(function, settings)
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def _discard_log() -> None:
    """Let the log of this process go to the simulated worlds only."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def run(settings: Settings, *, brief: bool) -> Result:
    """Run one simulation. Return whether an invariant was violated, and the lines of the report."""
    # With the default of 700 the garbage collector takes 7 % of the time.
    gc.set_threshold(_GARBAGE)
    started = time.perf_counter()
    world = WORLDS[settings.mode](settings)
    try:
        world.run()
    except ViolationError as violation:
        return True, [
            f"VIOLATION with seed {settings.seed}, hours {settings.hours:g}: {violation}",
            *("    " + line for line in world.trace.last_events(violation.subject)),
            f"repeat with: make simulate HOURS={settings.hours:g} SEED={settings.seed}{_options(settings)}",
        ]
    except Exception:
        return True, [
            *traceback.format_exc().splitlines(),
            *("    " + line for line in world.trace.last_events()),
            f"VIOLATION with seed {settings.seed}: an exception left the daemon's code",
        ]
    if brief:
        return False, [f"seed {settings.seed}: violations: 0, {world.clock.steps} steps, digest {world.trace.digest}"]
    return False, [*world.summary(), f"violations: 0 ({time.perf_counter() - started:.0f} s)"]


def _options(settings: Settings) -> str:
    """Return the options of a run that differ from the default, for ``make``."""
    default = Settings()
    options = [
        f"--{name} {getattr(settings, name):g}"
        for name in ("devices", "loss", "churn")
        if getattr(settings, name) != getattr(default, name)
    ]
    options += [
        f"--{name} {getattr(settings, name)}"
        for name in ("mode", "attack")
        if getattr(settings, name) != getattr(default, name)
    ]
    options += [f"--no-{name}" for name in ("faults", "attacks") if not getattr(settings, name)]
    return f' ARGS="{" ".join(options)}"' if options else ""


def _write(*lines: str) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
