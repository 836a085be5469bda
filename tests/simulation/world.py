"""The simulated world: one seed draws the devices, the faults, the attacks and their times."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from tests.simulation import bounds
from tests.simulation.attacks import ATTACKS, Attack
from tests.simulation.checker import Checker
from tests.simulation.clock import WorldClock
from tests.simulation.consul import SimulatedConsul
from tests.simulation.daemon import Daemon, SimulatedFailureError, SimulatedInstance, count_entries
from tests.simulation.devices import AGENT, API, KINDS, MEDIA, Device
from tests.simulation.faults import CONSUL_FAULTS, DAEMON_FAULTS, NETWORK_FAULTS, OPERATORS, Fault
from tests.simulation.network import Network, Segment
from tests.simulation.trace import Trace

TERMS = {API: "RackHD", "urn:dmtf-org:service:redfish-rest:*": "RackHD", AGENT: "Inservice", MEDIA: "Media"}

#: Seconds between two comparisons of the services that are wrong, and between two checks of the daemon's work.
_CHECK = 1.0
_MINUTE = 60.0
_MEMORY = 900.0
#: Mean seconds between two attacks. Short runs have more attacks, and more faults of the network and the daemon: a day
#: must not take more than two minutes.
_ATTACK = 250.0
_SHORT = 6.0
_RATE_OF_SHORT_RUNS = 1.8
#: The end of each period is quiet: nothing changes, and no fault is active.
_PERIOD = 3 * 3600.0
_QUIET = 1500.0
#: At the end of the simulation the quiet time is longer than every lifetime of honest devices.
_LAST_QUIET = 2400.0


@dataclass(frozen=True)
class Settings:
    """
    Settings of a simulation.

    :ivar seed: Number from which everything is drawn.
    :ivar hours: Simulated hours.
    :ivar devices: Number of devices.
    :ivar loss: Probability that a datagram is lost, without a fault.
    :ivar churn: Mean seconds between two changes of one device.
    :ivar faults: Whether Consul, the network, the daemon and the operators cause faults.
    :ivar attacks: Whether there are attackers.
    :ivar measure: Whether removals because of losses are counted only.
    :ivar mode: Mode of the backend: ``agent`` or ``catalog``.
    """

    seed: int = 1
    hours: float = 24.0
    devices: int = 300
    loss: float = 0.01
    churn: float = 14400.0
    faults: bool = True
    attacks: bool = True
    measure: bool = False
    mode: str = "agent"


@implementer(IRegistrationListener)
class _Changes:
    """
    Counter of the changes of live services.

    :param checker: Receives the changes, too.
    """

    def __init__(self, checker: Checker | None = None) -> None:
        self.count = 0
        self._checker = checker

    def appeared(self, registration: Registration) -> None:
        self.count += 1
        if self._checker is not None:
            self._checker.held(registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self.count += 1
        if self._checker is not None:
            self._checker.held(registration)

    def left(self, registration: Registration, reason: str) -> None:
        self.count += 1
        if self._checker is not None:
            self._checker.left(registration, reason)


class World:
    """
    A simulated world with one daemon.

    :param settings: Settings of the simulation.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.random = Random(settings.seed)
        self.clock = WorldClock(self._fork())
        self.trace = Trace(self.clock.seconds)
        self.consul = self._make_consul()
        network_random = self._fork()
        segments = [Segment(number, network_random, settings.loss) for number in range(3)]
        self.network = Network(self.clock, network_random, segments)
        self.checker = self._make_checker()
        self.checker.end_second = self.end_second_daemon
        self.consul_fault = ""
        self.outage_since = math.inf
        self.segment_faults: dict[str, str] = {}
        self.terms = dict(TERMS)
        self.daemon: Daemon | None = None
        self.second: Daemon | None = None
        self.end = settings.hours * 3600.0
        self._rate = _RATE_OF_SHORT_RUNS if settings.hours <= _SHORT else 1.0
        self.lines = 0
        self.peaks: Counter[str] = Counter()
        self._changes = _Changes(self.checker)
        self._running: dict[str, None] = {}
        self._processes = 0
        self._attacks = 0
        self._busy: dict[Device, None] = {}
        self._minutes: list[tuple[int, int, int, int, int]] = []
        self._lost_services = 0
        self.devices = [self._make_device(number) for number in range(settings.devices)]
        self.checker.set_terms(self.terms)

    def _make_consul(self) -> Any:
        return SimulatedConsul(self.clock, self._fork())

    def _make_checker(self) -> Checker:
        return Checker(self.clock.seconds, self.trace, self.consul, measure=self.settings.measure)

    def _fork(self) -> Random:
        return Random(self.random.getrandbits(64))

    def _make_device(self, number: int) -> Device:
        random = self._fork()
        kind = random.choices(KINDS, [kind.share for kind in KINDS])[0]
        segment = random.choice(self.network.segments)
        device = Device(number, kind, self.clock, self.network, segment, random, self.checker)
        self.checker.add(device)
        return device

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
                self._plan(self._attack, mean=_ATTACK / self._rate)
            self.clock.callLater(_CHECK, self._check)
            self.clock.callLater(_MINUTE, self._check_minute)
            self.clock.callLater(_MEMORY, self._check_memory)
            while self.clock.seconds() < self.end:
                self.clock.run_until(min(self.end, self.clock.seconds() + 10.0))
                self._raise_violation()
            if self.is_quiet:
                self.checker.check_quiet()

    def _drive_faults(self) -> None:
        self._drive(CONSUL_FAULTS, 450.0)
        self._drive(NETWORK_FAULTS, 900.0 / self._rate)
        self._drive(DAEMON_FAULTS, 1500.0 / self._rate)
        self._drive(OPERATORS, 900.0)

    def _raise_violation(self) -> None:
        if self.checker.violation is not None:
            raise self.checker.violation

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to change now."""
        return self._quiet_for(self.clock.seconds()) >= 0.0

    def _quiet_for(self, now: float) -> float:
        """Return the seconds since the beginning of the quiet time, negative outside of it."""
        last = self.end - min(_LAST_QUIET, self.end / 3)
        if now >= last:
            return now - last
        in_period = now % _PERIOD
        return in_period - (_PERIOD - _QUIET) if self.end > _PERIOD else -1.0

    def _plan(self, function: Callable[..., None], *arguments: Any, mean: float) -> None:
        self.clock.callLater(self.random.expovariate(1.0 / mean), function, *arguments)

    def _drive(self, faults: Sequence[Fault], mean: float) -> None:
        def begin() -> None:
            if not self.is_quiet and self.clock.seconds() > 300.0:
                self.random.choice(faults)(self)
            self._plan(begin, mean=mean)

        self._plan(begin, mean=mean)

    # Devices.

    def _boot(self, device: Device) -> None:
        if not device.on:
            device.boot()

    def _change(self, device: Device) -> None:
        """Let a device leave, restart or move, unless it is busy."""
        self._plan(self._change, device, mean=self.settings.churn)
        self._change_once(device)

    def _change_once(self, device: Device) -> None:
        if self.is_quiet or device in self._busy or not device.on:
            return
        random, kind = self.random, device.kind
        byebye = random.random() < kind.byebye
        if random.random() < kind.move:
            device.move(byebye)
            return
        device.leave(byebye)
        pause = random.choice((random.uniform(0.05, 1.5), random.uniform(5.0, 60.0), random.uniform(300.0, 7200.0)))
        self._busy[device] = None
        self.clock.callLater(pause, self._return, device)

    def burst(self, count: int, seconds: float) -> None:
        """Let some devices leave, restart, move or return within some seconds."""
        for _ in range(count):
            device = self.random.choice(self.devices)
            self.clock.callLater(self.random.uniform(0.0, seconds), self._change_now, device)

    def move_now(self, device: Device) -> None:
        """Let a device move, unless it is busy."""
        if not self.is_quiet and device.on and device not in self._busy:
            device.move(False)

    def _change_now(self, device: Device) -> None:
        if not self.is_quiet and device.on:
            self._change_once(device)
        elif not self.is_quiet and device in self._busy:
            self._return(device)

    def _return(self, device: Device) -> None:
        if device.on:
            return
        if self.is_quiet:
            self.clock.callLater(_MINUTE, self._return, device)
            return
        self._busy.pop(device, None)
        if self.random.random() < 0.15 and device.kind.move:
            device.move(False)
        self._boot(device)

    # Attacks.

    def _attack(self) -> None:
        self._plan(self._attack, mean=_ATTACK / self._rate)
        if self.is_quiet or self.clock.seconds() < 300.0:
            return
        kind = self.random.choice(ATTACKS)
        target = None
        if kind.target:
            candidates = [each for each in self.devices if each.on == (kind.target == "on")]
            if not candidates:
                return
            mute = [each for each in candidates if not each.answers]
            # Devices that never answer searches are few, and have rules of their own.
            part = 0.6 if kind.answers or kind.target == "off" else 0.2
            target = self.random.choice(mute if mute and self.random.random() < part else candidates)
        segment = target.segment if target is not None else self.random.choice(self.network.segments)
        self._attacks += 1
        attack = Attack(self._attacks, kind, self.clock, self.network, segment, target, self._fork(), self.checker)
        if target is not None and kind.restarts:
            self.clock.callLater(self.random.uniform(4.0, 15.0), self._restart, target)
        if not kind.target and not self.consul_fault and self.random.random() < 0.6:
            self._keep_busy(attack)

    def _restart(self, device: Device) -> None:
        """Let a device restart within the time that the daemon waits after a byebye."""
        if not self.is_quiet and device.on and device not in self._busy:
            device.leave(True)
            self._busy[device] = None
            self.clock.callLater(self.random.uniform(0.05, 1.5), self._boot_again, device)

    def _boot_again(self, device: Device) -> None:
        self._busy.pop(device, None)
        self._boot(device)

    def _keep_busy(self, attack: Attack) -> None:
        """Let Consul respond more slowly during an attack, while devices change."""
        self.consul_fault = "busy"
        self.trace.add("", "fault", "Consul: busy")
        self.consul.latency = (0.1, 0.5)
        self.checker.busy_until = math.inf
        self.burst(12, 60.0)

        def end() -> None:
            if attack.active:
                self.clock.callLater(10.0, end)
                return
            self.consul.latency = (0.001, 0.02)
            self.consul_fault = ""
            self.checker.busy_until = self.clock.seconds() + 60.0

        self.clock.callLater(30.0, end)

    # The daemon and Consul.

    def start_daemon(self, failing_adoptions: int = 0) -> None:
        """
        Start a new process of the daemon.

        :param failing_adoptions: Number of adoptions that raise an exception.
        """
        self.daemon = self._make_daemon(self._changes, failing_adoptions)
        self._observe(self.daemon)
        self.checker.daemon_began_at = self.clock.seconds()
        self.checker.absent_at_start = frozenset(each.name for each in self.network.segments if not each.present)
        self.daemon.start()

    def start_second_daemon(self) -> None:
        """Start another process with the same scope."""
        self.trace.add("", "fault", "daemon: a second one starts")
        self.second = self._make_daemon(_Changes())
        self.checker.standby = self.second.process
        self.second.start()

    def end_second_daemon(self) -> None:
        """Kill the second process, if there is one."""
        if self.second is not None:
            self.second.kill(self.network)
            self.second = self.checker.standby = None

    def take_over(self) -> None:
        """Kill the first process: the second one takes over."""
        assert self.second is not None
        self.kill_daemon()
        self.daemon, self.second = self.second, None
        self.checker.standby = None
        self.checker.disturb("daemon: the first of two ends")
        self.daemon.registry.subscribe(self._changes)
        self._observe(self.daemon)

    def _observe(self, daemon: Daemon) -> None:
        self.checker.daemon, self.network.observed = daemon, daemon.process
        self.checker.forget_holders()

    def _make_daemon(self, changes: _Changes, failing_adoptions: int = 0) -> Daemon:
        self._processes += 1
        return Daemon(
            self.clock,
            self.network,
            self.consul,
            self.terms,
            SimulatedInstance(self._processes, self._running),
            self._fork(),
            changes,
            self.checker.adopted,
            failing_adoptions,
        )

    def kill_daemon(self) -> None:
        """End the process of the daemon without any clean-up."""
        assert self.daemon is not None
        self.daemon.kill(self.network)
        self.daemon = self.checker.daemon = None

    def stop_daemon(self) -> None:
        """Stop the daemon."""
        assert self.daemon is not None
        self.daemon.stop()
        self.daemon = self.checker.daemon = None

    def set_terms(self, terms: dict[str, str]) -> None:
        """Replace the search terms in the configuration, and reload it."""
        self.terms = terms
        if self.daemon is not None:
            self.daemon.registry.set_search_terms(terms)
        if self.second is not None:
            self.second.registry.set_search_terms(terms)
        self.checker.set_terms(terms)

    def register_foreign(self) -> None:
        """Register services of other programs, some of which resemble those of the daemon."""
        meta = {"external-source": "ssdpreg", "ssdpreg-scope": "another-rack"}
        for service_id, entry_meta in (("web", {}), ("ssdpreg-web", {}), ("ssdpreg-api-2-0-0123456789abcdef", meta)):
            self.checker.foreign[service_id] = None
            entry = {
                "ID": service_id,
                "Service": "web",
                "Tags": [],
                "Meta": entry_meta,
                "Port": 80,
                "Address": "10.0.0.9",
            }
            self.consul.put_service(service_id, entry, "operator")

    # Checks.

    def _check(self) -> None:
        self.clock.callLater(_CHECK, self._check)
        self.checker.check()

    def _check_minute(self) -> None:
        self.clock.callLater(_MINUTE, self._check_minute)
        now = self.clock.seconds()
        tracked = 0 if self.daemon is None else self.daemon.table.tracked
        known = len(self.consul.services) + tracked + self.checker.live
        self._minutes.append((self.consul.requests, self.consul.writes, self.lines, self._changes.count, known))
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
        if now - self.outage_since > _MINUTE:
            self._compare("requests a minute while Consul serves none", requests, bounds.REQUESTS_IN_OUTAGE)
        restored = 2 * known if self.checker.undisturbed_for < 240.0 else 0
        self._compare("log lines a minute", lines, bounds.LINES + bounds.LINES_PER_CHANGE * changes + restored)
        if self._quiet_for(now) > 900.0 and self.checker.network_undisturbed_for > 300.0:
            self._compare("requests a minute in quiet times", requests, bounds.QUIET_REQUESTS + 2 * changes)
            self._compare("writes a minute in quiet times", writes, bounds.QUIET_WRITES + 2 * changes)
            self.checker.check_quiet()
            self.trace.add("", "quiet check")

    def _check_memory(self) -> None:
        self.clock.callLater(_MEMORY, self._check_memory)
        if self.daemon is None:
            return
        entries = count_entries(self.daemon.registry, self.daemon.table, self.daemon.reconciler)
        self.peaks["entries"] = max(self.peaks["entries"], entries)
        tracked = max(self.daemon.table.tracked, len(self.consul.services))
        self._compare("entries in memory", entries, bounds.ENTRIES + bounds.ENTRIES_PER_SERVICE * tracked)
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
            if level < LogLevel.info:
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
            f" log lines {self.peaks['lines']}; most entries in memory {self.peaks['entries']}",
            f"quiet checks {counts['quiet check']}; removals of devices that are on: {removals or 'none'}",
            f"steps {self.clock.steps}, digest {self.trace.digest}",
        ]
