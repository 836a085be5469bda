"""Application of a plan to Consul's catalog: many devices in each transaction, and several transactions at a time."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable

from ssdpreg.backends.catalog.changes import NodeChange, Step, group_changes, leaves_nothing, make_step
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.nodes import CatalogNode, CatalogNodes
from ssdpreg.backends.catalog.reader import CatalogReader
from ssdpreg.backends.catalog.requests import MOST_TRANSACTIONS, ConsulTransactions, TransactionTooLargeError
from ssdpreg.backends.catalog.transactions import Transaction, describe_error, is_conflict, is_denied, room
from ssdpreg.backends.changes import run_parallel
from ssdpreg.backends.http_client import ResponseTooLongError
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError
from ssdpreg.registration import Outcome, Plan

#: Nodes whose services are listed one by one before their deletion, in one plan. A request for each of more nodes would
#: delay other changes.
_MOST_INSPECTIONS = MOST_TRANSACTIONS
#: The same between two plans, if other programs use some of the nodes.
_MOST_INSPECTIONS_OF_BATCH = 50
#: Number of times that a device is tried again in one plan after its node had changed.
_MOST_ATTEMPTS = 2


class CatalogWriter:
    """
    Writer of one scope.

    :param transactions: Client for transactions.
    :param format: Format of the scope.
    :param nodes: Table of the known nodes, which the writer keeps up to date.
    :param reader: Reads single nodes.
    """

    def __init__(
        self, transactions: ConsulTransactions, format: CatalogFormat, nodes: CatalogNodes, reader: CatalogReader
    ) -> None:
        self._transactions, self._format, self._nodes, self._reader = transactions, format, nodes, reader
        self._batch, self._batches = "", 0

    async def apply(self, plan: Plan, session: str) -> Outcome:
        """
        Apply a plan as :meth:`ssdpreg.interfaces.IRegistryBackend.apply` does.

        If many devices leave, only their services are removed, and :meth:`delete_batch` deletes their nodes.

        :param session: Session that holds the lock. The name of a batch is a digest of it, which no other daemon uses.
        """
        changes = group_changes(plan.register, plan.deregister, self._nodes.misplaced, self._format)
        run = self._start(changes.values())
        if run.count_leaving() > _MOST_INSPECTIONS:
            if not self._batch:
                self._batches += 1
                self._batch = hashlib.sha256(f"{session}-{self._batches}".encode()).hexdigest()[:16]
            run.batch = self._batch
        await run_parallel([run.work] * MOST_TRANSACTIONS, MOST_TRANSACTIONS)
        planned = {each.service_id for each in (*plan.register, *plan.deregister)}
        refused = {service_id: error for service_id, error in run.refused.items() if service_id in planned}
        # A service that moves to another node is part of two changes.
        applied = (run.applied & planned) - refused.keys() - run.unfinished
        return Outcome(frozenset(applied), refused, run.unavailable)

    async def remove_empty(self, names: Iterable[str]) -> None:
        """
        Remove nodes that have no service and that no other program uses.

        :raise BackendError: If that is not possible now.
        """
        await self._remove(names, checked=False)

    async def delete_batch(self) -> None:
        """
        Delete the nodes whose services were removed by earlier plans, except those that other programs use.

        The plans may be those of a daemon that held the lock before.

        :raise BackendError: If that is not possible now.
        """
        batches: dict[str, list[str]] = {}
        for name in self._nodes.emptied:
            if self._nodes.has_no_services(name):
                batches.setdefault(self._nodes.by_name[name].content.batch, []).append(name)
        for batch, names in batches.items():
            # The own services are removed with their checks: any other entry belongs to another program.
            if await self._reader.is_used(batch):
                await self._remove(names[:_MOST_INSPECTIONS_OF_BATCH], checked=False)
            else:
                await self._remove(names, checked=True)
        # Nodes that are left are found by the comparison.
        self._nodes.emptied.clear()
        self._batch = ""

    async def _remove(self, names: Iterable[str], *, checked: bool) -> None:
        run = self._start(map(NodeChange, names))
        if checked:
            run.checked.update(names)
        await run_parallel([run.work] * MOST_TRANSACTIONS, MOST_TRANSACTIONS)
        if run.unavailable is not None:
            raise run.unavailable

    def _start(self, changes: Iterable[NodeChange]) -> _Run:
        return _Run(self._transactions, self._format, self._nodes, self._reader, changes)


class _Run:
    """
    Changes that are applied by several workers.

    :ivar batch: Batch in which the nodes that lose all their services are deleted later; empty if at once.
    :ivar checked: Names of the nodes that no program uses.
    :ivar applied: IDs of the services of complete changes.
    :ivar refused: Errors of rejected services.
    :ivar unavailable: Reason why the remaining changes were not tried, or have an unknown outcome.
    """

    def __init__(
        self,
        transactions: ConsulTransactions,
        format: CatalogFormat,
        nodes: CatalogNodes,
        reader: CatalogReader,
        changes: Iterable[NodeChange],
    ) -> None:
        self._transactions, self._format, self._nodes, self._reader = transactions, format, nodes, reader
        self._waiting = deque(changes)
        self._in_progress: dict[str, NodeChange] = {}
        self.batch = ""
        self.checked: set[str] = set()
        self.applied: set[str] = set()
        self.refused: dict[str, BackendRefusedError] = {}
        self.unavailable: BackendUnavailableError | None = None

    @property
    def unfinished(self) -> set[str]:
        """IDs of the services of changes that are not complete."""
        return {service_id for each in (*self._waiting, *self._in_progress.values()) for service_id in each.service_ids}

    def count_leaving(self) -> int:
        """Return the number of nodes that lose all their services."""
        return sum(leaves_nothing(self._nodes.by_name.get(each.name), each) for each in self._waiting)

    async def work(self) -> None:
        """Apply changes until none is left, or the backend is unavailable."""
        while self._waiting and self.unavailable is None:
            steps: dict[str, tuple[NodeChange, Step]] = {}
            transaction = self._transactions.transaction()
            try:
                while self._waiting and await self._add_next(transaction, steps):
                    pass
                if transaction.units:
                    await self._write(transaction, steps)
            except TransactionTooLargeError:
                # The limits are known now.
                self._waiting.extend(change for change, _ in steps.values())
            except BackendUnavailableError as error:
                self.unavailable = error
                return
            except BackendRefusedError as error:
                for change, _ in steps.values():
                    self._refuse(change, error)
            for name in steps:
                self._in_progress.pop(name, None)

    async def _add_next(self, transaction: Transaction, steps: dict[str, tuple[NodeChange, Step]]) -> bool:
        """
        Add the next change to a transaction.

        :return: Whether there is room for more.
        """
        change = self._waiting.popleft()
        self._in_progress[change.name] = change
        try:
            delete = await self._may_delete(change)
        except BackendRefusedError as error:
            self._refuse(change, error)
            del self._in_progress[change.name]
            return True
        node = self._nodes.by_name.get(change.name)
        step = make_step(self._format, node, change, room(transaction.limits), delete=delete, batch=self.batch)
        if step.unit is None:
            self._finish(change, step)
            del self._in_progress[change.name]
            return True
        if not transaction.add(step.unit):
            self._waiting.appendleft(change)
            del self._in_progress[change.name]
            return False
        steps[change.name] = (change, step)
        return True

    async def _may_delete(self, change: NodeChange) -> bool:
        """Return whether a change leaves an existing node that no program uses."""
        node = self._nodes.by_name.get(change.name)
        if node is None or self.batch or not leaves_nothing(node, change):
            return False
        if change.name in self.checked:
            return True
        try:
            inspection = await self._reader.inspect(change.name)
        except ResponseTooLongError:
            # Hundreds of services, which are not those of a device.
            return False
        if inspection.node is None:
            self._nodes.remove(change.name)
            return False
        if not inspection.own <= {each.name.lower() for each in node.services}:
            await self._reader.refresh(change.name)
            return False
        node.content, node.index = inspection.node.content, inspection.node.index
        return not inspection.foreign

    async def _write(self, transaction: Transaction, steps: dict[str, tuple[NodeChange, Step]]) -> None:
        known = dict.fromkeys(steps, False)
        try:
            written = await self._transactions.write(transaction)
            known = dict.fromkeys(steps, True)
        except (BackendRefusedError, TransactionTooLargeError):
            known = dict.fromkeys(steps, True)
            raise
        finally:
            for name in (name for name, is_known in known.items() if not is_known):
                self._set_uncertain(name, *steps[name])
        for name, (change, step) in steps.items():
            if name not in written.failed:
                self._record(name, change, step, written.indexes)
        for name, what in written.failed.items():
            change, _ = steps[name]
            try:
                await self._fail(change, what)
            except BackendRefusedError as error:
                self._refuse(change, error)

    def _set_uncertain(self, name: str, change: NodeChange, step: Step) -> None:
        """Remember what may be on a node after a transaction with an unknown outcome."""
        node = self._nodes.by_name.get(name)
        before = () if node is None else node.services
        self._nodes.uncertain[name] = (*self._nodes.uncertain.get(name, ()), *before, *step.services)

    def _record(self, name: str, change: NodeChange, step: Step, indexes: dict[str, int]) -> None:
        node = self._nodes.by_name.get(name)
        if step.content is None:
            self._nodes.remove(name)
        elif name in indexes:
            if node is None:
                node = self._nodes.by_name[name] = CatalogNode(step.content, 0)
            node.content, node.index = step.content, indexes[name]
            node.lost = tuple(each for each in node.lost if each not in step.done)
            self._nodes.set_services(name, step.services)
            if step.content.batch:
                self._nodes.emptied[name] = None
        self._finish(change, step)

    async def _fail(self, change: NodeChange, what: str) -> None:
        """Process an error of the operations of a change."""
        if is_denied(what):
            self._refuse(change, BackendRefusedError(403, describe_error(what)))
            return
        if not is_conflict(what):
            self._refuse(change, BackendRefusedError(400, describe_error(what)))
            return
        self.checked.discard(change.name)
        inspection = await self._reader.refresh(change.name)
        if inspection.exists and inspection.node is None:
            error = BackendRefusedError(409, f"the node {change.name} of the catalog belongs to {inspection.owner}")
            self._refuse_registrations(change, error)
            # The services that were registered on the node before do not exist any more.
            self.applied |= change.remove.keys()
        elif change.attempts >= _MOST_ATTEMPTS:
            reason = describe_error(what)
            if inspection.foreign:
                reason = f"{reason}: another program has a service on the node"
            self._refuse(change, BackendRefusedError(409, reason))
        else:
            change.attempts += 1
            self._waiting.append(change)

    def _finish(self, change: NodeChange, step: Step) -> None:
        """Record the effect of a step, and continue with the rest of its change."""
        self.applied |= step.done
        self.refused |= step.refused
        if step.rest is not None:
            self._waiting.append(step.rest)

    def _refuse(self, change: NodeChange, error: BackendRefusedError) -> None:
        self.refused |= dict.fromkeys(change.service_ids, error)

    def _refuse_registrations(self, change: NodeChange, error: BackendRefusedError) -> None:
        self.refused |= dict.fromkeys(change.register, error)
