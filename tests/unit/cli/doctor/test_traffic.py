"""Tests for :mod:`ssdpreg.cli.doctor.traffic`, :mod:`~.igmp`, :mod:`~.queriers` and :mod:`~.firewall`."""

from __future__ import annotations

import struct
from ipaddress import ip_network

from ssdpreg.cli.doctor.firewall import (
    DroppingRule,
    accept_announcements,
    find_iptables_rules,
    find_nft_rules,
)
from ssdpreg.cli.doctor.igmp import QuerierSearch, check_membership, check_queriers
from ssdpreg.cli.doctor.kernel import Membership
from ssdpreg.cli.doctor.queriers import parse_query
from ssdpreg.cli.doctor.traffic import Traffic, check_traffic
from ssdpreg.ssdp.messages import GROUP
from tests.unit.cli.doctor.case import CheckTestCase

RULE = DroppingRule("nft", "udp dport 1900 drop in chain x of table inet filter", "inet filter", "input")
OTHER_RULE = DroppingRule("nft", "tcp dport 22 drop in chain input of table inet filter", "inet filter", "input")


class TrafficTests(CheckTestCase):
    """Tests for :func:`check_traffic`."""

    def test_right(self) -> None:
        """Received probes are right. An absence of replies is no fault, and has advice."""
        round_trip, firewall, search = check_traffic(Traffic("eth0", probe_port=40000), None)
        self.assertEqual([each.result for each in (round_trip, firewall, search)], ["ok", "ok", "ok"])
        self.assertEqual((firewall.finding, firewall.advice), ("a probe to UDP port 40000 was received", ""))
        self.assertIn("ssdpreg search --interface eth0", search.advice)

    def test_replies(self) -> None:
        """Replies are accepted by the firewall if some were received, also if the probe was not."""
        hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
        _, firewall, search = check_traffic(Traffic("eth0", probe_returned=False, repliers=hosts), None)
        finding = "4 hosts replied: 10.0.0.1, 10.0.0.2, 10.0.0.3 and 1 more"
        self.assertEqual((firewall.result, search.finding), ("ok", finding))
        *_, search = check_traffic(Traffic("eth0", repliers=hosts[:3]), None)
        self.assertEqual(search.finding, "3 hosts replied: 10.0.0.1, 10.0.0.2, 10.0.0.3")
        *_, search = check_traffic(Traffic("eth0", repliers=hosts[:1]), None)
        self.assertEqual(search.finding, "1 host replied: 10.0.0.1")

    def test_off_link_replies(self) -> None:
        """Replies that the daemon drops, because their senders are on another network, are reported."""
        networks = [ip_network("10.0.0.2/32"), ip_network("fd00::/64")]
        repliers = ["10.0.0.2", "10.0.0.3", "fd00::1", "fe80::1%eth0"]
        *_, search = check_traffic(Traffic("eth0", repliers=repliers), None, (), networks)
        self.assert_one([search], "warning", "1 host replied from outside", "10.0.0.3", "prefix length", "ssdp.allow")
        for accepted in ([*networks, ip_network("10.0.0.0/24")], []):
            *_, search = check_traffic(Traffic("eth0", repliers=repliers), None, (), accepted)
            self.assertEqual((search.result, search.finding[:15]), ("ok", "4 hosts replied"))

    def test_rule_for_multicast(self) -> None:
        """A rule that drops multicast says nothing about replies. Another one, or an unknown one, may drop them."""
        traffic = Traffic("eth0", probe_returned=False)
        multicast = [
            DroppingRule("nft", f"{condition} drop in chain x of table ip f")
            for condition in (
                "meta pkttype multicast",
                "ip daddr 224.0.0.0/4",
                "ip6 daddr ff02::c",
                "ip daddr { 239.1.1.1",
            )
        ]
        multicast.append(DroppingRule("iptables", "-A INPUT -d 239.0.0.0/8 -j DROP"))
        for rule in multicast:
            self.assertEqual(check_traffic(traffic, None, [rule])[1].result, "skipped", rule)
        for rules in ([*multicast, OTHER_RULE], [DroppingRule("nft", "ip daddr 22.0.0.1 drop")], []):
            self.assertEqual(check_traffic(traffic, None, rules)[1].result, "fault", rules)

    def test_several_chains(self) -> None:
        """Announcements have to be accepted in each chain that may drop them."""
        policy = DroppingRule("nft", "policy drop of chain in in table ip b", "ip b", "in")
        found = accept_announcements([RULE, RULE, OTHER_RULE, policy], 4)
        to_group = "ip daddr 239.255.255.250 udp dport 1900 accept"
        first, second = (f"nft insert rule {chain} {to_group}" for chain in ("inet filter input", "ip b in"))
        self.assertEqual(found, f"{first}; {second}")

    def test_in_use(self) -> None:
        """Without port 1900 there is no round trip."""
        self.assert_one(check_traffic(Traffic("eth0", in_use=True, problem="x"), None), "skipped")

    def test_problem(self) -> None:
        """A datagram that cannot be sent is a fault, with other advice if a firewall drops it."""
        problem = check_traffic(Traffic("eth0", problem="cannot send: Network is unreachable"), None)
        self.assert_one(problem, "fault", "Network is unreachable", "ip route get 239.255.255.250 oif eth0")
        problem = check_traffic(Traffic("eth0", problem="cannot send: Operation not permitted", blocked=True), None)
        self.assert_one(problem, "fault", "a firewall drops what this host sends", "nft list ruleset")
        problem = check_traffic(Traffic("eth0", problem="cannot send: x", blocked=True, version=6), None)
        self.assert_one(problem, "fault", "Accept UDP to ff02::c and ff05::c")
        problem = check_traffic(Traffic("eth0", problem="cannot join: No buffer space available", at_limit=True), None)
        self.assert_one(problem, "fault", "Run: sysctl -w net.ipv4.igmp_max_memberships=20")

    def test_announcements_dropped(self) -> None:
        """A datagram that is not received again is a fault, with the rule if it is known."""
        (round_trip, *_) = check_traffic(Traffic("eth0", missing=["239.255.255.250"]), None, [RULE, OTHER_RULE])
        self.assert_one(
            [round_trip], "fault", f"drops announcements ({RULE})", "nft insert rule inet filter input ip daddr"
        )
        (round_trip, *_) = check_traffic(Traffic("eth0", missing=["239.255.255.250"]), None)
        self.assertNotIn("()", round_trip.finding)

    def test_replies_dropped(self) -> None:
        """A probe that is dropped is a fault, with the configured ports in the advice."""
        traffic = Traffic("eth0", probe_port=41000, probe_returned=False)
        _, firewall, _ = check_traffic(traffic, None, [RULE])
        self.assert_one(
            [firewall], "fault", "a probe to UDP port 41000 was dropped", str(RULE), '{"ports": "40000-40099"}'
        )
        _, firewall, _ = check_traffic(traffic, (41000, 41009))
        self.assert_one([firewall], "fault", "Accept UDP to ports 41000 to 41009")
        _, firewall, _ = check_traffic(Traffic("eth0", probe_from_1900_returned=False), None)
        self.assert_one([firewall], "fault", "a probe from port 1900 to")

    def test_ipv6(self) -> None:
        """A finding about IPv6 names the version, the groups that are missing, and rules for IPv6."""
        findings = check_traffic(Traffic("eth0", version=6), None)
        self.assertEqual([each.subject for each in findings], ["eth0 IPv6"] * 3)
        self.assertIn("ff02::c and ff05::c", findings[0].finding)
        self.assertEqual(findings[2].advice, "")
        (round_trip, *_) = check_traffic(Traffic("eth0", version=6, missing=["ff05::c"]), None)
        self.assert_one(
            [round_trip], "fault", "datagram to ff05::c,", "ip6 daddr { ff02::c, ff05::c, ff0e::c }", "ip6tables-save"
        )
        (problem,) = check_traffic(Traffic("eth0", version=6, problem="cannot send to ff02::c: x"), None)
        self.assertIn("ip route get ff02::c oif eth0", problem.advice)

    def test_other_rules(self) -> None:
        """A rule that drops other datagrams is mentioned."""
        _, firewall, _ = check_traffic(Traffic("eth0"), None, [RULE])
        self.assertEqual(firewall.result, "ok")
        self.assertIn(str(RULE), firewall.advice)


class IGMPTests(CheckTestCase):
    """Tests for :func:`check_membership` and :func:`check_queriers`."""

    def test_membership(self) -> None:
        """The interface must be a member, and IGMPv1 must not be forced."""
        member = Membership(3, frozenset({GROUP}))
        memberships = {"eth0": member, "eth1": Membership(3, frozenset()), "eth3": member, "eth4": member}
        findings = check_membership(
            ["eth0", "eth1", "eth2", "eth3", "eth4"], memberships, {"eth0": 0, "eth3": 1, "eth4": 2}
        )
        self.assert_results(
            findings, ("eth0", "ok"), ("eth1", "fault"), ("eth2", "fault"), ("eth3", "warning"), ("eth4", "ok")
        )
        self.assertIn("IGMPv3", findings[0].finding)
        self.assertIn("IGMPv2, which is forced", findings[4].finding)

    def test_queriers(self) -> None:
        """A network without a querier is a warning, and a search that was not made is skipped."""
        findings = check_queriers(["eth0", "eth1"], QuerierSearch(queriers={"eth0": "10.0.0.1"}))
        self.assert_results(findings, ("eth0", "ok"), ("eth1", "warning"))
        self.assertIn("10.0.0.1", findings[0].finding)
        self.assertIn("135 s", findings[1].finding)
        self.assert_one(check_queriers(["eth0"], QuerierSearch("needs root")), "skipped", "needs root")
        findings = check_queriers(["eth0"], QuerierSearch(queriers={}), "MLD")
        self.assert_results(findings, ("eth0 IPv6", "warning"))
        self.assertIn("no MLD query", findings[0].finding)

    def test_parse_query(self) -> None:
        """Only a query has a sender. The header of IP may have options."""
        source = b"\x0a\x00\x00\x01"
        header = struct.pack("!BBHHHBBH4s4s", 0x46, 0, 32, 0, 0, 1, 2, 0, source, b"\xe0\x00\x00\x01") + b"\x94\x04\0\0"
        self.assertEqual(parse_query(header + b"\x11\x64\0\0\0\0\0\0"), "10.0.0.1")
        self.assertIsNone(parse_query(header + b"\x16\x64\0\0\0\0\0\0"))
        self.assertIsNone(parse_query(header + b"\x11\x64"))
        plain = b"\x45" + header[1:20]
        self.assertEqual(parse_query(plain + b"\x11\x64\0\0\0\0\0\0"), "10.0.0.1")
        self.assertIsNone(parse_query(plain + b"\x11\x64\0\0\0\0\0"))
        self.assertIsNone(parse_query(b""))
        self.assertIsNone(parse_query(b"\x11" * 40))


class FirewallRulesTests(CheckTestCase):
    """Tests for the search for rules in the output of nft and iptables-save."""

    def test_nft(self) -> None:
        """Rules and policies of chains for incoming packets are found, those about UDP first."""
        text = """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state invalid drop
		iif "lo" accept
		tcp dport 22 drop
		udp dport 1900 drop
		udp dport 5353 accept
	}

	chain forward {
		type filter hook forward priority filter; policy drop;
		udp dport 9 drop
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
	}
}
"""
        self.assertEqual(
            [str(each) for each in find_nft_rules(text)],
            [
                "nft: udp dport 1900 drop in chain input of table inet filter",
                "nft: policy drop of chain input in table inet filter",
                "nft: tcp dport 22 drop in chain input of table inet filter",
            ],
        )
        self.assertEqual(find_nft_rules(""), [])

    def test_nft_jump(self) -> None:
        """A rule in another chain counts if an incoming packet reaches it, and the advice names the first chain."""
        text = """table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		jump filter_INPUT_ZONES
		goto filter_INPUT
	}
	chain filter_INPUT_ZONES {
		udp dport 1900 reject with icmpx admin-prohibited
	}
	chain unused {
		udp dport 1900 drop
	}
}
"""
        (rule,) = find_nft_rules(text)
        self.assertEqual(rule.chain, "filter_INPUT")
        self.assertIn("in chain filter_INPUT_ZONES of table inet firewalld", rule.text)

    def test_nft_families(self) -> None:
        """A table for the packets of one IP version does not concern the other one."""
        text = """table ip6 filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
}
"""
        self.assertEqual((find_nft_rules(text), len(find_nft_rules(text, 6))), ([], 1))

    def test_advice(self) -> None:
        """The command that accepts announcements is that of the program which maintains the firewall."""
        for rule, version, command in (
            (RULE, 4, "nft insert rule inet filter input ip daddr 239.255.255.250 udp dport 1900 accept"),
            (DroppingRule("nft", "x", "inet firewalld", "c"), 4, "firewall-cmd --permanent --add-port=1900/udp"),
            (DroppingRule("iptables", "-A ufw-x -j DROP", "", "INPUT"), 6, "ufw allow proto udp to ff02::c port 1900"),
            (DroppingRule("iptables", "-A INPUT -j DROP", "", "INPUT"), 4, "iptables -I INPUT -d 239.255.255.250 -p"),
            (
                DroppingRule("iptables", "-A INPUT -j DROP", "", "INPUT"),
                6,
                "ip6tables -I INPUT -d ff02::c,ff05::c,ff0e::c -p",
            ),
        ):
            self.assertIn(command, accept_announcements([rule], version))

    def test_iptables(self) -> None:
        """Rules and the policy of the chain INPUT are found."""
        text = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p udp -m udp --dport 1024:65535 -j DROP
-A FORWARD -j DROP
-A INPUT -j LOGGED
-A LOGGED -p udp -j DROP
-A UNUSED -p udp -j DROP
COMMIT
*nat
-A INPUT -j DROP
COMMIT
"""
        self.assertEqual(
            [str(each) for each in find_iptables_rules(text)],
            [
                "iptables: -A INPUT -p udp -m udp --dport 1024:65535 -j DROP",
                "iptables: -A LOGGED -p udp -j DROP",
                "iptables: :INPUT DROP [0:0]",
                "iptables: -A INPUT -p tcp -j REJECT --reject-with icmp-port-unreachable",
            ],
        )
