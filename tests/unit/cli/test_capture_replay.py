"""Tests for :mod:`ssdpreg.cli.capture_replay`: explanations of captured datagrams, in the order of their times."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.capture import CapturedDatagram
from ssdpreg.cli.capture_replay import Replay, ReplayClock, ReplayNetwork
from ssdpreg.cli.explainer import Explainer
from ssdpreg.cli.explanation import Explanation, ExplanationFilter, Summary
from ssdpreg.config import parse
from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import Alive, ByeBye, Message, SearchRequest, SearchResponse, Update

API = "urn:schemas-upnp-org:service:api:2.0"
NAME = "RackHD-service:api:2.0"
GROUP = ("239.255.255.250", 1900)
#: The daemon's socket for a search, and a device.
DAEMON, DEVICE = ("10.0.0.1", 50000), ("10.0.0.5", 1900)
START = 1772359200.0


def alive(device: str = "dev-1", location: str = "http://10.0.0.5:80/", nt: str = API) -> Alive:
    """Return an announcement."""
    return Alive(nt, f"uuid:{device}::{nt}", location, 1800, "test/1")


def response(device: str = "dev-1", location: str = "http://10.0.0.5:80/") -> SearchResponse:
    """Return a reply."""
    return SearchResponse(API, f"uuid:{device}::{API}", location, 1800, "test/1")


class ReplayTestCase(SynchronousTestCase):
    """A replay with a daemon that registers one type."""

    def setUp(self) -> None:
        self.start()

    def start(self, *daemon: str, **ssdp: Any) -> None:
        """Begin a replay with options of the section ``ssdp``."""
        config = parse(json.dumps({"ssdp": {"tags": {"RackHD": [API]}, **ssdp}}))
        self.clock, self.explained = ReplayClock(), list[Explanation]()
        self.explainer = Explainer(
            self.clock, config, "rack-7", ReplayNetwork, self.explained.append, self.clock.seconds
        )
        self.replay = Replay(
            self.clock, self.explainer, daemon, [IPv4Network("10.0.0.0/24")], config.ssdp.named_networks
        )

    def receive(
        self,
        message: Message | bytes,
        source: tuple[str, int] = DEVICE,
        target: tuple[str, int] = GROUP,
        at: float = 0.0,
    ) -> list[Explanation]:
        """Process a datagram, and return its explanation and those of the time before it."""
        self.explained.clear()
        payload = message if isinstance(message, bytes) else encode(message)
        self.replay.run([CapturedDatagram(START + at, "eth0", source, target, payload)])
        return list(self.explained)

    def explain(self, *arguments: Any, **options: Any) -> Explanation:
        """Process a datagram, and return its only explanation."""
        (explanation,) = self.receive(*arguments, **options)
        return explanation

    def check(self, explanation: Explanation, result: str, reason: str = "", *changes: str) -> None:
        """Assert the result, the reason, and the kinds of the changes."""
        self.assertEqual(
            (explanation.result, explanation.reason, tuple(each.kind for each in explanation.changes)),
            (result, reason, changes),
        )


class AnnouncementTests(ReplayTestCase):
    """Explanations of announcements and byebyes."""

    def test_registered(self) -> None:
        """A new service is registered, with all facts of the datagram."""
        found = self.explain(alive())
        self.check(found, "registered", "", "appeared")
        document = found.document()
        self.assertEqual(
            {
                key: document[key]
                for key in ("message", "sender", "port", "interface", "type", "term", "tag", "standing")
            },
            {
                "message": "alive",
                "sender": "10.0.0.5",
                "port": 1900,
                "interface": "eth0",
                "type": API,
                "term": API,
                "tag": "RackHD",
                "standing": "direct",
            },
        )
        (registered,) = self.explainer.registry.registrations.values()
        self.assertEqual(
            document["registration"],
            {"id": registered.service_id, "name": NAME, "address": "10.0.0.5", "port": 80},
        )
        text = f"{NAME} at 10.0.0.5:80 appeared, ID {registered.service_id}"
        self.assertEqual(document["changes"], [{"change": "appeared", "text": text}])

    def test_known(self) -> None:
        """A repeated announcement prolongs the service."""
        self.explain(alive())
        found = self.explain(alive(), at=1)
        self.check(found, "known")
        self.assertEqual(found.detail, "expires in 1860 s if it is not received again")

    def test_rejected(self) -> None:
        """The reason of a rejection is the label of the daemon's metric."""
        for message, reason in (
            (alive(nt="upnp:rootdevice"), "no search term"),
            (alive(location=""), "no LOCATION"),
            (alive(location="http://a:b@10.0.0.5/"), "LOCATION has a user or password"),
            (alive(location="http://10.0.0.255/"), "LOCATION's address is no host's"),
            (Alive(API, "no device", "http://10.0.0.5/"), "no device ID"),
        ):
            self.check(self.explain(message), "rejected", reason)
            self.assertEqual(self.explainer.registry.dropped.pop(reason), 1)

    def test_known_after_rejection(self) -> None:
        """A rejection by the table concerns one datagram."""
        self.start(limits={"services": 1})
        self.explain(alive())
        self.explain(alive("dev-2"))
        self.check(self.explain(alive()), "known")

    def test_limit(self) -> None:
        """A rejection by the table is explained, too."""
        self.start(limits={"services": 1})
        self.explain(alive())
        self.check(self.explain(alive("dev-2")), "rejected", "too many services")

    def test_dropped(self) -> None:
        """A datagram that is no message is dropped, and the detail names the fault."""
        found = self.explain(b"NOTIFY * HTTP/1.1\r\nNT: a\r\n\r\n")
        self.check(found, "dropped", "header")
        self.assertEqual((found.kind, found.detail), ("invalid", "NTS: missing"))

    def test_update_and_search(self) -> None:
        """``ssdp:update`` and searches of other programs change nothing."""
        self.check(self.explain(Update(API, f"uuid:d::{API}")), "ignored", "ssdp:update changes no service")
        search = encode(SearchRequest("ssdp:all")).replace(b"ssdpreg", b"other")
        self.check(self.explain(search), "ignored", "search of another program")

    def test_byebye(self) -> None:
        """A byebye waits 2 s, and causes a search. Then the service leaves."""
        self.explain(alive())
        bye = ByeBye(API, f"uuid:dev-1::{API}")
        found = self.explain(bye, at=1)
        self.check(found, "leaving", "", "search", "leaving")
        self.assertEqual(found.changes[1].text, f"{NAME} leaves in 2 s unless it is received again")
        passed, later = self.receive(bye, at=5)
        self.assertEqual((passed.kind, passed.time), ("timer", START + 3))
        self.check(passed, "", "", "left")
        self.assertEqual(passed.changes[0].text, f"{NAME} at 10.0.0.5:80 left: byebye")
        self.check(later, "ignored", "no such service in the table")

    def test_repeated_byebye(self) -> None:
        """The copy of a byebye changes nothing."""
        self.explain(alive())
        bye = ByeBye(API, f"uuid:dev-1::{API}")
        self.explain(bye, at=1)
        self.check(self.explain(bye, at=1.5), "leaving")

    def test_void_byebye(self) -> None:
        """An announcement after the byebye voids it."""
        self.explain(alive())
        self.explain(ByeBye("upnp:rootdevice", "uuid:dev-1::upnp:rootdevice"), at=1)
        self.check(self.explain(alive(), at=2), "known", "", "stays")

    def test_unfounded_byebye(self) -> None:
        """A byebye of another sender begins a contest."""
        self.explain(alive())
        found = self.explain(ByeBye(API, f"uuid:dev-1::{API}"), ("10.0.0.66", 9), at=1)
        self.check(found, "ignored", "the sender does not hold the service", "search", "contested")

    def test_move(self) -> None:
        """The holder moves its service at once, and a second move waits."""
        self.explain(alive())
        found = self.explain(alive(location="http://10.0.0.5:81/"), at=1)
        self.check(found, "moved", "", "moved")
        self.assertEqual(found.changes[0].text, f"{NAME} moved from 10.0.0.5:80 to 10.0.0.5:81")
        found = self.explain(alive(location="http://10.0.0.5:82/"), at=2)
        self.check(found, "claim", "the service is registered at another LOCATION", "delayed")
        found = self.explain(alive(location="http://10.0.0.5:82/"), at=3)
        self.check(found, "claim", "the service is registered at another LOCATION")

    def test_contest(self) -> None:
        """A second claim begins a contest, whose end is explained with the winner."""
        self.explain(alive())
        found = self.explain(alive(location="http://10.0.0.66/"), ("10.0.0.66", 9), at=1)
        self.check(found, "claim", "the service is registered at another LOCATION", "search", "contested")
        self.assertIn("http://10.0.0.66/ claimed by 10.0.0.66, direct", found.changes[1].text)
        found = self.explain(alive(location="http://10.0.0.66/"), ("10.0.0.66", 9), at=2)
        self.check(found, "claim", "the service is registered at another LOCATION")
        passed = [each for each in self.receive(alive(), at=60) if each.kind == "timer"]
        self.assertEqual([each.changes[0].kind for each in passed], ["search", "decided"])
        self.assertEqual(
            passed[1].changes[0].text, f"contest about {NAME} ended: http://10.0.0.5:80/ claimed by 10.0.0.5, direct"
        )
        passed = [each for each in self.receive(alive(), at=1600) if each.kind == "timer"]
        self.assertEqual([each.changes[0].kind for each in passed], ["search"])

    def test_end_of_a_contested_service(self) -> None:
        """No end of the contest is reported for a service that left during a contest."""
        self.explain(alive())
        self.explain(alive(location="http://10.0.0.66/"), ("10.0.0.66", 9), at=1)
        self.explain(ByeBye(API, f"uuid:dev-1::{API}"), at=2)
        self.receive(alive("dev-2"), at=60)
        self.assertEqual(self.explainer._contested, {})

    def test_trust(self) -> None:
        """A claim whose standing is lower than ``ssdp.trust`` waits."""
        self.start(trust="confirmed")
        found = self.explain(alive())
        self.check(found, "waiting", "the standing is lower than ssdp.trust, which is confirmed", "search")

    def test_foreign_announcement(self) -> None:
        """An announcement of another sender for the same LOCATION does not prolong the service."""
        self.explain(alive())
        found = self.explain(alive(), ("10.0.0.66", 9), at=1)
        self.check(found, "ignored", "another sender holds the service")

    def test_rise_of_the_standing(self) -> None:
        """A service whose standing rises has the same registration."""
        self.explain(alive(), ("10.0.0.66", 9))
        found = self.explain(alive(), at=1)
        self.check(found, "known", "", "standing")


class SocketTests(ReplayTestCase):
    """Explanations of datagrams by the socket that received them."""

    def test_reply(self) -> None:
        """A reply within the round counts, and has the standing ``confirmed`` after a search of its host."""
        self.check(self.explain(SearchRequest(API, 3), DAEMON), "sent", "search of the group")
        found = self.explain(response(), target=DAEMON, at=1)
        self.check(found, "registered", "", "appeared")
        self.assertEqual(found.standing, "direct")
        host_search = ("10.0.0.1", 50001)
        self.check(self.explain(SearchRequest(API, None), host_search, DEVICE, 2), "sent", "search of one host")
        self.assertEqual(self.explain(response(), target=host_search, at=3).standing, "confirmed")

    def test_late_reply(self) -> None:
        """A reply after the end of the round, MX and half a second, is not received."""
        self.explain(SearchRequest(API, 3), DAEMON)
        self.check(self.explain(response(), target=DAEMON, at=3.5), "registered", "", "appeared")
        found = self.explain(response("dev-2"), target=DAEMON, at=3.6)
        self.check(found, "not received", "reply after the end of the search round")

    def test_two_searches_from_one_socket(self) -> None:
        """The socket receives replies until the later of the two times."""
        self.explain(SearchRequest(API, 5), DAEMON)
        self.explain(SearchRequest(API, 1), DAEMON, at=1)
        self.check(self.explain(response(), target=DAEMON, at=5.4), "registered", "", "appeared")

    def test_both_kinds_of_searches_from_one_socket(self) -> None:
        """The latest search decides whether each host may reply."""
        self.explain(SearchRequest(API, 5), DAEMON)
        self.explain(SearchRequest(API, None), DAEMON, ("10.0.0.9", 1900))
        self.check(self.explain(response(), target=DAEMON), "dropped", "unsolicited")
        self.explain(SearchRequest(API, 5), DAEMON)
        self.check(self.explain(response(), target=DAEMON), "registered", "", "appeared")

    def test_reused_socket(self) -> None:
        """After a search of another program from the same port, replies are those to that program."""
        self.explain(SearchRequest(API, 5), DAEMON)
        self.explain(encode(SearchRequest(API, 5)).replace(b"ssdpreg", b"other"), DAEMON)
        found = self.explain(response(), target=DAEMON)
        self.check(found, "not received", "reply to a search of another program")

    def test_unsolicited_reply(self) -> None:
        """A host that was not searched gets no confirmation, and a host of another network none at all."""
        self.explain(SearchRequest(API, None), DAEMON, DEVICE)
        self.check(self.explain(response(), ("10.0.0.6", 1900), DAEMON), "dropped", "unsolicited")
        self.explain(SearchRequest(API, 3), ("10.0.0.1", 50001))
        self.check(self.explain(response(), ("192.0.2.9", 1900), ("10.0.0.1", 50001)), "dropped", "off-link reply")

    def test_other_targets(self) -> None:
        """Replies of others, replies to the group and announcements to one host are not received."""
        other = encode(SearchRequest("ssdp:all")).replace(b"ssdpreg", b"other")
        self.explain(other, ("10.0.0.9", 40000))
        for target, reason in (
            (("10.0.0.9", 40000), "reply to a search of another program"),
            (("10.0.0.8", 40000), "reply to a search of another program"),
            (GROUP, "reply to the group"),
            (("ff02::c", 1900), "reply to the group"),
            (("ff08::c", 1900), "sent to a group of IPv6 on which the daemon does not listen"),
        ):
            self.check(self.explain(response(), target=target), "not received", reason)
        found = self.explain(alive(), target=("10.0.0.1", 1900))
        self.check(found, "not received", "sent to one host and not to the group")
        self.assertEqual(self.explainer.registry.received.total(), 1)

    def test_named_daemon(self) -> None:
        """With the daemon's address, only searches from it count, with any USER-AGENT."""
        self.start("10.0.0.9", "fe80::9")
        other = encode(SearchRequest("ssdp:all")).replace(b"ssdpreg", b"other")
        self.check(self.explain(other, ("10.0.0.9", 40000)), "sent", "search of the group")
        self.check(self.explain(response(), target=("10.0.0.9", 40000)), "registered", "", "appeared")
        self.check(self.explain(SearchRequest(API), DAEMON), "ignored", "search of another program")

    def test_ipv6(self) -> None:
        """A link-local sender has the interface as its zone, and a host that was searched is recognized by it."""
        self.explain(SearchRequest(API, None), ("fe80::1", 50000), ("fe80::5", 1900))
        reply = response(location="http://[2001:db8::5]:80/")
        found = self.explain(reply, ("fe80::5", 1900), ("fe80::1", 50000))
        self.check(found, "registered", "", "appeared")
        self.assertEqual((found.sender, found.standing), ("fe80::5%eth0", "indirect"))
        self.check(self.explain(reply, ("fe80::6", 1900), ("fe80::1", 50000)), "dropped", "unsolicited")
        self.assertEqual(self.explain(alive("dev-2"), ("fe80::5", 1900), ("ff05::c", 1900)).result, "registered")

    def test_other_ports(self) -> None:
        """A datagram from and to other ports is counted, and not explained."""
        self.assertEqual(self.receive(alive(), ("10.0.0.5", 53), ("10.0.0.1", 5353)), [])
        self.assertEqual(self.replay.not_ssdp, 1)

    def test_many_searches(self) -> None:
        """The number of remembered sockets is limited."""
        for port in range(5000):
            self.explain(SearchRequest(API, 1), ("10.0.0.7", port + 2000))
        self.assertEqual(len(self.replay._rounds), 4096)

    def test_time_does_not_go_back(self) -> None:
        """A datagram with an earlier time is processed at the time of the one before it."""
        self.explain(alive(), at=10)
        self.check(self.explain(alive(), at=5), "known")
        self.assertEqual(self.clock.seconds(), START + 10)


class FilterTests(ReplayTestCase):
    """Tests for :class:`ExplanationFilter` and :class:`Summary`."""

    def test_filter(self) -> None:
        """URNs with versions and patterns, devices and addresses are selected."""
        self.explain(alive())
        found = self.explain(alive(location="http://10.0.0.66:80/"), ("10.0.0.77", 9), at=1)
        for text in (None, API, "urn:schemas-upnp-org:*", "uuid:DEV-1", "10.0.0.77", "10.0.0.66", "10.0.0.5"):
            self.assertTrue(ExplanationFilter(text).matches(found), text)
        for text in ("urn:schemas-upnp-org:service:api:1.0", "uuid:dev", "10.0.0.6", "10.0.0.7"):
            self.assertFalse(ExplanationFilter(text).matches(found), text)

    def test_filter_of_another_form(self) -> None:
        """A network, the name of a host, and an address with a typing error are rejected: they would match nothing."""
        for text in ("", "10.0.0.0/24", "bmc-7", "10.0.0.300"):
            self.assertRaises(ValueError, ExplanationFilter, text)

    def test_filter_of_ipv6(self) -> None:
        """An IPv6 address is selected in any spelling, in brackets, and with or without its zone."""
        found = Explanation(0.0, "alive", sender="fe80::5%eth0", location="http://[2001:DB8:0::5]:80/")
        for text in ("2001:db8::5", "[2001:0db8::5]", "FE80::5", "fe80::5%eth0"):
            self.assertTrue(ExplanationFilter(text).matches(found), text)
        for text in ("2001:db8::", "fe80::5%eth1", "2001:db8::55", "fe80::"):
            self.assertFalse(ExplanationFilter(text).matches(found), text)

    def test_summary(self) -> None:
        """The summary counts datagrams by result, and changes by kind, those of time included."""
        summary = Summary()
        bye = ByeBye(API, f"uuid:dev-1::{API}")
        for message, at in ((alive(), 0.0), (alive(), 1.0), (alive(nt="x"), 1.5), (bye, 2.0), (b"x", 9.0)):
            for each in self.receive(message, at=at):
                summary.add(each)
        document = summary.document(self.explainer.registry.registrations)["summary"]
        self.assertEqual(document["datagrams"], 5)
        self.assertEqual(document["seconds"], 9.0)
        self.assertEqual(document["changes"], {"appeared": 1, "search": 1, "leaving": 1, "left": 1})
        self.assertEqual(
            {(each["result"], each["reason"]): each["datagrams"] for each in document["results"]},
            {
                ("registered", None): 1,
                ("known", None): 1,
                ("rejected", "no search term"): 1,
                ("leaving", None): 1,
                ("dropped", "start line"): 1,
            },
        )
        self.assertEqual(document["registrations"], [])
