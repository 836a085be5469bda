"""A network namespace for the benchmarks: no datagram of this machine's networks disturbs them, or reaches one."""

from __future__ import annotations

import os
import subprocess
import sys

#: Interface of the receivers, and its address. Devices have other addresses of its network.
INTERFACE, ADDRESS, NETWORK = "bench0", "10.0.0.1", "10.0.0.0/8"

_INSIDE = "SSDPREG_BENCH_NAMESPACE"


def enter() -> None:
    """Run this program again in a new network namespace, unless it runs in one already."""
    if _INSIDE in os.environ:
        return
    os.environ[_INSIDE] = "1"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.execvp("unshare", ["unshare", *user, "--net", sys.executable, "-m", "bench", *sys.argv[1:]])


def prepare() -> None:
    """Create the interface."""
    for command in (
        "link set lo up",
        # The peer only gives the interface a carrier.
        f"link add {INTERFACE} type veth peer name bench1",
        f"address add {ADDRESS}/8 dev {INTERFACE}",
        f"link set {INTERFACE} up",
        "link set bench1 up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
