"""Registrations and checks in the JSON format of Consul's agent API. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ssdpreg.registration import SOURCE, Check, Registration
from ssdpreg.registration.meta import META_SCOPE, META_SOURCE

#: Seconds until Consul deregisters the services of a daemon that has stopped: the shortest time that Consul accepts.
REAP_AFTER = 60.0


def owner_meta(scope: str) -> dict[str, str]:
    """Return the Meta entries that mark a service as registered by the daemon with a scope."""
    return {META_SOURCE: SOURCE, META_SCOPE: scope}


def is_owned(service: Mapping[str, Any], scope: str) -> bool:
    """Return whether a service in a listing was registered by the daemon with a scope."""
    meta = service["Meta"] or {}
    return all(meta.get(key) == value for key, value in owner_meta(scope).items())


def format_registration(registration: Registration, checks: Mapping[str, Check], own_service_id: str) -> dict[str, Any]:
    """
    Return the body of a register request.

    :param checks: The checks of the service, by their IDs in Consul.
    :param own_service_id: ID of the service that represents the daemon, for alias checks.
    """
    return {
        "ID": registration.service_id,
        "Name": registration.name,
        "Address": registration.address,
        "Port": registration.port,
        "Tags": list(registration.tags),
        "Meta": dict(registration.meta),
        "Checks": [format_check(check_id, check, own_service_id) for check_id, check in checks.items()],
    }


def format_check(check_id: str, check: Check, own_service_id: str) -> dict[str, Any]:
    """
    Return a check as an element of ``Checks`` in a register request.

    :param check_id: ID of the check in Consul.
    :param own_service_id: ID of the service that represents the daemon, for an alias check.
    """
    # The service was announced a moment ago. Consul keeps the status of a check that it knows already.
    body: dict[str, Any] = {"CheckID": check_id, "Status": "passing"}
    if check.kind == "alive":
        return {
            **body,
            "Name": "ssdpreg is alive and lists the service",
            "AliasService": own_service_id,
            "DeregisterCriticalServiceAfter": format_duration(REAP_AFTER),
        }
    body["Interval"] = format_duration(check.interval)
    if check.kind == "http":
        body |= {"Name": f"HTTP {check.target}", "HTTP": check.target, "TLSSkipVerify": check.tls_skip_verify}
    else:
        body |= {"Name": f"TCP {check.target}", "TCP": check.target}
    if check.timeout is not None:
        body["Timeout"] = format_duration(check.timeout)
    if check.deregister_after is not None:
        body["DeregisterCriticalServiceAfter"] = format_duration(check.deregister_after)
    return body


def parse_registration(service: Mapping[str, Any], check_ids: Collection[str]) -> Registration:
    """
    Return the registration that an entry of the agent's service listing represents.

    :param service: The entry.
    :param check_ids: IDs of the checks of the service, as in the registration.
    """
    return Registration(
        service_id=service["ID"],
        name=service["Service"],
        address=service["Address"],
        port=service["Port"],
        tags=tuple(service["Tags"] or ()),
        meta=service["Meta"],
        checks=frozenset(map(Check, check_ids)),
    )


def format_duration(seconds: float) -> str:
    """Format a duration for Go, such as ``15s`` or ``0.5s``. Consul rejects a number without a unit."""
    return f"{seconds:.12g}s"
