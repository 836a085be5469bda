"""Reload of the configuration at SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from ssdpreg.config import Config
from ssdpreg.config.reader import changed_paths
from ssdpreg.errors import ConfigError

#: Keys whose new values take effect at once. The others configure sockets, connections and limits, which are created
#: only at start.
_RELOADABLE = frozenset({"ssdp.tags", "ssdp.checks", "ssdp.names", "backend.service_tags"})


class ReloadService(Service):
    """
    Load the configuration again at each SIGHUP. Without this service, the signal ends the process.

    After :meth:`stopService` the signal is ignored: it would end the daemon before its services are deregistered.

    :param reactor: Provides ``IReactorFromThreads``.
    :param load: Returns the configuration, or raises :class:`ssdpreg.errors.ConfigError`.
    :param config: The configuration with which the daemon was started.
    :param apply: Called with each valid configuration. Puts the keys in :data:`_RELOADABLE` into effect.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, load: Callable[[], Config], config: Config, apply: Callable[[Config], None]
    ) -> None:
        self._reactor, self._load, self._started, self._apply = reactor, load, config, apply

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, self._receive_signal)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _receive_signal(self, number: int, frame: FrameType | None) -> None:
        # Python calls this function between any two instructions, so the reactor has to make the call.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Load the configuration, and apply it if it is valid."""
        try:
            config = self._load()
        except ConfigError as error:
            self.log.error("Configuration not reloaded, the previous one stays in effect:\n{faults}", faults=str(error))
            return
        for path in changed_paths(self._started, config):
            if path not in _RELOADABLE:
                self.log.warn("The change of {path} takes effect at the next start", path=path)
        self._apply(config)
        self.log.info("Configuration reloaded")
