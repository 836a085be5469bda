"""
Backend for Consul in catalog mode: each device is a node of the catalog, with its services.

Many devices are written by one transaction. Every write begins with a check of the scope's lock, so that of several
daemons only the one that holds the lock can write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater
from zope.interface import implementer

from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.migration import Migration
from ssdpreg.backends.catalog.nodes import CatalogNodes
from ssdpreg.backends.catalog.reader import CatalogReader
from ssdpreg.backends.catalog.requests import ConsulTransactions
from ssdpreg.backends.catalog.writer import CatalogWriter
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.consul_statistics import ConsulStatistics
from ssdpreg.backends.scopes.fence import Fence
from ssdpreg.errors import BackendForgotError, BackendRefusedError, BackendUnavailableError, NotHolderError
from ssdpreg.interfaces import (
    IEarlierRegistrations,
    IKnownRegistrations,
    IOverlappingPlans,
    IRegistryBackend,
    IWriteProbe,
)
from ssdpreg.registration import Outcome, Plan, Registration

#: Share of the nodes whose contents are compared each time. With 30 s between two comparisons, a round takes 10 min.
_SHARE = 1 / 20
#: Nodes that are processed before the reactor processes other events: they take a few milliseconds.
_PART = 1000


@implementer(IRegistryBackend, IWriteProbe, IKnownRegistrations, IEarlierRegistrations, IOverlappingPlans)
class ConsulCatalog(ConsulStatistics):
    """
    Backend that writes the services of one scope to Consul's catalog.

    :param reactor: Provides ``IReactorTime``.
    :param http: Client of Consul.
    :param fence: Lock of the scope.
    :param format: Format of the scope.
    :param migration: Finds the services of agent mode, and removes them after each comparison.
    """

    def __init__(
        self,
        reactor: Any,
        http: ConsulHTTP,
        fence: Fence,
        format: CatalogFormat,
        migration: Migration | None = None,
    ) -> None:
        super().__init__(http)
        self._reactor, self._fence, self._migration = reactor, fence, migration
        self._nodes = CatalogNodes(format)
        self._transactions = ConsulTransactions(reactor, http, fence)
        self._reader = CatalogReader(http, self._transactions, format, self._nodes)
        self._writer = CatalogWriter(self._transactions, format, self._nodes, self._reader)
        # Held while the table of the nodes is read, and while a plan begins.
        self._table = DeferredLock()
        # Session in which everything was read; empty if that is still to be done.
        self._session = ""
        self.known: Mapping[str, Registration] = {}

    async def read(self) -> Mapping[str, Registration]:
        async with self._table:
            return await self._read()

    async def read_earlier(self) -> Collection[Registration]:
        return () if self._migration is None else await self._migration.read()

    async def apply(self, plan: Plan) -> Outcome:
        return await self.apply_overlapping(plan, lambda: None)

    async def apply_overlapping(self, plan: Plan, room: Callable[[], None]) -> Outcome:
        if not plan:
            room()
            return Outcome()
        async with self._table:
            try:
                session = self._current_session()
                await self._transactions.find_limit()
                if not self._has_read(session):
                    # The operations depend on what is in the catalog.
                    await self._read()
                    session = self._session
            except BackendUnavailableError as error:
                return Outcome(unavailable=error)
            except BackendRefusedError as error:
                room()
                return Outcome(refused={each.service_id: error for each in (*plan.register, *plan.deregister)})
            # It begins at once: no other plan and no comparison may begin before.
            applying = Deferred.fromCoroutine(self._writer.apply(plan, session, room))
        return await applying

    async def probe(self) -> None:
        await self._transactions.check_fence()

    async def keep_alive(self) -> None:
        session = self._current_session()
        if self._session and session != self._session:
            self._session = ""
            raise BackendForgotError("the session ended, and this daemon acquired the lock again")

    async def retire(self) -> None:
        """
        Delete the nodes of the devices that left.

        The lock represents the daemon. It is released when the backend is closed.
        """
        async with self._table:
            await self._writer.idle()
            await self._writer.delete_batch(self._current_session())

    async def close(self) -> None:
        if self._migration is not None:
            await self._migration.close()
        await self._http.close()

    def _current_session(self) -> str:
        """
        Return the session that holds the lock.

        :raise NotHolderError: If this daemon does not hold it.
        """
        try:
            session: str = self._fence.operation()["KV"]["Session"]
        except NotHolderError:
            self._session = ""
            raise
        return session

    def _has_read(self, session: str) -> bool:
        """Return whether everything was read in a session, so that the table of the nodes is right."""
        return session == self._session and self._reader.complete

    async def _read(self) -> dict[str, Registration]:
        """Read the catalog when the plans in progress have ended, and return the registrations by service ID."""
        await self._writer.idle()
        session = self._current_session()
        await self._transactions.find_limit()
        if not self._has_read(session):
            # Another daemon may have written since this one held the lock the last time.
            self._session = ""
            await self._reader.read_all()
            self._session = session
        else:
            # If nothing is written, no transaction shows that an operator deleted the key of the lock.
            await self._transactions.check_fence()
            empty = await self._reader.compare(_SHARE)
            await self._writer.delete_batch(session)
            await self._writer.remove_empty(empty, session)
        found = await self._collect()
        if self._migration is not None:
            await self._migration.run(found.keys())
        return found

    async def _collect(self) -> dict[str, Registration]:
        """Return the known registrations by service ID."""
        found: dict[str, Registration] = {}
        names = iter(list(self._nodes.by_name))
        while part := list(islice(names, _PART)):
            found.update((each.service_id, each) for each in self._nodes.registrations(part, self.known))
            if len(part) == _PART:
                await deferLater(self._reactor, 0.0)
        return found
