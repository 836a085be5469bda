"""Tests for :mod:`ssdpreg.registration.change_lines`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.discovery.log_limit import LogBudget, LogLimit
from ssdpreg.registration.change_lines import ChangeLines
from ssdpreg.registration.differences import AppliedChange
from ssdpreg.testing import make_registration

REGISTERED = AppliedChange("Registered", make_registration(1))


class ChangeLinesTests(SynchronousTestCase):
    """Tests for :class:`ChangeLines`."""

    def setUp(self) -> None:
        self.budget = LogBudget()
        self.lines = ChangeLines(self.budget)

    def test_line_of_a_change(self) -> None:
        """A separate line describes each change, with the reason of a removal."""
        ((line, fields),) = self.lines.add(REGISTERED, 1000.0)
        self.assertEqual(
            line.format(**fields),
            f"Registered {REGISTERED.registration.service_id} as RackHD-service:api:2.0 at 192.0.2.2:8080",
        )
        ((line, fields),) = self.lines.add(AppliedChange("Deregistered", make_registration(1), "byebye"), 1000.0)
        self.assertTrue(line.format(**fields).endswith("at 192.0.2.2:8080: byebye"))

    def test_ipv6(self) -> None:
        """An IPv6 address is in brackets."""
        registration = replace(make_registration(1), address="2001:db8::1")
        ((line, fields),) = self.lines.add(AppliedChange("Registered", registration), 1000.0)
        self.assertTrue(line.format(**fields).endswith("at [2001:db8::1]:8080"))

    def test_budget(self) -> None:
        """At most 60 lines are logged in any minute, however many services change."""
        times = []
        for number in range(20000):
            now = 1000.0 + number / 100
            times += [now] * len(self.lines.add(AppliedChange("Registered", make_registration(number)), now))
            if number % 100 == 99:
                times += [now] * len(self.lines.summarize(now))
        self.assertGreater(len(times), 60)
        for first in times:
            self.assertLessEqual(sum(first <= each < first + 60 for each in times), 60)
        self.assertGreater(self.lines.summarized, 19000)

    def test_summary(self) -> None:
        """Changes beyond the budget are summarized by verb, with their number and the first and last service."""
        for number in range(100):
            self.lines.add(AppliedChange("Registered", make_registration(number)), 1000.0)
        self.assertEqual(self.lines.summarize(1000.0), [])
        ((line, fields),) = self.lines.summarize(1010.0)
        self.assertEqual(line, "Registered {count} services, first {first}, last {last}")
        first, last = (make_registration(number).service_id for number in (30, 99))
        self.assertEqual(fields, {"count": 70, "first": first, "last": last})
        self.assertEqual(self.lines.summarize(1020.0), [])
        self.assertEqual(self.lines.summarized, 70)

    def test_order(self) -> None:
        """While changes wait for a summary, no change is logged in a separate line. One change is not summarized."""
        for number in range(31):
            self.lines.add(AppliedChange("Registered", make_registration(number)), 1000.0)
        self.assertEqual(self.lines.add(AppliedChange("Updated", make_registration(5)), 1002.0), [])
        lines = [line for line, _ in self.lines.summarize(1010.0)]
        self.assertEqual([line.split(" ")[0] for line in lines], ["Registered", "Updated"])
        self.assertTrue(all("{service_id}" in line for line in lines))

    def test_budget_shared_with_rejections(self) -> None:
        """All lines together are at most 60 in any minute, also in slices without end among rejections."""
        limit = LogLimit(self.budget)
        times: list[float] = []
        for step in range(6000):
            now = 1000.0 + step / 20
            times += [now] * limit.allows(f"sender {step}", "no LOCATION", now)
            times += [now] * len(self.lines.add(AppliedChange("Registered", make_registration(step)), now))
            times += [now] * len(self.lines.summarize(now))
        self.assertGreater(len(times), 150)
        for first in times:
            self.assertLessEqual(sum(first <= each < first + 60 for each in times), 60)

    def test_reserve(self) -> None:
        """Rejections without end leave 15 lines for changes. Changes without end suppress the rejections."""
        limit = LogLimit(self.budget)
        for step in range(6000):
            limit.allows(f"sender {step}", "no LOCATION", 1000.0 + step / 20)
        changes = [AppliedChange("Registered", make_registration(number)) for number in range(100)]
        self.assertIn(sum(len(self.lines.add(change, 1300.0)) for change in changes), (15, 16))
        for step in range(200):
            self.lines.summarize(1301.0 + step)
            self.lines.add(changes[0], 1301.0 + step)
            self.assertFalse(limit.allows(f"other {step}", "no LOCATION", 1301.0 + step))

    def test_refusals(self) -> None:
        """Lines about rejected changes count against the budget. Beyond it they are counted."""
        allowed = [self.lines.take_for_refusal(1000.0) for _ in range(100)]
        self.assertEqual((sum(allowed), self.lines.summarized), (30, 70))
