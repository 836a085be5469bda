"""What a search has found, by device. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse
from ssdpreg.ssdp.usn import device_id, is_usable, means_whole_device


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What a device says of one of its types.

    :ivar nt: The type, such as ``urn:schemas-upnp-org:service:api:2.0``.
    :ivar usn: Which instance of it.
    :ivar location: URL as announced, empty where there is none.
    :ivar server: The device's software, as it says.
    :ivar max_age: Seconds of validity, or ``None`` where it does not say.
    :ivar address: IP address that it was heard from.
    :ivar problem: Why the daemon would not register it, empty if it would.
    """

    nt: str
    usn: str
    location: str
    server: str
    max_age: int | None
    address: str
    problem: str


@dataclass(frozen=True, slots=True)
class Device:
    """
    A device, and all that it offers.

    :ivar device_id: What follows ``uuid:`` in its USNs, up to ``::``; empty where that is not to be had.
    :ivar offers: By LOCATION and type.
    """

    device_id: str
    offers: tuple[Offer, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it was heard from."""
        return tuple(sorted({offer.address for offer in self.offers}, key=_numeric))


class Found:
    """
    Collects what is heard.

    :param terms: What is sought, or ``None`` for everything.
    :param rules: Which LOCATIONs the daemon would register.
    """

    def __init__(self, terms: SearchTerms | None, rules: LocationRules) -> None:
        self._terms = terms
        self._rules = rules
        self._offers: dict[tuple[str, str, str, str], Offer] = {}

    def hear(self, message: Message, address: str) -> None:
        """
        Take in a message.

        :param address: IP address that it came from.
        """
        match message:
            case Alive(nt=nt) | SearchResponse(st=nt):
                if message.max_age == 0:
                    self._forget(nt, message.usn, address)
                elif self._terms is None or self._terms.match(nt):
                    self._add(nt, message, address)
            case ByeBye():
                self._forget(message.nt, message.usn, address)

    def devices(self) -> list[Device]:
        """Tell what is there, by address."""
        by_device: dict[str, list[Offer]] = {}
        for (device, *_), offer in self._offers.items():
            by_device.setdefault(device, []).append(offer)
        devices = (
            Device(
                device_id(offers[0].usn),
                tuple(sorted(offers, key=lambda offer: (offer.location, offer.problem, offer.nt))),
            )
            for offers in by_device.values()
        )
        return sorted(devices, key=lambda device: (_numeric(device.addresses[0]), device.device_id))

    def _add(self, nt: str, message: Alive | SearchResponse, address: str) -> None:
        problem = ""
        try:
            self._rules.endpoint(message.location, address)
        except RejectedError as error:
            problem = error.reason
        if not is_usable(device_id(message.usn)):
            problem = "no usable device ID"
        self._offers[_key(message.usn, address), nt, message.location, address] = Offer(
            nt, message.usn, message.location, message.server, message.max_age, address, problem
        )

    def _forget(self, nt: str, usn: str, address: str) -> None:
        device = _key(usn, address)
        whole = means_whole_device(nt)
        for key, offer in list(self._offers.items()):
            if key[0] == device and offer.address == address and (whole or offer.nt == nt):
                del self._offers[key]


def _key(usn: str, address: str) -> str:
    """Tell devices apart: those that have no ID by their address."""
    return device_id(usn).casefold() or f" {address}"


def _numeric(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)


def types(offers: Sequence[Offer]) -> list[str]:
    """List the types that are offered, each once."""
    return list(dict.fromkeys(offer.nt for offer in offers))
