"""A daemon and a Consul agent on one host of a LAN, and datagrams of devices."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.consul import find_consul
from tests.support.hosts import Answer, Host, Program
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

API = "urn:schemas-upnp-org:service:api:2.0"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"
#: Seconds that the daemon may take to start on a busy machine.
_START_TIMEOUT = 30.0


def twistd(*arguments: str, before: str = "") -> list[str]:
    """
    Return the command that runs ``twistd`` in the foreground, with the Python of this process.

    :param before: Python source that runs before ``twistd``.
    """
    run = f"{before}\nimport sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", run, "-n", "--pidfile=", *arguments]


def notify(
    nt: str, device_id: str, location: str = "", *, nts: str = "ssdp:alive", max_age: int | None = 1800, **more: str
) -> bytes:
    """Return a NOTIFY datagram, without the codec that is under test."""
    usn = f"uuid:{device_id}" if nt.startswith("uuid:") else f"uuid:{device_id}::{nt}"
    fields = {"HOST": "239.255.255.250:1900", "NT": nt, "NTS": nts, "USN": usn, "SERVER": "test/1 UPnP/1.1 test/1"}
    if location:
        fields["LOCATION"] = location
    if max_age is not None:
        fields["CACHE-CONTROL"] = f"max-age={max_age}"
    lines = ["NOTIFY * HTTP/1.1", *(f"{name}: {value}" for name, value in {**fields, **more}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def byebye(nt: str, device_id: str) -> bytes:
    """Return a byebye datagram."""
    return notify(nt, device_id, nts="ssdp:byebye", max_age=None)


class Rack:
    """
    Host with the daemon and optionally a Consul agent.

    :param host: Host on which they run.
    :param folder: Folder for configuration files.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.consul: Program | None = None
        self.daemon: Program | None = None

    def start_consul(self, *options: str, bind: str = "127.0.0.1") -> None:
        """
        Start an agent that keeps its data in memory, and wait until it accepts requests.

        :param options: Further options of ``consul agent``.
        :param bind: Address for other agents.
        """
        binary = find_consul()
        assert binary is not None
        # Coordinates cause a write every few seconds, which would hide the writes of the daemon.
        config = json.dumps({"disable_coordinates": True, "performance": {"raft_multiplier": 1}})
        (self.folder / "consul.json").write_text(config)
        file = f"-config-file={self.folder}/consul.json"
        self.consul = self.host.run([binary, "agent", "-dev", f"-bind={bind}", "-log-level=debug", file, *options])
        wait_until(self._has_node, 30)

    def _has_node(self) -> bool:
        try:
            return bool(self.request("/v1/health/service/consul").json())
        except (OSError, ValueError):
            return False

    def start_daemon(self, config: Mapping[str, Any] | None = None, before: str = "") -> Program:
        """
        Start the daemon, and wait until its sockets are open.

        :param config: Configuration; by default the project's ``registry.json``.
        :param before: Python source that runs before ``twistd``.
        """
        path = ROOT / "registry.json"
        if config is not None:
            path = self.folder / "registry.json"
            path.write_text(json.dumps(config))
        self.daemon = self.host.run(twistd("ssdpreg", "--config", str(path), before=before), cwd=str(ROOT))
        self.daemon.wait_for("Listening on eth0", _START_TIMEOUT)
        if config is None or config.get("web", {}).get("endpoint", "") is not None:
            self.daemon.wait_for("Serving at", _START_TIMEOUT)
        return self.daemon

    def request(self, path: str, method: str = "GET", body: object = None) -> Answer:
        """Send a request to Consul."""
        return self.host.http(path, method=method, body=body)

    def put(self, path: str, body: object = None) -> None:
        """Send a PUT request to Consul, and assert that it is accepted."""
        answer = self.request(path, "PUT", body)
        assert answer.status == 200, answer

    def names(self) -> set[str]:
        """Return the names in the catalog, except those of Consul and of the daemon itself."""
        names: dict[str, list[str]] = self.request("/v1/catalog/services").json()
        return set(names) - {"consul", "ssdpreg"}

    def services(self) -> dict[str, dict[str, Any]]:
        """Return the services that the daemon registered with the agent, by service ID, except the daemon itself."""
        services: dict[str, dict[str, Any]] = self.request("/v1/agent/services").json()
        return {key: value for key, value in services.items() if key.startswith("ssdpreg-")}

    def endpoints(self) -> list[str]:
        """Return the daemon's services in the agent as ``name address:port``, sorted."""
        return sorted(f"{each['Service']} {each['Address']}:{each['Port']}" for each in self.services().values())

    def catalog(self) -> dict[str, tuple[str, int, int]]:
        """Return the daemon's services in the catalog: address, port and index of the last write, by service ID."""
        found = {}
        for name in self.names():
            for entry in self.request(f"/v1/catalog/service/{name}").json():
                found[entry["ServiceID"]] = (entry["ServiceAddress"], entry["ServicePort"], entry["ModifyIndex"])
        return found

    def raft_index(self) -> int:
        """Return the index of the last entry in the raft log. Each write raises it."""
        return int(self.request("/v1/agent/self").json()["Stats"]["raft"]["last_log_index"])
