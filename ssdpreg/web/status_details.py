"""Contents of an opened service on the status page, before they become HTML. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ssdpreg.registration import Check
from ssdpreg.web.changes import PastChange
from ssdpreg.web.competing import CompetingClaim
from ssdpreg.web.status import Row

#: Names of the known facts by Meta key, in the order of their display. Other keys come after them.
_FACT_NAMES = {
    "ssdp-friendly-name": "Friendly name",
    "ssdp-manufacturer": "Manufacturer",
    "ssdp-model": "Model",
    "ssdp-serial": "Serial number",
    "ssdp-presentation-url": "Presentation URL",
    "redfish-vendor": "Redfish vendor",
    "redfish-product": "Redfish product",
    "redfish-version": "Redfish version",
    "redfish-uuid": "Redfish UUID",
    "ssdp-device": "Device",
    "ssdp-location": "LOCATION",
    "ssdp-nt": "Type (NT)",
    "ssdp-usn": "USN",
    "ssdp-server": "SERVER",
    "ssdp-max-age": "max-age",
    "external-source": "Registered by",
    "ssdpreg-scope": "Scope",
}

_STANDINGS = {
    "indirect": "announced by another host, or through a router",
    "direct": "announced by its own host, on the network of the interface",
    "confirmed": "its host replied to a search that was sent to it alone",
}


@dataclass(frozen=True, slots=True)
class FactRow:
    """
    A name with its value.

    :ivar link: URL to which the value links, empty for none.
    """

    name: str
    value: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """
    A change of the service.

    :ivar age: Seconds since the change.
    """

    age: float
    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """
    Contents of an opened service.

    :ivar facts: Meta of the registration.
    :ivar registration: State in the backend, ID, tags and checks.
    :ivar standing: Explanation of the standing.
    :ivar origin: Sender and interface of the latest reception, such as ``from 10.0.0.5 on eth0``; empty for a service
        that an earlier run registered, and that was not received since then.
    :ivar changes: The latest changes, the last one first.
    :ivar claims: Competing claims.
    """

    row: Row
    facts: Sequence[FactRow]
    registration: Sequence[FactRow]
    standing: str
    origin: str
    changes: Sequence[ChangeRow]
    claims: Sequence[CompetingClaim]


def make_details(
    row: Row,
    changes: Iterable[PastChange],
    claims: Sequence[CompetingClaim],
    backend: str,
    fault: str,
    now: float,
) -> Details:
    """
    Create the contents of an opened service.

    :param changes: Its latest changes.
    :param claims: Its competing claims.
    :param backend: Name of the backend.
    :param fault: Text that says that the backend is unavailable; empty if it is available.
    :param now: Reading of the reactor's clock.
    """
    return Details(
        row,
        facts=_make_facts(row.registration.meta),
        registration=list(_describe_registration(row, backend, fault)),
        standing=_STANDINGS[row.standing],
        origin=f"from {row.sender} on {row.interface}" if row.interface else "",
        changes=[ChangeRow(now - each.at, each.text) for each in changes],
        claims=claims,
    )


def _make_facts(meta: Mapping[str, str]) -> list[FactRow]:
    known = [(name, meta[key]) for key, name in _FACT_NAMES.items() if meta.get(key)]
    others = sorted((key, value) for key, value in meta.items() if key not in _FACT_NAMES and value)
    return [FactRow(name, value, _safe_link(value)) for name, value in (*known, *others)]


def _describe_registration(row: Row, backend: str, fault: str) -> Iterable[FactRow]:
    state = row.state
    if row.state == "registered":
        state = f"registered in {backend}"
    elif row.reason or fault:
        state = f"{row.state}: {row.reason or fault}"
    yield FactRow("State", state)
    yield FactRow("Service ID", row.registration.service_id)
    yield FactRow("Address", row.address)
    yield FactRow("Search term's tag", row.tag)
    if row.registration.tags:
        yield FactRow("Tags", ", ".join(row.registration.tags))
    for check in sorted(row.registration.checks, key=lambda check: check.kind):
        yield FactRow("Check", _describe_check(check))


def _describe_check(check: Check) -> str:
    if check.kind == "alive":
        return "alive: this daemon runs"
    parts = [f"{check.kind} {check.target}", f"every {check.interval:g} s"]
    if check.timeout is not None:
        parts.append(f"timeout {check.timeout:g} s")
    if check.tls_skip_verify:
        parts.append("any TLS certificate")
    if check.deregister_after is not None:
        parts.append(f"deregistered after {check.deregister_after:g} s in a critical state")
    return ", ".join(parts)


def _safe_link(value: str) -> str:
    """Return a value that is an HTTP URL, or an empty text: a device may state a URL that would run a script."""
    try:
        url = urlsplit(value)
    except ValueError:
        return ""
    return value if url.scheme in ("http", "https") and url.netloc else ""
