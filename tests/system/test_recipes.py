"""The recipes of ``docs/recipes.md`` on the real programs, with the daemon and a real Consul."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support import hosts
from tests.support.consul import find_consul
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, Rack, byebye, notify
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
#: Folder of the programs of this Python environment, such as ``ansible-inventory``.
PROGRAMS = str(Path(sys.executable).parent)
DEVICE = "2a35af60-74f7-5e33-8f42-b99e5c1d15a6"
#: Server of a device: it answers each request with its own address.
_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"device at " + sys.argv[1].encode())
HTTPServer((sys.argv[1], 8080), Handler).serve_forever()
"""


def file_of_page(name: str) -> str:
    """Return the code block of the page that follows the name of a file."""
    match = re.search(rf"`{re.escape(name)}`[^`]*?\n\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None, name
    return match[1]


class RecipeTestCase(SynchronousTestCase):
    """A host with the daemon and Consul, and a device whose service is registered."""

    skip = hosts.unavailable() or (None if find_consul() else "Needs consul on the PATH, or in SSDPREG_CONSUL.")

    def setUp(self) -> None:
        lan = hosts.Lan()
        self.addCleanup(lan.close)
        self.folder = lan.folder
        self.host, self.device = lan.host("10.77.0.2"), lan.host("10.77.0.3")
        self.device.run([sys.executable, "-c", _SERVER, self.device.address])
        self.rack = Rack(self.host, lan.folder)
        self.rack.start_consul()
        self.rack.start_daemon(json.loads(file_of_page("registry.json")))
        self.announce()
        wait_until(self.rack.services, 10, what="registration")

    def announce(self) -> None:
        """Announce the service of the device."""
        self.device.send(notify(API, DEVICE, "http://10.77.0.3:8080/"))

    def write(self, name: str, mode: int = 0o644) -> str:
        """Write a file of the page to the folder, and return its path."""
        path = self.folder / name
        path.write_text(file_of_page(name))
        path.chmod(mode)
        return str(path)

    def targets(self, port: int) -> list[dict[str, Any]]:
        """Return the active targets of a program with Prometheus' HTTP API on the host."""
        try:
            answer = self.host.http("/api/v1/targets?state=active", port=port)
        except OSError:
            return []
        if answer.status != 200:
            # The program is not ready.
            return []
        targets: list[dict[str, Any]] = answer.json()["data"]["activeTargets"]
        return targets

    def check_target(self, port: int) -> None:
        """Assert that the program scrapes the device."""
        (target,) = wait_until(lambda: self.targets(port), 40, what="target")
        self.assertEqual((target["scrapeUrl"], target["labels"]["device"]), ("http://10.77.0.3:8080/metrics", DEVICE))


class PrometheusRecipeTests(RecipeTestCase):
    """The recipe for Prometheus."""

    skip = RecipeTestCase.skip or skip_without("prometheus", "prometheus")

    def test_daemon(self) -> None:
        """Prometheus reads the target from the daemon, as soon as the first search is over."""
        wait_until(lambda: self.host.http("/readyz", port=8580).status == 200, 20, what="end of the first search")
        self.host.run(
            [
                "prometheus",
                f"--config.file={self.write('prometheus-http.yml')}",
                f"--storage.tsdb.path={self.folder / 'data'}",
            ],
            cwd=str(self.folder),
        )
        self.check_target(9090)


class VMAgentRecipeTests(RecipeTestCase):
    """The recipe for vmagent."""

    skip = RecipeTestCase.skip or skip_without("vmagent", "victoria-metrics")

    def test_consul(self) -> None:
        """vmagent reads the target from Consul, and drops it after the byebye."""
        (command,) = re.findall(r"^vmagent -.*$", PAGE, re.MULTILINE)
        self.write("prometheus-consul.yml")
        data = f"-remoteWrite.tmpDataPath={self.folder / 'data'}"
        # By default vmagent queries Consul every 30 s.
        options = ["-promscrape.consulSDCheckInterval=2s", "-httpListenAddr=127.0.0.1:8429"]
        self.host.run([*command.split(), data, *options], cwd=str(self.folder))
        self.check_target(8429)
        self.device.send(byebye(API, DEVICE))
        wait_until(lambda: not self.targets(8429), 20, what="end of the target")


class HAProxyRecipeTests(RecipeTestCase):
    """The recipe for HAProxy."""

    skip = RecipeTestCase.skip or skip_without("haproxy", "haproxy")

    def request(self) -> bytes:
        """Return the response of HAProxy, empty if it has no server."""
        try:
            answer = self.host.http("/", port=8081)
        except OSError:
            return b""
        return answer.body if answer.status == 200 else b""

    def test_requests(self) -> None:
        """HAProxy forwards requests to the device at its registered address, and to none after its byebye."""
        path = Path(self.write("haproxy.cfg"))
        # By default the server stays for 30 s after its name is gone.
        path.write_text(path.read_text().replace("hold valid 5s\n", "hold valid 5s\n    hold nx 2s\n"))
        self.host.run(["haproxy", "-db", "-f", str(path)])
        self.assertEqual(wait_until(self.request, 30, what="response of the device"), b"device at 10.77.0.3")
        self.device.send(byebye(API, DEVICE))
        wait_until(lambda: not self.request(), 20, what="end of the responses")


class AnsibleRecipeTests(RecipeTestCase):
    """The recipe for Ansible."""

    def run_ansible(self, *command: str) -> str:
        """Run a program of Ansible on the host with the inventory of the page, and return its output."""
        environment = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCALHOST_WARNING": "False",
        }
        arguments = [f"{PROGRAMS}/{command[0]}", "-i", self.write("inventory.sh", 0o755), *command[1:]]
        completed = subprocess.run(
            ["ip", "netns", "exec", self.host.name, *arguments],
            env=environment,
            cwd=self.folder,
            text=True,
            capture_output=True,
            check=False,
        )
        self.assertEqual(completed.returncode, 0, completed.stdout + completed.stderr)
        self.assertEqual(completed.stderr, "")
        return completed.stdout

    def test_inventory_and_playbook(self) -> None:
        """The device is a host of the group of its service, and a playbook reaches its LOCATION."""
        graph = self.run_ansible("ansible-inventory", "--graph")
        self.assertIn("@rackhd_service_api_2_0:", graph)
        variables = json.loads(self.run_ansible("ansible-inventory", "--host", DEVICE))
        self.assertEqual(
            (variables["ansible_host"], variables["ssdp_port"], variables["ssdp_device"]), ("10.77.0.3", 8080, DEVICE)
        )
        played = self.run_ansible("ansible-playbook", self.write("playbook.yml"))
        self.assertRegex(played, rf"{DEVICE} +: ok=1 .*failed=0")
