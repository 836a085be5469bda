r"""
Files of recorded datagrams, as text that a person can read and compare.

A datagram begins with a line ``> SENDER PORT TARGET PORT``. Its lines follow with escapes for every byte that is not a
printable ASCII character, the line end included::

    > 10.77.0.5 1900 239.255.255.250 1900
    NOTIFY * HTTP/1.1\r\n
    \r\n

A line in the file ends after each ``\n`` of the datagram. Lines that begin with ``#`` before the first datagram are
comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_HEADER = re.compile(r"> (\S+) (\d+) (\S+) (\d+)")


@dataclass(frozen=True)
class RecordedDatagram:
    """
    A datagram in a file.

    :ivar sender: IP address and port.
    :ivar target: IP address and port.
    :ivar payload: Content.
    """

    sender: tuple[str, int]
    target: tuple[str, int]
    payload: bytes


def read_datagrams(path: Path) -> list[RecordedDatagram]:
    """Read a file."""
    found: list[RecordedDatagram] = []
    for block in path.read_text(encoding="ascii").split("\n> ")[1:]:
        header, *lines = block.split("\n")
        match = _HEADER.fullmatch(f"> {header}")
        if match is None:
            raise ValueError(f"{path.name}: {header!r} is no header")
        text = "".join(lines).encode("ascii").decode("unicode_escape")
        found.append(RecordedDatagram((match[1], int(match[2])), (match[3], int(match[4])), text.encode("latin-1")))
    return found


def write_datagrams(path: Path, comment: str, datagrams: Iterable[RecordedDatagram]) -> None:
    """
    Write a file.

    :param comment: One line, which states what the file contains.
    """
    blocks = [f"# {comment}\n"]
    for datagram in datagrams:
        blocks.append("> {} {} {} {}\n".format(*datagram.sender, *datagram.target))
        lines = re.findall(r"[^\n]*\n|[^\n]+", datagram.payload.decode("latin-1"))
        escaped = [line.encode("unicode_escape").decode("ascii") for line in lines]
        # A line of a datagram never looks like the beginning of another datagram.
        blocks.extend(re.sub("^>", r"\\x3e", line) + "\n" for line in escaped)
    path.write_text("".join(blocks), encoding="ascii")
