"""Execution of ``ssdpreg search``: send the searches, collect the advertisements, print the devices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from ssdpreg.cli.output import make_console, print_json, print_lines, print_message
from ssdpreg.cli.progress import ProgressBar
from ssdpreg.cli.proposal import propose_configuration
from ssdpreg.cli.report import explain_no_device, format_count, format_interfaces, make_document, print_devices
from ssdpreg.cli.search_results import FoundDevice, SearchResults
from ssdpreg.discovery.location import LocationRules
from ssdpreg.discovery.search_terms import SearchTerms
from ssdpreg.errors import ConfigError, MessageError
from ssdpreg.ssdp.messages import SEARCH_ALL, Message, SearchRequest
from ssdpreg.ssdp.network import Network
from ssdpreg.ssdp.protocol import PeerAddress
from ssdpreg.ssdp.reception import Reception

#: Seconds between the two transmissions of each search. UDP loses datagrams: UPnP FoundDevice Architecture 2.0, 1.3.2.
_REPEAT_DELAY = 0.5


async def search_network(arguments: argparse.Namespace, reactor: Any) -> int:
    """
    Search the network and print the devices. A cancellation ends the search early.

    :param arguments: Options of :func:`ssdpreg.cli.search.add_parser`.
    :param reactor: Provides ``IReactorTime`` and ``IReactorMulticast``.
    :return: Exit status.
    """
    results = SearchResults(
        _make_terms(arguments.urns), LocationRules([ip_network("0.0.0.0/0"), ip_network("::/0")], zones=True)
    )

    def deliver(message: Message, reception: Reception, peer: PeerAddress) -> None:
        results.add(message, reception.sender)

    # A TTL above 1 lets searches pass routers: replies from any network are printed.
    network = Network(reactor, deliver, _drop, arguments.interface, arguments.ttl, allow=[ip_network("0.0.0.0/0")])
    network.refresh()
    interfaces = network.interfaces
    try:
        if interfaces:
            await _send_searches(reactor, network, results, arguments)
    except CancelledError:
        # Ctrl-C: print the devices found so far.
        pass
    finally:
        await network.close()
    return _report(arguments, interfaces, results.devices())


def _make_terms(urns: Sequence[str]) -> SearchTerms | None:
    return SearchTerms(dict.fromkeys(urns, "")) if urns and SEARCH_ALL not in urns else None


def _drop(error: MessageError, reception: Reception, peer: PeerAddress) -> None:
    """Ignore a datagram that is not an SSDP message."""


async def _send_searches(reactor: Any, network: Network, results: SearchResults, arguments: argparse.Namespace) -> None:
    """Send each search twice, and wait until the end of the search."""
    targets = dict.fromkeys(SEARCH_ALL if urn.endswith("*") else urn for urn in arguments.urns or [SEARCH_ALL])
    # A reply that arrives after the end of the search is lost, so MX is not longer than the search.
    requests = [SearchRequest(st, min(arguments.mx, int(arguments.seconds))) for st in targets]

    def send() -> None:
        for request in requests:
            network.search(request)

    with ProgressBar(reactor, arguments.seconds, lambda: format_count(len(results.devices()), "device")):
        send()
        await deferLater(reactor, _REPEAT_DELAY, send)
        await deferLater(reactor, arguments.seconds - _REPEAT_DELAY)


def _report(
    arguments: argparse.Namespace, interfaces: Sequence[tuple[str, str]], devices: Sequence[FoundDevice]
) -> int:
    """Print the devices, write the configuration, and return the exit status."""
    if arguments.json:
        print_json(make_document(interfaces, devices))
    elif devices and arguments.write_config != "-":
        print_devices(devices)
    if not devices:
        for line in explain_no_device(arguments.urns, arguments.seconds, arguments.ttl, interfaces):
            print_message(line)
        return 1
    if arguments.write_config is not None:
        return _write_configuration(arguments, devices)
    print_message(f"{format_count(len(devices), 'device')} on {format_interfaces(interfaces)}")
    return 0


def _write_configuration(arguments: argparse.Namespace, devices: Sequence[FoundDevice]) -> int:
    try:
        text = propose_configuration(devices, arguments.interface)
    except ConfigError:
        print_message("No configuration written: no device announced a URN with a usable LOCATION.")
        return 1
    target = arguments.write_config
    if target == "-":
        print_lines(make_console(), text.splitlines())
        return 0
    try:
        with open(target, "w" if arguments.force else "x", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        print_message(f"Cannot write {target}: {error.strerror}")
        return 1
    print_message(f"Wrote {target}")
    return 0
