"""Memory of the homes of services that are no longer in the table. Pure: time is an argument, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds for which a host must have held a service to be its home after the service has left. Services that a flood
#: announces once, with a short max-age, live for a shorter time.
SHORTEST = 600.0
#: Seconds for which a home is kept: a device may be off for a night, or for a day.
MEMORY = 86_400.0
#: Number of homes that are kept. Those that held their services longest stay.
LIMIT = 4096

#: Device ID in lower case, and identity of the service within the device.
ServiceKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Home:
    """
    Home of a service that has left.

    :ivar host: Host that held the service longest.
    :ivar held: Seconds for which it held the service.
    :ivar left_at: Time at which the service left.
    """

    host: str
    held: float
    left_at: float


class Homes:
    """
    Homes of services that have left, for a day.

    Otherwise a host that claims a service while its device is off would be the home, and a device that never replies to
    searches could not get its service back.
    """

    def __init__(self) -> None:
        self._homes: dict[ServiceKey, Home] = {}

    def __len__(self) -> int:
        return len(self._homes)

    def remember(self, key: ServiceKey, host: str, held: float, now: float) -> None:
        """Keep the home of a service that leaves, if it held the service for long enough."""
        if held < SHORTEST:
            return
        self._homes[key] = Home(host, held, now)
        # Twice the limit: a selection needs time.
        if len(self._homes) >= 2 * LIMIT:
            recent = [item for item in self._homes.items() if now - item[1].left_at <= MEMORY]
            recent.sort(key=lambda item: item[1].held, reverse=True)
            self._homes = dict(recent[:LIMIT])

    def recall(self, key: ServiceKey, now: float) -> Home | None:
        """Return the home of a service that appears, and remove it from the memory."""
        home = self._homes.pop(key, None)
        return None if home is None or now - home.left_at > MEMORY else home
