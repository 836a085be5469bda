"""Real Consul agents for tests, on free ports of 127.0.0.1."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.waiting import wait_until

#: Path to which CI unpacks Consul.
_UNPACKED = ROOT / ".consul" / "usr" / "bin" / "consul"

#: Seconds that an agent on a busy machine may take to elect itself leader.
_START_TIMEOUT = 60.0


def find_consul() -> str | None:
    """
    Return the path of the ``consul`` program: ``$SSDPREG_CONSUL``, the one on the PATH, or the one that CI unpacks.

    :return: The path, or None if there is no such program.
    """
    named = os.environ.get("SSDPREG_CONSUL")
    if named:
        return named
    return shutil.which("consul") or (str(_UNPACKED) if _UNPACKED.exists() else None)


#: Value for ``skip`` of test cases that need a real agent: the reason for skipping them, or None if they can run.
skip_without_consul: str | None = None
if find_consul() is None:
    skip_without_consul = (
        "Needs a consul binary on the PATH (Debian: apt-get install consul), or its path in SSDPREG_CONSUL."
    )
    if os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(skip_without_consul)


def free_ports(count: int) -> list[int]:
    """
    Return ports of 127.0.0.1 that are free for both TCP and UDP.

    :param count: Number of ports.
    """
    ports: list[int] = []
    held: list[socket.socket] = []
    while len(ports) < count:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held += [tcp, udp]
        tcp.bind(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        try:
            udp.bind(("127.0.0.1", port))
        except OSError:
            continue
        ports.append(port)
    for each in held:
        each.close()
    return ports


class ConsulProcess:
    """
    Consul agent in a process. It is the only server of a cluster in datacenter ``dc1``.

    All methods block, most of them for milliseconds, and :meth:`start` for a second or more. In a test with a running
    reactor, use ``deferToThread(consul.start)``.

    :param config: Additional keys of Consul's configuration file.
    :param persistent: Whether the agent keeps its data when it is stopped or killed and started again. Without it, an
        agent starts without data, as in a container.
    :param acl: Whether a token is required for everything. ``token`` then has all rights.
    :ivar address: ``host:port`` of the HTTP API, the same after each start.
    :ivar dns_port: Port of the DNS server.
    :ivar token: Default token of :meth:`request`.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, persistent: bool = False, acl: bool = False) -> None:
        self._config = dict(config or {})
        self._persistent = persistent
        self._acl = acl
        self._folder = Path(tempfile.mkdtemp(prefix="consul-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._http_port, self.dns_port, *self._other_ports = free_ports(4)
        self.address = f"127.0.0.1:{self._http_port}"
        self.token: str | None = None
        atexit.register(self.clean_up)

    def start(self) -> None:
        """Start the agent, and wait until it has elected itself leader."""
        binary = find_consul()
        if binary is None:
            raise RuntimeError(skip_without_consul)
        server_port, serf_port = self._other_ports
        config = {
            "node_name": "consul-for-tests",
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": True,
            # Coordinates are written to the raft log every few seconds. Tests count the entries of that log.
            "disable_coordinates": True,
            "ports": {
                "http": self._http_port,
                "dns": self.dns_port,
                "server": server_port,
                "serf_lan": serf_port,
                "serf_wan": -1,
                "grpc": -1,
            },
            # Development mode has the same value, with which the election takes about a second.
            "performance": {"raft_multiplier": 1},
            "server": True,
            **({"acl": {"enabled": True, "default_policy": "deny"}} if self._acl else {}),
            **self._config,
        }
        path = self._folder / "config.json"
        path.write_text(json.dumps(config))
        mode = ["-bootstrap-expect=1", f"-data-dir={self._folder / 'data'}"] if self._persistent else ["-dev"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [binary, "agent", f"-config-file={path}", *mode],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._has_leader, _START_TIMEOUT, what="leader of the Consul agent")
        if self._acl and (self.token is None or not self._persistent):
            self.token = wait_until(self._bootstrap_acl, _START_TIMEOUT, what="ACL system of the Consul agent")
        # Only a node in the catalog can carry services there, and an idle agent writes nothing more.
        wait_until(
            lambda: json.loads(self.request("GET", "/v1/health/service/consul")[1]),
            _START_TIMEOUT,
            what="node in the catalog",
        )

    def _has_leader(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"Consul did not start:\n{self.log()}")
        try:
            return len(self.request("GET", "/v1/status/leader")[1]) > len('""')
        except OSError:
            return False

    def _bootstrap_acl(self) -> str | None:
        status, body = self.request("PUT", "/v1/acl/bootstrap")
        return json.loads(body)["SecretID"] if status == 200 else None

    def add_token(self, rules: str) -> str:
        """
        Create an ACL token.

        :param rules: Rules of its policy, such as ``service_prefix "" { policy = "write" }``.
        :return: The secret ID of the token.
        """
        status, body = self.request("PUT", "/v1/acl/policy", {"Name": f"p{time.monotonic_ns()}", "Rules": rules})
        if status == 200:
            policies = [{"ID": json.loads(body)["ID"]}]
            status, body = self.request("PUT", "/v1/acl/token", {"Policies": policies})
        if status != 200:
            raise RuntimeError(body)
        secret: str = json.loads(body)["SecretID"]
        return secret

    def request(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, bytes]:
        """
        Send a request to the agent, without the code under test.

        :param path: Path and query of the URL, such as ``/v1/agent/services``.
        :param body: Value to send as JSON, or bytes to send unchanged.
        :param token: Token to use in place of ``self.token``.
        :return: Status and body of the response.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, method=method)
        secret = token or self.token
        if secret is not None:
            request.add_header("X-Consul-Token", secret)
        # Proxies from the environment must not be used for an agent on this host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def get(self, path: str) -> Any:
        """Send a GET request, and return the JSON of the response. Any status but 200 is an error."""
        status, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body!r}")
        return json.loads(body)

    def put(self, path: str, body: Any = None) -> None:
        """Send a PUT request. Any status but 200 is an error."""
        status, answer = self.request("PUT", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer!r}")

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the services of the agent by ID."""
        services: dict[str, dict[str, Any]] = self.get("/v1/agent/services")
        return services

    def checks(self) -> dict[str, dict[str, Any]]:
        """Return the checks of the agent by ID."""
        checks: dict[str, dict[str, Any]] = self.get("/v1/agent/checks")
        return checks

    def raft_index(self) -> int:
        """Return the index of the last entry in the raft log. Every write to the catalog increases it."""
        return int(self.get("/v1/agent/self")["Stats"]["raft"]["last_log_index"])

    @property
    def pid(self) -> int:
        """Process ID."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return the log output of the agent since its first start."""
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Terminate the agent with SIGTERM."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """Kill the agent with SIGKILL."""
        self._end(subprocess.Popen.kill)

    def _end(self, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)
            process.wait()

    def wipe(self) -> None:
        """Delete the data of a stopped agent."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.token = None

    def clean_up(self) -> None:
        """Kill the agent and delete its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.clean_up)


@functools.cache
def shared_consul() -> ConsulProcess:
    """
    Return an agent that all tests share. It is started by the first test, and killed when the test run ends.

    A test that uses it has to remove its services, for example with :func:`remove_all_services`.
    """
    consul = ConsulProcess()
    consul.start()
    return consul


def remove_all_services(consul: ConsulProcess) -> None:
    """Deregister all services and checks of an agent."""
    for service_id in consul.services():
        consul.put(f"/v1/agent/service/deregister/{urllib.parse.quote(service_id, safe='')}")
    for check_id in consul.checks():
        consul.put(f"/v1/agent/check/deregister/{urllib.parse.quote(check_id, safe='')}")
