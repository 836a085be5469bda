"""A daemon and a Consul agent on one host of a LAN, and what devices say there."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.consul import find_consul
from tests.support.hosts import Answer, Host, Program, wait_until
from tests.support.paths import ROOT

API = "urn:schemas-upnp-org:service:api:2.0"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


def twistd(*arguments: str, before: str = "") -> list[str]:
    """
    Return the command that runs ``twistd`` in the foreground, with the Python of this process.

    :param before: What that Python is to do first.
    """
    run = f"{before}\nimport sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", run, "-n", "--pidfile=", *arguments]


def notify(
    nt: str, device_id: str, location: str = "", *, nts: str = "ssdp:alive", max_age: int | None = 1800, **more: str
) -> bytes:
    """Write a NOTIFY, by other means than the code under test."""
    usn = f"uuid:{device_id}" if nt.startswith("uuid:") else f"uuid:{device_id}::{nt}"
    fields = {"HOST": "239.255.255.250:1900", "NT": nt, "NTS": nts, "USN": usn, "SERVER": "test/1 UPnP/1.1 test/1"}
    if location:
        fields["LOCATION"] = location
    if max_age is not None:
        fields["CACHE-CONTROL"] = f"max-age={max_age}"
    lines = ["NOTIFY * HTTP/1.1", *(f"{name}: {value}" for name, value in {**fields, **more}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def byebye(nt: str, device_id: str) -> bytes:
    """Write a byebye."""
    return notify(nt, device_id, nts="ssdp:byebye", max_age=None)


class Rack:
    """
    The host with the daemon, and with Consul where it is started.

    :param host: Where they run.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self._folder = folder
        self.consul: Program | None = None
        self.daemon: Program | None = None

    def start_consul(self) -> None:
        """Start an agent that forgets everything when it ends, and wait until it can be told something."""
        binary = find_consul()
        assert binary is not None
        # Coordinates would be written every few seconds, and hide what the daemon writes or does not write.
        config = json.dumps({"disable_coordinates": True, "performance": {"raft_multiplier": 1}})
        (self._folder / "consul.json").write_text(config)
        self.consul = self.host.run(
            [binary, "agent", "-dev", "-bind=127.0.0.1", "-log-level=debug", f"-config-file={self._folder}/consul.json"]
        )
        wait_until(self._has_node, 30)

    def _has_node(self) -> bool:
        try:
            return bool(self.ask("/v1/health/service/consul").json())
        except (OSError, ValueError):
            return False

    def start_daemon(self, config: Mapping[str, Any] | None = None, before: str = "") -> Program:
        """
        Start the daemon, and wait until it hears.

        :param config: Instead of the project's own ``registry.json``.
        :param before: What its Python is to do first.
        """
        path = ROOT / "registry.json"
        if config is not None:
            path = self._folder / "registry.json"
            path.write_text(json.dumps(config))
        self.daemon = self.host.run(twistd("ssdpreg", "--config", str(path), before=before), cwd=str(ROOT))
        self.daemon.wait_for("Listening on eth0")
        return self.daemon

    def ask(self, path: str, method: str = "GET", body: object = None) -> Answer:
        """Ask Consul something."""
        return self.host.http(path, method=method, body=body)

    def tell(self, path: str, body: object = None) -> None:
        """Tell Consul something that it must accept."""
        answer = self.ask(path, "PUT", body)
        assert answer.status == 200, answer

    def names(self) -> set[str]:
        """Names in the catalog, but for Consul's and the daemon's own."""
        names: dict[str, list[str]] = self.ask("/v1/catalog/services").json()
        return set(names) - {"consul", "ssdpreg"}

    def services(self) -> dict[str, dict[str, Any]]:
        """What the agent has of the daemon's, by service ID, but for the daemon itself."""
        services: dict[str, dict[str, Any]] = self.ask("/v1/agent/services").json()
        return {key: value for key, value in services.items() if key.startswith("ssdpreg-")}

    def endpoints(self) -> list[str]:
        """Where the daemon's services are, as ``name address:port``, sorted."""
        return sorted(f"{each['Service']} {each['Address']}:{each['Port']}" for each in self.services().values())

    def catalog(self) -> dict[str, tuple[str, int, int]]:
        """What the catalog has of the daemon's: address, port and index of the last write by service ID."""
        found = {}
        for name in self.names():
            for entry in self.ask(f"/v1/catalog/service/{name}").json():
                found[entry["ServiceID"]] = (entry["ServiceAddress"], entry["ServicePort"], entry["ModifyIndex"])
        return found

    def raft_index(self) -> int:
        """How many entries the log of the cluster has had: what writes nothing does not raise it."""
        return int(self.ask("/v1/agent/self").json()["Stats"]["raft"]["last_log_index"])
