"""Notifications to the service manager: ready, watchdog keep-alive and stopping. See sd_notify(3)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from ssdpreg.timers import RepeatingCall


class NotifyService(Service):
    """
    Notify systemd of the state of this daemon, if it was started by a unit that expects notifications.

    :param reactor: Provides ``IReactorTime``.
    :param environ: Environment variables: ``NOTIFY_SOCKET`` is the address for notifications, ``WATCHDOG_USEC`` the
        longest time between two keep-alives in microseconds. Both are optional.
    """

    log = Logger()

    def __init__(self, reactor: Any, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        # sd_watchdog_enabled(3) recommends half of the time.
        self._keeping_alive = RepeatingCall(
            reactor, self._watchdog / 2, self._send_keep_alive, self.log, "Notification of the watchdog"
        )

    def startService(self) -> None:
        super().startService()
        self._send("READY=1")
        if self._watchdog:
            self._keeping_alive.start()

    def stopService(self) -> None:
        super().stopService()
        self._keeping_alive.stop()
        self._send("STOPPING=1")

    def _send_keep_alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # A leading "@" marks an address in the abstract namespace: unix(7).
        address = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.setblocking(False)
            try:
                notifier.sendto(state.encode(), address)
            except OSError:
                # sd_notify(3) recommends to ignore errors: the service works without its manager.
                return
