"""Checks of the network interfaces. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_network

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.ssdp.interfaces import InterfaceSelection, NetworkInterface
from ssdpreg.ssdp.links import LinkState

_INTERFACE = HostCheck("interface")
_LOOPBACK_DOWN = _INTERFACE.fault(
    "lo", "down: programs on this host do not reach each other at 127.0.0.1", "Run: ip link set dev lo up"
)


def check_interfaces(
    interfaces: Sequence[NetworkInterface],
    links: Mapping[int, LinkState],
    selectors: Sequence[str],
    broadcast: Collection[str],
) -> list[Finding]:
    """
    Check that every configured interface is present and can be used, or without configuration, that there is one.

    :param interfaces: All interfaces of this host.
    :param links: States by the index of the interface; an interface without state counts as running.
    :param selectors: The value of ``ssdp.interfaces``.
    :param broadcast: Names of the interfaces that are connected to a broadcast network.
    """
    selection = InterfaceSelection(selectors)
    used = selection.select(interfaces)
    by_name = {interface.name: interface for interface in interfaces}
    addresses: dict[str, list[str]] = {}
    for each in used:
        addresses.setdefault(each.name, []).append(each.address)
    needs_ipv4 = bool(selectors) or all(by_name[each.name].loopback or each.version == 6 for each in used)
    findings = [_LOOPBACK_DOWN] if any(each.loopback and not each.up for each in interfaces) else []
    findings += [_check_used(by_name[name], found, links, needs_ipv4) for name, found in addresses.items()]
    if selectors:
        return [*findings, *(_check_unmatched(text, by_name) for text in selection.unmatched(interfaces))]
    findings += _check_unused(interfaces, {each.name for each in used}, broadcast)
    if all(by_name[each.name].loopback for each in used):
        findings.append(_report_no_network(interfaces))
    return findings


def _check_used(
    interface: NetworkInterface, addresses: Sequence[str], links: Mapping[int, LinkState], needs_ipv4: bool
) -> Finding:
    """
    Check an interface that is used.

    :param addresses: The addresses that are used, one for each IP version.
    :param needs_ipv4: Whether an interface without an IPv4 address is reported.
    """
    link, name = links.get(interface.index), interface.name
    shown = " and ".join(addresses)
    if not interface.multicast and not interface.loopback:
        return _INTERFACE.fault(
            name, "multicast is off, so no announcement is received", f"Run: ip link set dev {name} multicast on"
        )
    if link is not None and not link.running and not interface.loopback:
        advice = "Connect the cable, or enable the port of the switch"
        return _INTERFACE.fault(name, f"up with {shown}, but without a carrier", advice)
    if needs_ipv4 and not interface.addresses:
        advice = f"Run: ip address add ADDRESS/PREFIX dev {name}, or look at the DHCP client"
        finding = f"up with {shown}, but without an IPv4 address: most devices use IPv4 only"
        return _INTERFACE.warning(name, finding, advice)
    return _INTERFACE.ok(name, f"up, with multicast and the address{'es' if len(addresses) > 1 else ''} {shown}")


def _check_unmatched(selector: str, by_name: Mapping[str, NetworkInterface]) -> Finding:
    """Return why an entry of ``ssdp.interfaces`` selects no interface."""
    interface = by_name.get(selector)
    if interface is not None:
        problem, advice = _explain_unusable(interface)
        return _INTERFACE.fault(selector, f"{problem}, but it is listed in ssdp.interfaces", advice)
    advice = "Correct ssdp.interfaces, or create it. Present are: " + (", ".join(sorted(by_name)) or "none")
    try:
        ip_network(selector, strict=False)
    except ValueError:
        return _INTERFACE.fault(selector, "listed in ssdp.interfaces, but absent", advice)
    return _INTERFACE.fault(
        selector, "listed in ssdp.interfaces, but no interface that is up has an address in this network", advice
    )


def _explain_unusable(interface: NetworkInterface) -> tuple[str, str]:
    """Return why an interface is not used, and what to do about it."""
    if not interface.up:
        return "down", f"Run: ip link set dev {interface.name} up"
    if not interface.addresses and not interface.ipv6_addresses:
        return "without an IPv4 address", f"Run: ip address add ADDRESS/PREFIX dev {interface.name}"
    return "multicast is off", f"Run: ip link set dev {interface.name} multicast on"


def _check_unused(
    interfaces: Sequence[NetworkInterface], used: Collection[str], broadcast: Collection[str]
) -> Iterator[Finding]:
    """Report interfaces with an address that are not used. Tunnels have no multicast on purpose."""
    for interface in interfaces:
        addresses = interface.addresses or (not interface.is_port and interface.ipv6_addresses)
        if interface.loopback or interface.name in used or not addresses:
            continue
        problem, advice = _explain_unusable(interface)
        if not interface.up:
            yield _INTERFACE.skipped(interface.name, f"{problem}, so it is not used", f"If it is needed: {advice}")
        elif interface.name in broadcast:
            yield _INTERFACE.warning(interface.name, f"{problem}, so it is not used", advice)


def _report_no_network(interfaces: Sequence[NetworkInterface]) -> Finding:
    reasons = [
        f"{interface.name} is {_explain_unusable(interface)[0].removeprefix('multicast is off') or 'without multicast'}"
        for interface in interfaces
        if not interface.loopback
    ]
    return _INTERFACE.fault(
        "",
        "no interface except loopback can be used: " + ("; ".join(reasons) or "there is no other"),
        "Set up an interface with multicast and an IPv4 address (see: ip address)",
    )
