"""JSON files: read and decoded strictly, with the position of each fault."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ssdpreg.config.faults import FaultCollector, Path, RelativeFault, quote
from ssdpreg.errors import ConfigError, Fault

#: Levels of nesting. A configuration has about five; Python's recursion limit is 1000.
_MAX_DEPTH = 50


class _Object(dict[str, Any]):
    """A JSON object that records the keys which occur in it more than once."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicates: Sequence[str] = ()
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.duplicates = [key for key, count in counts.items() if count > 1]


def read_file(path: str) -> str:
    """
    Read a text file in UTF-8, with or without a byte order mark.

    :raise ConfigError: If the file cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(Fault("", f"{path} cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(Fault("", f"{path} is not UTF-8: byte {error.start + 1} is invalid")) from error


def decode_json(text: str) -> object:
    """
    Decode JSON.

    :raise ConfigError: If the text is not JSON, has duplicate keys, or is nested too deeply.
    """
    faults = FaultCollector()
    try:
        raw = json.loads(text, object_pairs_hook=_Object)
        faults.add_relative((), _find_faults(raw, ()))
    except json.JSONDecodeError as error:
        # Some messages of the json module end in "at", to be followed by the position.
        problem = re.sub(" at$", " here", error.msg)
        raise ConfigError(Fault("", f"line {error.lineno}, column {error.colno}: {problem}")) from error
    except RecursionError:
        raise ConfigError(Fault("", "is nested too deeply")) from None
    except ValueError as error:
        # Python limits the number of digits that it converts into an integer.
        raise ConfigError(Fault("", "contains a number with too many digits")) from error
    faults.raise_if_any(raw)
    return raw


def _find_faults(raw: object, path: Path) -> Iterator[RelativeFault]:
    if len(path) > _MAX_DEPTH:
        yield RelativeFault(path[:3], "is nested too deeply")
    elif isinstance(raw, _Object):
        for key in raw.duplicates:
            yield RelativeFault((*path, key), "is a duplicate key")
        for key, value in raw.items():
            yield from _find_faults(value, (*path, key))
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            yield from _find_faults(value, (*path, index))
    elif isinstance(raw, float) and not math.isfinite(raw):
        yield RelativeFault(path, f"{quote(raw)} is not a number in JSON")
