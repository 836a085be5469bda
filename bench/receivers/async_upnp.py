"""
Listener of async_upnp_client, which keeps a table of devices and registers nothing.

    python -m bench.receivers.async_upnp ADDRESS SEARCH_INTERVAL
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from async_upnp_client.ssdp_listener import SsdpListener


def ignore(device: Any, device_type: Any, source: Any) -> None:
    """Do nothing about a change."""


async def main(address: str, search_interval: float) -> None:
    """
    Receive the datagrams of the SSDP group, and the replies to searches.

    :param search_interval: Seconds between two searches; 0 for none.
    """
    listener = SsdpListener(callback=ignore, source=(address, 0))
    await listener.async_start()
    while True:
        if search_interval:
            await listener.async_search()
        await asyncio.sleep(search_interval or 3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
