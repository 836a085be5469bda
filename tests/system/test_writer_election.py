"""Tests for daemons with a lock on a real Consul cluster of three servers, one of which fails or is cut off."""

from __future__ import annotations

import functools
import json
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.cluster import Cluster, Server, scope_nodes
from tests.support.consul import skip_without_consul
from tests.support.hosts import Host, Lan, Program
from tests.support.paths import ROOT
from tests.support.rack import API, byebye, notify, twistd
from tests.support.waiting import wait_until

#: Shorter times of the reaper: a scope is dead after 5 s, and its nodes are removed after a fifth of the usual time.
_HASTY = """
from ssdpreg.backends.scopes import dead_scopes, reaper
reaper._INTERVAL, reaper._ELECTION_INTERVAL = 1.0, 2.0
dead_scopes.DEAD_AFTER = 5.0
before = dead_scopes.DeadScope.__init__
dead_scopes.DeadScope.__init__ = lambda self, index, since, reap_after: before(self, index, since, reap_after / 5)
"""


log = Logger()


class Daemon:
    """
    ``twistd ssdpreg`` in catalog mode on the host of a Consul server.

    :param server: The server.
    :param folder: Folder for the configuration.
    :param port: Port of its HTTP server. Several daemons may run on a host.
    :param consul: Address of Consul, or of a proxy.
    :param backend: Further keys of the backend.
    """

    def __init__(self, server: Server, folder: Path, port: int, consul: str = "127.0.0.1:8500", **backend: Any) -> None:
        self.server, self._port = server, port
        config = {
            "ssdp": {"tags": {"RackHD": [API]}},
            "backend": {"mode": "catalog", "address": consul, **backend},
            "web": {"endpoint": f"tcp:{port}:interface=127.0.0.1"},
        }
        self._path = folder / f"{server.host.name}-{port}.json"
        self._path.write_text(json.dumps(config))
        self.start()

    def start(self) -> None:
        """Start the process."""
        command = twistd("ssdpreg", "--config", str(self._path), before=_HASTY)
        self.program: Program = self.server.host.run(command, cwd=str(ROOT))

    def wait_for(self, pattern: str, seconds: float = 30.0) -> None:
        """Wait until the log matches a pattern."""
        self.program.wait_for(pattern, seconds)

    def readyz(self) -> tuple[int, str]:
        """Return status and text of ``/readyz``."""
        answer = self.server.host.http("/readyz", port=self._port)
        return answer.status, answer.body.decode()

    def page(self) -> str:
        """Return the status page."""
        return self.server.host.http("/", port=self._port).body.decode()

    def metric(self, name: str) -> float:
        """Return the value of a metric of which there is one."""
        text = self.server.host.http("/metrics", port=self._port).body.decode()
        (value,) = re.findall(rf"(?m)^{name}(?:{{[^}}]*}})? (\S+)$", text)
        return float(value)

    def writes(self) -> bool:
        """Return whether the daemon says that it is the writer."""
        try:
            return self.readyz()[0] == 200
        except OSError:
            return False


@functools.cache
def shared_cluster() -> tuple[Lan, Cluster, Host]:
    """
    Return a cluster with its network and the host of the devices.

    It is started by the first test, and killed when the test run ends.
    """
    lan = Lan()
    cluster = Cluster(lan)
    bmc = lan.host("10.78.0.9")
    cluster.start()
    return lan, cluster, bmc


class WriterElectionTests(SynchronousTestCase):
    """Two daemons with one lock, on a cluster that all tests share."""

    skip = hosts.unavailable() or skip_without_consul

    def setUp(self) -> None:
        self.lan, self.cluster, self.bmc = shared_cluster()
        self.daemons: list[Daemon] = []
        # An earlier test may have killed or cut off a server.
        self.cluster.wait_until_healthy()
        self.addCleanup(self.stop_daemons)

    def stop_daemons(self) -> None:
        """Kill the daemons, and remove what they left in Consul."""
        for daemon in self.daemons:
            daemon.program.kill()
        server = self.cluster.servers[1]
        for session in server.get("/v1/session/list"):
            server.request(f"/v1/session/destroy/{session['ID']}", "PUT")
        for node in server.get("/v1/catalog/nodes"):
            if not node["Node"].startswith("server-"):
                server.request("/v1/catalog/deregister", "PUT", {"Node": node["Node"]})
        server.request("/v1/kv/ssdpreg/?recurse", "DELETE")

    def start(self, server: Server, **options: Any) -> Daemon:
        """Start a daemon. All daemons receive the same devices, so that each scope needs other names of nodes."""
        prefix = f"{options.get('lock') or options['scope']}-"
        port = 8580 + len(self.daemons)
        daemon = Daemon(server, self.lan.folder, port, node_prefix=prefix, **{"reap_after": "60s", **options})
        self.daemons.append(daemon)
        return daemon

    def start_pair(self, first: Server, second: Server, lock: str, **options: Any) -> tuple[Daemon, Daemon]:
        """Start the writer on one server and then a daemon that waits on another one."""
        writer = self.start(first, lock=lock, **options)
        writer.wait_for(f"Acquired the lock ssdpreg/scopes/{lock}")
        standby = self.start(second, lock=lock, **{key: value for key, value in options.items() if key != "consul"})
        standby.wait_for(f"Waiting: the lock ssdpreg/scopes/{lock} is held by")
        return writer, standby

    def announce(self, *device_ids: str) -> None:
        """Announce devices."""
        for device_id in device_ids:
            self.bmc.send(notify(API, device_id, f"http://{self.bmc.address}:8080/"))

    def wait_for_nodes(self, scope: str, *device_ids: str, seconds: float = 10.0, server: int = 1) -> dict[str, int]:
        """Wait until the nodes of a scope are those of some devices. Return the indexes of their latest changes."""
        wanted = {f"{scope}-{device_id}" for device_id in device_ids}
        found: dict[str, int] = {}

        def complete() -> bool:
            found.clear()
            found.update(scope_nodes(self.cluster.servers[server], scope))
            return set(found) == wanted

        wait_until(complete, seconds, what=f"nodes of {scope}: {sorted(wanted)}, not {sorted(found)}")
        return found

    def assert_unchanged(self, scope: str, before: Mapping[str, int], server: int = 1) -> None:
        """Assert that no node of a scope was written or removed."""
        self.assertEqual(scope_nodes(self.cluster.servers[server], scope), before)

    def test_terminated(self) -> None:
        """After SIGTERM the other daemon writes within 3 s, and changes no node. Each daemon shows which one writes."""
        first, second, _ = self.cluster.servers
        writer, standby = self.start_pair(first, second, "term")
        devices = [f"dev-{number}" for number in range(20)]
        self.announce(*devices)
        before = self.wait_for_nodes("term", *devices)
        wait_until(writer.writes, 15, what="readiness")
        status, text = writer.readyz()
        self.assertRegex(text, r"^ready: this daemon holds the lock ssdpreg/scopes/term since 20\d\d-")
        # It may have been started just now.
        wait_until(lambda: "first search" not in standby.readyz()[1], 15, what="end of the first search")
        status, text = standby.readyz()
        self.assertEqual(status, 503)
        self.assertRegex(text, r"waiting, .*: the lock ssdpreg/scopes/term is held by .+ \(process \d+, since 20\d\d-")
        self.assertIn("is held by", standby.page())
        self.assertNotIn("Backend unavailable", standby.program.output)
        self.assertIn("this daemon holds the lock ssdpreg/scopes/term", writer.page())
        for daemon, held in ((writer, 1), (standby, 0)):
            self.assertEqual(daemon.metric("ssdpreg_lock_held"), held)
            self.assertEqual(daemon.metric("ssdpreg_lock_waiting"), 1 - held)

        started_at = time.monotonic()
        writer.program.signal(signal.SIGTERM)
        standby.wait_for("Acquired the lock", 3)
        wait_until(standby.writes, 3, what="readiness")
        self.announce("dev-new")
        self.wait_for_nodes("term", *devices, "dev-new", seconds=3)
        self.record("SIGTERM, until a new device is in the catalog", started_at)
        after = scope_nodes(second, "term")
        del after["term-dev-new"]
        self.assertEqual(after, before)
        writer.program.process.wait(10)
        writer.wait_for("Released the lock")

        writer.start()
        writer.wait_for("Waiting: the lock")
        self.announce("dev-newer")
        self.wait_for_nodes("term", *devices, "dev-new", "dev-newer", seconds=3)
        self.bmc.send(byebye(API, "dev-new"))
        self.wait_for_nodes("term", *devices, "dev-newer", seconds=6)

        # Without another daemon that takes over, a daemon that is started again releases the lock of its earlier run.
        writer.program.kill()
        standby.program.kill()
        started_at = time.monotonic()
        standby.start()
        standby.wait_for("Releasing the lock ssdpreg/scopes/term of an earlier run", 10)
        standby.wait_for("Listening on")
        self.announce("dev-last")
        self.wait_for_nodes("term", *devices, "dev-newer", "dev-last", seconds=3)
        self.record("SIGKILL and start on the same host, until a new device is in the catalog", started_at)

    def test_killed_or_stopped(self) -> None:
        """
        After SIGKILL and SIGSTOP the other daemon writes within 30 s, and changes no node.

        A transaction of the killed daemon that arrives afterwards is rejected. The stopped daemon writes nothing after
        SIGCONT. The nodes of a scope without another daemon are marked, and then removed.
        """
        first, second, third = self.cluster.servers
        hold = self.lan.folder / "hold"
        proxy = first.host.run([sys.executable, "-m", "tests.support.delaying_proxy", "8501", str(hold)], cwd=str(ROOT))
        wait_until(lambda: self.accepts(first, 8501), 10, what="proxy")
        killed, after_kill = self.start_pair(first, second, "kill", consul="127.0.0.1:8501")
        stopped, after_stop = self.start_pair(third, second, "stop")
        alone = self.start(first, scope="alone")
        alone.wait_for("Acquired the lock")
        devices = [f"dev-{number}" for number in range(5)]
        self.announce(*devices)
        before = {scope: self.wait_for_nodes(scope, *devices) for scope in ("kill", "stop", "alone")}

        hold.touch()
        self.announce("dev-late")
        proxy.wait_for("Holding a transaction")
        self.wait_for_nodes("stop", *devices, "dev-late")
        before["stop"] = scope_nodes(second, "stop")
        started_at = time.monotonic()
        killed.program.kill()
        stopped.program.signal(signal.SIGSTOP)
        alone.program.kill()
        for daemon in (after_kill, after_stop):
            daemon.wait_for("Acquired the lock", 30)
            self.record("SIGKILL or SIGSTOP, until the other daemon holds the lock", started_at)
        self.announce("dev-new")
        for scope in ("kill", "stop"):
            self.wait_for_nodes(scope, *devices, "dev-late", "dev-new", seconds=5)
        self.record("SIGKILL or SIGSTOP, until a new device is in the catalog", started_at)
        self.assertLess(time.monotonic() - started_at, 30)

        hold.unlink()
        response = proxy.wait_for(r"Response to a held transaction: (\d+) (.*)")
        self.assertEqual(response[1], "409")
        self.assertRegex(response[2], r'"OpIndex":0,"What":"failed session check for key')
        stopped.program.signal(signal.SIGCONT)
        stopped.wait_for("Lost the lock")
        stopped.wait_for("Waiting: the lock")
        self.assertFalse(stopped.writes())
        for scope in ("kill", "stop"):
            after = scope_nodes(second, scope)
            self.assertEqual({name: after.get(name) for name in before[scope]}, before[scope])

        marked = wait_until(lambda: self.marked(second, "alone"), 15, what="marks")
        self.assertEqual(marked, {f"alone-{each}" for each in (*devices, "dev-late")})
        self.record("SIGKILL, until the nodes are marked (5 s after the loss of the lock)", started_at)
        self.assertEqual(scope_nodes(second, "alone").keys(), before["alone"].keys() | {"alone-dev-late"})
        self.wait_for_nodes("alone", seconds=20)
        self.assertEqual(self.marked(second, "kill") | self.marked(second, "stop"), set())
        wait_until(lambda: second.request("/v1/kv/ssdpreg/scopes/alone").status == 404, 5, what="removal of the lock")

    def test_partition(self) -> None:
        """
        When a server is cut off together with the writer, the other daemon writes within 30 s, and never both do.

        The nodes of a scope that was only cut off are marked, and get rid of the marks when its daemon returns.
        """
        leader = self.cluster.leader
        cut, other = [server for server in self.cluster.servers if server is not leader]
        number = self.cluster.servers.index(other)
        # A server needs about 20 s to join again. The reap_after of a scope counts for its nodes.
        writer, standby = self.start_pair(cut, other, "cut", reap_after="1h")
        alone = self.start(cut, scope="alone", reap_after="1h")
        alone.wait_for("Acquired the lock")
        devices = [f"dev-{each}" for each in range(5)]
        self.announce(*devices)
        before = {scope: self.wait_for_nodes(scope, *devices, server=number) for scope in ("cut", "alone")}
        started_at = time.monotonic()
        cut.host.unplug()
        self.addCleanup(cut.host.plug)
        standby.wait_for("Acquired the lock", 30)
        writer.wait_for("Lost the lock", 1)
        self.announce("dev-new")
        self.wait_for_nodes("cut", *devices, "dev-new", seconds=5, server=number)
        self.record("partition, until a new device is in the catalog", started_at)
        self.assertLess(time.monotonic() - started_at, 30)
        marked = wait_until(lambda: self.marked(other, "alone"), 20, what="marks")
        self.assertEqual(marked, set(before["alone"]))
        cut.host.plug()
        plugged_at = time.monotonic()
        # After failures the leader waits up to 10 s before it contacts a server again, and each attempt can take 10 s.
        writer.wait_for("Waiting: the lock", 60)
        wait_until(lambda: not self.marked(other, "alone"), 60, what="removal of the marks")
        self.record("end of the partition, until the marks are removed", plugged_at)
        for scope in ("cut", "alone"):
            after = scope_nodes(other, scope)
            self.assertEqual({name: after.get(name) for name in before[scope]}, before[scope])
        passing = other.get("/v1/health/service/RackHD-service:api:2.0?passing&node-meta=ssdpreg-scope:alone")
        self.assertGreaterEqual({entry["Node"]["Node"] for entry in passing}, set(before["alone"]))

    def test_server_killed(self) -> None:
        """When the leading server is killed, one of the daemons goes on to write, and no node is changed."""
        leader = self.cluster.leader
        first, second = [server for server in self.cluster.servers if server is not leader]
        number = self.cluster.servers.index(second)
        writer, standby = self.start_pair(first, second, "leader")
        devices = [f"dev-{each}" for each in range(5)]
        self.announce(*devices)
        before = self.wait_for_nodes("leader", *devices, server=number)
        started_at = time.monotonic()
        leader.kill()
        self.addCleanup(self.cluster.wait_for_leader)
        self.addCleanup(leader.start)
        self.announce("dev-new")
        self.cluster.wait_for_leader(first, second)
        after = self.wait_for_nodes("leader", *devices, "dev-new", seconds=30, server=number)
        self.record("SIGKILL of the leading server, until a new device is in the catalog", started_at)
        del after["leader-dev-new"]
        self.assertEqual(after, before)
        wait_until(lambda: writer.writes() or standby.writes(), 30, what="writer")
        self.assertNotEqual(writer.writes(), standby.writes())

    # Support.

    def record(self, what: str, started_at: float) -> None:
        """Write a duration to the log of the test run, for the table in ``docs/two-daemons.md``."""
        log.info("Measured {what}: {seconds} s", what=what, seconds=round(time.monotonic() - started_at, 1))

    def accepts(self, server: Server, port: int) -> bool:
        """Return whether a server in the host of a Consul server answers."""
        try:
            return server.host.http("/v1/status/leader", port=port).status == 200
        except OSError:
            return False

    def marked(self, server: Server, scope: str) -> set[str]:
        """Return the names of the nodes of a scope that have the mark."""
        checks = server.get(f"/v1/health/state/critical?node-meta=ssdpreg-scope:{scope}&consistent")
        return {check["Node"] for check in checks if check["CheckID"] == "ssdpreg:scope"}
