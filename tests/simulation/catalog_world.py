"""The simulated world in catalog mode: two daemons with one lock, and a second site whose daemon is alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ssdpreg.registration import Registration
from ssdpreg.registration.meta import META_SCOPE, META_SOURCE
from ssdpreg.ssdp.messages import Message
from tests.simulation import bounds
from tests.simulation.catalog_checker import CatalogChecker
from tests.simulation.catalog_consul import SimulatedCatalog
from tests.simulation.catalog_faults import CATALOG_FAULTS, CATALOG_OPERATORS, DAEMON_FAULTS
from tests.simulation.clock import ProcessClock
from tests.simulation.daemon import SCOPE, count_entries
from tests.simulation.devices import KINDS, Device
from tests.simulation.faults import NETWORK_FAULTS
from tests.simulation.network import Network, Segment
from tests.simulation.processes import Changes
from tests.simulation.settings import CHECK, MEMORY, MINUTE, Settings
from tests.simulation.world import World
from tests.simulation.writers import CatalogDaemon, HostInstance

#: Scope of the second site.
OTHER_SCOPE = "rack-8"
#: Hosts with a daemon, and their scopes.
HOSTS = {"host-1": SCOPE, "host-2": SCOPE, "host-3": OTHER_SCOPE}
#: Devices of the second site. Nothing changes there, apart from its daemon.
_OTHER_DEVICES = 20
#: Devices whose names nodes of another program have.
_CONFLICTS = 2
#: Seconds until another daemon holds the lock after its holder has ended: Consul ends a session after 20 s at the
#: latest, the lock-delay takes 1 s, and a request that got no response up to 13 s.
TAKE_OVER = 35.0
#: Seconds until a daemon notices that another one holds the lock.
NOTICE = 45.0


class _Unchecked:
    """Observer of devices that are not checked one by one."""

    def device_changed(self, device: Device, what: str) -> None: ...
    def device_heard(self, device: Device, message: Message, address: str) -> None: ...
    def device_lost(self, device: Device, types: Sequence[str]) -> None: ...


class _OfHolder:
    """
    Receiver of the changes of one daemon's live services, which passes them on while that daemon holds the lock.

    :param checker: Receives them.
    :param holds: Returns whether the daemon holds the lock.
    """

    def __init__(self, checker: CatalogChecker, holds: Callable[[], bool]) -> None:
        self._checker, self._holds = checker, holds

    def held(self, registration: Registration) -> None:
        """See :meth:`Checker.held`."""
        if self._holds():
            self._checker.held(registration)

    def left(self, registration: Registration, reason: str) -> None:
        """See :meth:`Checker.left`."""
        if self._holds():
            self._checker.left(registration, reason)


class CatalogWorld(World):
    """
    A simulated world with three daemons in catalog mode.

    :param settings: Settings of the simulation.
    :ivar running: The running daemons by host.
    :ivar site_faults: Names of the scopes with a fault of a daemon.
    """

    checker: CatalogChecker
    busy_latency = (0.1, 0.5)

    def __init__(self, settings: Settings) -> None:
        self._by_process: dict[ProcessClock, CatalogDaemon] = {}
        self.running: dict[str, CatalogDaemon] = {}
        self._able_since: dict[str, float] = {}
        self._holders: dict[str, ProcessClock | None] = {}
        self.site_faults: set[str] = set()
        self._healthy_since = self._holder_changed_at = 0.0
        self._unheld_since = math.inf
        self._one_since = 0.0
        self._take_overs = self._most_services = 0
        super().__init__(settings)
        random = self._fork()
        segment = Segment(5, random, settings.loss)
        self.other_network = Network(self.clock, random, [segment])
        observer = _Unchecked()
        self.others = [
            Device(1000 + number, KINDS[0], self.clock, self.other_network, segment, self._fork(), observer)
            for number in range(_OTHER_DEVICES)
        ]
        self.conflicting = [
            Device(2000 + n, KINDS[0], self.clock, self.network, self.network.segments[0], self._fork(), observer)
            for n in range(_CONFLICTS)
        ]
        for device in (*self.others, *self.conflicting):
            self.clock.callLater(self.random.uniform(0.0, 60.0), device.boot)

    @property
    def catalog(self) -> SimulatedCatalog:
        """The simulated servers."""
        catalog: SimulatedCatalog = self.consul
        return catalog

    def _make_consul(self) -> SimulatedCatalog:
        catalog = SimulatedCatalog(self.clock, self._fork())
        catalog.locks_changed = self._locks_changed
        return catalog

    def _make_checker(self) -> CatalogChecker:
        return CatalogChecker(self.clock.seconds, self.trace, self.consul, self._by_process)

    def _drive_faults(self) -> None:
        self._drive(CATALOG_FAULTS, 500.0)
        self._drive(NETWORK_FAULTS, 900.0)
        self._drive(DAEMON_FAULTS, 400.0)
        self._drive(CATALOG_OPERATORS, 600.0)

    # Daemons.

    def start_daemon(self, failing_adoptions: int = 0) -> None:
        """Start all daemons."""
        for host in HOSTS:
            self.start_host(host)

    def start_host(self, host: str) -> None:
        """Start the daemon of a host."""
        self._processes += 1
        scope = HOSTS[host]
        daemon: CatalogDaemon

        observer: Any = _OfHolder(self.checker, lambda: self.checker.daemon is daemon)

        def adopted(registrations: Any) -> None:
            if self.checker.daemon is daemon:
                self.checker.adopted(registrations)

        daemon = CatalogDaemon(
            scope,
            host,
            self.clock,
            self.network if scope == SCOPE else self.other_network,
            self.catalog,
            self.terms,
            HostInstance(host, self._processes, self._running),
            self._fork(),
            Changes(observer),
            adopted,
        )
        self._by_process[daemon.process] = daemon
        self.running[host] = daemon
        self._able_since[host] = self.clock.seconds()
        self.trace.add("", "daemon", f"{host} starts")
        daemon.start()

    def kill_host(self, host: str) -> None:
        """End the daemon of a host without any clean-up."""
        daemon = self.running.pop(host)
        daemon.kill(self.network if daemon.scope == SCOPE else self.other_network)
        self._daemon_ended(daemon)

    def stop_host(self, host: str) -> None:
        """Stop the daemon of a host."""
        daemon = self.running.pop(host)
        daemon.stop()
        self._daemon_ended(daemon)

    def _daemon_ended(self, daemon: CatalogDaemon) -> None:
        if self.checker.daemon is daemon:
            self._set_holder(None)

    def holder_of(self, scope: str) -> CatalogDaemon | None:
        """Return the running daemon that holds the lock of a scope."""
        process = self._holders.get(scope)
        daemon = None if process is None else self._by_process[process]
        return daemon if daemon in self.running.values() else None

    def is_able(self, host: str) -> bool:
        """Return whether the daemon of a host runs and reaches Consul."""
        daemon = self.running.get(host)
        return daemon is not None and daemon.able and daemon.process not in self.catalog.cut_off

    def able_again(self, host: str) -> None:
        """Process that the daemon of a host can work again."""
        self._able_since[host] = self.clock.seconds()

    def _locks_changed(self) -> None:
        now = self.clock.seconds()
        for scope in (SCOPE, OTHER_SCOPE):
            holder = self.catalog.holder(scope)
            before = self._holders.get(scope)
            if holder is before:
                continue
            self._holders[scope] = holder
            self._holder_changed_at = now
            if before is not None:
                self.checker.released_at[scope] = now
            name = "no daemon" if holder is None else self._by_process[holder].instance.instance_id
            self.trace.add("", "lock", f"{scope} is held by {name}")
            if scope == SCOPE:
                self._take_overs += holder is not None
                self._set_holder(self.holder_of(SCOPE))

    def _set_holder(self, daemon: CatalogDaemon | None) -> None:
        self.daemon = daemon
        self.network.observed = None if daemon is None else daemon.process
        self.checker.take_over(daemon)

    def set_terms(self, terms: dict[str, str]) -> None:
        self.terms = terms
        for host, daemon in self.running.items():
            if HOSTS[host] == SCOPE:
                daemon.registry.set_search_terms(terms)
        self.checker.set_terms(terms)

    # Other programs.

    def register_foreign(self) -> None:
        """Register nodes of other programs, some of which resemble those of the daemons."""
        meta = {"operator": "x"}
        similar = {**meta, META_SOURCE: "ssdpreg", META_SCOPE: "another-rack"}
        operations = []
        names = [("router", meta), ("similar", similar), *((each.device_id, meta) for each in self.conflicting)]
        for name, node_meta in names:
            node = {"Node": name, "Address": "10.9.9.9", "Meta": node_meta}
            service = {"ID": "web", "Service": "web", "Port": 80, "Meta": meta}
            operations.append({"Node": {"Verb": "set", "Node": node}})
            operations.append({"Service": {"Verb": "set", "Node": name, "Service": service}})
        self.catalog.transact(operations)

    def leave_for_long(self, device: Device) -> None:
        """Let a device leave with byebye, and return after half an hour."""
        if not self.is_quiet and device.on and device not in self._busy:
            device.leave(True)
            self._busy[device] = None
            self.clock.callLater(1800.0, self._return, device)

    def disturb_contents(self, what: str) -> None:
        """Process a change of a service by an operator: contents are compared within ten minutes."""
        self.checker.fault_began("", what)
        self.clock.callLater(660.0, self.checker.fault_ended, "", what)

    # Checks.

    def _check(self) -> None:
        self.clock.callLater(CHECK, self._check)
        now = self.clock.seconds()
        if not self.catalog.healthy:
            self._healthy_since = now
        self.checker.check()
        self._check_lock(now)

    def consul_disturbed(self) -> None:
        """Process something after which sessions may live longer."""
        self._healthy_since = self.clock.seconds()

    def _check_lock(self, now: float) -> None:
        claims = [each.host for each in self.running.values() if each.scope == SCOPE and each.able and each.lock.held]
        if len(claims) < 2:
            self._one_since = now
        elif now - max(self._one_since, self._healthy_since) > NOTICE:
            self.checker.fail("one daemon says that it holds the lock", f"{claims} say it")
        able = [host for host, scope in HOSTS.items() if scope == SCOPE and self.is_able(host)]
        holder = self.holder_of(SCOPE)
        if holder is not None and holder.host in able:
            self._unheld_since = math.inf
            return
        self._unheld_since = min(self._unheld_since, now)
        if not able:
            return
        since = max(self._unheld_since, self._healthy_since, min(self._able_since[host] for host in able))
        if now - since > TAKE_OVER:
            self.checker.fail("another daemon takes over", f"no daemon holds the lock for {now - since:.0f} s")

    def _check_minute(self) -> None:
        self.clock.callLater(MINUTE, self._check_minute)
        now = self.clock.seconds()
        self._work.check(now)
        tracked = [daemon.table.tracked for daemon in self.running.values()]
        self._most_services = max(self._most_services, len(self.consul.services), *tracked)
        self._minutes.append((self.consul.requests, self.consul.writes, self.lines, 0, 0))
        del self._minutes[:-2]
        requests, writes = (self._minutes[-1][field] - self._minutes[0][field] for field in range(2))
        for name, value in (("requests", requests), ("writes", writes)):
            self.peaks[name] = max(self.peaks[name], value)
        calm = min(self.checker.undisturbed_for, now - self._healthy_since, now - self._holder_changed_at)
        for scope, other in ((SCOPE, OTHER_SCOPE), (OTHER_SCOPE, SCOPE)):
            watched = other not in self.site_faults and self.holder_of(other) is not None
            self.checker.check_scope(scope, quiet_for=calm if watched else 0.0)
        if self._quiet_for(now) > 900.0 and self.checker.network_undisturbed_for > 300.0 and not self.site_faults:
            self._compare("requests a minute in quiet times", requests, bounds.QUIET_CATALOG_REQUESTS)
            self.checker.check_quiet()
            self.trace.add("", "quiet check")

    def _check_memory(self) -> None:
        self.clock.callLater(MEMORY, self._check_memory)
        for daemon in self.running.values():
            entries = count_entries(daemon.registry, daemon.table, daemon.reconciler)
            self.peaks["entries"] = max(self.peaks["entries"], entries)
            # A daemon that waits for the lock keeps what it had read while it held it.
            self._compare("entries in memory", entries, bounds.entries(self._most_services, daemon.table.byebyes))

    # Report.

    def summary(self) -> list[str]:
        checker = self.checker
        return [
            *super().summary(),
            f"take-overs {self._take_overs}, accepted transactions of daemons {checker.writes},"
            f" marks {checker.marked}, nodes of dead scopes removed {checker.reaped}",
        ]
