"""Checks of the reverse path filter, which drops datagrams whose sender is routed through another interface. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from ssdpreg.cli.doctor.findings import Finding, HostCheck

_FILTER = HostCheck("rp_filter")
#: Value of ``rp_filter`` for strict filtering: Linux, Documentation/networking/ip-sysctl.rst.
_STRICT = 1


def effective_filter(of_all: int | None, of_interface: int | None) -> int:
    """Return the mode that the kernel uses on an interface: the larger of the two settings."""
    return max(of_all or 0, of_interface or 0)


def check_reverse_path(
    networks: Mapping[str, Sequence[IPv4Network]],
    modes: Mapping[str, int],
    named: Sequence[IPv4Network | IPv6Network],
) -> list[Finding]:
    """
    Check that strict filtering drops no announcement.

    :param networks: Networks of each used interface.
    :param modes: Mode of the filter by interface: 0, 1 (strict) or 2 (loose).
    :param named: Networks that ``ssdp.allow`` names.
    """
    findings = []
    for name, own in networks.items():
        if modes.get(name) != _STRICT:
            findings.append(_FILTER.ok(name, "not strict"))
            continue
        advice = f"Run: sysctl -w net.ipv4.conf.{name}.rp_filter=2 net.ipv4.conf.all.rp_filter=2"
        shared = [
            other
            for other, theirs in networks.items()
            if other != name and any(a.overlaps(b) for a in own for b in theirs)
        ]
        behind = [each for each in named if isinstance(each, IPv4Network) and not any(each.overlaps(a) for a in own)]
        if shared:
            finding = f"strict, and {shared[0]} is on the same network: the kernel drops what one of both receives"
            findings.append(_FILTER.warning(name, finding, advice))
        elif behind:
            finding = f"strict: datagrams from {behind[0]} are dropped if this host has no route to it through {name}"
            findings.append(_FILTER.warning(name, finding, advice))
        else:
            findings.append(_FILTER.ok(name, "strict, which is right for one interface on each network"))
    return findings
