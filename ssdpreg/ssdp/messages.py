"""
SSDP messages as frozen values.

The names are those of the UPnP Device Architecture 2.0 (UDA), section 1. A message has neither the address of its
sender nor the time of its reception.
"""

from __future__ import annotations

from typing import ClassVar

from ssdpreg.values import value

#: Multicast group and UDP port of SSDP over IPv4: UDA, 1.
GROUP = "239.255.255.250"
PORT = 1900
#: Multicast groups of SSDP over IPv6, of link-local and of site-local scope: UDA, annex A.
GROUP_LINK_LOCAL = "ff02::c"
GROUP_SITE_LOCAL = "ff05::c"
#: Group of global scope. GSSDP announces devices with a global or unique local address to it and to no other group.
GROUP_GLOBAL = "ff0e::c"
#: Groups by IP version. Nothing is sent to groups of a wider scope: UDA, annex A.2.3.
GROUPS = {4: (GROUP,), 6: (GROUP_LINK_LOCAL, GROUP_SITE_LOCAL)}
#: Groups whose announcements are received, by IP version.
RECEIVED_GROUPS = {4: GROUPS[4], 6: (*GROUPS[6], GROUP_GLOBAL)}
ALL_RECEIVED_GROUPS = frozenset(group for groups in RECEIVED_GROUPS.values() for group in groups)

#: Search target that every device replies to: UDA, 1.3.2.
SEARCH_ALL = "ssdp:all"


@value(frozen=True, slots=True)
class Alive:
    """
    Announcement of a device or service: NOTIFY with NTS ``ssdp:alive``. UDA, 1.2.2.

    :ivar nt: Notification type, such as ``urn:schemas-upnp-org:service:api:2.0``.
    :ivar usn: Unique service name: ``uuid:<device>`` or ``uuid:<device>::<nt>``.
    :ivar location: URL of the description; empty if the message has none.
    :ivar max_age: Lifetime of the announcement in seconds; ``None`` if the message has none, or no readable one.
    :ivar server: Name of the device's software; empty if the message has none.
    :ivar boot_id: BOOTID without leading zeros, or the value of a UDA 1.0 device's NLS field, which has that meaning;
        empty if the message has neither. It is compared for equality only.
    :ivar config_id: CONFIGID, a number that changes with the description; ``None`` if the message has none.
    :ivar search_port: UDP port for unicast searches; ``None`` if it is 1900.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "alive"

    nt: str
    usn: str
    location: str = ""
    max_age: int | None = None
    server: str = ""
    boot_id: str = ""
    config_id: int | None = None
    search_port: int | None = None


@value(frozen=True, slots=True)
class ByeBye:
    """
    End of an announcement: NOTIFY with NTS ``ssdp:byebye``. UDA, 1.2.3.

    :ivar nt: Notification type of the announcement that ends.
    :ivar usn: Unique service name of the announcement that ends.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "byebye"

    nt: str
    usn: str


@value(frozen=True, slots=True)
class Update:
    """
    Notice that a device is about to raise its BOOTID: NOTIFY with NTS ``ssdp:update``. UDA, 1.2.4.

    :ivar nt: Notification type.
    :ivar usn: Unique service name.
    :ivar boot_id: BOOTID until now, without leading zeros; empty if the message has no valid one.
    :ivar next_boot_id: BOOTID of the next announcements; empty if the message has none that is above ``boot_id``.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "update"

    nt: str
    usn: str
    boot_id: str = ""
    next_boot_id: str = ""


@value(frozen=True, slots=True)
class SearchRequest:
    """
    Search of a control point: M-SEARCH. UDA, 1.3.2.

    :ivar st: Search target: ``ssdp:all``, ``upnp:rootdevice``, ``uuid:<device>`` or a URN.
    :ivar mx: Longest wait of a device before it replies, in whole seconds; ``None`` in a unicast search.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "search"

    st: str
    mx: int | None = 3


@value(frozen=True, slots=True)
class SearchResponse:
    """
    Reply of a device to a search. UDA, 1.3.3.

    :ivar st: Search target that the device offers.
    :ivar usn: Unique service name: ``uuid:<device>`` or ``uuid:<device>::<st>``.
    :ivar location: URL of the description, or of a Redfish service root; empty if the message has none.
    :ivar max_age: Lifetime of the reply in seconds; ``None`` if the message has none, or no readable one.
    :ivar server: Name of the device's software; empty if the message has none.
    :ivar boot_id: See :class:`Alive`.
    :ivar config_id: See :class:`Alive`.
    :ivar search_port: See :class:`Alive`.
    """

    #: Name of this kind of message in metrics.
    kind: ClassVar[str] = "response"

    st: str
    usn: str
    location: str = ""
    max_age: int | None = None
    server: str = ""
    boot_id: str = ""
    config_id: int | None = None
    search_port: int | None = None


Message = Alive | ByeBye | Update | SearchRequest | SearchResponse
