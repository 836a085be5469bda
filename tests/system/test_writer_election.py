"""Tests for daemons with a lock on a real Consul cluster of three servers, one of which fails or is cut off."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.cluster import Cluster, Server, lock_state, scope_nodes
from tests.support.consul import skip_without_consul
from tests.support.hosts import Host, Lan, Program
from tests.support.metrics import parse_samples
from tests.support.paths import ROOT
from tests.support.rack import API, byebye, notify, twistd
from tests.support.waiting import wait_until

#: Shorter times of the reaper: a scope is dead after 5 s, and its nodes are removed after 12 s.
_HASTY = """
from ssdpreg.backends import consul_scopes, dead_scopes
consul_scopes._INTERVAL, consul_scopes._ELECTION_INTERVAL = 1.0, 2.0
dead_scopes.DEAD_AFTER = 5.0
before = dead_scopes.DeadScopes.__init__
dead_scopes.DeadScopes.__init__ = lambda self, reap_after: before(self, 12.0)
"""


class Daemon:
    """
    ``twistd ssdpreg`` in catalog mode on the host of a Consul server.

    :param server: The server.
    :param folder: Folder for the configuration.
    :param port: Port of its HTTP server. Several daemons may run on a host.
    :param consul: Address of Consul, or of a proxy.
    :param backend: Further keys of the backend.
    """

    def __init__(
        self, server: Server, folder: Path, port: int, consul: str = "127.0.0.1:8500", **backend: Any
    ) -> None:
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

    def metrics(self) -> Mapping[tuple[str, ...], float]:
        """Return the metrics."""
        return parse_samples(self.server.host.http("/metrics", port=self._port).body.decode())

    def writes(self) -> bool:
        """Return whether the daemon says that it is the writer."""
        try:
            return self.readyz()[0] == 200
        except OSError:
            return False


class WriterElectionTests(SynchronousTestCase):
    """Two daemons with one lock, on a cluster that all tests share."""

    skip = hosts.unavailable() or skip_without_consul
    lan: ClassVar[Lan]
    cluster: ClassVar[Cluster]
    bmc: ClassVar[Host]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lan = Lan()
        cls.cluster = Cluster(cls.lan)
        cls.bmc = cls.lan.host("10.78.0.9")
        cls.cluster.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lan.close()

    def setUp(self) -> None:
        self.daemons: list[Daemon] = []
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
        """Start a daemon."""
        daemon = Daemon(server, self.lan.folder, 8580 + len(self.daemons), **options)
        self.daemons.append(daemon)
        return daemon

    def start_pair(self, first: Server, second: Server, lock: str, **options: Any) -> tuple[Daemon, Daemon]:
        """Start the writer on one server and then a daemon that waits on another one."""
        writer = self.start(first, lock=lock, **options)
        writer.wait_for(f"Acquired the lock ssdpreg/scopes/{lock}")
        standby = self.start(second, lock=lock)
        standby.wait_for(f"Waiting for the lock ssdpreg/scopes/{lock}")
        return writer, standby

    def announce(self, *device_ids: str) -> None:
        """Announce devices."""
        for device_id in device_ids:
            self.bmc.send(notify(API, device_id, f"http://{self.bmc.address}:8080/"))

    def wait_for_nodes(self, scope: str, *device_ids: str, seconds: float = 10.0, server: int = 1) -> dict[str, int]:
        """Wait until the nodes of a scope are those of some devices. Return the indexes of their latest changes."""
        wanted = set(device_ids)
        found: dict[str, int] = {}

        def complete() -> bool:
            found.clear()
            found.update(scope_nodes(self.cluster.servers[server], scope))
            return set(found) == wanted

        wait_until(complete, seconds, what=f"nodes of {scope}: {sorted(wanted)}, not {sorted(found)}")
        return found
