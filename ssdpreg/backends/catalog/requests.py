"""Transactions sent to Consul: fenced writes, and reads of many entries at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.task import deferLater

from ssdpreg.backends.catalog.format import Operation
from ssdpreg.backends.catalog.transactions import (
    Answer,
    Transaction,
    TransactionLimits,
    answer_limit,
    describe_error,
    encode_operation,
    is_denied,
    node_indexes,
    parse_answer,
)
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import Response
from ssdpreg.backends.scopes.fence import Fence
from ssdpreg.errors import BackendBusyError, BackendRefusedError, BackendUnavailableError, NotHolderError

#: Transactions under way at a time.
MOST_TRANSACTIONS = 4
#: Operations of the read that finds the limit of operations: more than any Consul accepts, or exactly its limit.
_PROBE_OPERATIONS = 128
#: Bytes of the longest result of an operation that reads: a service with 64 values of 512 bytes in its Meta.
_LONGEST_RESULT = 48 * 1024
#: Seconds without transactions after a response with status 429, and the most that such a response can request.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 5.0
#: Number of times that a transaction is sent again after such a response.
_MOST_REPEATS = 5


class TransactionTooLargeError(BackendRefusedError):
    """A transaction has more operations or bytes than the server accepts. Its limits are known now."""


@dataclass(slots=True)
class Written:
    """
    Result of a write.

    :ivar indexes: Index of the latest change of each node that was written, by name.
    :ivar failed: Errors of the units that were left out, by key. All others are applied.
    """

    indexes: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class ConsulTransactions:
    """
    Client for transactions.

    If the agent limits the rate of requests, all transactions pause, and those that it rejected are sent again.
    Otherwise work of many transactions, such as the reading of all services, would never be finished.

    :param reactor: Provides ``IReactorTime``.
    :param http: Client of Consul.
    :param fence: Lock of the scope. Every write checks it.
    :ivar limits: Limits of the server.
    """

    def __init__(self, reactor: Any, http: ConsulHTTP, fence: Fence) -> None:
        self._reactor, self._http, self._fence = reactor, http, fence
        self._paused_until = 0.0
        self.limits = TransactionLimits()
        self._limit_known = False

    async def find_limit(self) -> None:
        """Find the number of operations that the server accepts, unless it is known already."""
        if self._limit_known:
            return
        operation = encode_operation({"KV": {"Verb": "check-not-exists", "Key": "ssdpreg/limit"}})
        body = f"[{','.join([operation] * _PROBE_OPERATIONS)}]".encode()
        try:
            await self._send("transaction-limit", lambda: body)
            # Also a response with errors shows that the operations were not too many.
            self.limits.operations = _PROBE_OPERATIONS
        except BackendRefusedError as error:
            if error.status != 413:
                raise
            self.limits.learn(error.reason)
        self._limit_known = True

    def transaction(self, *, fenced: bool = True) -> Transaction:
        """Return an empty transaction."""
        return Transaction(self.limits, fenced)

    async def write(self, transaction: Transaction, session: str) -> Written:
        """
        Write a transaction. The units that Consul rejects are left out, and all others are sent again.

        :param session: Session that held the lock when the operations were made. They may be wrong in another one,
            because other daemons may have written meanwhile.
        :raise NotHolderError: If this session does not hold the lock. Nothing was written.
        :raise TransactionTooLargeError: If the transaction is too large. Nothing was written.
        :raise BackendUnavailableError: If the outcome is unknown.
        :raise BackendRefusedError: If Consul rejects the request as a whole.
        """
        failed: dict[str, str] = {}
        while transaction.units:
            answer = await self._send_write(transaction, session)
            if not answer.errors:
                return Written(self._parse_indexes(answer), failed)
            newly_failed = transaction.find_failed(answer.errors)
            if not newly_failed:
                raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response has errors of unknown operations")
            failed |= newly_failed
            transaction = transaction.without(newly_failed)
        return Written({}, failed)

    async def read(self, operations: Sequence[Operation], *, consistent: bool) -> tuple[list[Any], dict[int, str]]:
        """
        Read entries. A missing entry does not prevent the others from being read.

        :param operations: Operations that read. There must not be more than the limit.
        :param consistent: Whether the leader verifies that it still is the leader.
        :return: Results of the operations that have one, in their order, and errors by index of the operation.
        :raise BackendUnavailableError: If Consul does not respond.
        :raise BackendRefusedError: If Consul rejects the request.
        """
        errors: dict[int, str] = {}
        left = list(range(len(operations)))
        options = {"consistent": ""} if consistent else {}
        while left:
            body = f"[{','.join(encode_operation(operations[index]) for index in left)}]".encode()
            more = _LONGEST_RESULT * len(left)
            try:
                answer = self._parse((await self._send("transaction-read", partial(bytes, body), more, **options)).body)
            except BackendRefusedError as error:
                if error.status == 413:
                    self.limits.learn(error.reason)
                raise
            if not answer.errors:
                return list(answer.results), errors
            found = {left[index]: what for index, what in answer.errors.items() if 0 <= index < len(left)}
            if not found:
                raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response has errors of unknown operations")
            errors |= found
            left = [index for index in left if index not in found]
        return [], errors

    async def check_fence(self) -> None:
        """
        Check in Consul that this daemon holds the lock.

        :raise BackendError: If it does not, or if Consul does not respond.
        """
        await self._send_write(Transaction(self.limits))

    async def _send_write(self, transaction: Transaction, session: str | None = None) -> Answer:
        operation: Operation = {}

        def make_body() -> bytes:
            # After a pause, another session may hold the lock.
            nonlocal operation
            operation = self._fence.operation()
            if session is not None and operation["KV"]["Session"] != session:
                raise NotHolderError(f"{self._http.url}: the session in which the changes were planned has ended")
            return transaction.body(encode_operation(operation))

        try:
            response = await self._send("transaction-write", make_body)
        except BackendRefusedError as error:
            if error.status != 413:
                raise
            # Another transaction of the same size may have shown the limit already.
            if not self.limits.learn(error.reason) and transaction.fits:
                raise
            raise TransactionTooLargeError(error.status, error.reason) from error
        answer = self._parse(response.body)
        what = answer.errors.get(0)
        if what is None:
            return answer
        if is_denied(what):
            raise BackendRefusedError(403, f"the ACL token may not read the key of the lock: {describe_error(what)}")
        # Another transaction may have reported this already, and the lock may be acquired again.
        with suppress(NotHolderError):
            if self._fence.operation() == operation:
                self._fence.lost()
        raise NotHolderError(f"{self._http.url}: this daemon lost the lock: {describe_error(what)}")

    async def _send(self, name: str, make_body: Callable[[], bytes], more: int = 0, **options: str) -> Response:
        """
        Send a transaction, and send it again if the agent limits the rate of requests.

        :param name: Name of the request in the statistics.
        :param make_body: Returns the body.
        :param more: Bytes of the longest response beyond those of a write.
        """
        repeats = 0
        while True:
            while (pause := self._paused_until - self._reactor.seconds()) > 0:
                await deferLater(self._reactor, pause)
            body = make_body()
            try:
                return await self._http.transact(name, body, answer_limit(len(body)) + more, **options)
            except BackendBusyError as error:
                if repeats == _MOST_REPEATS:
                    raise
                repeats += 1
                pause = min(max(error.retry_after or 0.0, _SHORTEST_PAUSE), _LONGEST_PAUSE)
                self._paused_until = self._reactor.seconds() + pause

    def _parse(self, body: bytes) -> Answer:
        try:
            return parse_answer(body)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response is malformed: {error}") from error

    def _parse_indexes(self, answer: Answer) -> dict[str, int]:
        try:
            return node_indexes(answer)
        except ValueError as error:
            raise BackendUnavailableError(f"{self._http.url}/v1/txn: the response is malformed: {error}") from error


def match_results(operations: Iterable[Operation], results: Iterable[Any], errors: Iterable[int]) -> list[Any]:
    """
    Return the result of each operation that reads, or None.

    Consul leaves out results that the token may not read.

    :param operations: Operations that read a service or a check.
    :param results: Results in the order of the operations.
    :param errors: Indexes of the operations that have none.
    """
    failed = set(errors)
    waiting = iter(results)
    result = next(waiting, None)
    matched: list[Any] = []
    for index, operation in enumerate(operations):
        if index in failed or result is None or not _matches(operation, result):
            matched.append(None)
            continue
        (found,) = result.values()
        matched.append(found)
        result = next(waiting, None)
    return matched


def _matches(operation: Operation, result: Any) -> bool:
    if not isinstance(result, dict) or len(result) != 1:
        return False
    ((kind, found),) = result.items()
    wanted = operation.get(kind)
    if wanted is None or not isinstance(found, dict):
        return False
    key = {"Service": "ID", "Check": "CheckID", "Node": "Node"}[kind]
    return str(found.get(key)).lower() == str(wanted[kind][key]).lower()
