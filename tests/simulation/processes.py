"""The processes of the daemon in a simulated world, and the times at which something happens there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.ssdp.messages import Message
from tests.simulation.attacks import Attack
from tests.simulation.checker import Checker
from tests.simulation.clock import WorldClock
from tests.simulation.consul import SimulatedConsul
from tests.simulation.daemon import Daemon, SimulatedInstance
from tests.simulation.devices import AGENT, API, KINDS, MEDIA, Device
from tests.simulation.network import Network, Segment, Sender
from tests.simulation.operators import foreign_entries
from tests.simulation.settings import LAST_QUIET, PERIOD, QUIET, RATE_OF_SHORT_RUNS, SHORT, Settings
from tests.simulation.trace import Trace
from tests.simulation.work_checks import WorkChecks

TERMS = {API: "RackHD", "urn:dmtf-org:service:redfish-rest:*": "RackHD", AGENT: "Inservice", MEDIA: "Media"}


@implementer(IRegistrationListener)
class Changes:
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


class Processes:
    """
    State and processes of a simulated world with one daemon.

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
        self.network.unobserved = self._report_unobserved
        self.consul_fault = ""
        self.outage_since = math.inf
        self.segment_faults: dict[str, str] = {}
        self.terms = dict(TERMS)
        self.daemon: Daemon | None = None
        self.second: Daemon | None = None
        self.end = settings.hours * 3600.0
        self._rate = RATE_OF_SHORT_RUNS if settings.hours <= SHORT else 1.0
        self.lines = 0
        self.peaks: Counter[str] = Counter()
        self._changes = Changes(self.checker)
        self._running: dict[str, None] = {}
        self._processes = 0
        self._attacks = 0
        self._busy: dict[Device, None] = {}
        self._minutes: list[tuple[int, int, int, int, int]] = []
        self._needless = 0
        self._had_second = False
        self._work = WorkChecks(self.checker, self.network)
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

    # Times.

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to change now."""
        return self._quiet_for(self.clock.seconds()) >= 0.0

    def _quiet_for(self, now: float) -> float:
        """Return the seconds since the beginning of the quiet time, negative outside of it."""
        last = self.end - min(LAST_QUIET, self.end / 3)
        if now >= last:
            return now - last
        in_period = now % PERIOD
        return in_period - (PERIOD - QUIET) if self.end > PERIOD else -1.0

    def _plan(self, function: Callable[..., None], *arguments: Any, mean: float) -> None:
        self.clock.callLater(self.random.expovariate(1.0 / mean), function, *arguments)

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
        self.second = self._make_daemon(Changes())
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

    def _report_unobserved(self, sender: Sender, message: Message, address: str) -> None:
        # Another daemon may take over with a forged service.
        if isinstance(sender, Attack):
            self.checker.attack_heard(sender, message, address)

    def _make_daemon(self, changes: Changes, failing_adoptions: int = 0) -> Daemon:
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
        for service_id, entry_meta in foreign_entries().items():
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
