"""A registry on a network in memory, for tests."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.messages import Alive, Message
from ssdpreg.ssdp.reception import Channel
from ssdpreg.ssdp.repeats import RepeatMemo
from ssdpreg.ssdp.search_rounds import Deliver, Drop
from tests.support.memory_network import MemoryNetwork

API = "urn:schemas-upnp-org:service:api:2.0"
LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


@implementer(IRegistrationListener)
class RecordingListener:
    """
    Listener that records its events.

    :ivar events: For each event, its name and a description of the service; for a departure, the reason in place of the
        name.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def appeared(self, registration: Registration) -> None:
        self._record("appeared", registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._record("changed", registration)

    def left(self, registration: Registration, reason: str) -> None:
        self._record(reason, registration)

    def _record(self, event: str, registration: Registration) -> None:
        self.events.append((event, f"{registration.name} {registration.address}:{registration.port}"))


@implementer(IRegistrationListener)
class FailingListener:
    """Listener that raises an exception for each event."""

    def appeared(self, registration: Registration) -> None:
        raise RuntimeError("appeared")

    def changed(self, registration: Registration, before: Registration) -> None:
        raise RuntimeError("changed")

    def left(self, registration: Registration, reason: str) -> None:
        raise RuntimeError("left")


class RegistryTestCase(SynchronousTestCase):
    """
    Base class: a registry on a network in memory.

    :ivar network: Network of the registry that was made last.
    """

    terms = {API: "RackHD", LLDP: "Inservice"}  # noqa: RUF012
    rules = RegistrationRules(scope="rack-7")

    def setUp(self) -> None:
        self.reactor = Clock()
        # As on a monotonic clock, whose readings count from an arbitrary moment.
        self.reactor.rightNow = 12345.5
        self.adapters = {"eth0": "10.0.0.1"}
        self.registry = self.make_registry()
        self.listener = RecordingListener()
        self.registry.subscribe(self.listener)

    def make_registry(
        self,
        table: AdvertisementTable | None = None,
        search_interval: float = 300,
        backlog: Callable[[], int] = lambda: 0,
        memo: RepeatMemo | None = None,
    ) -> Registry:
        """Return a registry that is not started yet."""

        def open_network(deliver: Deliver, drop: Drop) -> MemoryNetwork:
            self.network = MemoryNetwork(deliver, drop, self.adapters, RepeatMemo() if memo is None else memo)
            return self.network

        registry = Registry(
            self.reactor,
            open_network,
            AdvertisementTable() if table is None else table,
            self.rules,
            LocationRules([ip_network("0.0.0.0/0")]),
            search_interval=search_interval,
            backlog=backlog,
            random=Random(1),
        )
        registry.set_search_terms(self.terms)
        return registry

    def start(self) -> None:
        """Start the registry, and stop it at the end of the test."""
        self.registry.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the registry if it is running, and wait until its sockets are closed."""
        if self.registry.running:
            self.successResultOf(self.registry.stopService())

    def receive(self, message: Message | bytes, sender: str = "10.0.0.5", *, reply: bool = False) -> None:
        """Receive a datagram on the group, or a reply to a search of the group."""
        self.network.receive(message, sender, Channel.SEARCH if reply else Channel.GROUP)

    def searches(self) -> list[tuple[str, int | None]]:
        """Return the target and MX of each search of the group since the last call."""
        return self.network.take_searches()

    def advance(self, seconds: float) -> None:
        """Advance the clock in small steps."""
        self.reactor.pump([0.05] * round(seconds / 0.05))


def alive(host: str = "10.0.0.5:80", nt: str = API, device_id: str = "D", max_age: int | None = 1800) -> Alive:
    """Return an ``ssdp:alive``."""
    return Alive(nt, f"uuid:{device_id}::{nt}", f"http://{host}/x", max_age)
