"""The true device, and the attacker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.ssdp.reception import Channel
from tests.adversary.world import World
from tests.support.table_case import advertisement

#: Addresses of the device: the first one, a second one, and a global IPv6 address with the link-local one.
FIRST, SECOND, GLOBAL, LINK = "10.0.0.5", "10.0.0.15", "2001:db8::5", "fe80::5%eth0"
#: Addresses to which it moves, in turn: DHCP may return the first one again.
_LEASES = ("10.0.0.21", "10.0.0.22", FIRST)
#: The attacker, a further host that the attacker uses, and one that has no claim.
EVIL, THIRD, STRANGER = "10.0.0.66", "10.0.0.99", "10.0.0.77"


@dataclass(frozen=True)
class DeviceKind:
    """
    Kind of device.

    :ivar replies: Whether it replies to searches.
    :ivar announces: Whether it announces itself.
    :ivar hosts: Its addresses. It announces the IPv6 address from :data:`LINK`.
    """

    name: str
    replies: bool = True
    announces: bool = True
    hosts: tuple[str, ...] = (FIRST,)


DEVICES = (
    DeviceKind("replies"),
    DeviceKind("only-replies", announces=False),
    DeviceKind("two-addresses", hosts=(FIRST, SECOND)),
    DeviceKind("both-families", hosts=(FIRST, GLOBAL)),
    DeviceKind("mute", replies=False),
    DeviceKind("mute-two-addresses", replies=False, hosts=(FIRST, SECOND)),
)


class Device:
    """
    The true device.

    :ivar on: Whether it is switched on.
    :ivar received_at: Time at which the daemon received its first message since :meth:`await_message`; infinite
        without one.
    """

    def __init__(self, kind: DeviceKind, world: World) -> None:
        self.kind, self._world = kind, world
        random = world.random
        self._max_age = random.choice((300, 1800, 1800))
        self._pause = self._max_age * random.uniform(0.17, 0.49)
        self._copies = random.choice((1, 1, 2, 3))
        self._boot_id = random.choice((0, 0, 1))
        self._hosts = kind.hosts
        self._moves = 0
        self._turn = 0
        self.on = False
        self.received_at = math.inf
        world.responders.append(self)

    @property
    def advertisements(self) -> Sequence[Advertisement]:
        """Advertisements at its present addresses."""
        boot_id = str(self._boot_id) if self._boot_id else ""
        return [replace(advertisement(host, self._max_age), boot_id=boot_id) for host in self._hosts]

    @property
    def pause(self) -> float:
        """Seconds between two announcements."""
        return self._pause

    def replies(self) -> Iterable[Advertisement]:
        return self.advertisements if self.on and self.kind.replies else ()

    def switch_on(self) -> None:
        """Switch the device on. Some devices send a byebye first."""
        self.on = True
        self._world.note(f"the device is on at {', '.join(self._hosts)}")
        if self._boot_id:
            self._boot_id += 1
        if self.kind.announces and self._world.random.random() < 0.3:
            self._send_byebyes()
            self._turn += 1
            turn = self._turn
            self._world.call_later(self._world.random.uniform(0.05, 0.5), lambda: self._announce(turn))
        else:
            self._announce(self._turn)

    def switch_off(self) -> None:
        """Switch the device off, with or without a byebye."""
        if self._world.random.random() < 0.6:
            self._send_byebyes()
        self.on = False
        self._turn += 1
        self._world.note("the device is off")

    def switch(self) -> None:
        """Switch the device on or off."""
        if self.on:
            self.switch_off()
        else:
            self.switch_on()

    def restart(self) -> None:
        """Switch the device off, and on within some seconds."""
        if self.on:
            self.switch_off()
            self._world.wait(self._world.random.choice((0.1, 1.0, 5.0, 40.0)))
        self.switch_on()

    def move(self) -> None:
        """Give the device another address. Only devices with one address move."""
        if not self.on or len(self._hosts) > 1:
            return
        if self._world.random.random() < 0.5:
            self._send_byebyes()
        self._hosts = (_LEASES[self._moves % len(_LEASES)],)
        self._moves += 1
        self._world.note(f"the device moves to {self._hosts[0]}")
        self._announce(self._turn)

    def _send_byebyes(self) -> None:
        for host in self._hosts:
            for _ in range(self._copies):
                self._world.byebye(_sender(host))

    def _announce(self, turn: int) -> None:
        """Announce the service now, and from then on regularly, unless the device has been switched off meanwhile."""
        if turn != self._turn:
            return
        self._turn += 1
        turn = self._turn

        def announce() -> None:
            if self.on and self._turn == turn:
                for each in self.advertisements:
                    for copy in range(self._copies):
                        self._world.call_later(copy * 0.15, lambda each=each: self._send(each))  # type: ignore[misc]
                self._world.call_later(self._pause, announce)

        if self.kind.announces:
            announce()

    def _send(self, each: Advertisement) -> None:
        if self.on and each in self.advertisements:
            self._world.announce(each, _sender(each.host))


def _sender(host: str) -> str:
    return LINK if host == GLOBAL else host


class Attacker:
    """
    The attacker: a host that may forge the address of the device, and reply to searches.

    :ivar active: Whether the attack is under way.
    :ivar answering: Advertisements that it sends in reply to searches.
    """

    def __init__(self, world: World, device: Device, *, forges_ports: bool, forges_senders: bool) -> None:
        self._world, self._device = world, device
        self._forges_ports, self._forges_senders = forges_ports, forges_senders
        self.active = True
        self.answering: list[Advertisement] = []
        world.responders.append(self)

    def replies(self) -> Iterable[Advertisement]:
        return self.answering if self.active else ()

    def actions(self) -> list[Callable[[], None]]:
        """Return what it can do next."""
        random, world = self._world.random, self._world
        max_age = random.choice((60, 1800, 86400))
        own, third = advertisement(EVIL, max_age), advertisement(THIRD, max_age)
        address = random.choice([each.host for each in self._device.advertisements] + [FIRST])
        true = advertisement(address, max_age)
        channel = random.choice((Channel.GROUP, Channel.GROUP, Channel.SEARCH))
        chosen: list[Callable[[], None]] = [
            lambda: world.announce(own, EVIL, channel),
            lambda: world.announce(own, EVIL),
            lambda: world.announce(third, EVIL, channel),
            lambda: world.announce(third, THIRD, channel),
            lambda: world.announce(true, EVIL, channel),
            lambda: world.byebye(EVIL),
            lambda: world.byebye(STRANGER),
            self._switch,
        ]
        if self._forges_senders:
            chosen += [
                lambda: world.announce(own, address, channel),
                lambda: world.byebye(address),
                lambda: world.announce(true, address, channel),
            ]
        if self._forges_ports:
            port = random.choice((81, 81, 82))
            forged = advertisement(address, max_age, port=port)
            chosen += [
                lambda: world.announce(forged, address, channel),
                lambda: world.announce(forged, address),
                lambda: world.announce(forged, EVIL, channel),
                lambda: world.byebye(address),
            ]
        return chosen

    def _switch(self) -> None:
        """Reply to searches from now on, or no longer."""
        self.answering = [] if self.answering else [advertisement(EVIL, 86400)]
        self._world.note(f"the attacker replies: {bool(self.answering)}")

    def stop(self) -> None:
        """End the attack."""
        self.active = False
