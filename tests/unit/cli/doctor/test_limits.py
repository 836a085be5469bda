"""Tests for :mod:`ssdpreg.cli.doctor.limits`."""

from __future__ import annotations

from ssdpreg.cli.doctor.host_facts import is_clock_synchronised, read_descriptor_limit
from ssdpreg.cli.doctor.limits import Clock, check_clock, check_descriptors, check_receive_buffer
from tests.unit.cli.doctor.case import CheckTestCase


class LimitsTests(CheckTestCase):
    """Tests for the checks of limits."""

    def test_receive_buffer(self) -> None:
        """The kernel's limit counts for a daemon without CAP_NET_ADMIN."""
        for limit, privileged, result in (
            (4194304, False, "ok"),
            (4194303, False, "warning"),
            (212992, False, "warning"),
            (131072, False, "warning"),
            (131071, False, "fault"),
            (212992, True, "ok"),
            (None, False, "skipped"),
        ):
            self.assert_one(check_receive_buffer(limit, privileged), result)
        advice = "sysctl -w net.core.rmem_max=4194304"
        self.assert_one(check_receive_buffer(212992, False), "warning", "208 kB", advice)

    def test_descriptors(self) -> None:
        """A low limit is a warning, and a very low one is a fault."""
        for limit, result in (
            (None, "ok"),
            (1024, "ok"),
            (576, "ok"),
            (575, "warning"),
            (128, "warning"),
            (127, "fault"),
        ):
            self.assert_one(check_descriptors(limit, True), result, "the daemon may open")
        self.assert_one(check_descriptors(100, False), "fault", "a process of this user", "LimitNOFILE=1024")

    def test_clock(self) -> None:
        """The time of day matters only if it differs from that of Consul, or for TLS."""
        for clock, result, words in (
            (Clock(True), "ok", "synchronised"),
            (Clock(False), "ok", "logs"),
            (Clock(False, tls=True), "warning", "certificates"),
            (Clock(None), "skipped", "not known"),
            (Clock(True, 5.0), "ok", "agrees with the clock of Consul"),
            (Clock(True, 5.1), "warning", "5 s ahead of the clock of Consul"),
            (Clock(False, -90.0, tls=True), "warning", "90 s behind the clock of Consul, so that"),
        ):
            self.assert_one(check_clock(clock), result, words)

    def test_facts(self) -> None:
        """The limit and the clock of this host can be read."""
        self.assertGreater(read_descriptor_limit() or 1, 0)
        self.assertIn(is_clock_synchronised(), (True, False))
