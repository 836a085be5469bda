"""
Execution of ``ssdpreg inventory``: registered services as a dynamic inventory of Ansible.

Ansible evaluates variables as templates, which can run programs on the controller. The values are text from the
network, so each value that could be a template is marked as unsafe: Ansible does not evaluate it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ssdpreg.cli.output import print_json, print_message
from ssdpreg.cli.reader import Service, make_reader
from ssdpreg.cli.service_list import consul_token
from ssdpreg.registration.meta import META_DEVICE, META_LOCATION, META_MAX_AGE, META_SOURCE, max_age_of

#: Names that Ansible does not accept as a group of an inventory.
_RESERVED_GROUPS = frozenset({"all", "ungrouped", "_meta"})
#: Names that have a meaning of their own where Ansible expects a host. A play for localhost is for the
#: controller, and must not run on a device with that ID.
_RESERVED_HOSTS = _RESERVED_GROUPS | {"localhost"}
#: Host names that need no quoting in Ansible's patterns for hosts.
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}", re.ASCII)
#: IPv4 addresses, also with fewer numbers, such as that of the controller, 127.1. An IPv6 address has colons.
_IPV4_ADDRESS = re.compile(r"\d+(?:\.\d+){1,3}", re.ASCII)
#: Addresses that a connection plugin, such as ssh, cannot mistake for an option.
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9:._%-]*", re.ASCII)
#: Keys of Meta that are no facts of a device, or that have another variable.
_NOT_FACTS = frozenset({META_SOURCE, META_DEVICE, META_LOCATION, META_MAX_AGE})
#: Beginnings of the keys of facts.
_FACTS = ("ssdp", "redfish-")

Variables = dict[str, Any]


async def print_inventory(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Print the inventory, or the variables of one host.

    :param arguments: Options of :func:`ssdpreg.cli.inventory.add_parser`.
    :return: Exit status.
    :raise BackendError: If the server does not respond, or rejects the request.
    """
    services = await make_reader(reactor, arguments.url, consul_token()).services()
    inventory = make_inventory(services)
    if arguments.host is None:
        print_json(inventory)
        return 0
    hosts: Mapping[str, Variables] = inventory["_meta"]["hostvars"]
    if arguments.host not in hosts:
        print_message(f"No host {arguments.host!r} at {arguments.url}.")
        return 1
    print_json(hosts[arguments.host])
    return 0


def make_inventory(services: Iterable[Service]) -> dict[str, Any]:
    """Return the inventory in the format of Ansible's scripts: groups by name, and the variables of all hosts."""
    found = sorted(services, key=lambda each: (each.name, each.device.casefold(), each.key))
    groups: dict[str, set[str]] = {group_name(service.name): set() for service in found}
    folded = {name.casefold() for name in groups}
    hosts: dict[str, Variables] = {}
    for service in found:
        host, group = host_name(service.device, folded), group_name(service.name)
        groups[group].add(host)
        variables = _service_variables(service)
        if host not in hosts:
            hosts[host] = _host_variables(service, variables)
        hosts[host]["ssdp_services"].append({"ssdp_service": _text(service.name), "ssdp_group": group, **variables})
    members = {name: {"hosts": sorted(names)} for name, names in sorted(groups.items())}
    return {"_meta": {"hostvars": dict(sorted(hosts.items()))}, **members}


def group_name(name: str) -> str:
    """
    Return the group of a service name: each character that Ansible does not accept in a group is replaced by ``_``.

    :param name: Service name, such as ``RackHD-service:api:2.0``, which becomes ``RackHD_service_api_2_0``.
    """
    group = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"ssdp_{group}" if group in _RESERVED_GROUPS or not re.match(r"[A-Za-z_]", group) else group


def host_name(device_id: str, groups: Collection[str] = ()) -> str:
    """
    Return the host name of a device: its ID in lower case, or a digest if the ID cannot be the name of a host.

    That is an ID with unusual characters, a reserved name, an IP address, and the name of a group: a device with the ID
    ``all`` would hide every other host.

    :param groups: Names of all groups, in lower case.
    """
    name = device_id.casefold()
    if (
        _HOST_NAME.fullmatch(name)
        and name not in _RESERVED_HOSTS
        and not _IPV4_ADDRESS.fullmatch(name)
        and name not in groups
    ):
        return name
    return f"device-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _host_variables(service: Service, variables: Variables) -> Variables:
    """Return the variables of a host: those of its first service, and an empty list of all services."""
    connection = {"ansible_host": service.address} if _ADDRESS.fullmatch(service.address) else {}
    return {**connection, "ssdp_device": _text(service.device), **variables, "ssdp_services": []}


def _service_variables(service: Service) -> Variables:
    facts = {
        re.sub(r"[^a-z0-9_]", "_", key.lower()): _text(value)
        for key, value in sorted(service.meta.items())
        if key not in _NOT_FACTS and value and key.startswith(_FACTS)
    }
    max_age = max_age_of(service.meta, None)
    return {
        "ssdp_address": _text(service.address),
        "ssdp_port": service.port,
        "ssdp_location": _text(service.location),
        "ssdp_health": _text(service.health),
        "ssdp_tags": [_text(tag) for tag in service.tags],
        **({} if max_age is None else {"ssdp_max_age": max_age}),
        **facts,
    }


def _text(text: str) -> str | dict[str, str]:
    """Return text from the network as a variable."""
    return {"__ansible_unsafe": text} if re.search(r"[{}#%]", text) else text
