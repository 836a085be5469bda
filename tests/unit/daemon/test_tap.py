"""Tests for :mod:`ssdpreg.daemon.tap` and :mod:`ssdpreg.daemon.reload`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.config import Config, ConsulConfig, parse
from ssdpreg.daemon.json_log import stdout_observer
from ssdpreg.daemon.reload import ReloadService
from ssdpreg.daemon.tap import Options, makeService

PLAIN: dict[str, Any] = {"ssdp": {"tags": {"T": ["urn:a"]}}}


class TapTestCase(SynchronousTestCase):
    """A folder of the test's own, with a configuration."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.makedirs(folder)
        self.path = os.path.join(os.path.abspath(folder), "registry.json")
        self.write(PLAIN)
        # The daemon, which has its reactor to itself, sets this for good.
        self.patch(reactor, "seconds", IReactorTime(reactor).seconds)

    def write(self, config: object) -> None:
        with open(self.path, "w") as file:
            json.dump(config, file)

    def options(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(["--config", self.path, *arguments])
        return options


class OptionsTests(TapTestCase):
    """Tests for :class:`Options`."""

    def test_reads_the_configuration(self) -> None:
        """The file is read, and the command line speaks louder."""
        config = self.options("--address", "10.0.0.9:8501", "--datacenter", "dc2")["configuration"]
        assert isinstance(config.backend, ConsulConfig)
        self.assertEqual((config.backend.address, config.backend.datacenter), ("10.0.0.9:8501", "dc2"))

    def test_tells_every_fault(self) -> None:
        """A bad file is a usage error that names all faults with their paths."""
        self.write({"ssdp": {"tags": {"T": ["urn:a"]}, "search": {"mx": 9}}, "bakend": {}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        for part in (self.path, "ssdp.search.mx: ", "bakend: "):
            self.assertIn(part, str(caught.exception))

    def test_an_unknown_backend(self) -> None:
        """A backend that no plugin makes is a fault."""
        self.write({**PLAIN, "backend": {"type": "cosnul"}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        self.assertIn("backend.type: no plugin is called 'cosnul', but consul, embedded", str(caught.exception))

    def test_finds_the_file(self) -> None:
        """Without --config the file is the one beside us, remembered by its full path."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(os.path.dirname(self.path))
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["config"], os.path.realpath(self.path))

    def test_log_json(self) -> None:
        """``--log-json`` is an option of twistd's logger."""
        options = ServerOptions()
        options.parseOptions(["-n", "ssdpreg", "--config", self.path, "--log-json"])
        self.assertIs(options["logger"], stdout_observer)

    def test_service(self) -> None:
        """What is wired together is a service that was not started yet."""
        self.write({**PLAIN, "backend": {"type": "embedded"}})
        service = makeService(self.options())
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)

    def test_an_unusable_file(self) -> None:
        """What turns out to be unusable when the parts are made ends the program with its name, and no traceback."""
        self.write({**PLAIN, "backend": {"type": "consul", "ca_file": self.path}})
        with self.assertRaises(SystemExit) as caught:
            makeService(self.options())
        self.assertIn("backend.ca_file: ", str(caught.exception))


class ReloadServiceTests(TapTestCase):
    """Tests for :class:`ReloadService`."""

    def setUp(self) -> None:
        super().setUp()
        self.applied: list[Config] = []
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None:
            if event["log_namespace"] == "ssdpreg.daemon.reload.ReloadService":
                self.lines.append(event["log_format"].split(" {")[0])

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service = ReloadService(self, self.load, parse(json.dumps(PLAIN)), self.applied.append)

    def load(self) -> Config:
        with open(self.path) as file:
            return parse(file.read())

    def callFromThread(self, function: Callable[[], None]) -> None:  # noqa: N802
        """Be the reactor as far as signals go."""
        function()

    def test_hangup(self) -> None:
        """SIGHUP puts another configuration in force, and does nothing of the kind once the service has stopped."""
        before = signal.getsignal(signal.SIGHUP)
        self.service.startService()
        self.write({"ssdp": {"tags": {"T": ["urn:b"]}}})
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([config.search_terms() for config in self.applied], [{"urn:b": "T"}])
        self.service.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_a_fault(self) -> None:
        """A bad file changes nothing."""
        self.write({"ssdp": {}})
        self.service.reload()
        self.assertEqual(self.applied, [])
        self.assertEqual(self.lines, ["Configuration not reloaded, the old one stays in force:\n{faults}"])

    def test_what_needs_a_start(self) -> None:
        """What was made once is told, and the rest takes effect all the same."""
        self.write({**PLAIN, "web": {"endpoint": None}, "ssdp": {**PLAIN["ssdp"], "names": "dns"}})
        self.service.reload()
        self.assertEqual(len(self.applied), 1)
        self.assertEqual(self.lines, ["A change of", "Configuration reloaded"])
        self.write(PLAIN)
        self.service.reload()
        self.assertEqual(self.lines[2:], ["Configuration reloaded"])
