"""
Tests for the standing of claims in :class:`ssdpreg.discovery.table.AdvertisementTable`.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

from ssdpreg.discovery.events import Appeared, Changed, Left, SearchNeeded
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import FORGED, OTHER_URN, TRUE, URN, E, T, TableTestCase


class StandingTests(TableTestCase):
    """Standing of receptions, and the lowest standing that makes a service live."""

    def standing(self) -> Standing:
        """Return the standing of the only service."""
        (live,) = self.table
        return live.standing

    def test_standings(self) -> None:
        """The sender, its network and the socket of the reception decide about the standing."""
        for sender, channel, on_link, standing in (
            (T, Channel.GROUP, True, Standing.DIRECT),
            (T, Channel.SEARCH, True, Standing.DIRECT),
            (T, Channel.HOST, True, Standing.CONFIRMED),
            (T, Channel.GROUP, False, Standing.INDIRECT),
            (E, Channel.GROUP, True, Standing.INDIRECT),
            (E, Channel.HOST, True, Standing.INDIRECT),
        ):
            self.setUp()
            self.receive(TRUE, sender, channel=channel, on_link=on_link)
            self.assertIs(self.standing(), standing)

    def test_standing_of_a_service(self) -> None:
        """A live service is found by its device, in any case of letters, and its URN."""
        self.receive(TRUE, channel=Channel.HOST)
        for device_id, urn, standing in (("d", URN, 2), ("D", OTHER_URN, None), ("E", URN, None)):
            service = self.table.get(device_id, urn)
            self.assertEqual(None if service is None else service.standing, standing)

    def test_standing_rises(self) -> None:
        """A claim keeps its highest standing; the change from indirect to direct is published for health checks."""
        self.receive(TRUE, E)
        self.assertEqual(self.receive(TRUE), [Changed(TRUE, Standing.DIRECT)])
        self.assertEqual(self.receive(TRUE, channel=Channel.HOST), [])
        self.receive(TRUE)
        self.assertIs(self.standing(), Standing.CONFIRMED)

    def test_indirect_claim_lives_half_an_hour(self) -> None:
        """An indirect claim expires after 1800 s even with a longer max-age, and only its own sender prolongs it."""
        self.receive(FORGED, "10.0.0.99")
        self.wait(800)
        self.receive(FORGED, "10.0.0.98")
        self.assertEqual(self.wait(10000), [(1000, Left(FORGED, "expired"))])

    def test_another_sender_does_not_prolong(self) -> None:
        """A copy of an announcement from another host keeps no departed device alive."""
        self.receive(TRUE)
        for _ in range(30):
            self.wait(60)
            self.receive(TRUE, E)
        self.assertEqual(self.wait(100), [(60, Left(TRUE, "expired"))])

    def test_trust_direct(self) -> None:
        """With trust ``direct``, an indirect claim is not live until its host announces it."""
        self.table = AdvertisementTable(trust=Standing.DIRECT)
        self.assertEqual(self.receive(TRUE, E), [])
        self.assertEqual((len(self.table), self.table.tracked), (0, 1))
        self.assertEqual(self.receive(TRUE), [Appeared(TRUE, Standing.DIRECT)])

    def test_trust_confirmed(self) -> None:
        """With trust ``confirmed``, a service is live as soon as its host has replied to a unicast search."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.reply(TRUE)
        self.assertEqual(self.receive(TRUE), [])
        self.assertEqual(self.searched, [(0, (T,))])
        self.assertEqual(self.wait(10), [(0.5, Appeared(TRUE, Standing.CONFIRMED))])

    def test_trust_confirmed_without_a_reply(self) -> None:
        """A device that does not reply is searched for again at its next announcements, at most once in 10 s."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        for _ in range(30):
            self.assertEqual(self.receive(TRUE), [])
            self.wait(1)
        self.assertEqual([at for at, _ in self.searched], [0, 1, 11, 21])
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(11)
        self.receive(TRUE)
        self.wait(1)
        self.assertEqual(self.hosts(), [T])

    def test_reply_to_the_group_before_the_service_is_live(self) -> None:
        """The first reply to a search of the group causes a search of its host at once. Further ones have a pause."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        for seconds, channel, searches in (
            (0, Channel.GROUP, 1),
            (1, Channel.GROUP, 2),
            (2, Channel.SEARCH, 3),
            (3, Channel.SEARCH, 3),
            (4, Channel.GROUP, 3),
        ):
            self.wait(self.start + seconds - self.now)
            self.receive(TRUE, channel=channel)
            self.assertEqual(len(self.searched), searches)
        self.assertEqual({hosts for _, hosts in self.searched}, {(T,)})

    def test_reply_to_the_group_for_another_location(self) -> None:
        """The same holds for another LOCATION of a service that is not live."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        for channel, searches in ((Channel.GROUP, 0), (Channel.SEARCH, 1), (Channel.SEARCH, 0)):
            self.wait(1)
            self.searched.clear()
            self.receive(TRUE, channel=channel)
            self.assertEqual([hosts for _, hosts in self.searched].count((T,)), searches)

    def test_search_of_a_host_that_replied_to_the_group(self) -> None:
        """Only the host is searched then, since it has just replied to a search of the group."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.receive(TRUE)
        events = self.table.observe(TRUE, Reception(T, "eth0", Channel.SEARCH), self.now)
        self.assertEqual(events, [SearchNeeded(TRUE, 3.0, (T,), is_tracked=False, hosts_only=True)])

    def test_repetitions_before_the_service_is_live(self) -> None:
        """A repetition does more than prolong a claim that is not live, and one that its host sent by another way."""
        for trust, on_link, settled in (
            (Standing.INDIRECT, True, True),
            (Standing.INDIRECT, False, False),
            (Standing.CONFIRMED, True, False),
        ):
            self.table = AdvertisementTable(trust=trust)
            self.receive(TRUE)
            self.receive(TRUE, on_link=on_link)
            (service,) = self.table._services
            self.assertEqual(service.claim.latest is not None, settled)

    def test_return_of_the_home(self) -> None:
        """With trust ``direct``, an announcement returns a service to its home in a contest, as with any trust."""
        self.table = AdvertisementTable(trust=Standing.DIRECT)
        self.receive(TRUE)
        self.wait(900)
        self.reply(FORGED)
        self.receive(FORGED)
        self.wait(100)
        self.assertEqual(self.hosts(), [E])
        self.repliers.clear()
        self.receive(TRUE)
        self.assertEqual(self.hosts(), [E])
        self.receive(TRUE)
        self.assertEqual(self.hosts(), [T])

    def test_first_claim_is_no_home_before_it_is_live(self) -> None:
        """With trust ``confirmed``, a forgery that was received first takes no place from a confirmed device."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.wait(1000)
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(20)
        self.repliers.clear()
        for _ in range(10):
            self.receive(FORGED)
            self.wait(11)
        self.assertEqual(self.hosts(), [T])

    def test_forgery_is_not_live_with_trust_confirmed(self) -> None:
        """A claim that is not confirmed takes no place from one that is, nor a free place."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.reply(TRUE)
        self.receive(TRUE)
        self.wait(15)
        self.assertEqual(self.hosts(), [T])
        self.bye(T)
        self.repliers.clear()
        self.wait(10)
        self.assertEqual(self.hosts(), [])
