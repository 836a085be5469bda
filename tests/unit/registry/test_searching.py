"""Tests for :mod:`ssdpreg.registry.searching`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.events import SearchNeeded, SearchUrgency
from ssdpreg.discovery.search_terms import SearchTerm
from ssdpreg.registry.searching import NeededSearches
from ssdpreg.ssdp.search_scheduler import SearchScheduler
from tests.support.memory_network import MemoryNetwork
from tests.support.table_case import advertisement

_URGENCIES = (SearchUrgency.BYEBYE, SearchUrgency.CLAIM, SearchUrgency.UNFOUNDED)


class NeededSearchesTests(SynchronousTestCase):
    """Tests for :class:`NeededSearches`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 12345.5
        self.network = MemoryNetwork(lambda *_: None, lambda *_: None)
        self.network.refresh()
        self.scheduler = SearchScheduler(self.clock, self.network.search, 3, Random(1))
        self.searches = NeededSearches(self.clock, self.scheduler, self.network, random=Random(1))

    def request(
        self,
        target: object,
        within: float = 3.0,
        hosts: tuple[str, ...] = ("10.0.0.5",),
        urgency: SearchUrgency = SearchUrgency.CLAIM,
        *,
        scheduled: bool = False,
        repeated: bool = False,
    ) -> None:
        """Request a search for a type."""
        found = advertisement(urn=f"urn:{target}")
        event = SearchNeeded(found, within, hosts, scheduled=scheduled, repeated=repeated, urgency=urgency)
        self.searches.request(event)

    def sent(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the searches of single hosts that were sent since the last call."""
        sent, self.network.host_searches = self.network.host_searches, []
        return sent

    def use_up(self) -> None:
        """Use up the burst of the budget."""
        for number in range(32):
            self.request(f"burst-{number}")
        self.sent()

    def test_at_once(self) -> None:
        """A search is sent at once to single hosts, and to the group a moment later."""
        self.request("a")
        self.assertEqual(self.sent(), [("urn:a", ("10.0.0.5",))])
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(self.network.take_searches(), [("urn:a", 1)])

    def test_time_for_replies(self) -> None:
        """The time for replies determines the MX of the search of the group."""
        self.request("a", within=100)
        self.clock.pump([0.2, 0])
        self.assertEqual(self.network.take_searches(), [("urn:a", 3)])

    def test_without_hosts(self) -> None:
        """A search without hosts is sent to the group only."""
        self.request("a", hosts=())
        self.clock.pump([0.2, 0])
        self.assertEqual((self.sent(), self.network.take_searches()), ([], [("urn:a", 1)]))

    def test_target_of_a_pattern(self) -> None:
        """A service of a pattern is searched for by its own type."""
        one = advertisement(urn="urn:x:1")
        pattern = replace(one, term=SearchTerm("urn:*", "T"))
        self.searches.request(SearchNeeded(pattern, 3.0, ("10.0.0.5",)))
        self.assertEqual(self.sent(), [("urn:x:1", ("10.0.0.5",))])

    def test_budget(self) -> None:
        """Searches that datagrams cause are sent in a burst of 32, then one a second."""
        for number in range(32):
            self.request(number)
        self.assertEqual(len(self.sent()), 32)
        counts = []
        for _ in range(10):
            for number in range(5):
                self.request(number)
            self.clock.advance(1)
            counts.append(len(self.sent()))
        self.assertEqual(counts, [1] * 10)

    def test_average(self) -> None:
        """However many searches are needed, there is one a second on average."""
        for number in range(6000):
            self.request(number % 200)
            self.clock.advance(0.1)
        self.assertLessEqual(len(self.sent()), 632)
        self.assertGreaterEqual(len(self.network.take_searches()), 100)

    def test_order(self) -> None:
        """Searches that wait are sent in the order of their requests."""
        self.use_up()
        for name in "abc":
            self.request(name)
        self.clock.pump([1, 1, 1, 0.5])
        self.assertEqual([target for target, _ in self.sent()], ["urn:a", "urn:b", "urn:c"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)

    def test_urgency(self) -> None:
        """Of the searches that wait, the most urgent ones are sent first."""
        self.use_up()
        for name, urgency in (("a", SearchUrgency.UNFOUNDED), ("b", SearchUrgency.CLAIM), ("c", SearchUrgency.BYEBYE)):
            self.request(name, urgency=urgency)
        self.sent()
        self.clock.pump([1] * 20)
        self.assertEqual([target for target, _ in self.sent()], ["urn:c", "urn:b", "urn:a"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)

    def test_byebyes_without_end(self) -> None:
        """However many searches after byebyes wait, every other one that is sent is about a claim."""
        self.use_up()
        for number in range(7):
            self.request(f"bye-{number}", urgency=SearchUrgency.BYEBYE)
            self.request(f"claim-{number}")
        self.sent()
        self.clock.pump([1] * 10)
        targets = [target for target, _ in self.sent()]
        self.assertEqual(targets[:4], ["urn:bye-0", "urn:claim-0", "urn:bye-1", "urn:claim-1"])

    def test_byebye_without_budget(self) -> None:
        """After a byebye the host is searched at once. The search of the group waits for its turn."""
        targets: list[str] = []
        self.searches = NeededSearches(self.clock, self.scheduler, self.network, targets.append)
        self.use_up()
        targets.clear()
        for number in range(100):
            self.request(f"claim-{number}")
        self.request("bye", urgency=SearchUrgency.BYEBYE)
        self.assertEqual((self.sent(), targets), ([("urn:bye", ("10.0.0.5",))], []))
        self.clock.advance(1)
        self.assertEqual((self.sent(), targets), ([("urn:bye", ("10.0.0.5",))], ["urn:bye"]))

    def test_byebye_while_too_many_wait(self) -> None:
        """After a byebye the host is searched, also if too many targets wait for a search of the group."""
        self.use_up()
        for number in range(80):
            self.request(f"{number}", hosts=(f"10.0.1.{number}",), urgency=SearchUrgency.BYEBYE)
        self.assertEqual(self.sent(), [(f"urn:{number}", (f"10.0.1.{number}",)) for number in range(80)])

    def test_limit_of_byebyes(self) -> None:
        """After byebyes, 100 single hosts are searched at once, each 16 times, then 20 in a second, each once."""
        self.use_up()
        for _ in range(30):
            self.request("a", hosts=("10.0.0.5",), urgency=SearchUrgency.BYEBYE)
        self.assertEqual(len(self.sent()), 16)
        for number in range(200):
            self.request("a", hosts=(f"10.0.1.{number}",), urgency=SearchUrgency.BYEBYE)
        self.assertEqual(len(self.sent()), 84)
        self.clock.advance(1)
        self.sent()
        self.use_up()
        for number in range(200):
            self.request("a", hosts=("10.0.0.5", f"10.0.2.{number}"), urgency=SearchUrgency.BYEBYE)
        sent = [host for _, hosts in self.sent() for host in hosts]
        self.assertEqual((len(sent), sent.count("10.0.0.5")), (20, 1))

    def test_reserve(self) -> None:
        """Searches after unfounded byebyes leave a reserve of 16 for the others."""
        for number in range(20):
            self.request(number, urgency=SearchUrgency.UNFOUNDED)
        self.assertEqual(len(self.sent()), 16)
        for number in range(40):
            self.request(f"claim-{number}")
        self.assertEqual(len(self.sent()), 16)

    def test_sent(self) -> None:
        """Each search is reported when it is sent, not when it is requested."""
        targets: list[str] = []
        self.searches = NeededSearches(self.clock, self.scheduler, self.network, targets.append)
        for number in range(33):
            self.request(number)
        self.assertEqual(targets, [f"urn:{number}" for number in range(32)])
        self.clock.advance(1)
        self.assertEqual(targets[32:], ["urn:32"])

    def test_scheduled_search(self) -> None:
        """A scheduled search comes before others that wait. The table does not wait for it."""
        targets: list[str] = []
        self.searches = NeededSearches(self.clock, self.scheduler, self.network, targets.append)
        self.use_up()
        targets.clear()
        for number in range(10):
            self.request(f"claim-{number}")
        self.request("a", scheduled=True)
        self.clock.advance(1)
        self.assertEqual((self.sent(), targets), ([("urn:a", ("10.0.0.5",))], []))

    def test_total(self) -> None:
        """All searches of the group together are one a second on average. Scheduled ones are at least every other."""
        self.use_up()
        for step in range(6000):
            self.request(f"{step % 300}", 1.2, scheduled=True)
            self.request(f"claim-{step % 50}")
            self.request(f"new-{step % 50}", urgency=SearchUrgency.NEW)
            self.request(f"unfounded-{step % 50}", urgency=SearchUrgency.UNFOUNDED)
            self.clock.advance(0.1)
        sent = [target for target, _ in self.sent()]
        self.assertIn(len(sent), range(595, 605))
        counts = self.searches.sent_by_cause
        self.assertIn(counts["silence"], range(295, 320))
        self.assertEqual((sent.count("ssdp:all"), counts["unfounded"], counts["host"]), (len(sent), 0, 0))
        self.assertLessEqual(abs(counts["claim"] - 32 - counts["new"]), 1)
        self.assertEqual(counts["claim"] + counts["new"] + counts["silence"], 32 + len(sent))

    def test_short_max_age(self) -> None:
        """A silent device is searched for within 2 s, while other hosts cause searches of all kinds."""
        self.use_up()
        for _ in range(100):
            for number in range(70):
                self.request(f"{number}", 1.2, (f"10.1.0.{number}",), scheduled=True)
                self.request(f"claim-{number}")
            self.sent()
            self.request("honest", 1.8, scheduled=True)
            self.clock.pump([1, 1])
            self.assertIn("ssdp:all", [target for target, _ in self.sent()])

    def test_hosts_only(self) -> None:
        """A host that replied to a search of the group is searched at once, and the group is not."""
        self.use_up()
        self.clock.pump([0.2] * 30)
        self.network.take_searches()
        for number in range(100):
            self.request(f"claim-{number}")
        self.sent()
        event = SearchNeeded(advertisement(), 3.0, ("10.0.0.5",), is_tracked=False, hosts_only=True)
        self.searches.request(event)
        self.assertEqual(self.sent(), [(event.advertisement.search_target, ("10.0.0.5",))])
        self.assertEqual((self.searches.sent_by_cause["host"], self.network.take_searches()), (1, []))

    def test_hosts_of_new_claims(self) -> None:
        """A search about new claims is sent to at most 20 hosts."""
        self.use_up()
        for number in range(100):
            self.request("a", hosts=(f"10.0.0.{number}",), urgency=SearchUrgency.NEW)
        self.clock.advance(1)
        ((_, hosts),) = self.sent()
        self.assertEqual((len(hosts), self.searches.rejected), (20, 80))

    def test_obsolete_searches(self) -> None:
        """A search that no service waits for any more is not sent, and uses neither the budget nor a place."""
        awaited: set[str] = set()
        self.searches = NeededSearches(
            self.clock, self.scheduler, self.network, awaited=lambda target: target in awaited
        )
        awaited.update(f"urn:burst-{number}" for number in range(32))
        self.use_up()
        awaited.update(f"urn:{number}" for number in range(64))
        for number in range(64):
            self.request(number)
        awaited.clear()
        awaited.add("urn:honest")
        self.request("honest")
        self.assertEqual(self.searches.rejected, 0)
        self.clock.advance(1)
        self.assertEqual(self.sent(), [("urn:honest", ("10.0.0.5",))])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_service_that_is_not_tracked(self) -> None:
        """A search for a service that is not in the table is sent, although no service waits for it."""
        self.searches = NeededSearches(self.clock, self.scheduler, self.network, awaited=lambda target: False)
        self.searches.request(SearchNeeded(advertisement(), 3.0, ("10.0.0.5",), is_tracked=False))
        self.searches.request(SearchNeeded(advertisement(), 3.0, ("10.0.0.6",)))
        self.assertEqual([hosts for _, hosts in self.sent()], [("10.0.0.5",)])

    def test_merged_with_less_urgent_ones(self) -> None:
        """One search of a target decides about its services of every urgency: all of their hosts are searched."""
        self.use_up()
        for host, urgency in zip(("10.0.0.5", "10.0.0.6", "10.0.0.7"), reversed(_URGENCIES), strict=True):
            self.request("a", hosts=(host,), urgency=urgency)
        self.sent()
        self.clock.pump([1] * 20)
        self.assertEqual(self.sent(), [("urn:a", ("10.0.0.7", "10.0.0.6", "10.0.0.5"))])

    def test_repeated_search(self) -> None:
        """A repeated search is sent to the host at once, and to the group while the budget has more than a reserve."""
        for number in range(14):
            self.request(f"burst-{number}")
        self.clock.pump([0.2, *[0.2] * 20])
        self.clock.rightNow -= 4
        self.network.take_searches()
        self.sent()
        for number in range(4):
            self.request(number, scheduled=True, repeated=True)
        self.assertEqual([target for target, _ in self.sent()], [f"urn:{number}" for number in range(4)])
        self.clock.pump([0.2, *[0.2] * 10])
        self.assertEqual([target for target, _ in self.network.take_searches()], ["urn:0", "urn:1"])

    def test_limit_of_repeated_searches(self) -> None:
        """At most 200 repeated searches are sent at once, and 20 in a second later. They do not delay others."""
        for number in range(300):
            self.request(number, scheduled=True, repeated=True)
        self.assertEqual(len(self.sent()), 200)
        self.assertEqual(self.searches.rejected, 100)
        self.request("claim")
        self.assertEqual(len(self.sent()), 1)
        self.clock.advance(1)
        for number in range(300):
            self.request(number, scheduled=True, repeated=True)
        self.assertEqual(len(self.sent()), 20)

    def test_merged(self) -> None:
        """Searches for one target that wait are one search of all hosts, each once, with the shortest time."""
        self.use_up()
        self.clock.advance(0.2)
        self.clock.pump([0.1] * 7)
        self.network.take_searches()
        for host, within in (("10.0.0.5", 20.0), ("10.0.0.6", 4.0), ("10.0.0.5", 20.0)):
            self.request("a", within, (host,))
        self.clock.advance(1)
        self.assertEqual(self.sent(), [("urn:a", ("10.0.0.5", "10.0.0.6"))])
        self.clock.pump([0.2, 0])
        self.assertEqual(self.network.take_searches(), [("urn:a", 2)])

    def test_limit_of_hosts(self) -> None:
        """The number of hosts of one search that waits is limited."""
        self.use_up()
        for number in range(100):
            self.request("a", hosts=(f"10.0.0.{number}",))
        self.clock.advance(1)
        ((_, hosts),) = self.sent()
        self.assertEqual((len(hosts), self.searches.rejected), (64, 36))

    def test_flood_of_hosts(self) -> None:
        """No host keeps out others by being the first: of 200, the last and the first are searched as often."""
        self.use_up()
        searched: Counter[str] = Counter()
        for _ in range(200):
            for number in range(200):
                self.request("a", hosts=(f"10.0.0.{number}",))
            self.clock.advance(1)
            for _, hosts in self.sent():
                searched.update(hosts)
        first, last = (sum(searched[f"10.0.0.{n}"] for n in part) for part in (range(100), range(100, 200)))
        self.assertGreater(min(first, last), 500, (first, last))

    def test_many_targets(self) -> None:
        """One search for all types replaces those of eight targets or more, and all services have waited for it."""
        for number, sent in ((7, [f"urn:{number}" for number in range(7)]), (8, ["ssdp:all"]), (500, ["ssdp:all"])):
            self.setUp()
            targets: list[str] = []
            self.searches = NeededSearches(self.clock, self.scheduler, self.network, targets.append)
            self.use_up()
            targets.clear()
            for each in range(number):
                self.request(each)
            self.clock.pump([1] * 20)
            self.assertEqual([target for target, _ in self.sent()], sent)
            self.assertEqual(targets, sent)

    def test_limit_of_targets(self) -> None:
        """The number of targets that wait is limited. The search for all types includes further ones."""
        self.use_up()
        for urgency in (SearchUrgency.CLAIM, SearchUrgency.BYEBYE):
            for number in range(1000):
                self.request(number, hosts=(), urgency=urgency)
        self.assertEqual([len(waiting) for waiting in self.searches._waiting._waiting.values()], [65, 65, 0, 0])
        self.assertEqual(self.searches.rejected, 0)

    def test_byebye_among_many_targets(self) -> None:
        """The host of a byebye is searched at once, also if its target is not one of those that wait."""
        self.use_up()
        for number in range(100):
            self.request(number, hosts=(), urgency=SearchUrgency.BYEBYE)
        self.request("bye", urgency=SearchUrgency.BYEBYE)
        self.assertEqual(self.sent(), [("urn:bye", ("10.0.0.5",))])

    def test_stop(self) -> None:
        """After a stop nothing is sent and no delayed call is left."""
        self.use_up()
        self.request("a")
        self.searches.stop()
        self.scheduler.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10)
        self.request("b")
        self.assertEqual(self.sent(), [("urn:b", ("10.0.0.5",))])
