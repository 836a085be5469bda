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
    """Make an advertisement of a service at a host."""
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
    """A table, and a clock that looks at it whenever it is due."""

    def setUp(self) -> None:
        self.table = AdvertisementTable()
        self.now = 1000.0

    def hear(self, advertisement: Advertisement, sender: str = "", *, answer: bool = False) -> tuple[Event, ...]:
        """Hear an advertisement, from its own address where nothing else is said."""
        sender = sender or advertisement.endpoint.host
        return tuple(self.table.observe(advertisement, sender, self.now, answer=answer))

    def bye(self, sender: str = "10.0.0.5", device_id: str = "D", urn: str | None = URN) -> tuple[Event, ...]:
        """Hear a byebye."""
        return tuple(self.table.bye(device_id, urn, sender, self.now))

    def wait(self, seconds: float) -> list[tuple[float, Event]]:
        """Let time pass; return what happened and how many seconds later."""
        start, end = self.now, self.now + seconds
        happened: list[tuple[float, Event]] = []
        while self.table.next_due <= end:
            self.now = max(self.now, self.table.next_due)
            happened.extend((round(self.now - start, 6), event) for event in self.table.expire(self.now))
        self.now = end
        return happened

    def hosts(self) -> list[str]:
        """Where the live services are."""
        return sorted(live.advertisement.endpoint.host for live in self.table)


class LifetimeTests(TableTestCase):
    """How long a service stays."""

    def test_appears_once(self) -> None:
        """The first advertisement is news; copies, replies and renewals are not."""
        self.assertEqual(self.hear(advertisement()), (Appeared(advertisement()),))
        for _ in range(3):
            self.assertEqual(self.hear(advertisement()), ())
        self.assertEqual(self.hear(advertisement(), answer=True), ())
        self.assertEqual(len(self.table), 1)

    def test_is_asked_for_then_expires(self) -> None:
        """At 80 % of max-age it is asked for once; a tenth after max-age it is gone."""
        self.hear(advertisement(max_age=100))
        self.assertEqual(
            self.wait(1000),
            [(80, SearchNeeded(advertisement(max_age=100), 30)), (110, Left(advertisement(max_age=100), "expired"))],
        )
        self.assertEqual((len(self.table), self.table.next_due), (0, math.inf))

    def test_grace(self) -> None:
        """The grace is a tenth of max-age, but 1 s at least and 60 s at most."""
        for max_age, lifetime in {4: 5, 10: 11, 100: 110, 1800: 1860, 86400: 86460}.items():
            self.assertEqual(advertisement(max_age=max_age).lifetime, lifetime)

    def test_is_renewed(self) -> None:
        """Each advertisement and each reply counts from its own reception, with its own max-age."""
        self.hear(advertisement(max_age=100))
        self.wait(79)
        self.hear(advertisement(max_age=100))
        self.wait(79)
        self.hear(advertisement(max_age=10), answer=True)
        self.assertEqual(
            self.wait(1000),
            [(8, SearchNeeded(advertisement(max_age=100), 3)), (11, Left(advertisement(max_age=100), "expired"))],
        )

    def test_another_case_is_the_same_device(self) -> None:
        """Device IDs are compared without regard to case."""
        self.hear(advertisement(device_id="abc-D"))
        self.assertEqual(self.hear(advertisement(device_id="ABC-d")), ())

    def test_devices_and_types_are_services_of_their_own(self) -> None:
        """Two devices of a kind, and two kinds of a device, are different services."""
        for one in (advertisement(), advertisement(device_id="E"), advertisement(urn=OTHER_URN)):
            self.assertEqual(self.hear(one), (Appeared(one),))

    def test_is_limited(self) -> None:
        """Neither one sender nor all together fill the memory; who is known is still heard."""
        self.table = AdvertisementTable(limit=3, limit_per_sender=2)
        for device_id in "DE":
            self.hear(advertisement(device_id=device_id))
        with self.assertRaises(RejectedError):
            self.hear(advertisement(device_id="F"))
        self.hear(advertisement(device_id="F"), "10.0.0.6")
        with self.assertRaises(RejectedError):
            self.hear(advertisement(device_id="G"), "10.0.0.7")
        self.assertEqual(self.hear(advertisement(device_id="F"), "10.0.0.6"), ())
        self.wait(2000)
        self.assertEqual(self.hear(advertisement(device_id="F")), (Appeared(advertisement(device_id="F")),))

    def test_tells_what_is_live(self) -> None:
        """What is live can be looked at, with its times."""
        self.hear(advertisement(max_age=100))
        self.wait(50)
        self.hear(advertisement(max_age=100))
        (live,) = self.table
        self.assertEqual(
            (live.sender, live.appeared_at, live.received_at, live.expires_at), ("10.0.0.5", 1000, 1050, 1160)
        )


class ByeByeTests(TableTestCase):
    """How a service leaves."""

    def test_leaves_two_seconds_later(self) -> None:
        """A byebye counts after 2 s, however often it is repeated."""
        self.hear(advertisement())
        self.bye()
        self.now += 0.5
        self.bye()
        self.assertEqual(self.wait(10), [(1.5, Left(advertisement(), "byebye"))])

    def test_byebye_then_alive_costs_nothing(self) -> None:
        """A device at its start says byebye, then alive."""
        self.hear(advertisement())
        self.bye()
        self.now += 1.5
        self.assertEqual(self.hear(advertisement()), ())
        self.assertEqual(self.wait(100), [])

    def test_a_start_brings_new_facts(self) -> None:
        """What a device says of itself is taken anew when it starts anew, and not in between."""
        self.hear(advertisement(server="old"))
        self.assertEqual(self.hear(advertisement(server="new")), ())
        self.bye()
        self.assertEqual(self.hear(advertisement(server="new")), (Changed(advertisement(server="new")),))

    def test_after_a_byebye_the_service_may_be_elsewhere(self) -> None:
        """A device that comes back with another address is updated in place."""
        self.hear(advertisement())
        self.bye()
        moved = advertisement("10.0.0.6")
        self.assertEqual(self.hear(moved), (Changed(moved),))
        self.assertEqual(self.wait(100), [])

    def test_a_whole_device_leaves(self) -> None:
        """Without a type, all services of the device leave, and those of no other."""
        for one in (advertisement(), advertisement(urn=OTHER_URN), advertisement(device_id="E")):
            self.hear(one)
        self.bye(urn=None)
        self.assertEqual(
            self.wait(10), [(2, Left(advertisement(), "byebye")), (2, Left(advertisement(urn=OTHER_URN), "byebye"))]
        )

    def test_one_service_leaves(self) -> None:
        """With a type, that service alone leaves."""
        self.hear(advertisement())
        self.hear(advertisement(urn=OTHER_URN))
        self.bye(urn=OTHER_URN)
        self.assertEqual(self.wait(10), [(2, Left(advertisement(urn=OTHER_URN), "byebye"))])

    def test_of_the_unknown(self) -> None:
        """A byebye of what is not known does nothing."""
        self.assertEqual(self.bye(), ())
        self.assertEqual(self.table.next_due, math.inf)


class StrangerTests(TableTestCase):
    """What others say of a service is not believed, but is a reason to ask."""

    def setUp(self) -> None:
        super().setUp()
        self.hear(advertisement())

    def test_byebye_of_a_stranger_is_asked_about(self) -> None:
        """If the device answers, it stays."""
        self.assertEqual(self.bye("10.0.0.66"), (SearchNeeded(advertisement(), 3),))
        self.now += 1
        self.hear(advertisement(), answer=True)
        self.assertEqual(self.wait(100), [])

    def test_byebye_of_a_stranger_counts_if_the_device_is_silent(self) -> None:
        """If a device that used to answer does not, two rounds long, it has left."""
        self.hear(advertisement(), answer=True)
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(100), [(3, SearchNeeded(advertisement(), 3)), (6, Left(advertisement(), "byebye"))])

    def test_byebye_of_a_stranger_says_nothing_of_who_never_answers(self) -> None:
        """A device that was never heard to answer keeps its time."""
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(1000), [])

    def test_a_stranger_moves_nothing(self) -> None:
        """A service that answers stays where it is, however often another place is named."""
        self.hear(advertisement(), answer=True)
        lie = advertisement("10.0.0.66")
        self.assertEqual(self.hear(lie), (SearchNeeded(advertisement(), 3),))
        self.now += 1
        self.hear(advertisement(), answer=True)
        for _ in range(5):
            self.assertEqual(self.hear(lie), ())
        self.assertEqual(self.wait(100), [])
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_a_stranger_cannot_repeat_then_move(self) -> None:
        """Who repeats another's claim does not own it."""
        self.hear(advertisement(), "10.0.0.66")
        self.hear(advertisement("10.0.0.66"))
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_a_stranger_cannot_shorten(self) -> None:
        """Who repeats another's claim cannot make it end earlier."""
        self.hear(advertisement(max_age=1), "10.0.0.66")
        self.bye("10.0.0.66")
        self.assertEqual([event for _, event in self.wait(1000) if isinstance(event, Left)], [])

    def test_a_newcomer_takes_the_place_of_who_no_longer_answers(self) -> None:
        """A device that moved without a word is found at its new place after two rounds of silence."""
        self.hear(advertisement(), answer=True)
        moved = advertisement("10.0.0.6")
        self.hear(moved)
        self.assertEqual(self.wait(100), [(3, SearchNeeded(advertisement(), 3)), (6, Changed(moved))])

    def test_a_newcomer_waits_where_nobody_ever_answered(self) -> None:
        """A device that was never heard to answer keeps its place for its time, then the newcomer has it."""
        self.wait(1000)
        moved = advertisement("10.0.0.6")
        self.hear(moved)
        events = [entry for entry in self.wait(1000) if not isinstance(entry[1], SearchNeeded)]
        self.assertEqual(events, [(860, Changed(moved))])

    def test_a_newcomer_is_asked_about_again_when_the_present_one_is_silent(self) -> None:
        """A second address that is heard while the first is silent for half its time raises the question anew."""
        second = advertisement("10.0.0.6")
        self.hear(second)
        self.hear(advertisement(), answer=True)
        self.wait(800)
        self.assertEqual(self.hear(second), ())
        self.wait(200)
        self.assertEqual(self.hear(second), (SearchNeeded(advertisement(), 3),))

    def test_one_question_at_a_time(self) -> None:
        """However many byebyes a stranger sends, the device has one round after the other."""
        self.hear(advertisement(), answer=True)
        self.bye("10.0.0.66")
        for _ in range(10):
            self.now += 0.1
            self.assertEqual(self.bye("10.0.0.66"), ())
        self.assertEqual(self.wait(100)[-1], (5, Left(advertisement(), "byebye")))

    def test_an_answer_ends_the_doubt(self) -> None:
        """Once the device has answered, an old byebye of a stranger is no reason for anything later."""
        self.hear(advertisement(), answer=True)
        self.bye("10.0.0.66")
        self.hear(advertisement(), answer=True)
        self.hear(advertisement("10.0.0.66"))
        # The newcomer ends before the rounds do, so nobody is left to take the place.
        self.bye("10.0.0.66")
        events = self.wait(20)
        self.assertEqual([event for _, event in events if not isinstance(event, SearchNeeded)], [])

    def test_too_many_places(self) -> None:
        """A few other places are remembered, not hundreds."""
        for number in range(66, 70):
            self.hear(advertisement(f"10.0.0.{number}"))
        with self.assertRaises(RejectedError):
            self.hear(advertisement("10.0.0.70"))


class MoveTests(TableTestCase):
    """A service at several addresses, one after the other or at once."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = advertisement("10.0.0.5"), advertisement("10.0.0.6")
        self.hear(self.first)

    def test_its_sender_moves_it_at_once(self) -> None:
        """Who announced a service may announce it elsewhere."""
        self.assertEqual(self.hear(self.second, "10.0.0.5"), (Changed(self.second),))

    def test_two_addresses_do_not_alternate(self) -> None:
        """When the old LOCATION is heard again, the present one stays for as long as it is heard."""
        self.hear(self.second, "10.0.0.5")
        for _ in range(10):
            self.now += 100
            self.assertEqual(self.hear(self.first, "10.0.0.5"), ())
            self.assertEqual(self.hear(self.second, "10.0.0.5"), ())
        self.assertEqual(self.hosts(), ["10.0.0.6"])

    def test_the_other_address_takes_over(self) -> None:
        """When the present LOCATION is heard no more, the other one has the service."""
        self.hear(self.second, "10.0.0.5")
        self.wait(1000)
        self.hear(self.first, "10.0.0.5")
        self.assertEqual(
            [entry for entry in self.wait(861) if not isinstance(entry[1], SearchNeeded)], [(860, Changed(self.first))]
        )

    def test_what_was_moved_from_does_not_take_over(self) -> None:
        """A LOCATION that was left is not live, unless it is heard again."""
        self.now += 1000
        self.hear(self.second, "10.0.0.5")
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_what_is_silent_longer_does_not_take_over(self) -> None:
        """Neither a LOCATION that was moved from, nor one whose own time is over, takes over."""
        self.hear(replace(self.second, max_age=4), "10.0.0.5")
        self.assertEqual(self.wait(10)[-1], (5, Left(replace(self.second, max_age=4), "expired")))
        self.hear(self.first)
        self.hear(replace(self.second, max_age=4))
        self.assertEqual(self.wait(4000)[-1], (1860, Left(self.first, "expired")))

    def test_who_took_over_can_be_doubted(self) -> None:
        """The address that took over leaves like any other."""
        self.hear(self.second, "10.0.0.6", answer=True)
        self.hear(self.first, answer=True)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Changed(self.second))])
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(10)[-1], (6, Left(self.second, "byebye")))

    def test_moves_back_after_its_time(self) -> None:
        """When the old LOCATION's time is over, coming back to it is a move like any other."""
        self.hear(self.second, "10.0.0.5")
        for _ in range(3):
            self.wait(900)
            self.hear(self.second, "10.0.0.5")
        self.assertEqual(self.hear(self.first, "10.0.0.5"), (Changed(self.first),))

    def test_byebye_of_one_address(self) -> None:
        """A multi-homed device that takes back one address keeps the service by the other."""
        self.hear(self.second, "10.0.0.6")
        self.hear(self.first, answer=True)
        self.assertEqual(self.bye("10.0.0.5"), ())
        self.assertEqual(self.wait(10), [(2, Changed(self.second))])
        self.bye("10.0.0.6")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_byebye_of_the_other_address(self) -> None:
        """Taking back the address that is not in use changes nothing."""
        self.hear(self.second, "10.0.0.6")
        self.hear(self.first, answer=True)
        self.assertEqual(self.bye("10.0.0.6"), ())
        self.assertEqual(self.wait(100), [])

    def test_what_took_over_lives_its_own_life(self) -> None:
        """The address that took over is asked for in its time, and expires in its time."""
        self.hear(self.second, "10.0.0.6")
        self.hear(self.first, answer=True)
        self.bye("10.0.0.5")
        self.assertEqual(
            self.wait(4000),
            [(2, Changed(self.second)), (1440, SearchNeeded(self.second, 420)), (1860, Left(self.second, "expired"))],
        )

    def test_a_device_that_takes_back_everything(self) -> None:
        """A byebye takes back all addresses that its sender announced."""
        self.hear(self.second, "10.0.0.5")
        self.hear(self.first, "10.0.0.5")
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_the_same_place_by_another_sender_prolongs(self) -> None:
        """The IPv4 and IPv6 copies of an announcement are one claim."""
        self.now += 1000
        self.assertEqual(self.hear(self.first, "10.0.0.7"), ())
        (live,) = self.table
        self.assertEqual((live.sender, live.expires_at), ("10.0.0.5", 3860))

    def test_a_claim_passes_on_when_its_owner_is_silent(self) -> None:
        """When who owned a claim was silent for its time, who kept it alive owns it."""
        for _ in range(4):
            self.now += 500
            self.hear(self.first, "10.0.0.7")
        self.bye("10.0.0.7")
        self.assertEqual(self.wait(10), [(2, Left(self.first, "byebye"))])


class AdoptTests(TableTestCase):
    """Services of an earlier run."""

    def test_is_believed_for_a_while(self) -> None:
        """An adopted service has its full time, and a minute at least, to be heard."""
        for max_age, lifetime in {4: 60, 1800: 1860}.items():
            adopted = advertisement(max_age=max_age)
            self.assertEqual(self.table.adopt(adopted, self.now), [Appeared(adopted)])
            events = [entry for entry in self.wait(4000) if not isinstance(entry[1], SearchNeeded)]
            self.assertEqual(events, [(lifetime, Left(adopted, "expired"))])

    def test_is_heard(self) -> None:
        """An adopted service that is heard lives on as any other."""
        self.table.adopt(advertisement(max_age=4), self.now)
        self.assertEqual(self.hear(advertisement(max_age=4)), ())
        self.assertEqual(self.wait(10)[-1], (5, Left(advertisement(max_age=4), "expired")))

    def test_moved_meanwhile(self) -> None:
        """One that moved meanwhile is followed as soon as its old place is silent two rounds long."""
        self.table.adopt(advertisement(), self.now)
        moved = advertisement("10.0.0.6")
        self.hear(moved)
        self.assertEqual(self.wait(10)[-1], (6, Changed(moved)))

    def test_what_is_heard_already_stays(self) -> None:
        """What was heard counts more than what was remembered."""
        self.hear(advertisement("10.0.0.6"))
        self.assertEqual(self.table.adopt(advertisement(), self.now), [])
        self.assertEqual(self.hosts(), ["10.0.0.6"])


class ReassignTests(TableTestCase):
    """Changed search terms."""

    def test_what_nobody_asks_for_leaves(self) -> None:
        """A service that meets no term any more is no longer live; others are not touched."""
        self.hear(advertisement())
        self.hear(advertisement(urn=OTHER_URN))
        terms = SearchTerms({OTHER_URN: "RackHD"})
        self.assertEqual(self.table.reassign(terms.match, self.now), [Left(advertisement(), "unconfigured")])
        self.assertEqual(len(self.table), 1)

    def test_what_meets_another_term_is_another_service(self) -> None:
        """A service that meets a pattern after its own term went is registered by that, with the rest of its time."""
        self.hear(advertisement(max_age=100))
        self.wait(50)
        pattern = SearchTerm("urn:*", "All")
        renamed = replace(advertisement(max_age=100), term=pattern)
        events = self.table.reassign(SearchTerms({"urn:*": "All"}).match, self.now)
        self.assertEqual(events, [Left(advertisement(max_age=100), "unconfigured"), Appeared(renamed)])
        self.assertEqual(self.wait(1000)[-1], (60, Left(renamed, "expired")))

    def test_two_that_come_to_be_one(self) -> None:
        """A device that offered two versions, of which one is still asked for, is one service, and leaves once."""
        urn = "urn:schemas-upnp-org:service:T:"
        first, second = advertisement(urn=f"{urn}1"), advertisement(urn=f"{urn}2")
        self.hear(first)
        self.hear(second)
        self.assertEqual(
            self.table.reassign(SearchTerms({f"{urn}1": "RackHD"}).match, self.now), [Left(second, "unconfigured")]
        )
        self.assertEqual(len(self.table), 1)
        self.assertEqual(self.wait(4000)[-1], (1860, Left(first, "expired")))
        self.assertEqual((len(self.table), self.table.next_due), (0, math.inf))


HOSTS = ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from([1, 30]), st.booleans()),
    st.tuples(st.just("bye"), st.sampled_from(HOSTS), st.sampled_from([None, URN])),
    st.tuples(st.just("wait"), st.floats(0, 40)),
)


class InvariantTests(SynchronousTestCase):
    """What holds whatever happens."""

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.lists(STEPS, max_size=40))
    def test_events_tell_what_is_live(self, steps: list[tuple[object, ...]]) -> None:
        """Who follows the events knows what the table holds; and silence empties it."""
        table, now, known = AdvertisementTable(), 0.0, dict[str, Advertisement]()

        def follow(events: list[Event]) -> None:
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
                case ("hear", str(host), str(sender), int(max_age), bool(answer)):
                    follow(table.observe(advertisement(host, max_age), sender, now, answer=answer))
                case ("bye", str(sender), urn):
                    assert urn is None or isinstance(urn, str)
                    follow(table.bye("D", urn, sender, now))
                case ("wait", float(seconds)):
                    now += seconds
                    follow(table.expire(now))
            self.assertEqual([live.advertisement for live in table], list(known.values()))
            self.assertEqual(len(table), len(known))
        for _ in range(10):
            now += 100
            follow(table.expire(now))
        self.assertEqual((len(table), known, table.next_due), (0, {}, math.inf))
