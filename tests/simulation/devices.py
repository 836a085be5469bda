"""Simulated devices: what they are, how they announce themselves, and how they come, move and leave."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse
from tests.simulation.clock import SimulatedCall, WorldClock
from tests.simulation.network import Network, Segment

API = "urn:schemas-upnp-org:service:api:2.0"
MEDIA = "urn:schemas-upnp-org:device:MediaServer:1"
MEDIA_2 = "urn:schemas-upnp-org:device:MediaServer:2"
AGENT = "urn:schemas-inservice-org:service:agent:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"
REDFISH_MINOR = "urn:dmtf-org:service:redfish-rest:1:6"
#: Not listed by the operator.
PRINTER = "urn:schemas-upnp-org:device:Printer:1"
#: Seconds of validity of an announcement without max-age.
_DEFAULT_MAX_AGE = 1800


@dataclass(frozen=True)
class Kind:
    """
    A kind of device.

    :ivar share: Weight of the kind in the mix.
    :ivar types: Types that a device may offer.
    :ivar max_ages: Values of max-age.
    :ivar pause: Shortest and longest seconds between two announcements in parts of max-age, or None for a device that
        never announces itself.
    :ivar answers: How it answers searches: ``reply``, ``notify`` (by a NOTIFY), or empty for never.
    :ivar copies: Number of copies of each announcement.
    :ivar addresses: Number of addresses.
    :ivar byebye: Probability that it sends byebye before it leaves, restarts or moves.
    :ivar move: Probability that its next change is a move.
    :ivar both: Probability that it has all types.
    """

    name: str
    share: int
    types: tuple[str, ...]
    max_ages: tuple[int, ...] = (1800,)
    pause: tuple[float, float] | None = (0.25, 0.5)
    answers: str = "reply"
    copies: int = 2
    addresses: int = 1
    byebye: float = 0.7
    move: float = 0.15
    both: float = 0.15


KINDS = (
    Kind("announcing", 30, (API, MEDIA, AGENT), (120, 300, 900, 1800)),
    Kind("bmc", 25, (REDFISH_MINOR,), (300, 900, 1800, 1800, 1800), None, byebye=0.1),
    Kind("lazy", 8, (MEDIA, MEDIA_2), (100, 900, 1800), (0.97, 1.02), copies=1),
    Kind("mute", 8, (API, AGENT), (300, 1800), (0.25, 0.45), answers="", copies=2, both=0.6),
    Kind("notifying", 6, (API, MEDIA_2), (300, 1800), (0.4, 0.5), answers="notify"),
    Kind("two-addresses", 6, (MEDIA, API), (300, 1800), (0.3, 0.5), addresses=2, move=0.0),
    Kind("restarting", 6, (API, MEDIA), (300, 1800), byebye=1.0, move=0.0),
    Kind("mobile", 6, (MEDIA, AGENT), (300, 1800), move=0.8),
    Kind("vanishing", 5, (API, MEDIA), (120, 900), byebye=0.0, move=0.0),
)


class Observer(Protocol):
    """Receiver of what happens to a device."""

    def device_changed(self, device: Device, what: str) -> None: ...
    def device_heard(self, device: Device, message: Message, address: str) -> None: ...
    def device_lost(self, device: Device, types: Sequence[str]) -> None: ...


class Device:
    """
    A device.

    :ivar name: Name in the record of events.
    :ivar on: Whether it is switched on.
    :ivar changed_at: Time of its latest change.
    :ivar offers_changed_at: Time at which it began or ceased to offer a type while it was switched on, by type.
    :ivar withdrawn: Types that it does not offer now, although it is switched on.
    :ivar departure: Type of the only byebye that it sends when it leaves: ``upnp:rootdevice`` or its UUID. Empty for a
        byebye of each service, and ``max-age`` for an announcement of each with max-age 0.
    """

    def __init__(
        self,
        number: int,
        kind: Kind,
        clock: WorldClock,
        network: Network,
        segment: Segment,
        random: Random,
        observer: Observer,
    ) -> None:
        self.name = f"{kind.name}-{number:03d}"
        self.kind = kind
        self.device_id = str(uuid.UUID(int=random.getrandbits(128)))
        self.segment = segment
        types = random.sample(kind.types, len(kind.types) if random.random() < kind.both else 1)
        # A device announces one version of a type.
        self.types = tuple(nt for nt in types if nt != MEDIA or MEDIA_2 not in types)
        self.max_age = random.choice(kind.max_ages)
        self.port = random.choice((80, 443, 8080, 49152 + random.randrange(1000)))
        self.addresses: list[str] = []
        self.on = False
        self.changed_at = 0.0
        self.offers_changed_at: dict[str, float] = {}
        self.withdrawn: dict[str, None] = {}
        self.departure = random.choice(("", "", "", "upnp:rootdevice", f"uuid:{self.device_id}", "max-age"))
        # Some devices do not announce the lifetime that the daemon assumes then.
        self._has_max_age = self.max_age != _DEFAULT_MAX_AGE or random.random() < 0.7
        self._clock, self._network, self._random, self._observer = clock, network, random, observer
        self._announcing: SimulatedCall | None = None
        # Search targets that it answers, and its replies to each: the same ones are needed thousands of times.
        self._targets = frozenset(
            st for st in (SEARCH_ALL, *self.types, MEDIA, REDFISH) if any(_offers(nt, st) for nt in self.types)
        )
        self._replies: dict[tuple[str, int, int, tuple[str, ...]], Sequence[tuple[str, Message]]] = {}
        self._take_addresses()
        segment.responders.append(self)

    # Properties.

    @property
    def answers(self) -> bool:
        """Whether it answers searches."""
        return bool(self.kind.answers)

    @property
    def offered(self) -> tuple[str, ...]:
        """Types that it offers now, while it is switched on."""
        return tuple(nt for nt in self.types if nt not in self.withdrawn) if self.withdrawn else self.types

    def usn(self, nt: str) -> str:
        """Return the USN of one of its services."""
        return f"uuid:{self.device_id}::{nt}"

    def location(self, address: str) -> str:
        """Return the LOCATION that it announces for an address."""
        return f"http://{address}:{self.port}/description.xml"

    def alive(self, nt: str, address: str) -> Alive:
        """Return the announcement of one of its services."""
        max_age = self.max_age if self._has_max_age else None
        return Alive(nt, self.usn(nt), self.location(address), max_age, "Simulated/1.0 UPnP/1.1")

    # Actions.

    def boot(self) -> None:
        """Switch the device on. It announces itself, unless it never does."""
        self.on = True
        self.withdrawn.clear()
        self._change("boots at " + " and ".join(self.addresses))
        if self.kind.pause is not None and self._random.random() < 0.3:
            # Many devices take back what they announced before their last end.
            self.send_byebyes()
            self._announcing = self._clock.callLater(self._random.uniform(0.05, 0.5), self._announce)
        else:
            self._announce()

    def leave(self, byebye: bool) -> None:
        """Switch the device off."""
        if byebye:
            self.send_byebyes()
        self.on = False
        if self._announcing is not None and self._announcing.active():
            self._announcing.cancel()
        self._change("leaves with byebye" if byebye else "leaves without byebye")

    def move(self, byebye: bool) -> None:
        """Give the device new addresses."""
        if byebye:
            self.send_byebyes()
        for address in self.addresses:
            self.segment.detach(address, self)
        self._take_addresses()
        self._change("moves to " + " and ".join(self.addresses))
        self._announce_again()

    def _announce_again(self) -> None:
        if self._announcing is not None and self._announcing.active():
            self._announcing.cancel()
        self._announce()

    def withdraw(self, nt: str, byebye: bool) -> None:
        """End one service, while the others go on."""
        self.withdrawn[nt] = None
        self._change_offer([nt], f"withdraws {nt} with{'' if byebye else 'out'} byebye")
        if byebye:
            for address in self.addresses:
                for _ in range(self.kind.copies):
                    self._network.announce(self.segment, address, ByeBye(nt, self.usn(nt)), self)

    def restore(self) -> None:
        """Offer all services again."""
        types = list(self.withdrawn)
        self.withdrawn.clear()
        self._change_offer(types, "offers all services")
        self._announce_again()

    def send_byebyes(self) -> None:
        """Send byebyes from each address: for each service, or for the whole device."""
        for address in self.addresses:
            for message in self._byebyes(address):
                for _ in range(self.kind.copies):
                    self._network.announce(self.segment, address, message, self)

    def _byebyes(self, address: str) -> list[Message]:
        if self.departure == "max-age":
            return [replace(self.alive(nt, address), max_age=0) for nt in self.offered]
        if self.departure:
            usn = f"uuid:{self.device_id}"
            return [ByeBye(self.departure, usn if self.departure == usn else f"{usn}::{self.departure}")]
        return [ByeBye(nt, self.usn(nt)) for nt in self.offered]

    def _announce(self) -> None:
        if self.kind.pause is None or not self.on:
            return
        for address in self.addresses:
            for nt in self.offered:
                for _ in range(self.kind.copies):
                    self._network.announce(self.segment, address, self.alive(nt, address), self)
        shortest, longest = self.kind.pause
        wait = self.max_age * self._random.uniform(shortest, longest)
        self._announcing = self._clock.callLater(wait, self._announce)

    def _take_addresses(self) -> None:
        self.addresses = []
        self._replies.clear()
        for _ in range(self.kind.addresses):
            address = self.segment.new_address()
            self.segment.attach(address, self)
            self.addresses.append(address)

    def _change_offer(self, types: Sequence[str], what: str) -> None:
        self.offers_changed_at.update(dict.fromkeys(types, self._clock.seconds()))
        self._observer.device_changed(self, what)

    def _change(self, what: str) -> None:
        self.changed_at = self._clock.seconds()
        self._observer.device_changed(self, what)

    # Calls of the network.

    def matches(self, st: str) -> bool:
        if not (self.on and st in self._targets and self.answers):
            return False
        return not self.withdrawn or any(_offers(nt, st) for nt in self.offered)

    def replies(self, st: str) -> Sequence[tuple[str, Message]]:
        if not self.on:
            return ()
        key = st, self.port, self.max_age, self.offered
        replies = self._replies.get(key)
        if replies is None:
            chosen = [nt for nt in self.offered if _offers(nt, st)]
            replies = [(address, self._reply(nt, address)) for address in self.addresses for nt in chosen]
            self._replies[key] = replies
        return replies

    def _reply(self, nt: str, address: str) -> Message:
        alive = self.alive(nt, address)
        if self.kind.answers == "notify":
            return alive
        return SearchResponse(nt, alive.usn, alive.location, alive.max_age, alive.server)

    def heard(self, message: Message, address: str) -> None:
        self._observer.device_heard(self, message, address)

    def lost(self, types: str) -> None:
        self._observer.device_lost(self, [nt for nt in self.types if _offers(nt, types)])


def _offers(nt: str, st: str) -> bool:
    """Return whether a device with a type answers a search for a target: later versions answer for earlier ones."""
    return st in (nt, SEARCH_ALL) or (nt == MEDIA_2 and st == MEDIA) or (nt == REDFISH_MINOR and st == REDFISH)
