"""How the command writes: whole lines into pipes, and nothing of a stranger's that a terminal would obey."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.text import Text

#: Columns of what is no terminal: as many as the longest line takes, which holds no more than a datagram.
_NO_LIMIT = 100_000


def make_console(*, stderr: bool = False) -> Console:
    """
    Make what prints, to a terminal in its width and to everything else in whole lines.

    :param stderr: Whether to print to standard error.
    """
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _NO_LIMIT
    return console


def safe(text: str, console: Console) -> str:
    """
    Make a stranger's text fit to be shown: what is no visible character is written as Python would escape it.

    That is control characters, those that turn the direction of writing or take no room, and what the console's
    encoding does not have.
    """
    visible = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
    return visible.encode(console.encoding, "backslashreplace").decode(console.encoding)


def print_lines(console: Console, lines: Iterable[str | Text]) -> None:
    """Print lines as they are, whatever the width."""
    for line in lines:
        console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table; where nobody can see them, without the blanks that make its lines equally long."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print_lines(console, [line.rstrip() for line in captured.get().rstrip("\n").split("\n")])


def print_json(data: object) -> None:
    """Print a document. In ASCII, for it may hold what no terminal should be shown."""
    console = Console()
    text = json.dumps(data, indent=2)
    if console.is_terminal:
        console.print(JSON(text, ensure_ascii=True), soft_wrap=True)
    else:
        console.out(text, highlight=False)
