"""One attack, and the judgement about the time after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from ssdpreg.ssdp.reception import Channel
from tests.adversary.hosts import EVIL, Attacker, Device, DeviceKind
from tests.adversary.world import SEARCH_INTERVAL, World
from tests.support.table_case import advertisement

#: Seconds after the first announcement or reply of the device in which it has its service back.
RECOVERY = 60.0
#: The same after the latest move, if the service has moved in the minute before: the longest pause of the budget for
#: moves, and a contest.
AFTER_MOVE = 70.0
#: Part by which the device must have held the service longer than any other host to be the home: see
#: :mod:`ssdpreg.discovery.tracked`.
_HOME_LEAD = 1.25
#: Seconds from the end of the attack until the first message of the device counts. Before, the last datagrams of the
#: attacker are under way. They may lead to a check of a host (6 s), the pause between two contests (10 s) and a contest
#: (6 s, and the wait for its searches), in which a message of the device is no reason for another one.
_SETTLING = 30.0
#: Seconds after the recovery in which the device keeps its service, without any attack.
_QUIET = 1900.0


@dataclass(frozen=True)
class AttackKind:
    """
    Kind of attack.

    :ivar forges_senders: Whether the attacker forges the address of the device.
    :ivar forges_ports: Whether it names other ports of the device.
    :ivar restarts: Whether the device is switched off and on during the attack.
    :ivar moves: Whether the device moves during the attack.
    :ivar squats: Whether the attacker holds the service for long, replying to searches, before the attack goes on.
    :ivar honest: Whether there is no attacker.
    """

    name: str
    forges_senders: bool = False
    forges_ports: bool = False
    restarts: bool = True
    moves: bool = False
    squats: bool = False
    honest: bool = False


ATTACKS = (
    AttackKind("honest", moves=True, honest=True),
    AttackKind("other-host"),
    AttackKind("forged-sender", forges_senders=True),
    AttackKind("forged-port", forges_senders=True, forges_ports=True),
    AttackKind("move", moves=True),
    AttackKind("squatter", squats=True),
    AttackKind("everything", forges_senders=True, forges_ports=True, moves=True, squats=True),
)


@dataclass
class Outcome:
    """
    Outcome of one attack.

    :ivar seconds: From the first message of the device after the attack until it had its service for good, 0 if it had
        it all the time. Infinite if it was not back after half an hour.
    :ivar limit: Seconds in which it must be back.
    :ivar excused: Reason why no rule could decide for the device, empty if there is none.
    :ivar contests: Number of contests in all.
    :ivar searches: Number of searches in all.
    :ivar quiet_contests: Number of contests in the time after the recovery.
    :ivar duration: Seconds of the attack, and of the time after it.
    """

    seconds: float
    limit: float
    excused: str
    contests: int
    searches: int
    quiet_contests: int
    duration: float
    record: list[str]

    @property
    def is_late(self) -> bool:
        """Whether the device had to wait too long for its service."""
        return not self.excused and self.seconds > self.limit


class Attack:
    """An attack that is drawn from a seed."""

    def __init__(self, kind: AttackKind, device: DeviceKind, seed: int) -> None:
        self.kind = kind
        self.random = Random(f"{kind.name} {device.name} {seed}")
        self.world = world = World(self.random)
        world.loss = self.random.choice((0.0, 0.0, 0.05, 0.2))
        world.late = self.random.choice((0.0, 0.0, 0.2))
        world.search_delay = self.random.choice((0.0, 0.0, 2.0))
        self.device = Device(device, world)
        self.attacker = Attacker(world, self.device, forges_ports=kind.forges_ports, forges_senders=kind.forges_senders)
        world.note(f"{kind.name}, {device.name}, loss {world.loss}")

    def run(self) -> Outcome:
        """Let the attack begin and end."""
        world, random = self.world, self.random
        self._precede()
        began_at = world.now
        for _ in range(random.randint(1, 25)):
            world.wait(random.choice((0.3, 1.0, 3.0, 12.0, 70.0, 240.0)) * random.uniform(0.5, 1.5))
            random.choice(self._actions())()
        self.attacker.stop()
        world.note("the attack ends")
        world.loss = world.late = 0.0
        world.wait(_SETTLING)
        if not self.device.on:
            world.wait(random.choice((0.0, random.uniform(0, 2000.0))))
            excused = self._excuse()
            world.call_later(0.0, self.device.switch_on)
        else:
            world.wait(random.choice((0.0, random.uniform(0, self.device.pause))))
            excused = self._excuse()
        received_at = self._await_message()
        limit = max(RECOVERY, world.moved_at + AFTER_MOVE - received_at)
        seconds = self._measure(received_at, limit)
        contests = world.table.contests
        world.wait(_QUIET)
        return Outcome(
            seconds if self._is_right() else math.inf,
            limit,
            excused,
            world.table.contests,
            world.searches,
            world.table.contests - contests,
            world.now - began_at,
            world.record,
        )

    def _precede(self) -> None:
        """Let the device hold the service before the attack, or not."""
        world, random = self.world, self.random
        self.device.switch_on()
        if self.kind.squats and random.random() < 0.5:
            self.device.switch_off()
            self._squat()
            return
        world.wait(random.choice((1.0, 700.0, 4000.0, 9000.0)))
        if self.kind.squats:
            self.device.switch_off()
            self._squat()

    def _squat(self) -> None:
        """Let the attacker hold the service for some time."""
        world, random = self.world, self.random
        self.attacker.answering = [advertisement(EVIL, random.choice((1800, 86400)))]
        for _ in range(random.randint(1, 12)):
            world.announce(self.attacker.answering[0], EVIL)
            world.wait(random.choice((300.0, 900.0)))
        self.device.switch_on()

    def _actions(self) -> list:  # type: ignore[type-arg]
        actions = [] if self.kind.honest else self.attacker.actions()
        weight = max(1, len(actions) // 8)
        if self.kind.restarts:
            actions += [self.device.switch, self.device.restart] * weight
        if self.kind.moves:
            actions += [self.device.move] * 2 * weight
        return actions

    def _is_right(self) -> bool:
        """Return whether the service is registered at the device."""
        return self.world.location in {each.location for each in self.device.advertisements}

    def _excuse(self) -> str:
        """
        Return why the messages that the device and the attacker have sent cannot show which of them is the device.

        A device that never replies, and is not the home, cannot be told from an attacker that is silent now.
        """
        if self.device.kind.replies:
            return ""
        held = self.world.holding()
        own = {each.host for each in self.device.advertisements}
        longest = max((held.get(host, 0.0) for host in own), default=0.0)
        others = max((seconds for host, seconds in held.items() if host not in own), default=0.0)
        return "" if longest > _HOME_LEAD * others and longest > 0.0 else "never replies, and is not the home"

    def _await_message(self) -> float:
        """Let time pass until the daemon receives the device. Return the time of that."""
        world = self.world
        heard: list[float] = []
        receive = world.receive
        locations = {each.location for each in self.device.advertisements}

        def noted(advertisement: object, sender: str, channel: Channel) -> None:
            if advertisement.location in locations and sender != EVIL:  # type: ignore[attr-defined]
                heard.append(world.now)
            receive(advertisement, sender, channel)  # type: ignore[arg-type]

        world.receive = noted  # type: ignore[method-assign]
        while not heard:
            world.wait(0.5)
            assert world.now - world.start < 1_000_000, "the device is never received"
        world.receive = receive  # type: ignore[method-assign]
        return heard[0]

    def _measure(self, received_at: float, limit: float) -> float:
        """Return after how many seconds the device has its service, and keeps it for a minute."""
        world = self.world
        right_since = received_at if self._is_right() else math.inf
        for _ in range(int(2 * SEARCH_INTERVAL) + int(_QUIET)):
            world.wait(1.0)
            if not self._is_right():
                right_since = math.inf
            elif right_since == math.inf:
                right_since = world.now
            if world.now >= received_at + limit and right_since <= world.now - 60.0:
                return right_since - received_at
        return math.inf
