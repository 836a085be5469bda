"""
Tables of ``docs/scale.md`` from the results of ``bench/site.py``.

    python -m bench.site_report
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "bench" / "results" / "site.json"
_BEGIN, _END = "<!-- results: written by bench/site_report.py -->", "<!-- end of results -->"
_SIZES = (1, 10, 100, 1000)
_MODES = ("agent", "catalog")


def _number(value: float) -> str:
    if value and value < 10:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def _size(value: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
        value /= 1000
    raise AssertionError


def entries_per_service(results: Mapping[str, Any], mode: str) -> float:
    """Return the entries of the raft log for the registration of one service, as the real Consul counts them."""
    real = results["real"][mode][-1]
    return float(real["log entries"] / real["services"])


def _segment_table(results: Mapping[str, Any]) -> list[str]:
    lines = ["| one segment of 1,000 devices | agent mode | catalog mode |", "|---|---|---|"]

    def phase(mode: str, name: str) -> Mapping[str, float]:
        figures: Mapping[str, float] = results["simulated"][f"{mode}, 1 segment"][name]
        return figures

    rows = (
        ("start: requests", lambda m: _number(phase(m, "start")["requests"])),
        ("start: entries of the raft log", lambda m: _number(entries_per_service(results, m) * results["devices"])),
        ("start: bytes of the bodies", lambda m: _size(phase(m, "start")["bytes"])),
        ("steady state: requests a second", lambda m: _number(_steady(results, m, "requests"))),
        ("steady state: bytes a second", lambda m: _size(_steady(results, m, "bytes"))),
        (
            "steady state: changes of devices in the run, and entries of the raft log for each",
            lambda m: _changes(results, m),
        ),
        ("after a wipe: requests", lambda m: _number(phase(m, "wipe")["requests"])),
        ("after a wipe: bytes of the bodies", lambda m: _size(phase(m, "wipe")["bytes"])),
        ("memory of a Consul server", lambda m: _size(_memory(results, m) * results["devices"])),
    )
    for title, cell in rows:
        lines.append(f"| {title} | {' | '.join(cell(mode) for mode in _MODES)} |")
    return lines


def _steady(results: Mapping[str, Any], mode: str, figure: str) -> float:
    phase = results["simulated"][f"{mode}, 1 segment"]["steady"]
    return float(phase[figure] / phase["seconds"])


def _changes(results: Mapping[str, Any], mode: str) -> str:
    phase = results["simulated"][f"{mode}, 1 segment"]["steady"]
    changes = 2 * phase["restarts"]
    return f"{_number(changes)}, {phase['writes'] / max(changes, 1):.2f}"


def _memory(results: Mapping[str, Any], mode: str) -> float:
    # The memory of few services depends most on the garbage collector of Go.
    real = results["real"][mode][-1]
    return float(real["resident bytes"] / real["services"])


def _sample_values(results: Mapping[str, Any], mode: str, phase: str, figure: str) -> list[float]:
    """Return a figure of each segment of the sample: in the steady state by second, otherwise of the whole phase."""
    values = []
    for segment in results["sample"][mode]:
        seconds = segment[phase]["seconds"] if phase == "steady" else 1.0
        values.append(segment[phase][figure] / seconds)
    return values


def _sample_mean(results: Mapping[str, Any], mode: str, figure: str) -> float:
    return mean(_sample_values(results, mode, "steady", figure))


def _spread(values: Sequence[float], text: Callable[[float], str]) -> str:
    return f"{text(mean(values))} ({text(min(values))} to {text(max(values))})"


def _sample_table(results: Mapping[str, Any]) -> list[str]:
    size = len(results["sample"][_MODES[0]])
    lines = [
        f"| each of {size} segments: mean, smallest and largest | agent mode | catalog mode |",
        "|---|---|---|",
    ]
    for title, phase, figure, text in (
        ("start: requests", "start", "requests", _number),
        ("start: bytes of the bodies", "start", "bytes", _size),
        ("steady state: requests a second", "steady", "requests", _number),
        ("steady state: bytes a second", "steady", "bytes", _size),
        ("after a wipe: requests", "wipe", "requests", _number),
        ("after a wipe: bytes of the bodies", "wipe", "bytes", _size),
    ):
        cells = [_spread(_sample_values(results, mode, phase, figure), text) for mode in _MODES]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    cells = []
    for mode in _MODES:
        values = _sample_values(results, mode, "steady", "requests")
        # Of the mean of the sample, and so of the sum of all segments.
        cells.append(f"{100 * stdev(values) / mean(values) / sqrt(size):.2f} %")
    lines.append(f"| standard error of the requests a second of 1,000 segments | {' | '.join(cells)} |")
    return lines


def _site_table(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "| segments, devices | mode | raft entries of a start | requests a second | bytes a second |"
        " memory of each server |",
        "|---|---|---|---|---|---|",
    ]
    for size in _SIZES:
        for mode in _MODES:
            devices = size * results["devices"]
            cells = (
                f"{size:,}, {devices:,}",
                mode,
                _number(entries_per_service(results, mode) * devices),
                _number(_sample_mean(results, mode, "requests") * size),
                _size(_sample_mean(results, mode, "bytes") * size),
                _size(_memory(results, mode) * devices),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _phase_table(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "| segments, devices | mode | requests of a start | bytes of a start | raft entries a second |"
        " requests after a wipe | bytes after a wipe | raft entries after a wipe |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in _SIZES:
        for mode in _MODES:
            start, wipe = (
                {figure: size * mean(_sample_values(results, mode, name, figure)) for figure in ("requests", "bytes")}
                for name in ("start", "wipe")
            )
            cells = (
                f"{size:,}, {size * results['devices']:,}",
                mode,
                _number(start["requests"]),
                _size(start["bytes"]),
                _number(_steady(results, mode, "writes") * size),
                _number(wipe["requests"]),
                _size(wipe["bytes"]),
                # All services are registered again.
                _number(entries_per_service(results, mode) * size * results["devices"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _check_table(results: Mapping[str, Any]) -> list[str]:
    lines = ["| mode, figure | one segment, times 4 | four segments on one Consul |", "|---|---|---|"]
    for mode in _MODES:
        one, four = (results["simulated"][f"{mode}, {size}"] for size in ("1 segment", "4 segments"))
        for name in ("start", "steady", "wipe"):
            for figure in ("requests", "bytes"):
                factor = 4 * four[name]["seconds"] / one[name]["seconds"]
                text = _number if figure == "requests" else _size
                lines.append(
                    f"| {mode}, {name}: {figure} | {text(one[name][figure] * factor)} | {text(four[name][figure])} |"
                )
    lines += [
        "",
        "| real Consul, mode | services | seconds until all are registered | entries of the raft log |"
        " growth of its resident memory | the same for each service | entries of the raft log in the following 60 s |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode in _MODES:
        for real in results["real"][mode]:
            cells = (
                mode,
                _number(real["services"]),
                _number(real["seconds"]),
                _number(real["log entries"]),
                _size(real["resident bytes"]),
                _size(real["resident bytes"] / real["services"]),
                _number(real["log entries in 60 s"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def write(results: Mapping[str, Any]) -> None:
    """Write the part of the page between the markers."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    parts = (
        ["### One segment", "", *_segment_table(results)],
        ["### A sample of segments", "", *_sample_table(results)],
        ["### The site", "", *_site_table(results)],
        ["### Phases of the site", "", *_phase_table(results)],
        ["### Checks of the calculation", "", *_check_table(results)],
    )
    body = "\n\n".join("\n".join(part) for part in parts)
    PAGE.write_text(f"{before}{_BEGIN}\n{body}\n\n{_END}{after}")


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text()))
