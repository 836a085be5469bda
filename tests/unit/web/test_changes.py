"""Tests for :mod:`ssdpreg.web.changes`."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.registration import Check
from ssdpreg.testing import make_registration
from ssdpreg.web.changes import MOST_CHANGES, MOST_SERVICES, PastChange, ServiceChanges, describe_change


class ServiceChangesTests(SynchronousTestCase):
    """Tests for :class:`ServiceChanges`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.changes = ServiceChanges(self.clock)

    def test_changes(self) -> None:
        """The changes of a service have their times, the last one first, also after it has left."""
        service = make_registration(1)
        self.changes.appeared(service)
        self.assertEqual(self.changes.of(service.service_id), [])
        self.clock.advance(5)
        self.changes.left(service, "byebye")
        self.clock.advance(2)
        self.changes.appeared(service)
        self.assertEqual(
            self.changes.of(service.service_id),
            [PastChange(7.0, "appeared again"), PastChange(5.0, "left with a byebye")],
        )

    def test_limit_of_one_service(self) -> None:
        """The latest changes of a service are kept."""
        service = make_registration(1)
        for _ in range(MOST_CHANGES + 1):
            self.clock.advance(1)
            self.changes.left(service, "expired")
        kept = self.changes.of(service.service_id)
        self.assertEqual([kept[0].at, kept[-1].at], [MOST_CHANGES + 1.0, 2.0])

    def test_limit_of_services(self) -> None:
        """The changes of the services that changed last are kept, and the others are counted."""
        services = [make_registration(number) for number in range(MOST_SERVICES + 1)]
        for service in services[:-1]:
            self.changes.left(service, "expired")
        self.changes.left(services[0], "expired")
        self.assertEqual(self.changes.displaced, 0)
        self.changes.left(services[-1], "expired")
        self.assertEqual((len(self.changes), self.changes.displaced), (MOST_SERVICES, 1))
        self.assertEqual(len(self.changes.of(services[0].service_id)), 2)
        self.assertEqual(self.changes.of(services[1].service_id), [])

    def test_new_services_displace_nothing(self) -> None:
        """A flood of new services does not displace changes."""
        self.changes.left(make_registration(0), "expired")
        for number in range(1, MOST_SERVICES + 2):
            self.changes.appeared(make_registration(number))
        self.assertEqual((len(self.changes), self.changes.displaced), (1, 0))


class DescribeChangeTests(SynchronousTestCase):
    """Tests for :func:`describe_change`."""

    def test_texts(self) -> None:
        """A move names the former LOCATION, and any other change names what differs."""
        before = replace(make_registration(1), meta={"ssdp-location": "http://10.0.0.5/", "ssdp-server": "a"})
        moved = replace(before, address="10.0.0.6", meta={**before.meta, "ssdp-location": "http://10.0.0.6/"})
        self.assertEqual(describe_change(moved, before), "moved from http://10.0.0.5/")
        described = replace(before, meta={**before.meta, "ssdp-server": "b", "ssdp-model": "X1"})
        self.assertEqual(describe_change(described, before), "changed: server, model")
        checked = replace(before, tags=("blue",), checks=frozenset([Check("c")]))
        self.assertEqual(describe_change(checked, before), "changed: tags, checks")

    def test_long_location(self) -> None:
        """A long LOCATION is truncated."""
        before = replace(make_registration(1), meta={"ssdp-location": "http://" + "x" * 500})
        text = describe_change(make_registration(1), before)
        self.assertEqual(len(text), len("moved from ") + 200)
