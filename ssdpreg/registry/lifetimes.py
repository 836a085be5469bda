"""Recording of the remaining lifetimes of services."""

from __future__ import annotations

import math
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from ssdpreg.interfaces import ILifetimeStore
from ssdpreg.registry.service import Registry
from ssdpreg.timers import RepeatingCall

#: Seconds between two recordings of lifetimes.
_RECORD_INTERVAL = 2.0


class LifetimeRecorder(Service):
    """
    Service that records the remaining lifetimes of services, so that a restart does not prolong them.

    :param reactor: Provides ``IReactorTime``.
    :param registry: Source of the lifetimes.
    :param store: Destination.
    """

    log = Logger()

    def __init__(self, reactor: Any, registry: Registry, store: ILifetimeStore) -> None:
        self._reactor, self._registry, self._store = reactor, registry, store
        self._recorded_at = -math.inf
        self._recording = RepeatingCall(reactor, _RECORD_INTERVAL, self._record, self.log)

    def startService(self) -> None:
        super().startService()
        self._recording.start(now=False)

    def stopService(self) -> None:
        super().stopService()
        self._recording.stop()

    def _record(self) -> None:
        """Record the lifetimes of the services that were received since the last recording."""
        now = self._reactor.seconds()
        lifetimes = {
            registration.service_id: service.expires_at - now
            for registration, service in self._registry.services()
            if service.received_at >= self._recorded_at
        }
        self._recorded_at = now
        if lifetimes:
            self._store.remember(lifetimes)
