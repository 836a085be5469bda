"""Invariants of catalog mode: one writer, foreign entries, take-over, dead scopes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ssdpreg.backends.scopes.holder import META_LOCK, SCOPE_CHECK, SCOPES
from ssdpreg.backends.scopes.reaper import REAPER_KEY
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import META_SCOPE
from tests.simulation import bounds
from tests.simulation.catalog_consul import Operations, touched
from tests.simulation.checker import Checker
from tests.simulation.daemon import SCOPE
from tests.simulation.expectation import Expectation, lifetime
from tests.simulation.writers import REAP_AFTER

if TYPE_CHECKING:
    from tests.simulation.catalog_consul import SimulatedCatalog
    from tests.simulation.clock import ProcessClock
    from tests.simulation.trace import Trace
    from tests.simulation.writers import CatalogDaemon

#: Seconds after the acquisition of the lock in which nothing may be removed that is not known to be wrong.
_TAKE_OVER = 60.0
#: Seconds before the removal of a node in which a service of another program may appear that is lost then: the daemon
#: has read the node before. A slow request takes 14 s.
_RACE = 30.0
#: Seconds of the longest lifetime of a claim.
_LONGEST = 1860.0
#: Seconds between an eviction and its removal from the catalog.
_EVICTION = 30.0
#: Seconds without a daemon after which the nodes of a scope are marked.
_MARK_AFTER = 60.0


class CatalogChecker(Checker):
    """
    Checks the invariants of catalog mode.

    :param daemons: Returns the running daemons by process.
    :ivar taken_over_at: Time of the latest acquisition of the lock of the scope under test.
    :ivar released_at: Time of the latest end of a holder, by scope.
    :ivar writes: number of transactions of daemons that were accepted.
    :ivar marked: Number of marks that were added.
    :ivar reaped: Number of nodes of dead scopes that were removed.
    """

    def __init__(
        self, seconds: Callable[[], float], trace: Trace, catalog: Any, daemons: Mapping[ProcessClock, CatalogDaemon]
    ) -> None:
        super().__init__(seconds, trace, catalog)
        self.busy = bounds.BUSY_IN_CATALOG
        self._catalog: SimulatedCatalog = catalog
        self._daemons = daemons
        self.taken_over_at = -math.inf
        self.released_at: dict[str, float] = {}
        self.writes = self.marked = self.reaped = 0
        # Entries of operators: node, or node and service, with the entry and the time of its creation.
        self._operators: dict[str | tuple[str, str], tuple[dict[str, Any], float]] = {}
        catalog.applied = self._applied

    # Foreign entries.

    def operator_wrote(self, names: set[str]) -> None:
        """Record the entries of operators on some nodes: no daemon may change them."""
        for name in names:
            node = self._catalog.state.nodes.get(name)
            if node is not None and "operator" in (node["Meta"] or {}):
                self._operators[name] = node, self._seconds()
            for key, service in self._catalog.state.services.items():
                if key[0] == name and "operator" in (service["Meta"] or {}):
                    self._operators.setdefault(key, (service, self._seconds()))

    def operator_removed(self, key: tuple[str, str]) -> None:
        """Process that an operator removes a service."""
        self._operators.pop(key, None)

    def forget_operators(self) -> None:
        """Process that Consul lost all data."""
        self._operators.clear()

    def _check_foreign(self, names: set[str]) -> None:
        state, now = self._catalog.state, self._seconds()
        for key, (entry, created_at) in list(self._operators.items()):
            name = key if isinstance(key, str) else key[0]
            if name not in names:
                continue
            found = state.nodes.get(key) if isinstance(key, str) else state.services.get(key)
            if found is entry:
                continue
            if found is None and name not in state.nodes and now - created_at < _RACE and not isinstance(key, str):
                # Documented: a service that was added between the reading and the removal of a node is lost.
                del self._operators[key]
                continue
            self.fail("foreign nodes and services are not touched", str(key))

    # Writes.

    def _applied(
        self, process: ProcessClock | None, operations: Operations, nodes: dict[str, Any], services: dict[Any, Any]
    ) -> str:
        names = touched(operations)
        if process is None:
            self.operator_wrote(names)
            return "operator"
        daemon = self._daemons[process]
        if names and _creates_lock_node(operations):
            return "daemon"
        self.writes += 1
        self._check_foreign(names)
        holder = self._catalog.holder(daemon.scope)
        if holder is not process:
            other = "no daemon" if holder is None else self._daemons[holder].host
            self.fail(
                "only the holder of the lock writes", f"{daemon.host} wrote {sorted(names)[:3]}, {other} holds it"
            )
        first = next(iter(operations[0].get("KV", {}).items()), ("", ""))
        if "KV" not in operations[0] or operations[0]["KV"]["Verb"] != "check-session":
            self.fail("each transaction carries the fence", f"{daemon.host}: {first}")
        for name in sorted(names):
            scope = _scope_of(nodes.get(name)) or _scope_of(self._catalog.state.nodes.get(name))
            if scope and scope != daemon.scope:
                self._check_other_scope(daemon, scope, name, name in nodes and name not in self._catalog.state.nodes)
        if daemon.scope != SCOPE:
            return "reaper"
        self._check_rewrites(names, services)
        return "daemon"

    def _check_other_scope(self, daemon: CatalogDaemon, scope: str, name: str, removed: bool) -> None:
        now = self._seconds()
        holder, dead_for = self._catalog.holder(scope), now - self.released_at.get(scope, -math.inf)
        if holder is not None:
            self.fail("no scope with a daemon is marked or removed", f"{name} of {scope} by {daemon.host}")
        if self._catalog.holder_of_key(REAPER_KEY) is not daemon.process:
            self.fail("only the reaper writes to other scopes", f"{name} of {scope} by {daemon.host}")
        if dead_for < (REAP_AFTER if removed else _MARK_AFTER):
            self.fail("a dead scope keeps its nodes for some time", f"{name} of {scope}, dead for {dead_for:.1f} s")
        if removed:
            self.reaped += 1
        else:
            self.marked += 1

    def _check_rewrites(self, names: set[str], before: Mapping[tuple[str, str], Any]) -> None:
        """Check that no entry is replaced that was right, of a device that has not changed."""
        now, state = self._seconds(), self._catalog.state
        for key in sorted(key for key in before if key[0] in names):
            entry, found = before[key], state.services.get(key)
            expected = self._expected.get(self._catalog.id_of(key))
            if found is entry or found is None or expected is None or expected.wrong:
                continue
            device = expected.device
            calm = now - max(expected.changed_at, expected.attack_ended_at, expected.forged_until)
            calm = min(calm, now - self._calm_since.get(device.segment.name, 0.0))
            if self._disturbances[device.segment.name] or expected.attacks or len(device.addresses) > 1:
                continue
            if device.on and calm > lifetime(device.max_age):
                self.fail("an entry that is right is not rewritten", f"{key}: {entry} -> {found}", device)

    # The lock.

    def take_over(self, daemon: CatalogDaemon | None) -> None:
        """
        Process that a daemon acquired the lock of the scope under test, or that no daemon holds it.

        The new holder may have missed what the earlier one received, and the reverse.
        """
        now = self._seconds()
        self.daemon = daemon
        if daemon is None:
            return
        self.taken_over_at = now
        self.daemon_began_at = now
        self.forget_holders()
        self.disturb(f"take-over by {daemon.instance.instance_id}")
        for expected in self._expected.values():
            expected.valid_until = max(expected.valid_until, now + max(lifetime(expected.device.max_age), 60.0))
            expected.bye_at = expected.said_bye_at = -math.inf
            expected.adopted_at = now
            expected.failed = 0
        for service_id, until in self._forged.items():
            # The new holder may know a forged service for longer than the earlier one.
            self._forged[service_id] = max(until, now + 60.0)

    def _check_expiry(self, expected: Expectation, registration: Registration) -> None:
        if self._seconds() - self.taken_over_at > max(lifetime(expected.device.max_age), 60.0) + _TAKE_OVER:
            super()._check_expiry(expected, registration)

    def _check_forgery(self, expected: Expectation, address: str) -> None:
        # The new holder may have known the attacker before.
        if self._seconds() - self.taken_over_at > _LONGEST:
            super()._check_forgery(expected, address)

    def _check_removal(self, expected: Expectation, now: float) -> None:
        device = expected.device
        since = now - self.taken_over_at
        if self._is_full(now) and now - expected.evicted_at < _EVICTION:
            # A registration was under way when the full table gave its place to another device.
            return
        if since > max(lifetime(device.max_age), 60.0) + _TAKE_OVER:
            super()._check_removal(expected, now)
            return
        calm = now - max(expected.changed_at, expected.attack_ended_at, expected.forged_until)
        quiet = not expected.attacks and calm > lifetime(device.max_age)
        if since < _TAKE_OVER and quiet and not expected.wrong and device.answers and not self._is_full(now):
            self.fail("nothing is removed at a take-over", expected.service_id, device)

    def check_quiet(self) -> None:
        # The end of a short run may be in a fault of the network.
        if self.network_undisturbed_for > _TAKE_OVER:
            super().check_quiet()
        else:
            self.check()

    # Dead scopes.

    def check_scope(self, scope: str, *, quiet_for: float) -> None:
        """
        Check that the nodes of a dead scope are marked, then removed, and that those of a living one have no mark.

        :param quiet_for: Seconds without a fault and without a change of a holder.
        """
        now, state = self._seconds(), self._catalog.state
        own = [name for name, node in state.nodes.items() if _scope_of(node) == scope]
        marked = {key[0] for key in state.checks if key[1] == SCOPE_CHECK}
        if self._catalog.holder(scope) is not None:
            held = [name for name in own if name in marked]
            if held and quiet_for > 90.0:
                self.fail("the marks of a scope with a daemon are removed", f"{held[0]} of {scope}")
            return
        dead_for = min(quiet_for, now - self.released_at.get(scope, now))
        foreign = {key[0] for key in self._operators if not isinstance(key, str)}
        if SCOPES + scope not in state.keys:
            return
        with_checks = {key[0] for key in state.checks}
        if dead_for > _MARK_AFTER + 120.0 and any(name not in marked for name in own if name in with_checks - foreign):
            self.fail("a dead scope is marked", f"{scope}, dead for {dead_for:.0f} s")
        if dead_for > REAP_AFTER + 180.0 and any(name not in foreign for name in own):
            self.fail("a dead scope is removed", f"{scope}, dead for {dead_for:.0f} s")


def _scope_of(node: Mapping[str, Any] | None) -> str:
    return "" if node is None else str((node["Meta"] or {}).get(META_SCOPE, ""))


def _creates_lock_node(operations: Operations) -> bool:
    node = operations[0].get("Node", {}).get("Node", {})
    return len(operations) == 1 and META_LOCK in node.get("Meta", {}) and node.get("ModifyIndex") == 0
