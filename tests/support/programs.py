"""Programs that nobody here wrote, which read what the daemon shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ssdpreg.web.service import WebService
from tests.support.consul import free_ports
from tests.support.memory_daemon import Daemon

_T = TypeVar("_T")


def skip_without(program: str, package: str) -> str | None:
    """
    Say why tests that need a program are skipped, or ``None`` where they can run. To be set as their ``skip``.

    :param package: What Debian calls the package that has it.
    """
    if shutil.which(program):
        return None
    reason = f"Needs {program} on the PATH (Debian: apt-get install {package})."
    if os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(reason)
    return reason


class ProgramTestCase(TestCase):
    """A daemon with its web server on 127.0.0.1, and a folder for a program that reads it."""

    timeout = 60

    def setUp(self) -> None:
        self.daemon = Daemon(reactor)
        self.web = WebService(reactor, "tcp:0:interface=127.0.0.1", self.daemon.root)
        self.daemon.start()
        self.web.startService()
        self.addCleanup(self.daemon.stop)
        self.addCleanup(self.web.stopService)
        assert self.web.port is not None
        address: Any = self.web.port.getHost()
        self.address = f"127.0.0.1:{address.port}"
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.program_port,) = free_ports(1)

    def run_program(self, *command: str) -> None:
        """Start a program, and end it when the test does."""
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    async def wait_for(self, what: str, look: Callable[[], _T], seconds: float = 20.0) -> _T:
        """
        Look again and again, in a thread, until there is something to see.

        :param what: What is awaited, for the error.
        :param look: Returns something true once it is there.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                seen = await deferToThread(look)
            except OSError:
                # The program is not up yet.
                seen = None
            if seen:
                return seen
            await deferLater(reactor, 0.1)
        raise AssertionError(f"no {what} within {seconds} s:\n{(self.folder / 'log').read_text()}")

    def targets(self) -> list[dict[str, Any]]:
        """Tell what a Prometheus, or what is like it, scrapes. Blocks."""
        answer = fetch(f"http://127.0.0.1:{self.program_port}/api/v1/targets?state=active")
        targets: list[dict[str, Any]] = json.loads(answer)["data"]["activeTargets"]
        return targets


def fetch(url: str) -> bytes:
    """Read a URL of this host, whatever proxies the environment names. Blocks."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        content: bytes = response.read()
        return content
