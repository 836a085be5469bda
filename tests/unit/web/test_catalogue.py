"""Tests for :mod:`ssdpreg.web.catalogue`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ssdpreg.interfaces import IRegistrationListener
from ssdpreg.registration import Registration
from ssdpreg.web.catalogue import EVERYTHING, Catalogue, name_topic, node_name, node_topic


def make_registration(number: int, name: str = "api", device: str = "dev", **changes: Any) -> Registration:
    """Make a registration of the service with a number."""
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


class CatalogueTests(SynchronousTestCase):
    """Tests for :class:`Catalogue`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.catalogue = Catalogue(self.clock, self.clock.seconds)

    def wait(self, topic: tuple[str, str], seconds: float = 300.0) -> Deferred[None]:
        """Wait for a change of a topic from its present state."""
        return self.catalogue.wait(topic, self.catalogue.index(topic), seconds)

    def test_interface(self) -> None:
        """It can follow a registry."""
        self.assertTrue(verifyObject(IRegistrationListener, self.catalogue))

    def test_entries(self) -> None:
        """Services are found by name, in any case of letters, and by node, sorted, until they are gone."""
        first = make_registration(1, name="API", device="b")
        second = make_registration(2, name="api", device="a")
        third = make_registration(3, name="other", device="a")
        for registration in (first, third, second):
            self.catalogue.appeared(registration)

        def found(topic: tuple[str, str]) -> list[Registration]:
            return [entry.registration for entry in self.catalogue.entries(topic)]

        self.assertEqual(found(EVERYTHING), [second, third, first])
        self.assertEqual(found(name_topic("Api")), [second, first])
        self.assertEqual(found(node_topic("A")), [second, third])
        self.assertEqual(found(name_topic("nothing")), [])
        self.catalogue.left(second, "byebye")
        self.assertEqual(found(name_topic("api")), [first])
        self.assertEqual(found(node_topic("a")), [third])

    def test_moves_between_topics(self) -> None:
        """A service that has another name now is not found under the old one."""
        self.catalogue.appeared(make_registration(1, name="old"))
        waiter = self.wait(name_topic("old"))
        self.catalogue.appeared(make_registration(1, name="new"))
        self.clock.advance(1)
        self.successResultOf(waiter)
        self.assertEqual(self.catalogue.entries(name_topic("old")), [])
        (entry,) = self.catalogue.entries(name_topic("new"))
        self.assertLess(entry.created, entry.modified)

    def test_index_of_one_name(self) -> None:
        """An index rises with the changes of its topic, and only with those."""
        self.catalogue.appeared(make_registration(1, name="one"))
        self.catalogue.appeared(make_registration(2, name="two", device="other"))
        one, two = self.catalogue.index(name_topic("one")), self.catalogue.index(name_topic("two"))
        self.catalogue.appeared(make_registration(2, name="two", device="other", port=81))
        self.assertEqual(self.catalogue.index(name_topic("one")), one)
        self.assertGreater(self.catalogue.index(name_topic("two")), two)
        self.assertEqual(self.catalogue.index(EVERYTHING), self.catalogue.index(name_topic("two")))

    def test_index_never_falls(self) -> None:
        """The index of a name rises when the name comes, goes, and comes again, and is never 0."""
        topic = name_topic("api")
        seen = [self.catalogue.index(topic)]
        for _ in range(2):
            self.catalogue.appeared(make_registration(1))
            seen.append(self.catalogue.index(topic))
            self.catalogue.left(make_registration(1), "expired")
            seen.append(self.catalogue.index(topic))
            self.catalogue.appeared(make_registration(2, name="other", device="other"))
            self.catalogue.left(make_registration(2, name="other", device="other"), "expired")
        self.assertGreater(seen[0], 0)
        self.assertEqual(seen, sorted(set(seen)))

    def test_index_after_restart(self) -> None:
        """A daemon that starts anew goes on above all the indexes that it gave before."""
        for _ in range(100):
            self.catalogue.appeared(make_registration(1))
        self.clock.advance(1)
        after = Catalogue(self.clock, self.clock.seconds)
        self.assertGreater(after.index(EVERYTHING), self.catalogue.index(EVERYTHING))

    def test_waiting(self) -> None:
        """Who waits is told of a change soon, once, and no longer waits."""
        waiter = self.wait(name_topic("api"))
        self.catalogue.appeared(make_registration(1))
        self.catalogue.appeared(make_registration(2))
        self.clock.advance(0.1)
        self.successResultOf(waiter)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waiting_for_something_else(self) -> None:
        """A change elsewhere wakes nobody."""
        waiter = self.wait(name_topic("api"))
        self.catalogue.appeared(make_registration(1, name="other"))
        self.clock.advance(1)
        self.assertNoResult(waiter)

    def test_changed_already(self) -> None:
        """A change between two looks of a reader is not lost: there is nothing to wait for."""
        seen = self.catalogue.index(name_topic("api"))
        self.catalogue.appeared(make_registration(1))
        self.successResultOf(self.catalogue.wait(name_topic("api"), seen, 300))

    def test_change_before_waiting(self) -> None:
        """A change that is still to be told of does not wake those who have seen it."""
        self.wait(name_topic("api"))
        self.catalogue.appeared(make_registration(1))
        waiter = self.wait(name_topic("api"))
        self.clock.advance(1)
        self.assertNoResult(waiter)

    def test_time_is_up(self) -> None:
        """Nobody waits for longer than asked for."""
        waiter = self.wait(EVERYTHING, 30)
        self.clock.advance(29.9)
        self.assertNoResult(waiter)
        self.clock.advance(0.1)
        self.successResultOf(waiter)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """Nothing is left of a reader that no longer waits, not even of news that were on their way."""
        waiter = self.wait(name_topic("api"))
        self.catalogue.appeared(make_registration(1))
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_memory(self) -> None:
        """Names and nodes that are gone leave nothing behind."""
        empty = Catalogue(self.clock, self.clock.seconds)
        for number in range(10):
            self.catalogue.appeared(make_registration(number, f"name-{number}", f"device-{number}"))
        for number in range(10):
            self.catalogue.left(make_registration(number), "expired")

        def sizes(catalogue: Catalogue) -> list[int]:
            return [len(value) for value in vars(catalogue).values() if isinstance(value, dict)]

        self.assertEqual(sizes(self.catalogue), sizes(empty))


class NodeNameTests(SynchronousTestCase):
    """Tests for :func:`node_name`."""

    def test_plain(self) -> None:
        """A device ID that is fit for a path and for DNS is the node's name."""
        for device_id in ("4C4C4544-0032-3210-8058-C7C04F595031", "a.b_c-d", "x" * 64):
            self.assertEqual(node_name(device_id), device_id)

    def test_others(self) -> None:
        """Any other is replaced by a hash, the same in any case of letters."""
        names = [node_name(device_id) for device_id in ("<script>", "<SCRIPT>", "x" * 65, "a/b", "é", "a\n")]
        self.assertEqual(names[0], names[1])
        self.assertEqual(len(set(names)), 5)
        for name in names:
            self.assertRegex(name, r"\A[0-9a-f]{32}\Z")
