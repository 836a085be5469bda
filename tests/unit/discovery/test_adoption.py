"""
Tests for the adoption of services that are in the table: :mod:`ssdpreg.discovery.adoption`.

The service is registered at the address T. This daemon has received it at the address E.
"""

from __future__ import annotations

from ssdpreg.discovery.events import Appeared, Changed
from ssdpreg.discovery.standing import Standing
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.ssdp.reception import Channel
from tests.support.table_case import FORGED, TRUE, E, T, TableTestCase, advertisement


class ReceivedServiceTests(TableTestCase):
    """Adoption of a service that was received before, such as at a take-over."""

    def adopt(self, remaining: float | None = 1800.0, standing: Standing = Standing.INDIRECT) -> None:
        """Adopt the service at T, after it was received at E."""
        self.adopted = self._note(self.table.adopt(TRUE, self.now, remaining, standing))

    def test_same_location(self) -> None:
        """A service at the registered LOCATION is not changed."""
        self.receive(TRUE)
        self.adopt()
        self.assertEqual((self.adopted, self.searched), ([], []))

    def test_no_evidence(self) -> None:
        """The registered LOCATION stays if no host replies or announces the service. Both are searched, twice."""
        self.receive(FORGED)
        self.wait(1000)
        self.adopt()
        self.assertEqual(self.adopted, [Changed(TRUE, Standing.INDIRECT)])
        self.assertEqual((self.wait(1000), self.hosts()), ([], [T]))
        self.assertEqual(self.searched, [(1000, (T, E)), (1003, (T, E))])

    def test_registered_host_replies(self) -> None:
        """The registered LOCATION stays if its host replies, whether the other one replies, too, or not."""
        for repliers in ((TRUE,), (TRUE, FORGED)):
            self.setUp()
            self.receive(FORGED)
            self.wait(1000)
            self.reply(*repliers)
            self.adopt()
            self.wait(100)
            self.assertEqual(self.hosts(), [T])

    def test_other_host_replies(self) -> None:
        """If only the host replies at which this daemon received the service, it moves there."""
        self.receive(FORGED)
        self.wait(1000)
        self.reply(FORGED)
        self.adopt()
        ((when, event),) = self.wait(100)
        self.assertLessEqual(when, 10)
        self.assertEqual((event, self.hosts()), (Changed(FORGED, Standing.CONFIRMED), [E]))

    def test_registered_host_announces(self) -> None:
        """A device that never replies keeps the registered LOCATION, and its announcements prolong it."""
        self.receive(FORGED)
        self.adopt(standing=Standing.DIRECT)
        for _ in range(10):
            self.wait(900)
            self.receive(TRUE)
        self.assertEqual(self.hosts(), [T])

    def test_other_host_announces(self) -> None:
        """A device that never replies and has moved is at its new address when the registered one is silent."""
        self.receive(FORGED)
        self.adopt(standing=Standing.DIRECT)
        for _ in range(3):
            self.wait(900)
            self.receive(FORGED)
        self.wait(10)
        self.assertEqual(self.hosts(), [E])

    def test_attack_at_the_start(self) -> None:
        """A host that announces the service before the adoption, and replies, does not take it from its device."""
        self.receive(FORGED)
        self.wait(1)
        self.adopt(remaining=None)
        self.reply(TRUE, FORGED)
        for _ in range(10):
            self.receive(FORGED)
            self.wait(30)
            self.assertEqual(self.hosts(), [T])

    def test_lapsed_registration(self) -> None:
        """A registration whose lifetime is over is not adopted. One with a rest of its lifetime is."""
        for remaining, host in ((-1.0, E), (0.0, E), (0.5, T), (1.0, T)):
            self.setUp()
            self.receive(FORGED)
            self.adopt(remaining=remaining)
            self.assertEqual((len(self.adopted), self.hosts()), (int(host == T), [host]))

    def test_claim_in_the_table(self) -> None:
        """If the table has a claim for the registered LOCATION, it becomes the current one."""
        self.receive(FORGED)
        self.receive(TRUE)
        self.wait(100)
        self.adopt()
        (state,) = self.table.states("D", None)
        self.assertEqual([claim.location for claim in state.claims], [TRUE.location, FORGED.location])
        self.assertEqual((self.wait(100), self.hosts()), ([], [T]))

    def test_service_that_is_not_live(self) -> None:
        """A service whose claim has too low a standing to be live is live at the registered LOCATION."""
        self.table = AdvertisementTable(trust=Standing.CONFIRMED)
        self.receive(FORGED)
        self.adopt()
        self.assertEqual(self.adopted, [Appeared(TRUE, Standing.CONFIRMED)])
        self.wait(100)
        self.assertEqual(self.hosts(), [T])

    def test_other_port(self) -> None:
        """The reply shows which port is the present one."""
        new = advertisement(T, port=8080)
        self.receive(new)
        self.reply(new)
        self.adopt()
        self.wait(20)
        (live,) = self.table
        self.assertEqual(live.advertisement.location, new.location)

    def test_reply_before(self) -> None:
        """A reply that was received before the adoption decides nothing."""
        self.receive(FORGED, channel=Channel.HOST)
        self.adopt()
        self.assertEqual((self.wait(100), self.hosts()), ([], [T]))
