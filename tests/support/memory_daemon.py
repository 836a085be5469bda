"""A daemon for tests, without a network, and readers of what it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from http.client import HTTPResponse
from io import BytesIO
from ipaddress import ip_network
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site

from ssdpreg.backends.embedded import EmbeddedBackend
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import IRegistryBackend, IRequestStatistics
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import Alive, ByeBye, Message
from ssdpreg.ssdp.network import Network
from ssdpreg.web.root import make_root
from ssdpreg.web.view import View

API = "urn:schemas-upnp-org:service:api:2.0"
LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


class Mute:
    """The sockets of a host with a network on which nobody speaks."""

    interfaces: Sequence[tuple[str, str]] = ()

    def __init__(self, deliver: object, drop: object) -> None:
        self._opened = False

    def refresh(self) -> bool:
        opened, self._opened = self._opened, True
        return not opened

    def send(self, message: Message) -> None:
        """Nobody hears it."""

    def close(self) -> Deferred[None]:
        return succeed(None)


class Daemon:
    """
    All parts of the daemon that are read from, on a clock or a real reactor, and with messages put in by hand.

    :ivar root: What its web server serves.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend | None = None,
        requests: IRequestStatistics | None = None,
        adapters: list[NetworkInterface] | None = None,
    ) -> None:
        self.registry = Registry(
            reactor,
            Mute if adapters is None else partial(Network, reactor, find_interfaces=lambda: adapters),
            AdvertisementTable(),
            RegistrationRules(scope="rack-7", tags=("lab", "Blue")),
            LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")]),
            random=Random(1),
        )
        self.registry.set_search_terms({API: "RackHD", LLDP: "Inservice", REDFISH: "RackHD"})
        self.reconciler = Reconciler(reactor, backend or EmbeddedBackend(), self.registry.adopt, random=Random(1))
        self.registry.subscribe(self.reconciler)
        self.view = View(self.registry, self.reconciler, "memory", "dc1", "host-1", requests)
        self.root: IResource = make_root(reactor, self.view)

    def start(self) -> None:
        """Start it."""
        self.registry.startService()
        self.reconciler.startService()

    def stop(self) -> Deferred[Any]:
        """Stop it."""
        return gatherResults([self.reconciler.stopService(), self.registry.stopService()])

    def hear_alive(
        self,
        device_id: str,
        nt: str = API,
        location: str = "http://10.0.0.5:8080/",
        max_age: int = 1800,
        sender: str = "10.0.0.5",
    ) -> None:
        """Let a device announce a service."""
        usn = f"uuid:{device_id}::{nt}"
        self.registry.deliver(Alive(nt, usn, location, max_age, "Linux/6 UPnP/2.0"), (sender, 1900), "eth0")

    def hear_bye(self, device_id: str, nt: str = API, sender: str = "10.0.0.5") -> None:
        """Let a device take back a service."""
        self.registry.deliver(ByeBye(nt, f"uuid:{device_id}::{nt}"), (sender, 1900), "eth0")


class Reader:
    """
    One request, on a connection in memory.

    :ivar status: HTTP status of the answer, or ``None`` while there is no answer.
    :ivar headers: Of the answer.
    :ivar body: Of the answer.
    """

    def __init__(
        self,
        root: IResource,
        reactor: Any,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._method = method
        site = Site(root, reactor=reactor)
        self._channel: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        self._transport: Any = StringTransportWithDisconnection(IPv4Address("TCP", "127.0.0.1", 8580))
        self._transport.protocol = self._channel
        self._channel.makeConnection(self._transport)
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: test",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._channel.dataReceived("\r\n".join([*lines, "", ""]).encode())

    def leave(self) -> None:
        """Hang up."""
        self._channel.connectionLost(Failure(ConnectionDone()))

    @property
    def sent(self) -> bytes:
        """All that was answered until now."""
        sent: bytes = self._transport.value()
        return sent

    @property
    def status(self) -> int | None:
        return self._response().status if self.sent else None

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._response().getheaders())

    @property
    def body(self) -> bytes:
        return self._response().read()

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body)

    def _response(self) -> HTTPResponse:
        response = HTTPResponse(_Socket(self.sent), method=self._method)  # type: ignore[arg-type]
        response.begin()
        return response


class _Socket:
    """What :class:`HTTPResponse` wants of a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._content)
