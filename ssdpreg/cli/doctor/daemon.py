"""Checks of the running daemon. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.cli.doctor.processes import Process
from ssdpreg.registration.meta import META_SCOPE

_DAEMON = HostCheck("daemon")
_READY = HostCheck("ready")
_SCOPE = HostCheck("scope")
_OVERFLOWS = HostCheck("lost datagrams")

_START = "systemctl start ssdpreg, or twistd -n ssdpreg --config FILE"


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """
    Responses of the daemon's web server.

    :ivar url: Its URL; empty if ``web.endpoint`` is null, or is no TCP endpoint.
    :ivar problem: Reason why it does not respond; empty if it does.
    :ivar reasons: Reasons why it is not ready; empty if it is ready.
    :ivar metrics: Values of its metrics by name, without labels.
    :ivar hangs: Whether it accepts connections, and sends no response in time.
    :ivar is_other: Whether the server is another program.
    """

    url: str
    problem: str = ""
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    hangs: bool = False
    is_other: bool = False


def parse_endpoint(endpoint: str | None) -> str:
    """
    Return the URL of a Twisted server endpoint, as seen from this host.

    :param endpoint: Such as ``tcp:8580:interface=127.0.0.1``; None for no server.
    :return: The URL; empty if the endpoint is no TCP endpoint.
    """
    kind, _, rest = (endpoint or "").partition(":")
    if kind not in ("tcp", "tcp6"):
        return ""
    # A colon in a value, as in an IPv6 address, has a backslash before it.
    parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", rest)]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    port = named.get("port") or next((part for part in parts if part.isdecimal()), "")
    host = named.get("interface", "")
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1" if kind == "tcp" else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}" if port.isdecimal() else ""


def parse_reasons(body: str) -> tuple[str, ...]:
    """Return the reasons in the response of ``/readyz``."""
    return tuple(body.strip().removeprefix("not ready: ").split("; "))


def parse_metrics(text: str) -> dict[str, float]:
    """Return the sum of the values of each metric, in Prometheus' text format."""
    sums: dict[str, float] = {}
    for match in re.finditer(r"^(\w+)(?:\{.*\})? ([0-9.e+-]+)$", text, re.MULTILINE):
        sums[match[1]] = sums.get(match[1], 0.0) + float(match[2])
    return sums


def check_daemon(facts: DaemonFacts, process: Process | None) -> list[Finding]:
    """
    Check that the daemon runs, is ready, and has not lost datagrams.

    :param process: The process that receives announcements, if it is the daemon; None if it was not found.
    """
    found = "" if process is None else f"{process} receives announcements"
    if not facts.url:
        if process is not None:
            return [
                _DAEMON.ok("", found),
                _READY.skipped("", "web.endpoint is not a TCP port, so its state is not known"),
            ]
        return [_DAEMON.skipped("", "web.endpoint is not a TCP port, so it is not known whether it runs")]
    if facts.problem:
        if process is not None and facts.hangs:
            advice = "Look at its log and its CPU load, and restart it: systemctl restart ssdpreg"
            return [_DAEMON.fault("", f"{found}, but {facts.url} {facts.problem}", advice)]
        if process is not None:
            advice = "Look at its log, and compare web.endpoint with the configuration that the daemon uses"
            return [_DAEMON.warning("", f"{found}, but {facts.url} {facts.problem}", advice)]
        advice = f"Start it: {_START}"
        if facts.is_other:
            advice = f"Stop that program, or set web.endpoint to another port. {advice}"
        return [_DAEMON.fault("", f"not running: {facts.url} {facts.problem}", advice)]
    services = sum(value for name, value in facts.metrics.items() if name == "ssdpreg_services")
    summary = f"serves {facts.url}, with {services:.0f} live service{'' if services == 1 else 's'}"
    findings = [_DAEMON.ok("", f"{summary}; {found}" if found else summary)]
    findings.append(_check_ready(facts.reasons))
    if facts.metrics:
        findings.append(_check_overflows(facts.metrics))
    return findings


def check_scope(meta: Mapping[str, str] | None, scope: str, running: bool) -> list[Finding]:
    """
    Check which scope the daemon's own service in Consul has.

    :param meta: Meta of that service; None if it does not exist or is not visible.
    :param scope: Scope of this configuration.
    :param running: Whether a daemon runs on this host.
    """
    if meta is None:
        return [_SCOPE.skipped(scope, "Consul has no service of a daemon, or the token may not read it")]
    found = meta.get(META_SCOPE, "")
    version = meta.get("ssdpreg-version", "")
    if found != scope:
        return [_SCOPE.ok(scope, f"Consul's agent has the daemon of another scope, {found or 'none'}, too")]
    if not running:
        advice = "Start it here. If it runs in a container or on another host, set another backend.scope for this one"
        return [_SCOPE.warning(scope, f"a daemon of this scope is registered, but none runs here ({version})", advice)]
    return [_SCOPE.ok(scope, f"registered in Consul, version {version}")]


def _check_ready(reasons: tuple[str, ...]) -> Finding:
    if not reasons:
        return _READY.ok("", "the first searches are over, and the backend responds")
    text = "; ".join(reasons)
    if any("another daemon registers" in reason for reason in reasons):
        advice = "Stop one of both daemons, or give each a backend.scope of its own"
        return _READY.warning("", f"writes nothing: {text}", advice)
    if all(reason.startswith("waiting, this daemon does not write") for reason in reasons):
        return _READY.ok("", text)
    if all("first search" in reason for reason in reasons):
        return _READY.warning("", f"not settled: {text}", "Wait some seconds, and run this command again")
    return _READY.fault("", f"not ready: {text}", "See the section Consul above, and the log of the daemon")


def _check_overflows(metrics: Mapping[str, float]) -> Finding:
    lost = metrics.get("ssdpreg_receive_buffer_overflows_total", 0.0)
    interruptions = metrics.get("ssdpreg_reception_interruptions_total", 0.0)
    if lost:
        advice = "Raise net.core.rmem_max to 4194304, and restart the daemon"
        return _OVERFLOWS.warning("", f"{lost:.0f}, because a receive buffer was full", advice)
    if interruptions:
        return _OVERFLOWS.ok(
            "", f"none counted, but {interruptions:.0f} interruptions of the reception since its start"
        )
    return _OVERFLOWS.ok("", "none since its start")
