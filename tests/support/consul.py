"""A real Consul agent for tests: found, started on free ports of 127.0.0.1, asked, stopped, killed."""

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

#: Where CI unpacks Consul, below the project's root.
_UNPACKED = ROOT / ".consul" / "usr" / "bin" / "consul"

#: Seconds in which an agent on a busy machine elects itself.
_START_TIMEOUT = 60.0


def find_consul() -> str | None:
    """
    Find the ``consul`` program: where ``$SSDPREG_CONSUL`` says, on the PATH, or where CI unpacks it.

    :return: Its path, or ``None``.
    """
    named = os.environ.get("SSDPREG_CONSUL")
    if named:
        return named
    return shutil.which("consul") or (str(_UNPACKED) if _UNPACKED.exists() else None)


#: Why tests against a real agent are skipped, or ``None`` where they can run. To be set as ``skip`` of a test case.
skip_without_consul: str | None = None
if find_consul() is None:
    skip_without_consul = (
        "Needs a consul binary on the PATH (Debian: apt-get install consul), or its path in SSDPREG_CONSUL."
    )
    if os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(skip_without_consul)


def free_ports(count: int) -> list[int]:
    """
    Find ports of 127.0.0.1 that are free for TCP and UDP alike.

    :param count: How many.
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
    A Consul agent, a server of its own cluster in datacenter ``dc1``.

    All methods block, most of them for milliseconds, :meth:`start` for a second or more: with a reactor running, use
    ``deferToThread(consul.start)``.

    :param config: More of Consul's configuration, as a configuration file has it.
    :param persistent: Whether services survive :meth:`kill` and :meth:`stop` followed by :meth:`start`, until
        :meth:`wipe`. Without it the agent forgets everything, as one in a container does.
    :param acl: Whether nothing is allowed without a token. ``token`` then has all rights.
    :ivar address: ``host:port`` of the HTTP API, the same after each start.
    :ivar dns_port: Where DNS is answered.
    :ivar token: The token that :meth:`request` sends unless told otherwise.
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
        """Start the agent, and return when it has elected itself leader."""
        binary = find_consul()
        if binary is None:
            raise RuntimeError(skip_without_consul)
        server_port, serf_port = self._other_ports
        config = {
            "node_name": "consul-for-tests",
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": True,
            # They are written every few seconds, and hide what a test writes or does not write.
            "disable_coordinates": True,
            "ports": {
                "http": self._http_port,
                "dns": self.dns_port,
                "server": server_port,
                "serf_lan": serf_port,
                "serf_wan": -1,
                "grpc": -1,
            },
            # As in development mode, which elects a leader at once, but with a memory.
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
        Make a token.

        :param rules: What it allows, as in ``service_prefix "" { policy = "write" }``.
        :return: Its secret.
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
        Ask the agent something, without any of our own code.

        :param path: What follows the port, such as ``/v1/agent/services``.
        :param body: What to send as JSON, or bytes to send as they are.
        :param token: Instead of ``self.token``.
        :return: Status and body of the answer.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data=data, method=method)
        secret = token or self.token
        if secret is not None:
            request.add_header("X-Consul-Token", secret)
        # The agent is here, whatever proxies the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def get(self, path: str) -> Any:
        """Ask the agent for something and read its JSON, as :meth:`request` does."""
        status, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body!r}")
        return json.loads(body)

    def put(self, path: str, body: Any = None) -> None:
        """Tell the agent something that it must accept, as :meth:`request` does."""
        status, answer = self.request("PUT", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer!r}")

    def services(self) -> dict[str, dict[str, Any]]:
        """Tell what services the agent has, by ID."""
        services: dict[str, dict[str, Any]] = self.get("/v1/agent/services")
        return services

    def checks(self) -> dict[str, dict[str, Any]]:
        """Tell what checks the agent has, by ID."""
        checks: dict[str, dict[str, Any]] = self.get("/v1/agent/checks")
        return checks

    def raft_index(self) -> int:
        """Tell how many entries the log of the cluster has had: what writes nothing does not raise it."""
        return int(self.get("/v1/agent/self")["Stats"]["raft"]["last_log_index"])

    def log(self) -> str:
        """Return what the agent has logged, over all starts."""
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End the agent as its service manager would."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End the agent as a power cut would."""
        self._end(subprocess.Popen.kill)

    def _end(self, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)
            process.wait()

    def wipe(self) -> None:
        """Throw away all that a stopped agent has written down."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.token = None

    def clean_up(self) -> None:
        """End the agent and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.clean_up)


@functools.cache
def shared_consul() -> ConsulProcess:
    """
    Return an agent that all tests share, started with the first of them and ended with the last.

    Whoever uses it shall clean up behind itself, and may take :func:`remove_all_services` to do so.
    """
    consul = ConsulProcess()
    consul.start()
    return consul


def remove_all_services(consul: ConsulProcess) -> None:
    """Leave an agent as if it had just been started."""
    for service_id in consul.services():
        consul.put(f"/v1/agent/service/deregister/{urllib.parse.quote(service_id, safe='')}")
    for check_id in consul.checks():
        consul.put(f"/v1/agent/check/deregister/{urllib.parse.quote(check_id, safe='')}")
