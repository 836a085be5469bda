"""Tests for :mod:`ssdpreg.registry.verifications`."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.registry.verifications import Verifications
from ssdpreg.ssdp.messages import SearchResponse
from ssdpreg.ssdp.reception import Channel
from tests.unit.registry.registry_case import API, RegistryTestCase, alive


class VerificationsTests(SynchronousTestCase):
    """Tests for :class:`Verifications`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 12345.5
        self.sent: list[tuple[str, Sequence[str]]] = []
        self.verifications = Verifications(self.clock, lambda *search: self.sent.append(search), Random(1))

    def test_rate(self) -> None:
        """Forty hosts are searched at once, then 20 in a second, in the order of their requests."""
        hosts = [f"10.0.{number // 100}.{number % 100}" for number in range(200)]
        for host in hosts:
            self.verifications.request("a", [host])
        self.assertEqual(self.sent, [("a", (host,)) for host in hosts[:40]])
        self.clock.pump([0.1] * 10)
        self.assertIn(len(self.sent), (59, 60))
        self.clock.pump([0.1] * 100)
        self.assertEqual(self.sent, [("a", (host,)) for host in hosts])
        self.assertEqual((self.verifications.rejected, self.clock.getDelayedCalls()), (0, []))

    def test_one_host(self) -> None:
        """A host is searched 16 times at once, with all of its ports, and then once a second."""
        for number in range(100):
            self.verifications.request(f"{number}", [f"10.0.0.5:{50000 + number}"])
        self.assertEqual((len(self.sent), self.verifications.rejected), (16, 84))

    def test_repetition(self) -> None:
        """A search that waits already is not added again."""
        for _ in range(2):
            for number in range(50):
                self.verifications.request("a", [f"10.0.0.{number}"])
        self.clock.pump([0.1] * 30)
        self.assertEqual(len(self.sent), 50 + 40)

    def test_limit(self) -> None:
        """Of more than 4,096 searches that wait, random ones are dropped and counted."""
        hosts = [f"10.{number // 250}.0.{number % 250}" for number in range(5000)]
        self.verifications.request("a", hosts[:40])
        self.verifications.request("a", hosts)
        self.assertEqual(self.verifications.rejected, 5000 - 4096)
        self.clock.pump([0.05] * 4200)
        self.assertGreater(len(set(hosts[-500:]) & {host for _, (host,) in self.sent}), 300)

    def test_stop(self) -> None:
        """After a stop nothing is sent, and no delayed call is left."""
        self.verifications.request("a", [f"10.0.0.{number}" for number in range(50)])
        self.verifications.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FloodTests(RegistryTestCase):
    """A device among 20,000 forged ones that never reply, with ``ssdp.trust`` set to ``confirmed``."""

    host = "10.0.0.5"

    def setUp(self) -> None:
        super().setUp()
        self.registry = self.make_registry(AdvertisementTable(trust=Standing.CONFIRMED))
        self.start()
        self.forged = 0
        self.reply = SearchResponse(API, f"uuid:D::{API}", f"http://{self.host}/x", 1800)

    def flood(self, seconds: float, *, device: bool = True) -> None:
        """Let time pass, while 200 new forged services are announced in a second, and the device replies."""
        for _ in range(round(seconds / 0.1)):
            for _ in range(20):
                self.forged += 1
                host = f"10.{1 + self.forged // 60000}.{self.forged // 250 % 240}.{self.forged % 250}"
                self.receive(alive(f"{host}:80", device_id=f"forged-{self.forged}"), host)
            self.reactor.pump([0.05, 0.05])
            searched = self.network.take_searches()
            hosts = [host for _, each in self.network.host_searches for host in each]
            self.network.host_searches.clear()
            if device and searched:
                self.network.receive(self.reply, self.host, Channel.SEARCH)
            if device and self.host in hosts:
                self.network.receive(self.reply, self.host, Channel.HOST)

    def test_reply_to_a_search_of_the_group(self) -> None:
        """A device that replies to a search of the group is registered within 5 s, whether it was announced or not."""
        self.flood(100, device=False)
        self.assertEqual((self.forged, len(self.registry.registrations)), (20_000, 0))
        self.flood(5)
        self.assertEqual([each.address for each in self.registry.registrations.values()], [self.host])

    def test_announced_device(self) -> None:
        """A device that has been announced is registered at its first reply, also in the pause between searches."""
        self.flood(20, device=False)
        for _ in range(3):
            self.receive(alive(f"{self.host}:80"))
            self.advance(0.3)
        self.assertEqual(len(self.registry.registrations), 0)
        self.flood(5)
        self.assertEqual([each.address for each in self.registry.registrations.values()], [self.host])

    def test_claimed_service(self) -> None:
        """The same holds if another host has claimed the service before."""
        self.receive(alive("10.0.0.66:80"), "10.0.0.66")
        self.flood(20, device=False)
        self.flood(5)
        self.assertEqual([each.address for each in self.registry.registrations.values()], [self.host])

    def test_lost_search(self) -> None:
        """If the search of its host is lost, the device is registered after a later reply."""
        self.network.receive(self.reply, self.host, Channel.SEARCH)
        self.assertEqual(self.network.host_searches, [(API, (self.host,))])
        for seconds, searches in ((0.1, 1), (0.1, 0), (9.7, 0), (0.4, 1)):
            self.network.host_searches.clear()
            self.advance(seconds)
            self.network.receive(self.reply, self.host, Channel.SEARCH)
            self.assertEqual(len(self.network.host_searches), searches, seconds)
