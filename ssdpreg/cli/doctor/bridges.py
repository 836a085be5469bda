"""Checks of bridges and containers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssdpreg.cli.doctor.findings import Finding, HostCheck

_BRIDGE = HostCheck("bridge")
_CONTAINER = HostCheck("container")

#: Bridges that connect containers or virtual machines of this host: Docker, Podman, libvirt, LXC, Kubernetes.
_INTERNAL = re.compile(r"docker\d+|docker_gwbridge|br-[0-9a-f]{12}|podman\d+|cni\d+|cni-.*|virbr\d+|lxcbr\d+|lxdbr\d+")


@dataclass(frozen=True, slots=True)
class Bridge:
    """
    A bridge of this host.

    :ivar snooping: Whether it has IGMP snooping.
    :ivar querier: Whether it sends IGMP queries itself.
    """

    snooping: bool
    querier: bool


def check_bridges(
    used: Sequence[str], selected: bool, bridges: Mapping[str, Bridge], queriers: Mapping[str, str]
) -> list[Finding]:
    """
    Check the used interfaces that are bridges.

    :param used: Names of the used interfaces.
    :param selected: Whether ``ssdp.interfaces`` selects them.
    :param bridges: All bridges by name.
    :param queriers: Senders of IGMP queries by interface, as far as they are known.
    """
    findings = []
    for name in used:
        if name not in bridges:
            continue
        bridge = bridges[name]
        if _INTERNAL.fullmatch(name) and not selected:
            others = ", ".join(f'"{other}"' for other in used if not _INTERNAL.fullmatch(other))
            findings.append(
                _BRIDGE.warning(
                    name,
                    "connects containers or virtual machines, and is used because ssdp.interfaces is empty",
                    f'List the interfaces of the devices in the section ssdp: "interfaces": [{others or "NAME"}]',
                )
            )
        elif not bridge.snooping:
            findings.append(_BRIDGE.ok(name, "without IGMP snooping"))
        elif bridge.querier or name in queriers:
            findings.append(_BRIDGE.ok(name, "with IGMP snooping and a querier"))
        else:
            findings.append(
                _BRIDGE.warning(
                    name,
                    "with IGMP snooping and without a querier of its own: it may stop forwarding announcements if the"
                    " network has no querier",
                    f"Run: ip link set dev {name} type bridge mcast_querier 1 (or mcast_snooping 0)",
                )
            )
    return findings


def check_container(kind: str, used: Sequence[str], virtual: Sequence[str], repliers: Sequence[str]) -> list[Finding]:
    """
    Check that a container has the network of its host, or another one in which devices are.

    :param kind: Kind of the container that this process is in, such as ``docker``; empty for none.
    :param used: Names of the used interfaces.
    :param virtual: Names of those that are virtual cables (veth) to a bridge of the host.
    :param repliers: Other hosts that replied to a search.
    """
    if not kind:
        return []
    if repliers:
        return [_CONTAINER.ok(kind, "devices reply to searches of this container")]
    if used and all(name in virtual for name in used):
        return [
            _CONTAINER.warning(
                kind,
                f"this container has a network of its own ({', '.join(used)}), to which Docker and Podman forward no"
                " announcements",
                "Start it with --network host, or with a macvlan network",
            )
        ]
    return [_CONTAINER.ok(kind, "this container has the network of its host, or a network card of its own")]
