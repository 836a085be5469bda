"""Tests for the parts of the simulation that check the daemon's work."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.ssdp.messages import SEARCH_ALL, Alive, ByeBye, Message, SearchResponse
from ssdpreg.timers import Backoff
from tests.simulation.attacks import Attack
from tests.simulation.clock import WorldClock
from tests.simulation.deafness import Deafness
from tests.simulation.devices import API, KINDS, MEDIA, Device
from tests.simulation.further_attacks import FURTHER_ATTACKS
from tests.simulation.network import Network, Segment
from tests.simulation.pauses import Pauses
from tests.simulation.search_counts import SearchCounts
from tests.simulation.settings import Settings
from tests.simulation.trace import ViolationError
from tests.simulation.world import World


class DeafnessTests(SynchronousTestCase):
    """Tests for :class:`Deafness`."""

    def test_since(self) -> None:
        """Interruptions of an interface, or of all, count without the seconds in which they are noticed."""
        deafness = Deafness()
        deafness.began("eth0", "no carrier", 100.0)
        deafness.ended("eth0", "no carrier", 200.0)
        deafness.began("", "daemon: suspended", 300.0)
        deafness.ended("", "daemon: suspended", 350.0)
        self.assertEqual(deafness.since(50.0, "eth0"), 96.0)
        self.assertEqual(deafness.since(250.0, "eth0"), 46.0)
        self.assertEqual(deafness.since(50.0, "eth1"), 46.0)
        self.assertEqual(deafness.since(310.0, "eth0"), 0.0)

    def test_other_faults(self) -> None:
        """A short interruption, and a fault in which some datagrams arrive, do not count."""
        deafness = Deafness()
        for fault, end in (("no carrier", 105.0), ("loss", 500.0)):
            deafness.began("eth0", fault, 100.0)
            deafness.ended("eth0", fault, end)
        self.assertEqual(deafness.since(0.0, "eth0"), 0.0)

    def test_searched_at(self) -> None:
        """The daemon has to search when an interface can receive again, and when it was started again."""
        deafness = Deafness()
        for fault, end in (("no carrier", 10.0), ("loss", 20.0)):
            deafness.ended("eth0", fault, end)
        self.assertEqual(deafness.searched_at("eth0"), 10.0)
        deafness.ended("", "daemon: kill -9", 30.0)
        self.assertEqual(deafness.searched_at("eth0"), 30.0)


class SearchCountTests(SynchronousTestCase):
    """Tests for :class:`SearchCounts`."""

    def test_counts(self) -> None:
        """Searches are counted by interface, and those at the same moment together."""
        counts = SearchCounts()
        for interface, target, now in (("eth0", API, 1.0), ("eth0", SEARCH_ALL, 1.0), ("eth1", API, 1.0)):
            counts.add(interface, target, now, resumed_at=0.0)
        self.assertEqual(counts.by_interface, {"eth0": 2, "eth1": 1})
        self.assertEqual(counts.for_all_at, {"eth0": 1.0})
        self.assertEqual((counts.take_most(), counts.take_most()), (2, 0))

    def test_suspension(self) -> None:
        """The overdue searches at the end of a suspension do not count together."""
        counts = SearchCounts()
        for _ in range(5):
            counts.add("eth0", API, 7.0, resumed_at=7.0)
        self.assertEqual(counts.take_most(), 1)


class PauseTests(SynchronousTestCase):
    """Tests for :class:`Pauses`."""

    def measure(self, random: Random | None) -> str:
        """Return the result for the outages of a daemon whose pauses have jitter, or have none."""
        pauses, backoff, now = Pauses(), Backoff(1.0, 30.0, random), 3.0
        result = ""
        for _ in range(10):
            pauses.begin(0.0)
            backoff.reset()
            for _ in range(8):
                pauses.add(now)
                backoff.fail()
                now += backoff.pause() + 0.01
            result = result or pauses.end()
            now += 100.3
        return result

    def test_jitter(self) -> None:
        """Pauses without jitter are recognized."""
        self.assertIn("30 s long", self.measure(None))
        for seed in range(50):
            self.assertEqual(self.measure(Random(seed)), "")


class Recorder:
    """Network and observer that record messages."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def announce(self, segment: Segment, address: str, message: Message, sender: object) -> None:
        self.messages.append(message)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


class DeviceTests(SynchronousTestCase):
    """Tests for :class:`Device`."""

    def setUp(self) -> None:
        recorder: Any = Recorder()
        self.recorder = recorder
        self.clock = WorldClock(Random(1))
        kind = next(kind for kind in KINDS if kind.name == "two-addresses")
        segment = Segment(1, Random(1), 0.0)
        self.device = Device(1, kind, self.clock, self.recorder, segment, Random(1), self.recorder)
        self.device.types = (MEDIA, API)
        self.device.boot()
        self.recorder.messages.clear()

    def test_departures(self) -> None:
        """A device sends a byebye for each service, one for all, or announcements with max-age 0."""
        usn = f"uuid:{self.device.device_id}"
        for departure, expected in (
            ("", {ByeBye(MEDIA, f"{usn}::{MEDIA}"), ByeBye(API, f"{usn}::{API}")}),
            (usn, {ByeBye(usn, usn)}),
            ("upnp:rootdevice", {ByeBye("upnp:rootdevice", f"{usn}::upnp:rootdevice")}),
        ):
            self.device.departure = departure
            self.recorder.messages.clear()
            self.device.send_byebyes()
            self.assertEqual(set(self.recorder.messages), expected)
        self.device.departure = "max-age"
        self.recorder.messages.clear()
        self.device.send_byebyes()
        self.assertEqual({(each.nt, each.max_age) for each in self.recorder.messages}, {(MEDIA, 0), (API, 0)})

    def test_withdrawn_service(self) -> None:
        """A device neither announces nor replies for a service that it has withdrawn, until it offers it again."""
        self.device.withdraw(API, byebye=True)
        self.assertEqual({(type(each), each.nt) for each in self.recorder.messages}, {(ByeBye, API)})
        self.assertFalse(self.device.matches(API))
        found = [message for _, message in self.device.replies(SEARCH_ALL)]
        self.assertEqual({each.st for each in found if isinstance(each, SearchResponse)}, {MEDIA})
        self.device.restore()
        announced = {each.nt for each in self.recorder.messages if isinstance(each, Alive)}
        self.assertEqual(announced, {MEDIA, API})
        self.assertTrue(self.device.matches(API))


class WorkTests(SynchronousTestCase):
    """Short simulations in which the daemon does too much, or too little."""

    def world(self, **settings: Any) -> World:
        """Return a world without faults and attacks."""
        return World(Settings(seed=1, hours=0.3, devices=20, faults=False, attacks=False, **settings))

    def assert_violation(self, world: World, invariant: str) -> None:
        """Run a world. Fail unless it reports a violation."""
        with self.assertRaises(ViolationError) as caught:
            world.run()
        self.assertEqual(caught.exception.invariant, invariant)

    def test_many_searches(self) -> None:
        """More searches than the budget permits are a violation."""
        world = self.world()

        def search() -> None:
            assert world.daemon is not None
            world.daemon.registry._scheduler.search([API])
            if world.clock.seconds() < 300.0:
                world.clock.callLater(0.2, search)

        world.clock.callLater(200.0, search)
        self.assert_violation(world, "searches a minute on an interface")

    def test_needless_registrations(self) -> None:
        """Registrations that change nothing are a violation."""
        world = self.world()

        def register() -> None:
            assert world.daemon is not None
            differences = world.daemon.reconciler._differences
            assert differences.actual is not None
            differences.actual.clear()
            for service_id in differences.ids():
                differences.compare(service_id, world.clock.seconds())
            world.daemon.reconciler._wake(0.0)
            if world.clock.seconds() < 300.0:
                world.clock.callLater(5.0, register)

        world.clock.callLater(200.0, register)
        self.assert_violation(world, "registrations a minute that change nothing")

    def test_health_check_of_other_host(self) -> None:
        """A health check of a host that announced nothing is a violation."""
        world = self.world()
        world.clock.callLater(200.0, world.checker.probed, "ssdpreg-x", "10.9.9.9")
        self.assert_violation(world, "health checks are aimed only at hosts that announced themselves")


class FurtherAttackTests(SynchronousTestCase):
    """Tests for the attacks that wait."""

    def test_waits_until_the_device_is_off(self) -> None:
        """An attacker that waits begins some seconds after its target has left, and goes on when it is back."""
        recorder: Any = Recorder()
        clock = WorldClock(Random(1))
        segment = Segment(1, Random(1), 0.0)
        network: Any = Network(clock, Random(1), [segment])
        network.announce = recorder.announce
        device = Device(1, KINDS[0], clock, recorder, segment, Random(1), recorder)
        device.boot()
        kind = next(kind for kind in FURTHER_ATTACKS if kind.waits)
        attack = Attack(1, kind, clock, network, segment, device, Random(1), recorder)
        clock.run_until(20.0)
        sent = [each for each in recorder.messages if isinstance(each, Alive) and each.server == "Evil/1.0"]
        self.assertEqual((sent, attack.matches(SEARCH_ALL)), ([], False))
        device.leave(False)
        clock.run_until(40.0)
        device.boot()
        recorder.messages.clear()
        clock.run_until(60.0)
        sent = [each for each in recorder.messages if isinstance(each, Alive) and each.server == "Evil/1.0"]
        self.assertTrue(sent)
        self.assertTrue(attack.matches(SEARCH_ALL))
