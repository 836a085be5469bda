"""Tests for :mod:`ssdpreg.registry.service`, from received datagrams to the events of its listeners."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from ssdpreg.config import CheckConfig
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.interfaces import ISSDPListener
from ssdpreg.ssdp.messages import Alive, ByeBye, SearchRequest, SearchResponse, Update
from ssdpreg.ssdp.reception import Channel, Reception
from tests.unit.registry.registry_case import (
    API,
    LLDP,
    REDFISH,
    FailingListener,
    RecordingListener,
    RegistryTestCase,
    alive,
)


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
        """A reply to a search makes a service live."""
        self.receive(SearchResponse(API, f"uuid:D::{API}", "http://10.0.0.5/", 1800), reply=True)
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

    def test_search_after_byebye(self) -> None:
        """A service that has left by a byebye is searched for once more: the byebye may have been forged."""
        self.receive(alive())
        self.receive(ByeBye(API, f"uuid:D::{API}"))
        self.advance(1.9)
        self.network.take_searches()
        self.advance(0.2)
        self.advance(1)
        self.assertEqual(self.listener.events[1:], [("byebye", "RackHD-service:api:2.0 10.0.0.5:80")])
        self.assertEqual([target for target, _ in self.network.take_searches()], [API])

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
        """A contradicting LOCATION replaces that of a device that does not reply, if its host does, and no other."""
        for device_id in "DE":
            self.receive(alive(device_id=device_id))
        self.network.host_searches.clear()
        for device_id in "DE":
            self.receive(alive("10.0.0.6:80", device_id=device_id), "10.0.0.6")
        self.assertEqual(self.network.host_searches, [(API, ("10.0.0.5", "10.0.0.6"))] * 2)
        self.network.receive(
            SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.6:80/x", 1800), "10.0.0.6", Channel.HOST
        )
        self.advance(7)
        self.assertEqual(
            sorted(each.address for each in self.registry.registrations.values()), ["10.0.0.5", "10.0.0.6"]
        )
        self.assertEqual(self.registry.services()[1][0].address, "10.0.0.6")

    def test_needed_search(self) -> None:
        """A search that a service needs is sent to the group and to the hosts of its claims."""
        self.advance(5)
        self.searches()
        self.receive(alive())
        self.receive(alive("10.0.0.6:80"), "10.0.0.6")
        self.advance(0.3)
        self.assertEqual(
            (self.searches(), self.network.host_searches[-1]), ([(API, 1)], (API, ("10.0.0.5", "10.0.0.6")))
        )

    def test_check_of_an_indirect_claim(self) -> None:
        """A configured check is registered when the host of the LOCATION announces the service itself."""
        self.registry.set_rules(replace(self.rules, checks={API: CheckConfig(tcp=True)}))
        self.receive(alive(), "10.0.0.9")
        self.assertEqual([len(each.checks) for each in self.registry.registrations.values()], [1])
        self.receive(alive())
        self.assertEqual([len(each.checks) for each in self.registry.registrations.values()], [2])

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

    def test_update_of_the_boot_id(self) -> None:
        """After an ``ssdp:update`` of the device, the next BOOTID is no restart. Otherwise its facts are replaced."""
        before = replace(alive(), boot_id="1", server="old")
        self.receive(before)
        self.advance(11)
        self.receive(Update("upnp:rootdevice", "uuid:d::upnp:rootdevice", "1", "2"))
        self.receive(replace(before, boot_id="2", server="new"))
        [registration] = self.registry.registrations.values()
        self.assertEqual(registration.meta["ssdp-server"], "old")
        self.receive(replace(before, boot_id="3", server="new"))
        [registration] = self.registry.registrations.values()
        self.assertEqual(registration.meta["ssdp-server"], "new")

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

    def test_messages_without_a_reception(self) -> None:
        """The methods for messages can be called without the circumstances: the standing is then the lowest."""
        self.registry.notify_alive(alive(), "10.0.0.5")
        self.registry.notify_alive(alive(device_id="F"))
        self.registry.response(SearchResponse(API, f"uuid:E::{API}", "http://10.0.0.6/"), "10.0.0.6")
        self.registry.notify_update(Update(API, f"uuid:D::{API}"), "10.0.0.5")
        self.assertEqual({live.standing for _, live in self.registry.services()}, {Standing.INDIRECT})
        self.registry.notify_bye(ByeBye(API, f"uuid:D::{API}"), "10.0.0.5")
        self.advance(2.1)
        self.assertEqual(len(self.registry.registrations), 2)

    def test_standing_of_a_datagram(self) -> None:
        """The circumstances of the reception reach the table."""
        for device_id, channel, on_link, sender in (
            ("1", Channel.HOST, True, "10.0.0.5"),
            ("2", Channel.GROUP, True, "10.0.0.5"),
            ("3", Channel.GROUP, False, "10.0.0.5"),
            ("4", Channel.GROUP, True, "10.0.0.6"),
        ):
            self.network.receive(alive(device_id=device_id), sender, channel, on_link=on_link)
        self.assertEqual([live.standing for _, live in self.registry.services()], [2, 1, 0, 0])

    def test_priority(self) -> None:
        """Services that their own hosts announced are registered before those that other senders announced."""
        for device_id, channel, sender in (
            ("confirmed", Channel.HOST, "10.0.0.5"),
            ("direct", Channel.GROUP, "10.0.0.5"),
            ("indirect", Channel.GROUP, "10.0.0.6"),
        ):
            self.network.receive(alive(device_id=device_id), sender, channel)
        ids = list(self.registry.registrations)
        self.assertEqual([self.registry.priority(each) for each in (*ids, "unknown")], [1, 1, 0, 0])

    def test_kinds_are_counted(self) -> None:
        """Messages are counted by kind and interface. A search of another host is counted and has no effect."""
        for message in (
            alive(),
            ByeBye(API, "uuid:D"),
            Update(API, "uuid:D"),
            SearchRequest(API),
            SearchResponse(API, "uuid:D"),
        ):
            self.network.receive(message, interface="eth1")
        self.assertEqual(
            self.registry.received,
            {(kind, "eth1"): 1 for kind in ("alive", "byebye", "update", "search", "response")},
        )

    def test_log_of_rejections_is_limited(self) -> None:
        """However many senders announce unusable services, 60 lines a minute are logged at most."""
        with capturedLogs() as logged:
            for number in range(1000):
                self.receive(alive("192.168.1165535"), f"10.0.{number // 250}.{number % 250}")
                self.advance(0.05)
        lines = [event for event in logged if event["log_level"] is LogLevel.info and "reason" in event]
        self.assertLessEqual(len(lines), 60)
        self.assertGreaterEqual(len(lines), 30)
        self.assertEqual(self.registry.dropped["LOCATION's host is no address and no name"], 1000)

    def test_limit_of_services(self) -> None:
        """Services beyond the limit of one sender are rejected and counted."""
        self.registry = self.make_registry(AdvertisementTable(limit_per_sender=2))
        for device_id in "123":
            self.receive(alive(device_id=device_id))
        self.assertEqual(self.registry.dropped, {"too many services of one sender": 1})

    def test_search_for_a_rejected_service(self) -> None:
        """The host of a service beyond the limit of its sender is searched. Its reply makes the service known."""
        self.registry = self.make_registry(AdvertisementTable(limit_per_sender=2))
        for device_id in "12":
            self.receive(alive(device_id=device_id))
        self.receive(alive(device_id="3"))
        self.assertEqual(self.network.host_searches, [(API, ("10.0.0.5",))])
        self.advance(10.1)
        self.network.receive(SearchResponse(API, f"uuid:3::{API}", "http://10.0.0.5/x", 1800), "10.0.0.5", Channel.HOST)
        self.assertEqual({each.device_id for each in self.registry.registrations.values()}, {"1", "3"})

    def test_searches_of_services_that_have_left(self) -> None:
        """With a pattern, the searches of an attack are not sent when its services have left."""
        self.registry.set_search_terms({"urn:x:*": "X"})
        for number in range(300):
            nt = f"urn:x:{number}"
            self.receive(alive(nt=nt, max_age=2), "10.0.0.66")
            self.receive(alive("10.0.0.66:80", nt=nt, max_age=2), "10.0.0.66")
            self.receive(ByeBye(nt, f"uuid:D::{nt}"), "10.0.0.66")
        self.advance(8)
        self.assertEqual(len(self.registry.registrations), 0)
        self.network.host_searches.clear()
        self.receive(alive("10.0.0.7:80", "urn:x:honest"), "10.0.0.7")
        self.receive(alive("10.0.0.8:80", "urn:x:honest"), "10.0.0.8")
        self.advance(2)
        self.assertEqual(self.network.host_searches[0], ("urn:x:honest", ("10.0.0.7", "10.0.0.8")))

    def test_backlog_of_the_backend(self) -> None:
        """While the backend has many changes to apply, each sender creates services slowly. Known ones are renewed."""
        backlog = 0
        self.registry = self.make_registry(backlog=lambda: backlog)
        for number in range(100):
            self.receive(alive(device_id=f"early-{number}"))
        backlog = 5000
        for number in range(100):
            self.receive(alive(device_id=f"late-{number}"))
            self.receive(alive(device_id=f"early-{number}"))
        self.receive(alive("10.0.0.6:80", device_id="other"), "10.0.0.6")
        self.assertEqual(self.registry.dropped, {"too many new services at a time": 80})
        self.assertEqual(len(self.registry.registrations), 121)

    def test_failing_listener(self) -> None:
        """Messages are processed, and the other listeners are called, although a listener raises exceptions."""
        self.registry = self.make_registry()
        self.registry.subscribe(FailingListener())
        self.registry.subscribe(self.listener)
        self.registry.deliver(alive(), Reception("10.0.0.5", "eth0"), ("10.0.0.5", 1900))
        self.registry.deliver(alive("10.0.0.5:81"), Reception("10.0.0.5", "eth0"), ("10.0.0.5", 1900))
        self.assertEqual([event for event, _ in self.listener.events], ["appeared", "changed"])
        self.assertEqual([each.port for each in self.registry.registrations.values()], [81])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


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


class SliceTests(RegistryTestCase):
    """Changes that affect more services than one turn of the reactor can process."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        for number in range(1200):
            self.receive(alive(device_id=str(number)), f"10.0.{number % 250}.1")

    def test_removed_term(self) -> None:
        """The services of a removed term leave in slices, so that datagrams are processed meanwhile."""
        self.registry.remove_search_term(API)
        # The first slice, and the service by which the registry learns that there are more.
        self.assertEqual(len(self.registry.registrations), 699)
        self.reactor.advance(0)
        self.assertEqual(len(self.registry.registrations), 0)

    def test_changed_rules(self) -> None:
        """Changed rules apply to services in slices. A service that left meanwhile does not come back."""
        self.listener.events.clear()
        self.registry.set_rules(replace(self.rules, tags=("new",)))
        self.assertEqual(len(self.listener.events), 501)
        self.registry.remove_search_term(API)
        for _ in range(5):
            self.reactor.advance(0)
        self.assertEqual(len(self.registry.registrations), 0)

    def test_stop(self) -> None:
        """A registry that is stopped meanwhile does not go on."""
        self.registry.remove_search_term(API)
        self.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


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
        self.network.adapters.clear()
        self.start()
        self.advance(65)
        self.assertFalse(self.registry.settled)
        self.network.adapters["eth0"] = "10.0.0.1"
        self.advance(10)
        self.assertFalse(self.registry.settled)
        self.advance(6)
        self.assertTrue(self.registry.settled)

    def test_new_interface(self) -> None:
        """A new interface is found within 10 s, and two search rounds are sent at once."""
        self.start()
        self.advance(5)
        self.searches()
        self.network.adapters["eth1"] = "10.1.0.1"
        self.advance(7)
        self.assertEqual([name for name, _ in self.registry.interfaces], ["eth0", "eth1"])
        self.assertEqual(sorted(self.searches()), sorted([(API, 3), (LLDP, 3)] * 4))

    def test_stop(self) -> None:
        """A stopped registry has no delayed calls and no sockets, and can be started again."""
        self.start()
        self.receive(alive())
        self.stop()
        self.assertEqual((self.reactor.getDelayedCalls(), self.network.closed), ([], True))
        self.assertFalse(self.registry.settled)
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

    def test_received_elsewhere(self) -> None:
        """A service that was received at another LOCATION before has the adopted registration, and is searched for."""
        rules = replace(self.rules, checks={API: CheckConfig(tcp=True)})
        for checks in (False, True):
            first, second = self.make_registry(), self.make_registry()
            first.set_rules(rules if checks else self.rules)
            second.set_rules(rules)
            first.notify_alive(alive(), "10.0.0.5")
            (registration,) = first.registrations.values()
            self.network.receive(alive("10.0.0.6:80"), "10.0.0.6")
            second.adopt([registration])
            self.assertEqual(second.registrations, {registration.service_id: registration})
            self.assertEqual(self.network.host_searches, [(API, ("10.0.0.5", "10.0.0.6"))])

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

    def test_standing(self) -> None:
        """An adopted service with a configured check keeps it: it was registered for a direct claim."""
        self.start()
        self.receive(alive())
        self.registry.set_rules(replace(self.rules, checks={API: CheckConfig(tcp=True)}))
        (registration,) = self.registry.registrations.values()
        for checks, standing in ((registration.checks, Standing.DIRECT), (frozenset(), Standing.INDIRECT)):
            successor = self.make_registry()
            successor.set_rules(replace(self.rules, checks={API: CheckConfig(tcp=True)}))
            successor.adopt([replace(registration, checks=checks)])
            self.assertEqual([live.standing for _, live in successor.services()], [standing])

    def test_log(self) -> None:
        """The number of adopted services is logged, if there are any: one line for all parts of an adoption."""
        self.start()
        self.receive(alive())
        self.receive(alive(device_id="E"))
        first, second = self.registry.registrations.values()
        successor = self.make_registry()
        with capturedLogs() as logged:
            for part in ([], [first], [second], [first]):
                successor.adopt(part)
            self.advance(2)
        self.assertEqual([event["count"] for event in logged if "count" in event], [2])

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


class ReceptionTests(RegistryTestCase):
    """Times in which the registry could not receive."""

    def test_suspended_process(self) -> None:
        """After the process was suspended, services are searched for before they expire."""
        self.start()
        for device_id in "DE":
            self.receive(alive(device_id=device_id, max_age=100))
        self.advance(10)
        self.searches()
        self.reactor.advance(3600)
        self.reactor.advance(0)
        self.assertEqual(len(self.registry.registrations), 2)
        self.advance(1)
        self.assertEqual(set(self.searches()) & {(API, 3), (LLDP, 3)}, {(API, 3), (LLDP, 3)})
        self.receive(alive(device_id="E", max_age=1000))
        self.advance(95)
        # The time of the suspension does not count.
        self.assertEqual(len(self.registry.registrations), 2)
        self.advance(40)
        self.assertEqual([live.advertisement.device_id for _, live in self.registry.services()], ["E"])

    def test_interface_that_is_down(self) -> None:
        """Services of an interface that is down for longer than max-age stay until it is up again."""
        self.start()
        self.receive(alive(max_age=100))
        self.network.down.add("eth0")
        self.advance(1000)
        self.assertEqual(len(self.registry.registrations), 1)
        self.network.down.clear()
        self.advance(105)
        self.assertEqual(len(self.registry.registrations), 1)
        self.advance(40)
        self.assertEqual(len(self.registry.registrations), 0)
