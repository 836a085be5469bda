"""Explanations of datagrams: the result of the daemon's processing, with its reason. Values without input or output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.registration import Registration
from ssdpreg.ssdp.usn import device_id

#: Kind of an explanation that was caused by the clock and not by a datagram, and of a datagram that is no message.
TIMER = "timer"
INVALID = "invalid"

#: Largest number of different results in a summary. Reasons are constant phrases, so there are far fewer.
_MOST_RESULTS = 1000


@dataclass(frozen=True, slots=True)
class TableChange:
    """
    One change in the table of live services.

    :ivar kind: ``appeared``, ``moved``, ``updated``, ``standing``, ``left``, ``leaving``, ``stays``, ``contested``,
        ``decided``, ``delayed`` or ``search``.
    :ivar text: Description of one line.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Result of the processing of one datagram, or of a decision that was due.

    :ivar time: Time of the reception, in seconds since the epoch.
    :ivar kind: Kind of the message, :data:`INVALID` or :data:`TIMER`.
    :ivar result: ``registered``, ``moved``, ``updated``, ``known``, ``claim``, ``waiting``, ``leaving``, ``ignored``,
        ``rejected``, ``dropped``, ``not received`` or ``sent``; empty for :data:`TIMER`.
    :ivar reason: Reason of that result, empty if there is none. For ``rejected`` and ``dropped`` it is the label of the
        daemon's metric.
    :ivar detail: Further description for people, empty if there is none.
    :ivar sender: IP address of the sender.
    :ivar port: UDP port of the sender, or 0.
    :ivar interface: Name of the interface, empty if unknown.
    :ivar nt: Announced type or search target.
    :ivar usn: Announced USN.
    :ivar location: Announced LOCATION.
    :ivar term: Search term that matches, or None.
    :ivar tag: Tag of that term.
    :ivar standing: Standing that the reception gives to the claim, or None.
    :ivar registration: Registration of the service, or None.
    :ivar changes: Changes in the table.
    """

    time: float
    kind: str
    result: str = ""
    reason: str = ""
    detail: str = ""
    sender: str = ""
    port: int = 0
    interface: str = ""
    nt: str = ""
    usn: str = ""
    location: str = ""
    term: str | None = None
    tag: str = ""
    standing: str | None = None
    registration: Registration | None = None
    changes: tuple[TableChange, ...] = ()

    @property
    def when(self) -> datetime:
        """Time of the reception in the local time zone."""
        return datetime.fromtimestamp(self.time).astimezone()

    def document(self) -> dict[str, Any]:
        """Return the explanation in the JSON format of ``ssdpreg explain --json``."""
        registration = self.registration
        return {
            "time": self.when.isoformat(timespec="milliseconds"),
            "message": self.kind,
            "sender": self.sender or None,
            "port": self.port or None,
            "interface": self.interface or None,
            "type": self.nt,
            "usn": self.usn,
            "location": self.location,
            "term": self.term,
            "tag": self.tag or None,
            "standing": self.standing,
            "result": self.result or None,
            "reason": self.reason or None,
            "detail": self.detail or None,
            "registration": None
            if registration is None
            else {
                "id": registration.service_id,
                "name": registration.name,
                "address": registration.address,
                "port": registration.port,
            },
            "changes": [{"change": change.kind, "text": change.text} for change in self.changes],
        }


class ExplanationFilter:
    """
    Filter for explanations.

    :param text: URN, with or without ``*`` at its end; ``uuid:`` and a device ID; or an IP address, also in brackets. A
        link-local address without a zone stands for that of any interface. None for all.
    :raise ValueError: If the text is none of these, such as a network or the name of a host.
    """

    def __init__(self, text: str | None) -> None:
        self._address = self._device = ""
        self._terms: SearchTerms | None = None
        if text is None:
            return
        self._address = _normalize(text)
        if not self._address:
            if text.lower().startswith("uuid:"):
                self._device = device_id(text).casefold()
            elif not text.endswith("*") and ":" not in text:
                raise ValueError(f"{text!r} is no URN, no device (uuid:ID) and no IP address")
            else:
                self._terms = SearchTerms({text: ""})

    def matches(self, explanation: Explanation) -> bool:
        """Return whether an explanation concerns the URN, the device or the address."""
        if self._address:
            hosts = [explanation.sender, _host(explanation.location)]
            if explanation.registration:
                hosts.append(explanation.registration.address)
            return any(self._is_address(host) for host in hosts)
        if self._device:
            return device_id(explanation.usn).casefold() == self._device
        return self._terms is None or self._terms.match(explanation.nt) is not None

    def _is_address(self, host: str) -> bool:
        """Return whether a host is the address. A LOCATION has no zone, or one that the daemon ignores."""
        address = _normalize(host)
        if "%" in address and "%" in self._address:
            return address == self._address
        return address.partition("%")[0] == self._address.partition("%")[0]


def _normalize(text: str) -> str:
    """Return an IP address in its usual form; empty if the text is none."""
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return ""


def _host(location: str) -> str:
    """Return the host of a URL as it is written."""
    authority = location.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return authority.partition("]")[0].lstrip("[") if authority.startswith("[") else authority.partition(":")[0]


@dataclass
class Summary:
    """
    Numbers of explained datagrams.

    :ivar messages: Number of datagrams by kind.
    :ivar results: Number of datagrams by result and reason.
    :ivar changes: Number of changes in the table by kind.
    :ivar other: Number of packets of a capture that were not explained, by reason.
    :ivar first: Time of the first datagram, in seconds since the epoch.
    :ivar last: Time of the latest datagram.
    """

    messages: Counter[str] = field(default_factory=Counter)
    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    last: float = 0.0

    def add(self, explanation: Explanation) -> None:
        """Count an explanation."""
        self.changes.update(change.kind for change in explanation.changes)
        if explanation.kind == TIMER:
            return
        self.messages[explanation.kind] += 1
        self.first = explanation.time if self.first is None else self.first
        self.last = explanation.time
        key = explanation.result, explanation.reason
        if key in self.results or len(self.results) < _MOST_RESULTS:
            self.results[key] += 1

    @property
    def seconds(self) -> float:
        """Seconds from the first to the latest datagram."""
        return 0.0 if self.first is None else self.last - self.first

    def document(self, registrations: Mapping[str, Registration]) -> dict[str, Any]:
        """
        Return the summary in the JSON format of ``ssdpreg explain --json``.

        :param registrations: Registrations at the end, by service ID.
        """
        return {
            "summary": {
                "datagrams": self.messages.total(),
                "seconds": round(self.seconds, 3),
                "messages": dict(self.messages.most_common()),
                "results": [
                    {"result": result, "reason": reason or None, "datagrams": number}
                    for (result, reason), number in self.results.most_common()
                ],
                "changes": dict(self.changes.most_common()),
                "other_packets": dict(self.other.most_common()),
                "registrations": [
                    {"id": each.service_id, "name": each.name, "address": each.address, "port": each.port}
                    for each in registrations.values()
                ],
            }
        }
