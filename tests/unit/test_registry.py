"""Tests for :mod:`ssdpreg.registry`, from the datagram to what its listeners are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from random import Random

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ssdpreg.config import CheckConfig
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import IRegistrationListener, ISSDPListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update
from ssdpreg.ssdp.network import Network
from tests.support.memory_reactor import MemoryMulticastReactor

API = "urn:schemas-upnp-org:service:api:2.0"
LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


@implementer(IRegistrationListener)
class Notes:
    """Writes down what a listener is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def changed(self, registration: Registration, before: Registration) -> None:
        self.appeared(registration)

    def appeared(self, registration: Registration) -> None:
        self.told.append(("live", f"{registration.name} {registration.address}:{registration.port}"))

    def left(self, registration: Registration, reason: str) -> None:
        self.told.append((reason, f"{registration.name} {registration.address}:{registration.port}"))


class RegistryTestCase(SynchronousTestCase):
    """A registry on a network in memory."""

    terms = {API: "RackHD", LLDP: "Inservice"}  # noqa: RUF012
    rules = RegistrationRules(scope="rack-7")

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.registry = self.make_registry()
        self.notes = Notes()
        self.registry.subscribe(self.notes)

    def make_registry(
        self,
        table: AdvertisementTable | None = None,
        search_interval: float = 300,
        remember: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Registry:
        """Make a registry that was not started yet."""
        registry = Registry(
            self.reactor,
            partial(Network, self.reactor, find_interfaces=lambda: self.adapters),
            table or AdvertisementTable(),
            self.rules,
            LocationRules([ip_network("0.0.0.0/0")]),
            search_interval=search_interval,
            remember=remember,
            random=Random(1),
        )
        registry.set_search_terms(self.terms)
        return registry

    def start(self) -> None:
        """Start it, and stop it at the test's end."""
        self.registry.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.registry.running:
            stopping = self.registry.stopService()
            self.reactor.advance(0)
            self.successResultOf(stopping)

    def hear(self, message: Message | bytes, sender: str = "10.0.0.5", *, reply: bool = False) -> None:
        """Let a datagram come in, at the group's socket or at the one that asks."""
        datagram = message if isinstance(message, bytes) else encode(message)
        port = next(port for port in self.reactor.ports if (port.number == 1900) != reply)
        port.protocol.datagramReceived(datagram, (sender, 50000))

    def searches(self) -> list[tuple[str, int | None]]:
        """Take what was searched for since the last time: targets and MX."""
        taken = []
        for port in self.reactor.ports:
            for datagram, _ in port.written:
                message = decode(datagram)
                assert isinstance(message, SearchRequest)
                taken.append((message.st, message.mx))
            port.written.clear()
        return taken

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.reactor.pump([0.05] * round(seconds / 0.05))


def alive(host: str = "10.0.0.5:80", nt: str = API, device_id: str = "D", max_age: int | None = 1800) -> Alive:
    """Make an announcement."""
    return Alive(nt, f"uuid:{device_id}::{nt}", f"http://{host}/x", max_age)


class HearingTests(RegistryTestCase):
    """What becomes of messages."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_interface(self) -> None:
        """It hears what the listener of a network hears."""
        verifyObject(ISSDPListener, self.registry)

    def test_alive(self) -> None:
        """An announced service is live, once."""
        for _ in range(3):
            self.hear(alive())
        self.assertEqual(self.notes.told, [("live", "RackHD-service:api:2.0 10.0.0.5:80")])
        self.assertEqual([each.name for each in self.registry.registrations.values()], ["RackHD-service:api:2.0"])

    def test_response(self) -> None:
        """A reply to our search is as good as an announcement; one that came to the group answers nobody."""
        response = SearchResponse(API, f"uuid:D::{API}", "http://10.0.0.5/", 1800)
        self.hear(response)
        self.assertEqual(self.notes.told, [])
        self.hear(response, reply=True)
        self.assertEqual(self.notes.told, [("live", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_al(self) -> None:
        """A Redfish service that answers with AL and no LOCATION is registered at that URL."""
        self.registry.add_search_term(REDFISH, "BMC")
        self.hear(
            f"HTTP/1.1 200 OK\r\nST:{REDFISH}:5\r\nUSN:uuid:D::{REDFISH}:5\r\nAL:https://10.0.0.7/redfish/v1\r\n".encode(),
            reply=True,
        )
        self.assertEqual(self.notes.told, [("live", "BMC-service:redfish-rest:1 10.0.0.7:443")])

    def test_byebye(self) -> None:
        """A service that says byebye is gone 2 s later."""
        self.hear(alive())
        self.hear(ByeBye(API, f"uuid:D::{API}"))
        self.pass_time(1.9)
        self.assertEqual(len(self.notes.told), 1)
        self.pass_time(0.2)
        self.assertEqual(self.notes.told[1:], [("byebye", "RackHD-service:api:2.0 10.0.0.5:80")])
        self.assertEqual(self.registry.registrations, {})

    def test_byebye_of_a_device(self) -> None:
        """A root device, or a bare device, that leaves takes all its services with it."""
        for nt, usn in (("upnp:rootdevice", "uuid:d::upnp:rootdevice"), ("uuid:D", "UUID:D")):
            self.hear(alive())
            self.hear(alive(nt=LLDP))
            self.hear(ByeBye(nt, usn))
            self.pass_time(2.1)
            self.assertEqual(self.registry.registrations, {})

    def test_byebye_of_others(self) -> None:
        """A byebye of another device, of a type nobody asked for, or of no device changes nothing."""
        self.hear(alive())
        for nt, usn in ((API, f"uuid:E::{API}"), ("urn:x", "uuid:D::urn:x"), (API, API), (API, f"uuid:::{API}")):
            self.hear(ByeBye(nt, usn))
        self.pass_time(10)
        self.assertEqual(len(self.registry.registrations), 1)

    def test_later_versions_are_one_service(self) -> None:
        """A device that answers for version 1, and announces and takes back version 3, is one service."""
        urn = "urn:schemas-upnp-org:service:SwitchPower:"
        self.registry.add_search_term(f"{urn}1", "T")
        self.hear(SearchResponse(f"{urn}1", f"uuid:D::{urn}1", "http://10.0.0.5/", 1800), reply=True)
        self.hear(alive("10.0.0.5", f"{urn}3"))
        self.hear(SearchResponse(f"{urn}1", f"uuid:D::{urn}1", "http://10.0.0.5/", 1800), reply=True)
        self.hear(ByeBye(f"{urn}3", f"uuid:D::{urn}3"))
        self.pass_time(2.1)
        self.assertEqual([verb for verb, _ in self.notes.told[:1]], ["live"])
        self.assertEqual(self.notes.told[-1], ("byebye", "T-service:SwitchPower:1 10.0.0.5:80"))

    def test_expires(self) -> None:
        """With nothing heard for max-age and a grace, the service is gone; it was searched for before."""
        self.hear(alive(max_age=4))
        self.pass_time(3)
        self.searches()
        self.pass_time(1)
        self.assertEqual(self.searches(), [(API, 1)])
        self.pass_time(0.9)
        self.assertEqual(len(self.notes.told), 1)
        self.pass_time(0.2)
        self.assertEqual(self.notes.told[1:], [("expired", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_only_answers_prove_that_a_device_answers(self) -> None:
        """A service that used to answer, and does not when another place is named, is followed; others are not."""
        self.hear(alive(device_id="D"))
        self.hear(alive(device_id="E"))
        self.hear(SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.5:80/x", 1800), reply=True)
        for device_id in "DE":
            self.hear(alive("10.0.0.6:80", device_id=device_id), "10.0.0.6")
        self.pass_time(7)
        self.assertEqual(
            sorted(each.address for each in self.registry.registrations.values()), ["10.0.0.5", "10.0.0.6"]
        )
        self.assertEqual(self.registry.services()[1][0].address, "10.0.0.6")

    def test_one_timer(self) -> None:
        """However much is live, one timer waits for what is due next."""
        waiting = len(self.reactor.getDelayedCalls())
        for max_age in (1000, 100, 10, 500):
            self.hear(alive(device_id=str(max_age), max_age=max_age))
        self.assertEqual(len(self.reactor.getDelayedCalls()), waiting + 1)
        self.pass_time(11.1)
        self.assertEqual(len(self.registry.registrations), 3)

    def test_device_ids(self) -> None:
        """A device ID is any text that can be shown, and not endless."""
        for device_id in ("x" * 255, "1", "roku:ecp:1GU48T017973", "ü"):
            self.hear(alive(device_id=device_id))
        self.assertEqual(len(self.registry.registrations), 4)
        for device_id in ("x" * 256, "a\x00b", " "):
            self.registry.notify_alive(alive(device_id=device_id), "10.0.0.5")
        self.assertEqual((len(self.registry.registrations), self.registry.dropped["no device ID"]), (4, 3))

    def test_max_age_is_bounded(self) -> None:
        """Without a readable max-age it is 1800 s, and never more than a day."""
        self.hear(alive(max_age=None))
        self.hear(alive(device_id="E", max_age=10**9))
        lifetimes = {live.expires_at - live.heard_at for _, live in self.registry.services()}
        self.assertEqual(lifetimes, {1860, 86460})

    def test_update_prolongs_and_moves_nothing(self) -> None:
        """``ssdp:update`` is heard, and changes nothing."""
        self.hear(alive(max_age=4))
        self.pass_time(3)
        self.hear(Update(API, f"uuid:D::{API}"))
        self.pass_time(2.1)
        self.assertEqual(self.registry.registrations, {})

    def test_ignored(self) -> None:
        """What cannot be registered is counted by its reason, and told once for each sender and reason."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_level") is LogLevel.info and "reason" in event:
                lines.append(str(event["reason"]))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        for _ in range(3):
            self.hear(alive("192.168.1165535"))
            self.hear(Alive(API, API, "http://10.0.0.5/"))
            self.hear(b"rubbish")
            self.hear(alive(nt="urn:x"))
            self.pass_time(61)
        self.assertEqual(
            self.registry.dropped,
            {
                "LOCATION's host is no address and no name": 3,
                "no device ID": 3,
                "start line": 3,
                "not asked for": 3,
            },
        )
        self.assertEqual(lines, ["LOCATION's host is no address and no name", "no device ID"])
        self.assertEqual(self.registry.received["alive", "eth0"], 9)

    def test_listeners_errors_stay_outside(self) -> None:
        """The methods of the original can be called by anybody, without a sender."""
        self.registry.notify_alive(alive())
        self.registry.response(SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.6/"))
        self.registry.notify_bye(ByeBye(API, f"uuid:D::{API}"))
        self.pass_time(2.1)
        self.assertEqual(len(self.registry.registrations), 1)


class SearchTermTests(RegistryTestCase):
    """What the operator asks for."""

    def test_terms(self) -> None:
        """Terms are added, replaced and removed; what is returned is a copy."""
        self.registry.add_search_term("urn:a", "A")
        self.registry.add_search_term("urn:a", "B")
        self.registry.remove_search_term(LLDP)
        self.registry.remove_search_term("urn:unknown")
        terms = self.registry.get_search_terms()
        self.assertEqual(terms, {API: "RackHD", "urn:a": "B"})
        terms.clear()
        self.assertEqual(len(self.registry.get_search_terms()), 2)

    def test_the_same_terms(self) -> None:
        """Asking for what is asked for already changes nothing, and searches for nothing."""
        self.start()
        self.hear(alive())
        self.pass_time(5)
        self.searches()
        self.registry.set_search_terms(dict(self.terms))
        self.pass_time(1)
        self.assertEqual((self.searches(), len(self.notes.told)), ([], 1))

    def test_removing_a_term_ends_its_services(self) -> None:
        """What nobody asks for any more is gone; others are not touched."""
        self.start()
        self.hear(alive())
        self.hear(alive(nt=LLDP))
        self.registry.remove_search_term(API)
        self.assertEqual(self.notes.told[2:], [("unconfigured", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_a_new_tag_renames(self) -> None:
        """A service whose term has another tag now is the same service by another name."""
        self.start()
        self.hear(alive())
        (before,) = self.registry.registrations
        self.registry.add_search_term(API, "New")
        self.assertEqual(list(self.registry.registrations), [before])
        self.assertEqual(self.notes.told[-1], ("live", "New-service:api:2.0 10.0.0.5:80"))

    def test_other_rules(self) -> None:
        """When rules change, what is live is registered by them at once; what they leave alone is not."""
        self.start()
        self.hear(alive())
        self.hear(alive(nt=LLDP))
        self.registry.set_rules(replace(self.rules, checks={API: CheckConfig(tcp=True)}))
        self.assertEqual(self.notes.told[2:], [("live", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_a_new_term_is_searched_for(self) -> None:
        """What is asked for anew is searched for at once, what is asked for less is not."""
        self.start()
        self.pass_time(5)
        self.searches()
        self.registry.add_search_term("urn:a", "A")
        self.pass_time(1)
        self.assertIn(("urn:a", 3), self.searches())
        self.registry.remove_search_term("urn:a")
        self.pass_time(1)
        self.assertEqual(self.searches(), [])


class SearchingTests(RegistryTestCase):
    """What is asked, and when."""

    def test_at_start_twice_then_at_each_interval(self) -> None:
        """Every term is searched for twice at the start, and once at each interval, one datagram after the other."""
        self.start()
        round_of_searches = [(API, 3), (LLDP, 3)]
        self.reactor.advance(0)
        self.assertEqual(self.searches(), round_of_searches[:1])
        self.pass_time(2)
        self.assertEqual(self.searches(), [round_of_searches[1], *round_of_searches])
        self.pass_time(297)
        self.assertEqual(self.searches(), [])
        self.pass_time(2)
        self.assertEqual(self.searches(), round_of_searches)
        self.pass_time(300)
        self.assertEqual(self.searches(), round_of_searches)

    def test_interval_0(self) -> None:
        """Without an interval it searches at the start only."""
        self.registry = self.make_registry(search_interval=0)
        self.start()
        self.pass_time(1000)
        self.assertEqual(len(self.searches()), 4)

    def test_patterns_ask_everybody(self) -> None:
        """No search stands for a pattern but one for everything; exact terms are asked for all the same."""
        self.registry.set_search_terms({API: "RackHD", "urn:x:*": "X", "urn:y:*": "Y"})
        self.start()
        self.pass_time(0.9)
        self.assertEqual(self.searches(), [(API, 3), ("ssdp:all", 3)])

    def test_many_terms_ask_everybody(self) -> None:
        """More than ten terms are one search for everything."""
        self.registry.set_search_terms({f"urn:{number}": "T" for number in range(11)})
        self.start()
        self.pass_time(0.9)
        self.assertEqual(self.searches(), [("ssdp:all", 3)])

    def test_no_storm(self) -> None:
        """Never are more than ten datagrams sent in 200 ms."""
        self.registry.set_search_terms({f"urn:{number}": "T" for number in range(10)})
        self.start()
        counts = []
        for _ in range(20):
            self.pass_time(0.2)
            counts.append(len(self.searches()))
        self.assertEqual(sum(counts), 20)
        self.assertLessEqual(max(counts), 10)

    def test_questions_are_gathered(self) -> None:
        """Many services of a type that are due together are one search."""
        self.registry = self.make_registry(AdvertisementTable())
        self.start()
        for number in range(100):
            self.hear(alive(device_id=str(number), max_age=100))
        self.pass_time(79)
        self.searches()
        self.pass_time(2)
        self.assertEqual(self.searches(), [(API, 3)])

    def test_counts_searches(self) -> None:
        """Rounds of searches are counted."""
        self.start()
        self.pass_time(300)
        self.assertEqual(self.registry.searches, 3)

    def test_settled(self) -> None:
        """It knows when every device has had the time to answer."""
        self.assertFalse(self.registry.settled)
        self.start()
        self.pass_time(4)
        self.assertFalse(self.registry.settled)
        self.pass_time(2)
        self.assertTrue(self.registry.settled)

    def test_settled_without_a_network(self) -> None:
        """Where nobody could be asked, nobody had the time to answer."""
        self.adapters = []
        self.start()
        self.pass_time(65)
        self.assertFalse(self.registry.settled)
        self.adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.pass_time(10)
        self.assertFalse(self.registry.settled)
        self.pass_time(6)
        self.assertTrue(self.registry.settled)

    def test_an_interface_that_comes_is_searched_on(self) -> None:
        """A new interface is found within 10 s, and asked at once, twice."""
        self.start()
        self.pass_time(5)
        self.searches()
        self.adapters = [*self.adapters, NetworkInterface("eth1", 3, ("10.1.0.1",))]
        self.pass_time(7)
        self.assertEqual([name for name, _ in self.registry.interfaces], ["eth0", "eth1"])
        self.assertEqual(sorted(self.searches()), sorted([(API, 3), (LLDP, 3)] * 4))

    def test_stop(self) -> None:
        """When it is stopped nothing is left running, and it can be started again."""
        self.start()
        self.hear(alive())
        self.stop()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.ports), ([], []))
        self.start()
        self.pass_time(1)
        self.assertTrue(self.searches())


class AdoptTests(RegistryTestCase):
    """What an earlier run left."""

    def test_adopts(self) -> None:
        """What was registered is live at once, with an equal registration, and expires if it is not heard."""
        self.start()
        self.hear(alive())
        (left,) = self.registry.registrations.values()
        later = self.make_registry()
        notes = Notes()
        later.subscribe(notes)
        later.adopt([left])
        self.assertEqual(later.registrations, {left.service_id: left})
        self.assertEqual(notes.told, [("live", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_adopts_only_what_it_would_register(self) -> None:
        """What no term asks for, and what does not say enough, is not adopted."""
        self.start()
        self.hear(alive())
        (left,) = self.registry.registrations.values()
        later = self.make_registry()
        strange = replace(left, service_id="ssdpreg-x-0123456789abcdef")
        unsaid = replace(left, meta={})
        later.adopt([strange, unsaid])
        later.remove_search_term(API)
        later.adopt([left])
        self.assertEqual(later.registrations, {})

    def test_the_rest_of_its_time(self) -> None:
        """Where it is known how long a service has left, that is what it has; if nothing, it is gone at once."""
        self.start()
        for device_id in "DE":
            self.hear(alive(device_id=device_id))
        first, second = self.registry.registrations.values()
        self.stop()
        self.registry = self.make_registry()
        self.registry.subscribe(self.notes)
        self.notes.told.clear()
        self.registry.adopt([first, second], {first.service_id: 5.0, second.service_id: -1.0})
        self.assertEqual([verb for verb, _ in self.notes.told], ["live", "live", "expired"])
        self.assertEqual(list(self.registry.registrations), [first.service_id])
        self.start()
        self.pass_time(4.9)
        self.assertEqual(len(self.notes.told), 3)
        self.pass_time(0.2)
        self.assertEqual(self.notes.told[-1][0], "expired")

    def test_remembers_lifetimes(self) -> None:
        """Every 2 s it is written down how long those have left that were heard meanwhile, and no others."""
        remembered: list[dict[str, int]] = []

        def remember(lifetimes: Mapping[str, float]) -> None:
            remembered.append({key: round(seconds) for key, seconds in lifetimes.items()})
            if len(remembered) == 2:
                raise RuntimeError("of our own")

        self.registry = self.make_registry(remember=remember)
        self.start()
        self.hear(alive(max_age=100))
        self.hear(alive(device_id="E", max_age=1000))
        first, second = self.registry.registrations
        for _ in range(2):
            self.pass_time(5.2)
            self.hear(alive(max_age=100))
        self.pass_time(2)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.assertEqual(remembered, [{first: 108, second: 1058}, {first: 109}, {first: 108}])
