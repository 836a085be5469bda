"""What a service manager is told: that the daemon is ready, that it lives, and that it ends. See sd_notify(3)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall


class NotifyService(Service):
    """
    Tells systemd, if the environment says that it listens.

    :param reactor: Provides ``IReactorTime``.
    :param environ: Has ``NOTIFY_SOCKET``, and ``WATCHDOG_USEC`` if signs of life are wanted.
    """

    def __init__(self, reactor: Any, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        self._living = LoopingCall(self._tell, "WATCHDOG=1")
        self._living.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._tell("READY=1")
        if self._watchdog:
            # Half the time, as sd_watchdog_enabled(3) has it.
            self._living.start(self._watchdog / 2)

    def stopService(self) -> None:
        super().stopService()
        if self._living.running:
            self._living.stop()
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # A leading "@" is an address without a file.
        address = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.setblocking(False)
            try:
                notifier.sendto(state.encode(), address)
            except OSError:
                # Nobody listens any more, and nobody misses it.
                return
