"""Advertisements received during a search, grouped by device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse
from ssdpreg.ssdp.usn import device_id, is_usable, means_whole_device


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
class Departure:
    """
    End of an advertised type: a byebye, or an announcement with a max-age of 0.

    :ivar nt: The type. ``upnp:rootdevice`` and ``uuid:…`` end all types of the device.
    :ivar usn: Unique service name.
    :ivar address: IP address of the sender.
    """

    nt: str
    usn: str
    address: str


@dataclass(frozen=True, slots=True)
class Device:
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
        self._terms = terms
        self._locations = locations
        self._advertisements: dict[tuple[str, str, str, str], ReceivedAdvertisement] = {}

    def add(self, message: Message, address: str) -> None:
        """
        Add the advertisement in a message, or remove those that the message ends.

        A later advertisement replaces an earlier one of the same device, type, LOCATION and sender. A departure ends
        only advertisements from the same sender.

        :param address: IP address of the sender.
        """
        match interpret_message(message, address, self._terms, self._locations):
            case ReceivedAdvertisement() as received:
                key = (_device_key(received.usn, address), received.nt, received.location, address)
                self._advertisements[key] = received
            case Departure() as departure:
                self._remove(departure)

    def devices(self) -> list[Device]:
        """Return the devices in the numeric order of their addresses."""
        by_device: dict[str, list[ReceivedAdvertisement]] = {}
        for (device, *_), received in self._advertisements.items():
            by_device.setdefault(device, []).append(received)
        devices = (
            Device(
                device_id(advertisements[0].usn),
                tuple(sorted(advertisements, key=lambda each: (each.location, each.problem, each.nt))),
            )
            for advertisements in by_device.values()
        )
        return sorted(devices, key=lambda device: (_address_order(device.addresses[0]), device.device_id))

    def _remove(self, departure: Departure) -> None:
        device = _device_key(departure.usn, departure.address)
        all_types = means_whole_device(departure.nt)
        for key, received in list(self._advertisements.items()):
            if (
                key[0] == device
                and received.address == departure.address
                and (all_types or received.nt == departure.nt)
            ):
                del self._advertisements[key]


def interpret_message(
    message: Message, address: str, terms: SearchTerms | None, locations: LocationRules
) -> ReceivedAdvertisement | Departure | None:
    """
    Return the advertisement or the departure that a message means.

    :param address: IP address of the sender.
    :param terms: Search terms that an advertisement has to match, or None to accept all.
    :return: None for a message of another kind, and for an advertisement that matches no search term.
    """
    match message:
        case Alive(nt=nt) | SearchResponse(st=nt):
            if message.max_age == 0:
                return Departure(nt, message.usn, address)
            if terms is None or terms.match(nt):
                problem = _find_problem(message, address, locations)
                return ReceivedAdvertisement(
                    nt, message.usn, message.location, message.server, message.max_age, address, problem
                )
        case ByeBye():
            return Departure(message.nt, message.usn, address)
    return None


def _find_problem(message: Alive | SearchResponse, address: str, locations: LocationRules) -> str:
    """Return the reason why the daemon would reject an advertisement, or an empty string."""
    if not is_usable(device_id(message.usn)):
        return "no usable device ID"
    try:
        locations.endpoint(message.location, address)
    except RejectedError as error:
        return error.reason
    return ""


def _device_key(usn: str, address: str) -> str:
    """Return the device ID in a normal form, or the sender's address if the USN has no device ID."""
    return device_id(usn).casefold() or f" {address}"


def _address_order(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)
