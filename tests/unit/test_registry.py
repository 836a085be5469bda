"""Tests for :mod:`ssdpreg.registry`, from received datagrams to the events of its listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from random import Random
from typing import cast
from unittest import mock

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ssdpreg.config import CheckConfig
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import ILifetimeStore, IRegistrationListener, ISSDPListener
from ssdpreg.registration import Registration, RegistrationRules
from ssdpreg.registry import LifetimeRecorder, LiveRegistrations, Registry
from ssdpreg.ssdp.codec import decode, encode
from ssdpreg.ssdp.interfaces import NetworkInterface
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update
from ssdpreg.ssdp.network import Network
from ssdpreg.testing import make_registration
from tests.support.memory_reactor import MemoryMulticastReactor

API = "urn:schemas-upnp-org:service:api:2.0"
LLDP = "urn:schemas-upnp-org:service:lldp:0.1"
REDFISH = "urn:dmtf-org:service:redfish-rest:1"


@implementer(IRegistrationListener)
class RecordingListener:
    """
    Listener that records its events.

    :ivar events: For each event, its name and a description of the service; for a departure, the reason in place of the
        name.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def appeared(self, registration: Registration) -> None:
        self._record("appeared", registration)

    def changed(self, registration: Registration, before: Registration) -> None:
        self._record("changed", registration)

    def left(self, registration: Registration, reason: str) -> None:
        self._record(reason, registration)

    def _record(self, event: str, registration: Registration) -> None:
        self.events.append((event, f"{registration.name} {registration.address}:{registration.port}"))


@implementer(IRegistrationListener)
class FailingListener:
    """Listener that raises an exception for each event."""

    def appeared(self, registration: Registration) -> None:
        raise RuntimeError("appeared")

    def changed(self, registration: Registration, before: Registration) -> None:
        raise RuntimeError("changed")

    def left(self, registration: Registration, reason: str) -> None:
        raise RuntimeError("left")


class RegistryTestCase(SynchronousTestCase):
    """Base class: a registry on a network in memory."""

    terms = {API: "RackHD", LLDP: "Inservice"}  # noqa: RUF012
    rules = RegistrationRules(scope="rack-7")

    def setUp(self) -> None:
        self.reactor = MemoryMulticastReactor()
        self.adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.registry = self.make_registry()
        self.listener = RecordingListener()
        self.registry.subscribe(self.listener)

    def make_registry(
        self,
        table: AdvertisementTable | None = None,
        search_interval: float = 300,
    ) -> Registry:
        """Return a registry that is not started yet."""
        registry = Registry(
            self.reactor,
            partial(Network, self.reactor, find_interfaces=lambda: self.adapters),
            table or AdvertisementTable(),
            self.rules,
            LocationRules([ip_network("0.0.0.0/0")]),
            search_interval=search_interval,
            random=Random(1),
        )
        registry.set_search_terms(self.terms)
        return registry

    def start(self) -> None:
        """Start the registry, and stop it at the end of the test."""
        self.registry.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the registry if it is running, and wait until its sockets are closed."""
        if self.registry.running:
            stopping = self.registry.stopService()
            self.reactor.advance(0)
            self.successResultOf(stopping)

    def receive(self, message: Message | bytes, sender: str = "10.0.0.5", *, reply: bool = False) -> None:
        """Deliver a datagram to the socket of the multicast group, or a reply to the socket that sends the searches."""
        datagram = message if isinstance(message, bytes) else encode(message)
        port = next(port for port in self.reactor.ports if (port.number == 1900) != reply)
        port.protocol.datagramReceived(datagram, (sender, 50000))

    def searches(self) -> list[tuple[str, int | None]]:
        """Return the target and MX of each search sent since the last call."""
        taken = []
        for port in self.reactor.ports:
            for datagram, _ in port.written:
                message = decode(datagram)
                assert isinstance(message, SearchRequest)
                taken.append((message.st, message.mx))
            port.written.clear()
        return taken

    def advance(self, seconds: float) -> None:
        """Advance the clock in small steps."""
        self.reactor.pump([0.05] * round(seconds / 0.05))


def alive(host: str = "10.0.0.5:80", nt: str = API, device_id: str = "D", max_age: int | None = 1800) -> Alive:
    """Return an ``ssdp:alive``."""
    return Alive(nt, f"uuid:{device_id}::{nt}", f"http://{host}/x", max_age)


class MessageTests(RegistryTestCase):
    """Effects of received messages on the live services."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_interface(self) -> None:
        """A registry provides the interface of a receiver of messages."""
        verifyObject(ISSDPListener, self.registry)

    def test_alive(self) -> None:
        """A service that is announced repeatedly appears once."""
        for _ in range(3):
            self.receive(alive())
        self.assertEqual(self.listener.events, [("appeared", "RackHD-service:api:2.0 10.0.0.5:80")])
        self.assertEqual([each.name for each in self.registry.registrations.values()], ["RackHD-service:api:2.0"])

    def test_response(self) -> None:
        """A reply to a search makes a service live. A reply sent to the multicast group is ignored."""
        response = SearchResponse(API, f"uuid:D::{API}", "http://10.0.0.5/", 1800)
        self.receive(response)
        self.assertEqual(self.listener.events, [])
        self.receive(response, reply=True)
        self.assertEqual(self.listener.events, [("appeared", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_al(self) -> None:
        """A Redfish service that replies with AL and without LOCATION is registered at the URL in AL."""
        self.registry.add_search_term(REDFISH, "BMC")
        self.receive(
            f"HTTP/1.1 200 OK\r\nST:{REDFISH}:5\r\nUSN:uuid:D::{REDFISH}:5\r\nAL:https://10.0.0.7/redfish/v1\r\n".encode(),
            reply=True,
        )
        self.assertEqual(self.listener.events, [("appeared", "BMC-service:redfish-rest:1 10.0.0.7:443")])

    def test_byebye(self) -> None:
        """A service leaves 2 s after its byebye."""
        self.receive(alive())
        self.receive(ByeBye(API, f"uuid:D::{API}"))
        self.advance(1.9)
        self.assertEqual(len(self.listener.events), 1)
        self.advance(0.2)
        self.assertEqual(self.listener.events[1:], [("byebye", "RackHD-service:api:2.0 10.0.0.5:80")])
        self.assertEqual(self.registry.registrations, {})

    def test_max_age_0(self) -> None:
        """An announcement with max-age 0 makes no service live, and ends a live one like a byebye."""
        self.receive(alive(max_age=0))
        self.assertEqual(self.listener.events, [])
        self.receive(alive())
        self.receive(alive(max_age=0))
        self.advance(1.9)
        self.assertEqual(len(self.listener.events), 1)
        self.advance(0.2)
        self.assertEqual(self.listener.events[1:], [("byebye", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_byebye_of_a_device(self) -> None:
        """A byebye of the root device, or of the bare UUID, ends all services of the device."""
        for nt, usn in (("upnp:rootdevice", "uuid:d::upnp:rootdevice"), ("uuid:D", "UUID:D")):
            self.receive(alive())
            self.receive(alive(nt=LLDP))
            self.receive(ByeBye(nt, usn))
            self.advance(2.1)
            self.assertEqual(self.registry.registrations, {})

    def test_unrelated_byebye(self) -> None:
        """A byebye of another device, of an unmatched type, or without a device ID ends no service."""
        self.receive(alive())
        for nt, usn in ((API, f"uuid:E::{API}"), ("urn:x", "uuid:D::urn:x"), (API, API), (API, f"uuid:::{API}")):
            self.receive(ByeBye(nt, usn))
        self.advance(10)
        self.assertEqual(len(self.registry.registrations), 1)

    def test_later_versions_are_one_service(self) -> None:
        """Replies for version 1, and an alive and a byebye of version 3, concern one service."""
        urn = "urn:schemas-upnp-org:service:SwitchPower:"
        self.registry.add_search_term(f"{urn}1", "T")
        self.receive(SearchResponse(f"{urn}1", f"uuid:D::{urn}1", "http://10.0.0.5/", 1800), reply=True)
        self.receive(alive("10.0.0.5", f"{urn}3"))
        self.receive(SearchResponse(f"{urn}1", f"uuid:D::{urn}1", "http://10.0.0.5/", 1800), reply=True)
        self.receive(ByeBye(f"{urn}3", f"uuid:D::{urn}3"))
        self.advance(2.1)
        self.assertEqual([event for event, _ in self.listener.events[:1]], ["appeared"])
        self.assertEqual(self.listener.events[-1], ("byebye", "T-service:SwitchPower:1 10.0.0.5:80"))

    def test_expires(self) -> None:
        """A service expires at max-age plus grace. It is searched for before."""
        self.receive(alive(max_age=4))
        self.advance(3)
        self.searches()
        self.advance(1)
        self.assertEqual(self.searches(), [(API, 1)])
        self.advance(0.9)
        self.assertEqual(len(self.listener.events), 1)
        self.advance(0.2)
        self.assertEqual(self.listener.events[1:], [("expired", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_contradicting_location(self) -> None:
        """A contradicting LOCATION replaces that of a device that stopped replying to searches, and no other."""
        self.receive(alive(device_id="D"))
        self.receive(alive(device_id="E"))
        self.receive(SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.5:80/x", 1800), reply=True)
        for device_id in "DE":
            self.receive(alive("10.0.0.6:80", device_id=device_id), "10.0.0.6")
        self.advance(7)
        self.assertEqual(
            sorted(each.address for each in self.registry.registrations.values()), ["10.0.0.5", "10.0.0.6"]
        )
        self.assertEqual(self.registry.services()[1][0].address, "10.0.0.6")

    def test_one_timer(self) -> None:
        """One delayed call serves the expiry of all services."""
        waiting = len(self.reactor.getDelayedCalls())
        for max_age in (1000, 100, 10, 500):
            self.receive(alive(device_id=str(max_age), max_age=max_age))
        self.assertEqual(len(self.reactor.getDelayedCalls()), waiting + 1)
        self.advance(11.1)
        self.assertEqual(len(self.registry.registrations), 3)

    def test_device_ids(self) -> None:
        """Any printable text of 255 characters at most is accepted as a device ID."""
        for device_id in ("x" * 255, "1", "roku:ecp:1GU48T017973", "ü"):
            self.receive(alive(device_id=device_id))
        self.assertEqual(len(self.registry.registrations), 4)
        for device_id in ("x" * 256, "a\x00b", " "):
            self.registry.notify_alive(alive(device_id=device_id), "10.0.0.5")
        self.assertEqual((len(self.registry.registrations), self.registry.dropped["no device ID"]), (4, 3))

    def test_max_age_is_bounded(self) -> None:
        """The lifetime is that of 1800 s without a readable max-age, and of a day at most."""
        self.receive(alive(max_age=None))
        self.receive(alive(device_id="E", max_age=10**9))
        lifetimes = {live.expires_at - live.received_at for _, live in self.registry.services()}
        self.assertEqual(lifetimes, {1860, 86460})

    def test_update(self) -> None:
        """An ``ssdp:update`` does not prolong a service."""
        self.receive(alive(max_age=4))
        self.advance(3)
        self.receive(Update(API, f"uuid:D::{API}"))
        self.advance(2.1)
        self.assertEqual(self.registry.registrations, {})

    def test_rejected_messages(self) -> None:
        """Rejections are counted by reason, and logged once for each sender and reason."""
        with capturedLogs() as logged:
            for _ in range(3):
                self.receive(alive("192.168.1165535"))
                self.receive(Alive(API, API, "http://10.0.0.5/"))
                self.receive(b"rubbish")
                self.receive(alive(nt="urn:x"))
                self.advance(61)
        self.assertEqual(
            self.registry.dropped,
            {
                "LOCATION's host is no address and no name": 3,
                "no device ID": 3,
                "start line": 3,
                "no search term": 3,
            },
        )
        reasons = [event["reason"] for event in logged if event["log_level"] is LogLevel.info and "reason" in event]
        self.assertEqual(reasons, ["LOCATION's host is no address and no name", "no device ID"])
        self.assertEqual(self.registry.received["alive", "eth0"], 9)

    def test_messages_without_a_sender(self) -> None:
        """The methods for messages can be called without a sender."""
        self.registry.notify_alive(alive())
        self.registry.response(SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.6/"))
        self.registry.notify_bye(ByeBye(API, f"uuid:D::{API}"))
        self.advance(2.1)
        self.assertEqual(len(self.registry.registrations), 1)

    def test_failing_listener(self) -> None:
        """Messages are processed, and the other listeners are called, although a listener raises exceptions."""
        self.registry = self.make_registry()
        self.registry.subscribe(FailingListener())
        self.registry.subscribe(self.listener)
        self.registry.deliver(alive(), ("10.0.0.5", 1900), "eth0")
        self.registry.deliver(alive("10.0.0.5:81"), ("10.0.0.5", 1900), "eth0")
        self.assertEqual([event for event, _ in self.listener.events], ["appeared", "changed"])
        self.assertEqual([each.port for each in self.registry.registrations.values()], [81])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class LiveRegistrationsTests(SynchronousTestCase):
    """Tests for :class:`LiveRegistrations`."""

    def setUp(self) -> None:
        self.live = LiveRegistrations()
        self.one, self.two = make_registration(1), make_registration(2)
        self.moved = replace(self.one, address="192.0.2.99")

    def subscribe(self) -> mock.Mock:
        """Return a listener that records its calls."""
        listener = mock.create_autospec(RecordingListener, instance=True)
        self.live.subscribe(listener)
        return cast(mock.Mock, listener)

    def change_and_remove(self) -> None:
        """Cause each of the three events once."""
        self.live.put(self.one)
        self.live.put(self.moved)
        self.live.remove(self.one.service_id, "byebye")

    def test_three_events(self) -> None:
        """A new, a changed and a removed registration are published as three different events."""
        listener = self.subscribe()
        self.change_and_remove()
        self.assertEqual(
            listener.mock_calls,
            [
                mock.call.appeared(self.one),
                mock.call.changed(self.moved, self.one),
                mock.call.left(self.moved, "byebye"),
            ],
        )

    def test_equal_registration(self) -> None:
        """Nothing is published for a registration that is equal to the present one."""
        self.live.put(self.one)
        listener = self.subscribe()
        self.live.put(make_registration(1))
        self.assertEqual(listener.mock_calls, [])

    def test_view(self) -> None:
        """The view follows the changes, in the order of the first registrations."""
        view = self.live.by_id
        for registration in (self.two, self.one, self.moved, replace(self.two, port=1)):
            self.live.put(registration)
        self.assertEqual(
            list(view.items()),
            [(self.two.service_id, replace(self.two, port=1)), (self.one.service_id, self.moved)],
        )
        self.live.remove(self.two.service_id, "expired")
        self.assertEqual(view, {self.one.service_id: self.moved})

    def test_view_is_read_only(self) -> None:
        """The view cannot be changed by its readers."""
        self.live.put(self.one)
        view = cast(dict[str, Registration], self.live.by_id)
        with self.assertRaises(TypeError):
            view[self.two.service_id] = self.two
        with self.assertRaises(TypeError):
            del view[self.one.service_id]
        self.assertEqual(self.live.by_id, {self.one.service_id: self.one})

    def test_view_is_updated_first(self) -> None:
        """The view contains the change already when a listener is called."""
        seen: list[dict[str, Registration]] = []
        listener = self.subscribe()
        for method in (listener.appeared, listener.changed, listener.left):
            method.side_effect = lambda *_: seen.append(dict(self.live.by_id))
        self.change_and_remove()
        self.assertEqual(seen, [{self.one.service_id: self.one}, {self.one.service_id: self.moved}, {}])

    def test_failing_listener(self) -> None:
        """An exception of a listener is logged, and keeps neither the view nor other listeners from being updated."""
        first, failing, last = self.subscribe(), FailingListener(), mock.create_autospec(RecordingListener)
        self.live.subscribe(failing)
        self.live.subscribe(last)
        with capturedLogs() as logged:
            self.live.put(self.one)
            self.live.put(self.moved)
            self.assertEqual(self.live.by_id, {self.one.service_id: self.moved})
            self.live.remove(self.one.service_id, "byebye")
        self.assertEqual(self.live.by_id, {})
        for listener in (first, last):
            self.assertEqual([name for name, _, _ in listener.mock_calls], ["appeared", "changed", "left"])
        self.assertEqual(
            [(event["listener"], event["event"]) for event in logged],
            [(failing, "appeared"), (failing, "changed"), (failing, "left")],
        )
        self.assertEqual(
            [str(failure.value) for failure in self.flushLoggedErrors(RuntimeError)], ["appeared", "changed", "left"]
        )


class SearchTermTests(RegistryTestCase):
    """Changes of the search terms and the rules."""

    def test_terms(self) -> None:
        """Terms are added, replaced and removed. The returned mapping is a copy."""
        self.registry.add_search_term("urn:a", "A")
        self.registry.add_search_term("urn:a", "B")
        self.registry.remove_search_term(LLDP)
        self.registry.remove_search_term("urn:unknown")
        terms = self.registry.get_search_terms()
        self.assertEqual(terms, {API: "RackHD", "urn:a": "B"})
        terms.clear()
        self.assertEqual(len(self.registry.get_search_terms()), 2)

    def test_equal_terms(self) -> None:
        """Equal search terms cause neither an event nor a search."""
        self.start()
        self.receive(alive())
        self.advance(5)
        self.searches()
        self.registry.set_search_terms(dict(self.terms))
        self.advance(1)
        self.assertEqual((self.searches(), len(self.listener.events)), ([], 1))

    def test_removed_term(self) -> None:
        """The services of a removed term leave. The other services are not affected."""
        self.start()
        self.receive(alive())
        self.receive(alive(nt=LLDP))
        self.registry.remove_search_term(API)
        self.assertEqual(self.listener.events[2:], [("unconfigured", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_changed_tag(self) -> None:
        """A service whose term has another tag keeps its ID and gets another name."""
        self.start()
        self.receive(alive())
        (before,) = self.registry.registrations
        self.registry.add_search_term(API, "New")
        self.assertEqual(list(self.registry.registrations), [before])
        self.assertEqual(
            self.listener.events[1:],
            [("unconfigured", "RackHD-service:api:2.0 10.0.0.5:80"), ("appeared", "New-service:api:2.0 10.0.0.5:80")],
        )

    def test_changed_rules(self) -> None:
        """Changed rules apply to live services at once. A service with an equal registration causes no event."""
        self.start()
        self.receive(alive())
        self.receive(alive(nt=LLDP))
        self.registry.set_rules(replace(self.rules, checks={API: CheckConfig(tcp=True)}))
        self.assertEqual(self.listener.events[2:], [("changed", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_added_term(self) -> None:
        """An added term is searched for at once. The removal of a term causes no search."""
        self.start()
        self.advance(5)
        self.searches()
        self.registry.add_search_term("urn:a", "A")
        self.advance(1)
        self.assertIn(("urn:a", 3), self.searches())
        self.registry.remove_search_term("urn:a")
        self.advance(1)
        self.assertEqual(self.searches(), [])


class SearchTests(RegistryTestCase):
    """Targets and times of the searches."""

    def test_times_of_searches(self) -> None:
        """Every term is searched for twice at start and once at each interval, with pauses between the datagrams."""
        self.start()
        round_of_searches = [(API, 3), (LLDP, 3)]
        self.reactor.advance(0)
        self.assertEqual(self.searches(), round_of_searches[:1])
        self.advance(2)
        self.assertEqual(self.searches(), [round_of_searches[1], *round_of_searches])
        self.advance(297)
        self.assertEqual(self.searches(), [])
        self.advance(2)
        self.assertEqual(self.searches(), round_of_searches)
        self.advance(300)
        self.assertEqual(self.searches(), round_of_searches)

    def test_interval_0(self) -> None:
        """With an interval of 0, searches are sent at start only."""
        self.registry = self.make_registry(search_interval=0)
        self.start()
        self.advance(1000)
        self.assertEqual(len(self.searches()), 4)

    def test_patterns(self) -> None:
        """All devices are searched for if there are patterns, besides the exact terms."""
        self.registry.set_search_terms({API: "RackHD", "urn:x:*": "X", "urn:y:*": "Y"})
        self.start()
        self.advance(0.9)
        self.assertEqual(self.searches(), [(API, 3), ("ssdp:all", 3)])

    def test_many_terms(self) -> None:
        """More than ten terms are replaced by one search for all devices."""
        self.registry.set_search_terms({f"urn:{number}": "T" for number in range(11)})
        self.start()
        self.advance(0.9)
        self.assertEqual(self.searches(), [("ssdp:all", 3)])

    def test_rate_limit(self) -> None:
        """At most ten datagrams are sent in 200 ms."""
        self.registry.set_search_terms({f"urn:{number}": "T" for number in range(10)})
        self.start()
        counts = []
        for _ in range(20):
            self.advance(0.2)
            counts.append(len(self.searches()))
        self.assertEqual(sum(counts), 20)
        self.assertLessEqual(max(counts), 10)

    def test_combined_searches(self) -> None:
        """One search is sent for many services of a type that are due at the same time."""
        self.registry = self.make_registry(AdvertisementTable())
        self.start()
        for number in range(100):
            self.receive(alive(device_id=str(number), max_age=100))
        self.advance(79)
        self.searches()
        self.advance(2)
        self.assertEqual(self.searches(), [(API, 3)])

    def test_search_rounds_are_counted(self) -> None:
        """Each round of searches for all terms is counted once."""
        self.start()
        self.advance(301)
        self.assertEqual(self.registry.searches, 3)

    def test_settled(self) -> None:
        """The registry is settled when every device has had the time to reply to the first searches."""
        self.assertFalse(self.registry.settled)
        self.start()
        self.advance(4)
        self.assertFalse(self.registry.settled)
        self.advance(2)
        self.assertTrue(self.registry.settled)

    def test_settled_without_a_network(self) -> None:
        """The registry is not settled before there was an interface to search on."""
        self.adapters = []
        self.start()
        self.advance(65)
        self.assertFalse(self.registry.settled)
        self.adapters = [NetworkInterface("eth0", 2, ("10.0.0.1",))]
        self.advance(10)
        self.assertFalse(self.registry.settled)
        self.advance(6)
        self.assertTrue(self.registry.settled)

    def test_new_interface(self) -> None:
        """A new interface is found within 10 s, and two search rounds are sent at once."""
        self.start()
        self.advance(5)
        self.searches()
        self.adapters = [*self.adapters, NetworkInterface("eth1", 3, ("10.1.0.1",))]
        self.advance(7)
        self.assertEqual([name for name, _ in self.registry.interfaces], ["eth0", "eth1"])
        self.assertEqual(sorted(self.searches()), sorted([(API, 3), (LLDP, 3)] * 4))

    def test_stop(self) -> None:
        """A stopped registry has no delayed calls and no sockets, and can be started again."""
        self.start()
        self.receive(alive())
        self.stop()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.ports), ([], []))
        self.start()
        self.advance(1)
        self.assertTrue(self.searches())


class AdoptTests(RegistryTestCase):
    """Services that an earlier run registered."""

    def test_adopts(self) -> None:
        """An adopted service is live at once, with an equal registration."""
        self.start()
        self.receive(alive())
        (registration,) = self.registry.registrations.values()
        successor = self.make_registry()
        listener = RecordingListener()
        successor.subscribe(listener)
        successor.adopt([registration])
        self.assertEqual(successor.registrations, {registration.service_id: registration})
        self.assertEqual(listener.events, [("appeared", "RackHD-service:api:2.0 10.0.0.5:80")])

    def test_not_adopted(self) -> None:
        """A service with an unmatched type, another service ID or incomplete Meta is not adopted."""
        self.start()
        self.receive(alive())
        (registration,) = self.registry.registrations.values()
        successor = self.make_registry()
        other_id = replace(registration, service_id="ssdpreg-x-0123456789abcdef")
        incomplete = replace(registration, meta={})
        successor.adopt([other_id, incomplete])
        successor.remove_search_term(API)
        successor.adopt([registration])
        self.assertEqual(successor.registrations, {})

    def test_remaining_lifetime(self) -> None:
        """An adopted service keeps its remaining lifetime. A service whose lifetime has ended expires at once."""
        self.start()
        for device_id in "DE":
            self.receive(alive(device_id=device_id))
        first, second = self.registry.registrations.values()
        self.stop()
        self.registry = self.make_registry()
        self.registry.subscribe(self.listener)
        self.listener.events.clear()
        self.registry.adopt([first, second], {first.service_id: 5.0, second.service_id: -1.0})
        self.assertEqual([event for event, _ in self.listener.events], ["appeared", "appeared", "expired"])
        self.assertEqual(list(self.registry.registrations), [first.service_id])
        self.start()
        self.advance(4.9)
        self.assertEqual(len(self.listener.events), 3)
        self.advance(0.2)
        self.assertEqual(self.listener.events[-1][0], "expired")


@implementer(ILifetimeStore)
class MemoryLifetimeStore:
    """Store of lifetimes, whose second recording fails."""

    def __init__(self) -> None:
        self.recorded: list[dict[str, int]] = []

    def remember(self, lifetimes: Mapping[str, float]) -> None:
        self.recorded.append({key: round(seconds) for key, seconds in lifetimes.items()})
        if len(self.recorded) == 2:
            raise RuntimeError("second recording")

    def remaining(self) -> Mapping[str, float]:
        return {}


class LifetimeRecorderTests(RegistryTestCase):
    """Tests for :class:`LifetimeRecorder`."""

    def test_records_lifetimes(self) -> None:
        """Every 2 s the lifetimes of the services received meanwhile are recorded, also after an error."""
        self.start()
        store = MemoryLifetimeStore()
        recorder = LifetimeRecorder(self.reactor, self.registry, store)
        recorder.startService()
        self.addCleanup(recorder.stopService)
        self.receive(alive(max_age=100))
        self.receive(alive(device_id="E", max_age=1000))
        first, second = self.registry.registrations
        for _ in range(2):
            self.advance(5.2)
            self.receive(alive(max_age=100))
        self.advance(2)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        self.assertEqual(store.recorded, [{first: 108, second: 1058}, {first: 109}, {first: 108}])
