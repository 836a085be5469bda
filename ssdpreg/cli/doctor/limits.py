"""Checks of the limits of this host: receive buffer, descriptors and clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.ssdp.socket_options import RECEIVE_BUFFER

_BUFFER = HostCheck("receive buffer")
_DESCRIPTORS = HostCheck("descriptors")
_CLOCK = HostCheck("clock")

#: Bytes below which replies of a few dozen devices overflow the buffer.
_SMALL_BUFFER = 128 * 1024
#: Descriptors for all 256 connections of the web server, as in ``ssdpreg/web/connections.py``, and for those that the
#: daemon has besides.
_WANTED_DESCRIPTORS = 2 * 256 + 64
#: Descriptors without which sockets for searches and connections to Consul fail.
_FEWEST_DESCRIPTORS = 128
#: Seconds. Consul's Date is in whole seconds, and the request takes some time.
_LARGEST_SKEW = 5.0


@dataclass(frozen=True, slots=True)
class Clock:
    """
    State of the clock.

    :ivar synchronised: Whether the kernel regards it as synchronised, or None if that is not known.
    :ivar skew: Seconds by which it is ahead of Consul's clock, or None if that is not known.
    :ivar tls: Whether Consul's certificate is verified, which needs the right time.
    """

    synchronised: bool | None
    skew: float | None = None
    tls: bool = False


def check_receive_buffer(rmem_max: int | None, privileged: bool) -> list[Finding]:
    """
    Check that the daemon gets a receive buffer for the replies of all devices.

    :param rmem_max: The kernel's limit ``net.core.rmem_max`` in bytes, or None if it is not known.
    :param privileged: Whether the running daemon has CAP_NET_ADMIN, for which the limit does not count.
    """
    if rmem_max is None:
        return [_BUFFER.skipped("", "net.core.rmem_max is not visible here")]
    limit = f"net.core.rmem_max is {_kilobytes(rmem_max)}"
    if privileged:
        return [_BUFFER.ok("", f"{_kilobytes(RECEIVE_BUFFER)}: the daemon has CAP_NET_ADMIN, and {limit}")]
    if rmem_max >= RECEIVE_BUFFER:
        return [_BUFFER.ok("", limit)]
    advice = f"Run: sysctl -w net.core.rmem_max={RECEIVE_BUFFER}, and add it to /etc/sysctl.d/"
    if rmem_max < _SMALL_BUFFER:
        return [_BUFFER.fault("", f"{limit}: replies of some dozens of devices are lost", advice)]
    return [_BUFFER.warning("", f"{limit}: replies of some hundreds of devices can be lost", advice)]


def check_descriptors(limit: int | None, running: bool) -> list[Finding]:
    """
    Check the limit of open descriptors.

    :param limit: Soft limit of the daemon, or of this process if it is not known; None for no limit.
    :param running: Whether it is the limit of the daemon.
    """
    whose = "the daemon may open" if running else "a process of this user may open"
    if limit is None:
        return [_DESCRIPTORS.ok("", f"{whose} any number")]
    advice = "Set LimitNOFILE=1024 in the unit of the daemon (ulimit -n 1024), and restart it"
    if limit < _FEWEST_DESCRIPTORS:
        return [_DESCRIPTORS.fault("", f"{whose} {limit}: sockets and connections to Consul will fail", advice)]
    if limit < _WANTED_DESCRIPTORS:
        return [_DESCRIPTORS.warning("", f"{whose} {limit}: its web server accepts fewer than 256 clients", advice)]
    return [_DESCRIPTORS.ok("", f"{whose} {limit}")]


def check_clock(clock: Clock) -> list[Finding]:
    """Check that the clock is right, as far as that matters: discovery itself does not need the time of day."""
    advice = "Start a time service, such as systemd-timesyncd or chrony: timedatectl set-ntp true"
    if clock.skew is not None and abs(clock.skew) > _LARGEST_SKEW:
        direction = "ahead of" if clock.skew > 0 else "behind"
        finding = f"{abs(clock.skew):.0f} s {direction} the clock of Consul"
        if clock.tls:
            finding += ", so that valid certificates may be rejected"
        return [_CLOCK.warning("", finding, f"Compare both clocks with a third one. {advice}")]
    agrees = "" if clock.skew is None else "; it agrees with the clock of Consul"
    if clock.synchronised is None:
        return [_CLOCK.skipped("", f"its synchronisation is not known{agrees}")]
    if clock.synchronised:
        return [_CLOCK.ok("", f"synchronised{agrees}")]
    if clock.tls:
        return [_CLOCK.warning("", "not synchronised, which the verification of certificates needs", advice)]
    return [_CLOCK.ok("", f"not synchronised, which matters only for the times in logs{agrees}")]


def _kilobytes(number: int) -> str:
    return f"{number // 1024} kB"
