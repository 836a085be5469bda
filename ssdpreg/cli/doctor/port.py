"""Checks of UDP port 1900: its owners, and the datagrams that were dropped there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.cli.doctor.kernel import UDPSocket
from ssdpreg.cli.doctor.processes import Process
from ssdpreg.ssdp.messages import ALL_RECEIVED_GROUPS, PORT

_PORT = HostCheck("port")
_SUBJECT = f"UDP {PORT}"
_DROPS = HostCheck("drops")


def check_port(
    sockets: Sequence[UDPSocket], owners: Mapping[int, Process], in_use: Collection[int], root: bool
) -> list[Finding]:
    """
    Check that the daemon can share the port.

    :param sockets: All sockets that are bound to the port, except those of this process.
    :param owners: Processes by the inode of the socket.
    :param in_use: IP versions over which this process could not bind to the port, although it shares it.
    :param root: Whether this process may see the owners of all sockets.
    """
    holders = list(dict.fromkeys(_describe(each, owners) for each in sockets if not in_use or _conflicts(each, in_use)))
    if in_use:
        who = " and ".join(holders) or "another program"
        advice = "Stop it, or configure it to share the port (SO_REUSEADDR)"
        if not root:
            advice += ". Run this command as root to see its name and process ID"
        over = " over IPv6" if 4 not in in_use else ""
        return [_PORT.fault(_SUBJECT, f"held exclusively{over} by {who}", advice)]
    if not holders:
        return [_PORT.ok(_SUBJECT, "free")]
    return [_PORT.ok(_SUBJECT, f"shared by {', '.join(holders)}")]


def check_drops(sockets: Sequence[UDPSocket], owners: Mapping[int, Process]) -> list[Finding]:
    """
    Check that the kernel dropped no datagram of the daemon.

    :param sockets: All sockets that are bound to the port, except those of this process.
    :param owners: Processes by the inode of the socket.
    """
    groups = [each for each in sockets if each.address in ALL_RECEIVED_GROUPS]
    of_daemon = [each for each in groups if (owner := owners.get(each.inode)) and owner.is_daemon]
    examined = of_daemon or groups
    if not examined:
        return [_DROPS.skipped(_SUBJECT, "no program receives announcements now")]
    drops = sum(each.drops for each in examined)
    # The kernel counts since the socket was opened.
    whose = "the daemon" if of_daemon else " and ".join(dict.fromkeys(_describe(each, owners) for each in examined))
    if drops:
        return [
            _DROPS.warning(
                _SUBJECT,
                f"the kernel dropped {drops} datagrams for {whose}, because a receive buffer was full",
                "Raise net.core.rmem_max to 4194304, restart the daemon, and look for a load on this host",
            )
        ]
    return [_DROPS.ok(_SUBJECT, f"the kernel dropped no datagram for {whose}")]


def find_daemon(owners: Mapping[int, Process]) -> Process | None:
    """Return the daemon, if one of the owners is the daemon."""
    return next((process for process in owners.values() if process.is_daemon), None)


def _conflicts(bound: UDPSocket, versions: Collection[int]) -> bool:
    """Return whether a socket that is not shared prevents a socket for a group of one of these IP versions."""
    address = ip_address(bound.address)
    if address.is_unspecified:
        # A socket that is bound to any IPv6 address may receive datagrams over IPv4, too.
        return address.version == 6 or 4 in versions
    return address.version in versions and bound.address in ALL_RECEIVED_GROUPS


def _describe(bound: UDPSocket, owners: Mapping[int, Process]) -> str:
    owner = owners.get(bound.inode)
    return f"a program of user {bound.uid}" if owner is None else str(owner)
