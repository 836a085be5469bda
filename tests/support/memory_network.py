"""In-memory double of :class:`ssdpreg.ssdp.network.Network`, for tests of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from twisted.internet.defer import Deferred, succeed

from ssdpreg.errors import MessageError
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import Message, SearchRequest
from ssdpreg.ssdp.protocol import PeerAddress, SSDPProtocol
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.ssdp.repeats import Repeat, RepeatMemo
from ssdpreg.ssdp.search_rounds import Deliver, Drop

_RECEPTION = lru_cache(None)(Reception)


class MemoryNetwork:
    """
    Network that records searches, and that delivers the datagrams that a test receives.

    :param deliver: As for the real network.
    :param drop: As for the real network.
    :param memo: Memo of repeated datagrams, as the real network has one; None to parse every datagram.
    :ivar adapters: Addresses by the names of the interfaces of the host. :meth:`refresh` opens and closes them.
    :ivar down: Interfaces that do not receive.
    :ivar losses: Losses that the next check of the reception finds: reasons by interface.
    :ivar searches: Searches that were sent to the group.
    :ivar host_searches: Search targets and hosts of the searches that were sent to single hosts.
    :ivar closed: Whether the sockets were closed since they were opened last.
    """

    def __init__(
        self,
        deliver: Deliver,
        drop: Drop,
        adapters: Mapping[str, str] | None = None,
        memo: RepeatMemo | None = None,
    ) -> None:
        self._memo = memo
        self._protocols: dict[tuple[str, Channel, bool], SSDPProtocol] = {}
        self._deliver, self._drop = deliver, drop
        self._open: dict[str, str] = {}
        self.adapters = {"eth0": "10.0.0.1"} if adapters is None else dict(adapters)
        self.down: set[str] = set()
        self.losses: dict[str, str] = {}
        self.searches: list[SearchRequest] = []
        self.host_searches: list[tuple[str, tuple[str, ...]]] = []
        self.closed = False
        self.overflows = self.rejected_searches = 0

    def refresh(self) -> bool:
        opened = bool(self.adapters.keys() - self._open.keys())
        self._open = dict(self.adapters)
        self.closed = False
        return opened

    def search(self, request: SearchRequest) -> None:
        # Once for each interface, as the real network does.
        self.searches += [request] * len(self._open)

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        self.host_searches.append((st, tuple(hosts)))

    def check_reception(self) -> Mapping[str, str]:
        losses, self.losses = self.losses, {}
        return {**losses, **dict.fromkeys(self.down, "down")}

    @property
    def interfaces(self) -> Sequence[tuple[str, str]]:
        return tuple(self._open.items())

    @property
    def memo_bytes(self) -> int:
        return 0 if self._memo is None else self._memo.size

    @property
    def broadcasts(self) -> frozenset[str]:
        return frozenset()

    @property
    def receiving(self) -> frozenset[str]:
        return frozenset(self._open.keys() - self.down)

    def close(self) -> Deferred[None]:
        self._open = {}
        self.closed = True
        return succeed(None)

    def receive(
        self,
        message: Message | bytes,
        sender: str = "10.0.0.5",
        channel: Channel = Channel.GROUP,
        interface: str = "eth0",
        *,
        on_link: bool = True,
    ) -> None:
        """Receive a datagram."""
        key = interface, channel, on_link
        if key not in self._protocols:
            self._protocols[key] = self._make_protocol(*key)
        datagram = message if isinstance(message, bytes) else encode(message)
        self._protocols[key].datagramReceived(datagram, (sender, 1900))

    def _make_protocol(self, interface: str, channel: Channel, on_link: bool) -> SSDPProtocol:
        """Return the protocol of a socket."""

        def deliver(message: Message, peer: PeerAddress) -> Repeat | None:
            return self._deliver(message, _RECEPTION(peer[0], interface, channel, on_link), peer)

        def drop(error: MessageError, peer: PeerAddress) -> None:
            self._drop(error, _RECEPTION(peer[0], interface, channel, on_link), peer)

        memo = None if self._memo is None else (self._memo, self._memo.new_scope())
        return SSDPProtocol(deliver, drop, memo=memo)

    def take_searches(self) -> list[tuple[str, int | None]]:
        """Return the target and MX of each search of the group since the last call."""
        taken, self.searches = self.searches, []
        return [(request.st, request.mx) for request in taken]
