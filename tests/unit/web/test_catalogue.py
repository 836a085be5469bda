"""Tests for :mod:`ssdpreg.web.catalogue`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.web.catalogue import EVERYTHING, SLICE, Catalogue, Entry, Topic, name_topic, node_name, node_topic


def make_registration(number: int, name: str = "api", device: str = "dev", **changes: Any) -> Registration:
    """Create a registration whose service ID contains a number."""
    values = {
        "service_id": f"ssdpreg-{number}",
        "name": name,
        "address": "10.0.0.5",
        "port": 80,
        "tags": (),
        "meta": {"ssdp-device": device, "ssdpreg-scope": "rack-7"},
        "checks": frozenset(),
        **changes,
    }
    return Registration(**values)


def entries(catalogue: Catalogue, topic: Topic) -> list[Entry]:
    """Return the services of a topic."""
    return [entry for part in catalogue.slices(topic) for entry in part]


class CatalogueTests(SynchronousTestCase):
    """Tests for :class:`Catalogue`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.registrations: dict[str, Registration] = {}
        self.catalogue = self.make_catalogue()

    def make_catalogue(self) -> Catalogue:
        """Create a catalogue of the live services."""
        return Catalogue(self.clock, self.registrations, self.clock.seconds)

    def register(self, number: int, name: str = "api", device: str = "dev", **changes: Any) -> Registration:
        """Add or change a live service, and notify the catalogue, as the registry does."""
        registration = make_registration(number, name, device, **changes)
        before = self.registrations.get(registration.service_id)
        self.registrations[registration.service_id] = registration
        if before is None:
            self.catalogue.appeared(registration)
        else:
            self.catalogue.changed(registration, before)
        return registration

    def remove(self, number: int) -> None:
        """Remove a live service, and notify the catalogue, as the registry does."""
        self.catalogue.left(self.registrations.pop(f"ssdpreg-{number}"), "byebye")

    def wait(self, topic: tuple[str, str], seconds: float = 300.0) -> Deferred[None]:
        """Wait for a change of a topic after its present index."""
        return self.catalogue.wait(topic, self.catalogue.index(topic), seconds)

    def test_interface(self) -> None:
        """A catalogue is a listener of the registry."""
        self.assertTrue(verifyObject(IRegistrationListener, self.catalogue))

    def test_entries(self) -> None:
        """Services are found by name and by node without regard to case, sorted, until they leave."""
        first = self.register(1, name="API", device="b")
        third = self.register(3, name="other", device="a")
        second = self.register(2, name="api", device="a")

        def found(topic: tuple[str, str]) -> list[Registration]:
            return [entry.registration for entry in entries(self.catalogue, topic)]

        self.assertEqual(found(EVERYTHING), [second, third, first])
        self.assertEqual(found(name_topic("Api")), [second, first])
        self.assertEqual(found(node_topic("A")), [second, third])
        self.assertEqual(found(name_topic("nothing")), [])
        self.remove(2)
        self.assertEqual(found(name_topic("api")), [first])
        self.assertEqual(found(node_topic("a")), [third])

    def test_changes_between_slices(self) -> None:
        """A listing in slices lacks the services that left meanwhile, and has no service twice."""
        for number in range(3 * SLICE):
            self.register(number, device=f"device-{number:04}")
        slices = self.catalogue.slices()
        found = next(slices)
        self.assertEqual(len(found), SLICE)
        self.remove(0)
        self.remove(SLICE)
        self.register(3 * SLICE, device="device-0000a")
        found += [entry for part in slices for entry in part]
        self.assertEqual(
            [entry.node for entry in found],
            [f"device-{number:04}" for number in range(3 * SLICE) if number != SLICE],
        )

    def test_names(self) -> None:
        """Each name is listed with all tags of its services, until its last service leaves."""
        self.register(1, name="b")
        self.register(2, name="a")
        self.register(3, name="a")
        names = [name for part in self.catalogue.names() for name, _ in part]
        self.assertEqual(names, ["a", "b"])
        self.remove(2)
        self.assertEqual([name for part in self.catalogue.names() for name, _ in part], ["a", "b"])
        self.remove(3)
        self.assertEqual([name for part in self.catalogue.names() for name, _ in part], ["b"])

    def test_devices(self) -> None:
        """Each device is counted once, without regard to case."""
        self.register(1, device="a")
        self.register(2, device="A")
        self.register(3, device="b")
        self.assertEqual(self.catalogue.devices, 2)
        self.remove(1)
        self.assertEqual(self.catalogue.devices, 2)
        self.register(2, device="a", port=81)
        self.assertEqual(self.catalogue.devices, 2)
        self.remove(2)
        self.register(2, device="B")
        self.assertEqual(self.catalogue.devices, 1)
        self.remove(2)
        self.remove(3)
        self.assertEqual(self.catalogue.devices, 0)

    def test_services_before_the_catalogue(self) -> None:
        """Services that were live before the catalogue was created are found."""
        registration = self.register(1)
        (entry,) = entries(self.make_catalogue(), name_topic("api"))
        self.assertEqual(entry.registration, registration)

    def test_change_of_name(self) -> None:
        """A service whose name has changed is found under the new name only, and has a new index of change."""
        self.register(1, name="old")
        waiter = self.wait(name_topic("old"))
        self.register(1, name="new")
        self.clock.advance(1)
        self.successResultOf(waiter)
        self.assertEqual(entries(self.catalogue, name_topic("old")), [])
        (entry,) = entries(self.catalogue, name_topic("new"))
        self.assertLess(entry.created, entry.modified)

    def test_index_of_one_name(self) -> None:
        """The index of a topic rises with the changes of the topic only."""
        self.register(1, name="one")
        self.register(2, name="two", device="other")
        one, two = self.catalogue.index(name_topic("one")), self.catalogue.index(name_topic("two"))
        self.register(2, name="two", device="other", port=81)
        self.assertEqual(self.catalogue.index(name_topic("one")), one)
        self.assertGreater(self.catalogue.index(name_topic("two")), two)
        self.assertEqual(self.catalogue.index(EVERYTHING), self.catalogue.index(name_topic("two")))

    def test_index_never_falls(self) -> None:
        """The index of a name rises when its only service appears, leaves and appears again, and is never 0."""
        topic = name_topic("api")
        seen = [self.catalogue.index(topic)]
        for _ in range(2):
            self.register(1)
            seen.append(self.catalogue.index(topic))
            self.remove(1)
            seen.append(self.catalogue.index(topic))
            self.register(2, name="other", device="other")
            self.remove(2)
        self.assertGreater(seen[0], 0)
        self.assertEqual(seen, sorted(set(seen)))

    def test_index_after_restart(self) -> None:
        """The first index after a restart is above all indexes before."""
        for number in range(100):
            self.register(1, port=number + 1)
        self.clock.advance(1)
        self.assertGreater(self.make_catalogue().index(EVERYTHING), self.catalogue.index(EVERYTHING))

    def test_wait(self) -> None:
        """A query that waits ends once, soon after the change, and no timer is left."""
        waiter = self.wait(name_topic("api"))
        self.register(1)
        self.register(2)
        self.clock.advance(0.1)
        self.successResultOf(waiter)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_wait_for_another_topic(self) -> None:
        """A change of another topic does not end a query that waits."""
        waiter = self.wait(name_topic("api"))
        self.register(1, name="other")
        self.clock.advance(1)
        self.assertNoResult(waiter)

    def test_change_before_the_query(self) -> None:
        """A query with an index from before a change ends at once."""
        seen = self.catalogue.index(name_topic("api"))
        self.register(1)
        self.successResultOf(self.catalogue.wait(name_topic("api"), seen, 300))

    def test_query_between_change_and_notification(self) -> None:
        """A pending notification does not end a query whose index includes the change."""
        self.wait(name_topic("api"))
        self.register(1)
        waiter = self.wait(name_topic("api"))
        self.clock.advance(1)
        self.assertNoResult(waiter)

    def test_timeout(self) -> None:
        """A query ends when its time has passed."""
        waiter = self.wait(EVERYTHING, 30)
        self.clock.advance(29.9)
        self.assertNoResult(waiter)
        self.clock.advance(0.1)
        self.successResultOf(waiter)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """A cancelled query leaves no timer, not even that of a pending notification."""
        waiter = self.wait(name_topic("api"))
        self.register(1)
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_memory(self) -> None:
        """Names and nodes of services that left use no memory."""
        empty = self.make_catalogue()
        for number in range(10):
            self.register(number, f"name-{number}", f"device-{number}")
        for number in range(10):
            self.remove(number)

        def sizes(catalogue: Catalogue) -> list[int]:
            return [len(value) for value in vars(catalogue).values() if isinstance(value, dict)]

        self.assertEqual(sizes(self.catalogue), sizes(empty))


class NodeNameTests(SynchronousTestCase):
    """Tests for :func:`node_name`."""

    def test_plain(self) -> None:
        """A device ID that needs no quoting in URLs is the name of the node."""
        for device_id in ("4C4C4544-0032-3210-8058-C7C04F595031", "a.b_c-d", "x" * 64):
            self.assertEqual(node_name(device_id), device_id)

    def test_hash(self) -> None:
        """Any other device ID is replaced by a hash, which does not depend on its case."""
        names = [node_name(device_id) for device_id in ("<script>", "<SCRIPT>", "x" * 65, "a/b", "é", "a\n")]
        self.assertEqual(names[0], names[1])
        self.assertEqual(len(set(names)), 5)
        for name in names:
            self.assertRegex(name, r"\A[0-9a-f]{32}\Z")
