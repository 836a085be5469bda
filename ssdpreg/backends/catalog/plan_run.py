"""Changes of one plan on their way to Consul's catalog, written in transactions of many devices each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ssdpreg.backends.catalog.changes import NodeChange, Step, leaves_nothing, make_step
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.nodes import CatalogNode, CatalogNodes
from ssdpreg.backends.catalog.reader import CatalogReader
from ssdpreg.backends.catalog.requests import ConsulTransactions, TransactionTooLargeError
from ssdpreg.backends.catalog.transactions import Transaction, describe_error, is_conflict, is_denied, room
from ssdpreg.backends.http_client import ResponseTooLongError
from ssdpreg.errors import BackendRefusedError, BackendUnavailableError

#: Number of times that a device is tried again in one plan after its node had changed.
_MOST_ATTEMPTS = 2


class PlanRun:
    """
    Changes of one plan. :class:`~ssdpreg.backends.catalog.runner.TransactionRunner` decides when they are written.

    :param session: Session that held the lock when the changes were planned. They are not written in another one.
    :ivar batch: Batch in which the nodes that lose all their services are deleted later; empty if at once.
    :ivar checked: Names of the nodes that no program uses.
    :ivar waiting: Changes that can begin, by name of the node.
    :ivar blocked: Changes of nodes that are part of another plan.
    :ivar writing: Transactions in progress.
    :ivar released: Names of nodes whose changes have ended since the owner emptied this list.
    :ivar given_up: Changes that were not tried, or have an unknown outcome.
    :ivar applied: IDs of the services of complete changes.
    :ivar refused: Errors of rejected services.
    :ivar unavailable: Reason why changes were given up.
    :ivar failure: The first unexpected exception.
    :ivar room: Called when no change waits any more. None after that.
    :ivar ended: Fires when the plan has ended.
    """

    def __init__(
        self,
        transactions: ConsulTransactions,
        format: CatalogFormat,
        nodes: CatalogNodes,
        reader: CatalogReader,
        session: str,
    ) -> None:
        self._transactions, self._format, self._nodes, self._reader = transactions, format, nodes, reader
        self._session = session
        self.batch = ""
        self.checked: set[str] = set()
        self.waiting: OrderedDict[str, NodeChange] = OrderedDict()
        self.blocked: dict[str, NodeChange] = {}
        self.writing: set[Deferred[None]] = set()
        self.released: list[str] = []
        self.given_up: list[NodeChange] = []
        self.applied: set[str] = set()
        self.refused: dict[str, BackendRefusedError] = {}
        self.unavailable: BackendUnavailableError | None = None
        self.failure: Failure | None = None
        self.room: Callable[[], None] | None = None
        self.ended: Deferred[None] | None = None

    @property
    def stopped(self) -> bool:
        """Whether an error keeps further changes from being written."""
        return self.unavailable is not None or self.failure is not None

    @property
    def unfinished(self) -> set[str]:
        """IDs of the services of changes that are not complete."""
        return {service_id for each in self.given_up for service_id in each.service_ids}

    async def write_next(self) -> None:
        """
        Write one transaction with as many of the waiting changes as it has room for.

        :raise BackendUnavailableError: If the outcome is unknown, or if the run was stopped meanwhile.
        """
        taken: dict[str, NodeChange] = {}
        try:
            await self._write_next(taken)
        except BaseException:
            self.given_up += taken.values()
            raise
        finally:
            self.released += (name for name in taken if name not in self.waiting)

    async def _write_next(self, taken: dict[str, NodeChange]) -> None:
        """
        Write one transaction.

        :param taken: Receives the changes that are part of it.
        """
        steps: dict[str, tuple[NodeChange, Step]] = {}
        transaction = self._transactions.transaction()
        while self.waiting:
            name, change = self.waiting.popitem(last=False)
            taken[name] = change
            try:
                delete = await self._may_delete(change)
            except BackendRefusedError as error:
                self._refuse(change, error)
                self._release(taken, name)
                continue
            node, space = self._nodes.by_name.get(name), room(transaction.limits)
            step = make_step(self._format, node, change, space, delete=delete, batch=self.batch)
            if step.unit is None:
                self._finish(change, step)
                self._release(taken, name)
            elif transaction.add(step.unit):
                steps[name] = (change, step)
            else:
                self.waiting[name] = taken.pop(name)
                self.waiting.move_to_end(name, last=False)
                break
        if self.unavailable is not None:
            # Another transaction had no response while this one was made.
            raise self.unavailable
        try:
            if transaction.units:
                await self._write(transaction, steps)
        except TransactionTooLargeError:
            # The limits are known now.
            self.waiting.update((name, change) for name, (change, _) in steps.items())
        except BackendRefusedError as error:
            for change, _ in steps.values():
                self._refuse(change, error)

    def _release(self, taken: dict[str, NodeChange], name: str) -> None:
        """Take a change that needs no operation out of a transaction."""
        del taken[name]
        if name not in self.waiting:
            self.released.append(name)

    async def _may_delete(self, change: NodeChange) -> bool:
        """Return whether a change leaves an existing node that no program uses."""
        if change.name in self._nodes.uncertain:
            # A cancelled plan may have changed it.
            await self._reader.refresh(change.name)
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
            written = await self._transactions.write(transaction, self._session)
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
            self.waiting[change.name] = change

    def _finish(self, change: NodeChange, step: Step) -> None:
        """Record the effect of a step, and continue with the rest of its change."""
        self.applied |= step.done
        self.refused |= step.refused
        if step.rest is not None:
            self.waiting[change.name] = step.rest

    def _refuse(self, change: NodeChange, error: BackendRefusedError) -> None:
        self.refused |= dict.fromkeys(change.service_ids, error)

    def _refuse_registrations(self, change: NodeChange, error: BackendRefusedError) -> None:
        self.refused |= dict.fromkeys(change.register, error)
