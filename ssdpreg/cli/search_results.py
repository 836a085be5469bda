"""Advertisements received during a search, grouped by device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.interpret import UNMATCHED, Departure, Rejection, TypeMatcher, interpret
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse
from ssdpreg.ssdp.usn import device_id


@dataclass(frozen=True, slots=True)
class ReceivedAdvertisement:
    """
    One advertised type of a device.

    :ivar nt: The type, such as ``urn:schemas-upnp-org:service:api:2.0``.
    :ivar usn: Unique service name.
    :ivar location: URL as announced, empty if the message has none.
    :ivar server: Value of the SERVER field, empty if the message has none.
    :ivar max_age: Seconds of validity, or None if the message has no readable max-age.
    :ivar address: IP address of the sender.
    :ivar problem: Reason why the daemon would reject the advertisement, empty if it would accept it.
    """

    nt: str
    usn: str
    location: str
    server: str
    max_age: int | None
    address: str
    problem: str


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """
    A device and its advertisements.

    :ivar device_id: The part of its USNs after ``uuid:`` and before ``::``; empty if they have none.
    :ivar advertisements: Sorted by LOCATION, problem and type. At least one.
    """

    device_id: str
    advertisements: tuple[ReceivedAdvertisement, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """IP addresses of the senders, in numeric order."""
        return tuple(sorted({each.address for each in self.advertisements}, key=_address_order))


class SearchResults:
    """
    Collection of the received advertisements by device.

    :param terms: Search terms that an advertisement has to match, or None to collect all.
    :param locations: Rules by which the daemon would accept or reject a LOCATION.
    """

    def __init__(self, terms: SearchTerms | None, locations: LocationRules) -> None:
        self._terms: TypeMatcher = _EveryType() if terms is None else terms
        self._locations = locations
        self._advertisements: dict[tuple[str, str, str, str], ReceivedAdvertisement] = {}

    def add(self, message: Message, address: str) -> None:
        """
        Add the advertisement in a message, or remove those that the message ends.

        A later advertisement replaces an earlier one of the same device, type, LOCATION and sender. A departure ends
        only advertisements from the same sender. An advertisement that the daemon would reject is kept with the reason.

        :param address: IP address of the sender.
        """
        meaning = interpret(message, address, self._terms, self._locations)
        match message:
            case Alive(nt=nt) | SearchResponse(st=nt) if isinstance(meaning, Advertisement):
                self._put(nt, message, address)
            case Alive(nt=nt) | SearchResponse(st=nt) if isinstance(meaning, Rejection) and meaning.reason != UNMATCHED:
                self._put(nt, message, address, problem=meaning.reason)
            case Alive(nt=nt) | SearchResponse(st=nt) | ByeBye(nt=nt) if isinstance(meaning, Departure):
                self._remove(meaning, nt, address)

    def devices(self) -> list[FoundDevice]:
        """Return the devices in the numeric order of their addresses."""
        by_device: dict[str, list[ReceivedAdvertisement]] = {}
        for (device, *_), received in self._advertisements.items():
            by_device.setdefault(device, []).append(received)
        devices = (
            FoundDevice(
                device_id(advertisements[0].usn),
                tuple(sorted(advertisements, key=lambda each: (each.location, each.problem, each.nt))),
            )
            for advertisements in by_device.values()
        )
        return sorted(devices, key=lambda device: (_address_order(device.addresses[0]), device.device_id))

    def _put(self, nt: str, message: Alive | SearchResponse, address: str, problem: str = "") -> None:
        key = (_device_key(device_id(message.usn), address), nt, message.location, address)
        self._advertisements[key] = ReceivedAdvertisement(
            nt, message.usn, message.location, message.server, message.max_age, address, problem
        )

    def _remove(self, departure: Departure, nt: str, address: str) -> None:
        device = _device_key(departure.device_id, address)
        for key, received in list(self._advertisements.items()):
            of_sender = key[0] == device and received.address == address
            if of_sender and (departure.urn is None or received.nt == nt):
                del self._advertisements[key]


class _EveryType:
    """Set of search terms that matches every type."""

    def match(self, nt: str, /) -> SearchTerm:
        return SearchTerm(nt, "")


def _device_key(device_id: str, address: str) -> str:
    """Return the device ID in a normal form, or the sender's address for a message without one."""
    return device_id.casefold() or f" {address}"


def _address_order(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)
