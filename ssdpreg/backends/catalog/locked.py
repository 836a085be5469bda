"""Backend for Consul in catalog mode with its lock, and with the part that removes the nodes of dead scopes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from ssdpreg.backends.catalog.backend import ConsulCatalog
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.catalog.migration import AgentMigration
from ssdpreg.backends.consul_agent import ConsulAgent
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.scopes.lock import ScopeLock, make_lock
from ssdpreg.backends.scopes.reaper import Reaper, make_reaper
from ssdpreg.interfaces import ILockedBackend
from ssdpreg.registration import Outcome, Plan, Registration

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig


@implementer(ILockedBackend)
class LockedCatalog(ConsulCatalog):
    """
    Backend that acquires the lock of its scope by itself, and releases it when it is closed.

    :param lock: The lock.
    :param reaper: Observes the scopes of the datacenter.
    """

    def __init__(
        self,
        reactor: Any,
        http: ConsulHTTP,
        lock: ScopeLock,
        reaper: Reaper,
        format: CatalogFormat,
        migration: AgentMigration | None = None,
    ) -> None:
        super().__init__(reactor, http, lock, format, migration)
        self.lock, self.reaper = lock, reaper

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        total: Counter[tuple[str, str]] = Counter()
        for statistics in (self._http, self.lock.statistics, self.reaper.statistics):
            total.update(statistics.requests)
        return total

    @property
    def seconds(self) -> Mapping[str, float]:
        total: defaultdict[str, float] = defaultdict(float)
        for statistics in (self._http, self.lock.statistics, self.reaper.statistics):
            for operation, seconds in statistics.seconds.items():
                total[operation] += seconds
        return total

    async def read(self) -> Mapping[str, Registration]:
        await self._start()
        return await super().read()

    async def apply_overlapping(self, plan: Plan, room: Callable[[], None]) -> Outcome:
        if plan:
            await self._start()
        return await super().apply_overlapping(plan, room)

    async def keep_alive(self) -> None:
        await self._start()
        await super().keep_alive()

    async def close(self) -> None:
        await self.reaper.stop()
        await self.lock.stop()
        await super().close()

    async def _start(self) -> None:
        """Start the lock and the reaper, unless they have started, and wait for the first attempt to acquire it."""
        self.lock.start()
        self.reaper.start()
        await self.lock.decided()


def make_backend(reactor: Any, config: ConsulConfig, scope: str) -> LockedCatalog:
    """See :meth:`ssdpreg.interfaces.IBackendMaker.make_backend`."""
    datacenter = {} if config.datacenter is None else {"dc": config.datacenter}
    lock = make_lock(reactor, config, scope)
    return LockedCatalog(
        reactor,
        connect(reactor, config, datacenter),
        lock,
        make_reaper(reactor, config, scope, lock),
        CatalogFormat(scope, config.node_prefix, config.datacenter),
        AgentMigration(ConsulAgent(connect(reactor, config), scope)),
    )
