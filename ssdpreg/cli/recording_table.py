"""Table of live services that reports its decisions, for explanations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import Event
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Reception


class RecordingTable(AdvertisementTable):
    """
    Table that reports the events of each decision before the registry applies them.

    :ivar caused: Called as ``caused(events)`` with the events that a message causes.
    :ivar decided: Called as ``decided(events, now)`` with the events that the passing of time causes.
    :ivar rejection: Reason for which the latest message was rejected, empty if it was not.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.caused: Callable[[list[Event]], None] = lambda events: None
        self.decided: Callable[[list[Event], float], None] = lambda events, now: None
        self.rejection = ""

    def observe(self, advertisement: Advertisement, reception: Reception, now: float) -> list[Event]:
        try:
            events = super().observe(advertisement, reception, now)
        except RejectedError as error:
            self.rejection = error.reason
            raise
        self.caused(events)
        return events

    def bye(self, device_id: str, urn: str | None, sender: str, now: float, interface: str = "") -> list[Event]:
        events = super().bye(device_id, urn, sender, now, interface)
        self.caused(events)
        return events

    def expire(self, now: float, limit: int = 1000) -> list[Event]:
        events = super().expire(now, limit)
        self.decided(events, now)
        return events
