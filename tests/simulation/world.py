"""The simulated world: one seed draws the devices, the faults, the attacks and their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.simulation import bounds
from tests.simulation.clock import ProcessClock
from tests.simulation.daemon import SimulatedFailureError, count_entries
from tests.simulation.faults import CONSUL_FAULTS, DAEMON_FAULTS, NETWORK_FAULTS, OPERATORS, Fault
from tests.simulation.operators import EDITS
from tests.simulation.population import Population
from tests.simulation.settings import ATTACK, CHECK, MEMORY, MINUTE

#: Seconds without a fault after which Consul equals the truth at quiet times.
_CALM = 300.0


class World(Population):
    """
    A simulated world with one daemon.

    :param settings: Settings of the simulation.
    """

    # The simulation.

    def run(self) -> None:
        """
        Run the simulation.

        :raise ViolationError: If an invariant does not hold.
        """
        with self._observed_log():
            self.register_foreign()
            self.start_daemon()
            for device in self.devices:
                self.clock.callLater(self.random.uniform(0.0, 120.0), self._boot, device)
                self._plan(self._change, device, mean=self.settings.churn)
            if self.settings.faults:
                self._drive_faults()
            if self.settings.attacks:
                self._plan(self._attack, mean=ATTACK / self._rate)
            self.clock.callLater(CHECK, self._check)
            self.clock.callLater(MINUTE, self._check_minute)
            self.clock.callLater(MEMORY, self._check_memory)
            while self.clock.seconds() < self.end:
                self.clock.run_until(min(self.end, self.clock.seconds() + 10.0))
                self._raise_violation()
            # A suspension of the daemon may last until the end.
            if self.is_quiet and self.checker.network_undisturbed_for > _CALM:
                self.checker.check_quiet()

    def _drive_faults(self) -> None:
        self._drive(CONSUL_FAULTS, 450.0)
        self._drive(NETWORK_FAULTS, 900.0 / self._rate)
        self._drive(DAEMON_FAULTS, 1500.0 / self._rate)
        self._drive(OPERATORS, 900.0)
        self._drive(EDITS, 300.0)

    def _drive(self, faults: Sequence[Fault], mean: float) -> None:
        def begin() -> None:
            if not self.is_quiet and self.clock.seconds() > 300.0:
                self.random.choice(faults)(self)
            self._plan(begin, mean=mean)

        self._plan(begin, mean=mean)

    def _raise_violation(self) -> None:
        if self.checker.violation is not None:
            raise self.checker.violation

    # Checks.

    def _check(self) -> None:
        self.clock.callLater(CHECK, self._check)
        self.checker.check()

    def _check_minute(self) -> None:
        self.clock.callLater(MINUTE, self._check_minute)
        now = self.clock.seconds()
        self._work.check(now)
        tracked = 0 if self.daemon is None else self.daemon.table.tracked
        known = len(self.consul.services) + tracked + self.checker.live
        self._minutes.append((self.consul.requests, self.consul.writes, self.lines, self._changes.count, known))
        needless, self._needless = self.consul.needless - self._needless, self.consul.needless
        self.peaks["needless"] = max(self.peaks["needless"], needless)
        self._compare("registrations a minute that change nothing", needless, bounds.NEEDLESS)
        if len(self._minutes) < 4:
            return
        del self._minutes[:-4]
        # After a fault all services may be registered again.
        known = max(minute[4] for minute in self._minutes)
        # Changes of earlier minutes may be applied in this one.
        changes = self._minutes[-1][3] - self._minutes[-4][3]
        requests, writes, lines = (self._minutes[-1][field] - self._minutes[-2][field] for field in range(3))
        for name, value in (("requests", requests), ("writes", writes), ("lines", lines)):
            self.peaks[name] = max(self.peaks[name], value)
        if self.checker.undisturbed_for > 240.0:
            self._compare("requests a minute", requests, bounds.REQUESTS + bounds.REQUESTS_PER_CHANGE * changes)
            self._compare("writes a minute", writes, bounds.WRITES + bounds.WRITES_PER_CHANGE * changes)
        else:
            self._compare("requests a minute in a fault", requests, bounds.REQUESTS + 4 * changes + 4 * known)
        if now - self.outage_since > MINUTE:
            self._compare("requests a minute while Consul serves none", requests, bounds.REQUESTS_IN_OUTAGE)
        two_daemons, self._had_second = self._had_second or self.second is not None, self.second is not None
        more = two_daemons or now - self.checker.daemon_began_at < 2 * MINUTE
        self._compare("log lines a minute", lines, bounds.LINES + (bounds.LINES_OF_OTHER if more else 0))
        if self._quiet_for(now) > 900.0 and self.checker.network_undisturbed_for > _CALM:
            self._compare("requests a minute in quiet times", requests, bounds.QUIET_REQUESTS + 2 * changes)
            self._compare("writes a minute in quiet times", writes, bounds.QUIET_WRITES + 2 * changes)
            self.checker.check_quiet()
            self.trace.add("", "quiet check")

    def check_pauses(self) -> None:
        """Check the pauses between the daemon's attempts, at the end of an outage of Consul."""
        text = self.consul.pauses.end()
        if text:
            self.checker.fail("pauses after errors have jitter", text)

    def _check_memory(self) -> None:
        self.clock.callLater(MEMORY, self._check_memory)
        if self.daemon is None:
            return
        entries = count_entries(self.daemon.registry, self.daemon.table, self.daemon.reconciler)
        self.peaks["entries"] = max(self.peaks["entries"], entries)
        tracked = max(self.daemon.table.tracked, len(self.consul.services))
        self._compare("entries in memory", entries, bounds.entries(tracked, self.daemon.table.byebyes))
        self._compare("byebyes in memory", self.daemon.table.byebyes, bounds.BYEBYES)
        differences = self.daemon.reconciler._differences
        known = len(self.daemon.registry.registrations) + len(differences.actual or ())
        self._compare("services that the reconciler keeps", differences.remembered, known + bounds.REMEMBERED)

    def _compare(self, what: str, value: int, bound: int) -> None:
        if value > bound:
            self.checker.fail(what, f"{value}, more than {bound}")

    @contextmanager
    def _observed_log(self) -> Iterator[None]:
        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            if not str(event.get("log_namespace", "")).startswith("ssdpreg."):
                return
            level = event["log_level"]
            if level < LogLevel.info or _is_killed(event.get("log_source")):
                return
            self.lines += 1
            text = formatEvent(event)
            service_id = str(event.get("service_id", ""))
            subject = self.checker.subject_of(service_id) or ("forgeries" if service_id else "")
            self.trace.add(subject, "log", text)
            if level >= LogLevel.critical:
                failure = event.get("log_failure")
                if failure is None or not failure.check(SimulatedFailureError):
                    self._record_exception(text, failure)

        globalLogPublisher.addObserver(observe)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(observe)

    def _record_exception(self, text: str, failure: Any) -> None:
        trace = "" if failure is None else "\n" + failure.getTraceback()
        # It is raised at the end of the step: here, the daemon's code would catch it.
        with suppress(AssertionError):
            self.checker.fail("no exception", text + trace)

    # Report.

    def summary(self) -> list[str]:
        """Return what happened."""
        counts = self.trace.counts
        removals = ", ".join(f"{kind} {reason} {n}" for (kind, reason), n in sorted(self.checker.removals.items()))
        return [
            f"seed {self.settings.seed}, {self.clock.seconds() / 3600:g} simulated hours, {len(self.devices)} devices,"
            f" {self.checker.live} services live at the end",
            f"datagrams to the daemon {self.network.sent}, received {self.network.received},"
            f" searches {self.network.searches}",
            f"changes of devices {counts['device']}, attacks {counts['attack']}, faults {counts['fault']},"
            f" actions of operators {counts['operator']}, processes of the daemon {self._processes}",
            f"requests to Consul {self.consul.requests}, writes {self.consul.writes}, log lines {self.lines}",
            f"most in a minute: requests {self.peaks['requests']}, writes {self.peaks['writes']},"
            f" log lines {self.peaks['lines']}, registrations that change nothing {self.peaks['needless']},"
            f" searches on an interface {self._work.most_searches}; most entries in memory {self.peaks['entries']}",
            f"quiet checks {counts['quiet check']}; removals of devices that are on: {removals or 'none'}",
            f"steps {self.clock.steps}, digest {self.trace.digest}",
        ]


def _is_killed(source: object) -> bool:
    """
    Return whether an object belongs to a process that was killed.

    Python closes its unfinished coroutines at the next garbage collection. Their ``finally`` clauses run then, and log:
    a process that was killed logs nothing, and the time of a garbage collection is no part of a simulation.
    """
    clocks = (each for each in getattr(source, "__dict__", {}).values() if isinstance(each, ProcessClock))
    return any(each.killed for each in clocks)
