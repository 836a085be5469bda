"""Tests for :mod:`ssdpreg.cli.output`."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.output import escape_invisible, make_console, print_json, print_lines, print_message, print_table

#: Text from the network, and the same text as printed.
ESCAPED: Mapping[str, str] = {
    "plain, with blanks": "plain, with blanks",
    "Gerät 設備": "Gerät 設備",
    "\x1b[31mred\x1b]0;title\x07": r"\x1b[31mred\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\nb\r\tc\x00": r"a\nb\r\tc\x00",
    "\u202etxt.exe": r"\u202etxt.exe",
    "\u2066isolate\u2069": r"\u2066isolate\u2069",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "line\u2028separator\u00a0": r"line\u2028separator\xa0",
    "half \ud83d": r"half \ud83d",
    "[red]markup[/red] :smile:": "[red]markup[/red] :smile:",
}


class OutputTests(SynchronousTestCase):
    """Tests for the functions that print."""

    def setUp(self) -> None:
        self.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.patch(sys, "stdout", self.stdout)

    def printed(self) -> str:
        """Return the printed text."""
        self.stdout.flush()
        return self.stdout.buffer.read1().decode() if self.stdout.buffer.seek(0) == 0 else ""

    def test_escapes(self) -> None:
        """Invisible characters are escaped, and letters of any script stay as they are."""
        console = make_console()
        for text, shown in ESCAPED.items():
            self.assertEqual(escape_invisible(text, console), shown)
            print_lines(console, [escape_invisible(text, console)])
        self.assertEqual(self.printed(), "".join(f"{shown}\n" for shown in ESCAPED.values()))

    def test_ascii(self) -> None:
        """Characters that the encoding of the output does not have are escaped."""
        self.patch(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        self.assertEqual(escape_invisible("Gerät 設備", make_console()), r"Ger\xe4t \u8a2d\u5099")

    def test_whole_lines(self) -> None:
        """Lines in a pipe are neither cut nor folded, and do not end in blanks."""
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        table.add_row(Text("x" * 300), Text("y" * 300))
        table.add_row(Text("x"), Text("y"))
        print_table(make_console(), table)
        print_lines(make_console(), ["z " * 300])
        self.assertEqual(self.printed(), f"{'x' * 300} {'y' * 300}\nx{' ' * 300}y\n{'z ' * 300}\n")

    def test_terminal(self) -> None:
        """A table on a terminal is folded at the width of the terminal."""
        console = Console(file=self.stdout, force_terminal=True, color_system=None, width=40)
        table = Table.grid()
        table.add_column(overflow="fold")
        table.add_row(Text("x" * 60))
        print_table(console, table)
        self.assertEqual([len(line) for line in self.printed().splitlines()], [40, 40])

    def test_json(self) -> None:
        """A JSON document is in ASCII, and its lines are not folded."""
        print_json({"\u202e": "ä\x7f" + "x" * 300})
        self.assertEqual(self.printed(), '{\n  "\\u202e": "\\u00e4\\u007f' + "x" * 300 + '"\n}\n')

    def test_message(self) -> None:
        """A message goes to standard error in one line, with invisible characters escaped."""
        stderr = io.StringIO()
        self.patch(sys, "stderr", stderr)
        print_message("a\x1b" + "x" * 300, "backend.address: ")
        self.assertEqual((stderr.getvalue(), self.printed()), ("backend.address: a\\x1b" + "x" * 300 + "\n", ""))
