"""CPU time of a datagram, datagrams taken under an overload, and datagrams lost in a burst."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from bench.namespace import ADDRESS
from bench.processes import ASYNC_UPNP, NOTHING, SSDPREG, Receiver
from bench.row import Row
from bench.traffic import OTHER_URN, URN, Batch, Devices, device_address, notify, reply
from ssdpreg.ssdp.messages import GROUP, PORT

#: Number of known devices.
_KNOWN = 1000
#: Number of datagrams of a measurement of CPU time.
_COUNT = 24_000
#: Seconds between two searches when replies are measured, and the number of replies to each search of each device.
_SEARCH_INTERVAL, _REPLIES = 5.0, 8
#: Seconds of an overload.
_OVERLOAD = 3.0
#: Number of devices that announce themselves at once.
_BURST = 5000

_CONTENDERS = (NOTHING, SSDPREG, ASYNC_UPNP)


def announcements(numbers: Sequence[int], urn: str = URN) -> list[tuple[str, bytes]]:
    """Return the announcements of devices with their senders."""
    return [(device_address(number), notify(number, urn)) for number in numbers]


def _cpu(receiver: Receiver, count: int, send: Callable[[], None]) -> dict[str, float]:
    """Return the CPU time for each datagram that a function sends and that the kernel does not drop."""
    dropped, before = receiver.dropped(), receiver.cpu_seconds()
    send()
    receiver.wait_until_idle()
    lost = receiver.dropped() - dropped
    return {"CPU µs": (receiver.cpu_seconds() - before) / (count - lost) * 1e6, "dropped": lost}


def _repeated(burst: int, urn: str, contender: str) -> dict[str, float]:
    known = announcements(range(_KNOWN), urn)
    repeated = [known[number % _KNOWN] for number in range(_COUNT)]
    with Receiver(contender) as receiver, Devices() as devices:
        for _ in range(2):
            devices.send_in_bursts(known, 24)
        receiver.wait_until_idle()
        return _cpu(receiver, _COUNT, lambda: devices.send_in_bursts(repeated, burst))


def _replies(burst: int, contender: str) -> dict[str, float]:
    with Receiver(contender, _SEARCH_INTERVAL) as receiver, Devices() as devices, _search_listener() as searches:
        devices.send_in_bursts(announcements(range(_KNOWN)), 24)
        # The first replies of all devices are not measured.
        address = _next_search(searches)
        devices.send_in_bursts([(device_address(number), reply(number, 0)) for number in range(_KNOWN)], 24, address)
        # The services may have yet to be registered. The queue of the listener for searches is not empty.
        receiver.wait_until_idle(queues=False)
        dropped, before, sent = receiver.dropped(), receiver.cpu_seconds(), 0
        for search in range(_COUNT // _KNOWN // _REPLIES):
            address = _next_search(searches)
            for repetition in range(_REPLIES):
                second = 1 + search * _REPLIES + repetition
                each = [(device_address(number), reply(number, second)) for number in range(_KNOWN)]
                devices.send_in_bursts(each, burst, address)
                sent += len(each)
            dropped_now = receiver.dropped()
        time.sleep(0.2)
        return {
            "CPU µs": (receiver.cpu_seconds() - before) / sent * 1e6,
            "dropped": max(dropped_now - dropped, 0),
        }


def _search_listener() -> socket.socket:
    """Return a socket that receives the searches of a receiver."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((GROUP, PORT))
    membership = struct.pack("@4s4si", socket.inet_aton(GROUP), socket.inet_aton(ADDRESS), 0)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    listener.settimeout(4 * _SEARCH_INTERVAL)
    return listener


def _next_search(listener: socket.socket) -> tuple[str, int]:
    """Return the address of the next search, without the searches and announcements that were received before."""
    listener.setblocking(False)
    try:
        while True:
            listener.recv(2048)
    except BlockingIOError:
        pass
    listener.settimeout(4 * _SEARCH_INTERVAL)
    while True:
        datagram, address = listener.recvfrom(2048)
        if datagram.startswith(b"M-SEARCH"):
            host, port = address
            return host, port


def _new(contender: str) -> dict[str, float]:
    new = announcements(range(20_000))
    with Receiver(contender) as receiver, Devices() as devices:
        return _cpu(receiver, len(new), lambda: devices.send_in_bursts(new, 96))


def _overload(contender: str) -> dict[str, float]:
    known = announcements(range(_KNOWN))
    batch = Batch(known, (GROUP, PORT))
    with Receiver(contender) as receiver, Devices() as devices:
        for _ in range(2):
            devices.send_in_bursts(known, 24)
        receiver.wait_until_idle()
        dropped, sent, began = receiver.dropped(), 0, time.monotonic()
        while (seconds := time.monotonic() - began) < _OVERLOAD:
            devices.send(batch)
            sent += batch.size
        return {
            "datagrams a second": (sent - receiver.dropped() + dropped) / seconds,
            "sent a second": sent / seconds,
        }


def _burst(contender: str) -> dict[str, float]:
    batch = Batch(announcements(range(_BURST)), (GROUP, PORT))
    with Receiver(contender) as receiver, Devices() as devices:
        began = time.monotonic()
        devices.send(batch)
        seconds = time.monotonic() - began
        receiver.wait_until_idle()
        return {"dropped": receiver.dropped(), "sent a second": _BURST / seconds}


ROWS = (
    *(
        Row(f"notify-{burst}", f"repeated NOTIFY, bursts of {burst}", _CONTENDERS, partial(_repeated, burst, URN))
        for burst in (24, 96)
    ),
    *(
        Row(
            f"reply-{burst}",
            f"repeated reply with another DATE, bursts of {burst}",
            _CONTENDERS,
            partial(_replies, burst),
        )
        for burst in (24, 96)
    ),
    Row(
        "unmatched",
        "NOTIFY of a type that no term matches, bursts of 96",
        _CONTENDERS,
        partial(_repeated, 96, OTHER_URN),
    ),
    Row("new", "new service, registered in the embedded catalogue and logged", _CONTENDERS, _new),
    Row("overload", "datagrams taken under an overload", _CONTENDERS, _overload),
    Row("burst", "burst of 5,000 new devices at wire speed", _CONTENDERS, _burst),
)
