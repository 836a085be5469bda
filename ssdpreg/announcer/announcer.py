"""Service that announces devices over SSDP and replies to searches for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ssdpreg.announcer.devices import Device
from ssdpreg.errors import MessageError
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Channel, Reception
from ssdpreg.timers import DelayedCalls, RepeatingCall

#: Seconds between the two copies of the first announcement and of a byebye. Each is sent twice because UDP loses
#: datagrams: UPnP Device Architecture 2.0 (UDA), 1.2.2.
_COPY_DELAY = 0.3
#: Longest random delay of the first announcement, in seconds. UDA, 1.2.2: devices that start together must not send all
#: at once.
_LONGEST_INITIAL_DELAY = 0.1
#: Range of the random interval between announcements, as shares of max-age. UDA, 1.2.2: less than half of it, here also
#: when the process or the network is late.
_INTERVAL_RANGE = (0.35, 0.45)
#: Longest random delay of the reply to a unicast search, in seconds. UDA, 1.3.3: a device replies within 1 s.
_LONGEST_UNICAST_DELAY = 0.5
#: Seconds between two refreshes of the network's interfaces.
_REFRESH_INTERVAL = 5


class Announcer(Service):
    """
    Announce devices while running, reply to searches for them, and send a byebye for each when stopped.

    :param reactor: Provides ``IReactorTime``.
    :param open_network: Makes the network, as ``open_network(deliver=…, drop=…, announcing=True)``.
    :param devices: Devices to announce.
    :param max_age: Lifetime of an announcement in seconds.
    :param rng: Source of random delays.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        open_network: Callable[..., Network],
        devices: Sequence[Device],
        max_age: int = 30,
        rng: random.Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._network = open_network(deliver=self._receive, drop=self._ignore, announcing=True)
        self._devices = devices
        self._announced = [device for device in devices if not device.search_only]
        self._max_age = max_age
        self._rng = rng or random.Random()
        self._delayed = DelayedCalls(reactor)
        self._refreshing = RepeatingCall(
            reactor, _REFRESH_INTERVAL, self._refresh_interfaces, self.log, "Refresh of the interfaces"
        )

    def startService(self) -> None:
        super().startService()
        self.log.info("Announcing {count} devices", count=len(self._devices))
        for device in self._announced:
            self._schedule_announcement(device)
        self._refreshing.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._refreshing.stop()
        self._delayed.cancel_all()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        self._send_byebyes()
        await deferLater(self._reactor, _COPY_DELAY, self._send_byebyes)
        await self._network.close()
        self.log.info("Sent byebye for {count} devices", count=len(self._announced))

    def _refresh_interfaces(self) -> None:
        """Open new interfaces, and announce every device if there is one."""
        if self._network.refresh():
            for device in self._announced:
                delay = self._rng.uniform(0, _LONGEST_INITIAL_DELAY)
                self._delayed.call(delay, self._announce, device)
                self._delayed.call(delay + _COPY_DELAY, self._announce, device)

    def _schedule_announcement(self, device: Device) -> None:
        self._delayed.call(self._max_age * self._rng.uniform(*_INTERVAL_RANGE), self._repeat_announcement, device)

    def _repeat_announcement(self, device: Device) -> None:
        self._schedule_announcement(device)
        self._announce(device)

    def _announce(self, device: Device) -> None:
        versions = self._network.versions
        for version in versions:
            for nt in device.types:
                for location in device.locations_over(version, versions):
                    self._network.send(Alive(nt, device.usn(nt), location, self._max_age), [version])

    def _send_byebyes(self) -> None:
        versions = self._network.versions
        for device in self._announced:
            announced = [version for version in versions if device.locations_over(version, versions)]
            for nt in device.types:
                self._network.send(ByeBye(nt, device.usn(nt)), announced)

    def _receive(self, message: Message, reception: Reception, peer: PeerAddress) -> None:
        """Reply to a search; ignore any other message."""
        if not isinstance(message, SearchRequest):
            return
        unicast = reception.channel is Channel.UNICAST
        # UDA, 1.3.3: a multicast search without MX, or with MX 0, gets no reply. A unicast search has none.
        if not message.mx and not unicast:
            return
        replies = [
            SearchResponse(st, device.usn(st), location, self._max_age)
            for device in self._devices
            for st in device.answers(message.st)
            for location in device.locations_over(6 if ":" in peer[0] else 4, self._network.versions)
        ]
        if replies:
            self.log.debug("{peer} searches {st}: {count} replies", peer=peer, st=message.st, count=len(replies))
        longest = _LONGEST_UNICAST_DELAY if unicast else float(message.mx or 0)
        for reply in replies:
            self._delayed.call(self._rng.uniform(0, longest), self._network.reply, reply, peer, reception.interface)

    def _ignore(self, error: MessageError, reception: Reception, peer: PeerAddress) -> None:
        """Ignore an invalid datagram."""
