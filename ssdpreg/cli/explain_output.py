"""Text and JSON output of ``ssdpreg explain``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from rich.text import Text

from ssdpreg.cli.explanation import TIMER, Explanation, ExplanationFilter, Summary
from ssdpreg.cli.output import escape_invisible, make_console, print_lines
from ssdpreg.cli.report import format_count
from ssdpreg.registration import Registration

#: Colours of results. Others have none.
_STYLES = {
    "registered": "green",
    "moved": "green",
    "updated": "green",
    "known": "green",
    "waiting": "yellow",
    "claim": "yellow",
    "leaving": "yellow",
    "rejected": "red",
    "dropped": "red",
    "not received": "dim",
    "sent": "dim",
    "ignored": "dim",
}
#: Number of services that the summary lists.
_MOST_SERVICES = 100


class ExplanationPrinter:
    """
    Printer of explanations and of their summary.

    :param only: ExplanationFilter of the printed explanations. The summary counts all.
    :param as_json: Whether to print one JSON object per line.
    :ivar summary: Summary of all explanations.
    """

    def __init__(self, only: ExplanationFilter, *, as_json: bool) -> None:
        self._only, self._as_json = only, as_json
        self._console = make_console()
        self.summary = Summary()

    def print(self, explanation: Explanation) -> None:
        """Count an explanation, and print it if the filter matches."""
        self.summary.add(explanation)
        if not self._only.matches(explanation):
            return
        if self._as_json:
            self._console.out(json.dumps(explanation.document()), highlight=False)
            return
        time = explanation.when.replace(tzinfo=None).isoformat(" ", "milliseconds")
        rows = [("", "", self._escape(_heading(explanation)), "bold")]
        rows += [("  ", label, self._escape(value), style) for label, value, style in _rows(explanation)]
        if self._console.is_terminal:
            print_lines(self._console, [_colour(row, time) for row in rows])
        else:
            # Text of rich takes several times as long, and a capture can have millions of datagrams.
            lines = [f"{indent}{label:<9}{value}" if label else f"{time}  {value}" for indent, label, value, _ in rows]
            self._console.out("\n".join(lines), highlight=False)

    def print_summary(self, registrations: Mapping[str, Registration]) -> None:
        """
        Print the summary.

        :param registrations: Registrations at the end, by service ID.
        """
        if self._as_json:
            print_lines(self._console, [json.dumps(self.summary.document(registrations))])
        else:
            lines = [escape_invisible(line, self._console) for line in _summary_lines(self.summary, registrations)]
            print_lines(self._console, lines)

    def _escape(self, text: str) -> str:
        return escape_invisible(text, self._console)


def _colour(row: tuple[str, str, str, str], time: str) -> Text:
    indent, label, value, style = row
    return Text.assemble(indent, (f"{label:<9}" if label else f"{time}  ", "dim"), (value, style))


def _heading(explanation: Explanation) -> str:
    if explanation.kind == TIMER:
        return "time passed"
    on = f" on {explanation.interface}" if explanation.interface else ""
    sender = explanation.sender if explanation.interface else explanation.sender.partition("%")[0]
    host = f"[{sender}]" if ":" in sender else sender
    return f"{explanation.kind} from {host}:{explanation.port}{on}"


def _rows(explanation: Explanation) -> Iterator[tuple[str, str, str]]:
    """Yield the label, the value and the style of each line below the heading."""
    if explanation.nt:
        yield "type", explanation.nt, ""
    if explanation.usn:
        yield "usn", explanation.usn, ""
    if explanation.location:
        yield "location", explanation.location, ""
    if explanation.term is not None:
        standing = f", standing {explanation.standing}" if explanation.standing else ""
        yield "term", f"{explanation.term}, tag {explanation.tag}{standing}", ""
    if explanation.result:
        yield "result", _result(explanation), _STYLES.get(explanation.result, "")
    for change in explanation.changes:
        yield "table", change.text, ""


def _result(explanation: Explanation) -> str:
    parts = [part for part in (explanation.reason, explanation.detail) if part]
    registration = explanation.registration
    if registration is not None and explanation.result != "leaving":
        address = f"[{registration.address}]" if ":" in registration.address else registration.address
        parts.append(f"{registration.name} at {address}:{registration.port}")
    return f"{explanation.result}: {'; '.join(parts)}" if parts else explanation.result


def _summary_lines(summary: Summary, registrations: Mapping[str, Registration]) -> Iterator[str]:
    count = format_count(summary.messages.total(), "datagram")
    kinds = ", ".join(f"{number} {kind}" for kind, number in summary.messages.most_common())
    yield ""
    yield f"{count} in {summary.seconds:.1f} s" + (f": {kinds}" if kinds else "")
    results = [
        (f"{result}: {reason}" if reason else result, number)
        for (result, reason), number in summary.results.most_common()
    ]
    for title, rows in (
        ("Results", results),
        ("Changes in the table", summary.changes.most_common()),
        ("Other packets", summary.other.most_common()),
    ):
        if rows:
            yield f"{title}:"
            yield from (f"  {number:>6}  {text}" for text, number in rows)
    yield f"{format_count(len(registrations), 'service')} registered at the end" + (":" if registrations else ".")
    for number, each in enumerate(registrations.values()):
        if number == _MOST_SERVICES:
            yield f"  and {len(registrations) - number} more"
            return
        address = f"[{each.address}]" if ":" in each.address else each.address
        yield f"  {each.name} at {address}:{each.port}, ID {each.service_id}"
