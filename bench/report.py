"""
Table and charts of ``docs/performance.md`` from the results.

    python -m bench.report
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

from bench.processes import ASYNC_UPNP, METERED, NOTHING, SSDPREG
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results" / "results.json"
_CHARTS = ROOT / "docs" / "images"
_BEGIN, _END = "<!-- results: written by bench/report.py -->", "<!-- end of results -->"

#: Rows of CPU time for each datagram: name, description and target.
_CPU_ROWS = (
    ("notify-24", "repeated NOTIFY, bursts of 24", "≤ 1.25"),
    ("notify-96", "repeated NOTIFY, bursts of 96", "≤ 1.25"),
    ("reply-24", "repeated reply with another DATE, bursts of 24", "≤ 1.25"),
    ("reply-96", "repeated reply with another DATE, bursts of 96", "≤ 1.25"),
    ("unmatched", "NOTIFY of a type that no term matches", "≤ 1.35"),
    ("new", "new service, registered in the embedded catalogue and logged", "≤ 6"),
)
_HTTP_PATHS = ("/", "/v1/catalog/services", "/v1/health/service/RackHD-service:api:2.0")

Results = Mapping[str, Any]


def value(results: Results, row: str, contender: str, figure: str) -> float | None:
    """Return the median of a figure, or None if it was not measured."""
    try:
        return float(median(results[row]["figures"][contender][figure]))
    except KeyError:
        return None


def _text(number: float | None, unit: str = "", digits: int = 2) -> str:
    return "-" if number is None else f"{number:,.{digits}f}{unit}"


def _ratio(results: Results, row: str, contender: str) -> float | None:
    own, nothing = (value(results, row, each, "CPU µs") for each in (contender, NOTHING))
    return None if own is None or not nothing else own / nothing


def _table(results: Results) -> list[str]:
    lines = [
        "| CPU time of a datagram, as a ratio to a protocol that does nothing | ssdpreg | target | async_upnp_client |"
        " the protocol that does nothing |",
        "|---|---|---|---|---|",
    ]
    for row, title, target in _CPU_ROWS:
        cells = (_ratio(results, row, SSDPREG), _ratio(results, row, ASYNC_UPNP))
        nothing = _text(value(results, row, NOTHING, "CPU µs"), " µs", 1)
        lines.append(f"| {title} | {_text(cells[0])} | {target} | {_text(cells[1])} | {nothing} |")
    lines += ["", "| other figures | ssdpreg | target | beside it |", "|---|---|---|---|"]
    for title, own, target, beside in _others(results):
        lines.append(f"| {title} | {own} | {target} | {beside} |")
    return lines


def _others(results: Results) -> list[tuple[str, str, str, str]]:
    def get(row: str, contender: str, figure: str, unit: str = "", digits: int = 2) -> str:
        return _text(value(results, row, contender, figure), unit, digits)

    taken = [value(results, "overload", each, "datagrams a second") for each in (SSDPREG, NOTHING, ASYNC_UPNP)]
    ratio = None if taken[0] is None or not taken[1] else taken[0] / taken[1]
    rows = [
        (
            "datagrams taken in a second under an overload",
            f"{_text(taken[0], digits=0)}, ratio to a protocol that does nothing {_text(ratio)}",
            "ratio ≥ 0.75",
            f"nothing {_text(taken[1], digits=0)}, async_upnp_client {_text(taken[2], digits=0)}",
        ),
        (
            "datagrams lost of a burst of 5,000 new devices",
            get("burst", SSDPREG, "dropped", digits=0),
            "0",
            f"async_upnp_client {get('burst', ASYNC_UPNP, 'dropped', digits=0)}",
        ),
        (
            "resident memory of a live service, with 100,000",
            get("memory", SSDPREG, "bytes a service", " bytes", 0),
            "≤ 1,200 bytes",
            f"async_upnp_client {get('memory', ASYNC_UPNP, 'bytes a service', ' bytes', 0)}",
        ),
        (
            "CPU time with 100,000 services, of which none is received",
            get("memory", SSDPREG, "idle CPU %", " % of a core"),
            "< 1 %",
            f"async_upnp_client {get('memory', ASYNC_UPNP, 'idle CPU %', ' %')}",
        ),
    ]
    for mode, count, target in (
        ("agent", "1,000", "≤ 1.15 of the bare loop's time, ≤ 0.8 ms"),
        ("catalog", "5,000", "≤ 1.25 of the bare loop's time, ≤ 4 s, ≤ 0.4 ms"),
    ):
        contenders = results.get(f"consul-{mode}", {}).get("figures", {})
        loop = next((each for each in contenders if each != SSDPREG), "")
        row, cpu = f"consul-{mode}", "CPU ms a service"
        rows.append(
            (
                f"{count} services to the catalog of Consul, {mode} mode",
                f"{get(row, SSDPREG, 'seconds', ' s')}, {get(row, SSDPREG, cpu, ' ms')} of CPU time a service",
                target,
                f"{loop} {get(row, loop, 'seconds', ' s')}, {get(row, loop, cpu, ' ms')}",
            )
        )
    rows.append(
        (
            "10,000 services in catalog mode, back after Consul lost its data",
            f"{get('wiped', SSDPREG, 'seconds', ' s')}, {get('wiped', SSDPREG, 'CPU ms a service', ' ms')} of CPU time"
            " a service",
            "< 10 s",
            "-",
        )
    )
    for path in _HTTP_PATHS:
        figures = ", ".join(
            f"{get('web', METERED, f'{path}: {figure} ms', ' ms', 0)} ({text})"
            for figure, text in (
                ("first byte", "first byte"),
                ("last byte", "last byte"),
                ("longest turn", "longest turn"),
            )
        )
        rows.append((f"`{path}` with 100,000 services", figures, "< 300 ms, no turn > 50 ms", "-"))
    return rows


def _chart(title: str, bars: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str) -> str:
    """
    Return a chart with horizontal bars.

    :param bars: Label, and the contenders with their values.
    """
    width, label, height, gap = 900, 380, 16, 12
    longest = max(number for _, each in bars for _, number in each)
    colors = {SSDPREG: "#1f6feb", ASYNC_UPNP: "#bf8700"}
    parts: list[str] = []
    y = 44
    for text, each in bars:
        middle = y + 12 + (len(each) - 1) * height // 2
        parts.append(f'<text x="{label - 8}" y="{middle}" text-anchor="end">{escape(text)}</text>')
        for contender, number in each:
            length = max((width - label - 190) * number / longest, 1)
            parts.append(
                f'<rect x="{label}" y="{y}" width="{length:.0f}" height="{height - 2}" fill="{colors[contender]}"/>'
            )
            note = f"{number:,.2f}{unit}" if number < 100 else f"{number:,.0f}{unit}"
            parts.append(f'<text x="{label + length + 6:.0f}" y="{y + 12}">{note} {escape(contender)}</text>')
            y += height
        y += gap
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}"',
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{width}" height="{y}" fill="#ffffff"/>',
            f'<text x="12" y="24" font-size="16">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _charts(results: Results) -> dict[str, str]:
    """Return the charts by the name of their file."""
    cpu = []
    for row, title, _ in _CPU_ROWS:
        ratios = ((each, _ratio(results, row, each)) for each in (SSDPREG, ASYNC_UPNP))
        measured = [(each, ratio) for each, ratio in ratios if ratio is not None]
        if measured:
            cpu.append((title.partition(",")[0] if row == "new" else title, measured))
    numbers = ((each, value(results, "memory", each, "bytes a service")) for each in (SSDPREG, ASYNC_UPNP))
    memory = [(each, number) for each, number in numbers if number is not None]
    charts = {}
    if cpu:
        charts["benchmark-cpu.svg"] = _chart(
            "CPU time of a datagram: multiples of a protocol that does nothing", cpu, " x"
        )
    if memory:
        charts["benchmark-memory.svg"] = _chart(
            "Resident memory with 100,000 devices", [("one service", memory)], " bytes"
        )
    return charts


def _conditions(results: Results) -> str:
    """Return the sentence that states when and where the results were measured."""
    newest = max((row["machine"] for row in results.values()), key=lambda machine: str(machine["date"]))
    rounds = sorted({row["rounds"] for row in results.values()})
    facts = ", ".join(f"{name} {newest[name]}" for name in ("Python", "Twisted", "treq", "async_upnp_client"))
    count = " or ".join(map(str, rounds))
    return (
        f"Medians of {count} rounds, measured until {newest['date']} on {newest['cores']} cores"
        f" ({newest['processor']}), Linux {newest['kernel']}, {facts}."
    )


def write(results: Results) -> None:
    """Write the charts, and the part of the page between the markers."""
    charts = _charts(results)
    for name, chart in charts.items():
        (_CHARTS / name).write_text(chart)
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    pictures = [f"![{name.removesuffix('.svg')}](images/{name})" for name in charts]
    body = "\n\n".join([_conditions(results), "\n".join(_table(results)), *pictures])
    PAGE.write_text(f"{before}{_BEGIN}\n{body}\n{_END}{after}")


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text()))
