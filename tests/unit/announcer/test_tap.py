"""Tests for :mod:`ssdpreg.announcer.tap`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.application.service import MultiService
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.announcer.announcer import Announcer
from ssdpreg.announcer.devices import Device
from ssdpreg.announcer.tap import Options, makeService


class OptionsTests(SynchronousTestCase):
    """Tests for :class:`Options`."""

    def parse(self, *arguments: str) -> Options:
        """Parse a command line, with a file of one device."""
        path = self.mktemp()
        Path(path).write_text('{"ssdp": {"d": {"broadcastIP": ["x"], "urnList": ["y"]}}}')
        options = Options()
        options.parseOptions(["--config", path, *arguments])
        return options

    def test_defaults(self) -> None:
        """Only --config is required."""
        options = self.parse()
        self.assertEqual([device.name for device in options["devices"]], ["d"])
        self.assertEqual((options["max-age"], options["health"], options["interfaces"]), (30, None, []))

    def test_all_options(self) -> None:
        """Every option is used, and ``--interface`` can be repeated."""
        options = self.parse("--max-age", "4", "--health", "8090", "--interface", "eth0", "-i", "10.0.0.0/8")
        self.assertEqual((options["max-age"], options["health"]), (4, 8090))
        self.assertEqual(options["interfaces"], ["eth0", "10.0.0.0/8"])

    def test_invalid_numbers(self) -> None:
        """Numbers out of range are rejected."""
        for arguments in (("--max-age", "0"), ("--max-age", "x"), ("--health", "0"), ("--health", "65536")):
            self.assertRaises(UsageError, self.parse, *arguments)

    def test_no_file(self) -> None:
        """A command line without --config is rejected."""
        self.assertRaises(UsageError, Options().parseOptions, [])

    def test_bad_file(self) -> None:
        """A file with faults is rejected, and the error lists all of them."""
        path = self.mktemp()
        Path(path).write_text('{"ssdp": {"d": {}}}')
        error = self.assertRaises(UsageError, Options().parseOptions, ["--config", path])
        self.assertIn(path, str(error))
        self.assertIn("ssdp.d.urnList: is missing\nssdp.d.broadcastIP: is missing", str(error))


class MakeServiceTests(SynchronousTestCase):
    """Tests for :func:`makeService`. The system tests start its service."""

    def test_parts(self) -> None:
        """The service has an announcer, and a web server only with ``--health``."""
        options = Options()
        options["devices"] = [Device("d", "uuid:d", ("uuid:d",), ("http://10.0.0.1:80/",))]
        [announcer] = cast(MultiService, makeService(options))
        self.assertIsInstance(announcer, Announcer)
        options["health"] = 8090
        self.assertEqual(len(list(cast(MultiService, makeService(options)))), 2)
