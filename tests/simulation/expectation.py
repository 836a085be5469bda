"""Expected content of Consul for one service of a device."""

from __future__ import annotations

import math
from collections import deque

from tests.simulation.devices import Device


def lifetime(max_age: int) -> float:
    """Return the seconds for which an announcement is valid, with the grace period."""
    return max_age + min(max(max_age / 10, 1.0), 60.0)


class Expectation:
    """
    Expected content of Consul for one service of a device, and the time since which it differs.

    :ivar wrong: ``missing``, ``misplaced`` or ``stale``; empty while Consul is right.
    :ivar wrong_since: Beginning of that.
    :ivar heard_at: Time of the first message since then, or since the last fault; infinite without one.
    :ivar replied_at: The same for the first reply to a search.
    :ivar known_at: Time when the registry was right for the first time since then; infinite if it is not.
    :ivar last_heard: Time of the latest announcement or reply that the daemon received.
    :ivar registered_at: Time at which the daemon registered it last.
    :ivar published_at: Time of its latest change in the registry.
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
    :ivar spoofers: Number of those that forge the address of the device.
    :ivar holder: Host at which the registry has the service, empty without one.
    :ivar held_since: Time since which it is there.
    :ivar held: Seconds for which each host was the holder before, in this process of the daemon.
    :ivar nt: Type that the device announces for it.
    :ivar failed: Number of searches for it since ``last_heard`` that failed because of losses.
    """

    def __init__(self, device: Device, urn: str, nt: str, service_id: str) -> None:
        self.device, self.urn, self.nt, self.service_id = device, urn, nt, service_id
        self.wrong = ""
        self.wrong_since = self.heard_at = self.replied_at = self.known_at = math.inf
        self.epoch = 0
        self.last_heard = self.registered_at = self.evicted_at = -math.inf
        self.revived_at = self.published_at = -math.inf
        self.valid_until = self.bye_at = self.said_bye_at = self.forged_until = -math.inf
        self.attacks = 0
        self.attack_ended_at = self.excused_until = -math.inf
        self.unconfigured_at = math.inf
        self.spoofers = 0
        self.adopted_at = -math.inf
        self.failed = 0
        self.forgers: dict[str, None] = {}
        self.strong_attacks = 0
        self.holder = ""
        self.held_since = 0.0
        self.held: dict[str, float] = {}
        self.changes: deque[float] = deque()
        self.flaps: deque[float] = deque()

    @property
    def offered(self) -> bool:
        """Whether the device is switched on and offers it."""
        return self.device.on and self.nt not in self.device.withdrawn

    @property
    def changed_at(self) -> float:
        """Time of the latest change of the device that concerns it."""
        return max(self.device.changed_at, self.device.offers_changed_at.get(self.nt, -math.inf))
