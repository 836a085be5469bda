"""
Incremental parsers of a large JSON object or array, such as a listing of Consul: each member is processed as soon as it
is received. Pure.

The parser of the standard library needs the whole text and does not let any other thread run meanwhile: 0.6 s for the
listing of 100,000 services.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

#: Characters of a member. The longest service of Consul 1.8 has 64 Meta values of 512 bytes.
MOST_CHARACTERS = 64 * 1024
#: Characters that have to be received before the next attempt to parse. An attempt fails while a part of a member is
#: missing.
_STEP = 16 * 1024

_AFTER_MEMBER = frozenset(",} \t\n\r")
_AFTER_ITEM = frozenset(",] \t\n\r")
_BLANK = re.compile(r"[ \t\n\r]*")
_BLANKS = frozenset(" \t\n\r")
_decode_value = json.JSONDecoder().raw_decode


class JSONObjectParser:
    """
    Parser of one JSON object that is received in parts.

    :param process: Called with the name and the value of each member, in their order. It may raise an exception.
    """

    _opening, _closing, _kind = "{", "}", "object"
    _after_value = _AFTER_MEMBER

    def __init__(self, process: Callable[..., None]) -> None:
        self._process = process
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._parsed_length = 0
        self._expected = "opening"

    def feed(self, data: bytes) -> None:
        """
        Process the next bytes of the object.

        :raise ValueError: If they are not part of a JSON object, or a member is too long.
        """
        self._text += self._decoder.decode(data)
        if len(self._text) - self._parsed_length >= _STEP:
            self._parse()
            self._parsed_length = len(self._text)
            if self._parsed_length > MOST_CHARACTERS:
                raise ValueError(f"a member has more than {MOST_CHARACTERS} characters, or is malformed")

    def close(self) -> None:
        """
        Process the end of the object.

        :raise ValueError: If the object is incomplete.
        """
        self._text += self._decoder.decode(b"", final=True)
        self._parse()
        if self._text or self._expected != "":
            raise ValueError(f"the JSON {self._kind} is malformed or incomplete")

    def _parse(self) -> None:
        """Process all complete members of the text, and keep the rest."""
        text, position = self._text, 0
        while True:
            position = _skip_blank(text, position)
            if position == len(text):
                break
            if self._expected == "opening":
                _expect(text, position, self._opening)
                self._expected = "first"
                position += 1
            elif self._expected == ",":
                if text[position] == self._closing:
                    self._expected = ""
                else:
                    _expect(text, position, ",")
                    self._expected = "member"
                position += 1
            elif self._expected == "first" and text[position] == self._closing:
                self._expected = ""
                position += 1
            elif self._expected == "":
                raise ValueError(f"there is text after the JSON {self._kind}")
            else:
                end = self._parse_member(text, position)
                if end is None:
                    break
                position = end
                self._expected = ","
        self._text = text[position:]

    def _parse_member(self, text: str, position: int) -> int | None:
        """Process one member, and return the position of its end, or None if it is incomplete."""
        try:
            member, position = self._decode_member(text, position)
        except json.JSONDecodeError:
            # The text ends within the member, or the member is malformed: then it will be too long or incomplete.
            return None
        except RecursionError:
            raise ValueError(f"the JSON {self._kind} is nested too deeply") from None
        if text[position : position + 1] not in self._after_value:
            # The rest of a number may follow.
            return None
        self._process(*member)
        return position

    def _decode_member(self, text: str, position: int) -> tuple[tuple[Any, ...], int]:
        """Return a member, and the position of its end."""
        _expect(text, position, '"')
        name, position = _decode_value(text, position)
        position = _skip_blank(text, position)
        if position == len(text):
            raise json.JSONDecodeError("incomplete", text, position)
        _expect(text, position, ":")
        value, position = _decode_value(text, _skip_blank(text, position + 1))
        return (name, value), position


class JSONArrayParser(JSONObjectParser):
    """
    Parser of one JSON array that is received in parts.

    :param process: Called with each item, in their order. It may raise an exception.
    """

    _opening, _closing, _kind = "[", "]", "array"
    _after_value = _AFTER_ITEM

    def _decode_member(self, text: str, position: int) -> tuple[tuple[Any, ...], int]:
        value, position = _decode_value(text, position)
        return (value,), position


def _skip_blank(text: str, position: int) -> int:
    if text[position : position + 1] not in _BLANKS:
        # Nearly always: Consul sends no blanks. A search takes longer.
        return position
    match = _BLANK.match(text, position)
    return position if match is None else match.end()


def _expect(text: str, position: int, character: str) -> None:
    if text[position] != character:
        raise ValueError(f"expected {character!r} in place of {text[position]!r}")
