"""SIGHUP: the configuration is read again while the daemon runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.logger import Logger

from ssdpreg.config import Config
from ssdpreg.errors import ConfigError

#: What takes effect at once. The rest is sockets, connections and limits, which are made once.
_RELOADED = ("ssdp.tags", "ssdp.checks", "ssdp.names", "backend.service_tags")


class ReloadService(Service):
    """
    Reads the configuration again at each SIGHUP, which would otherwise end the process.

    :param reactor: Provides ``IReactorFromThreads``.
    :param load: Reads the configuration, or raises :class:`ssdpreg.errors.ConfigError`.
    :param config: What the daemon was started with.
    :param apply: Puts another configuration in force, as far as :data:`_RELOADED` goes.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, load: Callable[[], Config], config: Config, apply: Callable[[Config], None]
    ) -> None:
        self._reactor, self._load, self._started, self._apply = reactor, load, config, apply
        self._before: Any = None

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._hear)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(signal.SIGHUP, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # A signal comes between any two instructions; the reactor takes it up between two events.
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Read the configuration, and put it in force if nothing is wrong with it."""
        try:
            config = self._load()
        except ConfigError as error:
            self.log.error("Configuration not reloaded, the old one stays in force:\n{faults}", faults=str(error))
            return
        for path in _changed(self._started, config):
            if not path.startswith(_RELOADED):
                self.log.warn("A change of {path} takes effect at the next start", path=path)
        self._apply(config)
        self.log.info("Configuration reloaded")


def _changed(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Tell which keys differ, by their paths."""
    if type(before) is not type(after) or not attrs.has(type(before)):
        if before != after:
            yield path
        return
    for field in attrs.fields(type(before)):
        inner = f"{path}.{field.name}" if path else field.name
        yield from _changed(getattr(before, field.name), getattr(after, field.name), inner)
