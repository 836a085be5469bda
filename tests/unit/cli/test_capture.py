"""Tests for :mod:`ssdpreg.cli.capture`."""

from __future__ import annotations

import gzip
import io
import logging
import struct
import sys
from pathlib import Path
from random import Random
from typing import Any

from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import PcapNgWriter, PcapWriter
from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.cli.capture import CUT, FRAGMENT, MALFORMED, NOT_UDP, UNKNOWN_LINK, Capture, CapturedDatagram
from ssdpreg.errors import CaptureError

PAYLOAD = b"NOTIFY * HTTP/1.1\r\n\r\n"
SOURCE, GROUP = ("10.0.0.5", 40000), ("239.255.255.250", 1900)
TIME = 1772359200.25
#: Link types: https://www.tcpdump.org/linktypes.html
ETHERNET, RAW, SLL, SLL2 = 1, 101, 113, 276


def ether(kind: int = 0x800) -> Any:
    """
    Return the header of an Ethernet frame.

    :param kind: Type of the first tag, if there are two. Otherwise scapy sets the type.
    """
    fields: Any = {} if kind == 0x800 else {"type": kind}
    return Ether(src="02:00:00:00:00:05", dst="01:00:5e:7f:ff:fa", **fields)


def udp(payload: bytes = PAYLOAD) -> Any:
    """Return a datagram over IPv4."""
    return IP(src=SOURCE[0], dst=GROUP[0]) / UDP(sport=SOURCE[1], dport=GROUP[1]) / Raw(payload)


def udp6() -> Any:
    """Return a datagram over IPv6."""
    return IPv6(src="fe80::5", dst="ff02::c") / UDP(sport=SOURCE[1], dport=1900) / Raw(PAYLOAD)


class CountingFile(io.BytesIO):
    """
    File in memory that records the sizes of its reads.

    :ivar longest: Bytes of the longest read that was requested.
    """

    longest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.longest = max(self.longest, size)
        return super().read(size)


class KeptFile(io.BytesIO):
    """File in memory that keeps its content when it is closed."""

    def close(self) -> None:
        """Keep the content."""


def pcap(*packets: Any, link: int = ETHERNET, **options: Any) -> bytes:
    """Return a capture in the format pcap."""
    file = KeptFile()
    writer = PcapWriter(file, linktype=link, **options)
    writer.write_header(None)
    for packet in packets:
        packet.time = TIME
        writer.write(packet)
    writer.flush()
    return file.getvalue()


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return a block of a pcapng file."""
    body += b"\0" * (-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def pcapng(*packets: bytes, order: str = "<", link: int = ETHERNET, resolution: int = 9) -> bytes:
    """Return a capture in the format pcapng with one interface, eth7."""
    header = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    name = struct.pack(f"{order}HH4s", 2, 4, b"eth7")
    options = name + struct.pack(f"{order}HHB3x", 9, 1, resolution) + struct.pack(f"{order}HH", 0, 0)
    interface = block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)
    time = int(TIME * 10**resolution)
    records = [
        block(
            6,
            struct.pack(f"{order}IIIII", 0, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, len(data), len(data)) + data,
            order,
        )
        for data in packets
    ]
    return header + interface + b"".join(records)


class CaptureTests(SynchronousTestCase):
    """Tests for :class:`Capture`."""

    def read(self, content: bytes) -> tuple[list[CapturedDatagram], Capture]:
        """Read a capture to its end."""
        capture = Capture(io.BytesIO(content), "x.pcap")
        self.addCleanup(capture.close)
        return list(capture), capture

    def check_one(self, content: bytes, source: tuple[str, int] = SOURCE, target: tuple[str, int] = GROUP) -> None:
        """Assert that a capture has the one datagram."""
        (datagram,), capture = self.read(content)
        self.assertEqual((datagram.source, datagram.target, datagram.payload), (source, target, PAYLOAD))
        self.assertAlmostEqual(datagram.time, TIME, places=5)
        self.assertEqual((capture.damage, capture.other), ("", {}))

    def test_link_types(self) -> None:
        """Datagrams are read from Ethernet, with VLAN tags or without, Linux cooked captures, and raw IP."""
        for link, packet in (
            (ETHERNET, ether() / udp()),
            (ETHERNET, ether() / Dot1Q(vlan=7) / udp()),
            (ETHERNET, ether(0x88A8) / Dot1AD(vlan=7) / Dot1Q(vlan=8) / udp()),
            (SLL, CookedLinux(proto=0x800) / udp()),
            (SLL2, CookedLinuxV2(proto=0x800) / udp()),
            (RAW, udp()),
        ):
            self.check_one(pcap(packet, link=link))

    def test_ipv6(self) -> None:
        """Datagrams over IPv6 are read, with extension headers or without."""
        source, target = ("fe80::5", SOURCE[1]), ("ff02::c", 1900)
        extended = IPv6(src="fe80::5", dst="ff02::c") / IPv6ExtHdrDestOpt() / udp6()[UDP]
        for link, packet in ((ETHERNET, ether() / udp6()), (RAW, udp6()), (ETHERNET, ether() / extended)):
            self.check_one(pcap(packet, link=link), source, target)

    def test_atomic_fragment(self) -> None:
        """A datagram with a fragment header that is in one piece is read."""
        whole = IPv6(src="fe80::5", dst="ff02::c") / IPv6ExtHdrFragment(m=0, offset=0) / udp6()[UDP]
        self.check_one(pcap(ether() / whole), ("fe80::5", SOURCE[1]), ("ff02::c", 1900))

    def test_padding(self) -> None:
        """Bytes after the end of the datagram, as in short Ethernet frames, are not a part of it."""
        self.check_one(pcap(Ether(bytes(ether() / udp()) + bytes(20))))

    def test_formats(self) -> None:
        """Both byte orders and resolutions of the time are read, and pcapng has the name of the interface."""
        frame = ether() / udp()
        self.check_one(pcap(frame, endianness=">"))
        self.check_one(pcap(frame, nano=True))
        for order in "<>":
            for resolution in (6, 9):
                self.check_one(pcapng(bytes(frame), order=order, resolution=resolution))
        (datagram,), _ = self.read(pcapng(bytes(frame)))
        self.assertEqual(datagram.interface, "eth7")

    def test_scapys_pcapng(self) -> None:
        """A pcapng file of another writer is read."""
        path = Path(self.mktemp())
        frame = ether() / udp()
        frame.time = TIME
        with PcapNgWriter(str(path)) as writer:
            writer.write(frame)
        self.check_one(path.read_bytes())

    def test_compressed(self) -> None:
        """A capture that is compressed with gzip is read. A damaged one is read as far as possible."""
        content = gzip.compress(pcap(ether() / udp()))
        self.check_one(content)
        datagrams, capture = self.read(content[:-8])
        self.assertEqual((len(datagrams), bool(capture.damage)), (1, True))
        with self.assertRaises(CaptureError):
            self.read(gzip.compress(b"x" * 100))
        with self.assertRaises(CaptureError):
            self.read(content[:12])

    def test_other_packets(self) -> None:
        """Other packets are counted by reason."""
        frame = bytes(ether() / udp())
        packets = [
            Ether(src="02:00:00:00:00:05", dst="02:00:00:00:00:06")
            / ARP(hwsrc="02:00:00:00:00:05", psrc=SOURCE[0], pdst=SOURCE[0]),
            ether() / IP(src=SOURCE[0], dst=GROUP[0], proto=6),
            Ether(frame),
        ]
        packets += [ether() / part for part in fragment(udp(b"x" * 3000), 1480)]
        long = udp6()[UDP]
        long.payload = Raw(b"x" * 3000)
        packets += fragment6(ether() / IPv6(src="fe80::5", dst="ff02::c") / IPv6ExtHdrFragment() / long, 1280)
        datagrams, capture = self.read(pcap(*packets))
        self.assertEqual(len(datagrams), 1)
        self.assertEqual(capture.other, {NOT_UDP: 2, FRAGMENT: 6})

    def test_cut_packets(self) -> None:
        """A packet that the capture cut short is counted, at each possible length."""
        frame = bytes(ether() / udp())
        for length in range(14, len(frame)):
            content = pcap() + struct.pack("<IIII", int(TIME), 0, length, len(frame)) + frame[:length]
            datagrams, capture = self.read(content)
            self.assertEqual((datagrams, capture.other), ([], {CUT: 1}), length)

    def test_malformed_packet(self) -> None:
        """A datagram whose length is longer than its packet is counted."""
        packet = udp()
        packet[UDP].len = 200
        datagrams, capture = self.read(pcap(ether() / packet))
        self.assertEqual((datagrams, capture.other), ([], {MALFORMED: 1}))

    def test_unknown_link_type(self) -> None:
        """Packets of a link type that is not known, such as one of a bus, are counted."""
        datagrams, capture = self.read(pcapng(b"x" * 60, link=227))
        self.assertEqual((datagrams, capture.other), ([], {UNKNOWN_LINK: 1}))

    def test_truncated_file(self) -> None:
        """A file that ends within a record is read up to there, and the damage is reported, at each length."""
        frame = ether() / udp()
        for content in (pcap(frame, frame), pcapng(bytes(frame), bytes(frame))):
            whole = len(pcap(frame)) if content[0] != 0x0A else len(pcapng(bytes(frame)))
            for length in range(whole + 1, len(content)):
                datagrams, capture = self.read(content[:length])
                self.assertEqual(len(datagrams), 1, length)
                self.assertTrue(capture.damage or capture.other, length)
            self.assertEqual(self.read(content[:whole])[1].damage, "")

    def test_no_capture(self) -> None:
        """A file in another format, also one without content, is one clear error."""
        for content in (b"", b"x", b"hello world, this is text", b"\x1f\x8b" + bytes(40), pcap()[:10], b"\n\r\r\n" * 9):
            with self.assertRaises(CaptureError) as raised:
                Capture(io.BytesIO(content), "x.pcap")
            self.assertEqual(str(raised.exception), "x.pcap is not a capture in the format pcap or pcapng")

    def test_hostile_length(self) -> None:
        """A record of 4 GiB does not fill the memory, and is reported."""
        for content in (
            pcap() + struct.pack("<IIII", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0) + bytes(100),
            pcapng() + struct.pack("<II", 6, 0xFFFFFFF0) + bytes(100),
        ):
            file = CountingFile(content)
            capture = Capture(file, "x")
            self.addCleanup(capture.close)
            self.assertEqual(list(capture), [])
            self.assertTrue(capture.damage, content[:4])
            self.assertLess(file.longest, 2**24 + 1)

    def test_hostile_time(self) -> None:
        """A time that no calendar has is limited."""
        frame = bytes(ether() / udp())
        record = block(6, struct.pack("<IIIII", 0, 0xFFFFFFFF, 0xFFFFFFFF, len(frame), len(frame)) + frame)
        (datagram,), _ = self.read(pcapng(resolution=0) + record)
        self.assertEqual(datagram.time, 221845392000.0)

    def test_random_damage(self) -> None:
        """Damage at random places raises no exception except :class:`CaptureError`."""
        frame, random = bytes(ether() / udp()), Random(1)
        for original in (pcap(Ether(frame), Ether(frame)), pcapng(frame, frame)):
            for _ in range(400):
                content = bytearray(original)
                for _ in range(random.randint(1, 6)):
                    content[random.randrange(len(content))] = random.randrange(256)
                try:
                    capture = Capture(io.BytesIO(bytes(content)), "x")
                except CaptureError:
                    continue
                with self.subTest(content=bytes(content)):
                    list(capture)
                capture.close()

    def test_log_of_the_library(self) -> None:
        """Warnings of the library are not logged while a capture is open, and its log is restored afterwards."""
        before = list(logging.getLogger("scapy.runtime").filters)
        capture = Capture(io.BytesIO(pcap()), "x")
        capture.close()
        self.assertEqual(logging.getLogger("scapy.runtime").filters, before)
        with self.assertRaises(CaptureError):
            Capture(io.BytesIO(b""), "x")
        self.assertEqual(logging.getLogger("scapy.runtime").filters, before)

    def test_without_library(self) -> None:
        """Without scapy the error names the package to install."""
        self.addCleanup(sys.modules.__setitem__, "scapy.config", sys.modules["scapy.config"])
        sys.modules["scapy.config"] = None  # type: ignore[assignment]
        with self.assertRaises(CaptureError) as raised:
            Capture(io.BytesIO(pcap()), "x")
        self.assertIn("pip install 'ssdpreg[capture]'", str(raised.exception))
