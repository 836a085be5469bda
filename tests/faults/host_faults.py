"""Rows about the hosts: Consul or the daemon stopped, killed or doubled, and networks without a connection."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.devices import URN
from tests.faults.row import Row
from tests.faults.world import Measurement, World
from tests.support.consul import find_consul
from tests.support.hosts import Host, Program
from tests.support.waiting import wait_until

#: Devices in a rack with many of them, those that come during the fault, and devices at one address.
MANY, MORE, PER_ADDRESS = 500, 50, 5
#: Lifetime of announcements that is shorter than the fault.
_SHORT_MAX_AGE = 20


def consul_stopped(row: Row, seconds: float) -> None:
    """Stop Consul with SIGSTOP, while 50 devices come to 500."""
    with World() as world:
        devices = world.start(MANY, per_address=PER_ADDRESS)
        measurement = Measurement(world, row, devices)
        world.consul.signal(signal.SIGSTOP)
        world.devices.start(*world.new_devices(MORE, PER_ADDRESS))
        # 60 s in the long form.
        time.sleep(seconds * 4 / 3)
        world.consul.signal(signal.SIGCONT)
        measurement.wait_until_equal()


def consul_wiped(row: Row, seconds: float) -> None:
    """Kill Consul, and start it without its data, while 50 devices come to 500."""
    with World() as world:
        world.start(MANY, per_address=PER_ADDRESS)
        # Consul itself loses the services, and the check of the daemon.
        measurement = Measurement(world, row, None)
        row.critical = None
        world.consul.kill()
        world.devices.start(*world.new_devices(MORE, PER_ADDRESS))
        time.sleep(seconds / 3)
        world.rack.start_consul()
        measurement.wait_until_equal()
        row.critical = None


def daemon_killed(row: Row, seconds: float) -> None:
    """Kill the daemon five times, and start it again at once."""
    # Each start logs the configuration and the interfaces.
    row.max_lines = None
    with World() as world:
        devices = world.start(40)
        time.sleep(5)
        before = world.rack.catalog()
        measurement = Measurement(world, row, devices)
        for _ in range(5):
            world.daemon.kill()
            world.start_daemon()
            time.sleep(max(2.0, seconds / 10))
        measurement.wait_until_equal()
        after = world.rack.catalog()
        rewritten = sum(after.get(service_id) != entry for service_id, entry in before.items())
        row.details = f"{rewritten} of {len(before)} entries of the catalog rewritten"
        if rewritten:
            row.faults.append(row.details)


def daemon_stopped(row: Row, seconds: float) -> None:
    """Stop the daemon with SIGSTOP for longer than the max-age of devices that only answer searches."""
    with World() as world:
        devices = world.start(40, max_age=_SHORT_MAX_AGE, announces=False)
        # The searches at 80 % of max-age keep them registered.
        time.sleep(_SHORT_MAX_AGE * 1.2)
        measurement = Measurement(world, row, devices)
        world.daemon.signal(signal.SIGSTOP)
        time.sleep(_longer(seconds))
        world.daemon.signal(signal.SIGCONT)
        measurement.wait_until_equal(hold=_SHORT_MAX_AGE * 1.5)
        # The daemon itself was stopped.
        row.critical = row.slowest = None


def interface_unplugged(row: Row, seconds: float) -> None:
    """Disconnect the network card of the rack server for longer than max-age."""
    _without_network(row, _longer(seconds), Host.unplug, Host.plug)


def interface_down(row: Row, seconds: float) -> None:
    """Set the interface of the rack server down for longer than max-age."""
    _without_network(
        row,
        _longer(seconds),
        lambda host: host.call(["ip", "link", "set", "eth0", "down"]),
        lambda host: host.call(["ip", "link", "set", "eth0", "up"]),
    )


def interface_flap(row: Row, seconds: float) -> None:
    """Disconnect the network card of the rack server for 3 s."""
    _without_network(row, 3.0, Host.unplug, Host.plug)


def interface_renumbered(row: Row, seconds: float) -> None:
    """Give the rack server another address."""
    _without_network(row, 1.0, lambda host: host.move("10.77.0.5"), lambda host: None)


def _longer(seconds: float) -> float:
    """Return a duration that is longer than the short max-age and its grace time, and 60 s in the long form."""
    return max(seconds * 4 / 3, _SHORT_MAX_AGE * 1.5)


def _without_network(
    row: Row, seconds: float, disconnect: Callable[[Host], object], connect: Callable[[Host], object]
) -> None:
    row.keeps_alive = True
    with World() as world:
        # Half of the devices announce themselves, and half only answer searches.
        silent = world.new_devices(20, max_age=_SHORT_MAX_AGE, announces=False)
        world.devices.start(*silent)
        devices = world.start(20, max_age=_SHORT_MAX_AGE)
        measurement = Measurement(world, row, [*devices, *silent])
        disconnect(world.rack.host)
        time.sleep(seconds)
        connect(world.rack.host)
        measurement.wait_until_equal(hold=_SHORT_MAX_AGE * 1.5)


def moved_and_left(row: Row, seconds: float) -> None:
    """Move devices to other addresses without a byebye. Later they leave, with a byebye from there."""
    row.keeps_alive = True
    with World() as world:
        devices = world.start(40)
        leaving = devices[:10]
        measurement = Measurement(world, row, devices[10:])
        for device in leaving:
            world.devices.move(device, world.devices.new_address())
        # Two search rounds show which address the devices have now.
        time.sleep(max(seconds / 2, 15))
        world.devices.stop(*leaving)
        measurement.wait_until_equal()


def three_servers(row: Row, seconds: float) -> None:
    """Kill two of three Consul servers, so that the cluster has no leader."""
    with World() as world:
        others = [world.lan.host(f"10.77.0.{number}") for number in (6, 7)]
        servers = [_start_server(world, host) for host in (world.rack.host, *others)]
        world.rack.consul = servers[0]
        wait_until(world.rack._has_node, 60, what="node in the catalog")
        devices = world.start(40)
        measurement = Measurement(world, row, devices[10:])
        for server in servers[1:]:
            server.kill()
        time.sleep(seconds / 4)
        world.devices.start(*world.new_devices(10))
        world.devices.stop(*devices[:10])
        # 40 s in the long form.
        time.sleep(seconds * 8 / 9 - seconds / 4)
        for host in others:
            _start_server(world, host)
        measurement.wait_until_equal()


def _start_server(world: World, host: Host) -> Program:
    binary = find_consul()
    assert binary is not None
    path = world.folder / f"server-{host.address}.json"
    config = {
        "server": True,
        "bootstrap_expect": 3,
        "bind_addr": host.address,
        "data_dir": str(world.folder / f"data-{host.address}"),
        "retry_join": ["10.77.0.2", "10.77.0.6", "10.77.0.7"],
        "retry_interval": "1s",
        "disable_update_check": True,
        "performance": {"raft_multiplier": 1},
    }
    path.write_text(json.dumps(config))
    return host.run([binary, "agent", f"-node=server-{host.address.replace('.', '-')}", f"-config-file={path}"])


def token_replaced(row: Row, seconds: float) -> None:
    """Revoke the token of the daemon. Later its file holds a new one."""
    _rotate(row, seconds, 'service_prefix "" { policy = "write" }', revoke=True)


def token_extended(row: Row, seconds: float) -> None:
    """Replace a token without rights on the devices' services, which stays valid, by one with these rights."""
    _rotate(row, seconds, 'service "ssdpreg" { policy = "write" } service_prefix "" { policy = "read" }', revoke=False)


def _rotate(row: Row, seconds: float, rules: str, revoke: bool) -> None:
    with World() as world:
        world.token = _start_consul_with_acl(world)
        token_file = world.folder / "token"
        token_file.write_text("")
        accessor, secret = _new_token(world, rules)
        token_file.write_text(secret)
        devices = world.start(40 if revoke else 0, {"token_file": str(token_file)})
        measurement = Measurement(world, row, devices[10:])
        if revoke:
            _request(world, "DELETE", f"/v1/acl/token/{accessor}")
            world.devices.stop(*devices[:10])
        world.devices.start(*world.new_devices(20))
        time.sleep(seconds)
        _write_at_once(token_file, _new_token(world, 'service_prefix "" { policy = "write" }')[1])
        measurement.wait_until_equal()
        if not revoke:
            row.untouched, row.lowest = 0, None


def _write_at_once(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _start_consul_with_acl(world: World) -> str:
    """Start Consul with ACLs, and return a token with all rights."""
    binary = find_consul()
    assert binary is not None
    config = world.folder / "acl.json"
    config.write_text(json.dumps({"acl": {"enabled": True, "default_policy": "deny"}}))
    command = [binary, "agent", "-dev", "-bind=127.0.0.1", "-log-level=warn", f"-config-file={config}"]
    world.rack.consul = world.rack.host.run(command)

    def bootstrap() -> str:
        try:
            answer = world.rack.host.http("/v1/acl/bootstrap", method="PUT")
        except OSError:
            return ""
        return str(answer.json()["SecretID"]) if answer.status == 200 else ""

    return wait_until(bootstrap, 30, what="ACL system of the Consul agent")


def _new_token(world: World, rules: str) -> tuple[str, str]:
    """Make a token with these rights, and return its accessor and its secret."""
    policy = _request(world, "PUT", "/v1/acl/policy", {"Name": f"p{time.monotonic_ns()}", "Rules": rules})
    token = _request(world, "PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
    return token["AccessorID"], token["SecretID"]


def _request(world: World, method: str, path: str, body: object = None) -> Any:
    answer = world.rack.host.http(f"{path}?token={world.token}", method=method, body=body)
    assert answer.status == 200, answer
    return answer.json()


def two_daemons(row: Row, seconds: float) -> None:
    """Start a second daemon on the same host, whose configuration has another name for the same services."""
    row.keeps_alive = True
    with World() as world:
        devices = world.start(40)
        measurement = Measurement(world, row, devices)
        other = {**world.configuration(), "ssdp": {"tags": {"Other": [URN]}}}
        second = world.start_second_daemon(other)
        time.sleep(5)
        index, names = world.rack.raft_index(), world.rack.names()
        # More than two comparisons of both.
        time.sleep(max(seconds * 4 / 3, 40))
        writes = world.rack.raft_index() - index
        row.details = f"{writes} raft writes while both ran"
        if writes > 40:
            row.faults.append(row.details)
        if world.rack.names() != names or names != {"Rack-service:redfish-rest:1"}:
            row.faults.append(f"names were {names}, and are {world.rack.names()}")
        measurement.wait_until_equal()
        world.daemon.kill()
        start = time.monotonic()
        try:
            wait_until(lambda: world.rack.names() == {"Other-service:redfish-rest:1"}, 60, 0.2)
            wait_until(world.equal, 30)
            row.details += f"; the second took over {time.monotonic() - start:.0f} s after the end of the first"
        except AssertionError:
            row.faults.append(f"the second did not take over: names are {world.rack.names()}")
        row.tracebacks += second.output.count("Traceback (most recent call last)")
