"""
Checks of the SSDP traffic on each interface: a multicast round trip, a probe for the firewall, and a search.

The kernel delivers a copy of each multicast datagram to the members of the group on this host, as if the datagram had
arrived on the interface. The copy passes the firewall, so the probes need neither root nor a second host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.ssdp.messages import GROUP

_ROUND_TRIP = HostCheck("multicast")
_FIREWALL = HostCheck("firewall")
_SEARCH = HostCheck("search")

_LOOK_AT_RULES = "Look at the rules as root: nft list ruleset (or iptables-save)"


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    Datagrams of one interface.

    :ivar name: Name of the interface.
    :ivar in_use: Whether UDP port 1900 could not be opened, because another program uses it exclusively.
    :ivar problem: Step that failed, to open a socket or to send to the group, and the reason; empty if both succeeded.
    :ivar blocked: Whether the reason is that a firewall drops what this host sends.
    :ivar returned: Whether a datagram to the group and port 1900 was received again.
    :ivar probe_port: Port to which a datagram was sent as a reply to a search would be.
    :ivar probe_returned: Whether that datagram was received again.
    :ivar probe_from_1900_returned: Whether a datagram that was sent to the same port from port 1900 was received again.
    :ivar repliers: Other hosts that replied to a search for all devices.
    """

    name: str
    in_use: bool = False
    problem: str = ""
    blocked: bool = False
    returned: bool = True
    probe_port: int = 0
    probe_returned: bool = True
    probe_from_1900_returned: bool = True
    repliers: Sequence[str] = ()


def check_traffic(traffic: Traffic, ports: tuple[int, int] | None, dropping: Sequence[str] = ()) -> list[Finding]:
    """
    Check the traffic of one interface.

    :param traffic: The datagrams.
    :param ports: First and last port of ``ssdp.search.ports``, or None if any port may receive replies.
    :param dropping: Descriptions of firewall rules that drop datagrams; empty if there are none or they are not known.
    """
    name = traffic.name
    if traffic.in_use:
        return [_ROUND_TRIP.skipped(name, "UDP port 1900 is held by another program")]
    if traffic.problem:
        finding = traffic.problem
        advice = f"Look at: ip address show dev {name}, and ip route get {GROUP} oif {name}"
        if traffic.blocked:
            finding += ": a firewall drops what this host sends"
            advice = f"Accept UDP to {GROUP}, port 1900, for outgoing datagrams. {_LOOK_AT_RULES}"
        return [_ROUND_TRIP.fault(name, finding, advice)]
    rule = f" ({dropping[0]})" if dropping else ""
    if traffic.returned:
        findings = [_ROUND_TRIP.ok(name, f"a datagram to {GROUP} was sent and received again")]
    else:
        findings = [
            _ROUND_TRIP.fault(
                name,
                f"a datagram to {GROUP}, UDP port 1900, was sent and not received again: a firewall drops"
                f" announcements{rule}",
                f"Run: nft insert rule inet filter input ip daddr {GROUP} udp dport 1900 accept. {_LOOK_AT_RULES}",
            )
        ]
    findings.append(_check_firewall(traffic, ports, dropping))
    if traffic.repliers:
        findings.append(_SEARCH.ok(name, f"{_count(len(traffic.repliers), 'host')} replied: {_list(traffic.repliers)}"))
    else:
        advice = f"If devices are connected, check the VLAN and the cable, and run: ssdpreg search --interface {name}"
        findings.append(_SEARCH.ok(name, "no device replied within 2 s", advice))
    return findings


def _check_firewall(traffic: Traffic, ports: tuple[int, int] | None, dropping: Sequence[str]) -> Finding:
    """Return whether replies to searches, which are sent to a high port, pass the firewall."""
    if traffic.repliers:
        return _FIREWALL.ok(traffic.name, "replies to a search were received")
    if traffic.probe_returned and traffic.probe_from_1900_returned:
        # The rules may still drop the datagrams of some senders.
        advice = f"If devices do not reply, look at this rule: {dropping[0]}" if dropping else ""
        return _FIREWALL.ok(traffic.name, f"a probe to UDP port {traffic.probe_port} was received", advice)
    if ports is None:
        advice = 'Set a range as in "search": {"ports": "40000-40099"}, and accept UDP to it: docs/troubleshooting.md'
    else:
        advice = f"Accept UDP to ports {ports[0]} to {ports[1]}"
    source = " from port 1900" if traffic.probe_returned else ""
    rule = f" ({dropping[0]})" if dropping else ""
    return _FIREWALL.fault(
        traffic.name,
        f"a probe{source} to UDP port {traffic.probe_port} was dropped: replies to searches are lost{rule}",
        f"{advice}. {_LOOK_AT_RULES}",
    )


def _list(hosts: Sequence[str]) -> str:
    """Return some addresses and the number of the others."""
    shown = ", ".join(hosts[:3])
    return shown if len(hosts) <= 3 else f"{shown} and {len(hosts) - 3} more"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
