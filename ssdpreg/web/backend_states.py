"""Numbers of the live services by their state in the backend, without a look at every service at each request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.reconciler import ServiceState
from ssdpreg.registration import Registration
from ssdpreg.web.slices import RequestCooperator, run_in_slices

#: Names of the states: see :class:`ssdpreg.reconciler.ServiceState`.
STATES = ("registered", "waiting", "refused")

#: Number of services that are examined in one slice.
_SLICE = 1000
#: Seconds between two examinations of all services: as often as the reconciler compares everything with the backend.
_FULL_INTERVAL = 30.0
#: Seconds between two examinations of many services that are not registered, such as all while Consul is away.
_INTERVAL = 1.0


@implementer(IRegistrationListener)
class BackendStates:
    """
    States of the live services in the backend.

    Only services that changed, or that were not registered at the last examination, are examined at each request. A
    registered service changes its state without an event only if the backend lost it: all services are examined every
    30 s, and at each request if they are few.

    :param reactor: Provides ``IReactorTime``.
    :param registrations: The live services by service ID.
    :param state: :meth:`ssdpreg.reconciler.service.Reconciler.state`.
    :param cooperator: Runs the examinations.
    :ivar refused: IDs of the services that the backend refused, at the last examination.
    """

    def __init__(
        self,
        reactor: Any,
        registrations: Mapping[str, Registration],
        state: Callable[[str], ServiceState],
        cooperator: RequestCooperator,
    ) -> None:
        self._reactor, self._registrations, self._state, self._cooperator = reactor, registrations, state, cooperator
        # Services that are not known to be registered.
        self._open: dict[str, None] = dict.fromkeys(registrations)
        self.refused: dict[str, None] = {}
        self._examined_all_at = reactor.seconds()
        self._examined_at = -math.inf
        # Requests that wait for the examination that is under way; None if there is none.
        self._waiting: list[Deferred[None]] | None = None

    def appeared(self, registration: Registration) -> None:
        self._open[registration.service_id] = None

    def changed(self, registration: Registration, before: Registration) -> None:
        self._open[registration.service_id] = None

    def left(self, registration: Registration, reason: str) -> None:
        self._open.pop(registration.service_id, None)
        self.refused.pop(registration.service_id, None)

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of services that are ``registered``, ``waiting`` and ``refused``, at the last examination."""
        refused = len(self.refused)
        return {
            "registered": len(self._registrations) - len(self._open),
            "waiting": len(self._open) - refused,
            "refused": refused,
        }

    def name(self, service_id: str) -> str:
        """Return the name of a live service's state, at the last examination."""
        if service_id in self.refused:
            return "refused"
        return "waiting" if service_id in self._open else "registered"

    async def refresh(self) -> None:
        """Examine the services whose state may have changed. Requests that come together share one examination."""
        if self._waiting is not None:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
            return
        service_ids = self._due()
        self._waiting = []
        try:
            await run_in_slices(self._cooperator, self._examine(service_ids))
            # A dictionary does not become smaller when its items are removed.
            self._open = dict(self._open)
        finally:
            waiting, self._waiting = self._waiting, None
            for waiter in waiting:
                waiter.callback(None)

    def _due(self) -> Sequence[str]:
        now = self._reactor.seconds()
        if len(self._registrations) <= _SLICE:
            return list(self._registrations)
        if now - self._examined_all_at >= _FULL_INTERVAL:
            self._examined_all_at = self._examined_at = now
            return list(self._registrations)
        if len(self._open) > _SLICE and now - self._examined_at < _INTERVAL:
            return ()
        self._examined_at = now
        return list(self._open)

    def _examine(self, service_ids: Sequence[str]) -> Iterator[None]:
        for position, service_id in enumerate(service_ids, 1):
            self._examine_one(service_id)
            if not position % _SLICE:
                yield

    def _examine_one(self, service_id: str) -> None:
        if service_id not in self._registrations:
            return
        name = self._state(service_id).name
        if name == "registered":
            self._open.pop(service_id, None)
        else:
            self._open[service_id] = None
        if name == "refused":
            self.refused[service_id] = None
        else:
            self.refused.pop(service_id, None)
