"""
Record the datagrams of real SSDP stacks into the files of this folder, in network namespaces. Needs root and tcpdump.

    python -m tests.datagrams.record                        all stacks of the tests
    python -m tests.datagrams.record NAME-VERSION COMMAND…  another program; {address} is replaced by its address
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ssdpreg.cli.capture import Capture
from tests.support import hosts, stacks
from tests.support.datagram_files import RecordedDatagram, write_datagrams
from tests.support.paths import ROOT

_FOLDER = Path(__file__).parent
_SEARCH = 'M-SEARCH * HTTP/1.1\r\nHOST: {}:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
#: Packages of Debian by the name of a stack.
_DEBIAN = {
    "minidlna": "minidlna",
    "miniupnpd": "miniupnpd",
    "gerbera": "gerbera",
    "gssdp": "libgssdp-1.6-0",
    "rclone": "rclone",
}


def version_of(name: str) -> str:
    """Return the upstream version of an installed stack."""
    if name == "node-ssdp":
        return str(json.loads((ROOT / ".npm/node_modules/node-ssdp/package.json").read_text())["version"])
    if name == "async_upnp_client":
        command = [str(ROOT / ".upnp-venv/bin/pip"), "show", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return str(re.findall(r"^Version: (.*)$", output, re.MULTILINE)[0])
    command = ["dpkg-query", "-W", "-f", "${Version}", _DEBIAN[name]]
    version = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.split(r"[-+]", version)[0]


def _search() -> None:
    """Search for everything over both IP versions, and wait for the replies."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ipv4,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ipv6,
    ):
        ipv4.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.2"))
        ipv4.sendto(_SEARCH.format("239.255.255.250").encode(), hosts.SSDP)
        ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
        for group in ("ff02::c", "ff05::c"):
            ipv6.sendto(_SEARCH.format(f"[{group.upper()}]").encode(), (group, 1900))
        time.sleep(3)


def record(name: str, start: Callable[[hosts.Host, Path], hosts.Program], *, ipv4: bool = True) -> None:
    """
    Record one program: its announcements, its replies to a search, and its byebyes.

    :param name: Name and version, the first part of the names of the files.
    :param start: Called with a host and a folder. Starts the program.
    :param ipv4: Whether the host of the program has IPv4.
    """
    with hosts.Lan() as lan:
        observer = lan.host("10.77.0.2", "fd00:77::2")
        device = lan.host("10.77.0.5" if ipv4 else "", "fd00:77::5")
        capture = lan.folder / "capture.pcap"
        tcpdump = observer.run(["tcpdump", "-U", "-i", "eth0", "-w", str(capture), "udp"])
        tcpdump.wait_for("listening on")
        folder = lan.folder / "device"
        folder.mkdir()
        program = start(device, folder)
        time.sleep(5)
        observer.inside(_search)
        ended = time.time()
        program.process.terminate()
        time.sleep(3)
        tcpdump.stop()
        own = {"10.77.0.2", "fd00:77::2", observer.link_local}
        found: dict[int, dict[tuple[bool, bytes], RecordedDatagram]] = {4: {}, 6: {}}
        with capture.open("rb") as file:
            for each in Capture(file, capture.name):
                if each.source[0] not in own:
                    datagram = RecordedDatagram(each.source, each.target, each.payload)
                    # Copies, also with another time, are left out, except byebyes at the start and at the end.
                    content = (each.time < ended, re.sub(rb"(?im)^date:.*$", b"", each.payload))
                    found[6 if ":" in each.source[0] else 4].setdefault(content, datagram)
    for family, datagrams in found.items():
        if datagrams:
            path = _FOLDER / f"{name}-ipv{family}.txt"
            write_datagrams(path, f"Recorded from {name.replace('-', ' ')}", datagrams.values())
            sys.stdout.write(f"{path.name}: {len(datagrams)}\n")


def main() -> None:
    """Record what the command line names."""
    if len(sys.argv) > 1:
        name, *command = sys.argv[1:]
        record(
            name,
            lambda host, folder: host.run([part.format(address=host.address) for part in command], cwd=str(folder)),
        )
        return
    for stack in stacks.STACKS:
        # An argument that is bound here, because the loop changes the variable.
        record(
            f"{stack.name}-{version_of(stack.name)}{'-link-local' if stack is stacks.GSSDP_LINK_LOCAL else ''}",
            lambda host, folder, stack=stack: stack.start(host, 50000, folder),  # type: ignore[misc]
            ipv4=stack not in (stacks.ASYNC_UPNP_CLIENT_IPV6, stacks.GSSDP_LINK_LOCAL),
        )


if __name__ == "__main__":
    main()
