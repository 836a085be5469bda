"""Tests for the comparison after an operator restored an older snapshot of Consul, with a server in memory."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ssdpreg.registration import Check, Registration
from ssdpreg.testing import make_registration
from tests.unit.backends.catalog.test_backend import CatalogTestCase


class RestoredSnapshotTests(CatalogTestCase):
    """The session that holds the lock stays valid in each of these tests."""

    def setUp(self) -> None:
        super().setUp()
        self.before = [make_registration(number) for number in range(100)]
        self.register(*self.before)
        self.read()

    def save(self) -> Any:
        """Return the catalog as it is."""
        return deepcopy((self.state.nodes, self.state.services, self.state.checks))

    def restore(self, snapshot: Any) -> None:
        """Replace the catalog by an earlier one."""
        self.state.nodes, self.state.services, self.state.checks = snapshot
        self.server.requests.clear()

    def count_full_reads(self) -> int:
        """Return how often everything was read since the latest call of :meth:`restore`."""
        return sum(path == "/v1/health/state/any" for _, path, _ in self.server.requests)

    def assert_found(self, *registrations: Registration) -> None:
        """Compare once. The result has to be what is in the catalog."""
        self.assertEqual(self.read(), {each.service_id: each for each in registrations})

    def test_changed_services(self) -> None:
        """The first comparison finds all differences, although only services changed, and no nodes."""
        snapshot = self.save()
        for number in range(50):
            self.register(make_registration(number, port=9))
        self.read()
        self.restore(snapshot)
        self.assert_found(*self.before)
        self.assertEqual(self.count_full_reads(), 1)
        self.read()
        self.assertEqual(self.count_full_reads(), 1)

    def test_changed_before_a_new_device(self) -> None:
        """The same if the devices with the latest changes are not in the snapshot at all."""
        snapshot = self.save()
        self.register(*(make_registration(number, port=9) for number in range(50)))
        for number in range(100, 105):
            self.register(make_registration(number))
        self.read()
        self.restore(snapshot)
        self.assert_found(*self.before)

    def test_removed_service(self) -> None:
        """A service that was removed from a node after the snapshot is found, too."""
        service_id = f"ssdpreg-second-{0:016x}"
        checks = frozenset({Check(f"{service_id}-alive", "alive")})
        second = make_registration(0, name="second", service_id=service_id, checks=checks)
        self.register(second)
        snapshot = self.save()
        self.apply(remove=[second])
        self.register(make_registration(7, port=9))
        self.read()
        self.restore(snapshot)
        self.assert_found(*self.before, second)

    def test_after_a_start(self) -> None:
        """A daemon that wrote nothing since its start knows the latest change, too."""
        snapshot = self.save()
        for number in range(30):
            self.register(make_registration(number, port=9))
        self.backend = self.make_backend()
        self.read()
        self.restore(snapshot)
        self.assert_found(*self.before)

    def test_unknown_outcome(self) -> None:
        """A change that was applied without a response is no sign of a restored snapshot."""
        self.register(make_registration(3, port=9))
        self.restore(self.save())
        self.server.lose_responses = 1
        self.assertIsNotNone(self.apply(make_registration(3, port=10)).unavailable)
        self.assertEqual(self.read()[make_registration(3).service_id].port, 10)
        self.assertEqual(self.count_full_reads(), 0)

    def test_once_in_a_round(self) -> None:
        """Another program that undoes each change does not cause everything to be read each time."""
        snapshot = self.save()
        self.restore(snapshot)
        for port in range(1, 41):
            self.register(make_registration(3, port=port))
            self.state.services["device-3", make_registration(3).name.lower()]["Port"] = 7
            self.read()
        self.assertEqual(self.count_full_reads(), 2)

    def test_no_restore(self) -> None:
        """Changes of the daemon itself, removals and comparisons cause no such read."""
        self.restore(self.save())
        for number in range(20):
            self.register(make_registration(number, port=9), make_registration(200 + number))
            self.apply(remove=[make_registration(number, port=9)])
            self.apply(remove=[make_registration(number) for number in range(20 + 3 * number, 23 + 3 * number)])
            self.read()
        self.assertEqual(self.count_full_reads(), 0)
