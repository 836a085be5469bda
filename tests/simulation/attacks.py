"""Simulated attackers on the network segments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse
from tests.simulation.clock import WorldClock
from tests.simulation.devices import API, PRINTER, Device
from tests.simulation.network import Network, Segment

_LONG = 86400
#: Seconds after which a service has left whose device sent a byebye.
_AWAY = 8.0


class AttackObserver(Protocol):
    """Receiver of what attackers do."""

    def attack_heard(self, attack: Attack, message: Message, address: str) -> None: ...
    def attack_began(self, attack: Attack) -> None: ...
    def attack_ended(self, attack: Attack) -> None: ...


@dataclass(frozen=True)
class AttackKind:
    """
    A kind of attack.

    :ivar target: ``on`` or ``off`` for an attack on a device that is switched on or off; empty for one without target.
    :ivar pause: Seconds between two bursts of messages.
    :ivar messages: Returns the messages of a burst with their source addresses.
    :ivar spoofs: Whether it uses the address of the target as the source.
    :ivar answers: Whether the attacker answers searches for the target's service.
    :ivar on_link: Whether the attacker is on the segment. Otherwise a router forwards its datagrams.
    :ivar to_searches: Whether the messages are sent to the open sockets for searches instead of the group. No message
        of such an attack may have any effect.
    :ivar in_rounds: Whether they are sent while replies to a search are accepted, too.
    :ivar duration: Shortest and longest seconds.
    :ivar restarts: Whether the target restarts during the attack.
    :ivar away: Shortest and longest seconds for which it is off then.
    :ivar waits: Whether it begins when the target has been off for some seconds, so that its service has left.
    :ivar is_rejected: Whether none of its messages may be registered.
    """

    name: str
    target: str
    pause: float
    messages: Callable[[Attack], list[tuple[str, Message]]]
    spoofs: bool = False
    answers: bool = False
    on_link: bool = True
    to_searches: bool = False
    in_rounds: bool = False
    duration: tuple[float, float] = (20.0, 240.0)
    restarts: bool = False
    away: tuple[float, float] = (0.05, 1.5)
    waits: bool = False
    is_rejected: bool = False

    @property
    def is_weak(self) -> bool:
        """Whether a device that answers searches keeps its service during the attack."""
        return not (self.spoofs or self.answers)


class Attack:
    """
    An attack that is under way, and its attacker.

    :ivar name: Name in the record of events.
    :ivar target: Device under attack, or None.
    """

    def __init__(
        self,
        number: int,
        kind: AttackKind,
        clock: WorldClock,
        network: Network,
        segment: Segment,
        target: Device | None,
        random: Random,
        observer: AttackObserver,
    ) -> None:
        self.name = f"attack-{number}-{kind.name}"
        self.kind, self.segment, self.target = kind, segment, target
        self.random = random
        self.address = segment.new_address() if kind.on_link else f"192.0.2.{random.randrange(1, 255)}"
        self.third = segment.new_address()
        self.addresses = [segment.new_address() for _ in range(25)]
        self.services = [self.new_device_id() for _ in range(40)]
        self.announced: list[Alive] = []
        self.active = True
        self._begun = not kind.waits
        self._clock, self._network, self._observer = clock, network, observer
        segment.attach(self.address, self)
        if kind.answers:
            segment.responders.append(self)
        observer.attack_began(self)
        clock.callLater(random.uniform(*kind.duration), self._end)
        self._send()

    def new_device_id(self) -> str:
        """Return a device ID that no device has."""
        return str(uuid.UUID(int=self.random.getrandbits(128)))

    def _send(self) -> None:
        if not self.active:
            return
        for address, message in self.kind.messages(self) if self._has_begun() else ():
            if not self.kind.to_searches:
                self._network.announce(self.segment, address, message, self)
            elif not (self.kind.on_link and self._network.is_searched(self.segment)) or self.kind.in_rounds:
                # A host on the segment may reply to a search.
                self._network.send_to_searches(self.segment, address, message, self)
        self._clock.callLater(self.kind.pause * self.random.uniform(0.5, 1.5), self._send)

    def _has_begun(self) -> bool:
        if not self._begun and self.target is not None:
            self._begun = not self.target.on and self._clock.seconds() - self.target.changed_at > _AWAY
        return self._begun

    def _end(self) -> None:
        self.active = False
        self.segment.detach(self.address, self)
        if self.kind.answers:
            self.segment.responders.remove(self)
        # Its last datagrams are on their way.
        self._clock.callLater(2.0, self._observer.attack_ended, self)

    # Calls of the network.

    def matches(self, st: str) -> bool:
        if not (self.active and self._begun) or not self.kind.answers or self.target is None:
            return False
        return st == SEARCH_ALL or st in self.target.types or any(nt.startswith(st + ":") for nt in self.target.types)

    def replies(self, st: str) -> Sequence[tuple[str, Message]]:
        if not (self.active and self._begun) or self.target is None:
            return ()
        return [
            (self.address, SearchResponse(nt, self.target.usn(nt), _own(self), _LONG, "Evil/1.0"))
            for nt in self.target.types
        ]

    def heard(self, message: Message, address: str) -> None:
        self._observer.attack_heard(self, message, address)

    def lost(self, types: str) -> None:
        """An attacker does not mind."""


def _own(attack: Attack) -> str:
    return f"http://{attack.address}:6/"


def _claims(attack: Attack, source: str, location: str, max_age: int = _LONG) -> list[tuple[str, Message]]:
    assert attack.target is not None
    return [(source, Alive(nt, attack.target.usn(nt), location, max_age, "Evil/1.0")) for nt in attack.target.types]


def _byebyes(attack: Attack, source: str) -> list[tuple[str, Message]]:
    assert attack.target is not None
    return [(source, ByeBye(nt, attack.target.usn(nt))) for nt in attack.target.types]


def _spoofed(attack: Attack) -> str:
    assert attack.target is not None
    return attack.target.addresses[0]


def _prolong(attack: Attack) -> list[tuple[str, Message]]:
    assert attack.target is not None
    return _claims(attack, attack.address, attack.target.location(attack.target.addresses[0]))


def _new_service(attack: Attack, address: str, max_age: int) -> Alive:
    return Alive(API, f"uuid:{attack.new_device_id()}::{API}", f"http://{address}:80/", max_age)


def _flood_from_one(attack: Attack) -> list[tuple[str, Message]]:
    return [(attack.address, _new_service(attack, attack.address, 300)) for _ in range(10)]


def _flood_from_many(attack: Attack) -> list[tuple[str, Message]]:
    chosen = [attack.random.choice(attack.addresses) for _ in range(10)]
    return [(address, _new_service(attack, address, 300)) for address in chosen]


def _come_and_go(attack: Attack) -> list[tuple[str, Message]]:
    # The byebyes follow with the next burst, so that they do not arrive first.
    byebyes = [(attack.address, ByeBye(alive.nt, alive.usn)) for alive in attack.announced]
    attack.announced = [_new_service(attack, attack.address, _LONG) for _ in range(20)]
    return [*byebyes, *((attack.address, alive) for alive in attack.announced)]


def _move_services(attack: Attack) -> list[tuple[str, Message]]:
    return [
        (
            attack.address,
            Alive(API, f"uuid:{each}::{API}", f"http://{attack.address}:{attack.random.randrange(1, 999)}/", 300),
        )
        for each in attack.random.sample(attack.services, 10)
    ]


def _unicast(attack: Attack) -> list[tuple[str, Message]]:
    new = _new_service(attack, attack.address, _LONG)
    reply = SearchResponse(new.nt, new.usn, new.location, _LONG, "Evil/1.0")
    return [
        *_claims(attack, attack.address, _own(attack)),
        (attack.address, new),
        (attack.address, reply),
        *_byebyes(attack, attack.address),
        *_byebyes(attack, _spoofed(attack)),
    ]


def _unicast_byebyes(attack: Attack) -> list[tuple[str, Message]]:
    return [*_byebyes(attack, attack.address), *_byebyes(attack, _spoofed(attack))]


def _nonsense(attack: Attack) -> list[tuple[str, Message]]:
    address = attack.random.choice(attack.addresses)
    usn = f"uuid:{attack.new_device_id()}"
    locations = (
        "",
        "http://127.0.0.1/",
        "http://224.0.0.1/",
        "ftp://x/",
        "http://" + "x" * 3000,
        "http://u:p@10.9.9.9/",
    )
    return [
        (address, Alive(API, usn, attack.random.choice(locations), 1800)),
        (address, Alive(PRINTER, usn, f"http://{address}/", 1800)),
        (address, Alive(API, "no device", f"http://{address}/", 1800)),
        (address, ByeBye(API, usn)),
    ]


ATTACKS = (
    AttackKind("forged-byebye", "on", 5.0, lambda attack: _byebyes(attack, attack.address)),
    AttackKind("spoofed-byebye", "on", 20.0, lambda attack: _byebyes(attack, _spoofed(attack)), spoofs=True),
    AttackKind("mover", "on", 5.0, lambda attack: _claims(attack, attack.address, _own(attack))),
    AttackKind("mover-once", "on", 900.0, lambda attack: _claims(attack, attack.address, _own(attack))),
    AttackKind(
        "usurper",
        "on",
        0.5,
        lambda attack: _claims(attack, attack.address, _own(attack)),
        duration=(20.0, 60.0),
        restarts=True,
    ),
    AttackKind("elsewhere", "on", 5.0, lambda attack: _claims(attack, attack.address, f"http://{attack.third}:6/")),
    AttackKind("spoofed-mover", "on", 5.0, lambda attack: _claims(attack, _spoofed(attack), _own(attack)), spoofs=True),
    AttackKind(
        "answering-mover", "on", 5.0, lambda attack: _claims(attack, attack.address, _own(attack)), answers=True
    ),
    AttackKind(
        "answering-usurper",
        "on",
        2.0,
        lambda attack: _claims(attack, attack.address, _own(attack)),
        answers=True,
        duration=(200.0, 400.0),
        restarts=True,
        away=(3.0, 20.0),
    ),
    AttackKind("squatter", "off", 10.0, lambda attack: _claims(attack, attack.address, _own(attack))),
    AttackKind(
        "answering-squatter", "off", 10.0, lambda attack: _claims(attack, attack.address, _own(attack)), answers=True
    ),
    AttackKind("prolonger", "off", 20.0, _prolong),
    AttackKind("routed-mover", "on", 5.0, lambda attack: _claims(attack, attack.address, _own(attack)), on_link=False),
    AttackKind("routed-unicast", "on", 1.0, _unicast, on_link=False, to_searches=True),
    AttackKind("unicast", "on", 1.0, _unicast, to_searches=True),
    AttackKind("unicast-byebyes", "on", 0.5, _unicast_byebyes, to_searches=True, in_rounds=True),
    AttackKind("flood-from-one", "", 0.2, _flood_from_one, duration=(10.0, 40.0)),
    AttackKind("flood-from-many", "", 0.2, _flood_from_many, duration=(10.0, 40.0)),
    AttackKind("come-and-go", "", 0.2, _come_and_go, duration=(20.0, 60.0)),
    AttackKind("moving-services", "", 0.2, _move_services, duration=(20.0, 60.0)),
    AttackKind("nonsense", "", 0.1, _nonsense, duration=(20.0, 60.0), is_rejected=True),
)
