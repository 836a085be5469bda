"""Transactions for the nodes of other scopes. Several fences begin each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ssdpreg.backends.catalog.format import Operation
from ssdpreg.backends.catalog.transactions import (
    FEWEST_OPERATIONS,
    answer_limit,
    encode_operation,
    is_denied,
    parse_answer,
)
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.scopes.holder import scope_key
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError

#: Characters of an error that are repeated in a log line.
_LONGEST_REASON = 200

_Key = TypeVar("_Key", str, tuple[str, int])


class FenceError(BackendUnavailableError):
    """
    A transaction was rejected by one of the operations at its beginning.

    :ivar number: Number of that operation, from 0.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def key_fence(scope: str, index: int | None) -> Operation:
    """
    Return the operation that fails if the lock of a scope was acquired since it was read.

    :param index: Index of the key; None if there was none.
    """
    if index is None:
        return {"KV": {"Verb": "check-not-exists", "Key": scope_key(scope)}}
    return {"KV": {"Verb": "check-index", "Key": scope_key(scope), "Index": index}}


async def write_units(
    http: ConsulHTTP,
    operation: str,
    units: Mapping[_Key, Sequence[Operation]],
    fences: Sequence[Operation],
    **query: str,
) -> list[_Key]:
    """
    Apply units of operations in as few transactions as possible. Units that Consul rejects are left out.

    :param operation: Name of the requests in the statistics.
    :param units: Operations by a key. Those of a unit are applied completely or not at all.
    :param fences: Operations that begin each transaction.
    :param query: Query of the URL.
    :return: Keys of the units that were applied.
    :raise FenceError: If a fence was rejected.
    :raise BackendError: If Consul does not answer, or the token lacks a permission.
    """
    applied: list[_Key] = []
    part: dict[_Key, Sequence[Operation]] = {}
    count = len(fences)
    for key, operations in units.items():
        if part and count + len(operations) > FEWEST_OPERATIONS:
            applied += await _write(http, operation, part, fences, query)
            part, count = {}, len(fences)
        part[key] = operations
        count += len(operations)
    return applied + await _write(http, operation, part, fences, query)


async def _write(
    http: ConsulHTTP,
    operation: str,
    units: Mapping[_Key, Sequence[Operation]],
    fences: Sequence[Operation],
    query: Mapping[str, Any],
) -> list[_Key]:
    rest: dict[_Key, Sequence[Operation]] = dict(units)
    while rest:
        pieces = [*fences, *(each for operations in rest.values() for each in operations)]
        body = f"[{','.join(map(encode_operation, pieces))}]".encode()
        response = await http.transact(operation, body, answer_limit(len(body)), **query)
        try:
            errors = parse_answer(response.body).errors
        except ValueError as error:
            raise BackendUnavailableError(f"{http.url}/v1/txn: the response is malformed: {error}") from error
        if not errors:
            return list(rest)
        for key in _find_failed(errors, len(fences), rest):
            del rest[key]
    return []


def _find_failed(errors: Mapping[int, str], fences: int, units: Mapping[_Key, Sequence[Operation]]) -> set[_Key]:
    """
    Return the keys of the units with an error.

    :param errors: Errors by index of the operation.
    :param fences: Number of operations before those of the units.
    :raise FenceError: If one of those has an error.
    :raise BackendRefusedError: If the token lacks a permission.
    :raise BackendUnavailableError: If the errors belong to no operation.
    """
    keys = [key for key, operations in units.items() for _ in operations]
    for number, what in sorted(errors.items()):
        if is_denied(what):
            raise BackendRefusedError(403, what[:_LONGEST_REASON])
        if number < fences:
            raise FenceError(number, what[:_LONGEST_REASON])
    failed = {keys[number - fences] for number in errors if number - fences < len(keys)}
    if not failed:
        raise BackendUnavailableError("a transaction has errors of unknown operations")
    return failed
