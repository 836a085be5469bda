"""Execution of ``ssdpreg doctor``: collect the facts about this host, evaluate them, and print the findings."""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_address
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from ssdpreg.backends.consul_own_service import other_service_id
from ssdpreg.cli.doctor.bridges import check_bridges, check_container
from ssdpreg.cli.doctor.certificates import check_certificate, read_certificate, split_address
from ssdpreg.cli.doctor.configuration import read_configuration
from ssdpreg.cli.doctor.consul import ConsulFacts, check_consul, check_datacenter, check_name
from ssdpreg.cli.doctor.consul_requests import ConsulClient, connect, resolve
from ssdpreg.cli.doctor.daemon import check_daemon, check_scope
from ssdpreg.cli.doctor.daemon_requests import read_daemon
from ssdpreg.cli.doctor.findings import Finding, HostCheck, Section, exit_status
from ssdpreg.cli.doctor.firewall import read_rules
from ssdpreg.cli.doctor.host_facts import (
    HostFacts,
    find_container,
    find_virtual,
    is_clock_synchronised,
    read_bridges,
    read_descriptor_limit,
    read_filters,
    read_forced_versions,
    read_host,
    read_ipv6,
    read_mld_memberships,
)
from ssdpreg.cli.doctor.igmp import QUERY_INTERVAL, QuerierSearch, check_membership, check_queriers
from ssdpreg.cli.doctor.interfaces import check_interfaces
from ssdpreg.cli.doctor.ipv6 import check_ipv6, check_mld
from ssdpreg.cli.doctor.kernel import Membership, is_root, read_memberships, read_number
from ssdpreg.cli.doctor.limits import Clock, check_clock, check_descriptors, check_receive_buffer
from ssdpreg.cli.doctor.port import check_drops, check_port, find_daemon
from ssdpreg.cli.doctor.probes import observe_traffic
from ssdpreg.cli.doctor.processes import Process
from ssdpreg.cli.doctor.queriers import search_queriers
from ssdpreg.cli.doctor.rights import check_rights, needed_rights
from ssdpreg.cli.doctor.routing import check_reverse_path
from ssdpreg.cli.doctor.text import make_document, print_sections, summarize
from ssdpreg.cli.doctor.traffic import check_traffic
from ssdpreg.cli.output import print_json, print_message
from ssdpreg.config import Config, ConsulConfig
from ssdpreg.errors import ConfigError
from ssdpreg.registration import SOURCE
from ssdpreg.registration.meta import META_SCOPE
from ssdpreg.ssdp.interfaces import InterfaceAddress, InterfaceSelection

_CONSUL = HostCheck("Consul")
_WITHOUT_ROOT = HostCheck("root").skipped(
    "",
    "without root, the programs of other users, the rules of the firewall and IGMP queries are not examined",
    "Run: sudo ssdpreg doctor",
)


async def examine_host(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Examine this host and print the findings.

    :param arguments: Options of :func:`ssdpreg.cli.doctor.add_parser`.
    :param reactor: Provides time, sockets and connections.
    :return: Exit status.
    :raise ConfigError: If the address of Consul on the command line is invalid.
    """
    read = read_configuration(arguments.config, arguments.address)
    host = read_host()
    daemon = find_daemon(host.owners)
    if arguments.long and not arguments.json:
        print_message(f"Waiting up to {QUERY_INTERVAL:g} s for an IGMP query of each network.")
    # Both wait for replies: they run at the same time.
    consul = Deferred.fromCoroutine(_examine_consul(reactor, read.config, daemon))
    try:
        network_sections = await _examine_network(reactor, read.config, host, arguments.long)
        consul_sections, skew = await consul
    finally:
        consul.cancel()
    sections = [
        Section("Rights", () if is_root() else (_WITHOUT_ROOT,)),
        Section("Configuration", read.findings),
        *network_sections,
        Section("Limits", tuple(_examine_limits(read.config, daemon, skew))),
        *consul_sections,
    ]
    if arguments.json:
        print_json(make_document(sections))
    else:
        print_sections(sections)
        print_message(summarize(sections))
    return exit_status(sections)


async def _examine_network(reactor: Any, config: Config, host: HostFacts, long: bool) -> list[Section]:
    ssdp = config.ssdp
    used = InterfaceSelection(ssdp.interfaces).select(host.interfaces)
    names = list(dict.fromkeys(each.name for each in used))
    real = [interface.name for interface in host.interfaces if interface.name in names and not interface.loopback]
    own = {address for each in host.interfaces for address in (*each.addresses, *each.ipv6_addresses)}
    memberships: dict[str, Membership] = {}
    mld: dict[str, frozenset[str]] = {}

    def read_joined() -> None:
        memberships.update(read_memberships())
        mld.update(read_mld_memberships())

    traffic = await observe_traffic(reactor, used, ssdp.search.ttl, ssdp.search.ports, own, read_joined)
    opened = {
        version: [each.name for each in traffic if not each.problem and each.name in real and each.version == version]
        for version in (4, 6)
    }
    rules = {version: await deferToThread(read_rules, version) if is_root() else [] for version in (4, 6)}
    queriers, queriers_ipv6 = await _search_queriers(reactor, used, real, long)
    repliers = [host for each in traffic for host in each.repliers]
    networks = {
        each.name: [network for network in each.networks if isinstance(network, IPv4Network)]
        for each in host.interfaces
        if each.name in real
    }
    accepted = {each.name: [*each.networks, *ssdp.named_networks] for each in host.interfaces if each.networks}
    in_use = {each.version for each in traffic if each.in_use}
    return [
        Section(
            "Network interfaces",
            (
                *check_interfaces(host.interfaces, host.links, ssdp.interfaces, host.broadcast),
                *check_ipv6(read_ipv6(real)),
                *check_bridges(names, bool(ssdp.interfaces), read_bridges(names), queriers.queriers or {}),
                *check_container(find_container(), real, find_virtual(real), repliers),
                *check_reverse_path(networks, read_filters(real), ssdp.named_networks),
            ),
        ),
        Section(
            "Multicast",
            (
                *check_port(host.sockets, host.owners, in_use, is_root()),
                *check_drops(host.sockets, host.owners),
                *(
                    found
                    for each in traffic
                    for found in check_traffic(
                        each, ssdp.search.ports, rules[each.version], accepted.get(each.name, ())
                    )
                ),
                *check_membership(opened[4], memberships, read_forced_versions(real)),
                *check_mld(opened[6], mld),
                *check_queriers([name for name in real if name in _names(used, 4)], queriers),
                *check_queriers(
                    [name for name in real if long and name in _names(used, 6)], queriers_ipv6, protocol="MLD"
                ),
            ),
        ),
    ]


async def _search_queriers(
    reactor: Any, used: Sequence[InterfaceAddress], real: Sequence[str], long: bool
) -> tuple[QuerierSearch, QuerierSearch]:
    """Return the queriers of IGMP and those of MLD, if the command is to wait for them."""
    if not long:
        skipped = QuerierSearch("not searched for, because that takes up to 135 s: ssdpreg doctor --long")
        return skipped, skipped
    igmp, mld = await gatherResults(
        Deferred.fromCoroutine(
            search_queriers(reactor, [name for name in real if name in _names(used, version)], version=version)
        )
        for version in (4, 6)
    )
    return igmp, mld


def _names(used: Sequence[InterfaceAddress], version: int) -> set[str]:
    """Return the names of the interfaces that are used over an IP version."""
    return {each.name for each in used if each.version == version}


def _examine_limits(config: Config, daemon: Process | None, skew: float | None) -> list[Finding]:
    backend = config.backend
    tls = isinstance(backend, ConsulConfig) and backend.scheme == "https" and backend.verify_tls
    limit = read_descriptor_limit() if daemon is None else daemon.descriptor_limit
    return [
        *check_receive_buffer(read_number("/proc/sys/net/core/rmem_max"), daemon is not None and daemon.net_admin),
        *check_descriptors(limit, daemon is not None),
        *check_clock(Clock(is_clock_synchronised(), skew, tls)),
    ]


async def _examine_consul(reactor: Any, config: Config, daemon: Process | None) -> tuple[list[Section], float | None]:
    """Examine Consul and the daemon, and return the skew of the clock against that of Consul, too."""
    scope = config.scope(socket.gethostname())
    findings: list[Finding] = []
    meta: dict[str, str] | None = None
    skew = None
    facts = await read_daemon(reactor, config.web.endpoint)
    running = daemon is not None or (bool(facts.url) and not facts.problem)
    backend = config.backend
    if isinstance(backend, ConsulConfig):
        try:
            client = connect(reactor, backend)
        except ConfigError as error:
            advice = "Correct the file, or the configuration"
            findings = [_CONSUL.fault(fault.path, fault.problem, advice) for fault in error.faults]
        else:
            findings, consul = await _examine_consul_server(reactor, config, backend, client, scope)
            skew = consul.skew if consul else None
            if consul and not consul.problem and backend.mode == "agent":
                meta = await client.read_own_service(SOURCE)
                if meta and meta.get(META_SCOPE) != scope:
                    meta = await client.read_own_service(other_service_id(scope)) or meta
            await client.close()
    of_daemon = check_daemon(facts, daemon)
    if meta is not None:
        of_daemon += check_scope(meta, scope, running)
    return [Section("Consul", tuple(findings)), Section("Daemon", tuple(of_daemon))], skew


async def _examine_consul_server(
    reactor: Any, config: Config, backend: ConsulConfig, client: ConsulClient, scope: str
) -> tuple[list[Finding], ConsulFacts | None]:
    """Return the findings about Consul, and its responses if its name resolves."""
    findings: list[Finding] = []
    if not backend.address.startswith("unix:"):
        host, _ = split_address(backend.address)
        if not _is_ip_address(host):
            addresses, problem = await resolve(reactor, host)
            findings += check_name(host, addresses, problem)
            if problem:
                return findings, None
    facts = await client.read_facts()
    tls: list[Finding] = []
    if backend.scheme == "https" and not backend.address.startswith("unix:"):
        handshake = await deferToThread(read_certificate, backend)
        # A server that cannot be reached at all has no certificate to report.
        if handshake.connected:
            tls = check_certificate(handshake, time.time(), backend.verify_tls, backend.ca_file)
    findings += [*tls, *check_consul(facts, backend.address)]
    if not facts.problem:
        findings += check_datacenter(facts, backend.datacenter)
        rights = needed_rights(config, scope)
        findings += check_rights(rights, await client.read_rights(rights), client.has_token)
    return findings, facts


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
