"""Output of the command: whole lines for pipes, tables for terminals, and no control characters from devices."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.text import Text

#: Columns of an output that is not a terminal: more than the longest line, which holds at most one datagram.
_UNLIMITED_WIDTH = 100_000


def make_console(*, stderr: bool = False) -> Console:
    """
    Create a console that folds lines at the width of a terminal, and nowhere else.

    :param stderr: Whether to print to standard error.
    """
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED_WIDTH
    return console


def escape_invisible(text: str, console: Console) -> str:
    """
    Replace each invisible character by its Python escape, such as ``\\x1b``.

    These are control characters, characters that change the direction of writing or have no width, and characters
    that are missing in the console's encoding.

    :param text: Text from the network. It may contain control sequences of a terminal.
    """
    visible = (
        text
        if text.isprintable()
        else "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
        )
    )
    return visible.encode(console.encoding, "backslashreplace").decode(console.encoding)


def print_lines(console: Console, lines: Iterable[str | Text]) -> None:
    """Print lines without folding them."""
    for line in lines:
        console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)


def print_message(text: str, prefix: str = "") -> None:
    """
    Print one line to standard error, with invisible characters escaped.

    :param prefix: Text to print in bold before the line.
    """
    console = make_console(stderr=True)
    line = Text.assemble((escape_invisible(prefix, console), "bold"), escape_invisible(text, console))
    print_lines(console, [line])


def print_table(console: Console, table: Table) -> None:
    """Print a table, without blanks at the ends of lines if the output is not a terminal."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print_lines(console, [line.rstrip() for line in captured.get().rstrip("\n").split("\n")])


def print_json(data: object) -> None:
    """Print a JSON document. It is in ASCII, because it may contain control characters from the network."""
    console = Console()
    text = json.dumps(data, indent=2)
    if console.is_terminal:
        console.print(JSON(text, ensure_ascii=True), soft_wrap=True)
    else:
        console.out(text, highlight=False)
