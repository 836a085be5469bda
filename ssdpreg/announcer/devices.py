"""Devices that the announcer simulates, read from its configuration file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Any
from uuid import NAMESPACE_OID, uuid5

import attrs

from ssdpreg.config.faults import RelativeFault
from ssdpreg.config.json_input import decode_json, read_file
from ssdpreg.config.reader import NOT_EMPTY, read
from ssdpreg.config.values import Text
from ssdpreg.discovery.search_terms import REDFISH, SearchTerms
from ssdpreg.ssdp.messages import SEARCH_ALL

#: Name of the source that has no UUID.
_NO_UUID = "NOUUID"
#: Host of a URL.
_HOST = re.compile(r"[a-z]+://(?:\[(?P<ipv6>[^\]/]*)\]|(?P<other>[^:/]*))", re.IGNORECASE)
#: The type that a root device announces in addition to its own types: UPnP Device Architecture 2.0 (UDA), 1.2.2.
_ROOT_DEVICE = "upnp:rootdevice"


@attrs.frozen
class SourceConfig:
    """
    A device in the file. Values are announced without validation, so that malformed announcements can be tested.

    :ivar broadcastIP: ``HOST:PORT`` of each address of the device.
    :ivar urnList: Types of the device and of its services.
    :ivar location: LOCATION header, in place of ``broadcastIP``.
    :ivar uuid: UUID, or any other text in its place.
    :ivar searchOnly: Whether the device replies to searches and sends no NOTIFY, as BMCs may do (DSP0266, 12.4.4).
    """

    urnList: Annotated[tuple[Text, ...], NOT_EMPTY]  # noqa: N815
    broadcastIP: Annotated[tuple[Text, ...], NOT_EMPTY] | None = None  # noqa: N815
    location: Text | None = None
    uuid: Text | None = None
    searchOnly: bool = False  # noqa: N815

    @staticmethod
    def find_faults(raw: Mapping[str, Any]) -> Iterator[RelativeFault]:
        """Yield a fault unless exactly one of ``broadcastIP`` and ``location`` is given."""
        given = [key for key in ("broadcastIP", "location") if raw.get(key) is not None]
        if not given:
            yield RelativeFault(("broadcastIP",), "is missing")
        elif len(given) > 1:
            yield RelativeFault(("location",), "conflicts with broadcastIP: remove one of them")


@attrs.frozen
class SpoofConfig:
    """
    Configuration of the announcer.

    :ivar ssdp: Devices by name.
    """

    ssdp: Annotated[Mapping[Text, SourceConfig], NOT_EMPTY]


@dataclass(frozen=True, slots=True)
class Device:
    """
    A simulated device.

    :ivar name: Name in the file.
    :ivar udn: ``uuid:<UUID>``; empty for a device without a UUID.
    :ivar types: Announced types: the URNs, and for a device with a UUID also the UDN and ``upnp:rootdevice``.
    :ivar locations: A LOCATION for each address.
    :ivar search_only: Whether the device only replies to searches.
    """

    name: str
    udn: str
    types: tuple[str, ...]
    locations: tuple[str, ...]
    search_only: bool = False

    def locations_over(self, version: int, versions: Collection[int]) -> list[str]:
        """
        Return the LOCATIONs to announce over an IP version: those whose address is not of another version in use.

        UDA, annex A: a device announces an address of the version that the announcement is sent over.

        :param versions: IP versions in use.
        """
        others = set(versions) - {version}
        return [location for location in self.locations if _version(location) not in others]

    def usn(self, nt: str) -> str:
        """Return the USN that is announced with a type."""
        return nt if self.udn in ("", nt) else f"{self.udn}::{nt}"

    def answers(self, st: str) -> Iterator[str]:
        """
        Yield the ST of each reply to a search.

        :param st: Search target of the request.
        """
        for own in self.types:
            if st in (SEARCH_ALL, own):
                yield own
            elif _is_later_version(own, st):
                # A Redfish service replies with its minor version (DSP0266, 12.4.3), a UPnP device with the requested
                # version (UDA, 1.3.3).
                yield own if own.startswith(REDFISH) else st


def _version(location: str) -> int | None:
    """Return the IP version of the address in a URL, or None if it has no address."""
    match = _HOST.match(location)
    if match is None:
        return None
    if match["ipv6"] is not None:
        return 6
    try:
        IPv4Address(match["other"])
    except ValueError:
        return None
    return 4


def _is_later_version(own: str, st: str) -> bool:
    """Return whether a type is a later version of a search target, and therefore has to reply."""
    term = SearchTerms({st: ""}).match(own)
    return term is not None and not term.is_pattern


def load(path: str) -> list[Device]:
    """
    Load the devices of a file.

    :raise ConfigError: With every fault of the file.
    """
    return parse(read_file(path))


def parse(text: str) -> list[Device]:
    """
    Parse the text of a file.

    :param text: JSON.
    :raise ConfigError: With every fault, in the order of the file.
    """
    config = read(decode_json(text), SpoofConfig)
    return [_make_device(name, source) for name, source in config.ssdp.items()]


def _make_device(name: str, source: SourceConfig) -> Device:
    # Derived from the name: a device keeps its UUID when the announcer restarts.
    uuid = source.uuid or ("" if name == _NO_UUID else str(uuid5(NAMESPACE_OID, name)))
    udn = f"uuid:{uuid}" if uuid else ""
    locations = tuple(f"http://{address}/" for address in source.broadcastIP or ())
    return Device(
        name,
        udn,
        (*([_ROOT_DEVICE, udn] if udn else []), *source.urnList),
        (source.location,) if source.location else locations,
        source.searchOnly,
    )
