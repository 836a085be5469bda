"""Paths and faults of a configuration file. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from ssdpreg.errors import ConfigError, Fault

#: Keys of objects and indices of lists, from the outermost value to the innermost.
Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
#: Characters of a value that a fault repeats.
_QUOTE_LIMIT = 60


class RelativeFault(NamedTuple):
    """
    A fault inside an object.

    :ivar path: Path from the object to the fault.
    :ivar problem: Description of the fault and of the correct value.
    """

    path: Path
    problem: str


class FaultCollector:
    """Faults that were found so far while a file is read."""

    def __init__(self) -> None:
        self._faults: list[tuple[Path, str]] = []

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, path: Path, problem: str) -> None:
        """Add a fault. Only the first fault of each path is reported."""
        self._faults.append((path, problem))

    def add_relative(self, path: Path, faults: Iterable[RelativeFault]) -> None:
        """Add faults whose paths are relative to ``path``."""
        self._faults.extend(((*path, *fault.path), fault.problem) for fault in faults)

    def raise_if_any(self, raw: object) -> None:
        """
        Raise the collected faults, in the order of the file.

        :param raw: Decoded JSON of the file.
        :raise ConfigError: If there are faults.
        """
        problems: dict[Path, str] = {}
        for path, problem in self._faults:
            problems.setdefault(path, problem)
        if problems:
            paths = sorted(problems, key=lambda path: _position(raw, path))
            raise ConfigError(*(Fault(format_path(path), problems[path]) for path in paths))


def format_path(path: Path) -> str:
    """Format a path for people: ``ssdp.checks["urn:a:b:c"].http``, ``ssdp.tags.RackHD[1]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def quote(value: object) -> str:
    """Format a JSON value for an error message: as JSON, shortened to 60 characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    quoted = json.dumps(value)
    return quoted if len(quoted) <= _QUOTE_LIMIT else f"{quoted[: _QUOTE_LIMIT - 3]}..."


def _position(raw: object, path: Path) -> list[int]:
    """Return a sort key for a path: the position of each step in its parent. A missing key sorts after the others."""
    position = []
    for step in path:
        if isinstance(raw, dict):
            position.append([*raw, step].index(step))
            raw = raw.get(step)
        elif isinstance(raw, list) and isinstance(step, int):
            position.append(step)
            raw = raw[step]
    return position
