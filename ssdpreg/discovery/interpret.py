"""Meaning of a message for a set of search terms. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ssdpreg.discovery.advertisement import DEFAULT_MAX_AGE, LONGEST_MAX_AGE, Advertisement
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.discovery.shared import shared_number, shared_text, shared_with
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchResponse, Update
from ssdpreg.ssdp.usn import device_id, is_usable, means_whole_device
from ssdpreg.values import value

#: Reason of the rejection of a type that no search term matches. Most announcements of a network are of that kind.
UNMATCHED = "no search term"
NO_DEVICE_ID = "no device ID"


@value(frozen=True, slots=True)
class Departure:
    """
    End of one service of a device, or of all its services.

    :ivar device_id: As in :class:`~ssdpreg.discovery.advertisement.Advertisement`.
    :ivar urn: As in :class:`~ssdpreg.discovery.advertisement.Advertisement`, or None for all services of the device.
    """

    device_id: str
    urn: str | None


@value(frozen=True, slots=True)
class Rejection:
    """
    An announcement that cannot be registered.

    :ivar nt: Announced URN.
    :ivar reason: One of a few constant phrases: it is the label of a metric.
    """

    nt: str
    reason: str


@dataclass(frozen=True, slots=True)
class BootNotice:
    """
    Notice that a device goes on with another BOOTID, without a restart.

    :ivar device_id: As in :class:`~ssdpreg.discovery.advertisement.Advertisement`.
    :ivar boot_id: BOOTID until now.
    :ivar next_boot_id: BOOTID of the next announcements.
    """

    device_id: str
    boot_id: str
    next_boot_id: str


Meaning = Advertisement | Departure | Rejection | BootNotice


class TypeMatcher(Protocol):
    """A set of search terms, such as :class:`~ssdpreg.discovery.search_terms.SearchTerms`."""

    def match(self, nt: str, /) -> SearchTerm | None: ...


def interpret(message: Message, sender: str, terms: TypeMatcher, locations: LocationRules) -> Meaning | None:
    """
    Determine the meaning of a message.

    :param sender: IP address that sent it, empty if unknown.
    :param terms: Search terms of the operator.
    :param locations: Rules for acceptable LOCATIONs.
    :return: The service that is live at a LOCATION; the end of one service or of a device; the reason of a rejection;
        a change of the BOOTID; None for a message that does not change live services: a search, or an ``ssdp:update``
        whose BOOTIDs are not valid. The LOCATION of an update is that announced before, and it has no lifetime (UPnP
        Device Architecture 2.0, section 1.2.4).
    """
    match message:
        case Alive(nt=nt) | SearchResponse(st=nt):
            return _interpret_announcement(nt, message, sender, terms, locations)
        case ByeBye(nt=nt) if means_whole_device(nt):
            return Departure(device_id(message.usn), None)
        case ByeBye(nt=nt):
            term = terms.match(nt)
            return Rejection(nt, UNMATCHED) if term is None else Departure(device_id(message.usn), term.identity(nt))
        case Update() if message.boot_id and message.next_boot_id:
            return BootNotice(device_id(message.usn), message.boot_id, message.next_boot_id)
    return None


def interpreter(terms: TypeMatcher, locations: LocationRules) -> Callable[[Message, str], Meaning | None]:
    """Return :func:`interpret` for fixed rules."""
    return lambda message, sender: interpret(message, sender, terms, locations)


def _interpret_announcement(
    nt: str, message: Alive | SearchResponse, sender: str, terms: TypeMatcher, locations: LocationRules
) -> Meaning:
    term = terms.match(nt)
    if term is None:
        return Rejection(nt, UNMATCHED)
    announcer, urn = device_id(message.usn), term.identity(nt)
    if message.max_age == 0:
        return Departure(announcer, urn)
    if not is_usable(announcer):
        return Rejection(nt, NO_DEVICE_ID)
    try:
        endpoint = locations.endpoint(message.location, sender)
    except RejectedError as error:
        return Rejection(nt, error.reason)
    max_age = message.max_age
    return Advertisement.make(
        announcer,
        urn,
        term,
        shared_with(urn, nt),
        message.usn,
        message.location,
        endpoint,
        DEFAULT_MAX_AGE if max_age is None else shared_number(min(max_age, LONGEST_MAX_AGE)),
        shared_text(message.server),
        message.boot_id,
        message.config_id,
        message.search_port,
    )
