"""Collection of facts about this host that need no network traffic."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ssdpreg.cli.doctor.bridges import Bridge
from ssdpreg.cli.doctor.ipv6 import IPv6State, parse_ipv6_addresses, parse_mld_table
from ssdpreg.cli.doctor.kernel import UDPSocket, is_broadcast, read_number, read_text, read_udp_sockets
from ssdpreg.cli.doctor.processes import Process, find_owners
from ssdpreg.cli.doctor.routing import effective_filter
from ssdpreg.ssdp.interfaces import NetworkInterface, find_interfaces
from ssdpreg.ssdp.links import KernelLinks, LinkState
from ssdpreg.ssdp.messages import PORT

# Linux: <linux/sockios.h>, <linux/ethtool.h>, <linux/timex.h>. Python does not define them.
_SIOCETHTOOL = 0x8946
_ETHTOOL_GDRVINFO = 0x3
_TIME_ERROR = 5
#: Bytes that are enough for a struct timex.
_TIMEX_SIZE = 512


@dataclass(frozen=True, slots=True)
class HostFacts:
    """
    State of this host before the command opens any socket.

    :ivar interfaces: All interfaces.
    :ivar links: States by the index of the interface.
    :ivar broadcast: Names of the interfaces that are connected to a broadcast network.
    :ivar sockets: Sockets that are bound to UDP port 1900.
    :ivar owners: Processes by the inode of the socket.
    """

    interfaces: Sequence[NetworkInterface]
    links: Mapping[int, LinkState]
    broadcast: frozenset[str]
    sockets: Sequence[UDPSocket]
    owners: Mapping[int, Process]


def read_host() -> HostFacts:
    """Read the state of this host."""
    interfaces = find_interfaces()
    sockets = read_udp_sockets(PORT)
    return HostFacts(
        interfaces,
        _read_links(),
        frozenset(each.name for each in interfaces if is_broadcast(each.name)),
        sockets,
        find_owners([each.inode for each in sockets]),
    )


def read_filters(names: Sequence[str]) -> dict[str, int]:
    """Return the mode of the reverse path filter of each interface."""
    of_all = _read_setting("all", "rp_filter")
    return {name: effective_filter(of_all, _read_setting(name, "rp_filter")) for name in names}


def read_forced_versions(names: Sequence[str]) -> dict[str, int]:
    """Return the IGMP version that is forced on each interface; 0 for none."""
    of_all = _read_setting("all", "force_igmp_version")
    # The setting for all interfaces counts first: Linux, net/ipv4/igmp.c.
    return {name: of_all or _read_setting(name, "force_igmp_version") or 0 for name in names}


def read_ipv6(names: Sequence[str]) -> dict[str, IPv6State] | None:
    """Return the state of IPv6 on each interface, or None if the kernel has no IPv6."""
    text = read_text("/proc/net/if_inet6")
    if text is None:
        return None
    settings = {name: read_number(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6") for name in names}
    return parse_ipv6_addresses(text, settings)


def read_mld_memberships() -> dict[str, frozenset[str]]:
    """Return the IPv6 groups that the interfaces have joined."""
    return parse_mld_table(read_text("/proc/net/igmp6") or "")


def read_bridges(names: Sequence[str]) -> dict[str, Bridge]:
    """Return those of the interfaces that are bridges."""
    bridges = {}
    for name in names:
        folder = f"/sys/class/net/{name}/bridge"
        snooping = read_number(f"{folder}/multicast_snooping")
        if snooping is not None:
            bridges[name] = Bridge(bool(snooping), bool(read_number(f"{folder}/multicast_querier")))
    return bridges


def find_virtual(names: Sequence[str]) -> list[str]:
    """Return the names of the interfaces that are virtual cables (veth)."""
    return [name for name in names if _read_driver(name) == "veth"]


def find_container() -> str:
    """Return the kind of the container in whose network this process is; empty for none."""
    if _is_inner_namespace():
        return ""
    # systemd-nspawn and Podman set this variable: systemd, "Container Interface".
    if kind := os.environ.get("container"):  # noqa: SIM112
        return kind
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return (read_text("/run/systemd/container") or "").strip()


def _is_inner_namespace() -> bool:
    """Return whether this process is in a network namespace that was made inside of a container, if that is known."""
    own = os.stat("/proc/self/ns/net").st_ino
    for path in (Path("/proc/1/ns/net"), *Path("/run/netns").glob("*")):
        with suppress(OSError):
            # A process that may not be examined has no readable namespace.
            if (path.stat().st_ino == own) != (path.parent.name == "ns"):
                return True
    return False


def read_descriptor_limit() -> int | None:
    """Return the soft limit of open descriptors of this process, or None if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def is_clock_synchronised() -> bool | None:
    """Return whether the kernel regards its clock as synchronised, or None if that is not known."""
    try:
        # With no mode set, the call only reads, which needs no right.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _read_links() -> dict[int, LinkState]:
    """Return the states of the interfaces by index; empty if the process may not read them."""
    try:
        links = KernelLinks()
    except OSError:
        return {}
    try:
        _, present = links.read()
    except OSError:
        return {}
    finally:
        links.close()
    return {state.index: state for state in present}


def _read_setting(interface: str, name: str) -> int | None:
    return read_number(f"/proc/sys/net/ipv4/conf/{interface}/{name}")


def _read_driver(name: str) -> str:
    """Return the name of an interface's driver; empty if it has none."""
    # struct ethtool_drvinfo begins with the command and the name of the driver.
    info = ctypes.create_string_buffer(struct.pack("I", _ETHTOOL_GDRVINFO), 196)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(info))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            fcntl.ioctl(handle, _SIOCETHTOOL, request)
        except OSError:
            return ""
    return info.raw[4:36].split(b"\0")[0].decode(errors="replace")
