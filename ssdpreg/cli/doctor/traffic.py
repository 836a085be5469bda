"""
Checks of the SSDP traffic on each interface: a multicast round trip, a probe for the firewall, and a search.

The kernel delivers a copy of each multicast datagram to the members of the group on this host, as if the datagram had
arrived on the interface. The copy passes the firewall, so the probes need neither root nor a second host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.cli.doctor.firewall import DroppingRule, accept_announcements
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.ssdp.interfaces import is_link_local
from ssdpreg.ssdp.messages import GROUPS

_ROUND_TRIP = HostCheck("multicast")
_FIREWALL = HostCheck("firewall")
_SEARCH = HostCheck("search")

#: Advice by IP version.
_LOOK_AT_RULES = {
    4: "Look at the rules as root: nft list ruleset (or iptables-save)",
    6: "Look at the rules as root: nft list ruleset (or ip6tables-save)",
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    Datagrams of one interface and IP version.

    :ivar name: Name of the interface.
    :ivar version: IP version, 4 or 6.
    :ivar in_use: Whether UDP port 1900 could not be opened, because another program uses it exclusively.
    :ivar problem: Step that failed, to open a socket or to send to the group, and the reason; empty if both succeeded.
    :ivar blocked: Whether the reason is that a firewall drops what this host sends.
    :ivar at_limit: Whether the reason is the kernel's limit for the groups of a socket.
    :ivar missing: Groups of which a datagram to port 1900 was not received again.
    :ivar probe_port: Port to which a datagram was sent as a reply to a search would be.
    :ivar probe_returned: Whether that datagram was received again.
    :ivar probe_from_1900_returned: Whether a datagram that was sent to the same port from port 1900 was received again.
    :ivar repliers: Other hosts that replied to a search for all devices.
    """

    name: str
    in_use: bool = False
    problem: str = ""
    blocked: bool = False
    missing: Sequence[str] = ()
    probe_port: int = 0
    probe_returned: bool = True
    probe_from_1900_returned: bool = True
    repliers: Sequence[str] = ()
    version: int = 4
    at_limit: bool = False

    @property
    def subject(self) -> str:
        """Subject of findings: the interface, and the IP version if it is 6."""
        return self.name if self.version == 4 else f"{self.name} IPv6"


def check_traffic(
    traffic: Traffic,
    ports: tuple[int, int] | None,
    dropping: Sequence[DroppingRule] = (),
    networks: Sequence[IPNetwork] = (),
) -> list[Finding]:
    """
    Check the traffic of one interface.

    :param traffic: The datagrams.
    :param ports: First and last port of ``ssdp.search.ports``, or None if any port may receive replies.
    :param dropping: Firewall rules that drop datagrams; empty if there are none or they are not known.
    :param networks: Networks from which the daemon accepts replies: those of the interface, and those named in
        ``ssdp.allow``; empty if they are not known.
    """
    name = traffic.subject
    if traffic.in_use:
        return [_ROUND_TRIP.skipped(name, "UDP port 1900 is held by another program")]
    if traffic.problem:
        return [_report_problem(traffic)]
    findings = [_check_round_trip(traffic, dropping), _check_firewall(traffic, ports, dropping)]
    if off_link := [host for host in traffic.repliers if not _is_accepted(host, networks)]:
        finding = (
            f"{_count(len(off_link), 'host')} replied from outside of the networks of {traffic.name}:"
            f" {_list(off_link)}. The daemon drops these replies"
        )
        advice = (
            f"Correct the prefix length of the address (ip address show dev {traffic.name}), or name the network of the"
            " devices in ssdp.allow"
        )
        findings.append(_SEARCH.warning(name, finding, advice))
    elif traffic.repliers:
        findings.append(_SEARCH.ok(name, f"{_count(len(traffic.repliers), 'host')} replied: {_list(traffic.repliers)}"))
    elif traffic.version == 6:
        findings.append(_SEARCH.ok(name, "no device replied within 2 s, which is usual: most devices use IPv4 only"))
    else:
        advice = (
            "If devices are connected, check the VLAN and the cable, and run: ssdpreg search --interface"
            f" {traffic.name}"
        )
        findings.append(_SEARCH.ok(name, "no device replied within 2 s", advice))
    return findings


def _report_problem(traffic: Traffic) -> Finding:
    """Return the finding about a step that failed."""
    groups = GROUPS[traffic.version]
    finding, name = traffic.problem, traffic.name
    advice = f"Look at: ip address show dev {name}, and ip route get {groups[0]} oif {name}"
    if traffic.blocked:
        finding += ": a firewall drops what this host sends"
        accepted = " and ".join(groups)
        advice = f"Accept UDP to {accepted}, port 1900, for outgoing datagrams. {_LOOK_AT_RULES[traffic.version]}"
    elif traffic.at_limit:
        finding += ": net.ipv4.igmp_max_memberships is too low"
        # The default of the kernel.
        advice = "Run: sysctl -w net.ipv4.igmp_max_memberships=20"
    return _ROUND_TRIP.fault(traffic.subject, finding, advice)


def _check_round_trip(traffic: Traffic, dropping: Sequence[DroppingRule]) -> Finding:
    """Return whether datagrams to the groups were received again."""
    if not traffic.missing:
        groups = " and ".join(GROUPS[traffic.version])
        return _ROUND_TRIP.ok(traffic.subject, f"a datagram to {groups} was sent and received again")
    groups = " and ".join(traffic.missing)
    return _ROUND_TRIP.fault(
        traffic.subject,
        f"a datagram to {groups}, UDP port 1900, was sent and not received again: a firewall drops"
        f" announcements{_name_rule(dropping)}",
        f"Run: {accept_announcements(dropping, traffic.version)}. {_LOOK_AT_RULES[traffic.version]}",
    )


def _check_firewall(traffic: Traffic, ports: tuple[int, int] | None, dropping: Sequence[DroppingRule]) -> Finding:
    """Return whether replies to searches, which are sent to a high port, pass the firewall."""
    if traffic.repliers:
        return _FIREWALL.ok(traffic.subject, "replies to a search were received")
    if traffic.probe_returned and traffic.probe_from_1900_returned:
        # The rules may still drop the datagrams of some senders.
        advice = f"If devices do not reply, look at this rule: {dropping[0]}" if dropping else ""
        return _FIREWALL.ok(traffic.subject, f"a probe to UDP port {traffic.probe_port} was received", advice)
    if dropping and all(rule.is_for_multicast for rule in dropping):
        reason = f"the probe was dropped by a rule for multicast, which replies are not ({dropping[0]})"
        return _FIREWALL.skipped(traffic.subject, reason)
    if ports is None:
        advice = 'Set a range as in "search": {"ports": "40000-40099"}, and accept UDP to it: docs/troubleshooting.md'
    else:
        advice = f"Accept UDP to ports {ports[0]} to {ports[1]}"
    source = " from port 1900" if traffic.probe_returned else ""
    return _FIREWALL.fault(
        traffic.subject,
        f"a probe{source} to UDP port {traffic.probe_port} was dropped: replies to searches are lost"
        f"{_name_rule(dropping)}",
        f"{advice}. {_LOOK_AT_RULES[traffic.version]}",
    )


def _is_accepted(host: str, networks: Sequence[IPNetwork]) -> bool:
    """Return whether the daemon accepts replies from a host. A link-local IPv6 address is always on the network."""
    if not networks or is_link_local(host):
        return True
    address = ip_address(host)
    return any(address in network for network in networks)


def _name_rule(dropping: Sequence[DroppingRule]) -> str:
    """Return the first rule in parentheses; empty if there is none."""
    return f" ({dropping[0]})" if dropping else ""


def _list(hosts: Sequence[str]) -> str:
    """Return some addresses and the number of the others."""
    shown = ", ".join(hosts[:3])
    return shown if len(hosts) <= 3 else f"{shown} and {len(hosts) - 3} more"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
