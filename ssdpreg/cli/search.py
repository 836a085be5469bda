"""``ssdpreg search``: prints which devices are on the network, with no configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_network
from typing import Any

from rich.console import Console
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from ssdpreg.cli.found import Device, Found
from ssdpreg.cli.output import make_console, print_json, print_lines
from ssdpreg.cli.progress import Bar
from ssdpreg.cli.proposal import propose
from ssdpreg.cli.report import advice, count, document, print_devices, where
from ssdpreg.cli.running import run
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import ConfigError, Fault, MessageError
from ssdpreg.ssdp.messages import SEARCH_ALL, Message, SearchRequest
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress

#: UDP loses datagrams, so what is sought is asked for again after so many seconds: UPnP Device Architecture 2.0, 1.3.2.
_APART = 0.5

_DESCRIPTION = """
Listen and search for a few seconds, and print every device that is on the network. No configuration is needed; the
daemon may run at the same time. Ctrl-C ends it early, with what was found until then.
"""
_EXIT_STATUS = "Exit status: 0 if something was found, 1 if nothing was, 2 for a wrong usage."


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    parser = commands.add_parser(
        "search",
        help="print every device on the network",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUS,
    )
    parser.add_argument(
        "urns", metavar="URN", type=_urn, nargs="*", help="what to search for, also with a * at its end; default: all"
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=_number(float, 1, 3600, "number of seconds"),
        default=5.0,
        help="how long to listen; default: 5",
    )
    parser.add_argument(
        "--interface",
        metavar="NAME",
        action="append",
        default=[],
        help="interface to use, or network that it has an address in; may be repeated; default: all that can multicast",
    )
    parser.add_argument(
        "--ttl", metavar="N", type=_number(int, 1, 255, "whole number"), default=2, help="hops of a search; default: 2"
    )
    parser.add_argument(
        "--mx",
        metavar="N",
        type=_number(int, 1, 5, "whole number"),
        default=3,
        help="seconds that devices may take to answer; default: 3",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--write-config", metavar="FILE", help="write a registry.json of what was found; - prints it, and nothing else"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the FILE of --write-config")
    parser.set_defaults(run=search)


def _urn(text: str) -> str:
    if not text or " " in text or "*" in text[:-1] or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no URN, and none with a * at its end")
    return text


def _number(kind: type[float], low: int, high: int, words: str) -> Callable[[str], float]:
    """
    Make what reads a number.

    :param kind: ``int`` or ``float``.
    :param words: What to call it.
    """

    def read(text: str) -> float:
        number = kind(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"it is a {words}, {low} to {high}")
        return number

    # By this argparse calls what cannot be read at all.
    read.__name__ = words
    return read


def search(arguments: argparse.Namespace) -> int:
    """
    Run the subcommand.

    :raise ConfigError: If what it is asked to write cannot be written.
    """
    target = arguments.write_config
    if target == "-" and arguments.json:
        raise ConfigError(Fault("--write-config", "prints a document of its own: leave out --json, or name a file"))
    if target not in (None, "-") and os.path.lexists(target) and not arguments.force:
        raise ConfigError(Fault("--write-config", f"{target} is there already: --force overwrites it"))
    return run(partial(_search, arguments))


async def _search(arguments: argparse.Namespace, reactor: Any) -> int:
    found = Found(_terms(arguments.urns), LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")]))

    def deliver(message: Message, peer: PeerAddress, interface: str) -> None:
        found.hear(message, peer[0])

    network = Network(reactor, deliver, _drop, arguments.interface, arguments.ttl)
    network.refresh()
    interfaces = network.interfaces
    try:
        if interfaces:
            await _listen(reactor, network, found, arguments)
    except CancelledError:
        # Ctrl-C: somebody has seen enough.
        pass
    finally:
        await network.close()
    return _report(arguments, interfaces, found.devices())


def _terms(urns: Sequence[str]) -> SearchTerms | None:
    return SearchTerms(dict.fromkeys(urns, "")) if urns and SEARCH_ALL not in urns else None


def _drop(error: MessageError, peer: PeerAddress, interface: str) -> None:
    """Pass over what is no SSDP."""


async def _listen(reactor: Any, network: Network, found: Found, arguments: argparse.Namespace) -> None:
    targets = dict.fromkeys(SEARCH_ALL if urn.endswith("*") else urn for urn in arguments.urns or [SEARCH_ALL])
    # Who answers later than we listen is not heard.
    requests = [SearchRequest(st, min(arguments.mx, int(arguments.seconds))) for st in targets]

    def ask() -> None:
        for request in requests:
            network.send(request)

    with Bar(reactor, arguments.seconds, lambda: count(len(found.devices()), "device")):
        ask()
        await deferLater(reactor, _APART, ask)
        await deferLater(reactor, arguments.seconds - _APART)


def _report(arguments: argparse.Namespace, interfaces: Sequence[tuple[str, str]], devices: Sequence[Device]) -> int:
    if arguments.json:
        print_json(document(interfaces, devices))
    elif devices and arguments.write_config != "-":
        print_devices(devices)
    errors = make_console(stderr=True)
    if not devices:
        print_lines(errors, advice(arguments.urns, arguments.seconds, arguments.ttl, interfaces))
        return 1
    if arguments.write_config is not None:
        return _write(arguments, devices, errors)
    print_lines(errors, [f"{count(len(devices), 'device')} on {where(interfaces)}"])
    return 0


def _write(arguments: argparse.Namespace, devices: Sequence[Device], errors: Console) -> int:
    try:
        text = propose(devices, arguments.interface)
    except ConfigError:
        print_lines(errors, ["No configuration written: nothing that was found has a URN and a usable LOCATION."])
        return 1
    target = arguments.write_config
    if target == "-":
        print_lines(make_console(), text.splitlines())
        return 0
    try:
        with open(target, "w" if arguments.force else "x", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        print_lines(errors, [f"{target} cannot be written: {error.strerror}"])
        return 1
    print_lines(errors, [f"Wrote {target}"])
    return 0
