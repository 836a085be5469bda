"""Programs of other projects that read what the daemon serves, such as Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ssdpreg.web.service import WebService
from tests.support.consul import free_ports
from tests.support.memory_daemon import Daemon
from tests.support.waiting import wait_until

_T = TypeVar("_T")


def skip_without(program: str, package: str) -> str | None:
    """
    Return the ``skip`` of tests that need a program: a reason, or None if the program is installed.

    :param package: Debian's package that contains it.
    :raise RuntimeError: If the program is missing and ``SSDPREG_REQUIRE_ALL`` is set.
    """
    if shutil.which(program):
        return None
    reason = f"Needs {program} on the PATH (Debian: apt-get install {package})."
    if os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(reason)
    return reason


class ProgramTestCase(TestCase):
    """A daemon with a web server on 127.0.0.1, and a folder for a program that reads from it."""

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
        """Start a program, which is killed at the end of the test."""
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    async def wait_for(self, what: str, condition: Callable[[], _T], seconds: float = 20.0) -> _T:
        """
        Call a function in a thread, until its result is true.

        :param what: Name of the result, for the error.
        :param condition: May raise OSError while the program starts.
        """

        def try_once() -> _T | None:
            try:
                return condition()
            except OSError:
                return None

        try:
            found = await deferToThread(wait_until, try_once, seconds, 0.1, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.folder / 'log').read_text()}") from error
        assert found is not None
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return the active targets of a program with Prometheus' HTTP API. Blocks."""
        answer = fetch(f"http://127.0.0.1:{self.program_port}/api/v1/targets?state=active")
        targets: list[dict[str, Any]] = json.loads(answer)["data"]["activeTargets"]
        return targets


def fetch(url: str) -> bytes:
    """Fetch a URL of this host without the proxies of the environment. Blocks."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        content: bytes = response.read()
        return content
