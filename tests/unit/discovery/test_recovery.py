"""Random attacks on the service of one device: it has its service back after the end of the attack."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import TableTestCase, advertisement

#: The true device, the attacker, and a third host that the attacker names.
T, E, THIRD = "10.0.0.5", "10.0.0.66", "10.0.0.99"
TRUE = advertisement(T)
FORGED = tuple(advertisement(host, max_age) for host in (E, THIRD) for max_age in (60, 1800, 86400))


@dataclass(frozen=True)
class Device:
    """
    Behaviour of the true device.

    :ivar replies: Whether it replies to searches.
    :ivar copies: Number of copies of each announcement.
    :ivar pause: Seconds between two announcements.
    """

    replies: bool
    copies: int
    pause: float


class RecoveryTests(TableTestCase):
    """
    Attacks that are drawn from a seed.

    :ivar random: Source of all decisions.
    :ivar device: The true device.
    :ivar on: Whether it is switched on.
    :ivar answering: Whether the attacker replies to searches.
    :ivar record: Events of the attack, for the message of a failure.
    """

    def attack(self, seed: int, *, replies: bool, trust: Standing = Standing.INDIRECT) -> None:
        """Let an attack begin and end, and check that the device has its service 60 s after its next announcement."""
        self.setUp()
        self.table = AdvertisementTable(trust=trust)
        if replies:
            self.reply(TRUE)
        self.random = Random(seed)
        self.device = Device(replies, self.random.choice((1, 1, 2, 3)), self.random.choice((300.0, 880.0)))
        self.on = True
        self.answering = self.random.random() < 0.5
        self.record: list[str] = [f"{self.device}, attacker replies: {self.answering}"]
        # The device is the home: it has had its service for longer than the attack will last.
        for _ in range(10):
            self.announce()
            self.pass_time(self.device.pause)
        self.announces_at = self.now
        self.switch()
        for _ in range(self.random.randint(1, 25)):
            self.step(self.random.choice((0.3, 1.0, 3.0, 12.0, 70.0, 240.0)) * self.random.uniform(0.5, 1.5))
            self.random.choice(self.actions())()
        self.note("the attack ends")
        self.repliers.pop(E, None)
        self.on = True
        if replies:
            self.reply(TRUE)
        if self.random.random() < 0.5:
            self.pass_time(self.random.uniform(0, self.device.pause))
        self.announce()
        self.pass_time(60)
        self.assertEqual(self.hosts(), [T], "\n".join([f"seed {seed}", *self.record]))

    def actions(self) -> list[Callable[[], object]]:
        """Return what can happen during an attack."""
        forged = self.random.choice(FORGED)
        channel = self.random.choice((Channel.GROUP, Channel.GROUP, Channel.SEARCH))
        return [
            lambda: self.receive_noted(FORGED[self.random.randrange(3)], E, channel),
            lambda: self.receive_noted(FORGED[self.random.randrange(3)], E, channel),
            lambda: self.receive_noted(forged, E, channel),
            lambda: self.receive_noted(forged, T, channel),
            lambda: self.receive_noted(TRUE, E, channel),
            lambda: self.bye_noted(E),
            lambda: self.bye_noted(E),
            lambda: self.bye_noted(T),
            lambda: self.bye_noted("10.0.0.77"),
            self.switch,
            self.switch_attacker,
        ]

    def receive_noted(self, forged: Advertisement, sender: str, channel: Channel) -> None:
        """Receive a message of the attacker."""
        self.note(f"{sender} announces {forged.location} for {forged.max_age} s by {channel.name}")
        with contextlib.suppress(RejectedError):
            self.receive(forged, sender, channel=channel)

    def bye_noted(self, sender: str) -> None:
        """Receive a byebye."""
        self.note(f"{sender} says byebye")
        self.bye(sender)

    def switch(self) -> None:
        """Switch the device on, or off with or without a byebye."""
        self.on = not self.on
        self.note("the device is switched " + ("on" if self.on else "off"))
        if self.on:
            if self.device.replies:
                self.reply(TRUE)
            self.announce()
            return
        self.repliers.pop(T, None)
        if self.random.random() < 0.5:
            self.bye_noted(T)

    def switch_attacker(self) -> None:
        """Let the attacker reply to searches, or not."""
        if not self.answering or E in self.repliers:
            self.repliers.pop(E, None)
        else:
            self.reply(FORGED[self.random.randrange(3)])
        self.note(f"repliers are {sorted(self.repliers)}")

    def announce(self) -> None:
        """Let the device announce itself."""
        self.note("the device announces itself")
        self.announces_at = self.now + self.device.pause
        for number in range(self.device.copies):
            if number:
                self.pass_time(0.15)
            with contextlib.suppress(RejectedError):
                self.receive(TRUE)

    def step(self, seconds: float) -> None:
        """Let time pass, in which the device announces itself when it is on."""
        end = self.now + seconds
        while self.on and self.announces_at <= end:
            self.pass_time(max(0.0, self.announces_at - self.now))
            self.announce()
        self.pass_time(max(0.0, end - self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        before = self.hosts()
        self.wait(seconds)
        if self.hosts() != before:
            self.note(f"the service is at {self.hosts()}")

    def note(self, text: str) -> None:
        """Record an event."""
        self.record.append(f"{self.now - self.start:9.1f} {text}; {self.hosts()}")

    def test_device_that_replies(self) -> None:
        """A device that replies to searches has its service back."""
        for seed in range(200):
            self.attack(seed, replies=True)

    def test_trust(self) -> None:
        """The same holds if only direct claims are registered."""
        for seed in range(100):
            for replies in (False, True):
                self.attack(seed, replies=replies, trust=Standing.DIRECT)

    def test_device_that_never_replies(self) -> None:
        """A device that never replies to searches, and is the home, has its service back."""
        for seed in range(200):
            self.attack(seed, replies=False)

    def test_many_attackers(self) -> None:
        """The device has its service back from more attackers than a service has places for claims."""
        for replies in (False, True):
            for answering in (False, True):
                for count in (5, 8):
                    with self.subTest(replies=replies, answering=answering, count=count):
                        self.attack_by_many(count, replies=replies, answering=answering)

    def attack_by_many(self, count: int, *, replies: bool, answering: bool) -> None:
        """Let many hosts take the service of a device that is off, and check that it has it back within 60 s."""
        self.setUp()
        for _ in range(10):
            self.receive(TRUE)
            self.wait(300)
        self.bye(T)
        self.wait(4)
        attackers = [advertisement(f"10.0.0.{60 + number}", 86400) for number in range(count)]
        if answering:
            self.reply(*attackers)
        for _ in range(3):
            for forged in attackers:
                self.receive(forged)
                self.wait(1)
            self.wait(40)
        self.repliers.clear()
        if replies:
            self.reply(TRUE)
        self.receive(TRUE)
        self.wait(60)
        self.assertEqual(self.hosts(), [T])
