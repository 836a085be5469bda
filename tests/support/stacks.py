"""
SSDP stacks of other projects as devices on the hosts of a LAN.

Each stack is a program that announces one device. ``.ci/provision`` installs them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path

from tests.support.hosts import Host, Program
from tests.support.paths import ROOT

#: Python of the environment with async_upnp_client, and folder of the packages of npm.
_UPNP_PYTHON = ROOT / ".upnp-venv" / "bin" / "python"
_NPM = ROOT / ".npm" / "node_modules"
#: Python of Debian, which has the bindings of GSSDP.
_SYSTEM_PYTHON = "/usr/bin/python3"

MEDIA_SERVER = "urn:schemas-upnp-org:device:MediaServer:1"
GATEWAY = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
BASIC = "urn:schemas-upnp-org:device:Basic:1"
LIGHT = "urn:schemas-upnp-org:device:BinaryLight:1"
PRINTER = "urn:schemas-upnp-org:device:Printer:1"

#: Device of GSSDP. It announces in each network of its arguments, which are IP addresses, with a max-age of 10 s.
_GSSDP = """
import gi, signal, sys
gi.require_version("GSSDP", "1.6")
from gi.repository import Gio, GLib, GSSDP
usn, nt, port, *addresses = sys.argv[1:]
groups, clients = [], []
for text in addresses:
    address = Gio.InetAddress.new_from_string(text)
    client = GSSDP.Client.new_full("eth0", address, 0, GSSDP.UDAVersion.VERSION_1_0)
    clients.append(client)
    group = GSSDP.ResourceGroup.new(client)
    group.set_max_age(10)
    host = f"[{text}]" if ":" in text else text
    for target, name in (("upnp:rootdevice", f"{usn}::upnp:rootdevice"), (usn, usn), (nt, f"{usn}::{nt}")):
        group.add_resource_simple(target, name, f"http://{host}:{port}/gssdp.xml")
    group.set_available(True)
    groups.append(group)
loop = GLib.MainLoop()
def stop():
    for group in groups:
        group.set_available(False)
    # The byebyes are sent one after the other.
    GLib.timeout_add(1500, loop.quit)
GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, stop)
loop.run()
"""

#: Device of node-ssdp with a max-age of 10 s.
_NODE_SSDP = """
const [folder, address, port, udn, nt] = process.argv.slice(1)
const { Server } = require(folder + "/node-ssdp")
const server = new Server({
  location: `http://${address}:${port}/node.xml`, udn: udn, ttl: 10, adInterval: 3000, interfaces: ["eth0"],
  headers: { "CACHE-CONTROL": "max-age=10" },
})
server.addUSN("upnp:rootdevice")
server.addUSN(nt)
server.start()
process.on("SIGTERM", () => {
  // A reply after the byebye would void it. stop() closes the sockets before the byebyes are sent.
  Object.values(server.sockets).forEach(each => each.removeAllListeners("message"))
  server.advertise(false)
  setTimeout(() => process.exit(0), 500)
})
"""

#: Device of async_upnp_client, which announces every second and states its usual max-age of 1800 s.
_ASYNC_UPNP_CLIENT = """
import asyncio, signal, socket, sys
from datetime import timedelta
from xml.etree import ElementTree
from async_upnp_client import server
from async_upnp_client.const import DeviceInfo
address, port, udn, nt = sys.argv[1:]
class Device(server.UpnpServerDevice):
    DEVICE_DEFINITION = DeviceInfo(
        device_type=nt, friendly_name="Printer", manufacturer="Example", manufacturer_url=None, model_description=None,
        model_name="P", model_number=None, model_url=None, serial_number=None, udn=udn, upc=None, presentation_url=None,
        url="/async.xml", icons=[], xml=ElementTree.Element("server_device"))
    EMBEDDED_DEVICES = []
    SERVICES = []
server.SsdpAdvertisementAnnouncer.ANNOUNCE_INTERVAL = timedelta(seconds=1)
if ":" in address:
    scope = socket.if_nametoindex("eth0")
    source, target = (address, 0, 0, scope), ("FF02::C", 1900, 0, scope)
else:
    source, target = (address, 0), ("239.255.255.250", 1900)
async def main():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    device = server.UpnpServer(Device, source, target, http_port=int(port))
    await device.async_start()
    await stopped.wait()
    await device.async_stop()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Stack:
    """
    Stack of another project.

    :ivar name: Name for messages and files.
    :ivar package: Origin of the program, for the reason of a skipped test.
    :ivar requires: Program, or pattern of a file, that must exist.
    :ivar nt: Type that the device announces.
    :ivar device_id: Its device ID, or empty if the program makes one.
    :ivar max_age: Lifetime that it announces, in seconds.
    :ivar byebye: Whether it sends byebyes on SIGTERM.
    :ivar command: Called with this stack, the host, the port for HTTP and a folder; returns the command that starts it.
    """

    name: str
    package: str
    requires: str
    nt: str
    device_id: str
    max_age: int
    byebye: bool
    command: Callable[[Stack, Host, int, Path], Sequence[str]]

    def start(self, host: Host, port: int, folder: Path) -> Program:
        """
        Start the device on a host.

        :param port: Port in the device's LOCATION.
        :param folder: Existing folder for its files, which may be used again for a restart.
        """
        return host.run(self.command(self, host, port, folder), cwd=str(folder))

    @property
    def missing(self) -> str | None:
        """Reason why the device cannot be started on this machine, or None."""
        if shutil.which(self.requires) or glob(self.requires):
            return None
        return f"Needs {self.requires} ({self.package})."


def unavailable(stacks: Sequence[Stack]) -> str | None:
    """
    Return the ``skip`` of tests that need stacks.

    :raise RuntimeError: If one is missing and ``SSDPREG_REQUIRE_ALL`` is set.
    """
    reason = " ".join(stack.missing for stack in stacks if stack.missing)
    if reason and os.environ.get("SSDPREG_REQUIRE_ALL"):
        raise RuntimeError(reason)
    return reason or None


def _minidlna(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    for name in ("media", "db"):
        (folder / name).mkdir(exist_ok=True)
    path = folder / "minidlna.conf"
    # The max-age is twice the interval and 10 s.
    path.write_text(
        f"port={port}\nnetwork_interface=eth0\nmedia_dir={folder}/media\ndb_dir={folder}/db\nlog_dir={folder}\n"
        f"friendly_name=minidlna\nuuid={stack.device_id}\nnotify_interval=1\n"
    )
    return ["minidlnad", "-S", "-f", str(path), "-P", str(folder / "minidlna.pid")]


def _miniupnpd(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    if "wan0" not in host.call(["ip", "-o", "link"]):
        # An external address that miniupnpd accepts. The interface is not connected to any network.
        host.call(["ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan1"])
        host.call(["ip", "address", "add", "5.5.5.5/24", "dev", "wan0"])
        host.call(["ip", "link", "set", "wan0", "up"])
    path = folder / "miniupnpd.conf"
    path.write_text(
        f"ext_ifname=wan0\nlistening_ip=eth0\nhttp_port={port}\nenable_natpmp=no\nenable_upnp=yes\n"
        f"uuid={stack.device_id}\nnotify_interval=2\nforce_igd_desc_v1=yes\n"
    )
    program = shutil.which("miniupnpd")
    assert program is not None
    return [program, "-d", "-f", str(path), "-P", str(folder / "miniupnpd.pid")]


def _gerbera(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    _route_multicast(host)
    path = folder / "config.xml"
    # 62 s is the shortest max-age.
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<config version="2" xmlns="http://mediatomb.cc/config/2">
  <server>
    <ui enabled="no"/><name>Gerbera</name><udn>uuid:{stack.device_id}</udn><home>{folder}</home>
    <webroot>/usr/share/gerbera/web</webroot><alive>{stack.max_age}</alive>
    <storage><sqlite3 enabled="yes"><database-file>gerbera.db</database-file></sqlite3></storage>
  </server>
  <import hidden-files="no"><scripting script-charset="UTF-8"><virtual-layout type="disabled"/></scripting></import>
</config>
"""
    )
    return ["gerbera", "-e", "eth0", "-p", str(port), "-c", str(path)]


def _gssdp(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    return _gssdp_command(stack, port, _addresses(host))


def _gssdp_command(stack: Stack, port: int, addresses: Sequence[str]) -> Sequence[str]:
    return [_SYSTEM_PYTHON, "-c", _GSSDP, f"uuid:{stack.device_id}", stack.nt, str(port), *addresses]


def _node_ssdp(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    _route_multicast(host)
    return ["node", "-e", _NODE_SSDP, str(_NPM), host.address, str(port), f"uuid:{stack.device_id}", stack.nt]


def _async_upnp_client(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    address, *_ = _addresses(host)
    udn = f"uuid:{stack.device_id}"
    return [str(_UPNP_PYTHON), "-c", _ASYNC_UPNP_CLIENT, address, str(port), udn, stack.nt]


def _rclone(stack: Stack, host: Host, port: int, folder: Path) -> Sequence[str]:
    (folder / "media").mkdir(exist_ok=True)
    (folder / "rclone.conf").touch()
    options = ["--config", str(folder / "rclone.conf"), "--addr", f":{port}", "--name", "rclone"]
    return ["rclone", "serve", "dlna", str(folder / "media"), *options]


def _route_multicast(host: Host) -> None:
    """Add a route, without which some stacks send no multicast."""
    host.call(["ip", "route", "replace", "224.0.0.0/4", "dev", "eth0"])


def _addresses(host: Host) -> list[str]:
    """Return the addresses of a host: IPv4, and IPv6 that is not link-local."""
    return [address for address in (host.address, host.ipv6) if address]


MINIDLNA = Stack(
    "minidlna",
    "Debian: minidlna",
    "minidlnad",
    MEDIA_SERVER,
    "00000000-0000-4000-8000-000000000001",
    12,
    True,
    _minidlna,
)
MINIUPNPD = Stack(
    "miniupnpd",
    "Debian: miniupnpd",
    "miniupnpd",
    GATEWAY,
    "00000000-0000-4000-8000-000000000002",
    14,
    True,
    _miniupnpd,
)
GERBERA = Stack(
    "gerbera",
    "Debian: gerbera",
    "gerbera",
    MEDIA_SERVER,
    "00000000-0000-4000-8000-000000000003",
    62,
    True,
    _gerbera,
)
GSSDP = Stack(
    "gssdp",
    "Debian: python3-gi gir1.2-gssdp-1.6",
    "/usr/lib/*/girepository-1.0/GSSDP-1.6.typelib",
    BASIC,
    "00000000-0000-4000-8000-000000000004",
    10,
    True,
    _gssdp,
)
NODE_SSDP = Stack(
    "node-ssdp",
    "npm: node-ssdp in .npm",
    str(_NPM / "node-ssdp"),
    LIGHT,
    "00000000-0000-4000-8000-000000000005",
    10,
    True,
    _node_ssdp,
)
ASYNC_UPNP_CLIENT = Stack(
    "async_upnp_client",
    "PyPI: async_upnp_client in .upnp-venv",
    str(_UPNP_PYTHON),
    PRINTER,
    "00000000-0000-4000-8000-000000000006",
    1800,
    True,
    _async_upnp_client,
)
#: A device with a link-local address only.
GSSDP_LINK_LOCAL = replace(
    GSSDP,
    device_id="00000000-0000-4000-8000-000000000008",
    command=lambda stack, host, port, folder: _gssdp_command(stack, port, [host.link_local]),
)
#: A device on a host without IPv4, because the program announces one address.
ASYNC_UPNP_CLIENT_IPV6 = replace(ASYNC_UPNP_CLIENT, device_id="00000000-0000-4000-8000-000000000007")
#: rclone makes its device ID from its name, and sends no byebye at a signal.
RCLONE = Stack("rclone", "Debian: rclone", "rclone", MEDIA_SERVER, "", 1800, False, _rclone)

STACKS = (
    MINIDLNA,
    MINIUPNPD,
    GERBERA,
    GSSDP,
    GSSDP_LINK_LOCAL,
    NODE_SSDP,
    ASYNC_UPNP_CLIENT,
    ASYNC_UPNP_CLIENT_IPV6,
    RCLONE,
)
