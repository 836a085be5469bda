"""Text and JSON output of ``ssdpreg doctor``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ssdpreg.cli.doctor.findings import RESULTS, Finding, Section
from ssdpreg.cli.output import escape_invisible, make_console, print_lines, print_table

_STYLES = {"ok": "green", "skipped": "dim", "warning": "yellow", "fault": "bold red"}


def print_sections(sections: Sequence[Section]) -> None:
    """Print each section as a heading and one line per finding."""
    console = make_console()
    shown = [section for section in sections if section.findings]
    whats = [escape_invisible(_describe(each), console) for section in shown for each in section.findings]
    # Aligned in all sections. On a narrow terminal the finding needs the space.
    width = min(max(map(len, whats), default=0), max(16, console.width // 3))
    for section in shown:
        print_lines(console, [Text(section.title, "bold")])
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=0)
        table.add_column(width=max(map(len, RESULTS)), no_wrap=True)
        table.add_column(width=width, overflow="fold")
        table.add_column(overflow="fold")
        for each in section.findings:
            sentence = each.finding + (f". {each.advice}" if each.advice else "")
            table.add_row(
                "",
                Text(each.result, _STYLES[each.result]),
                Text(escape_invisible(_describe(each), console)),
                Text(escape_invisible(sentence, console)),
            )
        print_table(console, table)


def _describe(finding: Finding) -> str:
    """Return what was checked."""
    return f"{finding.check} {finding.subject}".rstrip()


def make_document(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return the JSON document: all findings in the order of the text."""
    return [finding.document() for section in sections for finding in section.findings]


def summarize(sections: Sequence[Section]) -> str:
    """Return the number of findings by result."""
    counts = Counter(finding.result for section in sections for finding in section.findings)
    words = {"ok": "ok", "skipped": "skipped"}
    parts = []
    for result in reversed(RESULTS):
        noun = words.get(result) or (result if counts[result] == 1 else f"{result}s")
        parts.append(f"{counts[result]} {noun}")
    return ", ".join(parts)
