"""Tests for the reasons to begin a contest about a claim that is known already, and to search again."""

from __future__ import annotations

import math

from ssdpreg.discovery.advertisement import Advertisement
from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import URN, TableTestCase, advertisement

HOME, OTHER = "10.0.0.5", "10.0.0.6"


class DoubtTests(TableTestCase):
    """Tests for claims that are received again."""

    def test_higher_standing(self) -> None:
        """A contest begins when the host of another claim announces it, while the current one has a lower standing."""
        self.receive(advertisement(HOME), "10.0.0.70")
        self.wait(1)
        self.receive(advertisement(OTHER), "10.0.0.71")
        self.wait(19)
        self.assertEqual((self.table.contests, self.hosts()), (1, [HOME]))
        self.receive(advertisement(HOME), "10.0.0.70")
        self.wait(1)
        self.receive(advertisement(OTHER))
        self.assertEqual(self.table.contests, 2)
        self.wait(10)
        self.assertEqual(self.hosts(), [OTHER])

    def test_silence_since_the_contest(self) -> None:
        """A contest begins when another claim is received, while the current one was not received since the latest."""
        self.receive(advertisement(HOME))
        for pause, contests in ((1, 1), (4, 1), (6.5, 2)):
            self.wait(pause)
            self.receive(advertisement(OTHER))
            self.assertEqual(self.table.contests, contests)

    def test_no_silence_since_the_contest(self) -> None:
        """No contest begins when the current claim was received since the latest one."""
        self.receive(advertisement(HOME))
        self.wait(1)
        self.receive(advertisement(OTHER))
        self.wait(10)
        self.receive(advertisement(HOME))
        for pause in (1, 20, 20):
            self.wait(pause)
            self.receive(advertisement(OTHER))
            self.receive(advertisement(HOME))
            self.assertEqual(self.table.contests, 1)

    def test_two_locations_of_one_sender(self) -> None:
        """A device that goes on announcing two LOCATIONs causes one contest, and not one for each announcement."""
        for _ in range(20):
            for port in (80, 81):
                self.receive(advertisement(HOME, port=port))
                self.wait(15)
        self.assertEqual((self.table.contests, len(self.table)), (1, 1))

    def test_more_addresses_than_claims(self) -> None:
        """A device that replies from more addresses than claims are kept causes no contest by its replies to one."""
        hosts = [advertisement(f"10.0.0.{number}") for number in range(10, 16)]
        self.reply(*hosts)
        for each in hosts:
            self.receive(each)
        self.wait(60)
        contests = self.table.contests
        self.wait(600)
        self.assertEqual((self.table.contests - contests, self.hosts()), (0, ["10.0.0.10"]))
        # A reply to another search, without a contest before, is a reason.
        for each in hosts:
            self.receive(each, channel=Channel.SEARCH)
        self.wait(600)
        self.assertEqual((self.table.contests - contests, self.hosts()), (1, ["10.0.0.10"]))


class GoneHostTests(TableTestCase):
    """
    Tests for a current host that has ceased to reply a moment ago.

    :ivar moved: Advertisement of the device at its new address.
    """

    moved: Advertisement

    def hold(self, seconds: float) -> None:
        """Let another host take a service, and hold it for some time. Both hosts reply and announce themselves."""
        home, other = advertisement(HOME), advertisement(OTHER, 86400)
        self.reply(other)
        self.receive(other)
        self.wait(seconds)
        self.reply(home)
        self.receive(home)
        self.wait(100)
        self.assertEqual(self.hosts(), [OTHER])
        self.receive(other)
        self.wait(1)
        self.searched.clear()

    def test_silent_host(self) -> None:
        """A device that replies has the service back after its next announcement, however lately the other replied."""
        self.hold(3600)
        del self.repliers[OTHER]
        self.receive(advertisement(HOME))
        self.wait(15)
        self.assertEqual(self.hosts(), [HOME])
        # One host alone, then the contest.
        self.assertEqual([hosts for _, hosts in self.searched], [(OTHER,), (OTHER, HOME), (OTHER, HOME)])

    def test_host_that_replies(self) -> None:
        """A host that is still there keeps the service, and is searched alone, once in 20 s."""
        self.hold(3600)
        for _ in range(40):
            self.receive(advertisement(HOME))
            self.wait(1)
        self.assertEqual((self.hosts(), self.table.contests), ([OTHER], 1))
        self.assertEqual({hosts for _, hosts in self.searched}, {(OTHER,)})
        self.assertLessEqual(len(self.searched), 3)

    def move(self) -> None:
        """Let a device move to a new address, while another host claims its service and replies to searches."""
        self.moved, other = advertisement("10.0.0.7"), advertisement(OTHER, 86400)
        for _ in range(4):
            self.receive(advertisement(HOME))
            self.wait(900)
        self.reply(other)
        self.receive(other)
        self.wait(10)
        self.assertEqual(self.hosts(), [OTHER])
        self.reply(self.moved)
        self.receive(self.moved)
        self.wait(70)
        self.assertEqual(self.hosts(), [OTHER])
        self.receive(other)
        self.wait(15)

    def test_device_that_has_moved(self) -> None:
        """A device that has moved has its service at its next announcement, if the other host is silent by then."""
        for channel in (Channel.GROUP, Channel.SEARCH):
            self.setUp()
            self.move()
            del self.repliers[OTHER]
            self.receive(self.moved, channel=channel)
            self.wait(60)
            self.assertEqual(self.hosts(), ["10.0.0.7"])

    def test_silence_during_a_contest(self) -> None:
        """So it has if the other host has replied in the contest during which the device announces itself."""
        self.move()
        self.receive(advertisement("10.0.0.8"))
        self.wait(4.5)
        del self.repliers[OTHER]
        self.receive(self.moved)
        self.wait(60)
        self.assertEqual(self.hosts(), ["10.0.0.7"])


class ContestMessageTests(TableTestCase):
    """Tests for messages of a known claim, which is not that of the home, during a contest."""

    def deferred_at(self, channel: Channel) -> float:
        """Receive a known claim in a contest about a third one, and return when the next contest has its reason."""
        known = advertisement("10.0.0.7")
        self.receive(known)
        self.wait(20)
        self.receive(advertisement("10.0.0.8"))
        self.wait(1)
        self.receive(known, channel=channel)
        [service] = self.table._services
        self.assertIsNotNone(service.contest)
        return service.deferred_at

    def test_holder_that_is_not_the_home(self) -> None:
        """An announcement is a reason for another contest if the holder is not the home. A reply is none."""
        for channel, expected in ((Channel.GROUP, 931.0), (Channel.SEARCH, math.inf)):
            self.setUp()
            self.receive(advertisement(HOME))
            self.wait(900)
            self.reply(advertisement(OTHER, 86400))
            self.receive(advertisement(OTHER, 86400))
            self.wait(10)
            self.assertEqual(self.hosts(), [OTHER])
            self.assertEqual(self.deferred_at(channel) - self.start, expected)

    def test_home(self) -> None:
        """Neither is a reason while the home has the service."""
        for channel in (Channel.GROUP, Channel.SEARCH):
            self.setUp()
            self.receive(advertisement(HOME))
            self.wait(1)
            self.assertEqual(self.deferred_at(channel), math.inf)


class WaitingContestTests(TableTestCase):
    """Tests for a contest whose search has not been sent yet."""

    def observe(self, host: str) -> list[SearchNeeded]:
        """Receive an announcement, and return the searches that it needs."""
        events = self.table.observe(advertisement(host), Reception(host, "eth0"), self.now)
        return [event for event in events if isinstance(event, SearchNeeded)]

    def test_new_claim(self) -> None:
        """A new claim makes the search more urgent, once. A claim that is repeated does not request it again."""
        self.observe(HOME)
        [waiting] = self.table.bye("D", URN, "10.0.0.70", self.now)
        assert isinstance(waiting, SearchNeeded)
        self.assertIs(waiting.urgency, SearchUrgency.UNFOUNDED)
        [search] = self.observe(OTHER)
        self.assertEqual((search.urgency, search.hosts), (SearchUrgency.CLAIM, (HOME, OTHER)))
        self.now += 1
        self.assertEqual(self.observe(OTHER), [])
        self.table.search_sent(search.advertisement.search_target, self.now)
        self.assertEqual(self.observe("10.0.0.7"), [])


class SecondRoundTests(TableTestCase):
    """Tests for the second round of a contest, and for a move that waits."""

    def second_search(self) -> SearchNeeded:
        """Let the first round pass without a reply, and return the search of the second one."""
        self.now += 3
        [search] = self.table.expire(self.now)
        assert isinstance(search, SearchNeeded)
        return search

    def test_urgency(self) -> None:
        """The search of the second round is as urgent as that of the first one."""
        for sender, urgency in (("", SearchUrgency.CLAIM), ("10.0.0.70", SearchUrgency.UNFOUNDED)):
            self.setUp()
            self.receive(advertisement(HOME))
            self.now += 1
            if sender:
                self.bye(sender)
            else:
                self.receive(advertisement(OTHER))
            self.assertIs(self.second_search().urgency, urgency)

    def test_move_to_an_expired_claim(self) -> None:
        """A service does not move to a claim that expires at the moment of the move."""
        for max_age, port in ((5, 81), (6, 82)):
            self.setUp()
            self.receive(advertisement(HOME))
            self.now += 1
            self.receive(advertisement(HOME, port=81))
            self.now += 4
            self.receive(advertisement(HOME, port=82, max_age=max_age))
            self.now += 6
            self.table.expire(self.now)
            self.assertEqual([live.advertisement.endpoint.port for live in self.table], [port])


class MoveDuringContestTests(TableTestCase):
    """Tests for a device that moves again while its first move is being decided."""

    def test_second_move(self) -> None:
        """The service is at the latest address 10 s after the first move, as soon as the budget for moves permits."""
        first, second, third = (advertisement(host) for host in ("10.0.0.5", "10.0.0.6", "10.0.0.7"))
        self.receive(first)
        self.wait(700)
        self.reply(second)
        self.receive(second)
        self.wait(4)
        del self.repliers["10.0.0.6"]
        self.reply(third)
        self.receive(third)
        self.wait(2.1)
        self.assertEqual(self.hosts(), ["10.0.0.6"])
        self.wait(14)
        self.assertEqual(self.hosts(), ["10.0.0.7"])
