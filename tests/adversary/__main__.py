"""``python -m tests.adversary``: run random attacks, and count those after which the device waits too long."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.adversary.attack import ATTACKS, Attack, AttackKind, Outcome
from tests.adversary.hosts import DEVICES, DeviceKind


def run(kind: AttackKind, device: DeviceKind, seed: int) -> Outcome:
    """Run one attack."""
    return Attack(kind, device, seed).run()


def main(arguments: list[str]) -> int:
    """Run the command. Return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=__doc__)
    parser.add_argument("--attack", choices=[kind.name for kind in ATTACKS], help="the only kind of attack (all)")
    parser.add_argument("--device", choices=[kind.name for kind in DEVICES], help="the only kind of device (all)")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--runs", type=int, default=300, help="number of attacks of each kind on each kind of device")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--trace", action="store_true", help="print the events of the first attack that is late")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.runs)
    total: Counter[str] = Counter()
    print(f"{'attack':14} {'device':19} attacks excused  late  never  contests searches  quiet contests  seeds")
    with ProcessPoolExecutor(options.jobs) as pool:
        for kind in ATTACKS:
            for device in DEVICES:
                if options.attack in (None, kind.name) and options.device in (None, device.name):
                    outcomes = list(pool.map(run, repeat(kind), repeat(device), seeds, chunksize=20))
                    late = report(kind, device, seeds, outcomes)
                    total[kind.name] += late
                    if late and options.trace:
                        print("\n".join(next(each for each in outcomes if each.is_late).record))
                        return 1
    print(" ".join(f"{name}: {late}" for name, late in total.items()))
    return 1 if any(total.values()) else 0


def report(kind: AttackKind, device: DeviceKind, seeds: range, outcomes: list[Outcome]) -> int:
    """Print one line, and return the number of attacks that are late."""
    late = [seed for seed, each in zip(seeds, outcomes, strict=True) if each.is_late]
    never = sum(each.is_late and each.seconds == float("inf") for each in outcomes)
    number = len(outcomes)
    print(
        f"{kind.name:14} {device.name:19} {number:7} {sum(bool(each.excused) for each in outcomes):7} {len(late):5} "
        f"{never:6} {sum(each.contests for each in outcomes) / number:9.2f} "
        f"{sum(each.searches for each in outcomes) / number:8.2f} "
        f"{sum(each.quiet_contests for each in outcomes) / number:15.2f}  {' '.join(map(str, late[:6]))}",
        flush=True,
    )
    return len(late)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
