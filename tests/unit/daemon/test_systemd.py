"""Tests for :mod:`ssdpreg.daemon.systemd`."""

from __future__ import annotations

import contextlib
import os
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.daemon.systemd import NotifyService


class NotifyServiceTests(SynchronousTestCase):
    """Tests for :class:`NotifyService`."""

    def setUp(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.listener.close)
        self.listener.bind(f"\0ssdpreg-test-{os.getpid()}")
        self.listener.setblocking(False)
        self.clock = Clock()

    def notifications(self) -> list[bytes]:
        """Return the notifications received since the last call."""
        received = []
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(self.listener.recv(100))
        return received

    def test_notifications(self) -> None:
        """The states ready and stopping are sent, and keep-alives at half of the watchdog time in between."""
        environ = {"NOTIFY_SOCKET": f"@ssdpreg-test-{os.getpid()}", "WATCHDOG_USEC": "30000000"}
        service = NotifyService(self.clock, environ)
        service.startService()
        self.assertEqual(self.notifications(), [b"READY=1", b"WATCHDOG=1"])
        self.clock.advance(14.9)
        self.assertEqual(self.notifications(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.notifications(), [b"WATCHDOG=1"])
        service.stopService()
        self.assertEqual((self.notifications(), self.clock.getDelayedCalls()), ([b"STOPPING=1"], []))

    def test_without_systemd(self) -> None:
        """Without systemd, or with a socket that does not exist, nothing is sent and nothing raised."""
        for environ in ({}, {"NOTIFY_SOCKET": "/nonexistent/socket"}):
            service = NotifyService(self.clock, environ)
            service.startService()
            service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_watchdog(self) -> None:
        """Without a watchdog no keep-alives are sent."""
        service = NotifyService(self.clock, {"NOTIFY_SOCKET": f"@ssdpreg-test-{os.getpid()}"})
        service.startService()
        self.clock.advance(1000)
        service.stopService()
        self.assertEqual(self.notifications(), [b"READY=1", b"STOPPING=1"])
