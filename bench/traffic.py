"""Datagrams of simulated devices. Each device has another address."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType

from bench.namespace import ADDRESS, INTERFACE
from ssdpreg.ssdp.messages import GROUP, PORT

URN = "urn:schemas-upnp-org:service:api:2.0"
#: Type of devices that no search term matches.
OTHER_URN = "urn:schemas-upnp-org:device:MediaRenderer:1"

#: Seconds between two bursts, by their size: more than the slowest receiver needs for one.
PAUSES = {24: 0.01, 96: 0.025}

# Linux: <linux/in.h>. Python does not define them.
_IP_PKTINFO, _IP_TRANSPARENT = 8, 19


def device_address(number: int) -> str:
    """Return the IP address of a device."""
    return f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def notify(number: int, urn: str = URN, max_age: int = 1800) -> bytes:
    """Return the announcement of a device."""
    lines = [
        "NOTIFY * HTTP/1.1",
        f"HOST: {GROUP}:{PORT}",
        f"CACHE-CONTROL: max-age={max_age}",
        f"LOCATION: http://{device_address(number)}:8080/description.xml",
        "SERVER: Linux/6.1 UPnP/1.1 bench/1.0",
        f"NT: {urn}",
        "NTS: ssdp:alive",
        f"USN: uuid:4c4c4544-0051-4810-8031-{number:012x}::{urn}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def reply(number: int, second: int) -> bytes:
    """
    Return the reply of a device to a search.

    :param second: Number of the second of its DATE.
    """
    lines = [
        "HTTP/1.1 200 OK",
        "CACHE-CONTROL: max-age=1800",
        time.strftime("DATE: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(1_800_000_000 + second)),
        "EXT:",
        f"LOCATION: http://{device_address(number)}:8080/description.xml",
        "SERVER: Linux/6.1 UPnP/1.1 bench/1.0",
        f"ST: {URN}",
        f"USN: uuid:4c4c4544-0051-4810-8031-{number:012x}::{URN}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class _IOVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IOVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_char_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


class Batch:
    """
    Datagrams that are sent at once with sendmmsg(2), each from its own address: Python alone sends too slowly for an
    overload.
    """

    def __init__(self, datagrams: Sequence[tuple[str, bytes]], address: tuple[str, int]) -> None:
        name = struct.pack("=H", socket.AF_INET) + struct.pack("!H", address[1]) + socket.inet_aton(address[0])
        name += bytes(8)
        index = socket.if_nametoindex(INTERFACE)
        self.size = len(datagrams)
        self._iovs = (_IOVec * self.size)(*(_IOVec(datagram, len(datagram)) for _, datagram in datagrams))
        self.messages = (_MMsgHdr * self.size)()
        self._kept: list[bytes] = [name]
        for number, (sender, _) in enumerate(datagrams):
            header = self.messages[number].header
            header.name, header.name_length = name, len(name)
            header.iov = ctypes.pointer(self._iovs[number])
            header.iov_length = 1
            # struct cmsghdr with struct in_pktinfo.
            control = struct.pack("@Nii", 28, socket.IPPROTO_IP, _IP_PKTINFO)
            control += struct.pack("@i4s4sxxxx", index, socket.inet_aton(sender), bytes(4))
            header.control, header.control_length = control, len(control)
            self._kept.append(control)


class Devices:
    """The socket from which the datagrams of all devices are sent."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Addresses of devices are no addresses of this host.
        self._socket.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ADDRESS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def __enter__(self) -> Devices:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, batch: Batch) -> None:
        """Send all datagrams of a batch at once."""
        sent = 0
        while sent < batch.size:
            count = min(batch.size - sent, 1024)
            done = self._sendmmsg(self._socket.fileno(), ctypes.byref(batch.messages[sent]), count, 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += done

    def send_in_bursts(
        self, datagrams: Sequence[tuple[str, bytes]], burst: int, address: tuple[str, int] = (GROUP, PORT)
    ) -> None:
        """Send datagrams in bursts of a size, with pauses."""
        for start in range(0, len(datagrams), burst):
            self.send(Batch(datagrams[start : start + burst], address))
            time.sleep(PAUSES[burst])
