"""
Twisted protocol that does nothing with a datagram: the unit of all CPU times.

    python -m bench.receivers.nothing ADDRESS SEARCH_INTERVAL
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import GROUP, PORT, SEARCH_ALL, SearchRequest

reactor: Any = installed


class Nothing(DatagramProtocol):
    """Protocol that ignores all datagrams."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        pass


def main(address: str, search_interval: float) -> None:
    """
    Receive the datagrams of the SSDP group, and the replies to searches.

    :param search_interval: Seconds between two searches; 0 for none.
    """
    group = reactor.listenMulticast(PORT, Nothing(), GROUP, 65507, listenMultiple=True)
    group.joinGroup(GROUP, address)
    if search_interval:
        search = reactor.listenMulticast(0, Nothing(), address, 65507)
        search.setOutgoingInterface(address)
        request = encode(SearchRequest(SEARCH_ALL, 5))
        LoopingCall(search.write, request, (GROUP, PORT)).start(search_interval)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
