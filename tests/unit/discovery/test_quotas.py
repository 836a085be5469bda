"""
Tests for the limits of the table, and for the quotas of senders.

T is the true device, E an attacker: see :mod:`tests.support.table_case`.
"""

from __future__ import annotations

import contextlib

from ssdpreg.discovery.events import Appeared, Left, SearchNeeded, SearchUrgency
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import FORGED, OTHER_URN, TRUE, E, T, TableTestCase, advertisement

#: Search of a host that replied to a search of the group.
PROOF = SearchNeeded(TRUE, 3.0, (T,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False, hosts_only=True)


class CapacityTests(TableTestCase):
    """Order of eviction when the table is full."""

    def test_eviction(self) -> None:
        """A direct claim evicts the latest indirect one; a device that replied evicts a direct one that never did."""
        self.table = AdvertisementTable(limit=2)
        for number in (1, 2):
            self.receive(advertisement(device_id=f"indirect-{number}"), E)
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="indirect-3"), E)
        events = self.receive(advertisement(device_id="direct-1"))
        self.assertEqual([type(event) for event in events], [Left, Appeared])
        self.assertEqual(events[0].advertisement.device_id, "indirect-2")
        self.receive(advertisement(device_id="direct-2"))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="direct-3"))
        self.receive(advertisement(device_id="replying-1"), channel=Channel.SEARCH)
        self.assertEqual({live.advertisement.device_id for live in self.table}, {"direct-1", "replying-1"})
        self.assertEqual(self.table.evictions, 3)

    def test_reply_protects(self) -> None:
        """A service whose host replied is not evicted."""
        self.table = AdvertisementTable(limit=1)
        self.receive(TRUE)
        self.receive(TRUE, channel=Channel.SEARCH)
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.7", device_id="F"), channel=Channel.SEARCH)

    def test_quota_of_a_sender(self) -> None:
        """One sender creates a limited number of services; others are not affected."""
        self.table = AdvertisementTable(limit_per_sender=2)
        for number in range(2):
            self.receive(advertisement(device_id=str(number)))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="2"))
        self.receive(advertisement("10.0.0.6", device_id="2"))
        self.receive(advertisement(device_id="0", urn=OTHER_URN), "10.0.0.8")

    def test_service_that_another_host_announced_first(self) -> None:
        """A sender does not replace a service of another host that it announced before that host did."""
        self.table = AdvertisementTable(limit_per_sender=2)
        self.receive(TRUE, E)
        self.receive(TRUE)
        self.receive(advertisement(E, device_id="0"))
        for _ in range(3):
            self.wait(20)
            self.receive(advertisement(E, device_id="0"))
        self.receive(advertisement(E, device_id="1"))
        self.assertEqual({live.advertisement.device_id for live in self.table}, {"D", "1"})

    def test_default_quota(self) -> None:
        """By default one sender creates 4096 services."""
        for number in range(4096):
            self.receive(advertisement(device_id=str(number)))
        with self.assertRaises(RejectedError):
            self.receive(advertisement(device_id="last"))

    def test_departed_services_are_not_kept(self) -> None:
        """Services that come and go leave nothing behind."""
        for number in range(20000):
            self.receive(advertisement(device_id=str(number), max_age=86400))
            self.bye(device_id=str(number))
            self.now += 0.01
            self.table.expire(self.now)
        self.wait(10)
        self.assertEqual((len(self.table), self.table.tracked), (0, 0))
        self.assertLess(len(self.table._services._schedule), 2000)

    def test_claims_of_departed_services_are_not_kept(self) -> None:
        """A service that has left has no claims of other hosts, although the memo of datagrams may refer to it."""
        self.receive(TRUE)
        self.receive(advertisement(E, 86400), E)
        service = self.table._services.find(TRUE.device_id, TRUE.urn)
        assert service is not None
        self.assertEqual(len(service.others), 1)
        list(self.table.reassign(lambda nt: None, self.now))
        self.assertTrue(service.removed)
        self.assertEqual(service.others, ())

    def test_forged_services_give_way(self) -> None:
        """Forged services in the name of a device do not exclude its further services, which are searched for."""
        self.table = AdvertisementTable(limit_per_sender=5)
        self.receive(TRUE)
        self.receive(TRUE, channel=Channel.HOST)
        for number in range(4):
            self.receive(advertisement(T, 86400, f"fake-{number}"))
        self.wait(10)
        new = advertisement(T, urn=OTHER_URN)
        self.reply(new)
        self.assertEqual(self.receive(new), [Left(advertisement(T, 86400, "fake-3"), "evicted"), Appeared(new)])
        self.assertEqual(self.searched[-1], (10, (T,)))
        self.wait(2)
        for number in range(4, 1000):
            with contextlib.suppress(RejectedError):
                self.receive(advertisement(T, 86400, f"fake-{number}"))
            self.wait(1)
        self.assertEqual(self.table.tracked, 5)
        self.assertEqual(
            [each.standing for each in self.table if each.advertisement.device_id == "D"], [Standing.CONFIRMED] * 2
        )
        # Eight at once, then one in 10 s, and the new one.
        self.assertLessEqual(self.table.evictions, 8 + 100 + 1)

    def test_search_for_a_rejected_service(self) -> None:
        """While forged services come without end, a device that replies has its new service after a search of it."""
        self.table = AdvertisementTable(limit_per_sender=2)
        for number in range(2):
            self.receive(advertisement(T, 86400, f"fake-{number}"))
        searches = []
        for _ in range(100):
            with self.assertRaises(RejectedError):
                self.receive(TRUE)
            searches += self.table.search_for_rejected(TRUE, Reception(T, "eth0"), self.now)
            self.now += 0.09
        wanted = SearchNeeded(TRUE, 3, (T,), urgency=SearchUrgency.UNFOUNDED, is_tracked=False)
        self.assertEqual(searches, [wanted] * 2)
        self.now += 1
        self.assertIn(Appeared(TRUE, Standing.CONFIRMED), self.receive(TRUE, channel=Channel.HOST))

    def test_forged_replies(self) -> None:
        """Services created by forged replies to searches of the group give way to those of the device that replies."""
        self.table = AdvertisementTable(limit_per_sender=5)
        for number in range(5):
            self.receive(advertisement(T, 86400, f"fake-{number}"), channel=Channel.SEARCH)
        self.wait(100)
        with self.assertRaises(RejectedError):
            self.receive(TRUE, channel=Channel.SEARCH)
        reception = Reception(T, "eth0", Channel.SEARCH)
        self.assertEqual(self.table.search_for_rejected(TRUE, reception, self.now), [PROOF])
        self.assertEqual(
            self.receive(TRUE, channel=Channel.HOST),
            [Left(advertisement(T, 86400, "fake-4"), "evicted"), Appeared(TRUE, Standing.CONFIRMED)],
        )
        for number in range(5, 100):
            with contextlib.suppress(RejectedError):
                self.receive(advertisement(T, 86400, f"fake-{number}"), channel=Channel.SEARCH)
            self.now += 10
        self.assertIn("D", {each.advertisement.device_id for each in self.table})

    def test_full_table_of_forged_replies(self) -> None:
        """A table full of forged replies accepts a device that replies to a search of its host alone."""
        self.table = AdvertisementTable(limit=5)
        for number in range(5):
            host = f"10.0.1.{number}"
            self.receive(advertisement(host, 86400, f"fake-{number}"), channel=Channel.SEARCH)
        with self.assertRaises(RejectedError):
            self.receive(TRUE, channel=Channel.SEARCH)
        reception = Reception(T, "eth0", Channel.SEARCH)
        self.assertEqual(self.table.search_for_rejected(TRUE, reception, self.now), [PROOF])
        self.receive(TRUE, channel=Channel.HOST)
        self.assertIn(T, self.hosts())

    def test_devices_prove_themselves(self) -> None:
        """When a limit is nearly reached, a device that replies to a search of the group is searched alone."""
        self.table = AdvertisementTable(limit_per_sender=8)
        self.receive(TRUE, channel=Channel.SEARCH)
        self.receive(advertisement(T, server="a/1"), channel=Channel.SEARCH)
        self.assertEqual(self.searched, [])
        for number in range(5):
            self.receive(advertisement(T, 86400, f"fake-{number}"))
        self.receive(TRUE, channel=Channel.SEARCH)
        self.assertEqual(self.searched, [(0, (T,))])
        self.receive(TRUE, channel=Channel.HOST)
        self.receive(TRUE, channel=Channel.SEARCH)
        self.receive(TRUE)
        self.assertEqual(self.searched, [(0, (T,))])
        self.receive(advertisement(T, device_id="late"), channel=Channel.SEARCH)
        self.assertEqual(self.searched, [(0, (T,))] * 2)

    def test_no_search_for_other_rejected_services(self) -> None:
        """There is no search for a service that is known or indirect, or was rejected for another reason."""
        self.table = AdvertisementTable(limit_per_sender=1)
        self.receive(FORGED)
        self.receive(TRUE, "10.0.0.99")
        for one, sender, channel in (
            (FORGED, E, Channel.GROUP),
            (advertisement(T, device_id="X"), "10.0.0.99", Channel.GROUP),
            (advertisement(E, device_id="X"), E, Channel.HOST),
            (advertisement(T, device_id="X"), T, Channel.SEARCH),
            (advertisement(T, device_id="X"), T, Channel.GROUP),
        ):
            self.assertEqual(self.table.search_for_rejected(one, Reception(sender, "eth0", channel), self.now), [])
