"""Tests for :mod:`ssdpreg.discovery.device_index`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.device_index import DeviceIndex
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.ssdp.reception import Reception
from tests.support.table_case import OTHER_URN, URN, advertisement


def service(device_id: str, urn: str = URN) -> TrackedService:
    """Return a service of a device."""
    return TrackedService(Claim(advertisement(device_id=device_id, urn=urn), Reception("10.0.0.5"), 0.0), 0.0)


class DeviceIndexTests(SynchronousTestCase):
    """Tests for :class:`DeviceIndex`."""

    def setUp(self) -> None:
        self.index = DeviceIndex()
        self.one, self.first, self.second = service("One"), service("two"), service("TWO", OTHER_URN)
        for each in (self.one, self.first, self.second):
            self.index.add(each)

    def test_find(self) -> None:
        """A service is found by its device, in capitals or not, and by its URN."""
        self.assertIs(self.index.find("ONE", URN), self.one)
        self.assertIs(self.index.find("two", URN), self.first)
        self.assertIs(self.index.find("two", OTHER_URN), self.second)
        self.assertIsNone(self.index.find("one", OTHER_URN))
        self.assertIsNone(self.index.find("two", "urn:x"))
        self.assertIsNone(self.index.find("three", URN))

    def test_services(self) -> None:
        """All services, and those of one device, are in the order in which they were added."""
        third = service("Two", "urn:x")
        self.index.add(third)
        self.assertEqual(list(self.index), [self.one, self.first, self.second, third])
        self.assertEqual(list(self.index.of_device("Two")), [self.first, self.second, third])
        self.assertEqual(list(self.index.of_device("oNE")), [self.one])
        self.assertEqual(list(self.index.of_device("three")), [])

    def test_remove(self) -> None:
        """A device without services is not kept."""
        self.index.remove(self.first)
        self.assertEqual(list(self.index), [self.one, self.second])
        self.index.add(self.first)
        for each in (self.one, self.second, self.first):
            self.index.remove(each)
        self.assertEqual((list(self.index), self.index._devices), ([], {}))
