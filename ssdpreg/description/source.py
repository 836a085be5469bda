"""Documents in which devices state facts about themselves: which one to fetch, and when to fetch it again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.location import Endpoint

#: Type of the Redfish service: DSP0266, section "Discovery". A version follows.
_REDFISH = "urn:dmtf-org:service:redfish-rest:"
#: Path of the service root: DSP0266, section "Service root".
_REDFISH_ROOT = "/redfish/v1/"

#: Kinds of failures of a fetch, for metrics: no complete response in time, another status than 200, a response beyond
#: the limit, a document that is not usable, and a fault of this program.
FAILURES = ("unavailable", "status", "too long", "invalid", "internal")

#: Path and query of a LOCATION that was accepted.
_PATH = re.compile(r"https?://[^/?#]*([^#]*)", re.IGNORECASE)
#: Characters of a URL that stay as they are. Devices send others, such as blanks and umlauts, unquoted.
_URL_CHARACTERS = "%/?:@!$&'()*+,;=~-._[]"


@dataclass(frozen=True, slots=True)
class Target:
    """
    Device whose facts are wanted, at one of its addresses.

    The same device ID at two addresses is two targets: one of them may be a forgery.

    :ivar device_id: Device ID in lower case.
    :ivar host: IP address.
    :ivar is_redfish: Whether the facts are in the service root of Redfish, and not in a description of UPnP.
    """

    device_id: str
    host: str
    is_redfish: bool


@dataclass(frozen=True, slots=True)
class Source:
    """
    Document with the facts of a device.

    :ivar target: Device.
    :ivar endpoint: Scheme, host and port.
    :ivar path: Path and query of the document, quoted.
    :ivar location: LOCATION of the announcement.
    """

    target: Target
    endpoint: Endpoint
    path: str
    location: str

    @property
    def url(self) -> str:
        """Scheme, host and port of the document."""
        return f"{self.endpoint.scheme}://{self.endpoint.netloc}"


class Fetch(Protocol):
    """Fetch of one document: returns the facts for Meta, or raises :class:`ssdpreg.errors.DescriptionError`."""

    async def __call__(self, source: Source) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Edition:
    """
    Edition of a document: it is fetched again when one of these values changes.

    :ivar location: LOCATION of the announcement.
    :ivar version: Value that changes with each restart or new configuration of the device, such as BOOTID.UPNP.ORG and
        CONFIGID.UPNP.ORG; None for a device that announces no such value. Its document is fetched once a day.
    """

    location: str
    version: object = None


def find_target(advertisement: Advertisement) -> Target:
    """Return the target whose facts belong to a service."""
    return Target(advertisement.device_id.casefold(), advertisement.host, advertisement.nt.lower().startswith(_REDFISH))


def find_source(advertisement: Advertisement) -> Source:
    """Return the document with the facts of the device of a service."""
    match = _PATH.match(advertisement.location)
    path = quote(match[1] if match else "", safe=_URL_CHARACTERS)
    target = find_target(advertisement)
    if target.is_redfish:
        # Services redirect a request without the final slash, and redirects are not followed. LOCATION can be the URL
        # of a description of UPnP: DSP0266, section "Discovery".
        path = f"{path.rstrip('/')}/"
        path = path if path.endswith(_REDFISH_ROOT) else _REDFISH_ROOT
    if not path.startswith("/"):
        path = f"/{path}"
    return Source(target, advertisement.endpoint, path, advertisement.location)


def find_edition(advertisement: Advertisement) -> Edition:
    """Return the edition of the document that an advertisement announces."""
    version = (advertisement.boot_id, advertisement.config_id)
    return Edition(advertisement.location, None if version == ("", None) else version)
