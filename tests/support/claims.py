"""Claims, for tests."""

from __future__ import annotations

from ssdpreg.discovery.claims import Claim
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import advertisement

OWNER, OTHER = "10.0.0.5", "10.0.0.66"


def claim(
    host: str = OWNER,
    now: float = 1000.0,
    max_age: int = 100,
    sender: str = "",
    channel: Channel = Channel.GROUP,
    port: int = 80,
) -> Claim:
    """Return the claim that a service is at a host, from that host unless another sender is given."""
    return Claim(advertisement(host, max_age, port=port), Reception(sender or host, "eth0", channel), now)
