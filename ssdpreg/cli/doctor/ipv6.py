"""Checks of IPv6 on the used interfaces: addresses, and membership in the groups. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.ssdp.interfaces import is_link_local
from ssdpreg.ssdp.messages import GROUPS

_IPV6 = HostCheck("IPv6")
_MEMBERSHIP = HostCheck("MLD")

# Linux: <linux/if_addr.h>.
_IFA_F_DADFAILED = 0x08
_IFA_F_TENTATIVE = 0x40


@dataclass(frozen=True, slots=True)
class IPv6State:
    """
    State of IPv6 on one interface.

    :ivar supported: Whether the kernel has IPv6 on it.
    :ivar disabled: Whether the setting ``disable_ipv6`` turns it off.
    :ivar addresses: Addresses, with those that the kernel does not use.
    :ivar duplicates: Addresses that another host on the network has, too.
    :ivar tentative: Addresses that the kernel has not verified yet.
    """

    supported: bool = True
    disabled: bool = False
    addresses: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    tentative: tuple[str, ...] = ()


def parse_ipv6_addresses(text: str, settings: Mapping[str, int | None]) -> dict[str, IPv6State]:
    """
    Parse ``/proc/net/if_inet6``, and return the states by the name of the interface.

    :param settings: Setting ``disable_ipv6`` of each examined interface; None if there is no such setting.
    """
    rows = [line.split() for line in text.splitlines()]
    found = [(name, str(IPv6Address(int(address, 16))), int(flags, 16)) for address, _, _, _, flags, name in rows]
    return {
        name: IPv6State(
            setting is not None,
            bool(setting),
            tuple(address for of, address, _ in found if of == name),
            tuple(address for of, address, flags in found if of == name and flags & _IFA_F_DADFAILED),
            tuple(
                address
                for of, address, flags in found
                if of == name and flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED) == _IFA_F_TENTATIVE
            ),
        )
        for name, setting in settings.items()
    }


def parse_mld_table(text: str) -> dict[str, frozenset[str]]:
    """Parse ``/proc/net/igmp6``, and return the joined groups by the name of the interface."""
    groups: dict[str, set[str]] = {}
    for line in text.splitlines():
        _, name, group, *_ = line.split()
        groups.setdefault(name, set()).add(str(IPv6Address(int(group, 16))))
    return {name: frozenset(joined) for name, joined in groups.items()}


def check_ipv6(states: Mapping[str, IPv6State] | None) -> list[Finding]:
    """
    Check that each interface can use IPv6. An interface without IPv6 is no fault.

    :param states: States of the interfaces, or None if the kernel has no IPv6.
    """
    if states is None:
        return [_IPV6.skipped("", "this kernel has no IPv6, so that only IPv4 is used")]
    return [_check_state(name, state) for name, state in states.items()]


def _check_state(name: str, state: IPv6State) -> Finding:
    setting = f"net.ipv6.conf.{name}.disable_ipv6"
    if not state.supported:
        return _IPV6.skipped(name, "the kernel has no IPv6 on it, such as with an MTU below 1280")
    if state.disabled:
        advice = f"If devices use IPv6, run: sysctl -w {setting}=0"
        return _IPV6.skipped(name, f"disabled by {setting}, so that only IPv4 is used", advice)
    if state.duplicates:
        shown = ", ".join(state.duplicates)
        advice = f"Find the other host, and change one of both addresses: ip -6 address show dev {name}"
        return _IPV6.warning(name, f"another host has the address {shown}, so the kernel does not use it", advice)
    link_local = [each for each in state.addresses if is_link_local(each)]
    if not link_local:
        # The kernel creates the address when the value changes.
        setting = f"net.ipv6.conf.{name}.addr_gen_mode"
        advice = f"Run: sysctl -w {setting}=1 {setting}=0"
        finding = "without a link-local address: switches with MLD snooping may ignore its memberships"
        return _IPV6.warning(name, finding, advice)
    if state.tentative:
        shown = ", ".join(state.tentative)
        advice = f"Run this command again in 2 s. If it stays so, look at: ip -6 address show dev {name}"
        return _IPV6.warning(name, f"the kernel has not verified yet that the address {shown} is unique", advice)
    return _IPV6.ok(name, f"link-local address {link_local[0]}")


def check_mld(names: Sequence[str], memberships: Mapping[str, frozenset[str]]) -> list[Finding]:
    """
    Check that the interfaces are members of the SSDP groups.

    :param names: Interfaces on which this process has joined the groups.
    :param memberships: The kernel's memberships by interface.
    """
    findings = []
    for name in names:
        joined = memberships.get(name, frozenset())
        missing = [group for group in GROUPS[6] if group not in joined]
        if missing:
            finding = f"not a member of {' and '.join(missing)}, although a program has joined the group"
            findings.append(_MEMBERSHIP.fault(name, finding, f"Look at: ip maddress show dev {name}"))
        else:
            findings.append(_MEMBERSHIP.ok(name, f"member of {' and '.join(GROUPS[6])}"))
    return findings
