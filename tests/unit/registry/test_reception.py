"""Tests for :mod:`ssdpreg.registry.reception`."""

from __future__ import annotations

import math

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.registry.reception import ReceptionMonitor
from tests.support.memory_network import MemoryNetwork


class RecordingTable(AdvertisementTable):
    """
    Table that records its holds.

    :ivar holds: Interface and end of each hold.
    :ivar interruptions: Interface, beginning and end of each interruption.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds: list[tuple[str, float]] = []
        self.interruptions: list[tuple[str, float, float]] = []

    def hold(self, until: float, interface: str = "") -> None:
        self.holds.append((interface, until))

    def add_interruption(self, began_at: float, ended_at: float, interface: str = "") -> None:
        self.interruptions.append((interface, began_at, ended_at))


class ReceptionMonitorTests(SynchronousTestCase):
    """Tests for :class:`ReceptionMonitor`, with a search round of 5 s. Times count from the start of the monitor."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(lambda *_: None, lambda *_: None, {"eth0": "10.0.0.1", "eth1": "10.1.0.1"})
        self.network.refresh()
        self.table = RecordingTable()
        self.searches: list[float] = []
        self.monitor = ReceptionMonitor(
            self.clock, self.network, self.table, lambda: self.searches.append(self.clock.seconds()), 5.0
        )

    def start(self) -> None:
        """Start the monitor, and stop it at the end of the test."""
        self.monitor.start()
        self.addCleanup(self.monitor.stop)

    def test_regular_checks(self) -> None:
        """While everything is received, nothing is held, logged or searched."""
        self.start()
        with capturedLogs() as logged:
            self.clock.pump([0.5] * 200)
            self.clock.pump([2.9] * 20)
        self.assertEqual((self.table.holds, self.searches, self.monitor.holds, logged), ([], [], 0, []))

    def test_not_started(self) -> None:
        """A monitor that is not started makes no regular checks, so it does not measure their delay."""
        for _ in range(3):
            self.clock.advance(100)
            self.monitor.check()
        self.assertEqual((self.table.holds, self.searches, self.monitor.holds), ([], [], 0))

    def test_suspended_process(self) -> None:
        """When a check is more than 2 s late, everything is held for a search round."""
        self.start()
        self.clock.advance(1)
        with capturedLogs() as logged:
            self.clock.advance(3.1)
        self.assertEqual(self.table.holds, [("", 9.1)])
        self.assertEqual((self.searches, self.monitor.holds), ([4.1], 1))
        self.assertEqual([event["seconds"] for event in logged if "seconds" in event], [3.1])
        self.clock.pump([1] * 10)
        self.assertEqual(len(self.table.holds), 1)

    def test_interruptions(self) -> None:
        """The table receives the times in which the process was suspended or an interface was down."""
        self.start()
        self.clock.advance(1)
        self.clock.advance(10)
        self.network.down = {"eth1"}
        self.clock.pump([1] * 20)
        self.network.down = set()
        self.clock.pump([1] * 10)
        self.assertEqual(self.table.interruptions, [("", 1, 11), ("eth1", 12, 32)])

    def test_search_during_another_search(self) -> None:
        """An interface that is up again during a search is searched after it, and held until a search round later."""
        self.start()
        self.network.down = {"eth1"}
        self.clock.advance(1)
        self.clock.advance(4)
        self.network.down = set()
        self.clock.pump([1] * 20)
        self.assertEqual(self.searches, [5, 10])
        self.assertEqual(self.table.holds[1:], [("", 10), ("eth1", 11), ("eth1", 15)])
        self.assertEqual(self.monitor.holds, 3)

    def test_all_interfaces_down(self) -> None:
        """While no interface receives, everything is held, also after the process was suspended."""
        self.start()
        self.network.down = {"eth0", "eth1"}
        self.clock.advance(1)
        self.assertEqual(self.table.holds[-1], ("", math.inf))
        self.clock.advance(10)
        self.assertEqual(self.table.holds[-1], ("", math.inf))
        self.network.down = {"eth1"}
        self.clock.advance(1)
        self.assertEqual(self.table.holds[-2:], [("eth0", 17), ("", 17)])

    def test_check_before_an_expiry(self) -> None:
        """A check that the expiry requests notices the suspension before the regular check does."""
        self.start()
        self.clock.rightNow += 100.0
        self.monitor.check()
        self.assertEqual(self.table.holds, [("", 105)])

    def test_time_before_the_start(self) -> None:
        """The time before the start and after a stop is no suspension."""
        self.clock.advance(1000)
        self.monitor.check()
        self.monitor.start()
        self.clock.advance(1)
        self.monitor.stop()
        self.clock.advance(1000)
        self.monitor.check()
        self.start()
        self.clock.advance(1)
        self.assertEqual(self.table.holds, [])

    def test_interface_that_is_down(self) -> None:
        """The services of an interface that is down are held until a search round after it is up again."""
        self.start()
        self.network.down = {"eth1"}
        with capturedLogs() as logged:
            self.clock.pump([1] * 5000)
        self.assertEqual(self.table.holds, [("eth1", math.inf)])
        self.assertEqual((self.searches, self.monitor.holds), ([], 1))
        self.assertEqual([(event["interface"], event["reason"]) for event in logged], [("eth1", "down")])
        self.network.down = set()
        with capturedLogs() as logged:
            self.clock.pump([1] * 10)
        self.assertEqual(self.table.holds[1:], [("eth1", 5006)])
        self.assertEqual((self.searches, self.monitor.holds), ([5001], 2))
        self.assertEqual([event["interface"] for event in logged], ["eth1"])

    def test_interface_that_goes_down_again(self) -> None:
        """An interface that goes down a second time is held again."""
        self.start()
        for down in ({"eth1"}, set(), {"eth1"}):
            self.network.down = down
            self.clock.advance(1)
        self.assertEqual(self.table.holds, [("eth1", math.inf), ("eth1", 7), ("eth1", math.inf)])

    def test_interface_that_is_removed(self) -> None:
        """The hold of an interface that was removed ends when the network no longer reports it."""
        self.start()
        self.network.down = {"eth1"}
        self.clock.advance(1)
        del self.network.adapters["eth1"]
        self.network.refresh()
        self.clock.advance(1)
        self.assertEqual(self.table.holds, [("eth1", math.inf)])
        self.network.down = set()
        self.clock.pump([1] * 5)
        self.assertEqual(self.table.holds, [("eth1", math.inf), ("eth1", 3)])
        self.assertEqual(self.searches, [])

    def test_overflow(self) -> None:
        """After an overflow of a receive buffer, the services of its interface are held for a search round."""
        self.start()
        self.network.losses = {"eth0": "overflow"}
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual((self.table.holds, self.searches, self.monitor.holds), ([("eth0", 6)], [1], 1))

    def test_lasting_overflow(self) -> None:
        """An overflow that lasts holds the services for a round once a minute, so that departed ones expire."""
        self.start()
        for _ in range(130):
            self.network.losses = {"eth0": "overflow"}
            self.clock.advance(1)
        self.assertEqual(self.table.holds, [("eth0", 6), ("eth0", 66), ("eth0", 126)])
        self.assertEqual(self.searches, [1, 61, 121])
