"""Tests for ``ssdpreg explain``: options, output and exit status with captures."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from ssdpreg.ssdp.codec import encode
from ssdpreg.ssdp.messages import Alive, Message
from tests.support.command import CommandTestCase

API = "urn:schemas-upnp-org:service:api:2.0"
CONFIG = {"ssdp": {"tags": {"RackHD": [API]}}, "backend": {"type": "embedded"}}
TIME = 1772359200


def record(payload: bytes, sender: str = "10.0.0.5", seconds: int = 0) -> bytes:
    """Return a record of a pcap file."""
    data = bytes(IP(src=sender, dst="239.255.255.250") / UDP(sport=1900, dport=1900) / Raw(payload))
    return struct.pack("<IIII", TIME + seconds, 0, len(data), len(data)) + data


#: Header of a pcap file with raw IP.
HEADER = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
ALIVE = Alive(API, f"uuid:dev-1::{API}", "http://10.0.0.5:80/", 1800, "test/1")


class ExplainTests(CommandTestCase):
    """Tests for the subcommand."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.config = self.folder / "registry.json"
        self.config.write_text(json.dumps(CONFIG))
        self.addCleanup(os.environ.pop, "TZ", None)
        os.environ["TZ"] = "UTC"

    def explain(self, *records: Message | bytes, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Explain a capture with messages of one device."""
        path = self.folder / "x.pcap"
        content = HEADER
        for number, each in enumerate(records):
            content += each if isinstance(each, bytes) else record(encode(each), seconds=number)
        path.write_bytes(content)
        return self.run_command("explain", "--config", str(self.config), "--read", str(path), *options)

    def test_text(self) -> None:
        """Each datagram is a short block, and the summary follows."""
        status, stdout, stderr = self.explain(ALIVE, ALIVE)
        self.assertEqual((status, stderr), (0, ""))
        blocks, _, summary = stdout.partition("\n\n")
        lines = blocks.splitlines()
        self.assertRegex(lines[0], r"^20..-..-.. ..:..:00\.000  alive from 10\.0\.0\.5:1900$")
        self.assertEqual(
            lines[1:6],
            [
                f"  type     {API}",
                f"  usn      uuid:dev-1::{API}",
                "  location http://10.0.0.5:80/",
                f"  term     {API}, tag RackHD, standing direct",
                "  result   registered: RackHD-service:api:2.0 at 10.0.0.5:80",
            ],
        )
        self.assertRegex(
            lines[6], r"^  table    RackHD-service:api:2\.0 at 10\.0\.0\.5:80 appeared, ID ssdpreg-service-"
        )
        self.assertEqual(len(lines), 7 + 6)
        self.assertRegex(
            summary,
            r"^2 datagrams in 1\.0 s: 2 alive\nResults:\n       1  registered\n       1  known\n"
            r"Changes in the table:\n       1  appeared\n"
            r"1 service registered at the end:\n  RackHD-service:api:2\.0 at .*\n$",
        )

    def test_json(self) -> None:
        """With ``--json`` each line is an object, and the last one is the summary."""
        status, stdout, _ = self.explain(ALIVE, b"", options=("--json",))
        self.assertEqual(status, 0)
        first, last = map(json.loads, stdout.splitlines())
        self.assertEqual((first["result"], first["registration"]["port"]), ("registered", 80))
        self.assertEqual(last["summary"]["datagrams"], 1)

    def test_only(self) -> None:
        """``--only`` selects what is printed, and the summary counts all."""
        status, stdout, _ = self.explain(ALIVE, options=("--only", "10.0.0.6"))
        self.assertEqual(status, 0)
        self.assertTrue(stdout.startswith("\n1 datagram in 0.0 s: 1 alive\n"), stdout)

    def test_hostile_text(self) -> None:
        """Control characters of a datagram are escaped."""
        message = b"NOTIFY * HTTP/1.1\r\nNT: a\x1b[2J\r\nNTS: ssdp:alive\r\nUSN: uuid:\x9b\r\n\r\n"
        _, stdout, _ = self.explain(record(message))
        self.assertIn("  type     a\\x1b[2J\n", stdout)
        self.assertNotIn("\x1b", stdout)
        self.assertNotIn("\x9b", stdout)

    def test_truncated(self) -> None:
        """A capture that is cut off is explained up to there. The status is 1."""
        status, stdout, stderr = self.explain(ALIVE, record(b"x")[:-1])
        self.assertEqual(status, 1)
        self.assertIn("1 service registered at the end", stdout)
        self.assertEqual(stderr, f"{self.folder}/x.pcap was not read to its end: the last record is incomplete\n")

    def test_other_packets(self) -> None:
        """Packets without SSDP are counted."""
        data = bytes(IP(src="10.0.0.5", dst="10.0.0.6", proto=6))
        dns = bytes(IP(src="10.0.0.5", dst="10.0.0.6") / UDP(sport=5353, dport=53))
        records = [struct.pack("<IIII", TIME, 0, len(each), len(each)) + each for each in (data, dns)]
        _, stdout, _ = self.explain(*records)
        self.assertEqual(
            stdout,
            "\n0 datagrams in 0.0 s\nOther packets:\n       1  not UDP over IP\n       1  UDP to and from other ports\n"
            "0 services registered at the end.\n",
        )

    def test_errors(self) -> None:
        """A file that is missing or no capture is one clear error and status 1."""
        (self.folder / "text").write_text("hello\n")
        for path, problem in (
            (self.folder / "text", "{} is not a capture in the format pcap or pcapng"),
            (self.folder / "missing", "Cannot read {}: No such file or directory"),
            (self.folder, "Cannot read {}: Is a directory"),
        ):
            status, stdout, stderr = self.run_command("explain", "--config", str(self.config), "--read", str(path))
            self.assertEqual((status, stdout, stderr), (1, "", problem.format(path) + "\n"))

    def test_invalid_configuration(self) -> None:
        """Every fault of the configuration is printed, and the status is 2."""
        self.config.write_text('{"ssdp": {"tagz": {}}}')
        status, _, stderr = self.explain(ALIVE)
        self.assertEqual(status, 2)
        self.assertEqual(stderr.splitlines()[0], 'ssdp.tagz: is not a known key; did you mean "tags"?')

    def test_usage(self) -> None:
        """Options that need or exclude ``--read``, and invalid values, are usage errors."""
        for options in (
            ("--daemon", "10.0.0.1"),
            ("--network", "10.0.0.0/8"),
            ("--read", "x", "--seconds", "3"),
            ("--read", "x", "--passive"),
            ("--read", "x", "--daemon", "bmc"),
            ("--read", "x", "--network", "10/8/9"),
            ("--seconds", "nan"),
            ("--seconds", "0"),
        ):
            status, stdout, _ = self.run_command("explain", *options)
            self.assertEqual((status, stdout), (2, ""), options)
