"""Faults of Consul, the network and the daemon, and actions of operators: each begins, lasts, and ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation import bounds
from tests.simulation.consul import Answer, SimulatedConsul
from tests.simulation.daemon import Daemon, supports_instances
from tests.simulation.devices import MEDIA
from tests.simulation.network import Segment
from tests.simulation.operators import remove_most_terms

if TYPE_CHECKING:
    from tests.simulation.world import World

#: A function that begins a fault for some seconds.
Fault = Callable[["World"], None]
_Requests = Callable[[str, str, bytes], str | None]


class ConsulFault:
    """
    A fault of Consul with a beginning and an end.

    :param what: Name in the record of events.
    :param begin: Called with the Consul at the beginning.
    :param longest: Longest duration in seconds.
    :param total: Whether Consul serves no request.
    """

    def __init__(
        self, what: str, begin: Callable[[SimulatedConsul], None], longest: float = 150.0, *, total: bool = False
    ) -> None:
        self.what, self._begin, self._longest, self._total = what, begin, longest, total

    def __call__(self, world: World) -> None:
        consul = world.consul
        if world.consul_fault:
            return
        world.consul_fault = self.what
        world.checker.fault_began("", f"Consul: {self.what}")
        self._begin(consul)
        if self._total:
            world.outage_since = world.clock.seconds()
        measured = self._total and world.daemon is not None and "Retry-After" not in self.what and not consul.silent
        if measured and isinstance(consul, SimulatedConsul):
            consul.pauses.begin(world.checker.daemon_began_at)
        duration = world.random.uniform(3.0, self._longest)
        # Changes during the fault show whether it has an effect later.
        world.burst(world.random.randrange(1, 9), 0.9 * duration)

        def end() -> None:
            consul.reachable, consul.silent, consul.hidden, consul.fault = True, False, False, None
            consul.only_own = False
            if measured and isinstance(consul, SimulatedConsul):
                world.check_pauses()
            world.outage_since = math.inf
            consul.latency = (0.001, 0.02)
            world.consul_fault = ""
            world.checker.fault_ended("", f"Consul: {self.what}")

        world.clock.callLater(duration, end)


def _set(**attributes: Any) -> Callable[[SimulatedConsul], None]:
    def begin(consul: SimulatedConsul) -> None:
        for name, value in attributes.items():
            setattr(consul, name, value)

    return begin


def _answer(status: int, text: str, retry_after: str | None = None) -> Callable[[SimulatedConsul], None]:
    def fault(method: str, path: str, body: bytes) -> str | None:
        raise Answer(status, text, retry_after)

    return _set(fault=fault)


def _replace(text: str, only: str = "") -> Callable[[SimulatedConsul], None]:
    def fault(method: str, path: str, body: bytes) -> str | None:
        return text if path.startswith(only) else None

    return _set(fault=fault)


def _fail_listings(consul: SimulatedConsul) -> None:
    def fault(method: str, path: str, body: bytes) -> str | None:
        if path in ("/v1/agent/services", "/v1/agent/checks"):
            raise Answer(500, "No cluster leader")
        return None

    consul.fault = _pass_keep_alives(fault)


def _pass_keep_alives(fault: _Requests) -> _Requests:
    """Mark a fault that lets keep-alives pass."""
    fault.passes_keep_alives = True  # type: ignore[attr-defined]
    return fault


def _fail_writes(status: int, text: str) -> Callable[[SimulatedConsul], None]:
    def fault(method: str, path: str, body: bytes) -> str | None:
        if method == "PUT" and "/check/pass/" not in path:
            raise Answer(status, text)
        return None

    fault.refuses_writes = True  # type: ignore[attr-defined]
    return _set(fault=_pass_keep_alives(fault))


CONSUL_FAULTS: tuple[Fault, ...] = (
    ConsulFault("down", _set(reachable=False), total=True),
    ConsulFault("silent", _set(silent=True), total=True),
    ConsulFault("slow", _set(latency=(0.2, 9.0))),
    ConsulFault("very slow", _set(latency=(8.0, 14.0))),
    ConsulFault("no leader", _answer(500, "No cluster leader"), total=True),
    ConsulFault("429", _answer(429, ""), total=True),
    ConsulFault("429, Retry-After 5", _answer(429, "", "5"), total=True),
    ConsulFault("429, Retry-After 120", _answer(429, "", "120"), total=True),
    ConsulFault("429, Retry-After absurd", _answer(429, "", "999999999"), total=True),
    ConsulFault("503, Retry-After is a date", _answer(503, "", "Wed, 21 Oct 2037 07:28:00 GMT"), total=True),
    ConsulFault("400 for all", _answer(400, "Request decode failed"), total=True),
    ConsulFault("403 for all", _answer(403, "Permission denied"), total=True),
    ConsulFault("404 for all", _answer(404, "404 page not found"), total=True),
    ConsulFault("301 for all", _answer(301, "Moved"), total=True),
    ConsulFault("500 Unknown check for all", _answer(500, 'Unknown check "x"'), total=True),
    ConsulFault("403 for writes", _fail_writes(403, "Permission denied")),
    ConsulFault("400 for writes", _fail_writes(400, "Invalid request")),
    ConsulFault("404 for writes", _fail_writes(404, "404 page not found")),
    ConsulFault("301 for writes", _fail_writes(301, "Moved")),
    ConsulFault("listings have only the daemon", _set(only_own=True)),
    ConsulFault("listings fail", _fail_listings),
    ConsulFault("listings are empty", _set(hidden=True)),
    ConsulFault("HTML", _replace("<html>Log in</html>"), total=True),
    ConsulFault("empty object", _replace("{}", "/v1/agent/services")),
    ConsulFault("null", _replace("null"), total=True),
    ConsulFault("malformed services", _replace('{"ssdpreg-x": null, "ssdpreg": []}', "/v1/agent/service")),
)


def refuse_one(world: World) -> None:
    """Let Consul refuse one service for some time."""
    consul = world.consul
    if world.consul_fault or not world.devices:
        return
    device = world.random.choice(world.devices)
    ids = world.checker.service_ids(device)
    if not ids:
        return
    world.consul_fault = "400 for one"
    duration = world.random.uniform(30.0, 300.0)
    # It is tried again after 30 s, then after twice as long each time.
    world.checker.excuse(ids[0], world.clock.seconds() + 3 * duration + 120.0)
    status, text = world.random.choice(
        ((400, "Invalid Service Meta"), (403, "Permission denied"), (404, "not found"), (500, "Internal error"))
    )
    world.trace.add("", "fault", f"Consul: {status} for {ids[0]}")

    def fault(method: str, path: str, body: bytes) -> str | None:
        if (path.endswith("/register") and ids[0].encode() in body) or path.endswith(f"/deregister/{ids[0]}"):
            raise Answer(status, text)
        return None

    def end() -> None:
        if consul.fault is fault:
            consul.fault = None
            world.consul_fault = ""
            world.trace.add("", "end of fault", "Consul: 400 for one")

    consul.fault = _pass_keep_alives(fault)
    world.clock.callLater(duration, end)


def restart_consul(world: World) -> None:
    """Restart the agent with its data: it is away for some seconds."""
    ConsulFault("restart with data", _set(reachable=False), 30.0)(world)


def wipe_consul(world: World) -> None:
    """Restart the agent without its data."""

    def begin(consul: SimulatedConsul) -> None:
        consul.reachable = False
        consul.clear()
        world.register_foreign()

    ConsulFault("restart without data", begin, 20.0)(world)


def replace_token(world: World) -> None:
    """Replace the token of the daemon in the file, and revoke the old one, while many requests are under way."""
    consul, now = world.consul, world.clock.seconds()
    if world.consul_fault:
        return
    world.consul_fault = "token replaced"
    world.trace.add("", "fault", "Consul: the token is replaced")
    consul.latency = (0.3, 1.5)
    world.burst(30, 3.0)
    world.checker.slow_until = now + 10.0 + bounds.NEW_TOKEN

    def replace() -> None:
        consul.token_file = f"token-{now:.0f}"
        consul.tokens = {consul.token_file: True}

    def end() -> None:
        consul.latency = (0.001, 0.02)
        world.consul_fault = ""

    world.clock.callLater(world.random.uniform(2.0, 4.0), replace)
    world.clock.callLater(10.0, end)


def limit_token(world: World) -> None:
    """Take the right to write from the token. Later the file has another token, which may write."""
    consul = world.consul
    if world.consul_fault:
        return
    world.consul_fault = "token limited"
    world.checker.fault_began("", "Consul: the token may not write")
    duration = world.random.uniform(20.0, 240.0)
    world.burst(8, 0.9 * duration)
    consul.tokens = {consul.token_file: False}

    def end() -> None:
        consul.token_file = f"token-{world.clock.seconds():.0f}"
        consul.tokens[consul.token_file] = True
        world.consul_fault = ""
        world.checker.fault_ended("", "Consul: the token may not write", bounds.NEW_TOKEN)

    world.clock.callLater(duration, end)


# The network.


def _on_segment(
    what: str, longest: float, begin: Callable[[Segment, World], None], end: Callable[[Segment], None]
) -> Fault:
    def fault(world: World) -> None:
        segment = world.random.choice(world.network.segments)
        if segment.name in world.segment_faults:
            return
        world.segment_faults[segment.name] = what
        world.checker.fault_began(segment.name, what)
        begin(segment, world)

        def finish() -> None:
            end(segment)
            del world.segment_faults[segment.name]
            world.checker.fault_ended(segment.name, what)

        duration = world.random.uniform(2.0, longest)
        # Changes that the daemon does not receive show whether it searches afterwards.
        world.burst(world.random.randrange(1, 6), duration, segment)
        world.clock.callLater(duration, finish)

    return fault


def _carrier(segment: Segment, present: bool) -> None:
    segment.carrier = present


def _presence(segment: Segment, present: bool) -> None:
    segment.present = present


def _lose(segment: Segment, world: World) -> None:
    segment.loss = world.random.choice((0.1, 0.2, 0.4))


def _delay(segment: Segment, world: World) -> None:
    segment.delay = (0.0, world.random.choice((0.2, 1.0)))


def _duplicate(segment: Segment, world: World) -> None:
    segment.duplicates = 0.5


def _overflow(segment: Segment, world: World) -> None:
    segment.overflow = 0.9


def _normal(segment: Segment) -> None:
    segment.overflow = 0.0
    segment.loss, segment.delay, segment.duplicates = segment.normal_loss, (0.0002, 0.005), 0.0


NETWORK_FAULTS: tuple[Fault, ...] = (
    _on_segment("no carrier", 900.0, lambda s, w: _carrier(s, False), lambda s: _carrier(s, True)),
    _on_segment("carrier flaps", 8.0, lambda s, w: _carrier(s, False), lambda s: _carrier(s, True)),
    _on_segment("interface removed", 600.0, lambda s, w: _presence(s, False), lambda s: _presence(s, True)),
    _on_segment("loss", 600.0, _lose, _normal),
    _on_segment("delay and reordering", 600.0, _delay, _normal),
    _on_segment("duplicates", 600.0, _duplicate, _normal),
    _on_segment("receive buffer overflow", 20.0, _overflow, _normal),
)


# The daemon.


def kill_daemon(world: World) -> None:
    """Kill the daemon, and start it again after some seconds."""
    if world.daemon is None or world.daemon.process.suspended:
        return
    world.checker.fault_began("", "daemon: kill -9")
    world.kill_daemon()
    world.clock.callLater(world.random.uniform(0.5, 70.0), _start_again, world, "daemon: kill -9")


def restart_daemon(world: World) -> None:
    """Stop the daemon as SIGTERM does, and start it again."""
    if world.daemon is None or world.daemon.process.suspended:
        return
    world.checker.fault_began("", "daemon: restart")
    world.stop_daemon()
    world.clock.callLater(world.random.uniform(0.2, 5.0), _start_again, world, "daemon: restart")


def _start_again(world: World, what: str) -> None:
    world.start_daemon()
    world.checker.fault_ended("", what)


def suspend_daemon(world: World) -> None:
    """Suspend the process for some time, as SIGSTOP or a paused virtual machine does."""
    daemon = world.daemon
    if daemon is None or daemon.process.suspended:
        return
    daemon.process.suspended = True
    world.checker.fault_began("", "daemon: suspended")

    def resume() -> None:
        daemon.process.resume()
        world.checker.fault_ended("", "daemon: suspended")

    longest = world.random.choice((5.0, 80.0, 400.0, 1500.0, 3000.0))
    world.clock.callLater(world.random.uniform(longest / 3, longest), resume)


def start_second_daemon(world: World) -> None:
    """Run a second daemon with the same scope until the next fault, or for some time. Then one of the two is killed."""
    if world.daemon is None or world.second is not None or not supports_instances():
        return
    if world.checker.undisturbed_for < 60.0:
        # The check of the first daemon may have expired, so the second one may take over.
        return
    world.start_second_daemon()
    second = world.second

    def end() -> None:
        if world.second is not second:
            # A fault of another kind ended it before.
            return
        if world.random.random() < 0.5:
            world.take_over()
        else:
            world.end_second_daemon()

    world.clock.callLater(world.random.uniform(60.0, 900.0), end)


def fail_adoption(world: World) -> None:
    """Restart the daemon, and let its first adoptions raise an exception."""
    if world.daemon is None or world.daemon.process.suspended:
        return
    what = "daemon: its adoption fails"
    world.checker.fault_began("", what)
    world.kill_daemon()
    failures = world.random.randrange(1, 4)

    def start() -> None:
        world.start_daemon(failures)
        end(world.daemon)

    def end(daemon: Daemon | None) -> None:
        # A fault of Consul delays the adoptions.
        if daemon is not None and daemon is world.daemon and daemon.failing_adoptions:
            world.clock.callLater(5.0, end, daemon)
        else:
            world.clock.callLater(31.0, world.checker.fault_ended, "", what)

    world.clock.callLater(world.random.uniform(0.5, 5.0), start)


DAEMON_FAULTS: tuple[Fault, ...] = (
    kill_daemon,
    restart_daemon,
    suspend_daemon,
    suspend_daemon,
    start_second_daemon,
    fail_adoption,
)


# Operators.


def set_maintenance(world: World) -> None:
    """
    Set the maintenance mode of a service, of the daemon or of another program.

    The device of the service moves soon, so that the daemon registers it again. The entry of the daemon itself is left
    out: in its maintenance mode Consul removes all services of the daemon, as docs/operations.md says.
    """
    consul = world.consul
    service_ids = sorted(consul.services.keys() - {"ssdpreg"})
    if not service_ids:
        return
    service_id = world.random.choice(service_ids)
    world.trace.add("", "operator", f"maintenance mode of {service_id}")
    consul.put_check(f"_service_maintenance:{service_id}", service_id, "critical", "maintenance")
    device = world.checker.device_of(service_id)
    if device is not None and device.kind.move:
        world.clock.callLater(world.random.uniform(5.0, 60.0), world.move_now, device)


def delete_service(world: World) -> None:
    """Deregister a service of the daemon by hand."""
    ids = sorted(each for each in world.consul.services if each.startswith("ssdpreg-"))
    if ids:
        world.checker.disturb("operator: deregisters a service")
        world.consul.remove_service(world.random.choice(ids), "operator")


def edit_service(world: World) -> None:
    """Change a service of the daemon by hand."""
    ids = sorted(each for each in world.consul.services if each.startswith("ssdpreg-"))
    if ids:
        world.checker.disturb("operator: changes a service")
        service_id = world.random.choice(ids)
        world.consul.put_service(service_id, {**world.consul.services[service_id], "Port": 1}, "operator")


def delete_own_service(world: World) -> None:
    """Deregister the service that represents the daemon."""
    world.checker.disturb("operator: deregisters the daemon")
    world.consul.remove_service("ssdpreg", "operator")


def reload_terms(world: World) -> None:
    """Remove or add a search term, as SIGHUP does after a change of the configuration."""
    if world.daemon is None or world.daemon.process.suspended:
        return
    terms = dict(world.terms)
    if MEDIA in terms:
        del terms[MEDIA]
    else:
        terms[MEDIA] = "Media"
    world.trace.add("", "operator", f"reload with {len(terms)} terms")
    world.set_terms(terms)


OPERATORS: tuple[Fault, ...] = (
    set_maintenance,
    set_maintenance,
    delete_service,
    edit_service,
    delete_own_service,
    reload_terms,
    remove_most_terms,
)
CONSUL_FAULTS += (
    refuse_one,
    refuse_one,
    restart_consul,
    wipe_consul,
    replace_token,
    replace_token,
    limit_token,
    limit_token,
)
