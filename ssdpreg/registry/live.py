"""Registrations of the live services, published to listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from twisted.logger import Logger

from ssdpreg.discovery.events import Reason
from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration.announced import AnnouncedRegistration


class LiveRegistrations:
    """
    Registrations of the live services, published to listeners.

    :ivar by_id: Read-only view of the registrations by service ID, in the order of their first announcement.
    """

    log = Logger()

    def __init__(self) -> None:
        self._by_id: dict[str, AnnouncedRegistration] = {}
        self._listeners: list[IRegistrationListener] = []
        self.by_id: Mapping[str, AnnouncedRegistration] = MappingProxyType(self._by_id)
        self._observers: list[Callable[[str], object]] = []

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Publish every further change to a listener."""
        self._listeners.append(listener)

    def observe_claims(self, observe: Callable[[str], object]) -> None:
        """Call a function with the service ID at each :meth:`report_claim`."""
        self._observers.append(observe)

    def report_claim(self, service_id: str) -> None:
        """Call the observers for a service with another claim, whether its registration has changed or not."""
        for observe in self._observers:
            try:
                observe(service_id)
            except Exception:  # noqa: PERF203
                self.log.failure("{observer} failed to process a claim", observer=observe)

    def put(self, registration: AnnouncedRegistration) -> None:
        """Add or replace a registration. Nothing is published if it is equal to the present one."""
        before = self._by_id.get(registration.service_id)
        # No comparison with None, which would call the comparison of registrations.
        if before is not None and before == registration:
            return
        self._by_id[registration.service_id] = registration
        for listener in self._listeners:
            try:
                if before is None:
                    listener.appeared(registration)
                else:
                    listener.changed(registration, before)
            except Exception:  # noqa: PERF203
                self._log_failure(listener, "appeared" if before is None else "changed")

    def remove(self, service_id: str, reason: Reason) -> None:
        """
        Remove a registration.

        :param reason: See :meth:`ssdpreg.interfaces.IRegistrationListener.left`.
        """
        registration = self._by_id.pop(service_id)
        for listener in self._listeners:
            try:
                listener.left(registration, reason)
            except Exception:  # noqa: PERF203
                self._log_failure(listener, "left")

    def _log_failure(self, listener: IRegistrationListener, event: str) -> None:
        """
        Log the present exception of a listener.

        :param event: Verb for the log: ``appeared``, ``changed`` or ``left``.
        """
        self.log.failure(
            "{listener} failed to process a service that {event}", listener=type(listener).__name__, event=event
        )
