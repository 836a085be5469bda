"""A daemon for tests, without a network, and a client of its HTTP server, without connections."""

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
from zope.interface import implementer

from ssdpreg.backends.embedded import EmbeddedBackend, SharedEmbeddedBackend
from ssdpreg.description.describer import Describer
from ssdpreg.description.source import Fetch
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import BackendUnavailableError
from ssdpreg.interfaces import ILockedBackend, IRegistryBackend, IRequestStatistics
from ssdpreg.reconciler import Reconciler
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import Alive, ByeBye, SearchRequest
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.reception import Reception
from ssdpreg.web.connections import Connections
from ssdpreg.web.hosts import AcceptedHosts
from ssdpreg.web.root import make_root
from ssdpreg.web.site import LimitedSite
from ssdpreg.web.view import View
from tests.support.memory_reactor import MemoryLinks

API = "urn:schemas-upnp-org:service:api:2.0"
LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


class SilentNetwork:
    """The sockets of a host on a network without devices."""

    interfaces: Sequence[tuple[str, str]] = ()
    overflows = 0
    rejected_searches = 0
    memo_bytes = 0

    def __init__(self, deliver: object, drop: object) -> None:
        self._opened = False

    def refresh(self) -> bool:
        opened, self._opened = self._opened, True
        return not opened

    def search(self, request: SearchRequest) -> None:
        """Discard the search."""

    def search_hosts(self, st: str, hosts: Sequence[str]) -> None:
        """Discard the search."""

    def check_reception(self) -> Mapping[str, str]:
        return {}

    @property
    def receiving(self) -> frozenset[str]:
        return frozenset()

    @property
    def broadcasts(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> Deferred[None]:
        return succeed(None)


@implementer(IRegistryBackend)
class UnavailableBackend(EmbeddedBackend):
    """A backend that does not respond."""

    async def read(self) -> Mapping[str, Registration]:
        raise BackendUnavailableError("connection refused")


class Daemon:
    """
    The registry, the reconciler and the resources of the web server, wired as in the daemon.

    :param reactor: A clock, or a real reactor.
    :param backend: By default a store in memory.
    :param requests: Statistics to show in the metrics.
    :param adapters: Network interfaces of the host; by default a network that needs no sockets.
    :param fetch: Fetches facts from devices; None if that is switched off.
    :ivar connections: The connections of the web server.
    :ivar root: The resource at ``/``.
    """

    def __init__(
        self,
        reactor: Any,
        backend: IRegistryBackend | None = None,
        requests: IRequestStatistics | None = None,
        adapters: list[NetworkInterface] | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.registry = Registry(
            reactor,
            SilentNetwork
            if adapters is None
            else partial(Network, reactor, find_interfaces=lambda: adapters, open_links=MemoryLinks),
            AdvertisementTable(),
            RegistrationRules(scope="rack-7", tags=("lab", "Blue")),
            LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")]),
            random=Random(1),
        )
        self.registry.set_search_terms({API: "RackHD", LLDP: "Inservice", REDFISH: "RackHD"})
        backend = backend or SharedEmbeddedBackend()
        self.reconciler = Reconciler(
            reactor, backend, self.registry.registrations, self.registry.adopt, random=Random(1)
        )
        self.registry.subscribe(self.reconciler)
        self.describer = None if fetch is None else Describer(reactor, self.registry, fetch)
        self.view = View(
            self.registry,
            self.reconciler,
            "memory",
            "dc1",
            "host-1",
            requests,
            ILockedBackend(backend, None),
            self.describer,
        )
        self.connections = Connections(256)
        self.root: IResource = make_root(reactor, self.view, self.connections)

    def start(self) -> None:
        """Start the services of the daemon."""
        self.registry.startService()
        self.reconciler.startService()
        if self.describer is not None:
            self.describer.startService()

    def stop(self) -> Deferred[Any]:
        """Stop the services of the daemon."""
        stopped = [self.reconciler.stopService(), self.registry.stopService()]
        if self.describer is not None:
            stopped.append(self.describer.stopService())
        return gatherResults(stopped)

    def receive_alive(
        self,
        device_id: str,
        nt: str = API,
        location: str = "http://10.0.0.5:8080/",
        max_age: int = 1800,
        sender: str = "10.0.0.5",
    ) -> None:
        """Deliver an announcement of a service."""
        usn = f"uuid:{device_id}::{nt}"
        message = Alive(nt, usn, location, max_age, "Linux/6 UPnP/2.0")
        self.registry.deliver(message, Reception(sender, "eth0"), (sender, 1900))

    def receive_byebye(self, device_id: str, nt: str = API, sender: str = "10.0.0.5") -> None:
        """Deliver a byebye for a service."""
        self.registry.deliver(ByeBye(nt, f"uuid:{device_id}::{nt}"), Reception(sender, "eth0"), (sender, 1900))


class Exchange:
    """
    One request and its response, over a connection in memory.

    :ivar status: HTTP status, or None while there is no response.
    :ivar headers: Headers of the response.
    :ivar body: Body of the response.
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
        site: Any = LimitedSite(reactor, root, Connections(256), AcceptedHosts(host_name="host-1"))
        self._channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        self._transport: Any = _Transport(IPv4Address("TCP", "127.0.0.1", 8580))
        self._transport.protocol = self._channel
        self._channel.makeConnection(self._transport)
        lines = [
            f"{method} {path} HTTP/1.1",
            *([] if "Host" in (headers or {}) else ["Host: localhost:8580"]),
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._channel.dataReceived("\r\n".join([*lines, "", ""]).encode())

    def disconnect(self) -> None:
        """Close the connection on the client's side, unless it is closed."""
        if self._transport.connected:
            self._transport.connected = False
            self._channel.connectionLost(Failure(ConnectionDone()))

    def pause(self) -> None:
        """Take no more of the response."""
        self._channel.pauseProducing()

    def resume(self) -> None:
        """Take the response again."""
        self._channel.resumeProducing()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return not self._transport.connected

    @property
    def received(self) -> bytes:
        """All bytes that the client has received."""
        received: bytes = self._transport.value()
        return received

    @property
    def status(self) -> int | None:
        return self._response().status if self.received else None

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._response().getheaders())

    @property
    def body(self) -> bytes:
        return self._response().read()

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return json.loads(self.body)

    def _response(self) -> HTTPResponse:
        response = HTTPResponse(_Socket(self.received), method=self._method)  # type: ignore[arg-type]
        response.begin()
        return response


class _Transport(StringTransportWithDisconnection):
    """A transport that can be aborted."""

    def abortConnection(self) -> None:  # noqa: N802
        self.loseConnection()


class _Socket:
    """The part of a socket that :class:`HTTPResponse` uses."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._content)
