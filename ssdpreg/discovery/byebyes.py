"""Memory of byebyes that were received before the adoption of services. Pure: time is an argument, in seconds."""

from __future__ import annotations

import math
from collections import OrderedDict

from ssdpreg.discovery.claims import Claim

#: Number of byebyes that are kept. The oldest one gives way.
LIMIT = 1024
#: Seconds for which a byebye is kept: the longest lifetime of a service.
MEMORY = 86_400.0


class ByeByes:
    """
    Byebyes that were received lately.

    An earlier run of the daemon, or another daemon, may have registered a service whose device leaves before this
    daemon adopts it: while it starts, or waits for the lock. Without its byebye, the service would stay until its
    max-age is over.
    """

    def __init__(self) -> None:
        # Sender and time of the latest byebye by device ID in lower case, and URN or None, the oldest first.
        self._byebyes: OrderedDict[tuple[str, str | None], tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._byebyes)

    def remember(self, device_id: str, urn: str | None, sender: str, now: float) -> None:
        """
        Keep a byebye.

        :param urn: URN of the service, or None for all services of the device.
        """
        key = device_id.casefold(), urn
        self._byebyes.pop(key, None)
        self._byebyes[key] = sender, now
        if len(self._byebyes) > LIMIT:
            self._byebyes.popitem(last=False)

    def discard(self, device_id: str, urn: str) -> None:
        """Remove the byebyes of a service that was announced again."""
        if self._byebyes:
            key = device_id.casefold()
            self._byebyes.pop((key, urn), None)
            self._byebyes.pop((key, None), None)

    def sender(self, claim: Claim, now: float) -> str | None:
        """Return the sender of a byebye that ends a claim which is adopted now, or None."""
        advertisement = claim.advertisement
        device_id = advertisement.device_id.casefold()
        for urn in (advertisement.urn, None):
            sender, received_at = self._byebyes.get((device_id, urn), ("", -math.inf))
            if now - received_at <= MEMORY and claim.owns(sender):
                return sender
        return None
