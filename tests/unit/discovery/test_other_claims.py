"""Tests for :mod:`ssdpreg.discovery.other_claims`."""

from __future__ import annotations

from ssdpreg.discovery.other_claims import OtherClaims
from ssdpreg.discovery.table import AdvertisementTable
from tests.support.table_case import TableTestCase, advertisement

#: Services in the table, and other claims of all of them.
SERVICES, LIMIT = 3, 12


class OtherClaimsTests(TableTestCase):
    """Tests for the limit of other claims in the whole table."""

    def setUp(self) -> None:
        super().setUp()
        self.table = AdvertisementTable()
        self.other_claims = self.table._services.other_claims
        self.other_claims.limit = LIMIT

    def fill(self, services: int, claims: int) -> None:
        """Receive services with other claims."""
        for number in range(services):
            self.receive(advertisement(f"10.0.0.{number}", device_id=str(number)))
        for number in range(services):
            for other in range(claims):
                self.receive(advertisement(f"10.0.{number + 1}.{other}", 10_000, device_id=str(number)))

    def counts(self) -> list[int]:
        """Return the numbers of other claims of all services."""
        states = [state for number in range(50) for state in self.table.states(str(number), None)]
        return [len(state.claims) - 1 for state in states]

    def test_limits(self) -> None:
        """The limit follows from the number of services, up to 32,768 claims."""
        self.assertEqual([OtherClaims(number).limit for number in (10, 8192, 100_000)], [40, 32_768, 32_768])

    def test_displacement(self) -> None:
        """A claim displaces one of the service that got its latest other claim longest ago."""
        self.fill(4, 3)
        self.wait(60)
        self.assertEqual((self.counts(), self.table.displaced_claims), ([3, 3, 3, 3], 0))
        for number in (1, 1, 1, 2):
            self.receive(advertisement(f"10.0.9.{self.table.displaced_claims}", 10_000, device_id="9"))
            self.receive(advertisement(f"10.0.8.{self.table.displaced_claims}", 10_000, device_id=str(number)))
            self.assertLessEqual(sum(self.counts()), LIMIT)
        self.assertGreater(self.table.displaced_claims, 3)
        self.assertEqual(self.counts()[0], 0)

    def test_indirect_claim(self) -> None:
        """An indirect claim displaces none: it is not added."""
        self.fill(4, 3)
        before = self.table.states("0", None)[0].claims
        self.receive(advertisement("10.0.9.9", device_id="0"), "10.0.0.99")
        self.assertEqual(self.table.states("0", None)[0].claims, before)
        self.assertEqual((sum(self.counts()), self.table.displaced_claims), (LIMIT, 1))

    def test_claims_that_end(self) -> None:
        """Claims that expire, and those of services that leave, do not count."""
        self.fill(4, 3)
        self.assertEqual(len(self.other_claims), LIMIT)
        self.bye("10.0.1.0", "0")
        self.assertEqual(len(self.other_claims), LIMIT - 1)
        self.wait(20_000)
        self.assertEqual((len(self.table), len(self.other_claims)), (0, 0))

    def test_contest(self) -> None:
        """A service in a contest keeps its claims, as long as others have some that can give way."""
        self.fill(3, 4)
        self.wait(60)
        self.receive(advertisement("10.0.8.1", 10_000, device_id="0"))
        own = advertisement("10.0.8.2", 10_000, device_id="9")
        self.receive(advertisement("10.0.0.9", device_id="9"))
        self.wait(3)
        for number in range(3):
            self.receive(own)
            self.receive(advertisement(f"10.0.7.{number}", 10_000, device_id="9"))
        self.assertEqual((self.counts()[0], self.counts()[3]), (4, 4))

    def test_many_random_claims(self) -> None:
        """The number of claims is never above the limit, and equals that of all services."""
        for number in range(2000):
            self.receive(advertisement(f"10.0.{number % 41}.{number % 7}", 500, device_id=str(number % 50)))
            if number % 100 == 0:
                self.wait(20)
            if number % 37 == 0:
                self.bye(f"10.0.{number % 41}.{number % 7}", str(number % 50))
            counts = [len(service.others) for service in self.table._services]
            self.assertEqual(sum(counts), len(self.other_claims))
            self.assertLessEqual(len(self.other_claims), LIMIT)
