"""Base class of tests for several plans that the backend of catalog mode applies at the same time."""

from __future__ import annotations

from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.backends.catalog.backend import ConsulCatalog
from ssdpreg.backends.catalog.format import CatalogFormat
from ssdpreg.backends.consul_http import ConsulHTTP
from ssdpreg.backends.http_client import BoundedHTTPClient
from ssdpreg.registration import Check, Outcome, Plan, Registration
from ssdpreg.testing import make_registration
from tests.support.consul_catalog_tests import TestFence, request_catalog
from tests.support.held_catalog import HeldCatalog


def second_service(number: int, letter: str = "b", **changes: Any) -> Registration:
    """Return another service of the device of ``make_registration(number)``."""
    service_id = f"ssdpreg-{letter}-{number:016x}"
    checks = frozenset({Check(f"{service_id}-alive", kind="alive")})
    return make_registration(
        number, **{"service_id": service_id, "name": f"RackHD-{letter}", "checks": checks, **changes}
    )


def ids(*registrations: Registration) -> frozenset[str]:
    """Return the IDs of services."""
    return frozenset(each.service_id for each in registrations)


class OverlapTestCase(SynchronousTestCase):
    """Base class: a backend with a server that holds transactions."""

    def setUp(self) -> None:
        self.server = HeldCatalog()
        self.state = self.server.state
        self.clock = Clock()
        self.fence = TestFence(self.request, "test")
        self.fence.acquire()
        self.treq = StubTreq(self.server)
        self.backend = self.make_backend()
        self.rooms: list[int] = []
        self.read()

    def make_backend(self, prefix: str = "") -> ConsulCatalog:
        """Return a backend of the same daemon."""
        client = BoundedHTTPClient(self.clock, "http://consul.test:8500", cast("Any", self.treq))
        return ConsulCatalog(self.clock, ConsulHTTP(self.clock, client), self.fence, CatalogFormat("test", prefix))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request without the code under test."""
        return request_catalog(self, self.server, method, path, body)

    def read(self) -> dict[str, Registration]:
        """Return what the backend reads."""
        holding, self.server.holding = self.server.holding, False
        found = self.successResultOf(Deferred.fromCoroutine(self.backend.read()))
        self.server.holding = holding
        return dict(found)

    def apply(self, *register: Registration, remove: tuple[Registration, ...] = ()) -> Deferred[Outcome]:
        """Begin to apply a plan. ``rooms`` has the number of transactions that were held when there was room."""

        def note_room() -> None:
            self.rooms.append(len(self.server.held))

        return Deferred.fromCoroutine(self.backend.apply_overlapping(Plan(register, remove), note_room))

    def register(self, *registrations: Registration) -> None:
        """Register services at once."""
        holding, self.server.holding = self.server.holding, False
        self.assertEqual(self.successResultOf(self.apply(*registrations)), Outcome(ids(*registrations)))
        self.server.holding = holding
        self.rooms.clear()

    def respond(self, *numbers: int) -> None:
        """Respond to held transactions, by their place; to all of them, and to those that follow, if none is given."""
        for held in [self.server.held[number] for number in numbers]:
            held.respond()
            self.treq.flush()
        while not numbers and self.server.held:
            self.server.held[0].respond()
            self.treq.flush()

    def nodes(self) -> list[list[str]]:
        """Return the nodes of the held transactions."""
        return [each.nodes for each in self.server.held]
