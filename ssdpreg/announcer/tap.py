"""``twistd ssdpspoof``: its options and its service."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from twisted.application import strports
from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorMulticast, IReactorTime
from twisted.python import usage
from twisted.web.server import Site

from ssdpreg.announcer.announcer import Announcer
from ssdpreg.announcer.devices import load
from ssdpreg.announcer.health import make_health_resource
from ssdpreg.errors import ConfigError
from ssdpreg.ssdp.network import Network


def _max_age(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError("must be a number of seconds, 1 or more")
    return seconds


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError("must be a port, 1 to 65535")
    return port


class Options(usage.Options):
    """Command line options. After parsing, ``options["devices"]`` is the list of devices in the file."""

    synopsis = "--config FILE [--max-age SECONDS] [--health PORT] [--interface NAME]..."
    longdesc = (
        "Announces the devices in a file over SSDP, replies to searches for them, and sends a byebye for each when"
        " stopped."
    )

    optParameters: ClassVar = [
        ["config", "c", None, "File with the devices to announce, such as demo/spoof.json."],
        [
            "max-age",
            "m",
            30,
            "Lifetime of an announcement in seconds; announcements are repeated before half of it has passed.",
            _max_age,
        ],
        ["health", None, None, "Port to serve GET /api/2.0/nodes on.", _port],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["interfaces"] = []

    def opt_interface(self, name: str) -> None:
        """Name of an interface to use, or network in which it has an address; may be repeated. Default: all."""
        self["interfaces"].append(name)

    opt_i = opt_interface

    def postOptions(self) -> None:
        if self["config"] is None:
            raise usage.UsageError("--config FILE is missing")
        try:
            self["devices"] = load(self["config"])
        except ConfigError as error:
            raise usage.UsageError(f"{self['config']}:\n{error}") from error


def makeService(options: Options) -> IService:
    """Make the service of ``twistd ssdpspoof``."""
    from twisted.internet import reactor

    devices = options["devices"]
    service = MultiService()
    open_network = partial(Network, IReactorMulticast(reactor), interfaces=options["interfaces"])
    Announcer(IReactorTime(reactor), open_network, devices, options["max-age"]).setServiceParent(service)
    if options["health"] is not None:
        site = Site(make_health_resource(devices))
        strports.service(f"tcp:{options['health']}", site).setServiceParent(service)
    return service
