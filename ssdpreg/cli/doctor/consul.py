"""Checks of Consul. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ssdpreg.cli.doctor.findings import Finding, HostCheck

_NAME = HostCheck("name")
_CONSUL = HostCheck("Consul")
_LEADER = HostCheck("leader")
_VERSION = HostCheck("version")
_DATACENTER = HostCheck("datacenter")

#: Oldest version with which the daemon is tested.
_OLDEST = (1, 8)


@dataclass(frozen=True, slots=True)
class ConsulFacts:
    """
    Responses of Consul.

    :ivar url: URL of Consul's HTTP API.
    :ivar problem: Reason why Consul does not respond; empty if it does.
    :ivar leader: Address of the leader; empty if there is none.
    :ivar version: Version; empty if it is not known.
    :ivar version_problem: Reason why the version is not known.
    :ivar skew: Seconds by which the clock of this host is ahead of that of Consul, or None if that is not known.
    :ivar datacenters: Names of the known datacenters; empty if they are not known.
    """

    url: str
    problem: str = ""
    leader: str = ""
    version: str = ""
    version_problem: str = ""
    skew: float | None = None
    datacenters: tuple[str, ...] = ()


def check_name(host: str, addresses: tuple[str, ...], problem: str) -> list[Finding]:
    """
    Check that the name of Consul's host resolves.

    :param host: The name.
    :param addresses: Its IP addresses.
    :param problem: Reason why it does not resolve; empty if it does.
    """
    if problem:
        advice = "Correct backend.address, or check /etc/resolv.conf and /etc/hosts: getent hosts " + host
        return [_NAME.fault(host, f"does not resolve: {problem}", advice)]
    return [_NAME.ok(host, f"resolves to {', '.join(addresses)}")]


def check_consul(facts: ConsulFacts, address: str) -> list[Finding]:
    """
    Check that Consul responds, has a leader and is recent enough.

    :param address: The value of ``backend.address``.
    """
    subject = address if address.startswith("unix:") else facts.url
    if facts.problem:
        advice = f"Start the Consul agent, or correct backend.address, which is {address}"
        return [_CONSUL.fault(subject, facts.problem, advice)]
    findings = [_CONSUL.ok(subject, "responds")]
    if facts.leader:
        findings.append(_LEADER.ok("", facts.leader))
    else:
        advice = (
            "Look at: consul operator raft list-peers, and at the log of the servers (bootstrap_expect, retry_join)"
        )
        findings.append(_LEADER.fault("", "Consul has no leader, so that nothing is visible in its catalog", advice))
    number = re.match(r"(\d+)\.(\d+)", facts.version)
    if number is None:
        findings.append(_VERSION.skipped("", facts.version_problem or "not known"))
    elif (int(number[1]), int(number[2])) < _OLDEST:
        findings.append(_VERSION.warning("", facts.version, "Update Consul: the daemon is tested with 1.8.7 and later"))
    else:
        findings.append(_VERSION.ok("", facts.version))
    return findings


def check_datacenter(facts: ConsulFacts, datacenter: str | None) -> list[Finding]:
    """
    Check that Consul knows the datacenter.

    :param datacenter: The value of ``backend.datacenter``.
    """
    if datacenter is None or not facts.datacenters:
        return []
    if datacenter not in facts.datacenters:
        advice = f"Correct backend.datacenter, or join the datacenters. Known are: {', '.join(facts.datacenters)}"
        return [_DATACENTER.fault(datacenter, "Consul does not know it", advice)]
    return [_DATACENTER.ok(datacenter, "known to Consul")]
