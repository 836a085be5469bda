"""Transactions of several plans that are in progress at the same time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ssdpreg.backends.catalog.changes import NodeChange
from ssdpreg.backends.catalog.plan_run import PlanRun
from ssdpreg.errors import BackendUnavailableError


class TransactionRunner:
    """
    Runner of the transactions of several plans at a time, with one limit for all of them.

    A node is part of one change at a time. The changes of later plans wait until that one is complete, also if it needs
    several attempts. So no two transactions have operations of the same node, and its index and its services are known
    before the operations of the next change are made.

    :param limit: Largest number of transactions in progress.
    """

    def __init__(self, limit: int) -> None:
        self._free = self._limit = limit
        # Those that may have changes that can begin, in the order in which they get a free transaction.
        self._queue: deque[PlanRun] = deque()
        # Those that have not ended.
        self._runs: dict[PlanRun, None] = {}
        # Nodes that are part of a change, and the plans that wait for some of them, in their order.
        self._claimed: set[str] = set()
        self._blocked: dict[str, deque[PlanRun]] = {}
        self._beginning = False
        self._idle: list[Deferred[None]] = []

    async def run(self, run: PlanRun, changes: Iterable[NodeChange], room: Callable[[], None] = lambda: None) -> None:
        """
        Apply the changes of a plan. A rejected change does not stop the others.

        After a transaction with an unknown outcome, no other one begins: this ends all plans.

        :param run: The plan, which receives the result.
        :param changes: Its changes in the order in which to apply them, at most one of each node.
        :param room: Called when none of them can begin, and fewer transactions than the limit are in progress; not
            after an error that stops the plan.
        """
        for change in changes:
            if change.name in self._claimed:
                run.blocked[change.name] = change
                self._blocked.setdefault(change.name, deque()).append(run)
            else:
                self._claimed.add(change.name)
                run.waiting[change.name] = change
        run.room = room
        self._runs[run] = None
        self._queue.append(run)
        self._begin()
        self._end_runs()
        if run in self._runs:
            await self._wait(run)
        if run.failure is not None:
            run.failure.raiseException()

    async def idle(self) -> None:
        """Return when no transaction is in progress, those of cancelled plans included."""
        while self._free < self._limit:
            waiter: Deferred[None] = Deferred()
            self._idle.append(waiter)
            await waiter

    async def _wait(self, run: PlanRun) -> None:
        """Wait until a plan has ended. A cancellation cancels its transactions."""
        run.ended = Deferred()
        try:
            await run.ended
        except CancelledError:
            del self._runs[run]
            self._stop(run)
            for writing in list(run.writing):
                writing.cancel()
            raise

    def _begin(self) -> None:
        """Begin as many transactions as possible."""
        if self._beginning:
            # A transaction has ended at once, without a request.
            return
        self._beginning = True
        while self._free and self._queue:
            run = self._queue[0]
            if run.waiting:
                self._free -= 1
                writing = Deferred.fromCoroutine(run.write_next())
                run.writing.add(writing)
                writing.addBoth(self._end, run, writing)
                continue
            self._queue.popleft()
            room, run.room = run.room, None
            if room is not None:
                room()
        self._beginning = False

    def _end(self, result: Failure | None, run: PlanRun, writing: Deferred[None]) -> None:
        """Process the end of a transaction."""
        self._free += 1
        run.writing.discard(writing)
        if isinstance(result, Failure):
            self._fail(result, run)
        released, run.released = run.released, []
        for name in released:
            self._release(name)
        if run.stopped:
            self._stop(run)
        else:
            self._enqueue(run)
        self._begin()
        self._end_runs()
        if self._free == self._limit:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.called:
                    waiter.callback(None)

    def _fail(self, failure: Failure, run: PlanRun) -> None:
        """Process an error of a transaction as a whole."""
        error = failure.value
        if isinstance(error, BackendUnavailableError):
            for each in [each for each in self._runs if each is run or each.waiting or each.blocked]:
                each.unavailable = each.unavailable or error
                self._stop(each)
        else:
            run.failure = run.failure or failure

    def _stop(self, run: PlanRun) -> None:
        """Give up the changes of a plan that have not begun."""
        run.room = None
        waiting, run.waiting = run.waiting, OrderedDict()
        blocked, run.blocked = run.blocked, {}
        run.given_up += (*waiting.values(), *blocked.values())
        for name in blocked:
            self._blocked[name].remove(run)
        for name in waiting:
            self._release(name)

    def _release(self, name: str) -> None:
        """Let the next plan that waits for a node change it."""
        runs = self._blocked.get(name)
        if not runs:
            self._blocked.pop(name, None)
            self._claimed.discard(name)
            return
        run = runs.popleft()
        run.waiting[name] = run.blocked.pop(name)
        self._enqueue(run)

    def _enqueue(self, run: PlanRun) -> None:
        """Let the waiting changes of a plan begin, before those of later plans."""
        if run.waiting and run not in self._queue:
            self._queue.appendleft(run)

    def _end_runs(self) -> None:
        """Remove the plans that have ended."""
        for run in [each for each in self._runs if not (each.waiting or each.blocked or each.writing)]:
            del self._runs[run]
            if run.ended is not None:
                run.ended.callback(None)
