"""
Entries of the catalogue in the JSON of Consul 1.8. Pure functions.

A device is represented by an external node, which has no agent, as if it had been registered by ``PUT
/v1/catalog/register``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import ssdpreg
from ssdpreg.registration.meta import META_SCOPE, META_SOURCE, SOURCE
from ssdpreg.web.catalogue import Entry
from ssdpreg.web.competing import CompetingClaim

JSON = dict[str, Any]

#: Name and state of the check of every service in the catalogue.
CHECK_NAME = "alive"
CHECK_STATUS = "passing"


def agent_self(datacenter: str, node: str) -> JSON:
    """Describe this daemon as an agent. Clients read the datacenter from it."""
    config = {
        "Datacenter": datacenter,
        "NodeName": node,
        "NodeID": str(uuid5(NAMESPACE_DNS, node)),
        "Revision": "",
        "Server": True,
        "Version": ssdpreg.__version__,
    }
    return {"Config": config, "Meta": {}}


def node_meta(entry: Entry) -> Mapping[str, str]:
    """Return the Meta of an entry's node."""
    return {
        "external-node": "true",
        META_SOURCE: SOURCE,
        META_SCOPE: entry.registration.scope,
    }


def catalog_service(entry: Entry, datacenter: str) -> JSON:
    """Describe a service together with its node."""
    registration = entry.registration
    return {
        **_node(entry, datacenter),
        "NodeMeta": node_meta(entry),
        "ServiceKind": "",
        "ServiceID": registration.service_id,
        "ServiceName": registration.name,
        "ServiceTags": registration.tags,
        "ServiceAddress": registration.address,
        "ServiceWeights": _weights(),
        "ServiceMeta": registration.meta,
        "ServicePort": registration.port,
        "ServiceEnableTagOverride": False,
        "ServiceProxy": _proxy(),
        "ServiceConnect": {},
        **_indexes(entry),
    }


def catalog_nodes(
    slices: Iterable[Sequence[Entry]], datacenter: str, matches: Callable[[Entry], bool]
) -> Iterator[list[JSON]]:
    """
    Describe the nodes of all entries, each node once, by its first entry.

    :param slices: Entries, those of a node one after the other.
    :param matches: Returns whether to describe the node of an entry.
    """
    last = ""
    for entries in slices:
        nodes = []
        for entry in entries:
            name = entry.node.casefold()
            if name != last and matches(entry):
                nodes.append(node_with_meta(entry, datacenter))
            last = name
        yield nodes


def health_check(entry: Entry) -> JSON:
    """Describe the check of a service, which passes while the service is live."""
    registration = entry.registration
    return {
        "Node": entry.node,
        "CheckID": check_id(entry),
        "Name": CHECK_NAME,
        "Status": CHECK_STATUS,
        "Notes": "",
        "Output": "",
        "ServiceID": registration.service_id,
        "ServiceName": registration.name,
        "ServiceTags": registration.tags,
        "Type": "",
        "Definition": {},
        **_indexes(entry),
    }


def check_id(entry: Entry) -> str:
    """Return the ID of the check of a service."""
    return f"{entry.registration.service_id}-{CHECK_NAME}"


def health_service(entry: Entry, datacenter: str, claims: Sequence[CompetingClaim] = ()) -> JSON:
    """
    Describe a service together with its node and its check.

    :param claims: Competing claims, which Consul does not have. Their member is missing if there are none.
    """
    described = {
        "Node": node_with_meta(entry, datacenter),
        "Service": node_service(entry),
        "Checks": [health_check(entry)],
    }
    return {**described, "CompetingClaims": [each.document() for each in claims]} if claims else described


def _node(entry: Entry, datacenter: str) -> JSON:
    return {
        "ID": "",
        "Node": entry.node,
        "Address": entry.registration.address,
        "Datacenter": datacenter,
        "TaggedAddresses": None,
    }


def node_with_meta(entry: Entry, datacenter: str) -> JSON:
    """Describe the node of an entry."""
    return {**_node(entry, datacenter), "Meta": node_meta(entry), **_indexes(entry)}


def node_service(entry: Entry) -> JSON:
    """Describe a service without its node."""
    registration = entry.registration
    return {
        "ID": registration.service_id,
        "Service": registration.name,
        "Tags": registration.tags,
        "Address": registration.address,
        "Meta": registration.meta,
        "Port": registration.port,
        "Weights": _weights(),
        "EnableTagOverride": False,
        "Proxy": _proxy(),
        "Connect": {},
        **_indexes(entry),
    }


def _weights() -> JSON:
    return {"Passing": 1, "Warning": 1}


def _proxy() -> JSON:
    return {"MeshGateway": {}, "Expose": {}}


def _indexes(entry: Entry) -> JSON:
    return {"CreateIndex": entry.created, "ModifyIndex": entry.modified}
