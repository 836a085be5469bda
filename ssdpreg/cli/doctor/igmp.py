"""Checks of IGMP and MLD: membership in the IPv4 group, forced version, and the querier of the network. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.cli.doctor.kernel import Membership
from ssdpreg.ssdp.messages import GROUP

_MEMBERSHIP = HostCheck("IGMP")
_QUERIER = HostCheck("querier")

#: Seconds within which a querier sends a query: query interval and response interval of RFC 3376, 8.2 and 8.3.
QUERY_INTERVAL = 135.0


@dataclass(frozen=True, slots=True)
class QuerierSearch:
    """
    Result of the wait for queries.

    :ivar problem: Reason why there was no wait; empty if there was one.
    :ivar queriers: IP address of the sender of a query by interface.
    """

    problem: str = ""
    queriers: Mapping[str, str] | None = None


def check_membership(
    names: Sequence[str], memberships: Mapping[str, Membership], forced: Mapping[str, int]
) -> list[Finding]:
    """
    Check that the interfaces are members of the SSDP group.

    :param names: Interfaces on which this process or the daemon has joined the group.
    :param memberships: The kernel's memberships by interface.
    :param forced: The setting ``force_igmp_version`` by interface; 0 for none.
    """
    findings = []
    for name in names:
        membership = memberships.get(name)
        version = forced.get(name, 0)
        if membership is None or GROUP not in membership.groups:
            findings.append(
                _MEMBERSHIP.fault(
                    name,
                    f"not a member of {GROUP}, although a program has joined the group",
                    f"Look at: ip maddress show dev {name}",
                )
            )
        elif version == 1:
            findings.append(
                _MEMBERSHIP.warning(
                    name,
                    f"member of {GROUP}, but IGMPv1 is forced, which switches may ignore",
                    f"Run: sysctl -w net.ipv4.conf.{name}.force_igmp_version=0 net.ipv4.conf.all.force_igmp_version=0",
                )
            )
        else:
            how = ", which is forced by force_igmp_version" if version else ""
            findings.append(_MEMBERSHIP.ok(name, f"member of {GROUP} with IGMPv{version or membership.version}{how}"))
    return findings


def check_queriers(names: Sequence[str], search: QuerierSearch, protocol: str = "IGMP") -> list[Finding]:
    """
    Check that each network has a querier, without which switches with IGMP snooping stop forwarding announcements.

    :param names: The used interfaces.
    :param search: Result of the wait for queries.
    :param protocol: ``IGMP``, or ``MLD`` for IPv6.
    """
    suffix = "" if protocol == "IGMP" else " IPv6"
    if search.queriers is None:
        return [_QUERIER.skipped(f"{name}{suffix}", search.problem) for name in names]
    findings = []
    for name in names:
        if sender := search.queriers.get(name):
            findings.append(_QUERIER.ok(f"{name}{suffix}", f"{sender} sends {protocol} queries"))
        else:
            findings.append(
                _QUERIER.warning(
                    f"{name}{suffix}",
                    f"no {protocol} query within {QUERY_INTERVAL:g} s: a switch with {protocol} snooping stops"
                    " forwarding announcements some minutes after a start",
                    "Enable a querier on a switch or router, or disable snooping, and accept"
                    f" {protocol} in the firewall",
                )
            )
    return findings
