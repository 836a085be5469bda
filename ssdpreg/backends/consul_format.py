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


def check_service(service: Any) -> Mapping[str, Any]:
    """
    Return an entry of the agent's service listing whose fields have the types that Consul sends.

    :raise ValueError: If it has not.
    """
    if not isinstance(service, dict):
        raise ValueError("a service is not a JSON object")
    for key in ("ID", "Service", "Address"):
        text = service.get(key)
        if not isinstance(text, str) or not (text.isascii() or _is_encodable(text)):
            raise ValueError(f"{key} of a service is not a text")
    for key in ("Tags", "Meta"):
        if key not in service:
            raise ValueError(f"a service has no {key}")
    if type(service.get("Port")) is not int:
        raise ValueError("Port of a service is not a number")
    tags, meta = service["Tags"], service["Meta"]
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise ValueError("Tags of a service are not a list of texts")
    if meta is not None and not (isinstance(meta, dict) and all(isinstance(value, str) for value in meta.values())):
        raise ValueError("Meta of a service is not an object of texts")
    return service


def _is_encodable(text: str) -> bool:
    """Return whether a text can be sent and logged. JSON can have one half of a surrogate pair, which UTF-8 has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_check(check: Any) -> str:
    """
    Return the service ID of an entry of the agent's check listing.

    :raise ValueError: If the entry has not the types that Consul sends.
    """
    if not isinstance(check, dict) or not isinstance(check.get("ServiceID"), str):
        raise ValueError("ServiceID of a check is not a text")
    service_id: str = check["ServiceID"]
    return service_id


def is_owned(service: Mapping[str, Any], scope: str) -> bool:
    """
    Return whether a service in a listing was registered by the daemon with a scope.

    :raise ValueError: If its Meta is not an object.
    """
    meta = service["Meta"] or {}
    if not isinstance(meta, dict):
        raise ValueError("Meta is not an object")
    return bool(meta.get(META_SOURCE) == SOURCE and meta.get(META_SCOPE) == scope)


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
        meta=service["Meta"] or {},
        checks=frozenset(map(Check, check_ids)),
    )


def represents(service: Mapping[str, Any], check_ids: Collection[str], registration: Registration) -> bool:
    """Return whether :func:`parse_registration` would return a registration that is equal to another one."""
    if not (
        service["Address"] == registration.address
        and service["Port"] == registration.port
        and service["Service"] == registration.name
        and (service["Meta"] or {}) == registration.meta
        and tuple(service["Tags"] or ()) == registration.tags
    ):
        return False
    # A live service makes its checks whenever they are read.
    checks = registration.checks
    return len(check_ids) == len(checks) and all(check.check_id in check_ids for check in checks)


def format_duration(seconds: float) -> str:
    """Format a duration for Go, such as ``15s`` or ``0.5s``. Consul rejects a number without a unit."""
    return f"{seconds:.12g}s"
