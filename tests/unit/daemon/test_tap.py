"""Tests for :mod:`ssdpreg.daemon.tap`, and for the small services around the daemon."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import ConsulConfig
from ssdpreg.daemon.json_log import format_event, stdout_observer
from ssdpreg.daemon.systemd import NotifyService
from ssdpreg.daemon.tap import Options, makeService
from ssdpreg.errors import ConfigError, Fault

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


class NotifyServiceTests(SynchronousTestCase):
    """Tests for :class:`NotifyService`."""

    def setUp(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.listener.close)
        self.listener.bind(f"\0ssdpreg-test-{os.getpid()}")
        self.listener.setblocking(False)
        self.clock = Clock()

    def told(self) -> list[bytes]:
        """Take what systemd was told."""
        told = []
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(self.listener.recv(100))
        return told

    def test_tells(self) -> None:
        """It says when the daemon is ready, that it lives, twice in the time that is allowed, and when it ends."""
        environ = {"NOTIFY_SOCKET": f"@ssdpreg-test-{os.getpid()}", "WATCHDOG_USEC": "30000000"}
        service = NotifyService(self.clock, environ)
        service.startService()
        self.assertEqual(self.told(), [b"READY=1", b"WATCHDOG=1"])
        self.clock.advance(15)
        self.assertEqual(self.told(), [b"WATCHDOG=1"])
        service.stopService()
        self.assertEqual((self.told(), self.clock.getDelayedCalls()), ([b"STOPPING=1"], []))

    def test_nobody_listens(self) -> None:
        """Without systemd, or when it is gone, it does nothing."""
        for environ in ({}, {"NOTIFY_SOCKET": "/nonexistent/socket"}):
            service = NotifyService(self.clock, environ)
            service.startService()
            service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FormatEventTests(SynchronousTestCase):
    """Tests for :func:`format_event`."""

    def line(self, log: Callable[[Logger], None]) -> dict[str, Any]:
        """Log something; return what was written."""
        events: list[LogEvent] = []
        log(Logger("ssdpreg.test", observer=cast(ILogObserver, events.append)))
        text = format_event(events[0])
        self.assertTrue(text.endswith("\n") and text.count("\n") == 1)
        return cast(dict[str, Any], json.loads(text))

    def test_flat(self) -> None:
        """A line has the time, the level, the logger, the message, and its own fields."""
        line = self.line(lambda log: log.info("Moved {name} to {where}", name="x\n", where=("a", 1), port=80))
        self.assertRegex(line.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00\Z")
        self.assertEqual(
            line,
            {
                "level": "info",
                "logger": "ssdpreg.test",
                "message": "Moved x\n to ('a', 1)",
                "name": "x\n",
                "where": "('a', 1)",
                "port": 80,
            },
        )

    def test_fields_do_not_lie(self) -> None:
        """A field that has the name of one of the line's own does not take its place."""
        line = self.line(lambda log: log.warn("m {logger}", logger="fake", message="fake"))
        self.assertEqual((line["logger"], line["message"]), ("ssdpreg.test", "m fake"))

    def test_failure(self) -> None:
        """A failure has its traceback."""
        line = self.line(lambda log: log.failure("Broken", Failure(ConfigError(Fault("a", "b")))))
        self.assertEqual(line["level"], "critical")
        self.assertIn("ConfigError", line["traceback"])
