"""Tests for :mod:`ssdpreg.discovery.table`: lifetime, byebye, addresses, adoption and search terms."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

from ssdpreg.discovery.events import Appeared, Changed, Event, Left, SearchNeeded, SearchUrgency
from ssdpreg.discovery.search_terms import SearchTerm, SearchTerms
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import OTHER_URN, URN, TableTestCase, advertisement


class LifetimeTests(TableTestCase):
    """Lifetime of services."""

    def test_appears_once(self) -> None:
        """Only the first advertisement of a service causes an event. Copies, replies and renewals do not."""
        self.assertEqual(self.receive(advertisement()), [Appeared(advertisement())])
        for _ in range(3):
            self.assertEqual(self.receive(advertisement()), [])
        self.assertEqual(self.receive(advertisement(), channel=Channel.SEARCH), [])
        self.assertEqual(len(self.table), 1)

    def test_search_and_expiry(self) -> None:
        """A service is searched for once at 80 % of max-age, and expires at max-age plus a tenth."""
        one = advertisement(max_age=100)
        self.receive(one)
        self.now += 79.9
        self.assertEqual(self.table.expire(self.now), [])
        self.now += 0.1
        self.assertEqual(self.table.next_due, self.now)
        self.assertEqual(self.table.expire(self.now), [SearchNeeded(one, 30, ("10.0.0.5",), scheduled=True)])
        self.assertEqual(self.wait(1000), [(30, Left(one, "expired"))])
        self.assertEqual((len(self.table), self.table.tracked, self.table.next_due), (0, 0, math.inf))
        self.assertEqual(self.searched, [])

    def test_repeated_searches(self) -> None:
        """A device that has replied to a search is searched for repeatedly before its service expires."""
        self.receive(advertisement(max_age=100), channel=Channel.SEARCH)
        self.assertEqual(self.wait(1000), [(110, Left(advertisement(max_age=100), "expired"))])
        self.assertEqual([at for at, _ in self.searched], [80, 86, 92, 98, 104])

    def test_repeated_searches_of_a_short_lifetime(self) -> None:
        """Searches are repeated after 3 s or more, and not if a reply would come too late."""
        for max_age, times in {20: [16, 19], 30: [24, 27, 30], 5: [4]}.items():
            self.setUp()
            self.receive(advertisement(max_age=max_age), channel=Channel.HOST)
            self.assertEqual(len(self.wait(1000)), 1)
            self.assertEqual([at for at, _ in self.searched], times)

    def test_kind_of_a_repeated_search(self) -> None:
        """A repeated search is marked, so that it has a budget. The first one is not."""
        self.receive(advertisement(max_age=100), channel=Channel.SEARCH)
        repeated = []
        for _ in range(2):
            self.now = self.table.next_due
            repeated += [event.repeated for event in self.table.expire(self.now) if isinstance(event, SearchNeeded)]
        self.assertEqual(repeated, [False, True])

    def test_reply_to_a_repeated_search(self) -> None:
        """A reply ends the repetitions. They begin again in the next lifetime."""
        self.receive(advertisement(max_age=100), channel=Channel.SEARCH)
        self.wait(87)
        self.receive(advertisement(max_age=100), channel=Channel.HOST)
        self.assertEqual(self.wait(87), [])
        self.assertEqual([at for at, _ in self.searched], [80, 86, 167, 173])

    def test_short_lifetime(self) -> None:
        """The search before the expiry of a short-lived service waits at least a search round for replies."""
        self.receive(advertisement(max_age=4))
        self.now += 3.2
        (event,) = self.table.expire(self.now)
        assert isinstance(event, SearchNeeded)
        self.assertEqual(event.within, 3)

    def test_grace(self) -> None:
        """The grace is a tenth of max-age, at least 1 s and at most 60 s."""
        for max_age, lifetime in {4: 5, 10: 11, 100: 110, 600: 660, 1800: 1860, 86400: 86460}.items():
            self.assertEqual(advertisement(max_age=max_age).lifetime, lifetime)

    def test_renewal(self) -> None:
        """The lifetime starts again with each advertisement and each reply, and has the length of its max-age."""
        self.receive(advertisement(max_age=100))
        self.wait(79)
        self.receive(advertisement(max_age=100))
        self.wait(79)
        self.receive(advertisement(max_age=10), channel=Channel.SEARCH)
        self.assertEqual(self.wait(1000), [(11, Left(advertisement(max_age=100), "expired"))])
        self.assertEqual([at for at, _ in self.searched], [166])

    def test_renewal_after_the_search(self) -> None:
        """A service that is received after the search has its full lifetime, with another search before its end."""
        self.receive(advertisement(max_age=100))
        self.wait(90)
        self.receive(advertisement(max_age=100))
        self.assertEqual(self.wait(1000), [(110, Left(advertisement(max_age=100), "expired"))])
        self.assertEqual([at for at, _ in self.searched], [80, 170])

    def test_repeated_objects(self) -> None:
        """A datagram that is repeated as the same objects has the effect of a renewal by equal objects."""
        one, reception = advertisement(max_age=100), Reception("10.0.0.5", "eth0")
        for _ in range(3):
            self.table.observe(one, reception, self.now)
            self.wait(85)
        self.table.observe(one, reception, self.now)
        self.assertEqual([at for at, _ in self.searched], [80, 165, 250])
        self.assertEqual(self.wait(1000), [(110, Left(one, "expired"))])

    def test_repeated_objects_after_a_hold(self) -> None:
        """A device that is received again after its expiry was held is searched for, and expires, in time."""
        one, reception = advertisement(max_age=10), Reception("10.0.0.5", "eth0")
        for _ in range(2):
            self.table.observe(one, reception, self.now)
        self.table.hold(self.now + 100)
        self.assertEqual(self.wait(12), [])
        self.table.hold(self.now)
        self.table.observe(one, reception, self.now)
        self.assertEqual(self.wait(100), [(11, Left(one, "expired"))])
        self.assertEqual([at for at, _ in self.searched], [8, 20])

    def test_repeated_objects_after_a_byebye(self) -> None:
        """A datagram that is repeated as the same objects voids a byebye, and ends a contest."""
        one, reception = advertisement(), Reception("10.0.0.5", "eth0")
        for _ in range(3):
            self.table.observe(one, reception, self.now)
        self.bye()
        self.now += 1
        self.table.observe(one, reception, self.now)
        self.assertEqual(self.wait(10), [])
        self.table.observe(one, reception, self.now)
        self.bye("10.0.0.66")
        self.table.observe(one, reception, self.now)
        self.searched.clear()
        self.assertEqual((self.wait(100), self.searched), ([], []))

    def test_case_of_device_ids(self) -> None:
        """Device IDs are compared case-insensitively."""
        self.receive(advertisement(device_id="abc-D"))
        self.assertEqual(self.receive(advertisement(device_id="ABC-d")), [])
        self.bye(device_id="aBc-D")
        self.assertEqual(len(self.wait(3)), 1)

    def test_identity(self) -> None:
        """Two devices with the same type, and two types of one device, are different services."""
        for one in (advertisement(), advertisement(device_id="E"), advertisement(urn=OTHER_URN)):
            self.assertEqual(self.receive(one), [Appeared(one)])
        self.assertEqual((len(self.table), self.table.tracked), (3, 3))

    def test_limits(self) -> None:
        """The number of services is limited, in all and for each sender. Known services are still renewed."""
        self.table = AdvertisementTable(limit=3, limit_per_sender=2)
        for device_id in "DE":
            self.receive(advertisement(device_id=device_id))
        with self.assertRaises(RejectedError) as caught:
            self.receive(advertisement(device_id="F"))
        self.assertEqual(caught.exception.reason, "too many services of one sender")
        other = advertisement("10.0.0.6", device_id="F")
        self.receive(other)
        with self.assertRaises(RejectedError) as caught:
            self.receive(advertisement("10.0.0.7", device_id="G"))
        self.assertEqual(caught.exception.reason, "too many services")
        self.assertEqual(self.receive(other), [])
        self.wait(2000)
        self.assertEqual(self.receive(advertisement(device_id="F")), [Appeared(advertisement(device_id="F"))])

    def test_live_services(self) -> None:
        """The iteration yields the live services with their times and their standing."""
        self.receive(advertisement(max_age=100))
        self.wait(50)
        self.receive(advertisement(max_age=100), channel=Channel.HOST)
        (live,) = self.table
        self.assertEqual(
            (live.sender, live.appeared_at, live.received_at, live.expires_at, live.standing),
            ("10.0.0.5", 1000, 1050, 1160, Standing.CONFIRMED),
        )

    def test_limited_number_of_decisions(self) -> None:
        """A call decides about a limited number of services. The others stay due."""
        for number in range(10):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
        self.now += 1500
        self.assertEqual([len(self.table.expire(self.now, limit=4)) for _ in range(4)], [4, 4, 2, 0])


class RepeatedSearchTests(TableTestCase):
    """Tests for the second search for a silent device."""

    def test_time_for_a_reply(self) -> None:
        """A search is repeated if the device has a second to reply before its service expires."""
        for max_age, times in ((15, [12.0, 15.0]), (14, [11.2, 14.2]), (12, [9.6]), (10, [8.0])):
            self.setUp()
            self.receive(advertisement(max_age=max_age), channel=Channel.HOST)
            self.wait(60)
            self.assertEqual([time for time, _ in self.searched], times)


class ByeByeTests(TableTestCase):
    """Departure of services by byebye."""

    def test_delay(self) -> None:
        """A byebye takes effect after 2 s. Repetitions neither delay it nor cause another search."""
        self.receive(advertisement())
        self.bye()
        self.now += 0.5
        self.bye()
        self.assertEqual(self.wait(10), [(1.5, Left(advertisement(), "byebye"))])
        self.assertEqual(self.searched, [(0, ("10.0.0.5",))])

    def test_search(self) -> None:
        """The search at a byebye wants its replies within the delay, and counts against the budget."""
        self.receive(advertisement())
        self.assertEqual(
            self.table.bye("D", URN, "10.0.0.5", self.now),
            [SearchNeeded(advertisement(), 2, ("10.0.0.5",), urgency=SearchUrgency.BYEBYE)],
        )

    def test_byebye_waits_for_its_search(self) -> None:
        """A byebye takes effect 2 s after its search was sent, and never later than 5 s after the byebye."""
        for seconds, leaves_at in ((0, 2), (1, 3), (2.5, 4.5), (4.5, 5), (1000, 5)):
            self.setUp()
            self.searching = False
            self.receive(advertisement())
            self.bye()
            before = min(seconds, 4.9)
            self.assertEqual(self.wait(before), [])
            if seconds < 5:
                self.table.search_sent(URN, self.now)
            left = round(leaves_at - before, 6)
            self.assertEqual(self.wait(20), [(left, Left(advertisement(), "byebye"))], seconds)

    def test_byebye_then_alive(self) -> None:
        """An alive within 2 s of a byebye keeps the service: devices send both when they start."""
        self.receive(advertisement())
        self.bye()
        self.now += 1.5
        self.assertEqual(self.receive(advertisement()), [])
        self.assertEqual(self.wait(100), [])

    def test_changed_server(self) -> None:
        """Another SERVER field is an event only after a restart of the device."""
        self.receive(advertisement(server="old"))
        self.assertEqual(self.receive(advertisement(server="new")), [])
        self.bye()
        self.assertEqual(self.receive(advertisement(server="new")), [Changed(advertisement(server="new"))])

    def test_byebye_then_another_location(self) -> None:
        """A service that is announced at another address after a byebye is there after the delay."""
        self.receive(advertisement())
        self.bye()
        moved = advertisement("10.0.0.6")
        self.assertEqual(self.receive(moved), [])
        self.assertEqual(self.wait(5), [(2, Changed(moved))])

    def test_another_location_then_byebye(self) -> None:
        """A claim that was not received since the byebye, or is indirect, does not take over without a reply."""
        self.receive(advertisement())
        self.receive(advertisement("10.0.0.6"))
        self.wait(20)
        self.bye()
        self.receive(advertisement("10.0.0.7"), "10.0.0.66")
        self.assertEqual(self.wait(5), [(2, Left(advertisement(), "byebye"))])

    def test_byebye_then_another_location_that_replies(self) -> None:
        """A service that is announced at another address after a byebye is changed in place if that host replies."""
        self.receive(advertisement())
        moved = advertisement("10.0.0.6")
        self.reply(moved)
        self.bye()
        self.receive(moved)
        self.receive(moved, channel=Channel.HOST)
        self.assertEqual(self.wait(100), [(2, Changed(moved, Standing.CONFIRMED))])

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
        self.assertEqual(self.table.bye("D", URN, "10.0.0.5", self.now), [])
        self.receive(advertisement(urn=OTHER_URN))
        self.assertEqual(self.table.bye("D", URN, "10.0.0.5", self.now), [])
        self.assertEqual(self.table.bye("E", None, "10.0.0.5", self.now), [])
        self.assertEqual((self.wait(100), self.searched), ([], []))


class OtherSenderTests(TableTestCase):
    """Messages of another sender than the one that announced a service: they cause searches, and nothing else."""

    def setUp(self) -> None:
        super().setUp()
        self.receive(advertisement())

    def test_byebye_without_a_reply(self) -> None:
        """A byebye of another sender ends no service, even if its device has replied before and no longer does."""
        self.receive(advertisement(), channel=Channel.HOST)
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(1000), [])
        self.assertEqual([at for at, _ in self.searched], [0, 3])

    def test_byebye_of_another_sender_ends_its_claim(self) -> None:
        """A byebye of a sender with another claim ends that claim, and causes no contest."""
        self.receive(advertisement("10.0.0.6"))
        self.wait(50)
        self.searched.clear()
        self.bye("10.0.0.6")
        self.assertEqual((self.wait(100), self.searched), ([], []))
        self.bye()
        self.assertEqual(self.wait(100), [(2, Left(advertisement(), "byebye"))])

    def test_repeated_claim_is_not_owned(self) -> None:
        """A sender that repeats the advertisement of another sender cannot move the service."""
        self.receive(advertisement(), "10.0.0.66")
        self.receive(advertisement("10.0.0.66"))
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_repeated_claim_is_not_shortened(self) -> None:
        """A sender that repeats the advertisement of another sender cannot shorten its lifetime."""
        self.receive(advertisement(max_age=1), "10.0.0.66")
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(1000), [])

    def test_other_location_of_a_device_that_stopped_replying(self) -> None:
        """A device that stopped replying loses its service to a host that replies, after two rounds."""
        self.receive(advertisement(), channel=Channel.HOST)
        self.wait(100)
        moved = advertisement("10.0.0.6")
        self.reply(moved)
        self.receive(moved)
        self.assertEqual(self.wait(100), [(6, Changed(moved, Standing.CONFIRMED))])

    def test_other_location_without_any_reply(self) -> None:
        """A device at a new address, which never replies, has its service there when the old address has expired."""
        self.wait(1000)
        moved = advertisement("10.0.0.6")
        self.receive(moved)
        self.assertEqual(self.wait(900), [(860, Left(advertisement(), "expired"))])
        self.assertEqual(self.receive(moved), [Appeared(moved)])

    def test_other_location_again(self) -> None:
        """A known other LOCATION is contested again if the current one was not received for half of its max-age."""
        second = advertisement("10.0.0.6")
        self.receive(second)
        self.receive(advertisement(), channel=Channel.SEARCH)
        self.wait(900)
        self.searched.clear()
        self.receive(second)
        self.assertEqual(self.searched, [])
        self.wait(1)
        self.receive(second)
        self.assertEqual(self.searched, [(901, ("10.0.0.5", "10.0.0.6"))])

    def test_other_location_after_a_contest(self) -> None:
        """A known other LOCATION is contested again if the current one was not received since the latest contest."""
        second = advertisement("10.0.0.6")
        self.wait(10)
        self.receive(second)
        self.wait(20)
        self.searched.clear()
        self.receive(second)
        self.wait(20)
        self.assertEqual([at for at, _ in self.searched], [30, 33])
        self.receive(advertisement())
        self.searched.clear()
        self.receive(second)
        self.assertEqual(self.searched, [])

    def test_one_contest_at_a_time(self) -> None:
        """Repeated byebyes of another sender cause no search during a contest."""
        self.bye("10.0.0.66")
        for _ in range(10):
            self.now += 0.1
            self.bye("10.0.0.66")
        self.assertEqual(self.wait(8.9), [])
        self.assertEqual([at for at, _ in self.searched], [0, 3])
        self.bye("10.0.0.66")
        self.wait(0.1)
        self.bye("10.0.0.66")
        self.assertEqual([at for at, _ in self.searched], [0, 3, 10])
        self.assertEqual(self.table.contests, 2)

    def test_reply_ends_the_contest(self) -> None:
        """A reply of the home ends a contest: there is no second round."""
        self.reply(advertisement())
        self.bye("10.0.0.66")
        self.assertEqual(self.wait(20), [])
        self.assertEqual([at for at, _ in self.searched], [0])

    def test_too_many_locations(self) -> None:
        """The number of other LOCATIONs of one service is limited. A LOCATION's own host always gets a place."""
        for number in range(66, 70):
            self.receive(advertisement(f"10.0.0.{number}"), "10.0.0.90")
        for _ in range(2):
            with self.assertRaises(RejectedError) as caught:
                self.receive(advertisement("10.0.0.70"), "10.0.0.90")
            self.assertEqual(caught.exception.reason, "too many LOCATIONs of one service")
        for number in range(70, 76):
            self.receive(advertisement(f"10.0.0.{number}"))
        self.assertEqual(len(self.table.states("D", None)[0].claims), 5)
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_expired_locations_do_not_count(self) -> None:
        """Other LOCATIONs that have expired do not keep new ones out."""
        for number in range(66, 70):
            self.receive(advertisement(f"10.0.0.{number}", max_age=4))
        self.wait(5)
        self.receive(advertisement("10.0.0.70"))


class AddressTests(TableTestCase):
    """Devices with several addresses, at the same time or one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = advertisement("10.0.0.5"), advertisement("10.0.0.6")
        self.receive(self.first)

    def test_two_addresses_do_not_alternate(self) -> None:
        """The current address stays while it is received, although the other one is received and replies too."""
        for repliers in ((), (self.second,), (self.first, self.second)):
            self.setUp()
            self.wait(100)
            for _ in range(40):
                self.reply(*repliers)
                self.wait(100)
                self.assertEqual(self.receive(self.second), [])
                self.assertEqual(self.receive(self.first), [])
            self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_expiry_of_the_current_address(self) -> None:
        """The other address becomes the current one when the current one expires, if it replied to the last search."""
        self.receive(self.second)
        self.wait(1500)
        self.searching = False
        self.receive(self.second, channel=Channel.SEARCH)
        self.assertEqual(self.wait(359), [])
        self.receive(self.second, channel=Channel.SEARCH)
        self.assertEqual(self.wait(10), [(1, Changed(self.second, Standing.DIRECT))])

    def test_expiry_after_an_early_reply(self) -> None:
        """An address that did not reply to the last search does not become the current one."""
        self.receive(self.second, channel=Channel.HOST)
        for _ in range(3):
            self.wait(20)
            self.receive(self.first, channel=Channel.HOST)
        self.wait(800)
        self.receive(self.second, channel=Channel.HOST)
        self.assertEqual(self.wait(1061), [(1060, Left(self.first, "expired"))])

    def test_byebye_after_an_early_reply(self) -> None:
        """An address that did not reply to the search at a byebye does not become the current one."""
        self.receive(self.second, channel=Channel.HOST)
        self.wait(20)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.first, "byebye"))])

    def test_lifetime_after_a_change(self) -> None:
        """An address that became the current one is searched for, and expires, by its own max-age."""
        self.receive(self.first, channel=Channel.HOST)
        self.receive(self.second, channel=Channel.HOST)
        self.wait(20)
        self.reply(self.second)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(2), [(2, Changed(self.second, Standing.CONFIRMED))])
        self.repliers.clear()
        self.searched.clear()
        self.assertEqual(self.wait(4000), [(1858.5, Left(self.second, "expired"))])
        self.assertEqual([at for at, _ in self.searched], [1460.5, 1568.5, 1676.5, 1784.5])
        self.assertEqual({hosts for _, hosts in self.searched}, {("10.0.0.6",)})

    def test_superseded_location(self) -> None:
        """A LOCATION from which the service was moved does not become the current one again by a byebye."""
        moved = advertisement(port=8080)
        self.receive(self.first, channel=Channel.HOST)
        self.now += 1000
        self.receive(moved)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(moved, "byebye"))])

    def test_superseded_location_of_another_owner(self) -> None:
        """A LOCATION that its sender moved away from inherits nothing, although its host replied once."""
        self.table = AdvertisementTable()
        self.receive(self.first, "10.0.0.9")
        self.receive(self.second, "10.0.0.9")
        self.assertEqual(self.hosts(), ["10.0.0.6"])
        self.bye("10.0.0.9")
        self.assertEqual(self.wait(10), [(2, Left(self.second, "byebye"))])

    def test_no_expired_candidate(self) -> None:
        """An expired address does not become the current one, although its host replied."""
        self.receive(replace(self.second, max_age=4), channel=Channel.HOST)
        self.wait(6)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.first, "byebye"))])

    def test_home_is_preferred(self) -> None:
        """Of two other addresses that replied, the home becomes the current one."""
        third = advertisement("10.0.0.7")
        self.wait(500)
        self.reply(self.second)
        self.receive(self.second)
        self.wait(20)
        self.assertEqual(self.hosts(), ["10.0.0.6"])
        self.repliers.clear()
        self.receive(self.first, channel=Channel.HOST)
        self.receive(third, channel=Channel.HOST)
        self.wait(1)
        self.reply(self.first, third)
        self.bye("10.0.0.6")
        self.wait(5)
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_byebye_of_the_other_address(self) -> None:
        """A byebye from an address that is not the current one causes no event."""
        self.receive(self.second, channel=Channel.HOST)
        self.assertEqual(self.bye("10.0.0.6"), [])
        self.assertEqual(self.wait(100), [])
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(100), [(2, Left(self.first, "byebye"))])

    def test_byebye_of_all_addresses(self) -> None:
        """A byebye ends all claims of its sender."""
        self.receive(self.second, "10.0.0.5", channel=Channel.HOST)
        self.bye("10.0.0.5")
        self.assertEqual(self.wait(10), [(2, Left(self.first, "byebye"))])

    def test_same_location_from_another_sender(self) -> None:
        """The same LOCATION from another sender is the same claim: it neither prolongs nor contests it."""
        self.now += 1000
        self.assertEqual(self.receive(self.first, "10.0.0.7"), [])
        (live,) = self.table
        self.assertEqual((live.sender, live.expires_at), ("10.0.0.5", 2860))
        self.assertEqual(self.searched, [])

    def test_facts_of_another_sender(self) -> None:
        """The facts of the first announcement, of another host, give way to those of the LOCATION's host."""
        forged, own = (advertisement(device_id="E", server=server) for server in ("Evil/1.0", "Own/1.0"))
        self.receive(forged, "10.0.0.66")
        self.assertEqual(self.receive(own, "10.0.0.5"), [Changed(own, Standing.DIRECT)])
        self.assertEqual(self.receive(forged, "10.0.0.66"), [])
        live = self.table.get("E", URN)
        assert live is not None
        self.assertEqual((live.advertisement.server, live.sender), ("Own/1.0", "10.0.0.5"))


class AdoptTests(TableTestCase):
    """Services that an earlier run registered."""

    def test_lifetime(self) -> None:
        """An adopted service has its full lifetime, and at least a minute, to be received."""
        for max_age, lifetime in {4: 60, 60: 66, 1800: 1860}.items():
            adopted = advertisement(max_age=max_age)
            self.assertEqual(self.table.adopt(adopted, self.now), [Appeared(adopted, Standing.INDIRECT)])
            self.assertEqual(self.wait(4000), [(lifetime, Left(adopted, "expired"))])

    def test_remaining_lifetime(self) -> None:
        """An adopted service whose remaining lifetime is known expires at its end."""
        self.table.adopt(advertisement(), self.now, 12.5)
        self.assertEqual(self.wait(4000), [(12.5, Left(advertisement(), "expired"))])
        self.table.adopt(advertisement(), self.now, -1.0)
        self.assertEqual(self.table.expire(self.now), [Left(advertisement(), "expired")])

    def test_received_again(self) -> None:
        """An adopted service that is received has the lifetime and the standing of that advertisement."""
        short = advertisement(max_age=4)
        self.table.adopt(short, self.now)
        self.assertEqual(self.receive(short), [Changed(short, Standing.DIRECT)])
        self.assertEqual(self.wait(10), [(5, Left(short, "expired"))])

    def test_standing(self) -> None:
        """An adopted service keeps its standing: its first direct reception is no change."""
        self.assertEqual(
            self.table.adopt(advertisement(), self.now, standing=Standing.DIRECT),
            [Appeared(advertisement(), Standing.DIRECT)],
        )
        self.assertEqual(self.receive(advertisement()), [])

    def test_trust(self) -> None:
        """An adopted service is live at once with the lowest standing that makes services live."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.assertEqual(self.table.adopt(advertisement(), self.now), [Appeared(advertisement(), Standing.CONFIRMED)])

    def test_moved(self) -> None:
        """The new address of an adopted service becomes the current one after two rounds without a reply."""
        moved = advertisement("10.0.0.6")
        for repliers in ((), (moved,)):
            self.setUp()
            self.reply(*repliers)
            self.table.adopt(advertisement(), self.now)
            self.receive(moved)
            ((at, event),) = self.wait(20)
            self.assertEqual((at, type(event)), (6, Changed))
            self.assertEqual(self.hosts(), ["10.0.0.6"])

    def test_adopted_host_is_the_home(self) -> None:
        """The host of an adopted service keeps it against another host that replies, if it replies as well."""
        adopted, forged = advertisement(), advertisement("10.0.0.66")
        self.table.adopt(adopted, self.now)
        self.reply(adopted, forged)
        self.receive(forged)
        self.wait(20)
        self.assertEqual(self.hosts(), ["10.0.0.5"])

    def test_adopted_service_is_not_evicted(self) -> None:
        """An adopted service is not evicted before it had the time to reply, although its standing is not known."""
        self.table = AdvertisementTable(limit=1)
        self.table.adopt(advertisement(), self.now)
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.6", device_id="E"))
        self.receive(advertisement(), on_link=False)
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.6", device_id="E"))
        self.wait(61)
        self.receive(advertisement(), on_link=False)
        self.assertIn(Left(advertisement(), "evicted"), self.receive(advertisement("10.0.0.6", device_id="E")))


class ReassignTests(TableTestCase):
    """Changes of the search terms."""

    def reassign(self, tags: dict[str, str]) -> list[Event]:
        """Replace the search terms. Return all events."""
        return list(chain.from_iterable(self.table.reassign(SearchTerms(tags).match, self.now)))

    def test_unmatched_service(self) -> None:
        """A service that no term matches any more leaves. The other services are not affected."""
        self.receive(advertisement())
        self.receive(advertisement(urn=OTHER_URN))
        self.assertEqual(self.reassign({OTHER_URN: "RackHD"}), [Left(advertisement(), "unconfigured")])
        self.assertEqual((len(self.table), self.table.tracked), (1, 1))

    def test_same_terms(self) -> None:
        """Equal search terms affect no service."""
        self.receive(advertisement())
        self.assertEqual(list(self.table.reassign(SearchTerms({URN: "RackHD"}).match, self.now)), [])

    def test_service_of_another_term(self) -> None:
        """A service that another term matches now appears with that term, and keeps its remaining lifetime."""
        self.receive(advertisement(max_age=100))
        self.wait(50)
        renamed = replace(advertisement(max_age=100), term=SearchTerm("urn:*", "All"))
        self.assertEqual(
            self.reassign({"urn:*": "All"}),
            [Left(advertisement(max_age=100), "unconfigured"), Appeared(renamed, Standing.DIRECT)],
        )
        self.assertEqual(self.wait(1000), [(60, Left(renamed, "expired"))])

    def test_two_versions_become_one_service(self) -> None:
        """Two versions that one term matches now become one service, which leaves once."""
        urn = "urn:schemas-upnp-org:service:T:"
        first, second = advertisement(urn=f"{urn}1"), advertisement(urn=f"{urn}2")
        self.receive(first)
        self.receive(second)
        self.assertEqual(self.reassign({f"{urn}1": "RackHD"}), [Left(second, "unconfigured")])
        self.assertEqual(len(self.table), 1)
        self.assertEqual(self.wait(4000)[-1], (1860, Left(first, "expired")))
        self.assertEqual((len(self.table), self.table.next_due), (0, math.inf))

    def test_one_service_at_a_time(self) -> None:
        """Services are affected one at a time, and a service that left meanwhile is not affected."""
        for number in range(3):
            self.receive(advertisement(f"10.0.1.{number}", device_id=str(number)))
        events = self.table.reassign(SearchTerms({}).match, self.now)
        self.assertEqual([type(event) for event in next(events)], [Left])
        self.assertEqual(len(self.table), 2)
        self.bye("10.0.1.1", device_id="1")
        self.wait(3)
        self.assertEqual([event.advertisement.device_id for each in events for event in each], ["2"])
        self.assertEqual((len(self.table), self.table.tracked), (0, 0))
