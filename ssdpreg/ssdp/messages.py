"""
What devices and control points say to each other, as frozen values.

The names are those of the UPnP Device Architecture 2.0 (UDA), section 1. Who sent a message and when it arrived are
no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: Where SSDP is spoken over IPv4: UDA 2.0, section 1.
GROUP = "239.255.255.250"
PORT = 1900

#: The search target that every device answers: UDA 2.0, section 1.3.2.
SEARCH_ALL = "ssdp:all"


@dataclass(frozen=True, slots=True)
class Alive:
    """
    A device or service is there: NOTIFY with NTS ``ssdp:alive``.

    :ivar nt: What is announced, such as ``urn:schemas-upnp-org:service:api:2.0``.
    :ivar usn: Which instance of it: ``uuid:<device>`` or ``uuid:<device>::<nt>``.
    :ivar location: URL of the description, empty where there is none.
    :ivar max_age: Seconds that the claim is valid, or ``None`` where the message does not say readably.
    :ivar server: The device's software, as it says.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "alive"

    nt: str
    usn: str
    location: str = ""
    max_age: int | None = None
    server: str = ""


@dataclass(frozen=True, slots=True)
class ByeBye:
    """
    A device or service is leaving: NOTIFY with NTS ``ssdp:byebye``.

    :ivar nt: What leaves.
    :ivar usn: Whose claim ends.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "byebye"

    nt: str
    usn: str


@dataclass(frozen=True, slots=True)
class Update:
    """
    A device is about to raise its BOOTID: NOTIFY with NTS ``ssdp:update``. UDA 2.0, section 1.2.4.

    :ivar nt: What is announced.
    :ivar usn: Whose announcement it is.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "update"

    nt: str
    usn: str


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """
    A control point asks who is there: M-SEARCH.

    :ivar st: What is sought: ``ssdp:all``, ``upnp:rootdevice``, ``uuid:<device>`` or a URN.
    :ivar mx: Longest wait before a reply, in whole seconds, or ``None`` in a search sent to one device alone.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "search"

    st: str
    mx: int | None = 3


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """
    A device answers an M-SEARCH.

    :ivar st: What was sought, and is here.
    :ivar usn: Which instance of it.
    :ivar location: URL of the description, or of a Redfish service root; empty where there is none.
    :ivar max_age: Seconds that the claim is valid, or ``None`` where the message does not say readably.
    :ivar server: The device's software, as it says.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "response"

    st: str
    usn: str
    location: str = ""
    max_age: int | None = None
    server: str = ""


Message = Alive | ByeBye | Update | SearchRequest | SearchResponse
