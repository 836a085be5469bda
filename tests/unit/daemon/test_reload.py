"""Tests for :mod:`ssdpreg.daemon.reload`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import Config, parse
from ssdpreg.daemon.reload import ReloadService

PLAIN: dict[str, Any] = {"ssdp": {"tags": {"T": ["urn:a"]}}}


class SignalReactor:
    """A reactor that calls functions of other threads at once."""

    def callFromThread(self, function: Callable[[], None]) -> None:  # noqa: N802
        function()


class ReloadServiceTests(SynchronousTestCase):
    """Tests for :class:`ReloadService`."""

    def setUp(self) -> None:
        self.applied: list[Config] = []
        self.file: object = PLAIN
        self.service = ReloadService(SignalReactor(), self.load, self.load(), self.applied.append)

    def load(self) -> Config:
        return parse(json.dumps(self.file))

    @contextmanager
    def assert_logged(self, *expected: str) -> Iterator[None]:
        """Assert that exactly these lines are logged, each with its level."""
        with capturedLogs() as events:
            yield
        self.assertEqual([f"{event['log_level'].name} {formatEvent(event)}" for event in events], list(expected))

    def test_sighup(self) -> None:
        """SIGHUP applies the new configuration. It is ignored while the daemon stops."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.service.startService()
        self.file = {"ssdp": {"tags": {"T": ["urn:b"]}}}
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([config.search_terms() for config in self.applied], [{"urn:b": "T"}])
        self.service.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(len(self.applied), 1)

    def test_faults(self) -> None:
        """A faulty file is logged with its faults, and the previous configuration stays in effect."""
        self.file = {"ssdp": {}}
        with self.assert_logged(
            "error Configuration not reloaded, the previous one stays in effect:\nssdp.tags: is missing"
        ):
            self.service.reload()
        self.assertEqual(self.applied, [])

    def test_keys_that_need_a_restart(self) -> None:
        """A change of a key that is used only at start is logged, and the other changes are applied."""
        self.file = {**PLAIN, "web": {"endpoint": None}, "ssdp": {**PLAIN["ssdp"], "names": "dns"}}
        with self.assert_logged(
            "warn The change of web.endpoint takes effect at the next start", "info Configuration reloaded"
        ):
            self.service.reload()
        self.assertEqual([config.ssdp.names for config in self.applied], ["dns"])

    def test_change_reverted(self) -> None:
        """A configuration is compared with the one at start, so that a reverted change is not logged."""
        self.file = {**PLAIN, "web": {"endpoint": None}}
        self.service.reload()
        self.file = PLAIN
        with self.assert_logged("info Configuration reloaded"):
            self.service.reload()

    def test_reloadable_keys(self) -> None:
        """Changes of tags, checks, names and service tags are applied without a warning."""
        self.file = {
            "ssdp": {"tags": {"T": ["urn:b"]}, "checks": {"urn:b": {"tcp": True}}, "names": "dns"},
            "backend": {"service_tags": ["x"]},
        }
        with self.assert_logged("info Configuration reloaded"):
            self.service.reload()
        self.assertEqual(len(self.applied), 1)
