"""Application of plans to Consul's catalog: many devices in each transaction, and several transactions at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from ssdpreg.backends.catalog.changes import NodeChange, group_changes, leaves_nothing
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.nodes import CatalogNodes
from ssdpreg.backends.catalog.plan_run import PlanRun
from ssdpreg.backends.catalog.reader import CatalogReader
from ssdpreg.backends.catalog.requests import MOST_TRANSACTIONS, ConsulTransactions
from ssdpreg.backends.catalog.runner import TransactionRunner
from ssdpreg.registration import Outcome, Plan

#: Nodes whose services are listed one by one before their deletion, in one plan. A request for each of more nodes would
#: delay other changes.
_MOST_INSPECTIONS = MOST_TRANSACTIONS
#: The same between two plans, if other programs use some of the nodes.
_MOST_INSPECTIONS_OF_BATCH = 50


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
        self._runner = TransactionRunner(MOST_TRANSACTIONS)
        self._batch, self._batches = "", 0

    async def apply(self, plan: Plan, session: str, room: Callable[[], None]) -> Outcome:
        """
        Apply a plan as :meth:`ssdpreg.interfaces.IOverlappingPlans.apply_overlapping` does.

        If many devices leave, only their services are removed, and :meth:`delete_batch` deletes their nodes.

        :param session: Session that holds the lock. The name of a batch is a digest of it, which no other daemon uses.
        """
        changes = group_changes(plan.register, plan.deregister, self._nodes.misplaced, self._format)
        run = self._make_run(session)
        leaving = sum(leaves_nothing(self._nodes.by_name.get(each.name), each) for each in changes.values())
        if leaving > _MOST_INSPECTIONS:
            if not self._batch:
                self._batches += 1
                self._batch = hashlib.sha256(f"{session}-{self._batches}".encode()).hexdigest()[:16]
            run.batch = self._batch
        await self._runner.run(run, changes.values(), room)
        planned = {each.service_id for each in (*plan.register, *plan.deregister)}
        refused = {service_id: error for service_id, error in run.refused.items() if service_id in planned}
        # A service that moves to another node is part of two changes.
        applied = (run.applied & planned) - refused.keys() - run.unfinished
        return Outcome(frozenset(applied), refused, run.unavailable)

    async def idle(self) -> None:
        """Return when no transaction is in progress."""
        await self._runner.idle()

    async def remove_empty(self, names: Iterable[str], session: str) -> None:
        """
        Remove nodes that have no service and that no other program uses.

        :raise BackendError: If that is not possible now.
        """
        await self._remove(names, session, checked=False)

    async def delete_batch(self, session: str) -> None:
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
                await self._remove(names[:_MOST_INSPECTIONS_OF_BATCH], session, checked=False)
            else:
                await self._remove(names, session, checked=True)
        # Nodes that are left are found by the comparison.
        self._nodes.emptied.clear()
        self._batch = ""

    async def _remove(self, names: Iterable[str], session: str, *, checked: bool) -> None:
        run = self._make_run(session)
        if checked:
            run.checked.update(names)
        await self._runner.run(run, map(NodeChange, names))
        if run.unavailable is not None:
            raise run.unavailable

    def _make_run(self, session: str) -> PlanRun:
        return PlanRun(self._transactions, self._format, self._nodes, self._reader, session)
