"""Tests for :mod:`ssdpreg.discovery.capacity`."""

from __future__ import annotations

import contextlib

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.capacity import TOO_MANY, TOO_MANY_OF_SENDER, Capacity
from ssdpreg.discovery.claims import Claim
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.discovery.tracked import TrackedService
from ssdpreg.errors import RejectedError
from ssdpreg.ssdp.reception import Channel, Reception
from tests.support.table_case import TableTestCase, advertisement

INDIRECT, DIRECT, CONFIRMED = Standing


def service(standing: Standing = DIRECT, answers: bool = False, sender: str = "10.0.0.5") -> TrackedService:
    """Return a service whose claim has a standing."""
    claim = Claim(advertisement(), Reception(sender), 0.0)
    claim.standing, claim.answers = standing, answers
    return TrackedService(claim, 0.0)


class CapacityTests(SynchronousTestCase):
    """Tests for :class:`Capacity`."""

    def setUp(self) -> None:
        self.capacity = Capacity(3, 10)

    def add(self, *services: TrackedService) -> None:
        """Add services."""
        for each in services:
            self.capacity.add(each)

    def assert_rejected(self, standing: Standing, answers: bool, reason: str, sender: str = "10.0.0.9") -> None:
        """Check that a new service is rejected."""
        with self.assertRaises(RejectedError) as caught:
            self.capacity.admit(sender, standing, answers, 0.0)
        self.assertEqual(caught.exception.reason, reason)

    def test_below_the_limit(self) -> None:
        """Below the limit every service is admitted, and none is evicted."""
        self.add(service(INDIRECT), service(INDIRECT))
        self.assertIsNone(self.capacity.admit("10.0.0.9", INDIRECT, False, 0.0))
        self.assertEqual((len(self.capacity), self.capacity.evictions), (2, 0))

    def test_order_of_eviction(self) -> None:
        """The latest service of the lowest rank is evicted, if the new one has a higher rank."""
        old, late, silent = service(INDIRECT), service(INDIRECT), service()
        self.add(old, late, silent)
        self.assertIs(self.capacity.admit("10.0.0.9", DIRECT, False, 0.0), late)
        self.assertIs(self.capacity.admit("10.0.0.9", CONFIRMED, False, 0.0), late)
        self.assert_rejected(INDIRECT, False, TOO_MANY)
        self.assertEqual(self.capacity.evictions, 2)
        self.capacity.remove(late)
        self.capacity.remove(old)
        replied = service(DIRECT, True)
        self.add(replied, service(CONFIRMED))
        self.assert_rejected(DIRECT, False, TOO_MANY)
        self.assertIs(self.capacity.admit("10.0.0.9", DIRECT, True, 0.0), silent)
        self.capacity.remove(silent)
        self.add(service(CONFIRMED))
        self.assert_rejected(DIRECT, True, TOO_MANY)
        self.assertIs(self.capacity.admit("10.0.0.9", CONFIRMED, True, 0.0), replied)
        self.capacity.remove(replied)
        self.add(service(CONFIRMED))
        self.assert_rejected(CONFIRMED, True, TOO_MANY)

    def test_rank_follows_the_claim(self) -> None:
        """A service whose standing has risen is no longer evicted as before."""
        one, two, three = service(INDIRECT), service(INDIRECT), service(INDIRECT)
        self.add(one, two, three)
        three.claim.standing = DIRECT
        self.capacity.update(three)
        self.assertIs(self.capacity.admit("10.0.0.9", DIRECT, False, 0.0), two)
        # An update without a change keeps the order.
        self.capacity.update(one)
        self.assertIs(self.capacity.admit("10.0.0.9", DIRECT, False, 0.0), two)
        three.claim.standing = CONFIRMED
        self.capacity.update(three)
        self.capacity.remove(one)
        self.capacity.remove(two)
        self.add(service(CONFIRMED), service(CONFIRMED))
        self.assert_rejected(CONFIRMED, True, TOO_MANY)
        self.assertEqual(len(self.capacity), 3)

    def test_quota(self) -> None:
        """A sender that reached its quota may create another service for each one that is removed."""
        self.capacity = Capacity(100, 2)
        one, two = service(), service()
        self.add(one, two)
        self.assert_rejected(CONFIRMED, True, TOO_MANY_OF_SENDER, "10.0.0.5")
        self.assertIsNone(self.capacity.admit("10.0.0.9", DIRECT, False, 0.0))
        self.capacity.remove(one)
        self.assertIsNone(self.capacity.admit("10.0.0.5", DIRECT, False, 0.0))
        self.add(one)
        self.assert_rejected(DIRECT, False, TOO_MANY_OF_SENDER, "10.0.0.5")

    def test_full_and_crowded(self) -> None:
        """The table is crowded at three quarters of its limit, and for a sender at three quarters of its quota."""
        self.capacity = Capacity(8, 4)
        states = []
        for number in range(8):
            self.add(service(sender="10.0.0.5" if number < 4 else "10.0.0.6"))
            crowded = [self.capacity.is_crowded_for(sender) for sender in ("10.0.0.5", "10.0.0.9")]
            states.append((*crowded, self.capacity.is_full_for("10.0.0.5"), self.capacity.is_full))
        few, own, most = (False,) * 4, (True, False, False, False), (True, False, True, False)
        self.assertEqual(states, [few, few, own, most, most, *[(True, True, True, False)] * 2, (True,) * 4])

    def test_departed_senders_are_not_kept(self) -> None:
        """Nothing is kept about a sender whose services are gone."""
        one, two = service(), service()
        self.add(one, two)
        self.capacity.remove(one)
        self.assertEqual(self.capacity._created, {"10.0.0.5": 1})
        self.capacity.remove(two)
        self.assertEqual((dict(self.capacity._created), len(self.capacity)), ({}, 0))


class TurnoverTests(SynchronousTestCase):
    """Tests for the replacement of services of a sender that has reached its number of services."""

    def setUp(self) -> None:
        self.capacity = Capacity(1000, 3)
        self.services = [service(), service(), service()]
        for each in self.services:
            self.capacity.add(each)

    def admit(
        self, now: float = 100.0, standing: Standing = DIRECT, answers: bool = False, sender: str = "10.0.0.5"
    ) -> TrackedService | None:
        """Return the service that a new one replaces, or None if the new one is rejected."""
        try:
            return self.capacity.admit(sender, standing, answers, now)
        except RejectedError as error:
            self.assertEqual(error.reason, TOO_MANY_OF_SENDER)
            return None

    def test_latest_gives_way(self) -> None:
        """The latest service that never replied gives way. Those that replied, and those of other senders, stay."""
        self.capacity.add(service(INDIRECT, sender="10.0.0.6"))
        self.assertIs(self.admit(), self.services[2])
        self.assertEqual(self.capacity.evictions, 1)
        self.services[2].claim.answers = True
        self.capacity.update(self.services[2])
        self.assertIs(self.admit(), self.services[1])
        for each in self.services:
            each.claim.answers = True
            self.capacity.update(each)
        self.assertIsNone(self.admit(answers=True))

    def test_forged_replies(self) -> None:
        """Services that replied to a search of the group give way only to those that replied to one of their own."""
        for each in self.services:
            each.claim.answers = True
            self.capacity.update(each)
        self.services[1].claim.standing = self.services[2].claim.standing = CONFIRMED
        self.capacity.update(self.services[1])
        self.capacity.update(self.services[2])
        self.assertIsNone(self.admit(answers=True))
        self.assertIs(self.admit(standing=CONFIRMED), self.services[0])
        self.capacity.remove(self.services[0])
        self.capacity.add(self.services[1])
        self.assertIsNone(self.admit(standing=CONFIRMED))

    def test_indirect_first(self) -> None:
        """Indirect services give way before direct ones. An indirect service replaces none."""
        self.services[0].claim.standing = INDIRECT
        self.capacity.update(self.services[0])
        self.assertIs(self.admit(), self.services[0])
        self.assertIsNone(self.admit(standing=INDIRECT))

    def test_announced_least_often_first(self) -> None:
        """Of the services that never replied, the one that was announced least often gives way."""
        self.services[2].claim.announcements = 3
        self.services[1].claim.announcements = 2
        self.assertIs(self.admit(), self.services[0])

    def test_chance_to_reply(self) -> None:
        """A service stays for 10 s, in which its host can reply."""
        self.assertIsNone(self.admit(now=9.9))
        self.assertIs(self.admit(now=10.0), self.services[2])

    def test_budget_of_a_sender(self) -> None:
        """Announcements of one sender replace 8 services at once, and then one in 10 s."""
        admitted = [at for at in range(100, 1100) if self.admit(float(at))]
        self.assertEqual(admitted[:8], list(range(100, 108)))
        self.assertEqual(len(admitted), 8 + 99)

    def test_budget_of_replies(self) -> None:
        """Announcements and forged replies do not use up the budget for services whose hosts reply."""
        while self.admit(answers=True):
            pass
        self.assertIs(self.admit(standing=CONFIRMED), self.services[2])
        admitted = [at for at in range(100, 1100) if self.admit(float(at), standing=CONFIRMED)]
        self.assertLessEqual(len(admitted), 16 + 501)

    def test_budget_of_all(self) -> None:
        """Announcements of all senders replace 16 services at once, and then one in 2 s."""
        for number in range(50):
            for _ in range(3):
                self.capacity.add(service(sender=f"10.0.1.{number}"))
        admitted = [
            at for at in range(100, 200) for number in range(50) if self.admit(float(at), sender=f"10.0.1.{number}")
        ]
        self.assertLessEqual(len(admitted), 16 + 50)
        self.assertGreaterEqual(len(admitted), 60)

    def burst(self, now: float, standing: Standing, sender: str = "10.0.0.5") -> int:
        """Return the number of services that a sender can replace at one time."""
        count = 0
        while self.admit(now, standing, sender=sender):
            count += 1
        return count

    def test_bursts_and_rates(self) -> None:
        """The budgets of one sender and of all senders have a burst and a rate for each kind of replacement."""
        senders = [f"10.0.1.{number}" for number in range(4)]
        for standing, one, pause, pause_of_all in ((DIRECT, 8, 10, 2), (CONFIRMED, 16, 2, 1)):
            self.setUp()
            for sender in senders:
                for _ in range(3):
                    self.capacity.add(service(sender=sender))
            self.assertEqual(self.burst(100.0, standing), one)
            self.assertEqual(self.burst(99.9 + pause, standing), 0)
            self.assertEqual(self.burst(100.0 + pause, standing), 1)
            # All together have twice the burst.
            self.assertEqual([self.burst(1000.0, standing, sender) for sender in senders[:3]], [one, one, 0])
            self.assertEqual(self.burst(999.9 + pause_of_all, standing, senders[3]), 0)
            self.assertEqual(self.burst(1000.0 + pause_of_all, standing, senders[3]), 1)


class ProbationTests(TableTestCase):
    """Tests for the rank of adopted services in a full table."""

    def test_probation_of_adopted_services(self) -> None:
        """A minute after its adoption, a service whose device did not reply is evicted as any other."""
        for passed, accepted in ((60, False), (60.1, True)):
            self.setUp()
            self.table = AdvertisementTable(limit=3)
            for number in range(3):
                self.table.adopt(advertisement("10.0.1.1", 86400, f"fake{number}"), self.now, standing=Standing.DIRECT)
            self.wait(passed)
            with contextlib.suppress(RejectedError):
                self.receive(advertisement(), channel=Channel.HOST)
            self.assertEqual("10.0.0.5" in self.hosts(), accepted)
            self.assertEqual(self.table.tracked, 3)

    def test_adopted_services_that_reply(self) -> None:
        """An adopted service whose device replied during its probation is never evicted."""
        self.table = AdvertisementTable(limit=2)
        for number in range(2):
            self.table.adopt(advertisement(f"10.0.1.{number}", device_id=f"old{number}"), self.now)
        self.receive(advertisement("10.0.1.1", device_id="old1"), channel=Channel.HOST)
        self.wait(70)
        self.receive(advertisement(), channel=Channel.HOST)
        self.assertEqual(self.hosts(), ["10.0.0.5", "10.0.1.1"])
        with self.assertRaises(RejectedError):
            self.receive(advertisement("10.0.0.6", device_id="new"), channel=Channel.HOST)
