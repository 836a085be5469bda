"""Reader of captures of tcpdump and Wireshark: UDP datagrams out of pcap and pcapng files, by scapy."""

from __future__ import annotations

import gzip
import io
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from ssdpreg.errors import CaptureError

#: Bytes of the longest record. A frame has up to 64 kB, and options and comments are shorter.
_LONGEST_READ = 16 * 1024 * 1024
#: Latest time of a record, in seconds since the epoch: the year 9000. Later ones cannot be displayed.
_LATEST = 221845392000.0
#: Bytes of a frame to which scapy cuts longer ones.
_LONGEST_FRAME = 65535
_IP_PROTOCOL_UDP = 17
#: Begin of a file that is compressed with gzip: RFC 1952, 2.3.1.
_GZIP = b"\x1f\x8b"
#: Bytes of a UDP header.
_UDP_HEADER = 8

#: Reasons for which a packet is counted and not returned.
NOT_UDP = "not UDP over IP"
FRAGMENT = "fragment of a UDP datagram"
CUT = "cut short by the capture (tcpdump: -s 0)"
UNKNOWN_LINK = "unknown link type"
MALFORMED = "malformed packet"


@dataclass(frozen=True, slots=True)
class CapturedDatagram:
    """
    A UDP datagram of a capture.

    :ivar time: Time of the capture in seconds since the epoch.
    :ivar interface: Name of the interface, empty if the file does not contain it.
    :ivar source: IP address and port of the sender.
    :ivar target: IP address and port of the recipient.
    :ivar payload: Content.
    """

    time: float
    interface: str
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes


class Capture:
    """
    Datagrams of a capture, in the order of the file.

    :param file: The open file. It may be compressed with gzip.
    :param name: Name of the file for errors.
    :ivar other: Number of packets that are no complete datagrams, by reason.
    :ivar damage: Reason why the end of the file was not read, or an empty text.
    :raise CaptureError: If the library is not installed, or the file is not a capture.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.other: Counter[str] = Counter()
        self.damage = ""
        self._warnings: list[str] = []
        self._file = _LimitedFile(_decompressed(file))
        self._layers = _import_layers()
        # scapy logs the faults of a file, and then behaves as at its end.
        logging.getLogger("scapy.runtime").filters.insert(0, self._take_warning)
        try:
            self._reader = self._layers.reader(self._file)
        except Exception as error:
            # A damaged file can raise any exception in the library.
            self.close()
            raise CaptureError(f"{name} is not a capture in the format pcap or pcapng") from error

    def __iter__(self) -> Iterator[CapturedDatagram]:
        while (record := self._read()) is not None:
            data, meta = record
            datagram = self._parse(data, meta)
            if isinstance(datagram, str):
                self.other[datagram] += 1
            else:
                yield datagram

    def close(self) -> None:
        """Restore the log of the library."""
        logging.getLogger("scapy.runtime").filters.remove(self._take_warning)

    def _read(self) -> tuple[bytes, Any] | None:
        """Return the next record, or None at the end of the file or of its readable part."""
        self._warnings.clear()
        self._file.partial = False
        try:
            record: tuple[bytes, Any] | None = next(self._reader, None)
        except Exception as error:
            # A damaged file can raise any exception in the library.
            self.damage = f"{type(error).__name__}: {error}"
            return None
        if record is None and (self._warnings or self._file.partial or not self._file.at_end):
            self.damage = self._warnings[0] if self._warnings else "damaged record"
        if record is not None and len(record[0]) < min(getattr(record[1], "caplen", 0), _LONGEST_FRAME):
            self.damage = "the last record is incomplete"
        return record

    def _parse(self, data: bytes, meta: Any) -> CapturedDatagram | str:
        """Return the datagram in a record, or the reason why it contains none."""
        time, interface = _time_of(meta, self._reader), getattr(meta, "ifname", None) or b""
        link = self._layers.by_link_type.get(getattr(meta, "linktype", None) or getattr(self._reader, "linktype", None))
        if link is None:
            return UNKNOWN_LINK
        try:
            packet = link(data)
            return self._parse_packet(packet, len(data) < meta.wirelen, time, interface.decode(errors="replace"))
        except Exception:
            # A hostile packet can raise any exception in the library.
            return MALFORMED

    def _parse_packet(self, packet: Any, cut: bool, time: float, interface: str) -> CapturedDatagram | str:
        layers = self._layers
        ip = packet.getlayer(layers.ip) or packet.getlayer(layers.ipv6)
        if ip is None:
            return CUT if cut else NOT_UDP
        if self._is_fragment(packet):
            return FRAGMENT
        udp = packet.getlayer(layers.udp)
        if udp is None:
            return CUT if cut and _may_be_udp(ip) else NOT_UDP
        payload = bytes(udp.original[_UDP_HEADER : udp.len])
        if len(payload) < udp.len - _UDP_HEADER:
            return CUT if cut else MALFORMED
        return CapturedDatagram(time, interface, (ip.src, udp.sport), (ip.dst, udp.dport), payload)

    def _is_fragment(self, packet: Any) -> bool:
        fragment = packet.getlayer(self._layers.ipv6_fragment)
        if fragment is not None:
            return bool(fragment.nh == _IP_PROTOCOL_UDP and (fragment.m or fragment.offset))
        ip = packet.getlayer(self._layers.ip)
        return bool(ip is not None and ip.proto == _IP_PROTOCOL_UDP and (ip.flags.MF or ip.frag))

    def _take_warning(self, record: logging.LogRecord) -> bool:
        self._warnings.append(record.getMessage())
        return False


def _may_be_udp(ip: Any) -> bool:
    return _IP_PROTOCOL_UDP in (getattr(ip, "proto", None), getattr(ip, "nh", None))


class _LimitedFile:
    """
    File whose reads are limited: a damaged length must not fill the memory.

    :ivar partial: Whether a read returned a part of what was requested.
    :ivar at_end: Whether everything was read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.partial = self.at_end = False

    def read(self, size: int) -> bytes:
        """Read up to a number of bytes."""
        if size > _LONGEST_READ:
            raise OSError(f"a record of {size} bytes")
        data = self._file.read(size)
        self.partial = self.partial or 0 < len(data) < size
        self.at_end = len(data) < size
        return data


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    """Return a file that reads the content of a file which may be compressed. The memory it needs is limited."""
    buffered = io.BufferedReader(cast("io.RawIOBase", file))
    if buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=buffered))
    return buffered


@dataclass(frozen=True)
class _Layers:
    """The classes of scapy that are used."""

    reader: Any
    by_link_type: Any
    ip: Any
    ipv6: Any
    ipv6_fragment: Any
    udp: Any


def _import_layers() -> _Layers:
    """
    Import scapy, which takes longer than the rest of the command.

    :raise CaptureError: If it is not installed.
    """
    try:
        from scapy.config import conf
        from scapy.layers.inet import IP, UDP
        from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
        from scapy.layers.l2 import Ether
        from scapy.utils import RawPcapReader
    except ImportError as error:
        raise CaptureError(f"--read needs the library scapy: pip install 'ssdpreg[capture]' ({error})") from error
    # The import of Ether registers the link types.
    assert Ether is not None
    return _Layers(RawPcapReader, conf.l2types.num2layer, IP, IPv6, IPv6ExtHdrFragment, UDP)


def _time_of(meta: Any, reader: Any) -> float:
    """Return the time of a record in seconds since the epoch, or 0 if the record has none."""
    if hasattr(meta, "sec"):
        return float(meta.sec + meta.usec / (1e9 if reader.nano else 1e6))
    if meta.tshigh is None:
        return 0.0
    return float(min(((meta.tshigh << 32) + meta.tslow) / meta.tsresol, _LATEST))
