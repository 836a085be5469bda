"""``twistd ssdpspoof``: announces over SSDP what a file says, to try listeners with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from twisted.application import strports
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorMulticast, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from ssdpreg.announcer.devices import Device, load
from ssdpreg.errors import ConfigError, MessageError
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import Address
from ssdpreg.timers import DelayedCalls

#: Seconds between the two times that what matters is said, for UDP loses datagrams: UPnP Device Architecture 2.0 (UDA),
#: 1.2.2.
_APART = 0.3
#: Devices that start together are not to speak all at once: UDA, 1.2.2. Seconds.
_LONGEST_SILENCE = 0.1
#: Devices announce themselves again before half of max-age is over, and not all at once: UDA, 1.2.2. Shares of it.
_PERIOD = (0.4, 0.5)
#: Seconds between two looks at which interfaces there are.
_LOOK_INTERVAL = 5


class Announcer(Service):
    """
    Announces devices for as long as it runs, answers searches for them, and takes them back at its end.

    :param reactor: Provides ``IReactorTime``.
    :param open_network: Makes the sockets, as ``open_network(deliver=…, drop=…)``.
    :param devices: What is announced.
    :param max_age: Seconds that an announcement is valid.
    :param rng: Spreads what would otherwise be sent all at once.
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
        self._network = open_network(deliver=self._deliver, drop=self._drop)
        self._devices = devices
        self._announced = [device for device in devices if not device.search_only]
        self._max_age = max_age
        self._rng = rng or random.Random()
        self._delayed = DelayedCalls(reactor)

    def startService(self) -> None:
        super().startService()
        self.log.info("Announcing {count} devices", count=len(self._devices))
        for device in self._announced:
            self._repeat_later(device)
        self._look()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._delayed.cancel_all()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        self._take_back()
        await deferLater(self._reactor, _APART, self._take_back)
        await self._network.close()
        self.log.info("Took back {count} devices", count=len(self._devices))

    def _look(self) -> None:
        """Use the interfaces that there are now. On one that is new nobody has heard of us yet."""
        self._delayed.call(_LOOK_INTERVAL, self._look)
        if self._network.refresh():
            for device in self._announced:
                silence = self._rng.uniform(0, _LONGEST_SILENCE)
                self._delayed.call(silence, self._announce, device)
                self._delayed.call(silence + _APART, self._announce, device)

    def _repeat_later(self, device: Device) -> None:
        self._delayed.call(self._max_age * self._rng.uniform(*_PERIOD), self._repeat, device)

    def _repeat(self, device: Device) -> None:
        self._repeat_later(device)
        self._announce(device)

    def _announce(self, device: Device) -> None:
        for nt in device.types:
            for location in device.locations:
                self._network.send(Alive(nt, device.usn(nt), location, self._max_age))

    def _take_back(self) -> None:
        for device in self._announced:
            for nt in device.types:
                self._network.send(ByeBye(nt, device.usn(nt)))

    def _deliver(self, message: Message, peer: Address, interface: str) -> None:
        # A search without MX, or with 0, is none: UDA, 1.3.3.
        if not isinstance(message, SearchRequest) or not message.mx:
            return
        replies = [
            SearchResponse(st, device.usn(st), location, self._max_age)
            for device in self._devices
            for st in device.answers(message.st)
            for location in device.locations
        ]
        if replies:
            self.log.debug("{peer} searches {st}: {count} replies", peer=peer, st=message.st, count=len(replies))
        for reply in replies:
            self._delayed.call(self._rng.uniform(0, message.mx), self._network.reply, reply, peer, interface)

    def _drop(self, error: MessageError, peer: Address, interface: str) -> None:
        """What others say wrong is no concern of a device."""


def _health(devices: Sequence[Device]) -> Resource:
    """Serve what RackHD has at ``/api/2.0/nodes``, which ``registry.json`` has checked: a list."""
    nodes = [{"id": device.udn.removeprefix("uuid:"), "name": device.name} for device in devices]
    root, api, version = Resource(), Resource(), Resource()
    root.putChild(b"api", api)
    api.putChild(b"2.0", version)
    version.putChild(b"nodes", Data(json.dumps(nodes).encode(), "application/json"))
    return root


def _max_age(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError("it is a number of seconds, 1 or more")
    return seconds


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError("it is a port, 1 to 65535")
    return port


class Options(usage.Options):
    """What the command line says, and after it was read the devices, as ``options["devices"]``."""

    synopsis = "--config FILE [--max-age SECONDS] [--health PORT] [--interface NAME]..."
    longdesc = "Announces over SSDP what a file says, answers searches for it, and takes it back at its end."

    optParameters: ClassVar = [
        ["config", "c", None, "What to announce, such as demo/spoof.json."],
        [
            "max-age",
            "m",
            30,
            "Seconds that an announcement is valid; it is repeated in less than half of them.",
            _max_age,
        ],
        ["health", None, None, "Port to serve GET /api/2.0/nodes on.", _port],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["interfaces"] = []

    def opt_interface(self, name: str) -> None:
        """Name of an interface to use, or a network that it has an address in; may be repeated. Default: all."""
        self["interfaces"].append(name)

    opt_i = opt_interface

    def postOptions(self) -> None:
        if self["config"] is None:
            raise usage.UsageError("--config FILE is missing")
        try:
            self["devices"] = load(self["config"])
        except ConfigError as error:
            raise usage.UsageError(f"{self['config']}:\n{error}") from error


def makeService(options: Options) -> IService:
    """Make what ``twistd ssdpspoof`` runs."""
    from twisted.internet import reactor

    devices = options["devices"]
    service = MultiService()
    open_network = partial(Network, IReactorMulticast(reactor), interfaces=options["interfaces"])
    Announcer(IReactorTime(reactor), open_network, devices, options["max-age"]).setServiceParent(service)
    if options["health"] is not None:
        strports.service(f"tcp:{options['health']}", Site(_health(devices))).setServiceParent(service)
    return service
