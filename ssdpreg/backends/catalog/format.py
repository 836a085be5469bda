"""Registrations as operations of Consul's transactions, and entries of the catalog as registrations. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ssdpreg.backends.consul_format import format_duration, is_owned, owner_meta, parse_registration
from ssdpreg.backends.scopes.holder import LOCK_NODE_PREFIX, SCOPE_CHECK
from ssdpreg.registration import ID_PREFIX, Check, Registration
from ssdpreg.registration.meta import META_SCOPE, META_SOURCE

#: Operation of a transaction, as ``/v1/txn`` accepts it.
Operation = dict[str, Any]

#: Meta of a node that consul-esm monitors.
_EXTERNAL_NODE = "external-node"

#: Meta of a node whose services left: the batch in which it is to be deleted.
META_BATCH = "ssdpreg-batch"

#: Beginning of the IDs of registrations whose ID was lost with their checks.
UNKNOWN_ID = f"{ID_PREFIX}unknown-"

#: Device IDs that are node names as they are.
_LITERAL = re.compile(r"[a-z0-9._-]{1,64}")
_HASHED = re.compile(r"device-[0-9a-f]{24}")

#: IDs of the checks of this program: the kind and the digest of a configured check, and the service.
_CHECK_ID = re.compile(r"ssdpreg(?:-((?:http|tcp)-[0-9a-f]+))?:")
_SERVICE_ID = re.compile(re.escape(ID_PREFIX) + r"[a-z0-9-]{1,80}")


def node_name(device_id: str, prefix: str = "") -> str:
    """
    Return the name of the node of a device.

    Consul compares node names without regard to case, and cannot show or remove a node whose name is ``.`` or ``..``.
    Names that begin with ``ssdpreg-`` belong to the nodes of the locks.

    :param device_id: ID from the USN. One that is not a valid name is replaced by its digest.
    :param prefix: Beginning of the names of all nodes.
    """
    name = device_id.lower()
    if (
        _LITERAL.fullmatch(name)
        and name not in (".", "..")
        and not _HASHED.fullmatch(name)
        and not (prefix + name).startswith(LOCK_NODE_PREFIX)
    ):
        return prefix + name
    return f"{prefix}device-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:24]}"


def catalog_check_id(registration: Registration, check: Check) -> str:
    """Return the ID of a check in the catalog, where it is unique on the node of the device."""
    kind = check.check_id.removeprefix(f"{registration.service_id}-")
    return f"ssdpreg:{registration.name}" if kind == "alive" else f"ssdpreg-{kind}:{registration.name}"


def parse_check_id(check_id: str) -> str | None:
    """
    Return the kind of a check of this program; None for any other check.

    :return: The end of the check's ID in the registration, such as ``alive`` or ``http-1f2e3d4c``.
    """
    match = None if check_id == SCOPE_CHECK else _CHECK_ID.match(check_id)
    return None if match is None else match[1] or "alive"


@dataclass(frozen=True, slots=True)
class NodeContent:
    """
    Content of a node that this program writes, and what other programs added to it.

    :ivar address: Address of the node.
    :ivar external: Whether consul-esm runs a check of the node.
    :ivar extra: Fields of other programs, such as further Meta, which are kept.
    :ivar batch: Batch in which the node is to be deleted; empty for the node of a live device.
    """

    address: str
    external: bool = False
    extra: tuple[tuple[str, Any], ...] = ()
    batch: str = ""


class CatalogFormat:
    """
    JSON of one scope in Consul's catalog.

    :param scope: Scope of the daemon.
    :param prefix: Beginning of the names of all nodes.
    :param datacenter: Datacenter of the catalog; None for that of the agent.
    """

    def __init__(self, scope: str, prefix: str = "", datacenter: str | None = None) -> None:
        self.scope, self._prefix = scope, prefix
        self._meta = owner_meta(scope)
        self._external_meta = {**self._meta, _EXTERNAL_NODE: "true"}
        self._datacenter = {} if datacenter is None else {"Datacenter": datacenter}

    def node_name(self, registration: Registration) -> str:
        """Return the name of the node of a registration."""
        return node_name(registration.device_id, self._prefix)

    def owns(self, node: Mapping[str, Any]) -> bool:
        """Return whether a node of the catalog belongs to this scope."""
        return is_owned({"Meta": node.get("Meta")}, self.scope)

    def has_no_owner(self, node: Mapping[str, Any]) -> bool:
        """
        Return whether a node has neither the Meta of an owner, nor an ID, as the node of an agent has.

        If a service of this scope is on such a node, another program has removed the Meta: Consul replaces it if a
        request to register a service has none.
        """
        meta = node.get("Meta") or {}
        return not node.get("ID") and META_SOURCE not in meta and META_SCOPE not in meta

    # Operations.

    def set_node(self, name: str, content: NodeContent, index: int) -> Operation:
        """
        Return the operation that creates or changes a node, or only confirms its index.

        :param index: Index of the node's latest change; 0 if it must not exist.
        """
        extra = dict(content.extra)
        meta = self._external_meta if content.external else self._meta
        node = {"Node": name, "Address": content.address, **self._datacenter, "ModifyIndex": index}
        if content.batch:
            meta = {**meta, META_BATCH: content.batch}
        if "Meta" in extra:
            meta = {**extra.pop("Meta"), **meta}
        return {"Node": {"Verb": "cas", "Node": {**node, **extra, "Meta": meta}}}

    def delete_node(self, name: str, index: int) -> Operation:
        """Return the operation that deletes a node with all its services, if its latest change has an index."""
        return {"Node": {"Verb": "delete-cas", "Node": {"Node": name, **self._datacenter, "ModifyIndex": index}}}

    def set_service(self, node: str, registration: Registration, *, create: bool) -> Operation:
        """
        Return the operation that registers a service.

        :param create: Whether the operation fails if the node has a service with this ID.
        """
        service = {
            "ID": registration.name,
            "Service": registration.name,
            "Tags": list(registration.tags),
            "Address": registration.address,
            "Port": registration.port,
            "Meta": dict(registration.meta),
        }
        if create:
            return {"Service": {"Verb": "cas", "Node": node, "Service": {**service, "ModifyIndex": 0}}}
        return {"Service": {"Verb": "set", "Node": node, "Service": service}}

    def delete_service(self, node: str, name: str) -> Operation:
        """Return the operation that removes a service with its checks."""
        return {"Service": {"Verb": "delete", "Node": node, "Service": {"ID": name, "Service": name}}}

    def get_service(self, node: str, name: str) -> Operation:
        """Return the operation that reads a service."""
        return {"Service": {"Verb": "get", "Node": node, "Service": {"ID": name}}}

    def set_check(self, node: str, registration: Registration, check: Check, status: str = "passing") -> Operation:
        """
        Return the operation that registers a check.

        :param status: ``passing`` or ``critical``.
        """
        body: dict[str, Any] = {
            "Node": node,
            "CheckID": catalog_check_id(registration, check),
            "Name": "Announced over SSDP",
            "Status": status,
            "Notes": registration.service_id,
            "ServiceID": registration.name,
            # Without it, a token that may write only some services may not write the check.
            "ServiceName": registration.name,
        }
        if check.kind in ("http", "tcp"):
            body["Name"] = f"{check.kind.upper()} {check.target}"
            body["Definition"] = format_definition(check)
        return {"Check": {"Verb": "set", "Check": body}}

    def delete_check(self, node: str, check_id: str, service: str = "") -> Operation:
        """Return the operation that removes a check."""
        check = {
            "Node": node,
            "CheckID": check_id,
            **({"ServiceID": service, "ServiceName": service} if service else {}),
        }
        return {"Check": {"Verb": "delete", "Check": check}}

    def get_check(self, node: str, check_id: str) -> Operation:
        """Return the operation that reads a check."""
        return {"Check": {"Verb": "get", "Check": {"Node": node, "CheckID": check_id}}}

    # Entries of the catalog.

    def parse_node(self, node: Mapping[str, Any]) -> tuple[NodeContent, int]:
        """
        Return the content of an own node, and the index of its latest change.

        :raise ValueError: If the node is malformed.
        """
        index, address, meta = node.get("ModifyIndex"), node.get("Address"), node.get("Meta")
        if type(index) is not int or not isinstance(address, str) or not isinstance(meta, dict):
            raise ValueError("a node has no ModifyIndex, Address or Meta")
        extra: dict[str, Any] = {key: node[key] for key in ("ID", "TaggedAddresses") if node.get(key)}
        external = meta.get(_EXTERNAL_NODE) == "true"
        other_meta = {key: value for key, value in meta.items() if key not in self._external_meta and key != META_BATCH}
        if other_meta:
            extra["Meta"] = other_meta
        return NodeContent(address, external, tuple(extra.items()), str(meta.get(META_BATCH, ""))), index


def format_definition(check: Check) -> dict[str, Any]:
    """Return the definition of a check for consul-esm. Durations are texts: Consul 1.8 rejects numbers."""
    definition: dict[str, Any] = {"Interval": format_duration(check.interval)}
    if check.kind == "http":
        definition |= {"HTTP": check.target, "TLSSkipVerify": check.tls_skip_verify}
    else:
        definition["TCP"] = check.target
    if check.timeout is not None:
        definition["Timeout"] = format_duration(check.timeout)
    if check.deregister_after is not None:
        definition["DeregisterCriticalServiceAfter"] = format_duration(check.deregister_after)
    return definition


def has_definition(registrations: Iterable[Registration]) -> bool:
    """Return whether consul-esm has to run a check of one of the services of a node."""
    return any(not check.check_id.endswith("-alive") for each in registrations for check in each.checks)


def service_id_of(node: str, name: str, notes: Iterable[object]) -> str:
    """
    Return the ID of a registration in the catalog.

    :param node: Name of the node.
    :param name: ID of the service in the catalog, which is its name.
    :param notes: Notes of the checks of the service. They contain the ID, unless another program changed them.
    """
    for each in notes:
        if isinstance(each, str) and _SERVICE_ID.fullmatch(each):
            return each
    # No live service has this ID, so the service is registered again if it is live, and is removed otherwise.
    return f"{UNKNOWN_ID}{hashlib.sha256(repr((node, name)).encode(errors='replace')).hexdigest()[:16]}"


def parse_service(service: Mapping[str, Any], service_id: str, kinds: Collection[str]) -> Registration:
    """
    Return the registration that a service of the catalog represents.

    :param service: The service, of valid types.
    :param service_id: ID of the registration.
    :param kinds: Kinds of its checks, see :func:`parse_check_id`.
    """
    return parse_registration({**service, "ID": service_id}, [f"{service_id}-{kind}" for kind in kinds])
