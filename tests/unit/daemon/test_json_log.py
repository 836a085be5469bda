"""Tests for :mod:`ssdpreg.daemon.json_log`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.daemon.json_log import format_event
from ssdpreg.errors import ConfigError, Fault


class FormatEventTests(SynchronousTestCase):
    """Tests for :func:`format_event`."""

    def line(self, log: Callable[[Logger], None]) -> dict[str, Any]:
        """Return the line written for an event, parsed."""
        events: list[LogEvent] = []
        log(Logger("ssdpreg.test", observer=cast(ILogObserver, events.append)))
        text = format_event(events[0])
        self.assertTrue(text.endswith("\n") and text.count("\n") == 1)
        return cast(dict[str, Any], json.loads(text))

    def test_flat(self) -> None:
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

    def test_reserved_keys(self) -> None:
        """A field of the event does not replace a key of the line."""
        line = self.line(lambda log: log.warn("m {logger}", logger="fake", message="fake"))
        self.assertEqual((line["logger"], line["message"]), ("ssdpreg.test", "m fake"))

    def test_failure(self) -> None:
        """A failure is written with its traceback."""
        line = self.line(lambda log: log.failure("Broken", Failure(ConfigError(Fault("a", "b")))))
        self.assertEqual(line["level"], "critical")
        self.assertIn("ConfigError", line["traceback"])
