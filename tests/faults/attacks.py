"""Rows about neighbours that send more datagrams than they should."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.faults.devices import URN
from tests.faults.row import Row
from tests.faults.world import Measurement, World
from tests.support.hosts import SSDP, Host
from tests.support.rack import notify
from tests.support.waiting import wait_until

#: Services that the flood pretends, and addresses that it sends from.
FLOOD, FLOOD_ADDRESSES = 20_000, 10
#: Datagrams a second of an attacker.
_FLOOD_RATE, _MOVING_RATE = 4000.0, 2000.0
#: Services of the neighbour whose services move.
MOVING = 200
#: Seconds in which a change of an honest device must be in Consul.
_HONEST = 5.0
#: Seconds that are waited for it at most.
_HONEST_TIMEOUT = 60.0
#: Seconds in which lines of the log are counted.
_LINES_COUNTED = 60.0
#: Raft writes in a minute of moving services.
_MAX_WRITES = 1000


def flood(row: Row, seconds: float) -> None:
    """Announce 20,000 services from 10 addresses. Then an honest device comes, one moves and one leaves."""
    with World() as world:
        attacker = world.lan.host("10.77.0.4")
        addresses = [f"10.77.0.{number}" for number in range(200, 200 + FLOOD_ADDRESSES)]
        for address in addresses:
            attacker.call(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        devices = world.start(22)
        coming = world.new_devices(1)[0]
        leaving, moving, *untouched = devices
        measurement = Measurement(world, row, untouched, untouched)
        datagrams = (
            (address, notify(URN, f"flood-{number}", f"http://{address}:{number % 60_000 + 1}/"))
            for number, address in zip(range(FLOOD), itertools.cycle(addresses), strict=False)
        )
        _send_paced(attacker, datagrams, _FLOOD_RATE)
        world.devices.start(coming)
        moved = world.devices.move(moving, port=9090)
        world.devices.stop(leaving)
        start = time.monotonic()
        pending = {
            "new": (coming, coming.endpoint),
            "moved": (moving, moved.endpoint),
            "gone": (leaving, None),
        }
        took: dict[str, float] = {}
        while pending and time.monotonic() < start + _HONEST_TIMEOUT:
            try:
                found = world.found(*(device for device, _ in pending.values()))
            except (OSError, ValueError):
                continue
            for name, (device, expected) in list(pending.items()):
                if found.get(device.device_id) == expected:
                    took[name] = time.monotonic() - start
                    del pending[name]
            time.sleep(0.1)
        row.details = ", ".join(f"{name} after {after:.1f} s" for name, after in took.items())
        row.faults += [f"{name} not after {_HONEST_TIMEOUT:.0f} s" for name in pending]
        row.faults += [f"{name} after {after:.1f} s" for name, after in took.items() if after > _HONEST]
        row.equal_after = None if pending else round(max(took.values()), 1)
        row.equal_within = _HONEST
        # Lines of the log are counted during a minute.
        time.sleep(max(0.0, start + _LINES_COUNTED - time.monotonic()))
        measurement.end()
        if pending:
            row.faults.append(f"Consul has {len(world.rack.services())} services")


def moving_services(row: Row, seconds: float) -> None:
    """Announce 200 services of one neighbour at another port each time, 2,000 times a second."""
    with World() as world:
        attacker = world.lan.host("10.77.0.4")
        devices = world.start(20)
        coming = world.new_devices(1)[0]
        measurement = Measurement(world, row, devices, [*devices, coming])
        index, start = world.rack.raft_index(), time.monotonic()
        with ThreadPoolExecutor(1) as executor:
            sending = executor.submit(_send_paced, attacker, _moves(attacker.address, seconds), _MOVING_RATE)
            time.sleep(seconds / 2)
            world.devices.start(coming)
            came = time.monotonic()
            try:
                wait_until(lambda: bool(world.found(coming)), _HONEST_TIMEOUT, 0.1)
                row.equal_after = round(time.monotonic() - came, 1)
            except AssertionError:
                pass
            sending.result()
        minutes = (time.monotonic() - start) / 60
        writes = (world.rack.raft_index() - index) / minutes
        measurement.end()
        # Here the lines about changes count too: the neighbour causes them.
        row.lines += row.changes / minutes
        row.equal_within = _HONEST
        row.details = f"{writes:.0f} raft writes a minute"
        if writes > _MAX_WRITES:
            row.faults.append(row.details)


def _moves(address: str, seconds: float) -> Iterator[tuple[str, bytes]]:
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        yield address, notify(URN, f"moving-{number % MOVING}", f"http://{address}:{number % 60_000 + 1}/")


def _send_paced(host: Host, datagrams: Iterable[tuple[str, bytes]], rate: float) -> None:
    """
    Send datagrams to the group.

    :param datagrams: Address of the sender, and datagram.
    :param rate: Datagrams a second.
    """

    def send() -> None:
        senders: dict[str, socket.socket] = {}
        start = time.monotonic()
        for number, (address, datagram) in enumerate(datagrams):
            if address not in senders:
                senders[address] = sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                sender.bind((address, 0))
            senders[address].sendto(datagram, SSDP)
            if number % 20 == 0:
                time.sleep(max(0.0, start + number / rate - time.monotonic()))
        for sender in senders.values():
            sender.close()

    host.inside(send)
