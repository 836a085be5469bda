"""The devices that the announcer speaks for: from a file to frozen values. Pure, but for reading the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import NAMESPACE_OID, uuid5

import attrs

from ssdpreg.config.structure import NOT_EMPTY, FaultError, decode, read_text, strict_converter, structure
from ssdpreg.config.values import Text
from ssdpreg.discovery.search_terms import REDFISH, SearchTerms
from ssdpreg.ssdp.messages import SEARCH_ALL

#: The source of this name has no UUID.
_NO_UUID = "NOUUID"
#: What a root device announces besides its own types: UPnP Device Architecture 2.0 (UDA), 1.2.2.
_ROOT_DEVICE = "upnp:rootdevice"


@attrs.frozen
class SourceConfig:
    """
    One device, as the file has it. Nothing is made right: mistakes are worth announcing too.

    :ivar broadcastIP: ``HOST:PORT`` of each address that the device has.
    :ivar urnList: What the device is, and the services it has.
    :ivar location: Its LOCATION as it stands, in place of ``broadcastIP``.
    :ivar uuid: Its UUID, or whatever it takes for one.
    :ivar searchOnly: Whether it answers searches and is silent otherwise, as BMCs may be (DSP0266, 12.4.4).
    """

    urnList: Annotated[tuple[Text, ...], NOT_EMPTY]  # noqa: N815
    broadcastIP: Annotated[tuple[Text, ...], NOT_EMPTY] | None = None  # noqa: N815
    location: Text | None = None
    uuid: Text | None = None
    searchOnly: bool = False  # noqa: N815


@attrs.frozen
class SpoofConfig:
    """
    All that is to be announced.

    :ivar ssdp: The devices by name.
    """

    ssdp: Annotated[Mapping[Text, SourceConfig], NOT_EMPTY]


@dataclass(frozen=True, slots=True)
class Device:
    """
    What is announced as one device.

    :ivar name: As the file has it.
    :ivar udn: ``uuid:<UUID>``; empty for a device that has none.
    :ivar types: What is announced: the URNs, and for a device with a UUID that and ``upnp:rootdevice``.
    :ivar locations: One for each address.
    :ivar search_only: Whether it is silent until it is asked.
    """

    name: str
    udn: str
    types: tuple[str, ...]
    locations: tuple[str, ...]
    search_only: bool = False

    def usn(self, nt: str) -> str:
        """Name the device's own instance of a type."""
        return nt if self.udn in ("", nt) else f"{self.udn}::{nt}"

    def answers(self, st: str) -> Iterator[str]:
        """
        Say what is found by a search.

        :param st: What is sought.
        :return: The ST of each reply.
        """
        for own in self.types:
            if st in (SEARCH_ALL, own):
                yield own
            elif _serves(own, st):
                # Redfish tells its minor version, UPnP repeats what was asked: DSP0266, 12.4.3, and UDA, 1.3.3.
                yield own if own.startswith(REDFISH) else st


def _serves(own: str, st: str) -> bool:
    """Tell whether a type is a later version of what is sought, and so must answer."""
    term = SearchTerms({st: ""}).match(own)
    return term is not None and not term.is_pattern


def load(path: str) -> list[Device]:
    """
    Read what is to be announced.

    :param path: Of the file.
    :raise ConfigError: With everything that is wrong with it.
    """
    return parse(read_text(path))


def parse(text: str) -> list[Device]:
    """
    Read the text of a file.

    :param text: JSON.
    :raise ConfigError: With everything that is wrong, in the order of the file.
    """
    config = structure(strict_converter(_wrong_together), decode(text), SpoofConfig)
    return [_device(name, source) for name, source in config.ssdp.items()]


def _wrong_together(cls: type, raw: Mapping[str, Any]) -> Iterator[FaultError]:
    if cls is SourceConfig:
        given = [key for key in ("broadcastIP", "location") if raw.get(key) is not None]
        if not given:
            yield FaultError(("broadcastIP",), "is missing")
        elif len(given) > 1:
            yield FaultError(("location",), "there is a broadcastIP already; leave out one of them")


def _device(name: str, source: SourceConfig) -> Device:
    # The same in every run, as a device's is for all its life.
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
