"""Real Consul cluster of three servers on three hosts of a LAN of network namespaces."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tests.support.consul import find_consul
from tests.support.hosts import Answer, Host, Lan, Program
from tests.support.waiting import wait_until

#: Seconds that an election may take on a busy machine.
_ELECTION_TIMEOUT = 60.0


class Server:
    """
    Consul server on a host. It accepts requests on the host's loopback address.

    :param host: Its host.
    :param join: Addresses of all servers.
    """

    def __init__(self, host: Host, join: Sequence[str], lan: Lan) -> None:
        self.host = host
        self._folder = lan.folder / f"consul-{host.address}"
        self._folder.mkdir()
        self.program: Program | None = None
        config = {
            "node_name": f"server-{host.address.rpartition('.')[2]}",
            "server": True,
            "bootstrap_expect": len(join),
            "retry_join": list(join),
            "retry_interval": "1s",
            "bind_addr": host.address,
            "client_addr": "127.0.0.1",
            "data_dir": str(self._folder / "data"),
            "disable_update_check": True,
            # Coordinates are written to the raft log every few seconds. Tests count the entries of that log.
            "disable_coordinates": True,
            "performance": {"raft_multiplier": 1},
            "ports": {"dns": -1, "grpc": -1, "serf_wan": -1},
        }
        (self._folder / "config.json").write_text(json.dumps(config))

    def start(self) -> None:
        """Start the server. It keeps its data when it is killed and started again."""
        binary = find_consul()
        assert binary is not None
        self.program = self.host.run([binary, "agent", f"-config-file={self._folder}/config.json"])

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self.program is not None
        self.program.kill()

    def request(self, path: str, method: str = "GET", body: object = None) -> Answer:
        """Send a request to this server."""
        return self.host.http(path, method=method, body=body)

    def get(self, path: str) -> Any:
        """Send a GET request, and return the JSON of the response. Any status but 200 is an error."""
        answer = self.request(path)
        assert answer.status == 200, (path, answer)
        return answer.json()

    def has_leader(self) -> bool:
        """Return whether the server knows a leader that answers."""
        try:
            return len(self.get("/v1/status/leader")) > 0 and bool(self.get("/v1/catalog/nodes?consistent"))
        except (AssertionError, OSError, ValueError):
            return False


class Cluster:
    """
    Three servers on the hosts 10.78.0.1 to 10.78.0.3.

    :param lan: Their network.
    :ivar servers: The servers.
    """

    def __init__(self, lan: Lan) -> None:
        addresses = [f"10.78.0.{number}" for number in (1, 2, 3)]
        self.servers = [Server(lan.host(address), addresses, lan) for address in addresses]

    def start(self) -> None:
        """Start all servers, and wait for their leader."""
        for server in self.servers:
            server.start()
        self.wait_for_leader()

    def wait_for_leader(self, *servers: Server) -> None:
        """Wait until servers, by default all of them, know a leader."""
        for server in servers or self.servers:
            wait_until(server.has_leader, _ELECTION_TIMEOUT, what=f"leader of {server.host.address}")

    def wait_until_healthy(self) -> None:
        """
        Wait until the cluster has lost none of its servers.

        Consul removes the vote of a server that was cut off, and gives it back 10 s after it joined again.
        """
        wait_until(self._is_healthy, _ELECTION_TIMEOUT, 0.5, what="health of the cluster")

    def _is_healthy(self) -> bool:
        try:
            health = self.leader.get("/v1/operator/autopilot/health")
        except (AssertionError, OSError):
            return False
        voters = [server for server in health["Servers"] if server["Healthy"] and server["Voter"]]
        return bool(health["Healthy"]) and len(voters) == len(self.servers)

    @property
    def leader(self) -> Server:
        """The server that is the leader."""
        address = wait_until(lambda: self._leader_address(), _ELECTION_TIMEOUT, what="leader")
        return next(each for each in self.servers if each.host.address == address)

    def _leader_address(self) -> str:
        for server in self.servers:
            try:
                peers = server.get("/v1/operator/raft/configuration")["Servers"]
            except (AssertionError, OSError):
                continue
            for peer in peers:
                if peer["Leader"]:
                    return str(peer["Address"].rpartition(":")[0])
        return ""


def lock_state(server: Server, key: str) -> tuple[str, Mapping[str, Any]]:
    """
    Return the session that holds a lock, and the value of its key. Both are empty if there is no such key.

    :param key: The lock, such as ``ssdpreg/scopes/rack-7``.
    """
    answer = server.request(f"/v1/kv/{quote(key)}?consistent")
    if answer.status == 404:
        return "", {}
    assert answer.status == 200, answer
    (entry,) = answer.json()
    return entry.get("Session", ""), json.loads(base64.b64decode(entry["Value"]))


def scope_nodes(server: Server, scope: str) -> dict[str, int]:
    """Return the nodes of a scope in the catalog: index of the latest change by name."""
    nodes = server.get(f"/v1/catalog/nodes?node-meta=ssdpreg-scope:{quote(scope)}&consistent")
    return {node["Node"]: node["ModifyIndex"] for node in nodes}
