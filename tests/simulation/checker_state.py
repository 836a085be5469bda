"""State of the checker: the daemon, Consul, and the faults that are under way."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ssdpreg.discovery.search_terms import SearchTerms
from tests.simulation import bounds
from tests.simulation.daemon import LIMIT, make_rules
from tests.simulation.deafness import Deafness
from tests.simulation.devices import Device
from tests.simulation.expectation import Expectation
from tests.simulation.trace import Trace, ViolationError, format_time

if TYPE_CHECKING:
    from tests.simulation.clock import ProcessClock
    from tests.simulation.consul import SimulatedConsul
    from tests.simulation.daemon import Daemon


class CheckerState:
    """
    State of the checker, and the record of faults.

    :param seconds: Returns the simulated time.
    :param trace: Record of events.
    :param consul: The simulated Consul.
    :param measure: Whether removals of devices whose messages were lost are counted only.
    :ivar daemon: The running process of the daemon, or None.
    :ivar standby: Process of a second daemon, or None.
    :ivar end_second: Ends the second daemon, if there is one. It is called before a fault that would let it take over:
        which of the two is right about Consul would then not be known.
    :ivar foreign: IDs of the services that the daemon must not touch.
    :ivar daemon_began_at: Time of its start.
    :ivar absent_at_start: Interfaces that did not exist then, so that the daemon does not know them.
    :ivar violation: The first violation, or None.
    :ivar removals: Number of removals of devices that are switched on, by kind and reason.
    :ivar expiries: Number of expiries of devices that are switched on, by kind.
    :ivar alive_since: Time since which the daemon's keep-alives reach Consul and are accepted, infinite if they do not.
    :ivar slow_until: Time until which changes take longer, because the token is replaced.
    :ivar busy_until: Time until which Consul is slow and has many changes of an attacker.
    :ivar busy: Additional seconds until then.
    """

    def __init__(
        self, seconds: Callable[[], float], trace: Trace, consul: SimulatedConsul, *, measure: bool = False
    ) -> None:
        self._measure = measure
        self._seconds, self._trace, self._consul = seconds, trace, consul
        self._rules = make_rules()
        self._terms = SearchTerms({})
        # Meanings of the types that devices and attackers announce, which are few.
        self._urns: dict[str, str | None] = {}
        self._expected: dict[str, Expectation] = {}
        self._by_device: dict[Device, dict[str, Expectation]] = {}
        self._wrong: dict[str, Expectation] = {}
        # Services of attackers, with the end of their lifetime.
        self._forged: dict[str, float] = {}
        # Time and interface of the latest reception of each.
        self._forged_heard: dict[str, tuple[float, str | None]] = {}
        # Times at which the daemon registered each of them.
        # Hosts that the daemon received a datagram from, on their own network.
        self._heard_hosts: dict[str, None] = {}
        self._forged_changes: dict[str, deque[float]] = {}
        self._disturbances: Counter[str] = Counter()
        self._calm_since: dict[str, float] = {"": 0.0}
        self._epoch = 0
        self._deafness = Deafness()
        # Time of the latest reload, services of the daemon in Consul then, and those of them that were removed.
        self._reload = (-math.inf, 0, 0)
        self._settled_at = bounds.RECOVERY
        # Time until which the table counts as full, and until which removals may wait for a second comparison.
        self._full_until = self._guarded_until = -math.inf
        self.daemon: Daemon | None = None
        self.standby: ProcessClock | None = None
        self.end_second: Callable[[], None] = lambda: None
        self.foreign: dict[str, None] = {}
        self.removals: Counter[tuple[str, str]] = Counter()
        self.expiries: Counter[str] = Counter()
        self.absent_at_start: frozenset[str] = frozenset()
        self.alive_since = math.inf
        self.slow_until = self.busy_until = -math.inf
        self.busy = bounds.BUSY
        self.daemon_began_at = 0.0
        self.violation: ViolationError | None = None

    def _urn(self, nt: str) -> str | None:
        if nt not in self._urns:
            term = self._terms.match(nt)
            self._urns[nt] = None if term is None else term.identity(nt)
        return self._urns[nt]

    # Faults.

    def fault_began(self, place: str, what: str) -> None:
        """
        Process the beginning of a fault.

        :param place: Name of a segment; empty for a fault of Consul, the daemon or its host.
        """
        self._trace.add("", "fault", f"{what} {place}".rstrip())
        self._disturbances[place] += 1
        self._deafness.began(place, what, self._seconds())
        if not place:
            self.end_second()
        self._epoch += 1

    def fault_ended(self, place: str, what: str, recovery: float = bounds.RECOVERY) -> None:
        """
        Process the end of a fault.

        :param recovery: Seconds until Consul is equal to the registry, for a fault of Consul or the daemon.
        """
        if not place:
            self._settled_at = max(self._settled_at, self._seconds() + recovery)
        self._trace.add("", "end of fault", f"{what} {place}".rstrip())
        self._disturbances[place] -= 1
        self._deafness.ended(place, what, self._seconds())
        self._calm_since[place] = self._seconds()
        self._epoch += 1

    def expect_recovery(self) -> None:
        """Process a change of most services: Consul may need as long for them as after a fault."""
        self._settled_at = max(self._settled_at, self._seconds() + bounds.RECOVERY)

    def disturb(self, what: str) -> None:
        """Process something that happens in a moment, and needs time to be repaired."""
        self._trace.add("", "fault", what)
        self.end_second()
        self._settled_at = self._seconds() + bounds.RECOVERY
        self.alive_since = math.inf
        self._calm_since[""] = self._seconds()
        self._epoch += 1

    def excuse(self, service_id: str, until: float) -> None:
        """Process that Consul refuses one service."""
        if service_id in self._expected:
            self._expected[service_id].excused_until = until

    @property
    def searches_for_all(self) -> bool:
        """Whether a search term is a pattern, so that the daemon searches for all types."""
        return any(term.endswith("*") for term in self._terms.tags)

    @property
    def undisturbed_for(self) -> float:
        """Seconds since the end of the latest fault of Consul or the daemon."""
        return 0.0 if self._disturbances[""] else self._seconds() - self._calm_since[""]

    @property
    def network_undisturbed_for(self) -> float:
        """Seconds since the end of the latest fault of any kind."""
        if any(self._disturbances.values()):
            return 0.0
        return self._seconds() - max(self._calm_since.values())

    def subject_of(self, service_id: str) -> str:
        """Return the name of the device that offers a service, or an empty string."""
        expected = self._expected.get(service_id)
        return "" if expected is None else expected.device.name

    def device_of(self, service_id: str) -> Device | None:
        """Return the device that offers a service, or None."""
        expected = self._expected.get(service_id)
        return None if expected is None else expected.device

    def service_ids(self, device: Device) -> list[str]:
        """Return the IDs of the services of a device."""
        return [expected.service_id for expected in self._by_device[device].values()]

    def _disturbed(self, device: Device) -> bool:
        return bool(self._disturbances[""] or self._disturbances[device.segment.name])

    def _start(self, expected: Expectation) -> float:
        """Return the time from which the bounds of a wrong service count."""
        segment = expected.device.segment.name
        return max(
            expected.wrong_since,
            self._calm_since[""],
            self._calm_since.get(segment, 0.0),
            expected.attack_ended_at,
            expected.excused_until,
        )

    def _renew_epoch(self, expected: Expectation) -> None:
        if expected.epoch != self._epoch:
            expected.epoch = self._epoch
            expected.heard_at = expected.replied_at = expected.known_at = math.inf

    def _is_full(self, now: float) -> bool:
        """Return whether the table is full, or was full during the last search interval."""
        if self.daemon is not None and self.daemon.table.tracked >= LIMIT:
            self._full_until = now + 330.0
        return now < self._full_until

    @property
    def wrong(self) -> int:
        """Number of services that are wrong at present."""
        return len(self._wrong)

    @property
    def live(self) -> int:
        """Number of services of devices that are switched on."""
        return sum(each.offered and each.unconfigured_at == math.inf for each in self._expected.values())

    def fail(self, invariant: str, text: str, device: Device | None = None) -> None:
        """
        Report a violation.

        :raise ViolationError: Always.
        """
        subject = "" if device is None else device.name
        error = ViolationError(invariant, f"at {format_time(self._seconds())}: {text}", subject)
        self.violation = self.violation or error
        raise error
