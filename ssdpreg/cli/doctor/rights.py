"""ACL rights that the daemon needs in Consul, and the check whether a token has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.config import Config, ConsulConfig
from ssdpreg.registration import SOURCE
from ssdpreg.registration.names import dns_name, seed_name

_ACL = HostCheck("ACL")

#: Rights of one request. Consul accepts 64.
_MOST = 64
#: A name that a device may have: the rule of the token must allow any.
_ANY_DEVICE = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Right:
    """
    A right in Consul's ACL system.

    :ivar resource: Such as ``service``.
    :ivar segment: Name of the object.
    :ivar rule: The rule of a policy that grants it.
    """

    resource: str
    segment: str
    rule: str

    def document(self) -> dict[str, str]:
        """Return the right as Consul's request for an authorization describes it."""
        return {"Resource": self.resource, "Segment": self.segment, "Access": "write"}


@dataclass(frozen=True, slots=True)
class Authorization:
    """
    Consul's answer to the question whether the token has some rights.

    :ivar status: Status of the response; 0 if there was none.
    :ivar reason: Text of an error.
    :ivar allowed: One value for each right; empty if Consul sent an error.
    """

    status: int
    reason: str = ""
    allowed: tuple[bool, ...] = ()


def needed_rights(config: Config, scope: str) -> list[Right]:
    """
    Return the rights that the daemon needs, without duplicates.

    :param config: The configuration, with Consul as its backend.
    :param scope: Scope of the daemon.
    """
    assert isinstance(config.backend, ConsulConfig)
    make_name = dns_name if config.ssdp.names == "dns" else seed_name
    names = [make_name(tag, urn.removesuffix("*")) for urn, tag in config.search_terms().items()]
    rights = [Right("service", name, f'service_prefix "{name}" {{ policy = "write" }}') for name in names]
    if config.backend.mode == "agent":
        rights.insert(0, Right("service", SOURCE, f'service_prefix "{SOURCE}" {{ policy = "write" }}'))
    else:
        rights += [
            Right("node", _ANY_DEVICE, 'node_prefix "" { policy = "write" }'),
            Right("key", f"{SOURCE}/scopes/{scope}", f'key_prefix "{SOURCE}/" {{ policy = "write" }}'),
            Right("session", f"{SOURCE}-{scope}", f'session_prefix "{SOURCE}-" {{ policy = "write" }}'),
        ]
    return list({(right.resource, right.segment): right for right in rights}.values())[:_MOST]


def parse_authorization(status: int, reason: str, rights: Sequence[Right], document: Any) -> Authorization:
    """
    Parse Consul's answer.

    :param document: The decoded JSON of a response with status 200, otherwise None.
    """
    if status != 200:
        return Authorization(status, reason)
    entries = document if isinstance(document, list) else []
    granted = {
        (entry.get("Resource"), entry.get("Segment")): entry.get("Allow") is True
        for entry in entries
        if isinstance(entry, Mapping)
    }
    if any((right.resource, right.segment) not in granted for right in rights):
        return Authorization(status, "the response is malformed")
    return Authorization(status, "", tuple(granted[right.resource, right.segment] for right in rights))


def check_rights(rights: Sequence[Right], answer: Authorization, has_token: bool) -> list[Finding]:
    """
    Check that the token has all rights.

    :param has_token: Whether the configuration has a token.
    """
    whose = "the token" if has_token else "a request without token"
    if answer.status == 401:
        return [_ACL.ok("", "not enabled in Consul")]
    if answer.status == 403:
        advice = "Create a token, and set backend.token_file to a file that contains it: docs/operations.md"
        return [_ACL.fault("", f"Consul does not know {whose}: {answer.reason}", advice)]
    if not answer.allowed:
        reason = f"{answer.status} {answer.reason}".strip()
        return [_ACL.skipped("", f"Consul does not tell the rights of a token: {reason}")]
    denied = [right for right, allowed in zip(rights, answer.allowed, strict=True) if not allowed]
    if not denied:
        return [_ACL.ok("", f"{whose} has all {len(rights)} rights: {_list(rights)}")]
    advice = "Add to a policy of the token: " + " ".join(dict.fromkeys(right.rule for right in denied))
    if not has_token:
        advice = f"Set backend.token_file. {advice}"
    return [_ACL.fault("", f"{whose} lacks {_list(denied)}", advice)]


def _list(rights: Sequence[Right]) -> str:
    shown = ", ".join(f"{right.resource}:write on {right.segment}" for right in rights[:4])
    return shown if len(rights) <= 4 else f"{shown} and {len(rights) - 4} more"
