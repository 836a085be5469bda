"""Changes of the devices in a simulated world, and attacks on them."""

from __future__ import annotations

import math

from tests.simulation import bounds
from tests.simulation.attacks import Attack
from tests.simulation.devices import Device
from tests.simulation.further_attacks import ATTACKS
from tests.simulation.network import Segment
from tests.simulation.processes import Processes
from tests.simulation.settings import ATTACK, MINUTE


class Population(Processes):
    """
    The devices and attackers of a simulated world.

    :ivar busy_latency: Shortest and longest seconds of a response of Consul during some floods.
    """

    busy_latency = (0.3, 1.5)

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
        if len(device.types) > 1 and random.random() < 0.4:
            self._change_offer(device, byebye)
            return
        if random.random() < kind.move:
            device.move(byebye)
            return
        device.leave(byebye)
        pause = random.choice((random.uniform(0.05, 1.5), random.uniform(5.0, 60.0), random.uniform(300.0, 7200.0)))
        self._busy[device] = None
        self.clock.callLater(pause, self._return, device)

    def _change_offer(self, device: Device, byebye: bool) -> None:
        """Let a device end one of its services, and offer it again later."""
        if not device.withdrawn:
            device.withdraw(self.random.choice(device.types), byebye)
            self.clock.callLater(self.random.uniform(30.0, 1800.0), self._restore_offer, device)

    def _restore_offer(self, device: Device) -> None:
        if self.is_quiet:
            self.clock.callLater(MINUTE, self._restore_offer, device)
        elif device.on and device.withdrawn:
            device.restore()

    def burst(self, count: int, seconds: float, segment: Segment | None = None) -> None:
        """Let some devices, of one segment or of all, leave, restart, move or return within some seconds."""
        devices = [each for each in self.devices if segment in (None, each.segment)]
        for _ in range(count if devices else 0):
            device = self.random.choice(devices)
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
            self.clock.callLater(MINUTE, self._return, device)
            return
        self._busy.pop(device, None)
        if self.random.random() < 0.15 and device.kind.move:
            device.move(False)
        self._boot(device)

    # Attacks.

    def _attack(self) -> None:
        self._plan(self._attack, mean=ATTACK / self._rate)
        if self.is_quiet or self.clock.seconds() < 300.0:
            return
        kind = self.random.choice([each for each in ATTACKS if self.settings.attack in ("", each.name)])
        target = None
        if kind.target:
            candidates = [each for each in self.devices if each.on == (kind.target == "on")]
            if not candidates:
                return
            mute = [each for each in candidates if not each.answers]
            # Devices that never answer searches are few, and have rules of their own.
            part = 0.6 if kind.answers or kind.target == "off" else 0.2
            if kind.waits:
                # Only a device that held its service for some time is certainly its home.
                long_on = [each for each in candidates if self.clock.seconds() - each.changed_at > bounds.HOME_TIME]
                candidates = long_on or candidates
            target = self.random.choice(mute if mute and self.random.random() < part else candidates)
        segment = target.segment if target is not None else self.random.choice(self.network.segments)
        self._attacks += 1
        attack = Attack(self._attacks, kind, self.clock, self.network, segment, target, self._fork(), self.checker)
        if target is not None and kind.restarts:
            self.clock.callLater(self.random.uniform(4.0, 15.0), self._restart, target, self.random.uniform(*kind.away))
        if not kind.target and not self.consul_fault and self.random.random() < 0.6:
            self._keep_busy(attack)

    def _restart(self, device: Device, away: float) -> None:
        """Let a device restart, with a byebye and some seconds in which it is off."""
        if not self.is_quiet and device.on and device not in self._busy:
            device.leave(True)
            self._busy[device] = None
            self.clock.callLater(away, self._boot_again, device)

    def _boot_again(self, device: Device) -> None:
        self._busy.pop(device, None)
        self._boot(device)

    def _keep_busy(self, attack: Attack) -> None:
        """Let Consul respond more slowly during an attack, while devices change."""
        self.consul_fault = "busy"
        self.trace.add("", "fault", "Consul: busy")
        self.consul.latency = self.busy_latency
        self.checker.busy_until = math.inf
        self.burst(30, 60.0)

        def end() -> None:
            if attack.active:
                self.clock.callLater(10.0, end)
                return
            self.consul.latency = (0.001, 0.02)
            self.consul_fault = ""
            self.checker.busy_until = self.clock.seconds() + 60.0

        self.clock.callLater(30.0, end)
