"""Comparison of the simulated Consul with the truth, at every change and every second."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ssdpreg.registration.meta import META_DEVICE, META_NT
from tests.simulation import bounds
from tests.simulation.consul import SimulatedConsul
from tests.simulation.devices import Device
from tests.simulation.expectation import Expectation, lifetime
from tests.simulation.trace import Trace, format_time
from tests.simulation.truth import Truth


class Checker(Truth):
    """
    Checks the invariants. See :class:`CheckerState` for its parameters and attributes.
    """

    def __init__(
        self, seconds: Callable[[], float], trace: Trace, consul: SimulatedConsul, *, measure: bool = False
    ) -> None:
        super().__init__(seconds, trace, consul, measure=measure)
        consul.changed = self._consul_changed
        consul.requested = self._requested
        consul.probed = self.probed

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
        if self._disturbed(device) or now < expected.excused_until or self.daemon is None:
            return math.inf, ""
        if expected.attacks:
            return self._deadline_in_attack(expected), "the home has its service back during an attack"
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

    def _deadline_in_attack(self, expected: Expectation) -> float:
        """Return the time until which a service may be at an attacker, although the device is its home."""
        if expected.wrong != "misplaced" or expected.spoofers or not self._is_home(expected):
            return math.inf
        self._renew_epoch(expected)
        longest = 0.0 if expected.device.answers else self._longest_pause(expected.device)
        full = bounds.UNHEARD if self._start(expected) < self._full_until else 0.0
        return max(expected.heard_at + longest + bounds.HOME_IN_ATTACK + full, self._settled_at, self.slow_until)

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
        attacked = expected.attack_ended_at > expected.changed_at - 1 or expected.forged_until > start
        full = 0.0
        if start < self._full_until:
            # A device that replies to the next search takes the place of one that never replied.
            full = bounds.NEXT_SEARCH * (1 + expected.failed) if device.answers else bounds.UNHEARD
        if not device.answers and self._seconds() < self._full_until:
            # It evicts no other service that never answers. Those of an attacker may live for a day.
            return math.inf
        # The registry may have received a delayed message from the old address first.
        misplaced = expected.wrong == "misplaced" or self._is_known_elsewhere(expected)
        settled = expected.replied_at > self.daemon_began_at + bounds.ADOPTION
        if full and device.answers and not (misplaced or attacked) and expected.replied_at < math.inf and settled:
            # It takes the place of a service whose device never replied.
            return expected.replied_at + bounds.HEARD
        slow = misplaced or attacked or expected.last_heard < expected.attack_ended_at
        if expected.heard_at == math.inf:
            if (
                device.answers
                and not attacked
                and start == self._deafness.searched_at(device.segment.name)
                and not expected.failed
            ):
                return start + bounds.NEXT_SEARCH_AFTER_FAULT + full
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
            return expected.heard_at + self._longest_pause(device) + bounds.MOVED + full
        return expected.heard_at + bounds.SILENT_CLAIM + 1.1 * device.max_age + 120.0 + bounds.MOVED + full

    def _longest_pause(self, device: Device) -> float:
        """Return the longest time in seconds between two announcements of a device."""
        return device.kind.pause[1] * device.max_age if device.kind.pause is not None else math.inf

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
            if not known and now > self._forged_until(service_id) + bounds.EXPIRED:
                self.fail("Consul equals the truth at quiet times", f"{service_id} is left of an attack")
            if service_id in self._expected and service_id not in self._wrong:
                self._check_entry(service_id, entry)

    def _forged_until(self, service_id: str) -> float:
        """Return the time at which a service of an attacker expires at the latest. None of them replies to searches."""
        heard = self._forged_heard.get(service_id)
        deaf = 0.0 if heard is None else self._deafness.at_most_since(*heard)
        return self._forged.get(service_id, -math.inf) + deaf

    def check_repaired(self, service_id: str) -> None:
        """Check the entry of a service that an operator has changed some time ago."""
        entry, expected = self._consul.services.get(service_id), self._expected.get(service_id)
        if entry is None or expected is None or expected.excused_until > self._seconds() or expected.attacks:
            return
        self._check_entry(service_id, entry)

    def _check_entry(self, service_id: str, entry: Mapping[str, object]) -> None:
        """Check the names and the checks of an entry."""
        registration = None if self.daemon is None else self.daemon.registry.registrations.get(service_id)
        if (
            registration is None
            or self._seconds() < self._expected[service_id].published_at + bounds.CATALOG + self.busy
        ):
            return
        invariant = "entries are complete"
        device, urn = self._expected[service_id].device, self._expected[service_id].urn
        meta = entry["Meta"]
        assert isinstance(meta, dict)
        if meta.get(META_DEVICE) != device.device_id or self._urn(str(meta.get(META_NT))) != urn:
            self.fail(invariant, f"{service_id} has the Meta {meta}", device)
        if (entry["Address"], entry["Port"], meta) != (registration.address, registration.port, registration.meta):
            self.fail(invariant, f"{service_id} is {entry}, and not {registration}", device)
        if (entry["Service"], entry["Tags"]) != (registration.name, list(registration.tags)):
            self.fail(invariant, f"{service_id} has the name {entry['Service']} and tags {entry['Tags']}", device)
        found = {each for each in self._consul.check_ids(service_id) if not each.startswith("_service_maintenance")}
        if found != {check.check_id for check in registration.checks}:
            self.fail(invariant, f"{service_id} has the checks {sorted(found)}", device)
        failing = [each for each in found if self._consul.status(each) != "passing"]
        if failing:
            self.fail(invariant, f"{failing[0]} is not passing", device)
