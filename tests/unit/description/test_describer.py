"""Tests for :mod:`ssdpreg.description.describer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from unittest import mock

from twisted.internet.defer import Deferred

from ssdpreg.description import describer as module
from ssdpreg.description.describer import Describer
from ssdpreg.description.source import Edition, Source
from ssdpreg.discovery.hosts import IPNetwork
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import DescriptionError
from ssdpreg.registration import Registration
from ssdpreg.registry import Registry
from ssdpreg.ssdp.messages import Alive, ByeBye
from tests.unit.registry.registry_case import API, LLDP, REDFISH, RegistryTestCase, alive

DAY, HOUR = 86400.0, 3600.0


class FakeFetch:
    """
    Fetch whose results are given by the test.

    :ivar waiting: Sources and results of the fetches under way.
    :ivar sources: Sources of all fetches.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Source, Deferred[Mapping[str, str]]]] = []
        self.sources: list[Source] = []

    async def __call__(self, source: Source) -> Mapping[str, str]:
        result: Deferred[Mapping[str, str]] = Deferred()
        self.sources.append(source)
        self.waiting.append((source, result))
        return await result

    def take(self) -> list[str]:
        """Return the paths of the fetches since the last call."""
        paths = [f"{source.url}{source.path}" for source in self.sources]
        self.sources.clear()
        return paths

    def succeed(self, model: str = "M") -> None:
        """End the oldest fetch with a fact."""
        self.waiting.pop(0)[1].callback({"ssdp-model": model})

    def fail(self, error: Exception | None = None) -> None:
        """End the oldest fetch with a failure."""
        self.waiting.pop(0)[1].errback(error or DescriptionError("no answer", "unavailable"))


class DescriberTestCase(RegistryTestCase):
    """A registry and a describer whose fetches are given by the test."""

    terms = {API: "RackHD", LLDP: "Inservice", REDFISH: "BMC"}  # noqa: RUF012

    def setUp(self) -> None:
        super().setUp()
        self.fetch = FakeFetch()
        self.describer = self.make_describer()
        self.start()
        self.describer.startService()
        self.addCleanup(self.stop_describer)

    def make_describer(self, networks: tuple[IPNetwork, ...] = ()) -> Describer:
        """Return a describer that is not started yet."""
        return Describer(self.reactor, self.registry, self.fetch, networks)

    def stop_describer(self) -> None:
        """Stop the describer, and check that nothing is left."""
        if self.describer.running:
            self.successResultOf(self.describer.stopService())

    def model(self, device_id: str = "D", nt: str = API) -> str | None:
        """Return the model in the Meta of a service."""
        service_id = self.rules.service_id(device_id, nt)
        return self.registry.registrations[service_id].meta.get("ssdp-model")

    def fetch_paths(self, seconds: float = 0.0) -> list[str]:
        """Advance the clock, and return the fetches since the last call."""
        self.reactor.advance(seconds)
        self.reactor.advance(0)
        return self.fetch.take()


class FetchTests(DescriberTestCase):
    """Fetches, and what becomes of their results."""

    def test_facts_are_registered(self) -> None:
        """A service is registered at once, and its registration changes once when the facts are known."""
        self.receive(alive())
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        self.assertIsNone(self.model())
        self.fetch.succeed()
        self.assertEqual(self.model(), "M")
        name = "RackHD-service:api:2.0 10.0.0.5:80"
        self.assertEqual(self.listener.events, [("appeared", name), ("changed", name)])

    def test_one_fetch_for_a_device(self) -> None:
        """Several services of a device have the facts of one fetch, whenever they are announced, and repeated."""
        for _ in range(3):
            self.receive(alive())
            self.receive(alive("10.0.0.5:81", LLDP))
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        self.fetch.succeed()
        self.assertEqual((self.model(), self.model(nt=LLDP)), ("M", "M"))
        self.receive(ByeBye(LLDP, f"uuid:D::{LLDP}"))
        self.reactor.advance(3)
        self.receive(alive("10.0.0.5:81", LLDP))
        self.assertEqual(self.fetch_paths(), [])
        self.assertEqual(self.model(nt=LLDP), "M")
        self.assertEqual(self.describer.fetches, {"ok": 1})

    def test_redfish(self) -> None:
        """The service root of a device is another document than its description."""
        self.receive(alive())
        self.receive(Alive(REDFISH, f"uuid:D::{REDFISH}", "http://10.0.0.5/redfish/v1", 1800))
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        self.fetch.succeed()
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/redfish/v1/"])
        self.fetch.succeed("R")
        self.assertEqual((self.model(), self.model(nt=REDFISH)), ("M", "R"))

    def test_failure(self) -> None:
        """A service stays as it is after a failure. The next attempt is made an hour later."""
        self.receive(alive(max_age=86400))
        self.fetch_paths()
        self.fetch.fail()
        self.assertEqual(self.fetch_paths(HOUR - 1), [])
        self.assertEqual(self.fetch_paths(1), ["http://10.0.0.5:80/x"])
        self.fetch.succeed()
        self.assertEqual(self.model(), "M")
        self.assertEqual(self.describer.fetches, {"unavailable": 1, "ok": 1})

    def test_daily(self) -> None:
        """The facts are fetched once a day. Equal ones change nothing, and a failure keeps the known ones."""
        self.receive(alive(max_age=86400))
        self.fetch_paths()
        self.fetch.succeed()
        del self.listener.events[:]
        self.assertEqual(self.fetch_paths(DAY - 1), [])
        self.receive(alive(max_age=86400))
        self.assertEqual(self.fetch_paths(1), ["http://10.0.0.5:80/x"])
        self.fetch.succeed()
        self.receive(alive(max_age=86400))
        self.assertEqual(self.fetch_paths(DAY), ["http://10.0.0.5:80/x"])
        self.fetch.fail()
        self.assertEqual((self.model(), self.listener.events), ("M", []))
        self.assertEqual(self.fetch_paths(HOUR), ["http://10.0.0.5:80/x"])
        self.fetch.succeed("other")
        self.assertEqual((self.model(), len(self.listener.events)), ("other", 1))

    def test_edition(self) -> None:
        """A device with a version of its document is asked again when that changes, and a minute later at the least."""
        versions = [1]
        self.describer._edition = lambda advertisement: Edition("", versions[0])
        self.receive(alive(max_age=86400))
        self.fetch_paths()
        self.fetch.succeed()
        self.assertEqual(self.fetch_paths(DAY + HOUR), [])
        versions[0] = 2
        self.registry.set_rules(self.rules)
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        versions[0] = 3
        self.fetch.succeed("M2")
        self.assertEqual(self.fetch_paths(59), [])
        self.assertEqual(self.fetch_paths(1), ["http://10.0.0.5:80/x"])

    def test_restarted_device(self) -> None:
        """A device is asked once for each BOOTID and CONFIGID, however many services it has."""
        for _ in range(2):
            for nt in (API, LLDP):
                self.receive(replace(alive(nt=nt, max_age=86400), boot_id="1", config_id=5))
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        self.fetch.succeed()
        for boot_id, config_id in (("2", 5), ("2", 6)):
            self.assertEqual(self.fetch_paths(HOUR), [])
            for nt in (API, LLDP):
                self.receive(replace(alive(nt=nt, max_age=86400), boot_id=boot_id, config_id=config_id))
                # A reply to a search without these fields.
                self.receive(alive(nt=nt, max_age=86400))
            self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
            self.fetch.succeed(f"M{boot_id}{config_id}")
            self.assertEqual((self.model(), self.model(nt=LLDP)), (f"M{boot_id}{config_id}",) * 2)
        # Without an announcement of a change there is no fetch a day.
        self.assertEqual(self.fetch_paths(DAY - HOUR), [])

    def test_version_after_the_first_attempt(self) -> None:
        """A version that is announced right after the attempt belongs to that attempt; a later one does not."""
        self.receive(alive(max_age=86400))
        self.fetch_paths()
        self.receive(replace(alive(max_age=86400), boot_id="1"))
        self.fetch.succeed()
        self.assertEqual(self.fetch_paths(120), [])
        self.receive(replace(alive(max_age=86400), boot_id="2"))
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])

    def test_unexpected_error(self) -> None:
        """An unexpected error is logged once, and ends neither the daemon nor further attempts."""
        for device_id in "DE":
            self.receive(alive(device_id=device_id))
            self.fetch_paths()
            self.fetch.fail(RuntimeError("a fault"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.describer.fetches, {"internal": 2})
        self.assertEqual(len(self.fetch_paths(HOUR)), 1)

    def test_stop(self) -> None:
        """A stopped describer cancels its fetches, and starts none."""
        self.receive(alive())
        self.receive(alive("10.0.0.6:80", device_id="E"))
        self.fetch_paths()
        self.successResultOf(self.describer.stopService())
        self.receive(alive("10.0.0.7:80", device_id="F"))
        self.assertEqual(self.fetch_paths(DAY), [])
        self.assertEqual(self.describer.fetches, {})

    def test_start_later(self) -> None:
        """Services that were announced before the start are fetched after it."""
        self.successResultOf(self.describer.stopService())
        self.receive(alive())
        self.describer.startService()
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])


class TrustTests(DescriberTestCase):
    """Hosts from which documents are fetched."""

    def test_sender_only(self) -> None:
        """Only the sender's own host is connected to. When it announces itself, its document is fetched."""
        self.receive(alive("10.0.0.9:80"), sender="10.0.0.5")
        self.assertEqual(self.fetch_paths(), [])
        self.assertEqual(self.describer.targets, 0)
        self.receive(alive("10.0.0.9:80"), sender="10.0.0.9")
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.9:80/x"])

    def test_host_names(self) -> None:
        """A host name is never resolved."""
        self.receive(alive("device.example:80"))
        self.assertEqual(self.fetch_paths(), [])

    def test_named_network(self) -> None:
        """Hosts in networks that the operator named are connected to, also if another host announced them."""
        self.describer._named_networks = (ip_network("10.0.0.8/29"),)
        self.receive(alive("10.0.0.9:80"), sender="10.0.0.5")
        self.receive(alive("10.0.0.16:80", device_id="E"), sender="10.0.0.5")
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.9:80/x"])

    def test_same_device_at_two_hosts(self) -> None:
        """The document of another host says nothing about a service, although it has the same device ID."""
        self.receive(alive("10.0.0.66:80", LLDP), sender="10.0.0.66")
        self.fetch_paths()
        self.fetch.succeed("forged")
        self.receive(alive())
        self.assertEqual(self.fetch_paths(), ["http://10.0.0.5:80/x"])
        self.assertIsNone(self.model())
        self.fetch.succeed("true")
        self.assertEqual((self.model(), self.model(nt=LLDP)), ("true", "forged"))

    def test_move(self) -> None:
        """A device that moves keeps its facts until those at its new address are known."""
        self.receive(alive())
        self.fetch_paths()
        self.fetch.succeed("old")
        self.receive(ByeBye(API, f"uuid:D::{API}"))
        self.receive(alive("10.0.0.6:80"), sender="10.0.0.6")
        self.reactor.advance(20)
        self.receive(alive("10.0.0.6:80"), sender="10.0.0.6")
        self.advance(20)
        registration = self.registry.registrations[self.rules.service_id("D", API)]
        self.assertEqual((registration.address, self.fetch.take()), ("10.0.0.6", ["http://10.0.0.6:80/x"]))
        self.fetch.succeed("new")
        self.assertEqual((self.model(), self.describer.targets), ("new", 1))

    def test_leaves_during_the_fetch(self) -> None:
        """The result of a fetch is dropped if the service has left meanwhile."""
        self.receive(alive())
        self.fetch_paths()
        self.receive(ByeBye(API, f"uuid:D::{API}"))
        self.advance(6)
        self.fetch.succeed()
        self.assertEqual(dict(self.registry.registrations), {})
        self.assertEqual((self.describer.targets, self.registry._facts), (0, {}))
        self.assertEqual(self.fetch_paths(DAY), [])

    def test_another_path(self) -> None:
        """A new path on the same host is another document: fetched a minute after the last one at the least."""
        self.receive(alive())
        self.fetch_paths()
        self.fetch.succeed()
        self.advance(11)
        self.receive(Alive(API, f"uuid:D::{API}", "http://10.0.0.5:80/y", 1800))
        self.assertEqual(self.fetch_paths(48), [])
        self.assertEqual(self.fetch_paths(2), ["http://10.0.0.5:80/y"])
        self.assertEqual(self.model(), "M")


class LoadTests(DescriberTestCase):
    """Many devices."""

    def make_registry(self, *arguments: object, **options: object) -> Registry:
        return super().make_registry(AdvertisementTable(3000, 3000))

    def announce(self, count: int, network: str = "10.1") -> None:
        """Announce a device at each of many hosts."""
        for number in range(count):
            host = f"{network}.{number // 250}.{number % 250 + 1}"
            self.receive(alive(f"{host}:80", device_id=f"{network}-{number}", max_age=86400), sender=host)
        self.reactor.advance(0)

    def finish(self) -> int:
        """End all fetches under way, and return their number."""
        count = len(self.fetch.waiting)
        while self.fetch.waiting:
            self.fetch.succeed()
        self.reactor.advance(0)
        return count

    def test_a_thousand_devices(self) -> None:
        """A thousand devices that appear at once are fetched in fours, each once. Later ones come at one a second."""
        self.announce(1000)
        self.assertEqual(self.describer.waiting, 996)
        rounds = [self.finish() for _ in range(250)]
        self.assertEqual(rounds, [4] * 250)
        paths = self.fetch.take()
        self.assertEqual((len(paths), len(set(paths))), (1000, 1000))
        self.announce(100, "10.2")
        self.assertEqual(self.finish(), 4)
        self.assertEqual(self.finish(), 0)
        counts = []
        for _ in range(50):
            self.reactor.advance(1)
            counts.append(self.finish())
        self.assertEqual(counts, [1] * 50)
        self.assertEqual(self.describer.waiting, 46)

    def test_many_devices_of_one_host(self) -> None:
        """A host with many devices has one fetch at a time, and delays another host by one turn only."""
        for number in range(500):
            self.receive(alive(device_id=f"F{number}"))
        self.reactor.advance(0)
        self.assertEqual(len(self.fetch.waiting), 1)
        self.receive(alive("10.0.0.6:80"), sender="10.0.0.6")
        self.assertEqual([path for path in self.fetch_paths() if "10.0.0.6" in path], ["http://10.0.0.6:80/x"])

    def test_limit(self) -> None:
        """The number of devices is limited. Further services are counted, and have no facts."""
        with mock.patch.object(module, "MAX_TARGETS", 10):
            self.announce(12)
            self.assertEqual((self.describer.targets, self.describer.skipped), (10, 2))
            self.receive(ByeBye(API, f"uuid:10.1-0::{API}"), sender="10.1.0.1")
            self.advance(6)
            self.assertEqual(self.describer.targets, 9)

    def test_known_and_unknown_devices_take_turns(self) -> None:
        """Devices whose facts are known, and others, take turns: the one does not delay the other."""
        self.reactor.advance(1000)
        self.announce(20)
        while self.describer.waiting or self.fetch.waiting:
            self.finish()
            self.reactor.advance(1)
        self.fetch.take()
        self.reactor.advance(DAY - 100)
        self.announce(20)
        self.reactor.advance(100)
        self.announce(20, "10.2")
        for _ in range(20):
            self.finish()
            self.reactor.advance(1)
        networks = [path[7:11] for path in self.fetch.take()]
        self.assertGreaterEqual(min(networks.count("10.1"), networks.count("10.2")), 8)


class RestartTests(RegistryTestCase):
    """Facts in the Meta of an earlier run."""

    def make(self, *, describe: bool = True) -> tuple[Registration, Registry]:
        """Return the registration of an earlier run, and a new registry."""
        self.receive(alive())
        service_id = self.rules.service_id("D", API)
        self.registry.set_facts(service_id, {"ssdp-model": "M"})
        earlier = self.registry.registrations[service_id]
        self.registry = self.make_registry()
        self.registry._describe = describe
        self.listener.events.clear()
        self.registry.subscribe(self.listener)
        return earlier, self.registry

    def test_adopted(self) -> None:
        """Facts are adopted, so that nothing changes after a restart."""
        earlier, registry = self.make()
        registry.adopt([earlier])
        self.receive(alive())
        self.assertEqual(dict(registry.registrations), {earlier.service_id: earlier})
        self.assertEqual([event for event, _ in self.listener.events], ["appeared"])

    def test_announced_before_the_adoption(self) -> None:
        """A service that was announced before the adoption has its facts by the adoption."""
        earlier, registry = self.make()
        self.receive(alive())
        registry.adopt([earlier])
        self.assertEqual(registry.registrations[earlier.service_id], earlier)

    def test_fetched_before_the_adoption(self) -> None:
        """Facts that were fetched before the adoption are newer."""
        earlier, registry = self.make()
        self.receive(alive())
        registry.set_facts(earlier.service_id, {"ssdp-model": "new"})
        registry.adopt([earlier])
        self.assertEqual(registry.registrations[earlier.service_id].meta["ssdp-model"], "new")

    def test_switched_off(self) -> None:
        """Without ``describe`` the facts of an earlier run are removed."""
        earlier, registry = self.make(describe=False)
        registry.adopt([earlier])
        self.assertNotIn("ssdp-model", registry.registrations[earlier.service_id].meta)

    def test_not_adopted(self) -> None:
        """No facts of a service are kept that was not adopted."""
        earlier, registry = self.make()
        registry.remove_search_term(API)
        registry.adopt([earlier])
        self.assertEqual((dict(registry.registrations), registry._facts), ({}, {}))

    def test_fetched_again_within_the_budget(self) -> None:
        """Adopted devices are fetched again at one a second, and the facts do not change meanwhile."""
        registrations = []
        for number in range(20):
            host = f"10.1.0.{number + 1}"
            self.receive(alive(f"{host}:80", device_id=f"D{number}"), sender=host)
            service_id = self.rules.service_id(f"D{number}", API)
            self.registry.set_facts(service_id, {"ssdp-model": "M"})
            registrations.append(self.registry.registrations[service_id])
        self.registry = self.make_registry()
        self.registry._describe = True
        self.registry.subscribe(self.listener)
        fetch = FakeFetch()
        describer = Describer(self.reactor, self.registry, fetch)
        describer.startService()
        self.registry.adopt(registrations)
        self.listener.events.clear()
        for number in range(20):
            host = f"10.1.0.{number + 1}"
            self.receive(alive(f"{host}:80", device_id=f"D{number}"), sender=host)
        counts = []
        for _ in range(20):
            self.reactor.advance(0)
            counts.append(len(fetch.take()))
            while fetch.waiting:
                fetch.succeed()
            self.reactor.advance(1)
        self.assertEqual(counts, [4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0])
        self.assertEqual(self.listener.events, [])
        self.successResultOf(describer.stopService())
