"""Checks of each change of the simulated Consul, and of the live services."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ssdpreg.registration import Registration
from tests.simulation import bounds
from tests.simulation.checker_state import CheckerState
from tests.simulation.devices import Device
from tests.simulation.expectation import Expectation, lifetime

if TYPE_CHECKING:
    from tests.simulation.clock import ProcessClock


class ChangeChecks(CheckerState):
    """Checks of changes."""

    # The registry.

    def held(self, registration: Registration) -> None:
        """Process that a service is live in the registry, at the address of the registration."""
        expected = self._expected.get(registration.service_id)
        if expected is None:
            return
        expected.published_at = self._seconds()
        if expected.holder != registration.address:
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
        elif reason == "byebye":
            self._check_byebye(expected, registration)

    def _check_expiry(self, expected: Expectation, registration: Registration) -> None:
        now, device = self._seconds(), expected.device
        age = lifetime(device.max_age)
        at_device = registration.address in device.addresses and registration.port == device.port
        attacked = expected.attacks or now - expected.attack_ended_at < bounds.MOVED or now < expected.forged_until
        unknown = device.segment.name in self.absent_at_start and expected.last_heard < self.daemon_began_at
        if not expected.offered or not at_device or attacked or unknown or now - expected.changed_at < age:
            return
        text = f"{expected.service_id} of {device.name}, last received {now - expected.last_heard:.1f} s ago"
        if now < expected.last_heard + age - 0.01:
            self.fail("a service does not expire while its announcement is valid", text, device)
        known = expected.last_heard > max(self.daemon_began_at, expected.adopted_at)
        deaf = self._deafness.since(expected.last_heard, device.segment.name) if known and not device.answers else 0.0
        if now < expected.last_heard + age + deaf:
            self.fail("time without reception does not count for a device that never replies", text, device)
        calm = min(self.undisturbed_for, now - self._calm_since.get(device.segment.name, -math.inf))
        interrupted = self._disturbed(device) or calm < age
        needed = bounds.FAILED_EXCHANGES_AFTER_INTERRUPTION if interrupted else bounds.FAILED_EXCHANGES
        self.expiries[device.kind.name] += 1
        if device.answers and expected.failed < needed:
            text += f", {expected.failed} searches failed because of losses"
            self.fail("a device that answers does not expire before it is searched for", text, device)

    def _check_byebye(self, expected: Expectation, registration: Registration) -> None:
        """Check that a device that replies to the search after a forged byebye voids it."""
        now, device = self._seconds(), expected.device
        calm = min(self.undisturbed_for, now - self._calm_since.get(device.segment.name, -math.inf))
        at_device = registration.address in device.addresses and registration.port == device.port
        forged = expected.said_bye_at < max(expected.last_heard, self.daemon_began_at) and at_device
        heard = expected.last_heard > max(expected.changed_at, self.daemon_began_at)
        calm = 0.0 if self._disturbed(device) else min(calm, now - expected.changed_at)
        if forged and heard and expected.offered and device.answers and calm > bounds.VOIDED and not expected.failed:
            text = f"{expected.service_id} of {device.name}, last received {now - expected.last_heard:.1f} s ago"
            self.fail("a device that answers voids a forged byebye", text, device)

    # Consul.

    def probed(self, service_id: str, host: str) -> None:
        """Process that the daemon aims a health check of Consul at a host."""
        if host not in self._heard_hosts:
            self.fail("health checks are aimed only at hosts that announced themselves", f"{service_id} at {host}")

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
            if by == "daemon" and entry is not None and not own:
                self._check_forged_change(service_id)
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
        elif expected.unconfigured_at == self._reload[0]:
            self._check_mass_removal(now)
        while expected.changes[0] < now - 600:
            expected.changes.popleft()
        if len(expected.changes) > bounds.CHANGES_OF_SERVICE:
            self.fail("changes of one service", f"{expected.service_id}: {len(expected.changes)} in 10 minutes", device)
        if (
            removed
            and expected.offered
            and now - expected.changed_at > bounds.STARTED
            and expected.unconfigured_at > now
        ):
            self._check_removal(expected, now)
        elif not removed and not expected.wrong and not expected.attacks and now - expected.attack_ended_at > 90:
            self._check_flaps(expected, now)

    def _check_mass_removal(self, now: float) -> None:
        """Check that a second comparison confirms the removal of most services because of other search terms."""
        reloaded_at, total, removed = self._reload
        self._reload = reloaded_at, total, removed + 1
        if now - reloaded_at < bounds.SECOND_LOOK and removed + 1 > max(bounds.FEW, total / 2):
            text = f"{removed + 1} of {total} services, {now - reloaded_at:.1f} s after a reload"
            self.fail("most services are not removed without a second comparison", text)

    def _check_forged_change(self, service_id: str) -> None:
        """Check that an attacker does not let its own service move without end."""
        times = self._forged_changes.setdefault(service_id, deque(maxlen=bounds.CHANGES_OF_SERVICE + 1))
        times.append(self._seconds())
        if len(times) > bounds.CHANGES_OF_SERVICE and times[-1] - times[0] < 600:
            self.fail("changes of one service", f"{service_id} of an attacker: {len(times)} in 10 minutes")

    def _check_forgery(self, expected: Expectation, address: str) -> None:
        """
        Check that a device that answers searches keeps its service while an attacker that does not claims it.

        An attacker that had the service before, because the device was off, may be its home.
        """
        device, now = expected.device, self._seconds()
        is_known = expected.last_heard > max(expected.said_bye_at, expected.changed_at) and address not in expected.held
        calm = self.network_undisturbed_for > 60.0 and not expected.failed and now >= self._full_until
        if (
            expected.offered
            and device.answers
            and not (expected.wrong or expected.strong_attacks)
            and is_known
            and calm
        ):
            text = f"{expected.service_id} is at {address}"
            self.fail("a claim that its host does not confirm moves no device that answers", text, device)

    def _check_flaps(self, expected: Expectation, now: float) -> None:
        if self.network_undisturbed_for < 120 or now - expected.changed_at < 3600:
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
        elif max(self.daemon_began_at, expected.changed_at) > expected.last_heard and not heard:
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

    def _recently_lossy(self, device: Device, now: float) -> bool:
        name = device.segment.name
        recent = now - self._calm_since.get(name, -math.inf) < lifetime(device.max_age)
        return bool(self._disturbances[name]) or recent or self.undisturbed_for < lifetime(device.max_age)

    def _update(self, expected: Expectation) -> None:
        entry = self._consul.services.get(expected.service_id)
        wanted = expected.offered and expected.unconfigured_at == math.inf
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
        self._begin_wrong(expected)
        if wrong:
            self._wrong[expected.service_id] = expected
        else:
            self._wrong.pop(expected.service_id, None)

    def _begin_wrong(self, expected: Expectation) -> None:
        """Let the bounds of a service count from now."""
        expected.wrong_since = self._seconds()
        expected.heard_at = expected.replied_at = expected.known_at = math.inf

    def _is_right(self, expected: Expectation, entry: Mapping[str, object]) -> bool:
        return entry["Address"] in expected.device.addresses and entry["Port"] == expected.device.port
