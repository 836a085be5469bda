"""Services by device and URN. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ssdpreg.discovery.shared import shared_with
from ssdpreg.discovery.tracked import TrackedService


class DeviceIndex:
    """
    Services by device ID, which is compared case-insensitively, and URN.

    A device with several services has a dictionary of them. Most devices have one service, and need none: a dictionary
    with one entry is larger than a claim.
    """

    def __init__(self) -> None:
        self._devices: dict[str, TrackedService | dict[str, TrackedService]] = {}

    def __iter__(self) -> Iterator[TrackedService]:
        for entry in self._devices.values():
            yield from _services(entry)

    def find(self, device_id: str, urn: str) -> TrackedService | None:
        """Return the service of a device and URN, or None."""
        entry = self._devices.get(device_id.casefold())
        if isinstance(entry, dict):
            return entry.get(urn)
        return entry if entry is not None and entry.claim.advertisement.urn == urn else None

    def of_device(self, device_id: str) -> Iterable[TrackedService]:
        """Return the services of a device."""
        entry = self._devices.get(device_id.casefold())
        return () if entry is None else _services(entry)

    def add(self, service: TrackedService) -> None:
        """Add a service that is not in the index."""
        advertisement = service.claim.advertisement
        key = shared_with(advertisement.device_id, advertisement.device_id.casefold())
        entry = self._devices.get(key)
        if entry is None:
            self._devices[key] = service
        elif isinstance(entry, dict):
            entry[advertisement.urn] = service
        else:
            self._devices[key] = {entry.claim.advertisement.urn: entry, advertisement.urn: service}

    def remove(self, service: TrackedService) -> None:
        """Remove a service."""
        advertisement = service.claim.advertisement
        key = advertisement.device_id.casefold()
        entry = self._devices[key]
        if isinstance(entry, dict) and len(entry) > 1:
            del entry[advertisement.urn]
        else:
            del self._devices[key]


def _services(entry: TrackedService | dict[str, TrackedService]) -> tuple[TrackedService, ...]:
    return tuple(entry.values()) if isinstance(entry, dict) else (entry,)
