"""``ssdpreg inventory`` as a process, and its output in the programs of Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from ssdpreg.ssdp.messages import Alive
from ssdpreg.ssdp.reception import Reception
from tests.support.memory_daemon import API, REDFISH
from tests.support.programs import ProgramTestCase

#: Folder of the programs of this Python environment.
PROGRAMS = Path(sys.executable).parent
#: A template that Ansible would evaluate as 42, and one that would run a program.
TEMPLATE = "{{ 6 * 7 }} {{ lookup('ansible.builtin.pipe', 'touch pwned') }}"


class InventoryTests(ProgramTestCase):
    """Tests for the command and for Ansible, with a daemon in this process."""

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder of the test. Blocks."""
        environment = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.folder.absolute()),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_DEVEL_WARNING": "False",
        }
        return subprocess.run(
            [str(PROGRAMS / command[0]), *command[1:]],
            env=environment,
            cwd=self.folder,
            text=True,
            capture_output=True,
            check=False,
        )

    async def output(self, *command: str) -> str:
        """Run a program that succeeds without a warning, and return its output."""
        completed = await deferToThread(self.call, *command)
        self.assertEqual((completed.returncode, completed.stderr), (0, ""), completed.stdout)
        return completed.stdout

    def receive(self, device_id: str, server: str = "BMC/1", nt: str = API, host: str = "10.0.0.5") -> None:
        """Deliver an announcement."""
        message = Alive(nt, f"uuid:{device_id}::{nt}", f"http://{host}:8080/", 1800, server)
        self.daemon.registry.deliver(message, Reception(host, "eth0"), (host, 1900))

    def write_script(self) -> str:
        """Write the inventory script, and return its name."""
        script = self.folder / "inventory.sh"
        script.write_text(f'#!/bin/sh\nexec ssdpreg inventory --url http://{self.address} "$@"\n')
        script.chmod(0o755)
        return "./inventory.sh"

    async def test_ansible_inventory(self) -> None:
        """ansible-inventory reads the groups and the variables, which are those that the command prints."""
        self.receive("dev-1")
        self.receive("dev-1", nt=REDFISH)
        self.receive("DEV-2", host="10.0.0.6")
        script = self.write_script()
        read = json.loads(await self.output("ansible-inventory", "-i", script, "--list"))
        self.assertEqual(read["RackHD_service_api_2_0"]["hosts"], ["dev-1", "dev-2"])
        self.assertEqual(read["RackHD_service_redfish_rest_1"]["hosts"], ["dev-1"])
        printed = json.loads(await self.output("ssdpreg", "inventory", "--list", "--url", f"http://{self.address}"))
        self.assertEqual(read["_meta"]["hostvars"], printed["_meta"]["hostvars"])
        host = json.loads(await self.output("ansible-inventory", "-i", script, "--host", "dev-2"))
        self.assertEqual((host["ansible_host"], host["ssdp_device"], host["ssdp_port"]), ("10.0.0.6", "DEV-2", 8080))

    async def test_no_service(self) -> None:
        """Without a service, the inventory is valid and has no hosts."""
        read = json.loads(await self.output("ssdpreg", "inventory", "--url", f"http://{self.address}"))
        self.assertEqual(read, {"_meta": {"hostvars": {}}})

    async def test_templates_of_devices(self) -> None:
        """Text of a device is never evaluated as a template, neither in variables nor in names of hosts."""
        self.receive("dev-1", server=TEMPLATE)
        self.receive("dev {{ 6 * 7 }}", server=TEMPLATE, host="10.0.0.6")
        arguments = ("ansible", "all", "-i", self.write_script(), "-c", "local", "-m", "ansible.builtin.debug")
        for value in ("{{ ssdp_server }}", "{{ ssdp_services[0].ssdp_server }}"):
            shown: Any = await self.output(*arguments, "-a", f"msg={value}")
            self.assertEqual(shown.count(json.dumps(TEMPLATE)), 2, shown)
        self.assertFalse((self.folder / "pwned").exists())

    async def test_bad_source(self) -> None:
        """A server that does not respond is one error and status 1, and so is an unknown host."""
        for arguments in (("--url", "http://127.0.0.1:9"), ("--url", f"http://{self.address}", "--host", "nobody")):
            completed = await deferToThread(self.call, "ssdpreg", "inventory", *arguments)
            self.assertEqual((completed.returncode, completed.stdout), (1, ""))
            self.assertEqual(len(completed.stderr.splitlines()), 1, completed.stderr)
