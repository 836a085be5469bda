"""Tests for ``ssdpreg doctor`` on hosts that are broken in one or several ways, each with its own network."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.doctor.rights import needed_rights, parse_authorization
from ssdpreg.config import Config, ConsulConfig, SSDPConfig
from tests.support import hosts
from tests.support.certificates import make_certificate
from tests.support.consul import ConsulProcess, find_consul, skip_without_consul
from tests.support.hosts import Lan, Program
from tests.support.paths import ROOT
from tests.support.programs import skip_without
from tests.support.rack import API, Rack, notify, twistd
from tests.support.waiting import wait_until

_MAIN = "from ssdpreg.cli.main import main; sys.exit(main())"
#: A configuration that needs no Consul.
EMBEDDED: dict[str, Any] = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}
CONSUL: dict[str, Any] = {"ssdp": {"tags": {"RackHD": [API]}}}

#: Reply of a device to every search.
_REPLY = f"""HTTP/1.1 200 OK\r
ST: {API}\r
USN: uuid:d1::{API}\r
LOCATION: http://10.77.0.3:8080/\r
CACHE-CONTROL: max-age=1800\r
\r
""".encode()
#: Program that holds UDP port 1900 without sharing it.
_HOLD = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 1900)); print('bound', flush=True)"
#: General query of IGMPv2: RFC 2236, section 2.
_QUERY = b"\x11\x64\xee\x9b\x00\x00\x00\x00"


class DoctorTestCase(SynchronousTestCase):
    """Test case with a host on which the command runs, and one device."""

    skip = hosts.unavailable()
    timeout = 180

    def setUp(self) -> None:
        self.lan = Lan()
        self.addCleanup(self.lan.close)
        self.host, self.device = self.lan.host("10.77.0.2"), self.lan.host("10.77.0.3")
        self.rack = Rack(self.host, self.lan.folder)

    def write_config(self, config: Mapping[str, Any]) -> Path:
        """Write a configuration file."""
        path = self.lan.folder / "doctor.json"
        path.write_text(json.dumps(config))
        return path

    def command(self, *arguments: str, before: Sequence[str] = ()) -> list[str]:
        """Return the command in the network of the host."""
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {_MAIN}"
        return ["ip", "netns", "exec", self.host.name, *before, sys.executable, "-c", start, "doctor", *arguments]

    def call(self, *arguments: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        command = self.command(*arguments, before=before)
        return subprocess.run(command, capture_output=True, text=True, cwd=self.lan.folder, timeout=60, check=False)

    def examine(self, config: Mapping[str, Any], *arguments: str, before: Sequence[str] = ()) -> list[dict[str, str]]:
        """Run the command with a configuration and ``--json``, and return its findings."""
        done = self.call("--json", "--config", str(self.write_config(config)), *arguments, before=before)
        self.assertEqual(done.stderr, "")
        findings: list[dict[str, str]] = json.loads(done.stdout)
        self.assertEqual(done.returncode, int(any(each["result"] == "fault" for each in findings)))
        return findings

    def assert_finding(
        self, findings: Sequence[Mapping[str, str]], check: str, subject: str, result: str, *words: str
    ) -> None:
        """Assert that the findings have one about a subject with some words in its text or advice."""
        for each in findings:
            text = f"{each['finding']}. {each['advice']}"
            described = (each["check"], each["subject"], each["result"])
            if described == (check, subject, result) and all(word in text for word in words):
                return
        listed = "\n".join(" | ".join(each.values()) for each in findings)
        self.fail(f"No {result} of {check} {subject} with {words} in:\n{listed}")

    def add_card(self, name: str, *options: str, address: str = "") -> None:
        """Add a network card whose other end is on the same host, and is up."""
        self.host.call(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"])
        self.host.call(["ip", "link", "set", f"{name}p", "up"])
        if options:
            self.host.call(["ip", "link", "set", "dev", name, *options])
        if address:
            self.host.call(["ip", "address", "add", address, "dev", name])

    def start_daemon(self, config: Mapping[str, Any], name: str, before: Sequence[str] = ()) -> Program:
        """Start a daemon with a configuration file of another name than that of the command."""
        path = self.lan.folder / f"{name}.json"
        path.write_text(json.dumps(config))
        program = self.host.run([*before, *twistd("ssdpreg", "--config", str(path))], cwd=str(ROOT))
        program.wait_for("Serving at", 30)
        return program

    def reply_to_searches(self) -> None:
        """Send a reply of the device to each search, in a thread."""
        listener = self.device.listen(1900)
        self.addCleanup(listener.close)
        listener.settimeout(None)

        def listen() -> None:
            # The test ends by closing the socket.
            with contextlib.suppress(OSError):
                while True:
                    received, sender = listener.recvfrom(65507)
                    if received.startswith(b"M-SEARCH"):
                        listener.sendto(_REPLY, sender)

        threading.Thread(target=listen, daemon=True).start()


class HealthyHostTests(DoctorTestCase):
    """Tests on hosts without a fault."""

    skip = hosts.unavailable() or skip_without_consul

    def test_healthy(self) -> None:
        """With a daemon, a Consul agent and a device, there is no fault and no warning."""
        self.rack.start_consul()
        self.reply_to_searches()
        self.rack.start_daemon(CONSUL)
        wait_until(lambda: self.host.http("/readyz", port=8580).status == 200, 30)
        self.device.send(notify(API, "d1", "http://10.77.0.3:8080/"))
        findings = self.examine(CONSUL)
        self.assertEqual([each for each in findings if each["result"] in ("fault", "warning")], [])
        assert self.rack.daemon is not None
        pid = self.rack.daemon.process.pid
        for check, subject, words in (
            ("configuration", "", "1 search term, Consul at 127.0.0.1:8500 (agent mode)"),
            ("interface", "eth0", "up, with multicast and the address 10.77.0.2"),
            ("port", "UDP 1900", f"shared by ssdpreg (pid {pid})"),
            ("drops", "UDP 1900", "no datagram for the daemon"),
            ("multicast", "eth0", "sent and received again"),
            ("firewall", "eth0", "replies to a search were received"),
            ("search", "eth0", "1 host replied: 10.77.0.3"),
            ("IGMP", "eth0", "member of 239.255.255.250 with IGMPv3"),
            ("descriptors", "", "the daemon may open"),
            ("Consul", "http://127.0.0.1:8500", "responds"),
            ("leader", "", "127.0.0.1:8300"),
            ("version", "", "1."),
            ("ACL", "", "not enabled"),
            ("daemon", "", "1 live service;"),
            ("ready", "", "the first searches are over"),
            ("lost datagrams", "", "none"),
        ):
            self.assert_finding(findings, check, subject, "ok", words)
        self.assert_finding(findings, "querier", "eth0", "skipped", "--long")
        # Nothing was written to Consul.
        before = self.rack.raft_index()
        self.examine(CONSUL)
        # An idle Consul writes an entry about once a minute.
        self.assertLessEqual(self.rack.raft_index() - before, 1)

    def test_text(self) -> None:
        """The text has one line for each finding, with aligned columns, and a summary on standard error."""
        self.host.set_ipv6("eth0", "disable_ipv6=1")
        done = self.call("--config", str(self.write_config(EMBEDDED)))
        self.assertEqual((done.returncode, done.stderr), (1, "1 fault, 0 warnings, 3 skipped, 11 ok\n"))
        lines = done.stdout.splitlines()
        self.assertEqual(
            [line for line in lines if not line.startswith(" ")],
            ["Configuration", "Network interfaces", "Multicast", "Limits", "Daemon"],
        )
        self.assertEqual({line[2:9].strip() for line in lines if line.startswith(" ")}, {"ok", "skipped", "fault"})
        self.assertIn("  fault    daemon          not running: http://127.0.0.1:8580 ", done.stdout)

    def test_querier(self) -> None:
        """``--long`` waits for an IGMP query of each network, and ends when it has received them."""
        stop = threading.Event()
        self.addCleanup(stop.set)

        def query() -> None:
            opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
            with opened:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.3"))
                while not stop.wait(0.2):
                    opened.sendto(_QUERY, ("224.0.0.1", 0))

        thread = threading.Thread(target=lambda: self.device.inside(query))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        self.assert_finding(self.examine(EMBEDDED, "--long"), "querier", "eth0", "ok", "10.77.0.3 sends IGMP queries")

    def test_without_root(self) -> None:
        """Another user than root gets the same checks, and one finding with the checks that are left out."""
        path = self.write_config(EMBEDDED)
        self.lan.folder.chmod(0o755)
        done = self.call(
            "--json", "--long", "--config", str(path), before=["setpriv", "--reuid=65534", "--clear-groups"]
        )
        findings = json.loads(done.stdout)
        self.assert_finding(findings, "root", "", "skipped", "sudo ssdpreg doctor")
        self.assert_finding(findings, "multicast", "eth0", "ok", "sent and received again")
        self.assert_finding(findings, "firewall", "eth0", "ok", "a probe to UDP port")
        self.assert_finding(findings, "querier", "eth0", "skipped", "needs root")


class BrokenNetworkTests(DoctorTestCase):
    """Tests on hosts with a broken network."""

    def test_interfaces(self) -> None:
        """Interfaces that are down, absent, without carrier, multicast or address are found if they are configured."""
        self.add_card("eth1", address="10.81.0.2/24")
        self.add_card("eth2", "up", "multicast", "off", address="10.82.0.2/24")
        self.add_card("eth3", "up", address="10.83.0.2/24")
        self.host.call(["ip", "link", "set", "eth3p", "down"])
        self.add_card("eth4", "up")
        names = ["eth0", "eth1", "eth2", "eth3", "eth4", "eth9", "10.99.0.0/16"]
        findings = self.examine({**EMBEDDED, "ssdp": {**EMBEDDED["ssdp"], "interfaces": names}})
        self.assert_finding(findings, "interface", "eth0", "ok", "10.77.0.2")
        self.assert_finding(findings, "interface", "eth1", "fault", "down", "ip link set dev eth1 up")
        self.assert_finding(findings, "interface", "eth2", "fault", "ip link set dev eth2 multicast on")
        self.assert_finding(findings, "interface", "eth3", "fault", "carrier", "cable")
        self.assert_finding(findings, "interface", "eth4", "fault", "without an IPv4 address", "ip address add")
        self.assert_finding(findings, "interface", "eth9", "fault", "absent", "Present are: eth0, ")
        self.assert_finding(findings, "interface", "10.99.0.0/16", "fault", "no interface that is up has an address")

    def test_no_interface(self) -> None:
        """A host whose only card is down has a fault, also without ``ssdp.interfaces``."""
        self.host.call(["ip", "link", "set", "eth0", "down"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "interface", "", "fault", "no interface except loopback", "eth0 is down")

    def test_exclusive_port(self) -> None:
        """A program that holds UDP port 1900 without sharing it is found with its name and process ID."""
        program = self.lan.folder / "upnp-hog"
        program.symlink_to(sys.executable)
        holder = self.host.run([str(program), "-c", f"{_HOLD}; time.sleep(1000)"])
        holder.wait_for("bound")
        findings = self.examine(EMBEDDED)
        advice = "Stop it, or configure it to share the port (SO_REUSEADDR)"
        words = f"held exclusively by upnp-hog (pid {holder.process.pid})"
        self.assert_finding(findings, "port", "UDP 1900", "fault", words, advice)
        self.assert_finding(findings, "multicast", "eth0", "skipped", "held by another program")

    def test_bridge(self) -> None:
        """A bridge with IGMP snooping and without a querier is reported, and one with a querier is right."""
        self.host.call(["ip", "link", "add", "br0", "type", "bridge"])
        self.host.call(["ip", "link", "set", "br0", "up"])
        self.host.call(["ip", "address", "add", "10.84.0.1/24", "dev", "br0"])
        findings = self.examine(EMBEDDED)
        advice = "ip link set dev br0 type bridge mcast_querier 1"
        self.assert_finding(findings, "bridge", "br0", "warning", "without a querier", advice)
        self.host.call(["ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "1"])
        self.assert_finding(self.examine(EMBEDDED), "bridge", "br0", "ok", "querier")

    def test_docker(self) -> None:
        """The bridge of Docker is reported if it is used because no interface is configured."""
        self.host.call(["ip", "link", "add", "docker0", "type", "bridge"])
        self.host.call(["ip", "link", "set", "docker0", "up"])
        self.host.call(["ip", "address", "add", "172.17.0.1/16", "dev", "docker0"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "bridge", "docker0", "warning", "containers", '"interfaces": ["eth0"]')

    def test_reverse_path(self) -> None:
        """Strict reverse path filtering is reported if two interfaces are on one network."""
        self.add_card("eth1", "up", address="10.77.0.9/24")
        self.host.call(["sysctl", "-qw", "net.ipv4.conf.eth1.rp_filter=1"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "rp_filter", "eth1", "warning", "eth0 is on the same network", "rp_filter=2")
        self.assert_finding(findings, "rp_filter", "eth0", "ok", "not strict")

    def test_forced_version(self) -> None:
        """A forced version of IGMP is reported."""
        self.host.call(["sysctl", "-qw", "net.ipv4.conf.eth0.force_igmp_version=1"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "IGMP", "eth0", "warning", "IGMPv1 is forced", "force_igmp_version=0")


class BrokenIPv6Tests(DoctorTestCase):
    """Tests on hosts that have IPv4 and IPv6, with a fault in the latter."""

    def setUp(self) -> None:
        super().setUp()
        self.host, self.device = self.lan.host("10.77.0.4", "fd00:77::4"), self.lan.host("10.77.0.5", "fd00:77::5")

    def test_right(self) -> None:
        """The traffic of both IPv6 groups is examined."""
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "interface", "eth0", "ok", "the addresses 10.77.0.4 and fe80::")
        self.assert_finding(findings, "IPv6", "eth0", "ok", "link-local address fe80::")
        words = "a datagram to ff02::c and ff05::c was sent and received again"
        self.assert_finding(findings, "multicast", "eth0 IPv6", "ok", words)
        self.assert_finding(findings, "firewall", "eth0 IPv6", "ok", "a probe to UDP port")
        self.assert_finding(findings, "MLD", "eth0", "ok", "member of ff02::c and ff05::c")

    def test_disabled(self) -> None:
        """IPv6 that is disabled on one interface is mentioned, and is no fault."""
        self.host.set_ipv6("eth0", "disable_ipv6=1")
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "IPv6", "eth0", "skipped", "net.ipv6.conf.eth0.disable_ipv6=0")
        self.assertNotIn("eth0 IPv6", [each["subject"] for each in findings])

    def test_no_link_local_address(self) -> None:
        """An interface without a link-local address is reported, and the advice works."""
        self.host.call(["ip", "link", "set", "eth0", "down"])
        self.host.set_ipv6("eth0", "addr_gen_mode=1")
        self.host.call(["ip", "link", "set", "eth0", "up"])
        self.host.call(["ip", "address", "add", "fd00:77::4/64", "dev", "eth0", "nodad"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "IPv6", "eth0", "warning", "without a link-local address", "addr_gen_mode=0")
        self.host.set_ipv6("eth0", "addr_gen_mode=0")
        self.host.call(["ip", "link", "set", "eth0", "down"])
        self.host.call(["ip", "link", "set", "eth0", "up"])
        wait_until(lambda: self.host.link_local)
        self.assert_finding(self.examine(EMBEDDED), "IPv6", "eth0", "ok", "fe80::")

    def test_duplicate_address(self) -> None:
        """An address that another host has, too, is reported."""
        self.host.set_ipv6("eth0", "accept_dad=1")
        self.host.call(["ip", "address", "add", "fd00:77::5/64", "dev", "eth0"])
        listing = ["ip", "-6", "address", "show", "dev", "eth0"]
        wait_until(lambda: "dadfailed" in self.host.call(listing), 10)
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "IPv6", "eth0", "warning", "another host has the address fd00:77::5")

    def test_no_ipv4_address(self) -> None:
        """An interface that has only IPv6 is reported, because most devices use IPv4."""
        self.host.call(["ip", "-4", "address", "flush", "dev", "eth0"])
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "interface", "eth0", "warning", "without an IPv4 address", "ip address add")

    def test_exclusive_port(self) -> None:
        """A program that holds the port over IPv6 only is found, and IPv4 is examined."""
        script = (
            "import socket, time; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
            " s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); s.bind(('::', 1900));"
            " print('bound', flush=True); time.sleep(1000)"
        )
        holder = self.host.run([sys.executable, "-c", script])
        holder.wait_for("bound")
        findings = self.examine(EMBEDDED)
        words = ("held exclusively over IPv6 by", f"(pid {holder.process.pid})")
        self.assert_finding(findings, "port", "UDP 1900", "fault", *words)
        self.assert_finding(findings, "multicast", "eth0 IPv6", "skipped", "held by another program")
        self.assert_finding(findings, "multicast", "eth0", "ok")


class FirewallTests(DoctorTestCase):
    """Tests on hosts whose firewall drops datagrams."""

    skip = hosts.unavailable() or skip_without("nft", "nftables")

    def add_rules(self, policy: str, *rules: str, hook: str = "input") -> None:
        """Replace the rules of the firewall by a chain."""
        text = "\n".join(f"add rule inet filter input {rule}" for rule in rules)
        path = self.lan.folder / "rules"
        chain = f"add chain inet filter input {{ type filter hook {hook} priority 0; {policy} }}"
        path.write_text(f"flush ruleset\nadd table inet filter\n{chain}\n{text}\n")
        self.host.call(["nft", "-f", str(path)])

    def test_replies(self) -> None:
        """A firewall that accepts port 1900 and drops replies is found, and its rule is shown."""
        self.reply_to_searches()
        self.add_rules("policy drop;", "iif lo accept", "ct state established,related accept", "udp dport 1900 accept")
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "multicast", "eth0", "ok")
        rule = "policy drop of chain input in table inet filter"
        self.assert_finding(findings, "firewall", "eth0", "fault", "replies to searches are lost", rule, "nft list")
        # The advice works.
        config = {**EMBEDDED, "ssdp": {**EMBEDDED["ssdp"], "search": {"ports": "40000-40099"}}}
        self.assert_finding(self.examine(config), "firewall", "eth0", "fault", "Accept UDP to ports 40000 to 40099")
        self.host.call(["nft", "add", "rule", "inet", "filter", "input", "udp", "dport", "40000-40099", "accept"])
        self.assert_finding(self.examine(config), "firewall", "eth0", "ok", "replies to a search were received")

    def test_announcements(self) -> None:
        """A firewall that drops port 1900 is found, also without root."""
        self.add_rules("", "udp dport 1900 drop")
        findings = self.examine(EMBEDDED)
        rule = "udp dport 1900 drop"
        self.assert_finding(findings, "multicast", "eth0", "fault", "drops announcements", rule, "nft insert rule")
        self.lan.folder.chmod(0o755)
        self.write_config(EMBEDDED).chmod(0o644)
        findings = self.examine(EMBEDDED, before=["setpriv", "--reuid=65534", "--clear-groups"])
        self.assert_finding(findings, "multicast", "eth0", "fault", "drops announcements", "as root: nft list ruleset")
        # The advice works.
        insert = ["nft", "insert", "rule", "inet", "filter", "input", "ip", "daddr", "239.255.255.250"]
        self.host.call([*insert, "udp", "dport", "1900", "accept"])
        self.assert_finding(self.examine(EMBEDDED), "multicast", "eth0", "ok")

    def test_ipv6(self) -> None:
        """A firewall that drops IPv6 only is found, and the advice for its table and chain works."""
        self.host = self.lan.host("10.77.0.4", "fd00:77::4")
        path = self.lan.folder / "rules"
        chain = "chain from_net {\n udp dport 1900 reject\n }\n"
        base = "chain entry {\n type filter hook input priority 0;\n iif lo accept\n jump from_net\n }\n"
        path.write_text(f"table ip6 rack {{\n {chain} {base} }}\n")
        self.host.call(["nft", "-f", str(path)])
        findings = self.examine(EMBEDDED)
        rule = "nft: udp dport 1900 reject in chain from_net of table ip6 rack"
        command = "nft insert rule ip6 rack entry ip6 daddr { ff02::c, ff05::c, ff0e::c } udp dport 1900 accept"
        self.assert_finding(findings, "multicast", "eth0 IPv6", "fault", "ff02::c and ff05::c", rule, command)
        self.assert_finding(findings, "multicast", "eth0", "ok")
        self.host.call(command.split())
        self.assert_finding(self.examine(EMBEDDED), "multicast", "eth0 IPv6", "ok")

    def test_replies_from_port_1900(self) -> None:
        """A firewall that drops what is sent from port 1900 is found."""
        self.reply_to_searches()
        self.add_rules("", "udp sport 1900 drop")
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "multicast", "eth0", "ok")
        self.assert_finding(findings, "firewall", "eth0", "fault", "a probe from port 1900", "udp sport 1900 drop")

    def test_outgoing(self) -> None:
        """A firewall that drops the searches of this host is found."""
        self.add_rules("", "udp dport 1900 drop", hook="output")
        findings = self.examine(EMBEDDED)
        words = ("cannot send to 239.255.255.250: Operation not permitted", "for outgoing datagrams")
        self.assert_finding(findings, "multicast", "eth0", "fault", *words)


class BrokenDaemonTests(DoctorTestCase):
    """Tests on hosts with a broken configuration, limit or daemon."""

    def test_configuration(self) -> None:
        """Every fault of the configuration is reported, and the other checks use the defaults."""
        faulty = {"ssdp": {"tags": {"RackHD": [API]}, "trsut": "direct"}, "web": {"endpoint": "tcp:x"}}
        findings = self.examine(faulty)
        self.assert_finding(findings, "configuration", "ssdp.trsut", "fault")
        self.assert_finding(findings, "configuration", "web.endpoint", "fault", "ssdpreg check-config")
        self.assert_finding(findings, "multicast", "eth0", "ok")

    def test_no_configuration(self) -> None:
        """A missing configuration is a fault."""
        done = self.call("--json", before=["env", f"HOME={self.lan.folder}"])
        findings = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1)
        self.assert_finding(findings, "configuration", "", "fault", "no configuration file found", "--write-config")

    def test_usage(self) -> None:
        """An invalid address of Consul is invalid usage."""
        done = self.call("--config", str(self.write_config(CONSUL)), "--address", "http://")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--address: ", done.stderr)

    def test_hanging(self) -> None:
        """A daemon whose process does not respond is a fault."""
        daemon = self.start_daemon(EMBEDDED, "daemon")
        daemon.signal(signal.SIGSTOP)
        findings = self.examine(EMBEDDED)
        daemon.signal(signal.SIGCONT)
        self.assert_finding(findings, "daemon", "", "fault", "does not answer within 5 s", "restart")

    def test_other_program(self) -> None:
        """Another program on the port of the daemon's web server is reported."""
        self.host.run([sys.executable, "-u", "-m", "http.server", "8580"]).wait_for("Serving")
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "daemon", "", "fault", "is another program", "Stop that program")

    def test_limits(self) -> None:
        """A low limit of descriptors and a small receive buffer of the running daemon are reported."""
        unprivileged = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
        self.start_daemon(EMBEDDED, "daemon", ["prlimit", "--nofile=100:100", *unprivileged])
        # The limit of the buffer belongs to the whole machine: only the command sees another value.
        (self.lan.folder / "rmem_max").write_text("65536\n")
        script = f'mount --bind {self.lan.folder}/rmem_max /proc/sys/net/core/rmem_max && exec "$@"'
        findings = self.examine(EMBEDDED, before=["sh", "-c", script, "sh"])
        self.assert_finding(findings, "descriptors", "", "fault", "the daemon may open 100", "LimitNOFILE=1024")
        words = "net.core.rmem_max is 64 kB"
        self.assert_finding(findings, "receive buffer", "", "fault", words, "sysctl -w net.core.rmem_max=4194304")

    def test_not_running(self) -> None:
        """A daemon that does not run is a fault."""
        findings = self.examine(EMBEDDED)
        self.assert_finding(findings, "daemon", "", "fault", "not running", "systemctl start ssdpreg")
        self.assert_finding(findings, "port", "UDP 1900", "ok", "free")


class BrokenConsulTests(DoctorTestCase):
    """Tests on hosts whose Consul, or the way to it, is broken."""

    skip = hosts.unavailable() or skip_without_consul

    def start_consul(self, *arguments: str, config: Mapping[str, Any] | None = None) -> None:
        """Start an agent, and wait until its HTTP API responds."""
        path = self.lan.folder / "agent.json"
        path.write_text(json.dumps({"performance": {"raft_multiplier": 1}, **(config or {})}))
        self.host.run([str(find_consul()), "agent", "-bind=127.0.0.1", f"-config-file={path}", *arguments])

        def responds() -> bool:
            try:
                return self.host.http("/v1/status/leader").status in (200, 500)
            except OSError:
                return False

        wait_until(responds, 30)

    def test_address(self) -> None:
        """A wrong address of Consul is reported, and a daemon that uses it is not ready."""
        config = {**CONSUL, "backend": {"address": "127.0.0.1:8599"}}
        self.start_daemon(config, "daemon")
        wait_until(lambda: "not answer" in self.host.http("/readyz", port=8580).body.decode(), 30)
        findings = self.examine(config)
        words = "does not answer: Connection was refused"
        self.assert_finding(findings, "Consul", "http://127.0.0.1:8599", "fault", words, "127.0.0.1:8599")
        self.assert_finding(findings, "ready", "", "fault", "not ready", "http://127.0.0.1:8599 does not answer")

    def test_name(self) -> None:
        """A name of Consul that does not resolve is reported."""
        findings = self.examine(CONSUL, "--address", "consul.invalid:8500")
        self.assert_finding(findings, "name", "consul.invalid", "fault", "does not resolve", "getent hosts")

    def test_rights(self) -> None:
        """A token without a right is reported with the rule that grants it, and nothing is written to find out."""
        consul = ConsulProcess(acl=True)
        self.addCleanup(consul.clean_up)
        self.host.inside(consul.start)
        reader = self.host.inside(lambda: consul.add_token('service_prefix "" { policy = "read" }'))
        writer = self.host.inside(lambda: consul.add_token('service_prefix "" { policy = "write" }'))
        before = self.host.inside(consul.raft_index)
        backend = {"address": consul.address}
        findings = self.examine({**CONSUL, "backend": {**backend, "token": reader}})
        rule = 'service_prefix "RackHD-service:api:2.0" { policy = "write" }'
        self.assert_finding(findings, "ACL", "", "fault", "the token lacks service:write on ssdpreg", rule)
        self.assert_finding(findings, "version", "", "skipped", "agent:read")
        findings = self.examine({**CONSUL, "backend": {**backend, "token": writer}})
        self.assert_finding(findings, "ACL", "", "ok", "the token has all 2 rights")
        findings = self.examine({**CONSUL, "backend": backend})
        self.assert_finding(findings, "ACL", "", "fault", "a request without token lacks", "backend.token_file")
        findings = self.examine({**CONSUL, "backend": {**backend, "token": "00000000-0000-0000-0000-00000000dead"}})
        self.assert_finding(findings, "ACL", "", "fault", "does not know the token: ACL not found")
        # An idle Consul writes an entry about once a minute, and the command was run four times.
        self.assertLessEqual(self.host.inside(consul.raft_index) - before, 2)
        self.assertEqual(self.host.inside(consul.services), {})

    def test_datacenter(self) -> None:
        """A datacenter that Consul does not know is reported."""
        self.rack.start_consul()
        findings = self.examine({**CONSUL, "backend": {"mode": "catalog", "datacenter": "dc9"}})
        self.assert_finding(findings, "datacenter", "dc9", "fault", "does not know it", "Known are: dc1")

    def test_rules(self) -> None:
        """The rules that the advice names grant the rights that the daemon needs in catalog mode."""
        consul = ConsulProcess(acl=True)
        self.addCleanup(consul.clean_up)
        self.host.inside(consul.start)
        config = Config(SSDPConfig({"RackHD": (API,)}), ConsulConfig(mode="catalog"))
        rights = needed_rights(config, "rack-7")
        body = [right.document() for right in rights]
        for count in range(len(rights) + 1):
            rules = "\n".join(right.rule for right in rights[:count])
            token = self.host.inside(partial(consul.add_token, rules or 'operator = "read"'))
            path = "/v1/internal/acl/authorize"
            status, answer = self.host.inside(partial(consul.request, "POST", path, body, token))
            found = parse_authorization(status, "", rights, json.loads(answer))
            self.assertEqual(found.allowed, tuple(number < count for number in range(len(rights))))

    def test_no_leader(self) -> None:
        """A Consul without a leader is reported."""
        self.start_consul("-server", "-bootstrap-expect=3", f"-data-dir={self.lan.folder}/consul")
        findings = self.examine(CONSUL)
        self.assert_finding(findings, "Consul", "http://127.0.0.1:8500", "ok", "responds")
        self.assert_finding(findings, "leader", "", "fault", "no leader", "consul operator raft list-peers")

    def test_tls(self) -> None:
        """A certificate with another name, an unknown authority or a date in the past is reported."""
        authority, other = make_certificate("authority"), make_certificate("other")
        self.serve_tls(8501, make_certificate("consul.example", authority))
        self.serve_tls(8502, make_certificate("127.0.0.1", authority))
        self.serve_tls(8503, make_certificate("127.0.0.1", authority, (-9, -3)))
        for port, trusted, result, words in (
            (8501, authority, "fault", "the certificate is valid for consul.example, not for 127.0.0.1"),
            (8502, other, "fault", "the certificate is not signed by the certificates in"),
            (8503, authority, "fault", "the certificate expired 3.0 days ago"),
            (8502, authority, "warning", "the certificate expires in 24 h"),
        ):
            path = self.lan.folder / "ca.pem"
            path.write_bytes(trusted.dumpPEM())
            backend = {"address": f"https://127.0.0.1:{port}", "ca_file": str(path)}
            findings = self.examine({**CONSUL, "backend": backend})
            self.assert_finding(findings, "TLS", "127.0.0.1", result, words)
        self.assert_finding(findings, "Consul", "https://127.0.0.1:8502", "ok", "responds")

    def serve_tls(self, port: int, certificate: PrivateCertificate) -> None:
        """Serve the leader of a Consul over TLS."""
        path = self.lan.folder / f"{port}.pem"
        path.write_bytes(certificate.dumpPEM() + certificate.privateKey.dump(FILETYPE_PEM))
        script = f"""
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"127.0.0.1:8300"')
server = http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain({str(path)!r})
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("serving", flush=True)
server.serve_forever()
"""
        self.host.run([sys.executable, "-c", script]).wait_for("serving")

    def test_clock(self) -> None:
        """A clock that differs from that of Consul is reported."""
        script = """
import email.utils, http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() - 3600, usegmt=True)
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"127.0.0.1:8300"')
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", 8500), Handler).serve_forever()
"""
        self.host.run([sys.executable, "-c", script]).wait_for("serving")
        time.sleep(0.5)
        findings = self.examine(CONSUL)
        self.assert_finding(findings, "clock", "", "warning", "3600 s ahead of the clock of Consul", "timedatectl")

    def test_waiting(self) -> None:
        """A second daemon with the same scope waits, which is reported with the other's identity."""
        self.rack.start_consul()
        self.start_daemon(CONSUL, "first")
        wait_until(lambda: self.host.http("/readyz", port=8580).status == 200, 30)
        config = {**CONSUL, "web": {"endpoint": "tcp:8581:interface=127.0.0.1"}}
        self.start_daemon(config, "second")
        wait_until(lambda: b"another daemon" in self.host.http("/readyz", port=8581).body, 30)
        findings = self.examine(config)
        words = ("waiting", "another daemon registers the services of scope")
        self.assert_finding(findings, "ready", "", "warning", *words, "backend.scope")
        (own,) = (each for each in findings if each["check"] == "scope")
        self.assertEqual(own["result"], "ok")
