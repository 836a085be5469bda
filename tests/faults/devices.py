"""Simulated devices: many in one process, each at its own address. They announce themselves and answer searches."""

from __future__ import annotations

import random
import re
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tests.faults.host_loop import HostLoop
from tests.support.hosts import SSDP, Host
from tests.support.rack import REDFISH, byebye, notify

#: Seconds between two announcements of a device, at most.
_ANNOUNCE_INTERVAL = 20.0
#: Seconds between the two copies of each announcement: a network may lose one of them.
_COPY_DELAY = 0.1
#: Type that all devices announce.
URN = REDFISH


@dataclass(frozen=True)
class Device:
    """
    Device with one service.

    :ivar address: IPv4 address from which it sends.
    :ivar port: Port in its LOCATION.
    :ivar max_age: Lifetime of its announcements in seconds.
    :ivar announces: Whether it sends announcements. One that does not is found by searches.
    """

    address: str
    port: int = 8080
    max_age: int = 1800
    announces: bool = True
    device_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def endpoint(self) -> str:
        """Address and port of its service."""
        return f"{self.address}:{self.port}"

    @property
    def location(self) -> str:
        return f"http://{self.endpoint}/redfish/v1"

    def alive(self) -> bytes:
        """Return its announcement."""
        return notify(URN, self.device_id, self.location, max_age=self.max_age)

    def reply(self, st: str) -> bytes:
        """Return its reply to a search."""
        lines = [
            "HTTP/1.1 200 OK",
            f"CACHE-CONTROL: max-age={self.max_age}",
            "EXT:",
            f"LOCATION: {self.location}",
            "SERVER: test/1 UPnP/1.1 test/1",
            f"ST: {URN if st == 'ssdp:all' else st}",
            f"USN: uuid:{self.device_id}::{URN}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()


class Devices:
    """
    All devices of one host.

    :param host: Host that has their addresses.
    :param loop: Loop on this host.
    :ivar truth: Address and port of each live device by its ID: what Consul is to hold.
    """

    def __init__(self, host: Host, loop: HostLoop) -> None:
        self._host = host
        self._loop = loop
        self._live: dict[str, Device] = {}
        self._senders: dict[str, socket.socket] = {}
        self._addresses = (f"{host.address.rpartition('.')[0]}.{number}" for number in range(10, 250))
        loop.call(self._listen)

    @property
    def truth(self) -> dict[str, str]:
        return {device_id: device.endpoint for device_id, device in list(self._live.items())}

    def new_address(self) -> str:
        """Add an address to the host, and return it."""
        address = next(self._addresses)
        self._host.call(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        self._loop.call(lambda: self._open(address))
        return address

    def start(self, *devices: Device) -> None:
        """Connect devices to the network."""

        def start() -> None:
            for device in devices:
                self._start(device)

        self._loop.call(start)

    def stop(self, *devices: Device, says_byebye: bool = True) -> None:
        """Disconnect devices from the network."""

        def stop() -> None:
            for device in devices:
                current = self._live.pop(device.device_id)
                if says_byebye:
                    self._send_twice(current.address, byebye(URN, current.device_id))

        self._loop.call(stop)

    def move(self, device: Device, address: str | None = None, port: int | None = None) -> Device:
        """Give a device another address or port, without a byebye, and return it."""
        moved = replace(device, address=address or device.address, port=port or device.port)
        self._loop.call(lambda: self._start(moved))
        return moved

    def restart(self, device: Device) -> None:
        """Restart a device: it sends a byebye, and announces itself soon after."""

        def restart() -> None:
            self._send(device.address, byebye(URN, device.device_id))
            self._loop.loop.call_later(0.5, self._announce_if_live, device)

        self._loop.call(restart)

    def send(self, address: str, *datagrams: bytes) -> None:
        """Send datagrams to the group from an address of this host."""

        def send() -> None:
            for datagram in datagrams:
                self._send(address, datagram)

        self._loop.call(send)

    def _start(self, device: Device) -> None:
        before = self._live.get(device.device_id)
        self._live[device.device_id] = device
        if device.announces:
            self._announce_twice(device)
            if before is None:
                self._later(device.device_id)

    def _later(self, device_id: str) -> None:
        pause = random.uniform(0.5, 1.0) * _ANNOUNCE_INTERVAL
        self._loop.loop.call_later(pause, self._announce_again, device_id)

    def _announce_again(self, device_id: str) -> None:
        device = self._live.get(device_id)
        if device is not None:
            self._send(device.address, device.alive())
            self._later(device_id)

    def _announce_twice(self, device: Device) -> None:
        self._send(device.address, device.alive())
        self._loop.loop.call_later(_COPY_DELAY, self._announce_if_live, device)

    def _announce_if_live(self, device: Device) -> None:
        # It may have left or moved since.
        if self._live.get(device.device_id) is device:
            self._send(device.address, device.alive())

    def _send_twice(self, address: str, datagram: bytes) -> None:
        self._send(address, datagram)
        self._loop.loop.call_later(_COPY_DELAY, self._send, address, datagram)

    def _send(self, address: str, datagram: bytes, to: tuple[str, int] = SSDP) -> None:
        # The network may be down: that is one of the faults.
        with suppress(OSError):
            self._senders[address].sendto(datagram, to)

    def _open(self, address: str) -> None:
        """Open the socket of an address: the source of its announcements, and the destination of unicast searches."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        sender.bind((address, SSDP[1]))
        self._read(sender, address)
        self._senders[address] = sender

    def _listen(self) -> None:
        """Open the socket for multicast searches."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        membership = socket.inet_aton(SSDP[0]) + socket.inet_aton(self._host.address)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        listener.bind(SSDP)
        self._read(listener, None)

    def _read(self, opened: socket.socket, address: str | None) -> None:
        opened.setblocking(False)
        self._loop.loop.add_reader(opened, self._receive, opened, address)

    def _receive(self, opened: socket.socket, address: str | None) -> None:
        try:
            datagram, searcher = opened.recvfrom(65507)
        except OSError:
            return
        text = datagram.decode("latin-1")
        st = re.search(r"^ST: *(.*?)\r$", text, re.MULTILINE | re.IGNORECASE)
        if not text.startswith("M-SEARCH") or st is None or st[1] not in ("ssdp:all", URN):
            return
        # A device waits for a random part of MX, or answers a unicast search at once.
        longest = 2.0 if address is None else 0.0
        for device in self._live.values():
            if address in (None, device.address):
                delay = random.uniform(0, longest)
                self._loop.loop.call_later(delay, self._reply, device, st[1], searcher)

    def _reply(self, device: Device, st: str, searcher: tuple[str, int]) -> None:
        # It may have left or moved since.
        if self._live.get(device.device_id) is device:
            self._send(device.address, device.reply(st), searcher)
