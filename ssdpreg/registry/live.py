"""Registrations of the live services, published to listeners."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from twisted.logger import Logger

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration


class LiveRegistrations:
    """
    Registrations of the live services, published to listeners.

    :ivar by_id: Read-only view of the registrations by service ID, in the order of their first announcement.
    """

    log = Logger()

    def __init__(self) -> None:
        self._by_id: dict[str, Registration] = {}
        self._listeners: list[IRegistrationListener] = []
        self.by_id: Mapping[str, Registration] = MappingProxyType(self._by_id)

    def subscribe(self, listener: IRegistrationListener) -> None:
        """Publish every further change to a listener."""
        self._listeners.append(listener)

    def put(self, registration: Registration) -> None:
        """Add or replace a registration. Nothing is published if it is equal to the present one."""
        before = self._by_id.get(registration.service_id)
        if before == registration:
            return
        self._by_id[registration.service_id] = registration
        if before is None:
            self._publish("appeared", registration)
        else:
            self._publish("changed", registration, before)

    def remove(self, service_id: str, reason: str) -> None:
        """
        Remove a registration.

        :param reason: See :meth:`ssdpreg.interfaces.IRegistrationListener.left`.
        """
        self._publish("left", self._by_id.pop(service_id), reason)

    def _publish(self, event: str, *arguments: object) -> None:
        for listener in self._listeners:
            try:
                getattr(listener, event)(*arguments)
            except Exception:  # noqa: PERF203
                self.log.failure("{listener} failed on {event}", listener=listener, event=event)
