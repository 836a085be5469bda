"""Comparison of the simulated Consul with the truth, at every change and every second."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import META_DEVICE, META_NT, max_age_of
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse
from tests.simulation import bounds
from tests.simulation.daemon import LIMIT, make_rules
from tests.simulation.devices import Device
from tests.simulation.trace import Trace, ViolationError, format_time

if TYPE_CHECKING:
    from tests.simulation.attacks import Attack
    from tests.simulation.clock import ProcessClock
    from tests.simulation.consul import SimulatedConsul
    from tests.simulation.daemon import Daemon

_MAX_INDIRECT = 1800.0
_LONGEST_MAX_AGE = 86400


def lifetime(max_age: int) -> float:
    """Return the seconds for which an announcement is valid, with the grace period."""
    return max_age + min(max(max_age / 10, 1.0), 60.0)


class Expectation:
    """
    Expected content of Consul for one service of a device, and the time since which it differs.

    :ivar wrong: ``missing``, ``misplaced`` or ``stale``; empty while Consul is right.
    :ivar wrong_since: Beginning of that.
    :ivar heard_at: Time of the first message since then, or since the last fault; infinite without one.
    :ivar known_at: Time when the registry was right for the first time since then; infinite if it is not.
    :ivar last_heard: Time of the latest announcement or reply that the daemon received.
    :ivar registered_at: Time at which the daemon registered it last.
    :ivar evicted_at: Time at which the full table gave its place to another device.
    :ivar valid_until: End of the lifetime of everything that was received.
    :ivar revived_at: Time of the latest announcement or reply that was received after that.
    :ivar bye_at: Time of the latest byebye that was received while the service was right.
    :ivar said_bye_at: Time of the latest byebye that was received.
    :ivar forged_until: End of the lifetime of forged announcements that can have taken the place of an absent device.
    :ivar attacks: Number of attacks on the device that are under way.
    :ivar attack_ended_at: End of the latest one.
    :ivar excused_until: Time until which Consul refuses this service.
    :ivar adopted_at: Time of its latest adoption.
    :ivar forgers: Addresses of attackers that neither answer searches nor forge their own address, while they attack.
    :ivar strong_attacks: Number of other attacks that are under way.
    :ivar holder: Host at which the registry has the service, empty without one.
    :ivar held_since: Time since which it is there.
    :ivar held: Seconds for which each host was the holder before, in this process of the daemon.
    :ivar failed: Number of searches for it since ``last_heard`` that failed because of losses.
    """

    def __init__(self, device: Device, urn: str, service_id: str) -> None:
        self.device, self.urn, self.service_id = device, urn, service_id
        self.wrong = ""
        self.wrong_since = self.heard_at = self.known_at = math.inf
        self.epoch = 0
        self.last_heard = self.registered_at = self.evicted_at = -math.inf
        self.revived_at = -math.inf
        self.valid_until = self.bye_at = self.said_bye_at = self.forged_until = -math.inf
        self.attacks = 0
        self.attack_ended_at = self.excused_until = -math.inf
        self.unconfigured_at = math.inf
        self.spoofed = False
        self.adopted_at = -math.inf
        self.failed = 0
        self.forgers: dict[str, None] = {}
        self.strong_attacks = 0
        self.holder = ""
        self.held_since = 0.0
        self.held: dict[str, float] = {}
        self.changes: deque[float] = deque()
        self.flaps: deque[float] = deque()


class Checker:
    """
    Checks the invariants.

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
        self._expected: dict[str, Expectation] = {}
        self._by_device: dict[Device, dict[str, Expectation]] = {}
        self._wrong: dict[str, Expectation] = {}
        # Services of attackers, with the end of their lifetime.
        self._forged: dict[str, float] = {}
        self._disturbances: Counter[str] = Counter()
        self._calm_since: dict[str, float] = {"": 0.0}
        self._epoch = 0
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
        consul.changed = self._consul_changed
        consul.requested = self._requested

    # Truth.

    def add(self, device: Device) -> None:
        """Expect the services of a device."""
        self._by_device[device] = {}

    def set_terms(self, terms: Mapping[str, str]) -> None:
        """Replace the search terms."""
        now = self._seconds()
        self._terms = SearchTerms(terms)
        for device, expected in self._by_device.items():
            matched: dict[str, None] = {}
            for nt in device.types:
                urn = self._urn(nt)
                if urn is not None:
                    matched[urn] = None
            for urn in matched:
                service_id = self._rules.service_id(device.device_id, urn)
                if urn not in expected:
                    expected[urn] = self._expected[service_id] = Expectation(device, urn, service_id)
                expected[urn].unconfigured_at = math.inf
            for urn, each in expected.items():
                if urn not in matched:
                    each.unconfigured_at = min(each.unconfigured_at, now)
                self._update(each)

    def _urn(self, nt: str) -> str | None:
        term = self._terms.match(nt)
        return None if term is None else term.identity(nt)

    def device_changed(self, device: Device, what: str) -> None:
        self._trace.add(device.name, "device", what)
        for expected in self._by_device[device].values():
            self._update(expected)

    def device_heard(self, device: Device, message: Message, address: str) -> None:
        now = self._seconds()
        match message:
            case Alive(nt=nt) | SearchResponse(st=nt):
                pass
            case ByeBye(nt=nt):
                pass
            case _:
                return
        self._trace.add(device.name, f"received {message.kind}", f"{nt} from {address}")
        expected = self._by_device[device].get(self._urn(nt) or "")
        if expected is None:
            return
        if isinstance(message, ByeBye):
            expected.said_bye_at = now
            # The service of a device that has left is wrong already.
            holds = expected.wrong in ("", "stale") and expected.holder == address
            if holds and len(device.addresses) == 1:
                expected.bye_at = now
            return
        expected.last_heard = now
        expected.failed = 0
        if now > expected.valid_until:
            expected.revived_at = now
        expected.valid_until = max(expected.valid_until, now + lifetime(device.max_age))
        if expected.wrong and device.on and address in device.addresses:
            self._renew_epoch(expected)
            if expected.heard_at == math.inf and not self._disturbed(device) and now >= self._start(expected):
                expected.heard_at = now

    def device_lost(self, device: Device, types: Sequence[str]) -> None:
        for nt in types:
            expected = self._by_device[device].get(self._urn(nt) or "")
            if expected is not None:
                expected.failed += 1

    def adopted(self, registrations: list[Registration]) -> None:
        """Process that the daemon adopts registrations: each has a full lifetime again."""
        now = self._seconds()
        for registration in registrations:
            until = now + max(lifetime(max_age_of(registration.meta, 1800)), 60.0)
            expected = self._expected.get(registration.service_id)
            if expected is not None:
                expected.valid_until = max(expected.valid_until, until)
                expected.bye_at = expected.said_bye_at = -math.inf
                expected.failed = 0
                expected.adopted_at = now
            else:
                self._forged[registration.service_id] = until

    def held(self, registration: Registration) -> None:
        """Process that a service is live in the registry, at the address of the registration."""
        expected = self._expected.get(registration.service_id)
        if expected is not None and expected.holder != registration.address:
            self._change_holder(expected, registration.address)

    def _change_holder(self, expected: Expectation, holder: str) -> None:
        now = self._seconds()
        if expected.holder:
            before = expected.held.get(expected.holder, 0.0)
            expected.held[expected.holder] = before + now - expected.held_since
        expected.holder, expected.held_since = holder, now

    def forget_holders(self) -> None:
        """Process the start of another process: it does not know for how long each host held a service."""
        for expected in self._expected.values():
            expected.holder = ""
            expected.held.clear()

    def left(self, registration: Registration, reason: str) -> None:
        """Process that a service is no longer live in the registry."""
        expected = self._expected.get(registration.service_id)
        if expected is None:
            return
        self._change_holder(expected, "")
        # Only the home is known after the service has left.
        home = max(expected.held, key=expected.held.__getitem__, default="")
        expected.held = {home: expected.held[home]} if expected.held.get(home, 0.0) > bounds.HOME else {}
        if reason == "evicted":
            expected.evicted_at = self._seconds()
        elif reason == "expired":
            self._check_expiry(expected, registration)

    def _check_expiry(self, expected: Expectation, registration: Registration) -> None:
        now, device = self._seconds(), expected.device
        age = lifetime(device.max_age)
        at_device = registration.address in device.addresses and registration.port == device.port
        attacked = expected.attacks or now - expected.attack_ended_at < bounds.MOVED or now < expected.forged_until
        unknown = device.segment.name in self.absent_at_start and expected.last_heard < self.daemon_began_at
        if not device.on or not at_device or attacked or unknown or now - device.changed_at < age:
            return
        text = f"{expected.service_id} of {device.name}, last received {now - expected.last_heard:.1f} s ago"
        if now < expected.last_heard + age - 0.01:
            self.fail("a service does not expire while its announcement is valid", text, device)
        calm = min(self.undisturbed_for, now - self._calm_since.get(device.segment.name, -math.inf))
        interrupted = self._disturbed(device) or calm < age
        needed = bounds.FAILED_EXCHANGES_AFTER_INTERRUPTION if interrupted else bounds.FAILED_EXCHANGES
        self.expiries[device.kind.name] += 1
        if device.answers and expected.failed < needed:
            text += f", {expected.failed} searches failed because of losses"
            self.fail("a device that answers does not expire before it is searched for", text, device)

    # Attacks.

    def attack_began(self, attack: Attack) -> None:
        self._trace.add(attack.name, "attack began")
        self._trace.add("", "attack", f"{attack.name} from {attack.address} on {attack.target and attack.target.name}")
        if attack.target is not None and not attack.kind.to_searches:
            for expected in self._by_device[attack.target].values():
                expected.attacks += 1
                if attack.kind.is_weak:
                    expected.forgers[attack.address] = expected.forgers[attack.third] = None
                else:
                    expected.strong_attacks += 1
                expected.spoofed = expected.spoofed or attack.kind.spoofs

    def attack_heard(self, attack: Attack, message: Message, address: str) -> None:
        self._trace.add(attack.name, "received forgery")
        if attack.kind.to_searches:
            self.fail("no unicast datagram is accepted without a search, or from another network", f"{message}")
        now = self._seconds()
        if not attack.active and attack.target is not None:
            # The daemon was suspended, and reads the datagrams of the attack later.
            self._end_attack(attack.target)
        match message:
            case Alive(nt=nt, usn=usn, max_age=max_age) | SearchResponse(st=nt, usn=usn, max_age=max_age):
                pass
            case _:
                return
        urn = self._urn(nt)
        if urn is None:
            return
        until = now + lifetime(min(max_age or 1800, _LONGEST_MAX_AGE))
        device = attack.target
        expected = None if device is None else self._by_device[device].get(urn)
        if expected is None:
            service_id = self._rules.service_id(usn[5:].partition("::")[0], urn)
            self._forged[service_id] = max(self._forged.get(service_id, 0.0), until)
            return
        assert device is not None
        if f"//{address}:" not in getattr(message, "location", ""):
            until = min(until, now + _MAX_INDIRECT * 1.1)
        if not device.on or attack.kind.answers or attack.kind.spoofs:
            expected.forged_until = max(expected.forged_until, until)

    def attack_ended(self, attack: Attack) -> None:
        self._trace.add(attack.name, "attack ended")
        self._trace.add("", "end of attack", attack.name)
        if attack.target is not None and not attack.kind.to_searches:
            for expected in self._by_device[attack.target].values():
                expected.attacks -= 1
                if attack.kind.is_weak:
                    expected.forgers.pop(attack.address, None)
                    expected.forgers.pop(attack.third, None)
                else:
                    expected.strong_attacks -= 1
            self._end_attack(attack.target)

    def _end_attack(self, device: Device) -> None:
        """Process the last effect of an attack: from now on, messages of the device count."""
        for expected in self._by_device[device].values():
            expected.attack_ended_at = self._seconds()
            expected.heard_at = math.inf

    # Faults.

    def fault_began(self, place: str, what: str) -> None:
        """
        Process the beginning of a fault.

        :param place: Name of a segment; empty for a fault of Consul, the daemon or its host.
        """
        self._trace.add("", "fault", f"{what} {place}".rstrip())
        self._disturbances[place] += 1
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
        self._calm_since[place] = self._seconds()
        self._epoch += 1

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
            expected.heard_at = expected.known_at = math.inf

    # Consul.

    def _requested(self, method: str, path: str, process: ProcessClock) -> None:
        if "_service_maintenance" in path:
            self.fail("maintenance mode is not touched", f"{method} {path}")
        if process is self.standby and method == "PUT":
            self.fail("a second daemon writes nothing", f"{method} {path}")

    def _consul_changed(self, service_id: str, by: str) -> None:
        entry = self._consul.services.get(service_id)
        place = "removed" if entry is None else f"{entry['Address']}:{entry['Port']}"
        expected = self._expected.get(service_id)
        subject = "" if expected is None else expected.device.name
        if expected is None and service_id in self._forged:
            self._trace.add("forgeries", "consul", f"{service_id} {place} by {by}")
        else:
            self._trace.add(subject, "consul", f"{service_id} {place} by {by}")
        if by == "daemon" and service_id in self.foreign:
            self.fail("foreign services are not touched", service_id)
        if expected is None:
            own = entry is None or entry["Service"] == "ssdpreg"
            if by == "daemon" and not own and service_id not in self._forged:
                self.fail("only announced services are registered", service_id)
            return
        if by == "daemon":
            self._check_change(expected, entry is None)
            if entry is not None and entry["Address"] in expected.forgers:
                self._check_forgery(expected, str(entry["Address"]))
        self._update(expected)

    def _check_change(self, expected: Expectation, removed: bool) -> None:
        now, device = self._seconds(), expected.device
        expected.changes.append(now)
        if not removed:
            expected.registered_at = now
        while expected.changes[0] < now - 600:
            expected.changes.popleft()
        if len(expected.changes) > bounds.CHANGES_OF_SERVICE:
            self.fail("changes of one service", f"{expected.service_id}: {len(expected.changes)} in 10 minutes", device)
        if removed and device.on and now - device.changed_at > bounds.STARTED and expected.unconfigured_at > now:
            self._check_removal(expected, now)
        elif not removed and not expected.wrong and not expected.attacks and now - expected.attack_ended_at > 90:
            self._check_flaps(expected, now)

    def _check_forgery(self, expected: Expectation, address: str) -> None:
        """
        Check that a device that answers searches keeps its service while an attacker that does not claims it.

        An attacker that had the service before, because the device was off, may be its home.
        """
        device, now = expected.device, self._seconds()
        is_known = expected.last_heard > max(expected.said_bye_at, device.changed_at) and address not in expected.held
        calm = self.network_undisturbed_for > 60.0 and not expected.failed and now >= self._full_until
        if device.on and device.answers and not (expected.wrong or expected.strong_attacks) and is_known and calm:
            text = f"{expected.service_id} is at {address}"
            self.fail("a claim that its host does not confirm moves no device that answers", text, device)

    def _check_flaps(self, expected: Expectation, now: float) -> None:
        if self.network_undisturbed_for < 120 or now - expected.device.changed_at < 3600:
            return
        expected.flaps.append(now)
        while expected.flaps[0] < now - 3600:
            expected.flaps.popleft()
        if len(expected.flaps) > bounds.FLAPS:
            self.fail("moves of a device that does not move", expected.service_id, expected.device)

    def _check_removal(self, expected: Expectation, now: float) -> None:
        device = expected.device
        heard = now < expected.last_heard + lifetime(device.max_age)
        lossy = device.segment.normal_loss > bounds.HIGH_LOSS or self._recently_lossy(device, now)
        if expected.attacks or now - expected.attack_ended_at < bounds.MOVED or now < expected.forged_until:
            reason = "attack"
        elif expected.wrong:
            # The old address is removed. A device that never answers returns with its next announcement.
            reason = expected.wrong
        elif expected.said_bye_at > expected.last_heard:
            # The announcement that followed the byebye was lost.
            reason = "byebye"
        elif max(self.daemon_began_at, device.changed_at) > expected.last_heard and not heard:
            reason = "not received since the start"
        elif self._is_full(now) and max(expected.said_bye_at, expected.evicted_at) > expected.registered_at:
            # The device has to wait until there is a place in the table.
            reason = "evicted"
        elif now - expected.revived_at < bounds.CATALOG + bounds.BUSY:
            # Consul executes the removal after the expiry, when the device is received again.
            reason = "lost"
        elif heard:
            reason = "valid"
        else:
            reason = "lost"
        self.removals[device.kind.name, reason] += 1
        self._trace.add(device.name, "removal of a device that is on", reason)
        text = f"{expected.service_id} of {device.name}, last received {now - expected.last_heard:.1f} s ago"
        if reason == "valid":
            self.fail("a device is not removed while its announcement is valid", text, device)
        if device.answers and reason == "lost" and not heard and not lossy and not self._measure:
            self.fail("a device that answers is not removed", text, device)

    def _is_full(self, now: float) -> bool:
        """Return whether the table is full, or was full during the last search interval."""
        if self.daemon is not None and self.daemon.table.tracked >= LIMIT:
            self._full_until = now + 330.0
        return now < self._full_until

    def _recently_lossy(self, device: Device, now: float) -> bool:
        name = device.segment.name
        recent = now - self._calm_since.get(name, -math.inf) < lifetime(device.max_age)
        return bool(self._disturbances[name]) or recent or self.undisturbed_for < lifetime(device.max_age)

    def _update(self, expected: Expectation) -> None:
        device, entry = expected.device, self._consul.services.get(expected.service_id)
        wanted = device.on and expected.unconfigured_at == math.inf
        if wanted and entry is None:
            wrong = "missing"
        elif wanted and not self._is_right(expected, entry or {}):
            wrong = "misplaced"
        elif not wanted and entry is not None:
            wrong = "stale"
        else:
            wrong = ""
        if wrong == expected.wrong:
            return
        expected.wrong = wrong
        expected.wrong_since = self._seconds()
        expected.heard_at = expected.known_at = math.inf
        if wrong:
            self._wrong[expected.service_id] = expected
        else:
            self._wrong.pop(expected.service_id, None)

    def _is_right(self, expected: Expectation, entry: Mapping[str, object]) -> bool:
        return entry["Address"] in expected.device.addresses and entry["Port"] == expected.device.port

    # Checks.

    def check(self) -> None:
        """Check the services that are wrong."""
        now = self._seconds()
        self._is_full(now)
        self._check_own(now)
        if self.daemon is not None and self.daemon.reconciler.held_removals:
            self._guarded_until = now + bounds.GUARD
        for expected in list(self._wrong.values()):
            deadline, invariant = self._deadline(expected, now)
            if now > deadline:
                self.fail(
                    invariant,
                    f"{expected.service_id} of {expected.device.name} is {expected.wrong} since"
                    f" {format_time(expected.wrong_since)}, too late since {format_time(deadline)}",
                    expected.device,
                )

    def _check_own(self, now: float) -> None:
        """Check that the keep-alives of the daemon arrive whenever they can."""
        running = self.daemon is not None and not self.daemon.process.suspended
        if not (running and self._consul.accepts_keep_alives):
            self.alive_since = math.inf
        elif self.alive_since == math.inf:
            self.alive_since = now
        if now - self.alive_since > bounds.OWN_CHECK:
            status = self._consul.status("ssdpreg:alive")
            if status != "passing":
                self.fail("the check of the daemon is passing while Consul accepts keep-alives", status or "no check")

    def _deadline(self, expected: Expectation, now: float) -> tuple[float, str]:
        device = expected.device
        if self._disturbed(device) or expected.attacks or now < expected.excused_until or self.daemon is None:
            return math.inf, ""
        self._renew_epoch(expected)
        start = self._start(expected)
        if expected.known_at == math.inf and self._registry_is_right(expected):
            expected.known_at = now
        if expected.known_at < math.inf:
            # The registry is right: only Consul is not.
            if not self._registry_is_right(expected):
                expected.known_at = math.inf
            else:
                bound = bounds.GUARD if expected.wrong == "stale" and self._guarded_until >= now else bounds.CATALOG
                bound += self.busy if now < self.busy_until else 0.0
                return max(
                    expected.known_at + bound, self._settled_at, expected.excused_until, self.slow_until
                ), "Consul is the registry"
        if expected.wrong == "stale":
            return self._stale_deadline(expected, start), "a device that left is removed"
        return self._absent_deadline(expected, start), f"a device is not {expected.wrong}"

    def _registry_is_right(self, expected: Expectation) -> bool:
        assert self.daemon is not None
        registration = self.daemon.registry.registrations.get(expected.service_id)
        if expected.wrong == "stale":
            return registration is None
        return registration is not None and (
            registration.address in expected.device.addresses and registration.port == expected.device.port
        )

    def _is_known_elsewhere(self, expected: Expectation) -> bool:
        assert self.daemon is not None
        return expected.service_id in self.daemon.registry.registrations and not self._registry_is_right(expected)

    def _stale_deadline(self, expected: Expectation, start: float) -> float:
        device = expected.device
        if expected.unconfigured_at < math.inf:
            return max(start, expected.unconfigured_at) + bounds.UNCONFIGURED
        if expected.last_heard < expected.adopted_at and any(self._disturbances.values()):
            # It was adopted, so its interface is not known: it may be the one that does not receive.
            return math.inf
        calm = max(self._calm_since.values())
        settled = calm + bounds.HELD
        if calm > expected.last_heard:
            # The time of an interruption does not count for a device that has not replied to a search.
            settled += lifetime(device.max_age)
        if expected.bye_at > expected.last_heard and not expected.forged_until > expected.bye_at:
            return max(expected.bye_at + bounds.BYEBYE, settled)
        return max(expected.valid_until, expected.forged_until, start, settled) + bounds.EXPIRED

    def _absent_deadline(self, expected: Expectation, start: float) -> float:
        device = expected.device
        attacked = expected.attack_ended_at > device.changed_at - 1 or expected.forged_until > start
        full = bounds.UNHEARD if start < self._full_until else 0.0
        # The registry may have received a delayed message from the old address first.
        misplaced = expected.wrong == "misplaced" or self._is_known_elsewhere(expected)
        slow = misplaced or attacked or expected.last_heard < expected.attack_ended_at
        if expected.heard_at == math.inf:
            if device.answers and not attacked:
                return start + bounds.NEXT_SEARCH * (1 + expected.failed) + full
            bound = bounds.UNHEARD + (0.0 if device.answers else 3 * device.max_age)
            return start + bound + full
        if not slow and expected.wrong == "missing":
            return expected.heard_at + bounds.HEARD + full
        if device.answers:
            # The place is contested when the device was received twice, at the latest by two searches.
            return expected.heard_at + bounds.MOVED + full + (bounds.SECOND_MESSAGE if attacked else 0.0)
        if self._is_home(expected):
            # At its next announcement, or the second one.
            longest = device.kind.pause[1] * device.max_age if device.kind.pause is not None else math.inf
            return expected.heard_at + longest + bounds.MOVED + full
        return expected.heard_at + bounds.SILENT_CLAIM + 1.1 * device.max_age + 120.0 + bounds.MOVED + full

    def _is_home(self, expected: Expectation) -> bool:
        """Return whether the address of a device certainly is the home of its service."""
        held = dict(expected.held)
        if expected.holder:
            held[expected.holder] = held.get(expected.holder, 0.0) + self._seconds() - expected.held_since
        own = held.pop(expected.device.addresses[0], 0.0)
        return own > max(bounds.HOME, max(held.values(), default=0.0) + bounds.HOME_MARGIN)

    def check_quiet(self) -> None:
        """Check that Consul equals the truth, apart from lifetimes that have not ended."""
        self.check()
        now = self._seconds()
        for expected in self._wrong.values():
            # Devices that never answer searches have later deadlines, which check() has checked.
            # A reply to one of the searches may have been lost.
            is_due = expected.heard_at < math.inf or now - expected.wrong_since > bounds.THREE_SEARCHES
            if expected.wrong != "stale" and expected.device.answers and is_due:
                self.fail(
                    "Consul equals the truth at quiet times",
                    f"{expected.service_id} is {expected.wrong} since {format_time(expected.wrong_since)}",
                    expected.device,
                )
        for service_id, entry in self._consul.services.items():
            known = service_id in self._expected or service_id in self.foreign or entry["Service"] == "ssdpreg"
            if not known and now > self._forged.get(service_id, -math.inf) + bounds.EXPIRED:
                self.fail("Consul equals the truth at quiet times", f"{service_id} is left of an attack")
            if service_id in self._expected and service_id not in self._wrong:
                self._check_entry(service_id, entry)

    def _check_entry(self, service_id: str, entry: Mapping[str, object]) -> None:
        """Check the names and the checks of an entry."""
        registration = None if self.daemon is None else self.daemon.registry.registrations.get(service_id)
        if registration is None:
            return
        invariant = "entries are complete at quiet times"
        device, urn = self._expected[service_id].device, self._expected[service_id].urn
        meta = entry["Meta"]
        assert isinstance(meta, dict)
        if meta.get(META_DEVICE) != device.device_id or self._urn(str(meta.get(META_NT))) != urn:
            self.fail(invariant, f"{service_id} has the Meta {meta}", device)
        if (entry["Service"], entry["Tags"]) != (registration.name, list(registration.tags)):
            self.fail(invariant, f"{service_id} has the name {entry['Service']} and tags {entry['Tags']}", device)
        found = {each for each in self._consul.check_ids(service_id) if not each.startswith("_service_maintenance")}
        if found != {check.check_id for check in registration.checks}:
            self.fail(invariant, f"{service_id} has the checks {sorted(found)}", device)
        failing = [each for each in found if self._consul.status(each) != "passing"]
        if failing:
            self.fail(invariant, f"{failing[0]} is not passing", device)

    @property
    def wrong(self) -> int:
        """Number of services that are wrong at present."""
        return len(self._wrong)

    @property
    def live(self) -> int:
        """Number of services of devices that are switched on."""
        return sum(each.device.on and each.unconfigured_at == math.inf for each in self._expected.values())

    def fail(self, invariant: str, text: str, device: Device | None = None) -> None:
        """
        Report a violation.

        :raise ViolationError: Always.
        """
        subject = "" if device is None else device.name
        error = ViolationError(invariant, f"at {format_time(self._seconds())}: {text}", subject)
        self.violation = self.violation or error
        raise error
