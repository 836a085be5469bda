"""``ssdpreg run`` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.run import add_parser
from ssdpreg.daemon import tap
from tests.support import hosts
from tests.support.rack import API, notify
from tests.support.waiting import wait_until

SSDPREG = str(Path(sys.executable).with_name("ssdpreg"))
CONFIG = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}


class RunTests(SynchronousTestCase):
    """The daemon on a host without a route to other networks."""

    skip = hosts.unavailable()

    def setUp(self) -> None:
        lan = hosts.Lan()
        self.addCleanup(lan.close)
        self.host = lan.host("10.77.0.2")
        self.config = lan.folder / "registry.json"
        self.config.write_text(json.dumps(CONFIG))
        self.folder = lan.folder

    def names(self) -> list[str]:
        """Return the names of the registered services."""
        return list(self.host.http("/v1/catalog/services", port=8580).json())

    def test_daemon(self) -> None:
        """The daemon registers, serves, reloads at SIGHUP, ends with status 0 at SIGTERM, and leaves no file."""
        before = set(self.folder.iterdir())
        daemon = self.host.run([SSDPREG, "run", "--config", "registry.json"], cwd=str(self.folder))
        daemon.wait_for("Serving at")
        self.host.send(notify(API, "bmc-1", "http://10.77.0.2/"))
        wait_until(lambda: "RackHD-service:api:2.0" in self.names(), 10)
        self.config.write_text(json.dumps({**CONFIG, "ssdp": {"tags": {"Lab": [API]}}}))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("Configuration reloaded")
        wait_until(lambda: "Lab-service:api:2.0" in self.names(), 10)
        self.assertEqual(daemon.stop(), 0)
        self.assertIn("Server Shut Down.", daemon.output)
        self.assertEqual({path for path in self.folder.iterdir() if path.suffix != ".log"}, before)

    def test_interrupt(self) -> None:
        """Ctrl-C ends the daemon with status 0, also with the log in JSON."""
        daemon = self.host.run([SSDPREG, "run", "-c", str(self.config), "--log-json"])
        daemon.wait_for("Serving at")
        daemon.signal(signal.SIGINT)
        self.assertEqual(daemon.process.wait(10), 0)
        self.assertTrue(all(json.loads(line) for line in daemon.output.splitlines()))

    def test_invalid_configuration(self) -> None:
        """Every fault is printed, and the status is 1, as with ``twistd``."""
        self.config.write_text('{"ssdp": {"tagz": {}}}')
        ended = subprocess.run(
            [SSDPREG, "run", "--config", str(self.config)], text=True, capture_output=True, check=False
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(
            ended.stderr,
            f'{self.config}:\nssdp.tagz: is not a known key; did you mean "tags"?\nssdp.tags: is missing\n',
        )


class OptionsTests(SynchronousTestCase):
    """Tests for the options."""

    def test_options_of_twistd(self) -> None:
        """The options are those of ``twistd ssdpreg``, the short ones included."""
        commands = ArgumentParser().add_subparsers()
        add_parser(commands)
        options = {option for action in commands.choices["run"]._actions for option in action.option_strings}
        long = {f"--{name}" for name, *_ in (*tap.Options.optParameters, *tap.Options.optFlags)}
        short = {f"-{short}" for _, short, *_ in (*tap.Options.optParameters, *tap.Options.optFlags) if short}
        self.assertEqual(options, long | short | {"-h", "--help"})

    def test_usage(self) -> None:
        """An unknown option is a usage error."""
        ended = subprocess.run([SSDPREG, "run", "--bogus"], text=True, capture_output=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
