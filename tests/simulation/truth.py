"""Actions of devices, operators and attackers: the truth that Consul is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration
from ssdpreg.registration.meta import max_age_of
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse
from ssdpreg.ssdp.usn import means_whole_device
from tests.simulation.changes import ChangeChecks
from tests.simulation.devices import Device
from tests.simulation.expectation import Expectation, lifetime

if TYPE_CHECKING:
    from tests.simulation.attacks import Attack

_MAX_INDIRECT = 1800.0
_LONGEST_MAX_AGE = 86400


class Truth(ChangeChecks):
    """The truth about devices, search terms and attacks."""

    # Devices.

    def add(self, device: Device) -> None:
        """Expect the services of a device."""
        self._by_device[device] = {}

    def set_terms(self, terms: Mapping[str, str]) -> None:
        """Replace the search terms."""
        now = self._seconds()
        self._terms = SearchTerms(terms)
        self._reload = now, sum(each not in self.foreign for each in self._consul.services), 0
        self._urns.clear()
        for device, expected in self._by_device.items():
            nt_of: dict[str, str] = {}
            for nt in device.types:
                urn = self._urn(nt)
                if urn is not None:
                    nt_of[urn] = nt
            for urn in nt_of:
                service_id = self._rules.service_id(device.device_id, urn)
                if urn not in expected:
                    expected[urn] = self._expected[service_id] = Expectation(device, urn, nt_of[urn], service_id)
                expected[urn].unconfigured_at = math.inf
            for urn, each in expected.items():
                if urn not in nt_of:
                    each.unconfigured_at = min(each.unconfigured_at, now)
                self._update(each)

    def device_changed(self, device: Device, what: str) -> None:
        self._trace.add(device.name, "device", what)
        for expected in self._by_device[device].values():
            before = expected.wrong
            self._update(expected)
            if expected.wrong == before:
                # It moved again before Consul had its earlier address: what was received from there says nothing.
                self._begin_wrong(expected)

    def device_heard(self, device: Device, message: Message, address: str) -> None:
        now = self._seconds()
        match message:
            case Alive(nt=nt, max_age=max_age) | SearchResponse(st=nt, max_age=max_age):
                is_byebye = max_age == 0
            case ByeBye(nt=nt):
                is_byebye = True
            case _:
                return
        self._trace.add(device.name, f"received {message.kind}", f"{nt} from {address}")
        self._heard_hosts[address] = None
        services = self._by_device[device]
        if is_byebye:
            urn = self._urn(nt)
            for each in services.values() if means_whole_device(nt) else [services[urn]] if urn in services else []:
                self._bye_heard(each, address)
            return
        expected = services.get(self._urn(nt) or "")
        if expected is None:
            return
        expected.last_heard = now
        expected.failed = 0
        if now > expected.valid_until:
            expected.revived_at = now
        expected.valid_until = max(expected.valid_until, now + lifetime(device.max_age))
        if expected.wrong and expected.offered and address in device.addresses:
            self._renew_epoch(expected)
            if expected.replied_at == math.inf and not self._disturbed(device) and now >= self._start(expected):
                expected.heard_at = min(expected.heard_at, now)
                if isinstance(message, SearchResponse):
                    expected.replied_at = now

    def _bye_heard(self, expected: Expectation, address: str) -> None:
        expected.said_bye_at = self._seconds()
        # The service of a device that has left is wrong already.
        holds = expected.wrong in ("", "stale") and expected.holder == address
        if holds and len(expected.device.addresses) == 1:
            expected.bye_at = self._seconds()

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
                self._forged_heard[registration.service_id] = now, None

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
                expected.spoofers += attack.kind.spoofs

    def attack_heard(self, attack: Attack, message: Message, address: str) -> None:
        self._trace.add(attack.name, "received forgery")
        if attack.kind.on_link:
            self._heard_hosts[address] = None
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
        if attack.kind.is_rejected:
            return
        if getattr(message, "location", "").partition("//")[2].partition(":")[0] != address or not attack.kind.on_link:
            until = min(until, now + _MAX_INDIRECT * 1.1)
        if expected is None:
            service_id = self._rules.service_id(usn[5:].partition("::")[0], urn)
            self._forged[service_id] = max(self._forged.get(service_id, 0.0), until)
            self._forged_heard[service_id] = now, attack.segment.name
            return
        assert device is not None
        if not expected.offered or attack.kind.answers or attack.kind.spoofs:
            expected.forged_until = max(expected.forged_until, until)

    def attack_ended(self, attack: Attack) -> None:
        self._trace.add(attack.name, "attack ended")
        self._trace.add("", "end of attack", attack.name)
        if attack.target is not None and not attack.kind.to_searches:
            for expected in self._by_device[attack.target].values():
                expected.attacks -= 1
                expected.spoofers -= attack.kind.spoofs
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
            expected.heard_at = expected.replied_at = math.inf
