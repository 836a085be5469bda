"""JSON documents in pieces. Pure: a piece is made when it is requested."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Batches = Iterable[Sequence[Any]]


class JSONWriter:
    """
    Serializer of documents.

    :param pretty: Whether to indent the document, as Consul does.
    """

    def __init__(self, pretty: bool = False) -> None:
        self._pretty = pretty
        encoder = json.JSONEncoder(
            ensure_ascii=False, indent=4 if pretty else None, separators=(",", ": " if pretty else ":")
        )
        self._encode = encoder.encode
        self._end = "\n" if pretty else ""

    def document(self, pieces: Iterable[str]) -> Iterator[bytes]:
        """Return the pieces of a whole document."""
        for piece in pieces:
            yield piece.encode()
        if self._end:
            yield self._end.encode()

    def value(self, value: Any, depth: int = 0) -> str:
        """
        Serialize a value.

        :param depth: Number of arrays and objects around it.
        """
        text = self._encode(value)
        return text.replace("\n", self._line(depth)) if self._pretty and depth else text

    def array(self, batches: Batches, depth: int = 0) -> Iterator[str]:
        """
        Serialize an array.

        :param batches: Its elements. There is a piece for each batch, also for an empty one.
        """
        texts = ([self.value(value, depth + 1) for value in batch] for batch in batches)
        return self._members("[", texts, "]", depth)

    def object(self, batches: Batches, depth: int = 0) -> Iterator[str]:
        """
        Serialize an object.

        :param batches: Pairs of name and value.
        """
        texts = ([self.member(name, value, depth + 1) for name, value in batch] for batch in batches)
        return self._members("{", texts, "}", depth)

    def object_around(self, name: str, value: Any, inner_name: str, batches: Batches) -> Iterator[str]:
        """
        Serialize an object with two members.

        :param name: Name of the first member.
        :param value: Value of the first member.
        :param inner_name: Name of the second member, which is an object.
        :param batches: Its pairs of name and value.
        """
        colon = ": " if self._pretty else ":"
        yield (f"{{{self._line(1)}{self.member(name, value, 1)},{self._line(1)}{self._encode(inner_name)}{colon}")
        yield from self.object(batches, 1)
        yield self._line(0) + "}"

    def member(self, name: str, value: Any, depth: int) -> str:
        """Serialize a member of an object."""
        return f"{self._encode(name)}:{' ' if self._pretty else ''}{self.value(value, depth)}"

    def _members(self, start: str, texts: Iterable[Sequence[str]], end: str, depth: int) -> Iterator[str]:
        separator = "," + self._line(depth + 1)
        before = start + self._line(depth + 1)
        empty = True
        for batch in texts:
            if batch:
                yield before + separator.join(batch)
                before, empty = separator, False
            else:
                yield ""
        yield start + end if empty else self._line(depth) + end

    def _line(self, depth: int) -> str:
        return "\n" + " " * 4 * depth if self._pretty else ""
