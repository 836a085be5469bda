"""Faults in catalog mode: of the servers, of the daemons that share a lock, and actions of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.consul import Answer
from tests.simulation.daemon import SCOPE
from tests.simulation.faults import ConsulFault, Fault, _answer, _replace, _set, reload_terms

#: Seconds until another daemon writes after the end of the holder.
_TAKE_OVER = 35.0
_OTHER_HOST = "host-3"


# The servers.


def _lossy(**attributes: float) -> Fault:
    """Return a fault in which some transactions have an unknown outcome."""
    name, share = next(iter(attributes.items()))

    def fault(world: Any) -> None:
        if world.consul_fault:
            return
        world.consul_fault = name
        world.checker.fault_began("", f"Consul: {name}")
        setattr(world.catalog, name, share)
        duration = world.random.uniform(5.0, 150.0)
        world.burst(world.random.randrange(4, 20), 0.9 * duration)

        def end() -> None:
            setattr(world.catalog, name, 0.0)
            world.consul_fault = ""
            world.consul_disturbed()
            world.checker.fault_ended("", f"Consul: {name}")

        world.clock.callLater(duration, end)

    return fault


def change_leader(world: Any) -> None:
    """Let a new leader begin: Consul answers nothing for some seconds, and all TTLs begin again."""

    def begin(catalog: Any) -> None:
        _answer(500, "No cluster leader")(catalog)

        def lead() -> None:
            catalog.server.restart_sessions()
            world.consul_disturbed()

        world.clock.callLater(3.0, lead)

    ConsulFault("new leader", begin, 12.0, total=True)(world)


def end_session(world: Any) -> None:
    """End the session of the writer, as an operator can do."""
    if world.consul_fault or world.holder_of(SCOPE) is None:
        return
    world.checker.disturb("Consul: the session of the writer ends")
    world.burst(6, 3.0)
    world.catalog.end_session_of(SCOPE)


def wipe(world: Any) -> None:
    """Restart the servers without their data."""

    def begin(catalog: Any) -> None:
        catalog.reachable = False
        world.checker.forget_operators()
        catalog.wipe()
        world.register_foreign()

    ConsulFault("restart without data", begin, 20.0, total=True)(world)


def _transactions_fail(status: int, text: str) -> Callable[[Any], None]:
    def fault(method: str, path: str, body: bytes) -> str | None:
        if path == "/v1/txn" and b'"check-session"' in body:
            raise Answer(status, text)
        return None

    return _set(fault=fault)


CATALOG_FAULTS: tuple[Fault, ...] = (
    ConsulFault("down", _set(reachable=False), total=True),
    ConsulFault("silent", _set(silent=True), total=True),
    ConsulFault("slow", _set(latency=(0.2, 9.0))),
    ConsulFault("no leader", _answer(500, "No cluster leader"), total=True),
    ConsulFault("429", _answer(429, ""), total=True),
    ConsulFault("429, Retry-After 5", _answer(429, "", "5"), total=True),
    ConsulFault("400 for all", _answer(400, "Request decode failed"), total=True),
    ConsulFault("403 for all", _answer(403, "Permission denied"), total=True),
    ConsulFault("404 for all", _answer(404, "404 page not found"), total=True),
    ConsulFault("HTML", _replace("<html>Log in</html>"), total=True),
    ConsulFault("null", _replace("null"), total=True),
    ConsulFault("empty listings", _replace("[]", "/v1/catalog/nodes")),
    ConsulFault("listings are hidden", _set(hidden=True)),
    ConsulFault("429 for transactions", _transactions_fail(429, "")),
    ConsulFault("400 for transactions", _transactions_fail(400, "Invalid request")),
    ConsulFault("403 for transactions", _transactions_fail(403, "Permission denied")),
    ConsulFault("restart with data", _set(reachable=False), 30.0, total=True),
    _lossy(lose_answers=0.4),
    _lossy(leader_lost=0.4),
    _lossy(lose_answers=0.4),
    _lossy(leader_lost=0.4),
    change_leader,
    change_leader,
    end_session,
    wipe,
)


# The daemons.


def _on_daemon(what: str, begin: Callable[[Any, str], None], end: Callable[[Any, str], None], longest: float) -> Fault:
    """Return a fault of the writer, or of the daemon that waits: the catalog stays right in the second case."""

    def fault(world: Any) -> None:
        hosts = [host for host in ("host-1", "host-2") if world.is_able(host)]
        if SCOPE in world.site_faults or len(hosts) < 2:
            return
        world.site_faults.add(SCOPE)
        holder = world.holder_of(SCOPE)
        host = world.random.choice(hosts)
        if holder is not None and world.random.random() < 0.7:
            host = holder.host
        writer = holder is None or holder.host == host
        duration = world.random.uniform(0.05, 1.0) * longest
        name = f"{what} of {'the writer' if writer else 'the waiting daemon'} on {host}"
        if writer:
            # Changes at the beginning are under way when the lock is lost.
            world.burst(world.random.randrange(4, 16), min(duration, 20.0))
            world.checker.fault_began("", name)
            world.clock.callLater(_TAKE_OVER, world.checker.fault_ended, "", name)
            if duration > 6.0:
                world.clock.callLater(world.random.uniform(0.0, 3.0), _begin_again, world, host, begin)
            else:
                begin(world, host)
        else:
            world.trace.add("", "fault", name)
            begin(world, host)

        def finish() -> None:
            end(world, host)
            world.able_again(host)
            world.trace.add("", "end of fault", name)
            world.site_faults.discard(SCOPE)

        world.clock.callLater(duration, finish)

    return fault


def _begin_again(world: Any, host: str, begin: Callable[[Any, str], None]) -> None:
    if host in world.running:
        begin(world, host)


def _kill(world: Any, host: str) -> None:
    world.kill_host(host)


def _stop(world: Any, host: str) -> None:
    world.stop_host(host)


def _start(world: Any, host: str) -> None:
    if host not in world.running:
        world.start_host(host)


def _suspend(world: Any, host: str) -> None:
    world.running[host].process.suspended = True


def _resume(world: Any, host: str) -> None:
    world.running[host].process.resume()


def _cut_off(keep: bool) -> Callable[[Any, str], None]:
    def begin(world: Any, host: str) -> None:
        world.catalog.cut_off[world.running[host].process] = keep

    return begin


def _reconnect(world: Any, host: str) -> None:
    world.catalog.reconnect(world.running[host].process)


def kill_site(world: Any) -> None:
    """Kill both daemons of the lock, or the daemon of the second site, for so long that the nodes may be removed."""
    first = world.random.random() < 0.4
    hosts = ["host-1", "host-2"] if first else [_OTHER_HOST]
    scope = SCOPE if first else "rack-8"
    if world.site_faults or any(not world.is_able(host) for host in hosts):
        return
    world.site_faults.add(scope)
    what = f"all daemons of {scope}: kill -9"
    if first:
        world.checker.fault_began("", what)
    else:
        world.trace.add("", "fault", what)
    for host in hosts:
        world.kill_host(host)
    duration = world.random.choice((40.0, 120.0, 300.0, 900.0, 1100.0)) * world.random.uniform(0.7, 1.0)

    def start() -> None:
        for host in hosts:
            world.start_host(host)
        world.site_faults.discard(scope)
        if first:
            world.checker.fault_ended("", what)
        else:
            world.trace.add("", "end of fault", what)

    world.clock.callLater(duration, start)


DAEMON_FAULTS: tuple[Fault, ...] = (
    _on_daemon("kill -9", _kill, _start, 90.0),
    _on_daemon("SIGTERM", _stop, _start, 60.0),
    _on_daemon("suspension", _suspend, _resume, 90.0),
    _on_daemon("suspension", _suspend, _resume, 400.0),
    _on_daemon("partition", _cut_off(False), _reconnect, 120.0),
    _on_daemon("partition with late arrival", _cut_off(True), _reconnect, 60.0),
    _on_daemon("partition with late arrival", _cut_off(True), _reconnect, 60.0),
    kill_site,
)


# Operators.


def _random_key(world: Any) -> tuple[str, str] | None:
    ids = sorted(world.catalog.services)
    return world.catalog.key_of(world.random.choice(ids)) if ids else None


def add_service(world: Any) -> None:
    """Register services of another program on nodes of devices, which leave soon. Later they are removed."""
    key = _random_key(world)
    if key is None or world.consul_fault:
        return
    world.trace.add("", "operator", f"adds a service to {key[0]}")
    service = {"ID": "exporter", "Service": "exporter", "Port": 9100, "Meta": {"operator": "x"}}
    world.catalog.transact([{"Service": {"Verb": "set", "Node": key[0], "Service": service}}])
    device = next((each for each in world.devices if each.device_id == key[0]), None)
    if device is not None and device.on and world.random.random() < 0.7:
        world.clock.callLater(world.random.uniform(40.0, 300.0), world.leave_for_long, device)

    def remove() -> None:
        world.checker.operator_removed((key[0], "exporter"))
        operation = {
            "Service": {"Verb": "delete", "Node": key[0], "Service": {"ID": "exporter", "Service": "exporter"}}
        }
        world.catalog.transact([operation])

    world.clock.callLater(world.random.uniform(600.0, 3000.0), remove)


def delete_service(world: Any) -> None:
    """Deregister a service of a device by hand."""
    key = _random_key(world)
    if key is not None:
        world.disturb_contents("operator: deregisters a service")
        service = {"ID": key[1], "Service": key[1]}
        world.catalog.transact([{"Service": {"Verb": "delete", "Node": key[0], "Service": service}}])


def edit_service(world: Any) -> None:
    """Change a service of a device by hand."""
    key = _random_key(world)
    if key is not None:
        world.disturb_contents("operator: changes a service")
        service = {**world.catalog.state.services[key], "Port": 1}
        world.catalog.transact([{"Service": {"Verb": "set", "Node": key[0], "Service": service}}])


def delete_node(world: Any) -> None:
    """Deregister the node of a device by hand."""
    key = _random_key(world)
    if key is None or any(each == (key[0], "exporter") for each in world.catalog.state.services):
        return
    world.checker.disturb("operator: deregisters a node")
    world.catalog.transact([{"Node": {"Verb": "delete", "Node": {"Node": key[0]}}}])


def delete_lock(world: Any) -> None:
    """Remove the key of the lock by hand. The session of its holder goes on."""
    if not world.consul_fault:
        world.checker.disturb("operator: removes the key of the lock")
        world.catalog.delete_lock(SCOPE)


CATALOG_OPERATORS: tuple[Fault, ...] = (
    add_service,
    add_service,
    add_service,
    delete_service,
    edit_service,
    delete_node,
    delete_lock,
    reload_terms,
)
