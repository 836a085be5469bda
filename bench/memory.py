"""
Memory of the daemon's receiver after many large or different datagrams of one sender.

    python bench/memory.py

Each case is measured in a separate process, which joins the SSDP group on loopback. The datagrams announce a type for
which there is no search term, so that none of their contents has to be kept.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

from datagrams import GROUP, LOOPBACK, PORT, SSDPREG

#: Number of datagrams of each case.
COUNT = 9000
#: Datagrams sent at once, in bytes: less than the receive buffer holds.
BURST = 1_000_000


def notify(number: int, location: str) -> bytes:
    """Return the announcement of a device, of a type that is not searched for."""
    urn = f"urn:schemas-upnp-org:service:other:{number}"
    lines = [
        "NOTIFY * HTTP/1.1",
        f"HOST: {GROUP}:{PORT}",
        "CACHE-CONTROL: max-age=1800",
        f"NT: {urn}",
        "NTS: ssdp:alive",
        f"USN: uuid:4c4c4544-0051-4810-8031-{number:012x}::{urn}",
        f"LOCATION: http://{LOOPBACK}/{location}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


CASES: dict[str, Callable[[int], bytes]] = {
    "LOCATION of 60 kB": lambda number: notify(number, "x" * 60_000),
    "LOCATION of 2 kB": lambda number: notify(number, "x" * 2000),
    "1 kB, ASCII": lambda number: notify(number, "x" * 700),
    "1 kB, Unicode": lambda number: notify(number, "\U0001f600" * 175),
}


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) / 1024


def measure(make: Callable[[int], bytes]) -> tuple[float, float]:
    """Return the memory of a receiver in MB, before and after the datagrams of a case."""
    with (
        subprocess.Popen([sys.executable, "-c", SSDPREG], stdout=subprocess.PIPE) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        assert receiver.stdout is not None
        receiver.stdout.readline()
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BURST)
        before = resident(receiver.pid)
        sent = 0
        for number in range(COUNT):
            datagram = make(number)
            sender.sendto(datagram, (GROUP, PORT))
            sent += len(datagram)
            if sent > BURST:
                time.sleep(0.02)
                sent = 0
        time.sleep(1)
        after = resident(receiver.pid)
        receiver.kill()
    return before, after


def main() -> None:
    print(f"{COUNT} datagrams of each case")
    for name, make in CASES.items():
        before, after = measure(make)
        print(f"{name:20}{before:7.1f} MB before{after:8.1f} MB after")


if __name__ == "__main__":
    main()
