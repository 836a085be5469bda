"""Tests for :mod:`ssdpreg.discovery.table`."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.advertisement import Advertisement, Appeared, Changed, Event, Left, SearchNeeded
from ssdpreg.discovery.location import Endpoint
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError

URN = "urn:schemas-upnp-org:service:api:2.0"
OTHER_URN = "urn:schemas-upnp-org:service:lldp:0.1"


def advertisement(
    host: str = "10.0.0.5", max_age: int = 1800, device_id: str = "D", urn: str = URN, server: str = ""
) -> Advertisement:
    """Return an advertisement of a service at a host."""
    return Advertisement(
        device_id=device_id,
        urn=urn,
        term=SearchTerm(urn, "RackHD"),
        nt=urn,
        usn=f"uuid:{device_id}::{urn}",
        location=f"http://{host}/",
        endpoint=Endpoint("http", host, 80),
        max_age=max_age,
        server=server,
    )


class TableTestCase(SynchronousTestCase):
    """Base class: a table, and a clock that calls ``expire`` whenever it is due."""

    def setUp(self) -> None:
        self.table = AdvertisementTable()
        self.now = 1000.0

    def receive(self, advertisement: Advertisement, sender: str = "", *, answer: bool = False) -> tuple[Event, ...]:
        """Process an advertisement, from the host of its LOCATION unless a sender is given."""
        sender = sender or advertisement.endpoint.host
        return tuple(self.table.observe(advertisement, sender, self.now, answer=answer))

    def bye(self, sender: str = "10.0.0.5", device_id: str = "D", urn: str | None = URN) -> tuple[Event, ...]:
        """Process a byebye."""
        return tuple(self.table.bye(device_id, urn, sender, self.now))

    def wait(self, seconds: float) -> list[tuple[float, Event]]:
        """Advance the clock. Return the events, each with the seconds since the call."""
        start, end = self.now, self.now + seconds
        events: list[tuple[float, Event]] = []
        while self.table.next_due <= end:
            self.now = max(self.now, self.table.next_due)
            events.extend((round(self.now - start, 6), event) for event in self.table.expire(self.now))
        self.now = end
        return events

    def hosts(self) -> list[str]:
        """Return the hosts of the live services."""
        return sorted(live.advertisement.endpoint.host for live in self.table)


class LifetimeTests(TableTestCase):
    """Lifetime of services."""

    def test_appears_once(self) -> None:
        """Only the first advertisement of a service causes an event. Copies, replies and renewals do not."""
        self.assertEqual(self.receive(advertisement()), (Appeared(advertisement()),))
        for _ in range(3):
            self.assertEqual(self.receive(advertisement()), ())
        self.assertEqual(self.receive(advertisement(), answer=True), ())
        self.assertEqual(len(self.table), 1)

    def test_search_and_expiry(self) -> None:
        """A service is searched for once at 80 % of max-age, and expires at max-age plus a tenth."""
        self.receive(advertisement(max_age=100))
        self.assertEqual(
            self.wait(1000),
            [(80, SearchNeeded(advertisement(max_age=100), 30)), (110, Left(advertisement(max_age=100), "expired"))],
        )
        self.assertEqual((len(self.table), self.table.next_due), (0, math.inf))

    def test_grace(self) -> None:
        """The grace is a tenth of max-age, at least 1 s and at most 60 s."""
        for max_age, lifetime in {4: 5, 10: 11, 100: 110, 1800: 1860, 86400: 86460}.items():
            self.assertEqual(advertisement(max_age=max_age).lifetime, lifetime)

    def test_renewal(self) -> None:
        """The lifetime starts again with each advertisement and each reply, and has the length of its max-age."""
        self.receive(advertisement(max_age=100))
        self.wait(79)
        self.receive(advertisement(max_age=100))
        self.wait(79)
        self.receive(advertisement(max_age=10), answer=True)
        self.assertEqual(
            self.wait(1000),
            [(8, SearchNeeded(advertisement(max_age=100), 3)), (11, Left(advertisement(max_age=100), "expired"))],
        )

    def test_case_of_device_ids(self) -> None:
        """Device IDs are compared case-insensitively."""
        self.receive(advertisement(device_id="abc-D"))
        self.assertEqual(self.receive(advertisement(device_id="ABC-d")), ())

    def test_identity(self) -> None:
        """Two devices with the same type, and two types of one device, are different services."""
        for one in (advertisement(), advertisement(device_id="E"), advertisement(urn=OTHER_URN)):
            self.assertEqual(self.receive(one), (Appeared(one),))

    def test_limits(self) -> None:
        """The number of services is limited, in all and for each sender. Known services are still renewed."""
        self.table = AdvertisementTable(limit=3, limit_per_sender=2)
        for device_id in "DE":
            self.receive(advertisement(device_id=device_id))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="F"))
        self.receive(advertisement(device_id="F"), "10.0.0.6")
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="G"), "10.0.0.7")
        self.assertEqual(self.receive(advertisement(device_id="F"), "10.0.0.6"), ())
        self.wait(2000)
        self.assertEqual(self.receive(advertisement(device_id="F")), (Appeared(advertisement(device_id="F")),))

    def test_live_services(self) -> None:
        """The iteration yields the live services with their times."""
        self.receive(advertisement(max_age=100))
        self.wait(50)
        self.receive(advertisement(max_age=100))
        (live,) = self.table
        self.assertEqual(
            (live.sender, live.appeared_at, live.received_at, live.expires_at), ("10.0.0.5", 1000, 1050, 1160)
        )


class ByeByeTests(TableTestCase):
    """Departure of services by byebye."""

    def test_delay(self) -> None:
        """A byebye takes effect after 2 s. Repetitions do not delay it."""
        self.receive(advertisement())
        self.bye()
        self.now += 0.5
        self.bye()
        self.assertEqual(self.wait(10), [(1.5, Left(advertisement(), "byebye"))])

    def test_byebye_then_alive(self) -> None:
        """An alive within 2 s of a byebye keeps the service: devices send both when they start."""
        self.receive(advertisement())
        self.bye()
        self.now += 1.5
        self.assertEqual(self.receive(advertisement()), ())
        self.assertEqual(self.wait(100), [])

    def test_changed_server(self) -> None:
        """Another SERVER field is an event only after a restart of the device."""
        self.receive(advertisement(server="old"))
        self.assertEqual(self.receive(advertisement(server="new")), ())
        self.bye()
        self.assertEqual(self.receive(advertisement(server="new")), (Changed(advertisement(server="new")),))

    def test_byebye_then_another_location(self) -> None:
        """A service that is announced at another LOCATION after a byebye is changed in place."""
        self.receive(advertisement())
        self.bye()
        moved = advertisement("10.0.0.6")
        self.assertEqual(self.receive(moved), (Changed(moved),))
        self.assertEqual(self.wait(100), [])

    def test_byebye_of_a_device(self) -> None:
        """A byebye without a type ends all services of the device, and of no other device."""
        for one in (advertisement(), advertisement(urn=OTHER_URN), advertisement(device_id="E")):
            self.receive(one)
        self.bye(urn=None)
        self.assertEqual(
            self.wait(10), [(2, Left(advertisement(), "byebye")), (2, Left(advertisement(urn=OTHER_URN), "byebye"))]
        )

    def test_byebye_of_one_service(self) -> None:
        """A byebye with a type ends only that service."""
        self.receive(advertisement())
        self.receive(advertisement(urn=OTHER_URN))
        self.bye(urn=OTHER_URN)
        self.assertEqual(self.wait(10), [(2, Left(advertisement(urn=OTHER_URN), "byebye"))])

    def test_unknown_service(self) -> None:
        """A byebye of an unknown service has no effect."""
        self.assertEqual(self.bye(), ())
        self.assertEqual(self.table.next_due, math.inf)


class OtherSenderTests(TableTestCase):
    """Messages of another sender than the one that announced a service: they cause a search."""

    def setUp(self) -> None:
        super().setUp()
        self.receive(advertisement())

    def test_byebye_and_reply(self) -> None:
        """A service stays if its device replies to the search that a byebye of another sender causes."""
        self.assertEqual(self.bye("10.0.0.66"), (SearchNeeded(advertisement(), 3),))
        self.now += 1
        self.receive(advertisement(), answer=True)
        self.assertEqual(self.wait(100), [])

    def test_byebye_without_a_reply(self) -> None:
        """A service leaves after two search rounds if its device has replied before and no longer does."""
        self.receive(advertisement(), answer=True)
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(100), [(3, SearchNeeded(advertisement(), 3)), (6, Left(advertisement(), "byebye"))])

    def test_byebye_for_a_device_that_never_replied(self) -> None:
        """A byebye of another sender does not end a service whose device has never replied to a search."""
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(1000), [])

    def test_other_location_and_reply(self) -> None:
        """A service whose device replies keeps its LOCATION when another sender claims a different one."""
        self.receive(advertisement(), answer=True)
        forged = advertisement("10.0.0.66")
        self.assertEqual(self.receive(forged), (SearchNeeded(advertisement(), 3),))
        self.now += 1
        self.receive(advertisement(), answer=True)
        for _ in range(5):
            self.assertEqual(self.receive(forged), ())
        self.assertEqual(self.wait(100), [])
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_repeated_claim_is_not_owned(self) -> None:
        """A sender that repeats the advertisement of another sender cannot move the service."""
        self.receive(advertisement(), "10.0.0.66")
        self.receive(advertisement("10.0.0.66"))
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_repeated_claim_is_not_shortened(self) -> None:
        """A sender that repeats the advertisement of another sender cannot shorten its lifetime."""
        self.receive(advertisement(max_age=1), "10.0.0.66")
        self.bye("10.0.0.66")
        self.assertEqual([event for _, event in self.wait(1000) if isinstance(event, Left)], [])

    def test_other_location_without_a_reply(self) -> None:
        """Another LOCATION becomes the current one after two search rounds without a reply from the present one."""
        self.receive(advertisement(), answer=True)
        moved = advertisement("10.0.0.6")
        self.receive(moved)
        self.assertEqual(self.wait(100), [(3, SearchNeeded(advertisement(), 3)), (6, Changed(moved))])

    def test_other_location_for_a_device_that_never_replied(self) -> None:
        """If the device has never replied, the other LOCATION becomes the current one when the present one expires."""
        self.wait(1000)
        moved = advertisement("10.0.0.6")
        self.receive(moved)
        events = [entry for entry in self.wait(1000) if not isinstance(entry[1], SearchNeeded)]
        self.assertEqual(events, [(860, Changed(moved))])

    def test_other_location_again(self) -> None:
        """A known other LOCATION causes a search if the current one was not received for half of its max-age."""
        second = advertisement("10.0.0.6")
        self.receive(second)
        self.receive(advertisement(), answer=True)
        self.wait(800)
        self.assertEqual(self.receive(second), ())
        self.wait(200)
        self.assertEqual(self.receive(second), (SearchNeeded(advertisement(), 3),))

    def test_one_search_round_at_a_time(self) -> None:
        """Repeated byebyes of another sender cause no search during a search round."""
        self.receive(advertisement(), answer=True)
        self.bye("10.0.0.66")
        for _ in range(10):
            self.now += 0.1
            self.assertEqual(self.bye("10.0.0.66"), ())
        self.assertEqual(self.wait(100)[-1], (5, Left(advertisement(), "byebye")))

    def test_reply_ends_the_contest(self) -> None:
        """After a reply of the device, an earlier byebye of another sender has no effect on later search rounds."""
        self.receive(advertisement(), answer=True)
        self.bye("10.0.0.66")
        self.receive(advertisement(), answer=True)
        self.receive(advertisement("10.0.0.66"))
        # The other claim ends before the rounds do, so no candidate is left.
        self.bye("10.0.0.66")
        events = self.wait(20)
        self.assertEqual([event for _, event in events if not isinstance(event, SearchNeeded)], [])

    def test_too_many_locations(self) -> None:
        """The number of other LOCATIONs of one service is limited."""
        for number in range(66, 70):
            self.receive(advertisement(f"10.0.0.{number}"))
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.70"))


class MoveTests(TableTestCase):
    """Services with several LOCATIONs, at the same time or one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = advertisement("10.0.0.5"), advertisement("10.0.0.6")
        self.receive(self.first)

    def test_move_by_its_sender(self) -> None:
        """The sender that announced a service moves it at once by announcing another LOCATION."""
        self.assertEqual(self.receive(self.second, "10.0.0.5"), (Changed(self.second),))

    def test_two_addresses_do_not_alternate(self) -> None:
        """The current LOCATION stays while it is received, although the previous one is received too."""
        self.receive(self.second, "10.0.0.5")
        for _ in range(10):
            self.now += 100
            self.assertEqual(self.receive(self.first, "10.0.0.5"), ())
            self.assertEqual(self.receive(self.second, "10.0.0.5"), ())
        self.assertEqual(self.hosts(), ["10.0.0.6"])

    def test_expiry_of_the_current_location(self) -> None:
        """The other LOCATION becomes the current one when the current one expires."""
        self.receive(self.second, "10.0.0.5")
        self.wait(1000)
        self.receive(self.first, "10.0.0.5")
        self.assertEqual(
            [entry for entry in self.wait(861) if not isinstance(entry[1], SearchNeeded)], [(860, Changed(self.first))]
        )

    def test_superseded_location(self) -> None:
        """A LOCATION from which the service was moved does not become the current one again by a byebye."""
        self.now += 1000
        self.receive(self.second, "10.0.0.5")
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_no_expired_candidate(self) -> None:
        """Neither a superseded nor an expired LOCATION becomes the current one."""
        self.receive(replace(self.second, max_age=4), "10.0.0.5")
        self.assertEqual(self.wait(10)[-1], (5, Left(replace(self.second, max_age=4), "expired")))
        self.receive(self.first)
        self.receive(replace(self.second, max_age=4))
        self.assertEqual(self.wait(4000)[-1], (1860, Left(self.first, "expired")))

    def test_byebye_after_a_change(self) -> None:
        """A LOCATION that became the current one is ended by search rounds like the first one."""
        self.receive(self.second, "10.0.0.6", answer=True)
        self.receive(self.first, answer=True)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Changed(self.second))])
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(10)[-1], (6, Left(self.second, "byebye")))

    def test_move_back_after_expiry(self) -> None:
        """A move back to a previous LOCATION whose lifetime has ended takes effect at once."""
        self.receive(self.second, "10.0.0.5")
        for _ in range(3):
            self.wait(900)
            self.receive(self.second, "10.0.0.5")
        self.assertEqual(self.receive(self.first, "10.0.0.5"), (Changed(self.first),))

    def test_byebye_of_one_address(self) -> None:
        """A byebye from one address of a multi-homed device changes the service to the other address."""
        self.receive(self.second, "10.0.0.6")
        self.receive(self.first, answer=True)
        self.assertEqual(self.bye("10.0.0.5"), ())
        self.assertEqual(self.wait(10), [(2, Changed(self.second))])
        self.bye("10.0.0.6")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_byebye_of_the_other_address(self) -> None:
        """A byebye from an address that is not the current one causes no event."""
        self.receive(self.second, "10.0.0.6")
        self.receive(self.first, answer=True)
        self.assertEqual(self.bye("10.0.0.6"), ())
        self.assertEqual(self.wait(100), [])

    def test_lifetime_after_a_change(self) -> None:
        """A LOCATION that became the current one is searched for, and expires, by its own max-age."""
        self.receive(self.second, "10.0.0.6")
        self.receive(self.first, answer=True)
        self.bye("10.0.0.5")
        self.assertEqual(
            self.wait(4000),
            [(2, Changed(self.second)), (1440, SearchNeeded(self.second, 420)), (1860, Left(self.second, "expired"))],
        )

    def test_byebye_of_all_addresses(self) -> None:
        """A byebye ends all claims of its sender."""
        self.receive(self.second, "10.0.0.5")
        self.receive(self.first, "10.0.0.5")
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_same_location_from_another_sender(self) -> None:
        """The same LOCATION from another sender prolongs the claim: IPv4 and IPv6 copies are one claim."""
        self.now += 1000
        self.assertEqual(self.receive(self.first, "10.0.0.7"), ())
        (live,) = self.table
        self.assertEqual((live.sender, live.expires_at), ("10.0.0.5", 3860))

    def test_new_owner_of_a_claim(self) -> None:
        """The sender that prolongs a claim owns it after the lifetime of the first owner."""
        for _ in range(4):
            self.now += 500
            self.receive(self.first, "10.0.0.7")
        self.bye("10.0.0.7")
        self.assertEqual(self.wait(10), [(2, Left(self.first, "byebye"))])


class AdoptTests(TableTestCase):
    """Services that an earlier run registered."""

    def test_lifetime(self) -> None:
        """An adopted service has its full lifetime, and at least a minute, to be received."""
        for max_age, lifetime in {4: 60, 1800: 1860}.items():
            adopted = advertisement(max_age=max_age)
            self.assertEqual(self.table.adopt(adopted, self.now), [Appeared(adopted)])
            events = [entry for entry in self.wait(4000) if not isinstance(entry[1], SearchNeeded)]
            self.assertEqual(events, [(lifetime, Left(adopted, "expired"))])

    def test_received_again(self) -> None:
        """An adopted service that is received has the lifetime of that advertisement."""
        self.table.adopt(advertisement(max_age=4), self.now)
        self.assertEqual(self.receive(advertisement(max_age=4)), ())
        self.assertEqual(self.wait(10)[-1], (5, Left(advertisement(max_age=4), "expired")))

    def test_moved(self) -> None:
        """The new LOCATION of an adopted service becomes the current one after two search rounds without a reply."""
        self.table.adopt(advertisement(), self.now)
        moved = advertisement("10.0.0.6")
        self.receive(moved)
        self.assertEqual(self.wait(10)[-1], (6, Changed(moved)))

    def test_received_before_adoption(self) -> None:
        """A service that was received already is not changed by its adoption."""
        self.receive(advertisement("10.0.0.6"))
        self.assertEqual(self.table.adopt(advertisement(), self.now), [])
        self.assertEqual(self.hosts(), ["10.0.0.6"])


class ReassignTests(TableTestCase):
    """Changes of the search terms."""

    def test_unmatched_service(self) -> None:
        """A service that no term matches any more leaves. The other services are not affected."""
        self.receive(advertisement())
        self.receive(advertisement(urn=OTHER_URN))
        terms = SearchTerms({OTHER_URN: "RackHD"})
        self.assertEqual(self.table.reassign(terms.match, self.now), [Left(advertisement(), "unconfigured")])
        self.assertEqual(len(self.table), 1)

    def test_service_of_another_term(self) -> None:
        """A service that another term matches now appears with that term, and keeps its remaining lifetime."""
        self.receive(advertisement(max_age=100))
        self.wait(50)
        pattern = SearchTerm("urn:*", "All")
        renamed = replace(advertisement(max_age=100), term=pattern)
        events = self.table.reassign(SearchTerms({"urn:*": "All"}).match, self.now)
        self.assertEqual(events, [Left(advertisement(max_age=100), "unconfigured"), Appeared(renamed)])
        self.assertEqual(self.wait(1000)[-1], (60, Left(renamed, "expired")))

    def test_two_versions_become_one_service(self) -> None:
        """Two versions that one term matches now become one service, which leaves once."""
        urn = "urn:schemas-upnp-org:service:T:"
        first, second = advertisement(urn=f"{urn}1"), advertisement(urn=f"{urn}2")
        self.receive(first)
        self.receive(second)
        self.assertEqual(
            self.table.reassign(SearchTerms({f"{urn}1": "RackHD"}).match, self.now), [Left(second, "unconfigured")]
        )
        self.assertEqual(len(self.table), 1)
        self.assertEqual(self.wait(4000)[-1], (1860, Left(first, "expired")))
        self.assertEqual((len(self.table), self.table.next_due), (0, math.inf))


HOSTS = ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
STEPS = st.one_of(
    st.tuples(
        st.just("receive"), st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from([1, 30]), st.booleans()
    ),
    st.tuples(st.just("bye"), st.sampled_from(HOSTS), st.sampled_from([None, URN])),
    st.tuples(st.just("wait"), st.floats(0, 40)),
)


class InvariantTests(SynchronousTestCase):
    """Invariants for any sequence of messages."""

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.lists(STEPS, max_size=40))
    def test_events_describe_the_table(self, steps: list[tuple[object, ...]]) -> None:
        """The events describe the content of the table exactly, and every service expires in the end."""
        table, now, known = AdvertisementTable(), 0.0, dict[str, Advertisement]()

        def apply(events: list[Event]) -> None:
            for event in events:
                if isinstance(event, Appeared):
                    self.assertNotIn(event.advertisement.device_id, known)
                    known[event.advertisement.device_id] = event.advertisement
                elif isinstance(event, Changed):
                    self.assertIn(event.advertisement.device_id, known)
                    known[event.advertisement.device_id] = event.advertisement
                elif isinstance(event, Left):
                    self.assertEqual(known.pop(event.advertisement.device_id), event.advertisement)

        for step in steps:
            match step:
                case ("receive", str(host), str(sender), int(max_age), bool(answer)):
                    apply(table.observe(advertisement(host, max_age), sender, now, answer=answer))
                case ("bye", str(sender), urn):
                    assert urn is None or isinstance(urn, str)
                    apply(table.bye("D", urn, sender, now))
                case ("wait", float(seconds)):
                    now += seconds
                    apply(table.expire(now))
            self.assertEqual([live.advertisement for live in table], list(known.values()))
            self.assertEqual(len(table), len(known))
        for _ in range(10):
            now += 100
            apply(table.expire(now))
        self.assertEqual((len(table), known, table.next_due), (0, {}, math.inf))
