"""
CPU time to receive and process a datagram, as a ratio to that of a Twisted protocol that does nothing.

    python bench/datagrams.py [ROUNDS]

Each receiver is a separate process that joins the SSDP group on loopback. The protocol that does nothing is measured in
the same run, since absolute times depend on the machine and its load. ``async_upnp_client`` is measured if it is
installed.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

GROUP, PORT, LOOPBACK = "239.255.255.250", 1900, "127.0.0.1"
URN = "urn:schemas-upnp-org:service:api:2.0"
#: Datagrams sent at once: fewer than the default receive buffer holds.
BURST = 96
BURSTS = 300

NOTHING = f"""
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol

class Nothing(DatagramProtocol):
    def startProtocol(self):
        self.transport.joinGroup("{GROUP}", "{LOOPBACK}")
        print("ready", flush=True)

reactor.listenMulticast({PORT}, Nothing(), "{GROUP}", 65507, listenMultiple=True)
reactor.run()
"""
SSDPREG = f"""
from functools import partial
from ipaddress import ip_network
from twisted.internet import reactor
from ssdpreg.discovery.table import AdvertisementTable
from ssdpreg.discovery.location import LocationRules
from ssdpreg.registration import RegistrationRules
from ssdpreg.registry import Registry
from ssdpreg.ssdp.network import Network

registry = Registry(
    reactor,
    partial(Network, reactor, interfaces=["127.0.0.0/8"]),
    AdvertisementTable(limit_per_sender=100_000),
    RegistrationRules("bench"),
    LocationRules([ip_network("0.0.0.0/0")]),
    search_interval=0,
)
registry.set_search_terms({{"{URN}": "RackHD"}})
registry.startService()
print("ready", flush=True)
reactor.run()
"""
ASYNC_UPNP_CLIENT = f"""
import asyncio
from async_upnp_client.ssdp_listener import SsdpListener

async def main():
    async def ignore(device, device_type, source):
        pass
    listener = SsdpListener(async_callback=ignore, source=("{LOOPBACK}", 0))
    await listener.async_start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
RECEIVERS = {"Twisted, does nothing": NOTHING, "ssdpreg": SSDPREG}
if find_spec("async_upnp_client"):
    RECEIVERS["async_upnp_client"] = ASYNC_UPNP_CLIENT


def notify(number: int) -> bytes:
    """Return the announcement of a device."""
    lines = [
        "NOTIFY * HTTP/1.1",
        f"HOST: {GROUP}:{PORT}",
        "CACHE-CONTROL: max-age=1800",
        f"LOCATION: http://{LOOPBACK}:{number % 60000 + 1}/description.xml",
        "SERVER: Linux/6.1 UPnP/1.1 bench/1.0",
        f"NT: {URN}",
        "NTS: ssdp:alive",
        f"USN: uuid:4c4c4544-0051-4810-8031-{number:012x}::{URN}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds: utime and stime of proc(5)."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(program: str, *, repeated: bool) -> float:
    """
    Measure a receiver.

    :param program: Source code of the receiver. It prints a line when it is listening.
    :param repeated: Whether to send announcements of 960 known devices again and again, or of a new device each time.
    :return: CPU time per datagram in microseconds.
    """
    known = [notify(number) for number in range(960)]
    with (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        assert receiver.stdout is not None
        receiver.stdout.readline()
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        # Every known device is announced once before the measurement.
        for number, datagram in enumerate(known):
            sender.sendto(datagram, (GROUP, PORT))
            if number % BURST == BURST - 1:
                time.sleep(0.05)
        time.sleep(0.5)
        began = cpu_seconds(receiver.pid)
        for burst in range(BURSTS):
            for number in range(burst * BURST, (burst + 1) * BURST):
                sender.sendto(known[number % len(known)] if repeated else notify(1000 + number), (GROUP, PORT))
            time.sleep(0.01)
        time.sleep(0.5)
        spent = cpu_seconds(receiver.pid) - began
        receiver.kill()
    return spent / (BURST * BURSTS) * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"{'':24}{'960 known devices':>28}{'new devices':>28}")
    medians: dict[str, list[float]] = {name: [] for name in RECEIVERS}
    for repeated in (True, False):
        times: dict[str, list[float]] = {name: [] for name in RECEIVERS}
        for _ in range(rounds):
            for name, program in RECEIVERS.items():
                times[name].append(measure(program, repeated=repeated))
        for name, each in times.items():
            medians[name].append(statistics.median(each))
    nothing = medians["Twisted, does nothing"]
    for name, each in medians.items():
        cells = (f"{cost / base:.2f} ({cost:.1f} µs)" for cost, base in zip(each, nothing, strict=True))
        print(f"{name:24}" + "".join(f"{cell:>28}" for cell in cells))


if __name__ == "__main__":
    main()
