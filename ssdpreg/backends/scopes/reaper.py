"""
Reaper: marks and removes the nodes of scopes whose daemons have ended.

Nothing in Consul ends a node of the catalog. The lock of a scope shows whether a daemon of the scope is alive. In each
datacenter, one of the daemons in catalog mode observes the locks: the holder of the key ``ssdpreg/reaper``. The session
is the one that holds the lock of the daemon's scope.

A scope may also look dead because Consul, or the network between Consul and a daemon, has a fault. The marks are
therefore additions to the nodes that change nothing else, and a daemon that returns removes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ssdpreg.backends.catalog.format import Operation
from ssdpreg.backends.consul_connection import connect
from ssdpreg.backends.scopes.dead_scopes import DeadScope, DeadScopes
from ssdpreg.backends.scopes.lock import ScopeLock
from ssdpreg.backends.scopes.lock_state import read_boot_time
from ssdpreg.backends.scopes.nodes import Removal, ScopeNodes
from ssdpreg.backends.scopes.transactions import FenceError, key_fence
from ssdpreg.errors import BackendError, BackendRefusedError
from ssdpreg.interfaces import IRequestStatistics, IScopeReaper
from ssdpreg.timers import RepeatingCall

if TYPE_CHECKING:
    from ssdpreg.config import ConsulConfig

#: The lock of the reaper.
REAPER_KEY = "ssdpreg/reaper"

#: Seconds between two rounds.
_INTERVAL = 10.0
#: Seconds between two attempts to become the reaper, before jitter. Each daemon of the datacenter makes them.
_ELECTION_INTERVAL = 45.0
#: Seconds without an answer to the listing of the locks, after which the observation begins again.
_LONGEST_GAP = 30.0
#: Nodes that are marked or removed in one round.
_MOST_NODES = 300


@implementer(IScopeReaper)
class Reaper:
    """
    Reaper of a datacenter, while this daemon is elected; and removal of the marks on its own scope.

    :param reactor: Provides ``IReactorTime``.
    :param nodes: Nodes of all scopes.
    :param lock: Lock of the scope of this daemon.
    :param reap_after: Seconds without a daemon after which the nodes of a scope are removed, if the daemon of the scope
        did not write its own value into the key of its lock. Earlier versions did not.
    :param boot_time: Returns the time since the boot in seconds, time in suspension included.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        nodes: ScopeNodes,
        lock: ScopeLock,
        reap_after: float,
        boot_time: Callable[[], float] = read_boot_time,
        random: Random | None = None,
    ) -> None:
        self._nodes, self._lock = nodes, lock
        self._boot_time, self._random = boot_time, random or Random()
        self._dead = DeadScopes(reap_after)
        self._elected = False
        self._elect_at = -math.inf
        self._observed_at = -math.inf
        # Acquisition of the lock after which the marks of the own scope were removed.
        self._unmarked_for = 0
        self._round: Deferred[None] | None = None
        self._rounds = RepeatingCall(reactor, _INTERVAL, self._start_round, self.log, "Round of the reaper")
        self.marked = self.removed = self.kept = self.failures = 0
        lock.subscribe(self._lock_changed)

    # Numbers for readers.

    @property
    def statistics(self) -> IRequestStatistics:
        """Statistics of the requests."""
        return self._nodes.statistics

    @property
    def elected(self) -> bool:
        return self._elected and self._lock.held

    @property
    def scopes(self) -> int:
        return self._dead.scopes

    @property
    def dead_scopes(self) -> int:
        return self._dead.count(self._boot_time())

    # Start and stop.

    def start(self) -> None:
        """Begin the rounds, unless they have begun."""
        if not self._rounds.running:
            self._rounds.start(now=self._lock.held)

    async def stop(self) -> None:
        """End the rounds. The lock releases the key of the reaper."""
        self._rounds.stop()
        if self._round is not None:
            self._round.cancel()
        await self._nodes.close()

    def _lock_changed(self) -> None:
        if not self._lock.held:
            self._end_election()
        elif self._rounds.running:
            # Marks on the nodes of this daemon keep them out of DNS.
            self._start_round()

    # Rounds.

    def _start_round(self) -> None:
        if self._round is None:
            self._round = Deferred.fromCoroutine(self._run_round())
            self._round.addErrback(self._log_unexpected)
            self._round.addCallback(self._end_round)

    def _end_round(self, _: None) -> None:
        self._round = None

    def _log_unexpected(self, failure: Failure) -> None:
        if self._rounds.running:
            self.failures += 1
            self.log.failure("A round of the reaper failed, next one in {seconds} s", failure, seconds=_INTERVAL)

    async def _run_round(self) -> None:
        if not self._lock.held:
            return
        try:
            await self._remove_own_marks()
            await self._elect()
            if self.elected:
                await self._observe()
        except BackendError as error:
            self.failures += 1
            self.log.debug("A round of the reaper failed: {error}", error=error)

    async def _remove_own_marks(self) -> None:
        """Remove the marks that a reaper added while this scope had no daemon."""
        acquisition = self._lock.acquisitions
        if self._unmarked_for == acquisition:
            return
        marked = await self._nodes.list_marks(self._lock.scope)
        if marked:
            await self._nodes.remove_marks(marked, [self._lock.operation()])
            self.log.info("Removed the marks of {count} nodes: this scope has a daemon again", count=len(marked))
        self._unmarked_for = acquisition

    async def _elect(self) -> None:
        now = self._boot_time()
        if now < self._elect_at:
            return
        self._elect_at = now + _ELECTION_INTERVAL * self._random.uniform(0.8, 1.2)
        if not await self._lock.acquire_key(REAPER_KEY):
            if self._elected:
                # An operator deleted the key, and another daemon acquired it.
                self._end_election()
            return
        if self._elected:
            return
        self._elected = True
        self._observed_at = self._boot_time()
        self.log.info("This daemon looks after the scopes whose daemons have ended")

    def _end_election(self) -> None:
        self._elected = False
        self._elect_at = -math.inf
        self._dead.clear()

    # Work of the elected daemon.

    async def _observe(self) -> None:
        keys = await self._nodes.list_scopes()
        now = self._boot_time()
        self._dead.observe(keys, now)
        if now - self._observed_at > _LONGEST_GAP:
            self._dead.restart(now)
        self._observed_at = now
        for scope, dead in self._dead.to_mark(now).items():
            await self._process(scope, dead, self._mark)
        for scope, dead in self._dead.to_remove(now).items():
            await self._process(scope, dead, self._remove)

    async def _process(self, scope: str, dead: DeadScope, process: Callable[[str, DeadScope], Any]) -> None:
        try:
            await process(scope, dead)
        except FenceError as error:
            if error.number == 0:
                self._end_election()
                raise
            # A daemon of the scope is alive again.
            self._dead.forget(scope)
        except BackendRefusedError as error:
            # The token may have the rights for other scopes.
            self.failures += 1
            if dead.refusal != str(error):
                dead.refusal = str(error)
                self.log.warn("Cannot mark or remove the nodes of scope {scope}: {error}", scope=scope, error=error)

    def _fences(self, scope: str, dead: DeadScope) -> list[Operation]:
        return [self._lock.operation_for(REAPER_KEY), key_fence(scope, dead.index)]

    async def _mark(self, scope: str, dead: DeadScope) -> None:
        found = await self._nodes.list_nodes(scope)
        if not found:
            # Perhaps the token may not read them, so the lock stays.
            dead.removed = True
            return
        nodes = await self._nodes.find_unmarked(scope, found)
        output = (
            f"No daemon of scope {scope[:100]!r} is running. The node is removed {dead.reap_after:.0f} s after its end."
        )
        done = await self._nodes.mark(nodes[:_MOST_NODES], self._fences(scope, dead), output)
        self.marked += len(done)
        dead.marked = len(nodes) <= _MOST_NODES
        if done:
            self.log.warn(
                "Marked {count} nodes of scope {scope}: no daemon has held its lock for {seconds} s",
                count=len(done),
                scope=scope,
                seconds=round(self._boot_time() - dead.since),
            )

    async def _remove(self, scope: str, dead: DeadScope) -> None:
        nodes = [node for node in await self._nodes.list_nodes(scope) if node.name not in dead.kept]
        fences = self._fences(scope, dead)
        if nodes:
            removal = Removal()
            try:
                await self._nodes.remove(scope, nodes[:_MOST_NODES], fences, removal)
            finally:
                self._record(scope, dead, removal)
            return
        dead.removed = True
        if not dead.kept:
            await self._nodes.remove_lock(scope, dead.index, fences)
            self.log.info("Removed the lock of scope {scope}", scope=scope)

    def _record(self, scope: str, dead: DeadScope, removal: Removal) -> None:
        dead.kept.update(removal.kept)
        self.removed += len(removal.removed)
        self.kept += len(removal.kept)
        if removal.removed or removal.kept:
            self.log.warn(
                "Removed {count} nodes of scope {scope}, and kept {kept} that other programs use: no daemon has held"
                " its lock for {seconds} s, and its reap_after is {reap_after} s",
                count=len(removal.removed),
                scope=scope,
                kept=len(removal.kept),
                seconds=round(self._boot_time() - dead.since),
                reap_after=round(dead.reap_after),
            )


def make_reaper(reactor: Any, config: ConsulConfig, scope: str, lock: ScopeLock) -> Reaper:
    """
    Make the reaper, with connections that no other part uses.

    :param lock: Lock of the scope.
    :raise ConfigError: If a file that the configuration names cannot be used.
    """
    return Reaper(reactor, ScopeNodes(connect(reactor, config), config.datacenter), lock, config.reap_after)
