"""Table of the scopes that have no living daemon. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ssdpreg.backends.scopes.session import LockKey

#: Seconds without a holder of its lock after which a scope counts as dead: a daemon that restarts needs less.
DEAD_AFTER = 60.0

#: Number of dead scopes up to which their share of all scopes does not matter.
_FEW = 5


@dataclass(slots=True)
class DeadScope:
    """
    Scope whose lock has no holder.

    :ivar index: Index of the latest change of its key. A transaction for the scope checks it.
    :ivar since: Time when the lock was first seen without a holder, by the clock of the caller.
    :ivar reap_after: Seconds without a holder after which its nodes are removed.
    :ivar marked: Whether all its nodes have the mark.
    :ivar kept: Names of its nodes that stay because other programs use them.
    :ivar removed: Whether it has no other nodes, or none that are visible.
    :ivar refusal: The latest rejection of a change of its nodes, empty if there was none.
    """

    index: int
    since: float
    reap_after: float
    marked: bool = False
    kept: set[str] = field(default_factory=set)
    removed: bool = False
    refusal: str = ""


class DeadScopes:
    """
    Scopes of a datacenter, as the reaper observes them.

    :param reap_after: Seconds without a holder after which the nodes of a scope are removed, if the key of its lock
        has no value for that.
    :ivar scopes: Number of all scopes at the latest observation.
    """

    def __init__(self, reap_after: float) -> None:
        self._reap_after = reap_after
        self._dead: dict[str, DeadScope] = {}
        self.scopes = 0

    def observe(self, keys: Mapping[str, LockKey], now: float) -> None:
        """
        Process a listing of the locks.

        A scope that is missing in the listing is not dead: a token without the right to read has an empty listing.

        :param keys: Keys by scope.
        """
        before, self._dead = self._dead, {}
        self.scopes = len(keys)
        for scope, key in keys.items():
            if key.session:
                continue
            dead = before.get(scope)
            if dead is None or dead.index != key.index:
                # The index changes too if a daemon held the lock between two observations.
                own = key.holder.reap_after
                dead = DeadScope(key.index, now, self._reap_after if own is None else own)
            self._dead[scope] = dead

    def restart(self, now: float) -> None:
        """Begin the observation again: a fault of Consul may have ended the sessions of daemons that are alive."""
        for dead in self._dead.values():
            dead.since = max(dead.since, now)

    def forget(self, scope: str) -> None:
        """Remove a scope that is not dead any more, or of which nothing is left."""
        self._dead.pop(scope, None)

    def clear(self) -> None:
        """Remove all scopes: this daemon does not observe them any more."""
        self._dead.clear()
        self.scopes = 0

    def count(self, now: float) -> int:
        """Return the number of dead scopes of which something is left."""
        return sum(not dead.removed and now - dead.since >= DEAD_AFTER for dead in self._dead.values())

    def to_mark(self, now: float) -> dict[str, DeadScope]:
        """Return the scopes whose nodes have yet to be marked."""
        return {
            scope: dead
            for scope, dead in self._dead.items()
            if not dead.marked and not dead.removed and now - dead.since >= DEAD_AFTER
        }

    def to_remove(self, now: float) -> dict[str, DeadScope]:
        """
        Return the scopes whose nodes have yet to be removed.

        There are none while more than half of all scopes, and more than five, are dead: a fault of the network or of
        Consul is more likely then than the end of all these daemons.
        """
        count = self.count(now)
        if count > _FEW and count * 2 > self.scopes - sum(dead.removed for dead in self._dead.values()):
            return {}
        return {
            scope: dead
            for scope, dead in self._dead.items()
            if dead.marked and not dead.removed and now - dead.since >= dead.reap_after
        }
