"""Transactions of Consul: operations grouped within the server's limits, and the parsed responses. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssdpreg.backends.catalog.format import Operation

#: Operations of a transaction that every Consul accepts. From version 1.14 it is 128.
FEWEST_OPERATIONS = 64
#: Bytes of a transaction that Consul accepts by default. A longer one is rejected before its operations are counted.
MOST_BYTES = 524_288
#: Bytes for the operation that begins a transaction, and for the brackets.
_RESERVED = 2048

#: Texts of Consul's responses with status 413.
_TOO_MANY = re.compile(r"too many operations \(\d+ > (\d{1,5})\)")
_TOO_LONG = re.compile(r"max size: (\d{1,9}) bytes")

#: Characters of an error in a log.
_MOST_TEXT = 200

_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode_operation(operation: Operation) -> str:
    """Return an operation as JSON of ASCII characters, so that its length in characters is that in bytes."""
    return _encode(operation)


@dataclass(slots=True)
class TransactionLimits:
    """
    Limits of one transaction, as far as the server has reported them.

    :ivar operations: Largest number of operations.
    :ivar bytes: Length of the longest body.
    """

    operations: int = FEWEST_OPERATIONS
    bytes: int = MOST_BYTES

    def learn(self, reason: str) -> bool:
        """
        Adapt the limits to a response with status 413.

        :param reason: Text of the response.
        :return: Whether a limit is lower than before.
        """
        before = (self.operations, self.bytes)
        if match := _TOO_MANY.search(reason):
            self.operations = max(int(match[1]), 4)
        elif match := _TOO_LONG.search(reason):
            self.bytes = max(int(match[1]), 2 * _RESERVED)
        else:
            # The response of a proxy, for example.
            self.bytes = max(self.bytes // 2, 2 * _RESERVED)
        return self.operations < before[0] or self.bytes < before[1]


@dataclass(frozen=True, slots=True)
class Unit:
    """
    Operations that belong together: all or none of them are part of a transaction.

    :ivar key: Identifies the unit in the result, such as the name of a node.
    :ivar pieces: The operations as JSON.
    """

    key: str
    pieces: tuple[str, ...]


@dataclass(slots=True)
class Transaction:
    """
    Units that are sent as one transaction.

    :param limits: Limits of the server.
    :param fenced: Whether one more operation begins the transaction.
    """

    limits: TransactionLimits
    fenced: bool = True
    units: list[Unit] = field(default_factory=list)
    _count: int = 0
    _bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether it is within the limits, which may have become lower since the units were added."""
        space = room(self.limits, fenced=self.fenced)
        return self._count <= space.operations and self._bytes <= space.bytes

    def add(self, unit: Unit) -> bool:
        """Add a unit, and return True; or return False if it does not fit."""
        before = self._count, self._bytes
        self._append(unit)
        if self.fits:
            return True
        self.units.pop()
        self._count, self._bytes = before
        return False

    def body(self, fence: str | None) -> bytes:
        """
        Return the body of the request.

        :param fence: The operation that begins the transaction, as JSON.
        """
        pieces = [] if fence is None else [fence]
        for unit in self.units:
            pieces += unit.pieces
        return f"[{','.join(pieces)}]".encode()

    def find_failed(self, errors: Mapping[int, str]) -> dict[str, str]:
        """
        Return the first error of each unit that has one.

        :param errors: Errors by index of the operation.
        """
        failed = {}
        start = 1 if self.fenced else 0
        for unit in self.units:
            end = start + len(unit.pieces)
            for index in range(start, end):
                if index in errors:
                    failed[unit.key] = errors[index]
                    break
            start = end
        return failed

    def without(self, keys: Iterable[str]) -> Transaction:
        """Return a transaction without some of the units."""
        left_out = set(keys)
        rest = Transaction(self.limits, self.fenced)
        for unit in self.units:
            if unit.key not in left_out:
                # Also if the limits have become lower: the server decides whether the rest is too large.
                rest._append(unit)
        return rest

    def _append(self, unit: Unit) -> None:
        self.units.append(unit)
        self._count += len(unit.pieces)
        self._bytes += sum(map(len, unit.pieces)) + len(unit.pieces)


@dataclass(frozen=True, slots=True)
class Room:
    """
    Space for the units of a transaction.

    :ivar operations: Number of operations.
    :ivar bytes: Length of their JSON.
    """

    operations: int
    bytes: int


def room(limits: TransactionLimits, *, fenced: bool = True) -> Room:
    """Return the space that a transaction has for its units."""
    return Room(limits.operations - fenced, limits.bytes - _RESERVED)


def answer_limit(request_length: int) -> int:
    """Return the bytes of the longest response to a write: it repeats what was written, and adds a few fields."""
    return 2 * request_length + 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Response to a transaction.

    :ivar results: Results of the operations that have one, in their order.
    :ivar errors: Errors by index of the operation. If there are any, nothing was applied.
    """

    results: Sequence[Mapping[str, Any]] = ()
    errors: Mapping[int, str] = field(default_factory=dict)


def parse_answer(body: bytes) -> Answer:
    """
    Parse a response with status 200 or 409.

    :raise ValueError: If it is not the response of a Consul server.
    """
    try:
        answer = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(answer, dict) or "Results" not in answer:
        raise ValueError("it has no Results")
    results, errors = ([] if answer.get(key) is None else answer[key] for key in ("Results", "Errors"))
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise ValueError("Results are not a list of objects")
    if not isinstance(errors, list):
        raise ValueError("Errors are not a list")
    by_index: dict[int, str] = {}
    for error in errors:
        if not isinstance(error, dict) or type(error.get("OpIndex")) is not int:
            raise ValueError("an error has no OpIndex")
        by_index.setdefault(error["OpIndex"], str(error.get("What", "")))
    return Answer(results, by_index)


def node_indexes(answer: Answer) -> dict[str, int]:
    """
    Return the indexes of the nodes that a transaction wrote, by name.

    :raise ValueError: If a result is malformed.
    """
    indexes = {}
    for result in answer.results:
        node = result.get("Node")
        if node is None:
            continue
        if (
            not isinstance(node, dict)
            or not isinstance(node.get("Node"), str)
            or type(node.get("ModifyIndex")) is not int
        ):
            raise ValueError("a result has no name or ModifyIndex of a node")
        indexes[node["Node"].lower()] = node["ModifyIndex"]
    return indexes


def describe_error(what: str) -> str:
    """
    Return the text of an error for a log: at most 200 characters, all of them printable.

    Consul quotes values that a device sent, and gives its reason after them.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in what[:4096])
    half = _MOST_TEXT // 2
    return text if len(text) <= _MOST_TEXT else f"{text[: half - 1]}…{text[-half:]}"


def is_denied(what: str) -> bool:
    """Return whether an error means that the ACL token lacks a permission."""
    return "Permission denied" in what or "ACL not found" in what


def is_conflict(what: str) -> bool:
    """Return whether an error means that the catalog changed since it was read."""
    return "index is stale" in what or "doesn't exist" in what or "Missing node registration" in what
