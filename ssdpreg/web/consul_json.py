"""
Entries of the catalogue as Consul 1.8 words them. Pure.

A device is an external node: one that no agent speaks for, as when somebody has registered it with the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssdpreg.registration import SOURCE
from ssdpreg.web.catalogue import Entry

JSON = dict[str, Any]


def node_meta(entry: Entry) -> Mapping[str, str]:
    """Say of a node what is to be said of every one of ours."""
    return {
        "external-node": "true",
        "external-source": SOURCE,
        "ssdpreg-scope": entry.registration.meta["ssdpreg-scope"],
    }


def catalog_services(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Tell which names there are, with all tags of each."""
    names: dict[str, set[str]] = {}
    for entry in entries:
        names.setdefault(entry.registration.name, set()).update(entry.registration.tags)
    return {name: sorted(tags) for name, tags in sorted(names.items())}


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


def catalog_nodes(entries: Sequence[Entry], datacenter: str) -> list[JSON]:
    """Describe the nodes, each once."""
    return list({entry.node: _whole_node(entry, datacenter) for entry in entries}.values())


def catalog_node(entries: Sequence[Entry], datacenter: str) -> JSON | None:
    """Describe one node with all of its services, or ``None`` if there is no service."""
    services = {entry.registration.service_id: _service(entry) for entry in entries}
    nodes = catalog_nodes(entries, datacenter)
    return {"Node": nodes[0], "Services": services} if nodes else None


def health_service(entry: Entry, datacenter: str) -> JSON:
    """Describe a service together with its node and its health. What is live is well."""
    registration = entry.registration
    check = {
        "Node": entry.node,
        "CheckID": f"{registration.service_id}-alive",
        "Name": "alive",
        "Status": "passing",
        "Notes": "",
        "Output": "",
        "ServiceID": registration.service_id,
        "ServiceName": registration.name,
        "ServiceTags": registration.tags,
        "Type": "",
        "Definition": {},
        **_indexes(entry),
    }
    return {"Node": _whole_node(entry, datacenter), "Service": _service(entry), "Checks": [check]}


def _node(entry: Entry, datacenter: str) -> JSON:
    return {
        "ID": "",
        "Node": entry.node,
        "Address": entry.registration.address,
        "Datacenter": datacenter,
        "TaggedAddresses": None,
    }


def _whole_node(entry: Entry, datacenter: str) -> JSON:
    return {**_node(entry, datacenter), "Meta": node_meta(entry), **_indexes(entry)}


def _service(entry: Entry) -> JSON:
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
