"""The ``consul`` command, which has Consul's client library, as a reader of the daemon."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from twisted.internet.threads import deferToThread

from tests.support.consul import find_consul, skip_without_consul
from tests.support.memory_daemon import LLDP
from tests.support.programs import ProgramTestCase


class ConsulCommandTests(ProgramTestCase):
    """``consul catalog`` and ``consul watch`` with the address of the daemon."""

    skip = skip_without_consul

    def setUp(self) -> None:
        super().setUp()
        self.daemon.receive_alive("dev-1")
        self.daemon.receive_alive("dev-1", LLDP)
        self.daemon.receive_alive("dev-2")

    async def run_consul(self, *arguments: str) -> tuple[int, str]:
        """Run the command, and return its status and output."""
        binary = find_consul()
        assert binary is not None
        environment = {"CONSUL_HTTP_ADDR": self.address}
        process: subprocess.CompletedProcess[str] = await deferToThread(
            subprocess.run,
            [binary, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
        )
        return process.returncode, process.stdout

    async def watch(self, *arguments: str) -> Any:
        """Return what a watch of the command receives first."""
        _, output = await self.run_consul("watch", *arguments)
        return json.loads(output)

    async def test_filter(self) -> None:
        """A filter is applied, and an error in it is shown."""
        status, output = await self.run_consul("catalog", "nodes", "-filter", 'Node == "dev-2"')
        self.assertEqual((status, [line.split()[0] for line in output.splitlines()]), (0, ["Node", "dev-2"]))
        status, output = await self.run_consul("catalog", "nodes", "-filter", "Nothing == 1")
        self.assertEqual(status, 1)
        self.assertIn('Selector "Nothing" is not valid', output)

    async def test_services_of_node(self) -> None:
        """The services of a node are listed."""
        status, output = await self.run_consul("catalog", "services", "-node=dev-1")
        self.assertEqual((status, output.split()), (0, ["Inservice-service:lldp:0.1", "RackHD-service:api:2.0"]))

    async def test_watches(self) -> None:
        """Checks are found by state and by name, and services by name and tag."""
        for arguments, nodes in (
            (("-type=checks", "-state=passing"), ["dev-1", "dev-1", "dev-2"]),
            (("-type=checks", "-state=critical"), []),
            (("-type=checks", "-service=RackHD-service:api:2.0"), ["dev-1", "dev-2"]),
        ):
            self.assertEqual([check["Node"] for check in await self.watch(*arguments)], nodes, arguments)
        entries = await self.watch("-type=service", "-service=RackHD-service:api:2.0", "-tag=lab", "-passingonly=true")
        self.assertEqual([entry["Node"]["Node"] for entry in entries], ["dev-1", "dev-2"])
