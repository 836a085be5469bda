"""Tests for :mod:`ssdpreg.cli.doctor.ipv6`."""

from __future__ import annotations

from ssdpreg.cli.doctor.ipv6 import IPv6State, check_ipv6, check_mld, parse_ipv6_addresses, parse_mld_table
from tests.unit.cli.doctor.case import CheckTestCase

#: Of Linux 6.18: a link-local address, one that is verified still, and one that another host has.
ADDRESSES = """\
fe800000000000000000000000000002 02 40 20 80     eth0
fd000077000000000000000000000003 02 40 00 c8     eth0
fd000077000000000000000000000004 02 40 00 40     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""
MEMBERSHIPS = """\
1    lo              ff020000000000000000000000000001     1 0000000C 0
2    eth0            ff02000000000000000000000000000c     1 00000004 0
2    eth0            ff05000000000000000000000000000c     1 00000004 0
3    eth1            ff02000000000000000000000000000c     1 00000004 0
"""


class IPv6Tests(CheckTestCase):
    """Tests for :func:`check_ipv6`."""

    def test_no_ipv6(self) -> None:
        """A kernel, or an interface, without IPv6 is no fault."""
        self.assert_one(check_ipv6(None), "skipped", "only IPv4 is used")
        self.assert_one(check_ipv6({"eth0": IPv6State(supported=False)}), "skipped", "MTU")

    def test_disabled(self) -> None:
        """The setting that turns it off is named."""
        found = check_ipv6({"eth0": IPv6State(disabled=True)})
        self.assert_one(found, "skipped", "sysctl -w net.ipv6.conf.eth0.disable_ipv6=0")

    def test_addresses(self) -> None:
        """An interface needs a link-local address, and addresses that are verified and unique."""
        link_local = "fe80::2"
        self.assert_one(check_ipv6({"eth0": IPv6State(addresses=(link_local,))}), "ok", link_local)
        found = check_ipv6({"eth0": IPv6State(addresses=("fd00::2",))})
        self.assert_one(found, "warning", "without a link-local address", "addr_gen_mode=0")
        state = IPv6State(addresses=(link_local, "fd00::3"), duplicates=("fd00::3",))
        self.assert_one(check_ipv6({"eth0": state}), "warning", "another host has the address fd00::3")
        state = IPv6State(addresses=(link_local,), tentative=(link_local,))
        self.assert_one(check_ipv6({"eth0": state}), "warning", "has not verified yet", "again in 2 s")

    def test_parse(self) -> None:
        """The kernel's table has flags for addresses that it does not use."""
        states = parse_ipv6_addresses(ADDRESSES, {"eth0": 0, "eth1": 1, "eth2": None})
        self.assertEqual(
            states,
            {
                "eth0": IPv6State(
                    addresses=("fe80::2", "fd00:77::3", "fd00:77::4"),
                    duplicates=("fd00:77::3",),
                    tentative=("fd00:77::4",),
                ),
                "eth1": IPv6State(disabled=True),
                "eth2": IPv6State(supported=False),
            },
        )


class MLDTests(CheckTestCase):
    """Tests for :func:`check_mld`."""

    def test_membership(self) -> None:
        """An interface must be a member of both groups."""
        findings = check_mld(["eth0", "eth1", "eth2"], parse_mld_table(MEMBERSHIPS))
        self.assert_results(findings, ("eth0", "ok"), ("eth1", "fault"), ("eth2", "fault"))
        self.assertIn("not a member of ff05::c,", findings[1].finding)
