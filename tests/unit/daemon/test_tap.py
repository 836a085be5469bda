"""Tests for :mod:`ssdpreg.daemon`: options, reload at SIGHUP, notifications for systemd, and the JSON log."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

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

MINIMAL: dict[str, Any] = {"ssdp": {"tags": {"T": ["urn:a"]}}}


class TapTestCase(SynchronousTestCase):
    """Base class: a temporary directory with a configuration file."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.makedirs(folder)
        self.path = os.path.join(os.path.abspath(folder), "registry.json")
        self.write(MINIMAL)
        # makeService() replaces this attribute of the reactor. The test restores it.
        self.patch(reactor, "seconds", IReactorTime(reactor).seconds)

    def write(self, config: object) -> None:
        """Write the configuration file."""
        with open(self.path, "w") as file:
            json.dump(config, file)

    def options(self, *arguments: str) -> Options:
        """Return the options that were parsed from a command line."""
        options = Options()
        options.parseOptions(["--config", self.path, *arguments])
        return options


class OptionsTests(TapTestCase):
    """Tests for :class:`Options`."""

    def test_configuration(self) -> None:
        """The options of the command line override the values of the file."""
        config = self.options("--address", "10.0.0.9:8501", "--datacenter", "dc2")["configuration"]
        assert isinstance(config.backend, ConsulConfig)
        self.assertEqual((config.backend.address, config.backend.datacenter), ("10.0.0.9:8501", "dc2"))

    def test_all_faults(self) -> None:
        """An invalid file is a usage error that contains all faults with their paths."""
        self.write({"ssdp": {"tags": {"T": ["urn:a"]}, "search": {"mx": 9}}, "bakend": {}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        for part in (self.path, "ssdp.search.mx: ", "bakend: "):
            self.assertIn(part, str(caught.exception))

    def test_unknown_backend(self) -> None:
        """A backend type that no plugin provides is a usage error."""
        self.write({**MINIMAL, "backend": {"type": "cosnul"}})
        with self.assertRaises(UsageError) as caught:
            self.options()
        self.assertIn("backend.type: no plugin is called 'cosnul', but consul, embedded", str(caught.exception))

    def test_default_file(self) -> None:
        """Without ``--config``, the file in the current directory is read, and its absolute path is stored."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(os.path.dirname(self.path))
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["config"], os.path.realpath(self.path))

    def test_log_json(self) -> None:
        """``--log-json`` sets the logger of twistd."""
        options = ServerOptions()
        options.parseOptions(["-n", "ssdpreg", "--config", self.path, "--log-json"])
        self.assertIs(options["logger"], stdout_observer)

    def test_service(self) -> None:
        """``makeService`` returns a service that is not started yet."""
        self.write({**MINIMAL, "backend": {"type": "embedded"}})
        service = makeService(self.options())
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)

    def test_invalid_certificate_file(self) -> None:
        """An invalid file that the configuration names ends the program with the path of the option."""
        self.write({**MINIMAL, "backend": {"type": "consul", "ca_file": self.path}})
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

    def received(self) -> list[bytes]:
        """Return the notifications since the last call."""
        received = []
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(self.listener.recv(100))
        return received

    def test_notifications(self) -> None:
        """The service sends READY, a WATCHDOG at half the watchdog interval, and STOPPING."""
        environ = {"NOTIFY_SOCKET": f"@ssdpreg-test-{os.getpid()}", "WATCHDOG_USEC": "30000000"}
        service = NotifyService(self.clock, environ)
        service.startService()
        self.assertEqual(self.received(), [b"READY=1", b"WATCHDOG=1"])
        self.clock.advance(15)
        self.assertEqual(self.received(), [b"WATCHDOG=1"])
        service.stopService()
        self.assertEqual((self.received(), self.clock.getDelayedCalls()), ([b"STOPPING=1"], []))

    def test_without_systemd(self) -> None:
        """The service has no effect without systemd, or when its socket does not exist."""
        for environ in ({}, {"NOTIFY_SOCKET": "/nonexistent/socket"}):
            service = NotifyService(self.clock, environ)
            service.startService()
            service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FormatEventTests(SynchronousTestCase):
    """Tests for :func:`format_event`."""

    def line(self, log: Callable[[Logger], None]) -> dict[str, Any]:
        """Return the fields of the line that is written for a log event."""
        events: list[LogEvent] = []
        log(Logger("ssdpreg.test", observer=cast(ILogObserver, events.append)))
        text = format_event(events[0])
        self.assertTrue(text.endswith("\n") and text.count("\n") == 1)
        return cast(dict[str, Any], json.loads(text))

    def test_fields(self) -> None:
        """A line has the time, the level, the logger, the message, and the fields of the event."""
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

    def test_reserved_fields(self) -> None:
        """A field of the event does not replace a field of the line with the same name."""
        line = self.line(lambda log: log.warn("m {logger}", logger="fake", message="fake"))
        self.assertEqual((line["logger"], line["message"]), ("ssdpreg.test", "m fake"))

    def test_failure(self) -> None:
        """The line of a failure contains its traceback."""
        line = self.line(lambda log: log.failure("Broken", Failure(ConfigError(Fault("a", "b")))))
        self.assertEqual(line["level"], "critical")
        self.assertIn("ConfigError", line["traceback"])
