"""Tests for :mod:`ssdpreg.cli.doctor.port`, :mod:`~.kernel` and :mod:`~.processes`."""

from __future__ import annotations

import os
import socket

from ssdpreg.cli.doctor.kernel import (
    Membership,
    UDPSocket,
    is_broadcast,
    parse_igmp_table,
    parse_udp_table,
    read_number,
    read_text,
    read_udp_sockets,
)
from ssdpreg.cli.doctor.port import check_drops, check_port, find_daemon
from ssdpreg.cli.doctor.processes import Process, find_owners, parse_process, read_process
from ssdpreg.ssdp.messages import GROUP
from tests.unit.cli.doctor.case import CheckTestCase

DAEMON = Process(7, "twistd", ("python3", "/usr/bin/twistd", "-n", "ssdpreg", "--config", "f"))
OTHER = Process(9, "minissdpd")


class PortTests(CheckTestCase):
    """Tests for :func:`check_port`."""

    def test_free(self) -> None:
        """A port that no program uses is right."""
        self.assert_one(check_port([], {}, in_use=(), root=True), "ok", "free")

    def test_shared(self) -> None:
        """The programs that share the port are listed once each."""
        sockets = [UDPSocket(GROUP, 1900, 0, 1), UDPSocket(GROUP, 1900, 0, 2), UDPSocket("0.0.0.0", 1900, 5, 3)]
        findings = check_port(sockets, {1: DAEMON, 2: DAEMON, 3: OTHER}, in_use=(), root=True)
        self.assert_one(findings, "ok", "shared by ssdpreg (pid 7), minissdpd (pid 9)")

    def test_exclusive(self) -> None:
        """The program that holds the port is named; one with another address is not."""
        sockets = [UDPSocket("10.0.0.2", 1900, 0, 1), UDPSocket("0.0.0.0", 1900, 5, 2)]
        findings = check_port(sockets, {1: DAEMON, 2: OTHER}, in_use={4, 6}, root=True)
        self.assert_one(findings, "fault", "held exclusively by minissdpd (pid 9)", "SO_REUSEADDR")
        self.assertNotIn("ssdpreg", findings[0].finding)

    def test_exclusive_over_one_version(self) -> None:
        """A socket that prevents one IP version only is not named for the other one."""
        v4, v6, group = UDPSocket("0.0.0.0", 1900, 0, 1), UDPSocket("::", 1900, 0, 2), UDPSocket("ff02::c", 1900, 0, 3)
        owners = {1: DAEMON, 2: OTHER, 3: OTHER}
        (found,) = check_port([v4, v6], owners, in_use={6}, root=True)
        self.assertEqual((found.result, found.finding), ("fault", f"held exclusively over IPv6 by {OTHER}"))
        (found,) = check_port([v4, group], owners, in_use={6}, root=True)
        self.assertEqual(found.finding, f"held exclusively over IPv6 by {OTHER}")
        (found,) = check_port([v4, group], owners, in_use={4}, root=True)
        self.assertEqual(found.finding, f"held exclusively by {DAEMON}")

    def test_unknown_owner(self) -> None:
        """Without root, the program is known by its user only, and the advice is to become root."""
        findings = check_port([UDPSocket("::", 1900, 112, 1)], {}, in_use={4, 6}, root=False)
        self.assert_one(findings, "fault", "a program of user 112", "as root")
        self.assert_one(check_port([], {}, in_use={4, 6}, root=True), "fault", "another program")


class DropsTests(CheckTestCase):
    """Tests for :func:`check_drops`."""

    def test_daemon(self) -> None:
        """The counters of the daemon's sockets are added; those of others do not matter."""
        sockets = [UDPSocket(GROUP, 1900, 0, 1, 3), UDPSocket(GROUP, 1900, 0, 2, 4), UDPSocket(GROUP, 1900, 0, 3, 50)]
        findings = check_drops(sockets, {1: DAEMON, 2: DAEMON, 3: OTHER})
        self.assert_one(findings, "warning", "dropped 7 datagrams for the daemon", "rmem_max")

    def test_no_drop(self) -> None:
        """Without drops it is right."""
        self.assert_one(check_drops([UDPSocket(GROUP, 1900, 0, 1)], {1: DAEMON}), "ok", "for the daemon")

    def test_exclusive_over_one_version(self) -> None:
        """A socket that prevents one IP version only is not named for the other one."""
        v4, v6, group = UDPSocket("0.0.0.0", 1900, 0, 1), UDPSocket("::", 1900, 0, 2), UDPSocket("ff02::c", 1900, 0, 3)
        owners = {1: DAEMON, 2: OTHER, 3: OTHER}
        (found,) = check_port([v4, v6], owners, in_use={6}, root=True)
        self.assertEqual((found.result, found.finding), ("fault", f"held exclusively over IPv6 by {OTHER}"))
        (found,) = check_port([v4, group], owners, in_use={6}, root=True)
        self.assertEqual(found.finding, f"held exclusively over IPv6 by {OTHER}")
        (found,) = check_port([v4, group], owners, in_use={4}, root=True)
        self.assertEqual(found.finding, f"held exclusively by {DAEMON}")

    def test_unknown_owner(self) -> None:
        """Without the daemon, the counters of all programs that joined the group count."""
        sockets = [UDPSocket(GROUP, 1900, 0, 1, 1), UDPSocket("0.0.0.0", 1900, 0, 2, 5)]
        self.assert_one(check_drops(sockets, {}), "warning", "dropped 1 datagrams for a program of user 0")
        self.assert_one(check_drops(sockets[1:], {}), "skipped")


class KernelTests(CheckTestCase):
    """Tests for the parsers of the kernel's tables."""

    UDP = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref\n"
        " 1234: FAFFFFEF:076C 00000000:0000 07 00000000:00000000 00:00000000 00000000   112        0 4711 2 0 17\n"
    )
    UDP6 = (
        "  sl  local_address                         remote_address                        st tx_queue rx_queue\n"
        " 12: 000080FE00000000FF00FC0001000000:0222 00000000000000000000000000000000:0000 07 00000000:00000000"
        " 00:00000000 00000000     0        0 42 2 0000000000000000 0\n"
    )
    IGMP = (
        "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
        "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        "4\teth0.10   :     2      V2\n\t\t\t\tFAFFFFEF     2 1:0000ABCD\t\t1\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        "5\tverylongname0:     1      V1\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
    )

    def test_udp(self) -> None:
        """The address, port, user, inode and drops of a socket are parsed."""
        self.assertEqual(parse_udp_table(self.UDP), [UDPSocket(GROUP, 1900, 112, 4711, 17)])
        self.assertEqual(parse_udp_table(self.UDP6), [UDPSocket("fe80::fc:ff:0:1", 546, 0, 42, 0)])
        self.assertEqual(parse_udp_table(""), [])

    def test_igmp(self) -> None:
        """The IGMP version and the groups of each interface are parsed."""
        self.assertEqual(
            parse_igmp_table(self.IGMP),
            {
                "lo": Membership(3, frozenset({"224.0.0.1"})),
                "eth0.10": Membership(2, frozenset({GROUP, "224.0.0.1"})),
                "verylongname0": Membership(1, frozenset({"224.0.0.1"})),
            },
        )

    def test_real_socket(self) -> None:
        """A socket of this process is found in the kernel's table, with this process as its owner."""
        with socket.socket(type=socket.SOCK_DGRAM) as opened:
            opened.bind(("127.0.0.1", 0))
            (found,) = read_udp_sockets(opened.getsockname()[1])
            owners = find_owners([found.inode])
        self.assertEqual((found.address, found.uid, found.drops), ("127.0.0.1", os.getuid(), 0))
        self.assertEqual(owners, {found.inode: read_process(os.getpid())})
        self.assertEqual(owners[found.inode].pid, os.getpid())
        self.assertEqual(find_owners([]), {})

    def test_missing_files(self) -> None:
        """A file that is missing or is no number has no value, and an unknown interface no flags."""
        self.assertIsNone(read_text("/proc/none"))
        self.assertIsNone(read_number("/proc/none"))
        self.assertIsNone(read_number("/proc/version"))
        self.assertFalse(is_broadcast("none0"))
        self.assertFalse(is_broadcast("lo"))


class ProcessTests(CheckTestCase):
    """Tests for :class:`Process`."""

    def test_daemon(self) -> None:
        """The daemon is recognized by its command line, and other subcommands are not the daemon."""
        for command, expected in (
            (("python3", "/usr/bin/twistd", "-n", "ssdpreg"), True),
            (("twistd", "ssdpreg", "--config", "search"), True),
            (("python3", "/usr/bin/ssdpreg", "run"), True),
            (("python3", "-m", "ssdpreg", "run", "--config", "f"), True),
            (("python3", "/usr/bin/ssdpreg", "search"), False),
            (("python3", "-m", "ssdpreg", "services"), False),
            (("twistd", "ssdpspoof"), False),
            (("ssdpreg",), False),
            ((), False),
        ):
            self.assertEqual(Process(1, "python3", command).is_daemon, expected, command)
        self.assertIs(find_daemon({1: OTHER, 2: DAEMON}), DAEMON)
        self.assertIsNone(find_daemon({1: OTHER}))
        self.assertEqual((str(DAEMON), str(OTHER)), ("ssdpreg (pid 7)", "minissdpd (pid 9)"))

    def test_parse(self) -> None:
        """The limit of descriptors and the capability are parsed, and may be unknown."""
        limits = "Limit   Soft Limit Hard Limit Units\nMax open files            1024                 4096      files\n"
        process = parse_process(5, "x\n", "a\0b c\0", limits, "CapEff:\t0000000000001000\n")
        self.assertEqual(process, Process(5, "x", ("a", "b c"), 1024, net_admin=True))
        self.assertFalse(parse_process(5, "x", "", limits, "CapEff:\t0000000000000fff\n").net_admin)
        unlimited = limits.replace("1024", "unlimited")
        self.assertIsNone(parse_process(5, "x", "", unlimited, "").descriptor_limit)

    def test_read(self) -> None:
        """The command line of this process begins with Python, and a process that has ended is not found."""
        process = read_process(os.getpid())
        assert process is not None
        self.assertIn("python", process.command[0])
        self.assertIsNone(read_process(2**30))
